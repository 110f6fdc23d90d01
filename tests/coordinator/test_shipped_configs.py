"""Every configuration that comes with hartstorm is right and runs as it is (workloads: `test_workloads`)."""

from __future__ import annotations

import importlib.util

import pytest
from typer.testing import CliRunner

from coordinator import paths
from coordinator.cli import app
from coordinator.config import load
from hart.causes import Cause

FILES = sorted(paths.shipped_configs().values())
NAMES = [str(file.relative_to(paths.CONFIGS)) for file in FILES]


def needs_zig(file):
    return any(vm.guest.c for vm in load(file).run.vms.values())


def cases():
    for file, name in zip(FILES, NAMES, strict=True):
        if file.parent.name == "workloads":
            continue
        marks = []
        if needs_zig(file):
            missing = importlib.util.find_spec("ziglang") is None
            marks = [pytest.mark.outside, pytest.mark.skipif(missing, reason="ziglang is not installed")]
        yield pytest.param(file, id=name, marks=marks)


@pytest.mark.parametrize("file", list(cases()))
def test_check(file):
    done = CliRunner().invoke(app, ["configs", "check", str(file)])
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("file", list(cases()))
def test_run(file):
    done = CliRunner().invoke(app, ["run", str(file), "--timeout", "30"])
    assert done.exit_code == 0, done.stdout + done.stderr


def test_every_exception_of_machine_mode_has_a_config():
    shown = {
        vm.expect.trap.cause
        for file in FILES
        for vm in load(file).run.vms.values()
        if vm.expect.trap is not None
    }
    assert shown >= {
        Cause.INSTRUCTION_MISALIGNED,
        Cause.INSTRUCTION_ACCESS_FAULT,
        Cause.ILLEGAL_INSTRUCTION,
        Cause.BREAKPOINT,
        Cause.LOAD_MISALIGNED,
        Cause.LOAD_ACCESS_FAULT,
        Cause.STORE_MISALIGNED,
        Cause.STORE_ACCESS_FAULT,
        Cause.ECALL_FROM_M,
    }


def test_names_and_descriptions_say_what_a_file_is():
    runs = [load(file).run for file in FILES]
    assert len({run.name for run in runs}) == len(runs)
    assert all(run.description for run in runs)
    assert [run.name for run in runs] == [file.stem for file in FILES]
