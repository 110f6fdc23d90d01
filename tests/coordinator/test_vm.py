"""Running VMs: pause and resume, interrupts, waiting, limits, console, many harts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from guests import COUNTERS, EXIT, PARK, SPIN, alive, eventually, image, machine, run

from bus.access import AtomicKind, ScFailure
from bus.order_log import read_order_log
from bus.segment import new_name
from coordinator.machine import MachineState
from coordinator.result import Ending
from coordinator.spec import WatchSettings

TIERS = ("interpreter", "auto")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("harts", [1, 4])
def test_counters_are_exact(harts, tier):
    result, values = run(COUNTERS.format(n=50), harts=harts, tier=tier)
    assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail
    assert [values[c] for c in ("amo", "lrsc", "cas")] == [50 * harts] * 3
    attempts = sum(h.atomics[AtomicKind.SC] for h in result.harts)
    failures = sum(sum(h.sc_failures.values()) for h in result.harts)
    assert attempts - failures == 50 * harts
    assert {c for h in result.harts for c in h.sc_failures} <= {ScFailure.OTHER_SC}
    assert result.hot[0].symbol in ("lrsc", "cas")


def test_the_recorded_order_explains_the_result(tmp_path):
    log = tmp_path / "order"
    program = image(COUNTERS.format(n=20))
    result, values = run(COUNTERS.format(n=20), harts=3, record_order=str(log))
    assert result.exit_code == 0, result.detail
    memory: dict[int, int] = {}
    for record in read_order_log(log):
        assert memory.get(record.address, 0) == record.before
        memory[record.address] = record.after
    for name in ("amo", "lrsc", "cas"):
        assert memory[program.symbols[name].address] == values[name] == 60


# The ABA program: hart 0 makes its LR and then waits for hart 1 to store another value and the old one again.
ABA = (
    """
.globl _start
_start: la s0, cell
        la s1, turn
        bnez a0, other
        lr.d t0, (s0)
        li t1, 1
        sd t1, (s1)
1:      ld t1, (s1)
        li t2, 2
        bne t1, t2, 1b
        li t3, 99
        sc.d a0, t3, (s0)
        ld t0, (s0)
        li t1, 7
        beq t0, t1, exit
        li a0, 50
        j exit
other:  ld t1, (s1)
        beqz t1, other
        ld t0, (s0)
        {write}
        fence w, w
        li t1, 2
        sd t1, (s1)
        wfi
        j other
.data
.balign 64
cell: .dword 7
.balign 64
turn: .dword 0
.text
"""
    + EXIT
)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "write",
    [
        "sd zero, (s0)\n sd t0, (s0)",
        "amoswap.d zero, zero, (s0)\n amoswap.d zero, t0, (s0)",
        "li t1, 7\n li t2, 8\n amocas.d t1, t2, (s0)\n amocas.d t2, t0, (s0)",
        "sd t0, (s0)",
        "sb t0, 63(s0)",
    ],
)
def test_a_to_b_to_a_fails_the_sc(write, tier):
    result, values = run(ABA.format(write=write), harts=2, tier=tier)
    assert (result.exit_code, values["cell"]) == (1, 7), result.detail
    assert sum(result.harts[0].sc_failures.values()) == 1


def test_without_the_writes_the_sc_succeeds():
    result, values = run(ABA.format(write=""), harts=2)
    assert (result.exit_code, values["cell"]) == (50, 99)


@pytest.mark.parametrize("tier", TIERS)
def test_pause_gives_registers_and_memory_and_takes_them_back(tier):
    source = (
        """
.globl _start
_start: addi s1, s1, 1
        beqz s2, _start
        mv a0, s3
"""
        + EXIT
        + ".data\n.balign 8\ncell: .dword 0\n"
    )
    program = image(source)
    with machine(source, harts=2, tier=tier) as vm:
        vm.start()
        eventually(lambda: all(vm.progress()))
        for round_ in range(20):
            vm.pause()
            assert vm.state is MachineState.PAUSED
            seen = [(vm.get_pc(h), vm.get_x(h, 9)) for h in range(2)]
            assert all(program.entry <= pc <= program.entry + 8 for pc, _ in seen)
            vm.set_x(1, 9, round_ << 40)
            vm.write_memory(program.symbols["cell"].address, b"0123456789"[: round_ % 8 + 1])
            assert vm.read_memory(program.symbols["cell"].address, 1) == b"0"
            assert seen[0] == (vm.get_pc(0), vm.get_x(0, 9)), "it runs while it is paused"
            vm.resume()
            assert vm.state is MachineState.RUNNING
        vm.pause()
        assert vm.get_x(1, 9) >> 40 == 19
        vm.set_x(0, 19, 42)
        vm.set_x(0, 18, 1)
        vm.set_x(1, 1, 77)
        vm.resume()
        result = vm.wait(20)
        assert (result.ending, result.exit_code, result.hart) == (Ending.EXIT, 42, 0)
        assert result.harts[1].x[1] == 77


def test_a_vm_can_be_destroyed_while_it_is_paused_and_before_it_is_started():
    with machine(SPIN, harts=3) as vm:
        vm.start()
        vm.pause()
    with machine(SPIN, harts=1):
        pass


def test_a_stopped_hart_fails_a_pause_and_is_named_by_the_watchdog():
    with machine(SPIN, harts=2, watch=WatchSettings(silence_s=0.3), timeout_s=1.5) as vm:
        vm.start()
        eventually(lambda: all(vm.progress()))
        os.kill(vm.processes()[2], signal.SIGSTOP)
        with pytest.raises(TimeoutError, match=r"harts \[1\] reached no safepoint within 0.3 s"):
            vm.pause()
        result = vm.wait(10)
        assert result.ending is Ending.WATCHDOG
        where = result.detail.partition(": ")[2].split(", ")
        assert "does not answer" not in where[0]
        assert "hart 1 at _start" in where[1]
        assert "does not answer since" in where[1]


def test_the_watchdog_says_where_each_hart_is():
    source = ".globl _start\n_start: bnez a0, other\nhere: j here\nother: nop\nthere: j there\n"
    result, _ = run(source, harts=2, timeout_s=0.7)
    assert result.ending is Ending.WATCHDOG
    assert result.detail == "time limit of 0.7 s: hart 0 at here, hart 1 at there"


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("limit", [1, 63, 64, 65, 1000, 12345])
def test_max_instructions_is_exact(limit, tier):
    result, _ = run(SPIN, harts=2, max_instructions=limit, tier=tier)
    assert result.ending is Ending.LIMIT
    assert [h.instret for h in result.harts] == [limit] * 2
    assert [h.x[9] for h in result.harts] == [(limit + 1) // 2] * 2


def test_all_parked_ends_the_vm():
    result, _ = run(PARK, harts=3)
    assert (result.ending, [h.ending for h in result.harts]) == (Ending.PARKED, [Ending.PARKED] * 3)
    assert [h.pc for h in result.harts] == [image(PARK).entry + 4] * 3


# Harts pass a software interrupt round in a ring; each sleeps in WFI until it comes. No spinning: a lost wake-up hangs.
RING = (
    """
.globl _start
_start: li s0, 0x2000000
        slli t0, a0, 2
        add s1, s0, t0
        addi t0, a0, 1
        bne t0, a1, 1f
        li t0, 0
1:      slli t0, t0, 2
        add s2, s0, t0
        li t0, 8
        csrw mie, t0
        li s3, {rounds}
        li s4, 1
        bnez a0, wait
        sw s4, (s2)
wait:   wfi
        lw t0, (s1)
        beqz t0, wait
        sw zero, (s1)
        addi s3, s3, -1
        beqz s3, last
        sw s4, (s2)
        j wait
last:   bnez a0, pass
        j exit
pass:   sw s4, (s2)
stuck:  j stuck
"""
    + EXIT
)


def test_software_interrupts_wake_sleeping_harts():
    result, _ = run(RING.format(rounds=60), harts=3)
    assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail


# The handler counts timer interrupts; hart 0 also sets the timer of hart 1.
TIMER = (
    """
.globl _start
_start: la t0, handler
        csrw mtvec, t0
        li s0, 0x2004000
        slli t0, a0, 3
        add s1, s0, t0
        li s2, 0x200bff8
        li s5, 0
        ld t0, (s2)
        li t1, 30000
        add t0, t0, t1
        bnez a0, sleep
        sd t0, (s0)
        sd t0, 8(s0)
sleep:  li t0, 0x80
        csrw mie, t0
        csrsi mstatus, 8
1:      wfi
        li t0, 3
        blt s5, t0, 1b
        csrci mstatus, 8
        la t0, done
        li t1, 1
        amoadd.d t2, t1, (t0)
        beqz t2, 2f
        li a0, 0
        j exit
2:      csrw mie, zero
        wfi
        j 2b
handler:
        csrr t3, mcause
        srli t4, t3, 63
        beqz t4, bad
        addi s5, s5, 1
        ld t3, (s2)
        li t4, 20000
        add t3, t3, t4
        sd t3, (s1)
        mret
bad:    li a0, 9
        j exit
.data
.balign 8
done: .dword 0
.text
"""
    + EXIT
)


def test_timer_interrupts_come_in_time_to_sleeping_harts():
    result, _ = run(TIMER, harts=2)
    assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail
    assert [h.traps_taken for h in result.harts] == [3, 3]
    assert result.wall_s >= 0.007, "three periods of 2 ms and more"


CONSOLE = (
    """
.globl _start
_start: bnez a0, park
        li s0, {writes}
        la s1, block
again:  li t0, 64
        sd t0, (s1)
        li t0, 1
        sd t0, 8(s1)
        la t0, text
        sd t0, 16(s1)
        li t0, {length}
        sd t0, 24(s1)
        la t1, tohost
        sd s1, (t1)
        addi s0, s0, -1
        bnez s0, again
        li a0, 0
        j exit
park:   wfi
        j park
.data
.balign 8
block: .zero 32
text: .ascii "{text}"
.text
"""
    + EXIT
)


@pytest.mark.parametrize("writes", [1, 70])
def test_console_output_is_complete_and_in_order_also_beyond_the_ring(writes):
    text = "".join(chr(65 + i % 26) for i in range(1999)) + "."
    result, _ = run(CONSOLE.format(writes=writes, length=2000, text=text), harts=2)
    assert result.exit_code == 0, result.detail
    assert result.console == text.encode() * writes


@pytest.mark.parametrize("harts", [64])
def test_many_harts_start_and_end(harts):
    result, values = run(COUNTERS.format(n=2), harts=harts, tier="interpreter", timeout_s=60)
    assert result.exit_code == 0, result.detail
    assert [values[c] for c in ("amo", "lrsc", "cas")] == [2 * harts] * 3


def test_two_vms_run_side_by_side():
    with machine(COUNTERS.format(n=40), harts=2) as a, machine(COUNTERS.format(n=40), harts=2) as b:
        a.start()
        b.start()
        assert a.wait(30).exit_code == b.wait(30).exit_code == 0


def test_the_exit_code_is_that_of_the_hart_that_came_first():
    """Also with many harts that exit at the same time, each with a code of its own."""
    for _ in range(5):
        result, _ = run(
            ".globl _start\n_start: addi a0, a0, 100\n j exit\n" + EXIT, harts=6, tier="interpreter"
        )
        assert (result.ending, result.exit_code) == (Ending.EXIT, 100 + result.hart)


def test_files_processes_and_names_are_gone_after_destroy():
    run(PARK, harts=2)  # what the first VM of a process opens, such as the fork server's socket, stays
    first = set(os.listdir("/proc/self/fd"))
    with machine(SPIN, harts=2) as vm:
        vm.start()
        pids = vm.processes()
        assert len(alive(pids)) == 3
    assert not alive(pids)
    for _ in range(3):
        run(PARK, harts=2)
    assert set(os.listdir("/proc/self/fd")) == first


def test_a_vm_that_does_not_fit_leaves_nothing(monkeypatch):
    from coordinator.spec import VmSpec
    from coordinator.vm import VirtualMachine

    monkeypatch.setattr("coordinator.vm.new_name", lambda: name)
    name = new_name()
    with pytest.raises(OSError, match="do not fit"):
        VirtualMachine(VmSpec(name="t", harts=1, ram_bytes=1 << 40))
    assert name not in os.listdir("/dev/shm")


def test_a_leftover_of_killed_processes_is_swept_by_the_next_vm(tmp_path):
    """Coordinator and fork server killed together: nobody is left to clean up, until the next VM is made."""
    code = """
import os, signal
from coordinator.vm import VirtualMachine
from coordinator.spec import VmSpec
import coordinator.launch as l
vm = VirtualMachine(VmSpec(name="t", harts=1))
print(*vm._held, flush=True)
os.kill(l._connection._server.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        timeout=20,
        check=False,
    )
    segment, directory = done.stdout.split()
    assert Path("/dev/shm", segment).exists()
    assert Path(directory).exists()
    sweeper = "from coordinator.runtime import sweep; sweep()"
    time.sleep(0.05)
    subprocess.run([sys.executable, "-c", sweeper], env=environment, check=True, timeout=20)
    assert not Path("/dev/shm", segment).exists()
    assert not Path(directory).exists()
