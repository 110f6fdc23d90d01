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

COUNTERS = """
# a2 = rounds. Each round: AMO, fused LR/SC, LR/SC with a load between, AMOCAS; `done` keeps the hart's own account.
.globl _start
_start:
    la   s0, amo
    la   s1, fused
    la   s2, unfused
    la   s3, cas
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


def test_inline_counts_by_hart():
    with vm_of(50, harts=2, policy="inline") as vm:
        vm.start()
        result = vm.wait(100)
        assert result.hot == ()
        assert [hart.atomics[AtomicKind.AMO] for hart in result.harts] == [50, 50]
        assert all(hart.atomics[AtomicKind.SC] >= 100 for hart in result.harts)


def _kill_some(seed: int) -> None:
    rounds, chance = 4_000_000, random.Random(seed)  # for longer than the victims live
    with vm_of(rounds, harts=4, policy="inline", on_hart_death="continue") as vm:
        vm.start()
        harts = vm.processes()[1:]
        time.sleep(0.05 + chance.random() * 0.3)
        victims = chance.sample(range(4), chance.choice((1, 2)))
        for victim in victims:
            os.kill(harts[victim], signal.SIGKILL)
        assert vm.wait(100).ending is Ending.PARKED
        done = [word(vm, "done", 64 * hart) for hart in range(4)]
        assert all(done[hart] == rounds for hart in range(4) if hart not in victims)
        for symbol in NAMED:  # the dead may have counted once more than they noted, never half
            assert 0 <= word(vm, symbol) - sum(done) <= len(victims), symbol


def test_the_dead_hold_nothing():
    _kill_some(0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 200))
def test_the_dead_hold_nothing_soak(seed):
    _kill_some(seed)
