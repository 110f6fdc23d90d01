"""VMs one after the other in the same processes: what they may share, what not, and that nothing is left over."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from guests import COUNTERS, EXIT, SPIN, alive, eventually, machine

from coordinator import monitor
from coordinator.launch import keep_processes
from coordinator.result import Ending

LOOP = ".globl _start\n_start: li s1, {n}\n1: addi s1, s1, -1\n bnez s1, 1b\n li a0, 0\n" + EXIT


@pytest.fixture
def keeping():
    keep_processes(8)
    yield
    keep_processes(0)


def ran(source, **settings):
    """The VM's processes, and what the run came to without what differs from run to run."""
    with machine(source, **settings) as vm:
        vm.start()
        pids = vm.processes()
        result = vm.wait(30)
        assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail
    return set(pids), [(hart.hart, hart.pc, hart.instret, dict(hart.atomics)) for hart in result.harts]


@pytest.mark.parametrize("policy", ["serial", "inline", "directory"])
def test_the_next_vm_has_the_same_processes_and_runs_as_in_new_ones(keeping, policy):
    source = COUNTERS.format(n=3)
    settings = {"harts": 1, "policy": policy, "tier": "interpreter"}
    first, expected = ran(source, **settings)
    assert ran(source, **settings) == (first, expected)
    # One of another size at another place, with another policy, and then the first again.
    other, _ = ran(COUNTERS.format(n=2), harts=3, ram_bytes=1 << 21, policy="serial", tier="interpreter")
    assert first < other
    again, seen = ran(source, **settings)
    assert again < other
    assert seen == expected


def test_a_process_that_ran_native_code_is_not_used_again(keeping):
    interpreted, _ = ran(LOOP.format(n=100), harts=1, tier="interpreter")
    native, _ = ran(LOOP.format(n=10_000_000), harts=1, tier="t1")
    assert native == interpreted
    after, _ = ran(LOOP.format(n=100), harts=1, tier="interpreter")
    assert len(after & native) == 1, "the bus alone"


def test_a_compiler_that_compiled_nothing_is_used_again(keeping, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "COMPILER_S", 30)
    pids = []
    for _ in range(3):
        with machine(LOOP.format(n=1), harts=1, tier="auto", cache=str(tmp_path)) as vm:
            vm.start()
            pids.append({process.pid for process in vm._monitor._processes})
            assert vm.wait(30).ending is Ending.EXIT
    assert len(pids[0]) == 3
    assert pids[0] == pids[1] == pids[2]


def test_a_hart_that_was_killed_leaves_no_process_that_waits(keeping):
    with machine(SPIN, harts=2, tier="interpreter") as vm:
        vm.start()
        _, *harts = vm.processes()
        os.kill(harts[1], signal.SIGKILL)
        assert vm.wait(10).ending is Ending.HART_DIED
    assert eventually(lambda: not alive(harts[1:]))
    pids, _ = ran(COUNTERS.format(n=2), harts=2, tier="interpreter")
    assert harts[1] not in pids


WAITING = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from guests import COUNTERS, machine
from coordinator.launch import keep_processes
keep_processes(8)
with machine(COUNTERS.format(n=1), harts=2, tier="interpreter") as vm:
    vm.start()
    pids = vm.processes()
    vm.wait(20)
server = int(open(f"/proc/{{pids[0]}}/stat").read().rpartition(")")[2].split()[1])
print(server, *pids, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("victim", ["coordinator", "fork server", "nobody"])
def test_those_that_wait_outlive_nobody(victim):
    code = WAITING.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server, *pids = map(int, process.stdout.readline().split())
    assert len(alive(pids)) == 3
    assert {Path(f"/proc/{pid}/comm").read_text() for pid in pids} == {"hartstorm-idle\n"}
    if victim == "coordinator":
        process.kill()
    elif victim == "fork server":
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not alive(pids))
    _, errors = process.communicate("", timeout=10)
    assert errors == ""
    eventually(lambda: not alive([server, *pids]))
