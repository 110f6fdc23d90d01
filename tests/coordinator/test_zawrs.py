"""WRS.NTO in real processes: the hart stands still until its reservation is lost or an interrupt is pending."""

from __future__ import annotations

from itertools import product

import pytest

from bus.policies import NAMES, policy
from coordinator.result import Ending
from tests.coordinator import guests

DELAY = """
        li t0, 0x200bff8
        ld t1, (t0)
        li t2, 2000000          # ticks of mtime: 0.2 s
        add t2, t1, t2
1:      ld t1, (t0)
        bltu t1, t2, 1b
"""
HEAD = """
.globl _start
_start: la s0, flag
        li s1, 1
        bnez a0, other
"""
TAIL = """
stop:   wfi
        j stop
.data
.balign 64
flag: .dword 0
"""
FLAG = (
    HEAD
    + """
look:   lr.d t0, (s0)
        bnez t0, stop
        wrs.nto
        j look
other:
"""
    + DELAY
    + "sd s1, (s0)\n"
    + TAIL
)
INTERRUPT = (
    HEAD
    + """
        li t0, 8                # machine software interrupts, while mstatus.MIE is 0
        csrw mie, t0
again:  lr.d t0, (s0)
        wrs.nto
        csrr t0, mip
        beqz t0, again
        csrw mie, zero
        j stop
other:
"""
    + DELAY
    + "li t0, 0x2000000\n sw s1, (t0)\n"
    + TAIL
)
WAITING = [
    (name, tier)
    for name, tier in product(NAMES, ("interpreter", "t2"))
    if policy(name).correct and (tier == "interpreter" or policy(name).lowering)
]
STILL = 300
"""Instructions that a waiting hart retires at most: a few rounds, for it may be woken for nothing."""


@pytest.mark.parametrize("source", [FLAG, INTERRUPT], ids=["reservation", "interrupt"])
@pytest.mark.parametrize(("name", "tier"), WAITING)
def test_a_hart_that_waits_stands_still(name, tier, source):
    result, _ = guests.run(source, harts=2, policy=name, tier=tier)
    assert result.ending is Ending.PARKED, result.detail
    assert result.harts[0].instret < STILL
