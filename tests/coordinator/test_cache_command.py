"""`hartstorm cache` shows and empties the object cache; `--tier` reaches the VM."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.config import Overrides, for_program
from coordinator.runner import vm_spec
from hart.jit.cache import CompiledRegion, ObjectCache, default_directory, key_of


def _invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_info_and_clear(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "hartstorm"
    assert "0 regions" in _invoke("cache", "info")
    cache = ObjectCache(default_directory())
    for number in range(3):
        cache.store(key_of(number), CompiledRegion(0, 1, "r", (), b"", 0, b"x" * 2048))
    assert "3 regions, 6 KiB" in _invoke("cache", "info")
    assert "removed 3 regions" in _invoke("cache", "clear")
    assert "0 regions" in _invoke("cache", "info")


def test_a_relative_cache_directory_does_not_count(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert default_directory().is_absolute()


@pytest.mark.parametrize("tier", ["interpreter", "t1", "t2", "auto"])
def test_the_tier_reaches_the_vm(tmp_path, tier):
    program = tmp_path / "p.S"
    program.write_text("_start: j _start")
    config = for_program(program, Overrides(tier=tier))
    ((name, vm),) = config.run.vms.items()
    assert vm_spec(name, vm).tier == tier
