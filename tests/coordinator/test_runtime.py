import os
import stat

from bus.segment import new_name
from coordinator.runtime import RuntimeDirectory, new_path, sweep


def test_a_directory_is_private_and_goes_away(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = RuntimeDirectory(new_name())
    assert directory.path.parent == tmp_path
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    directory.remove()
    directory.remove()
    assert os.listdir(tmp_path) == []


def test_a_runtime_directory_too_deep_for_sockets_is_not_used(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(os.fsencode(new_path(new_name()) / "compile")) <= 107 or tmp_path not in deep.parents
    assert deep not in new_path(new_name()).parents


def test_sweeping_spares_the_living(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = RuntimeDirectory(new_name())
    dead = RuntimeDirectory(new_name())
    dead._owner.close()
    unfinished = tmp_path / "hartstorm-0"
    unfinished.mkdir()
    (unfinished / "owner").touch()
    sweep()
    assert sorted(os.listdir(tmp_path)) == sorted([living.path.name, "hartstorm-0"])
    living.remove()
