"""Commands with several worker processes: one that is killed leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from coordinator import paths
from tests.coordinator import guests

_TESTS = paths.CONFIGS / "litmus"
_COMMANDS = {
    "litmus": (["litmus", str(_TESTS / "forbidden"), "--time", "5", "-j", "2"], 10),
    "model": (["model", *[str(_TESTS)] * 200, "-j", "2"], 5),
    "fuzz": (["fuzz", "memory", "-j", "2"], 20),
}
"""Command lines, and how many processes there are at least in the middle of each: the command, the server that forks,
multiprocessing's tracker, two workers, what their VMs have."""


@pytest.mark.parametrize("name", _COMMANDS)
def test_kill_9_leaves_no_process(name, tmp_path):
    arguments, processes = _COMMANDS[name]
    mark = f"{name}.{os.getpid()}"
    running = subprocess.Popen(
        [sys.executable, "-m", "coordinator", *arguments],
        env=os.environ | {guests.MARK: mark},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert guests.eventually(lambda: len(guests.processes(mark)) >= processes, 60)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert guests.eventually(lambda: not guests.processes(mark), 30), guests.processes(mark)
