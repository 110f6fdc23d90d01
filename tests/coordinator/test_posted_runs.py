"""AMOs that nobody waits for, in real processes: none is lost or made twice, whatever becomes of the bus."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble

COUNTERS = """
.globl _start
_start:
    la s0, words
    li t0, {n}
    li t1, 1
    addi s1, s0, 8
1:  amoadd.d x0, t1, (s0)
    amoadd.w.rl x0, t1, (s1)
    andi t2, t0, 63
    bnez t2, 2f
    fence
    ld   t3, (s0)
2:  addi t0, t0, -1
    bnez t0, 1b
3:  wfi
    j 3b
.data
.balign 64
words: .zero 64
"""
HARTS = 3


@pytest.mark.parametrize("tier", ["interpreter", "auto"])
@pytest.mark.parametrize(
    ("seed", "n"), [(0, 1500), *(pytest.param(i, 4000, marks=pytest.mark.soak) for i in range(1, 100))]
)
def test_totals_are_exact_though_the_bus_dies(seed, n, tier):
    dice = random.Random(seed)
    image = assemble(COUNTERS.format(n=n)).image
    vm = VirtualMachine(VmSpec(name="t", harts=HARTS, tier=tier, on_bus_death="restart", timeout_s=100))
    try:
        vm.load(image)
        vm.start()
        for _ in range(2):
            time.sleep(0.15 + dice.random() * 0.2)
            with suppress(ProcessLookupError):
                os.kill(vm.processes()[0], signal.SIGKILL)
        assert vm.wait(100).ending is Ending.PARKED
        at = image.symbols["words"].address
        assert [int.from_bytes(vm.read_memory(at + i, s), "little") for i, s in ((0, 8), (8, 4))] == [
            HARTS * n
        ] * 2
    finally:
        vm.destroy()
