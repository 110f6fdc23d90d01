import os
import stat
from pathlib import Path

import pytest

from bus.segment import new_name
from coordinator import runtime
from coordinator.control.client import ControlClient
from coordinator.control.messages import events_endpoint
from coordinator.control.server import ControlServer
from coordinator.runtime import RuntimeDirectory, check_endpoint, control_endpoint, new_path, sweep


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


@pytest.mark.parametrize("length", [80, 100, 200])
def test_however_deep_the_runtime_directory_a_server_can_be_reached(tmp_path, monkeypatch, length):
    deep = tmp_path / ("d" * max(1, length - len(str(tmp_path)) - 1))
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    endpoint = control_endpoint()
    assert deep not in Path(endpoint.removeprefix("ipc://")).parents
    check_endpoint(events_endpoint(endpoint))


def test_no_place_that_is_too_deep_is_tried(tmp_path):
    fits = f"ipc:///{'d' * 106}"
    check_endpoint(fits)
    check_endpoint(f"tcp://{'h' * 200}:5555")
    with pytest.raises(ValueError, match="a socket has at most 107 bytes, this has 108"):
        check_endpoint(fits + "d")
    for make in (lambda: ControlServer(lambda spec: None, fits), lambda: ControlClient(fits + "d")):
        with pytest.raises(ValueError, match="at most 107 bytes"):
            make()


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("127.0.0.1:5555", r"write ipc://PATH or tcp://HOST:PORT"),
        ("ipc://", r"write ipc://PATH or tcp://HOST:PORT"),
        ("tcp://5555", r"write ipc://PATH or tcp://HOST:PORT"),
        ("udp://host:5555", r"write ipc://PATH or tcp://HOST:PORT"),
        ("tcp://host:99999", "the port must be from 1 to 65534; events are at the next one"),
        ("tcp://host:http", "the port must be from 1 to 65534"),
    ],
)
def test_what_is_no_endpoint(endpoint, message):
    with pytest.raises(ValueError, match=message):
        check_endpoint(endpoint)


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
    living._owner.close()
    monkeypatch.setattr(runtime, "LIVING_S", -1)
    sweep()
    assert os.listdir(tmp_path) == ["hartstorm-0"]
