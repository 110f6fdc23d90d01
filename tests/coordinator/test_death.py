"""kill -9 of any process at random moments, stopped harts: a clear verdict in time, exact totals, nothing left over."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from guests import COUNTERS, alive, eventually, image, machine, send

from coordinator.result import Ending

VERDICT_S = 2.0
FEW, MANY = 3, 100


def times(count):
    """Seeds for the normal run, and those of the soak."""
    return [*range(FEW), *(pytest.param(i, marks=pytest.mark.soak) for i in range(FEW, count))]


def nothing_left(pids, held):
    segment, directory = held
    return not alive(pids) and not Path("/dev/shm", segment).exists() and not Path(directory).exists()


@pytest.mark.parametrize("seed", times(MANY))
@pytest.mark.parametrize("victim", ["bus", "hart"])
def test_a_killed_process_ends_the_run_with_a_verdict(victim, seed, capfd):
    dice = random.Random(f"{victim}{seed}")
    with machine(COUNTERS.format(n=100_000), harts=3) as vm:
        vm.start()
        pids = vm.processes()
        time.sleep(dice.random() * 0.3)
        number = 0 if victim == "bus" else dice.randrange(1, 4)
        assert send(pids[number], signal.SIGKILL)
        killed = time.monotonic()
        result = vm.wait(10)
        assert time.monotonic() - killed < VERDICT_S
        if victim == "bus":
            assert (result.ending, result.detail) == (Ending.BUS_DIED, "the bus process ended by SIGKILL")
        else:
            assert (result.ending, result.hart) == (Ending.HART_DIED, number - 1)
            assert f"hart {number - 1}'s process ended by SIGKILL, last seen at" in result.detail
        assert eventually(lambda: not alive(pids), 1)
        held = vm._held
    assert nothing_left(pids, held)
    assert capfd.readouterr() == ("", "")


COORDINATOR = """
import sys
sys.path.insert(0, {tests!r})
from guests import COUNTERS, image
from coordinator.vm import VirtualMachine
from coordinator.spec import VmSpec
vm = VirtualMachine(VmSpec(name="t", harts=2))
print(*vm._held, flush=True)
vm.load(image(COUNTERS.format(n=100000)))
vm.start()
print(*vm.processes(), flush=True)
vm.wait(60)
"""


@pytest.mark.parametrize("seed", times(MANY))
def test_a_killed_coordinator_leaves_nothing(seed):
    with tempfile.TemporaryDirectory() as directory:  # short: sockets' paths are
        kill_a_coordinator(seed, directory)


def kill_a_coordinator(seed, directory):
    dice = random.Random(seed)
    code = COORDINATOR.format(tests=os.path.dirname(__file__))
    environment = {**os.environ, "XDG_RUNTIME_DIR": directory}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )
    # Sometimes before it has started anything, mostly while harts run, one of them stopped now and then.
    pids = []
    if dice.random() < 0.7:
        held = process.stdout.readline().split()
        pids = [int(pid) for pid in process.stdout.readline().split()]
        time.sleep(dice.random() * 0.3)
        if dice.random() < 0.5:
            os.kill(pids[1], signal.SIGSTOP)
    else:
        time.sleep(dice.random() * 1.5)
    process.kill()
    killed = time.monotonic()
    output, errors = process.communicate(timeout=10)  # ends when every process that holds stderr has ended
    assert time.monotonic() - killed < VERDICT_S
    if not pids and output:
        held = output.splitlines()[0].split()
    assert errors == ""
    assert not alive(pids)
    if pids or output:
        assert nothing_left(pids, held)
    assert os.listdir(directory) == []


@pytest.mark.parametrize("seed", times(MANY))
def test_where_the_bus_may_be_restarted_totals_stay_exact(seed, tmp_path):
    dice = random.Random(seed)
    log = tmp_path / "order"
    n, harts = 150, 3
    recorded = seed % 2 == 1
    with machine(
        COUNTERS.format(n=n), harts=harts, on_bus_death="restart", record_order=str(log) if recorded else None
    ) as vm:
        vm.start()
        for _ in range(3):
            time.sleep(0.02 + dice.random() * 0.1)
            send(vm.processes()[0], signal.SIGKILL)
        result = vm.wait(30)
        assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail
        program = image(COUNTERS.format(n=n))
        for name in ("amo", "lrsc", "cas"):
            seen = vm.read_memory(program.symbols[name].address, 8)
            assert int.from_bytes(seen, "little") == n * harts, name
    if recorded:
        explained_by(log)


def explained_by(log):
    """Each value that was read is the one that was written last; each request is there once."""
    from bus.order_log import read_order_log

    memory, requests = {}, set()
    for record in read_order_log(log):
        assert memory.get(record.address, record.before) == record.before
        memory[record.address] = record.after
        assert (record.hart, record.request) not in requests
        requests.add((record.hart, record.request))


# Every hart adds to `amo` until hart 0 has done its own share; hart 0 ends the VM and its exit code is 0.
SURVIVORS = COUNTERS.replace("beq t1, a1, exit", "beqz s11, exit").replace(
    "_start: li s1, {n}", "_start: mv s11, a0\n li s1, {n}"
)


@pytest.mark.parametrize("seed", times(MANY))
def test_where_harts_may_die_the_others_go_on_and_nothing_is_half_done(seed):
    """A dead hart has added as often as its page says, give or take the one that was open."""
    from bus.access import AtomicKind
    from bus.layout import Hart

    dice = random.Random(seed)
    n, harts = 150, 4
    with machine(SURVIVORS.format(n=n), harts=harts, on_hart_death="continue") as vm:
        vm.start()
        for victim in dice.sample((2, 3, 4), 2):
            time.sleep(dice.random() * 0.15)
            send(vm.processes()[victim], signal.SIGKILL)
        result = vm.wait(30)
        assert (result.ending, result.exit_code, result.hart) == (Ending.EXIT, 0, 0), result.detail
        program = image(SURVIVORS.format(n=n))
        amo = int.from_bytes(vm.read_memory(program.symbols["amo"].address, 8), "little")
        done = int.from_bytes(vm.read_memory(program.symbols["done"].address, 8), "little")
        sent = sum(page[Hart.ATOMICS + AtomicKind.AMO] for page in vm._segment.harts)
        assert sent - harts <= amo + done <= sent
        assert amo >= n


@pytest.mark.parametrize("seed", times(20 + FEW))
def test_harts_stopped_and_continued_at_random_lose_nothing(seed):
    """In the soak 8 harts make 10,000 increments each by AMO, LR/SC and CAS, 20 times."""
    n, harts = (100, 4) if seed < FEW else (10_000, 8)
    dice = random.Random(seed)
    with machine(COUNTERS.format(n=n), harts=harts, timeout_s=None) as vm:
        vm.start()
        pids = vm.processes()[1:]
        over = threading.Event()

        def disturb():
            while not over.is_set():
                pid = dice.choice(pids)
                send(pid, signal.SIGSTOP)
                time.sleep(dice.random() * 0.02)
                send(pid, signal.SIGCONT)
                time.sleep(dice.random() * 0.01)

        disturber = threading.Thread(target=disturb)
        disturber.start()
        try:
            result = vm.wait(600)
        finally:
            over.set()
            disturber.join()
        assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail
        program = image(COUNTERS.format(n=n))
        for name in ("amo", "lrsc", "cas"):
            seen = vm.read_memory(program.symbols[name].address, 8)
            assert int.from_bytes(seen, "little") == n * harts, name


def test_a_bus_that_fails_by_itself_is_not_restarted_for_ever(tmp_path, capfd):
    foreign = tmp_path / "order"
    foreign.write_bytes(b"something else")
    with machine(COUNTERS.format(n=10), harts=1, on_bus_death="restart", record_order=str(foreign)) as vm:
        vm.start()
        result = vm.wait(10)
        assert result.ending is Ending.BUS_DIED
        assert result.detail == "the bus process ended with exit code 1"
    assert foreign.read_bytes() == b"something else"
