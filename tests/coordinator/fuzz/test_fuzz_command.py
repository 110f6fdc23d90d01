"""`hartstorm fuzz memory` as users see it: each failure called what it is, an interruption that ends cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from coordinator.commands.fuzz import _failure
from coordinator.fuzz.arena import ArenaError, Stalled
from coordinator.fuzz.campaign import Campaign, Combination, Found, program_of
from coordinator.fuzz.judge import Failure, How

PATIENCE_S = 60.0
HERE = Combination("inline", "t1")
COMMAND = (sys.executable, "-c", "from coordinator.cli import main; main()", "fuzz", "memory")
"""The command in a process of its own, without the script that an installation makes."""


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exists(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("how", "heading"),
    [
        (How.OUTCOME, "FORBIDDEN outcome under policy inline, tier t1;"),
        (How.RECORDED, "FORBIDDEN order of recorded events under policy inline, tier t1;"),
        (How.STALLED, "STALLED under policy inline, tier t1;"),
        (How.ENDED, "THE VM ENDED under policy inline, tier t1;"),
    ],
)
def test_a_failure_is_called_what_it_is(how, heading):
    text = _failure(Found(HERE, 3, Failure(program_of(3), how, "what was seen")))
    assert text.startswith(f"\n{heading}")
    assert "what was seen" in text
    assert "hartstorm fuzz memory --seed 3 --programs 1 --policy inline --tier t1" in text


@pytest.mark.parametrize(
    ("error", "how"), [(Stalled("no hart came further"), How.STALLED), (ArenaError("a trap"), How.ENDED)]
)
def test_how_a_vm_fails_is_told_apart(monkeypatch, error, how):
    def fail(*_):
        raise error

    monkeypatch.setattr(Campaign, "_outcomes", fail)
    failure = Campaign((HERE,)).attempt(program_of(0), HERE)
    assert (failure.how, failure.text) == (how, str(error))


def test_shrinking_keeps_the_way_a_program_fails(monkeypatch):
    """Whatever is smaller stalls: so the program with the forbidden outcome stays."""
    original = program_of(0)

    def attempt(self, program, combination):
        return Failure(program, How.OUTCOME if program == original else How.STALLED, "")

    monkeypatch.setattr(Campaign, "attempt", attempt)
    found = Campaign((HERE,)).run(iter([0]), None, shrink_s=1)
    assert found.failure == Failure(original, How.OUTCOME, "")


def test_a_stop_while_shrinking_keeps_what_was_found(monkeypatch):
    tried = []

    def attempt(self, program, combination):
        tried.append(program)
        self.stopped = True
        return Failure(program, How.OUTCOME, "")

    monkeypatch.setattr(Campaign, "attempt", attempt)
    found = Campaign((HERE,)).run(iter([0, 1]), None)
    assert found.failure.program == program_of(0)
    assert len(tried) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interruption_ends_it_with_what_was_done(jobs, tmp_path):
    """As from a terminal: every process of the group has the signal. The VMs' processes go, too."""
    running = subprocess.Popen(
        (*COMMAND, "--time", "600", "--tier", "t1", "--policy", "inline", "--jobs", jobs),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    try:
        until(lambda: any(path.is_file() for path in tmp_path.rglob("*")))  # native code: a program runs
        os.killpg(running.pid, signal.SIGINT)
        output, errors = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
    assert errors == "interrupted; all VMs are ended\n"
    assert running.returncode == 130
    assert " programs in " in output
    until(lambda: not exists(running.pid))
