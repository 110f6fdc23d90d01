"""Each correct policy in real processes: exact totals under contention, in each tier, and after deaths."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import contextmanager

import pytest

from bus.access import AtomicKind
from bus.policies import NAMES
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from tests.coordinator import guests

COUNTERS = """
# a2 = rounds, or until `stop` is set. Each round: AMO, fused LR/SC, LR/SC with a load between, AMOCAS; `done` keeps the
# hart's own account.
.globl _start
_start:
    la   s0, amo
    la   s1, fused
    la   s2, unfused
    la   s3, cas
    la   s6, stop
    slli t0, a0, 6
    la   s4, done
    add  s4, s4, t0
    li   s5, 0
1:  li   t1, 1
    amoadd.d.aqrl zero, t1, (s0)
2:  lr.d t1, (s1)
    addi t1, t1, 1
    sc.d t2, t1, (s1)
    bnez t2, 2b
3:  lr.w t1, (s2)
    ld   t2, (s4)
    addi t1, t1, 1
    sc.w t2, t1, (s2)
    bnez t2, 3b
    ld   t1, (s3)
4:  mv   t3, t1
    addi t2, t1, 1
    amocas.d t1, t2, (s3)
    bne  t1, t3, 4b
    addi s5, s5, 1
    sd   s5, (s4)
    ld   t0, (s6)
    bnez t0, 5f
    blt  s5, a2, 1b
5:  wfi
    j    5b
.data
.balign 64
amo: .dword 0
.balign 64
fused: .dword 0
.balign 64
cas: .dword 0
.balign 64
stop: .dword 0
.balign 4096
unfused: .dword 0
.balign 4096
done: .zero 4096
"""
IMAGE = assemble(COUNTERS).image
NAMED = ("amo", "fused", "unfused", "cas")


@contextmanager
def vm_of(rounds: int, **settings):
    vm = VirtualMachine(VmSpec(name="t", timeout_s=100, **settings))
    try:
        vm.load(IMAGE)
        for hart in range(vm.spec.harts):
            vm.set_x(hart, 12, rounds)
        yield vm
    finally:
        vm.destroy()


def word(vm: VirtualMachine, symbol: str, offset: int = 0) -> int:
    return int.from_bytes(vm.read_memory(IMAGE.symbols[symbol].address + offset, 8), "little")


@pytest.mark.parametrize("tier", ["interpreter", "t1", "t2", "auto"])
@pytest.mark.parametrize("name", NAMES)
def test_totals_are_exact(name, tier):
    # `cas`, too: a counter does not mind A -> B -> A.
    rounds = 20_000 if name in ("inline", "cas") and tier != "interpreter" else 100
    with vm_of(rounds, harts=4, policy=name, tier=tier) as vm:
        vm.start()
        assert vm.wait(100).ending is Ending.PARKED
        assert [word(vm, s) for s in NAMED] == [4 * rounds] * 4


@pytest.mark.parametrize("tier", ["interpreter", "t2"])
@pytest.mark.parametrize("name", NAMES)
def test_atomics_are_counted_by_hart_and_address(name, tier):
    with vm_of(50, harts=2, policy=name, tier=tier) as vm:
        vm.start()
        result = vm.wait(100)
        by_symbol = {place.symbol: place.by_hart for place in result.hot}
        assert by_symbol["amo"] == {hart: {AtomicKind.AMO: 50} for hart in range(2)}
        assert {"fused", "unfused", "cas"} <= set(by_symbol)
        assert [hart.atomics[AtomicKind.AMO] for hart in result.harts] == [50, 50]
        assert all(hart.atomics[AtomicKind.SC] >= 100 for hart in result.harts)


def _kill_some(seed: int, harts: int, kills: int) -> None:
    """Kill so many harts, one by one at random moments; the others then stop."""
    chance = random.Random(seed)
    with vm_of(1 << 62, harts=harts, policy="inline", on_hart_death="continue") as vm:
        vm.start()
        pids = vm.processes()[1:]
        guests.eventually(lambda: word(vm, "amo"), 60)
        victims = chance.sample(range(harts), kills)
        for victim in victims:
            time.sleep(chance.random() * 0.1)
            os.kill(pids[victim], signal.SIGKILL)
        at_death = word(vm, "amo")
        guests.eventually(lambda: word(vm, "amo") > at_death, 60)
        vm.write_memory(IMAGE.symbols["stop"].address, (1).to_bytes(8, "little"))
        result = vm.wait(100)
        assert result.ending is Ending.PARKED, result.detail
        assert [hart.hart for hart in result.harts if hart.ending is Ending.HART_DIED] == sorted(victims)
        done = [word(vm, "done", 64 * hart) for hart in range(harts)]
        for symbol in NAMED:  # the dead may have counted once more than they noted, never half
            assert 0 <= word(vm, symbol) - sum(done) <= len(victims), symbol


def test_the_dead_hold_nothing():
    _kill_some(0, harts=4, kills=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 73))
def test_the_dead_hold_nothing_soak(seed):
    """1,008 kills in all, with eight harts for each processor of a small machine."""
    _kill_some(seed, harts=16, kills=14)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_totals_are_exact_however_often_the_bus_dies(seed):
    """200 kills in all."""
    chance = random.Random(seed)
    with vm_of(1 << 62, harts=4, policy="serial", on_bus_death="restart") as vm:
        vm.start()
        guests.eventually(lambda: word(vm, "amo"), 60)
        for _ in range(20):
            time.sleep(chance.random() * 0.1)
            before = vm.processes()[0]
            os.kill(before, signal.SIGKILL)
            guests.eventually(lambda dead=before: vm.processes()[0] != dead, 60)
        at_death = word(vm, "amo")
        guests.eventually(lambda: word(vm, "amo") > at_death, 60)
        vm.write_memory(IMAGE.symbols["stop"].address, (1).to_bytes(8, "little"))
        result = vm.wait(100)
        assert result.ending is Ending.PARKED, result.detail
        done = sum(word(vm, "done", 64 * hart) for hart in range(4))
        assert [word(vm, symbol) for symbol in NAMED] == [done] * 4
