"""A litmus command that is killed leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from coordinator import paths
from tests.coordinator import guests


def _marked(mark: str) -> list[int]:
    """Processes that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_kill_9_leaves_no_process(tmp_path):
    mark = f"LITMUS_KILLED={os.getpid()}"
    command = [sys.executable, "-m", "coordinator", "litmus", str(paths.CONFIGS / "litmus" / "forbidden")]
    running = subprocess.Popen(
        [
            *command,
            "--time",
            "0.1",
            "-j",
            "2",
            "--log",
            str(tmp_path / "log"),
            "--state",
            str(tmp_path / "state"),
        ],
        env=os.environ | dict([mark.split("=")]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        state = tmp_path / "state"
        assert guests.eventually(lambda: state.exists() and state.stat().st_size > 0, 60)
        assert len(_marked(mark)) > 3
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert guests.eventually(lambda: not _marked(mark), 30), _marked(mark)
