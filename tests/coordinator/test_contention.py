"""What a run says about SCs that fail: where, why, and which loops get nowhere."""

from __future__ import annotations

from itertools import product

import pytest

from bus.access import AtomicKind, ScFailure
from bus.policies import NAMES, policy
from coordinator.result import Ending
from tests.coordinator import guests

EVERYWHERE = [
    (name, tier)
    for name, tier in product(NAMES, ("interpreter", "t1", "t2"))
    if tier == "interpreter" or policy(name).lowering is not None
]

# Each of two harts: SCs without reservation, some hundred times, at a place of its own.
ALONE = """
.globl _start
_start: la s0, granules
        slli t0, a0, 6
        add s0, s0, t0
        li s1, 300
        beqz a0, one
two:    sc.d t1, t0, (s0)
        addi s1, s1, -1
        bnez s1, two
        j stop
one:    sc.w t1, t0, (s0)
        addi s1, s1, -1
        bnez s1, one
stop:   wfi
        j stop
.data
.balign 64
granules: .zero 128
"""


@pytest.mark.parametrize(("name", "tier"), EVERYWHERE)
def test_failures_are_counted_by_pc_and_granule(name, tier):
    result, _ = guests.run(ALONE, harts=2, policy=name, tier=tier)
    granules = guests.image(ALONE).symbols["granules"].address
    found = {(row.symbol, row.granule): (row.cause, row.by_hart) for row in result.failed_scs}
    assert found == {
        ("one", granules): (ScFailure.NO_RESERVATION, {0: 300}),
        ("two", granules + 64): (ScFailure.NO_RESERVATION, {1: 300}),
    }
    assert [hart.sc_failures for hart in result.harts] == [{ScFailure.NO_RESERVATION: 300}] * 2
    assert [hart.sc_failures_in_a_row for hart in result.harts] == [300, 300]
    assert [hart.atomics[AtomicKind.SC] for hart in result.harts] == [300, 300]


# An LR/SC loop that writes its own granule in between, where that ends the reservation.
SELF_DEFEATING = """
.globl _start
_start: la s0, granule
        li s1, 1
        addi s2, s0, 16
again:  lr.d t0, (s0)
        sd s1, (s2)
        sc.d t1, s1, (s0)
        bnez t1, again
stop:   wfi
        j stop
.data
.balign 64
granule: .zero 64
"""


@pytest.mark.parametrize("name", [n for n in NAMES if policy(n).correct])
def test_livelock(name):
    result, _ = guests.run(
        SELF_DEFEATING, harts=2, policy=name, invalidate_on_same_hart_store=True, max_instructions=8000
    )
    (loop,) = result.stuck
    assert (loop.verdict, loop.harts, loop.symbol) == ("livelock", (0, 1), "again")
    assert loop.unconstrained.startswith("a store at ")
    assert ScFailure.OWN_STORE in loop.causes
    assert result.ending is Ending.LIMIT
    assert "livelock: harts 0, 1 in the LR/SC loop at again" in result.detail


# Hart 0 goes for a long way between LR and SC; hart 1 writes the granule without pause.
STARVING = """
.globl _start
_start: la s0, granule
        li s1, 1
        bnez a0, writer
again:  lr.d t0, (s0)
        addi t0, t0, 1
        li s2, 5
delay:  addi s2, s2, -1
        bnez s2, delay
        sc.d t1, t0, (s0)
        bnez t1, again
        j again
writer: amoadd.d zero, s1, (s0)
        j writer
.data
.balign 64
granule: .zero 64
"""


@pytest.mark.parametrize(("name", "tier"), [("inline", "interpreter"), ("inline", "t2")])
def test_starvation(name, tier, monkeypatch):
    monkeypatch.setattr("coordinator.contention.MANY", 3)
    # Hart 0's reservation cannot survive: each of its SCs is told to fail.
    result, _ = guests.run(
        STARVING, harts=2, policy=name, tier=tier, spurious_sc_failure=1.0, max_instructions=50_000
    )
    (loop,) = result.stuck
    assert (loop.verdict, loop.harts, loop.symbol) == ("starvation", (0,), "again")
    assert loop.unconstrained.startswith("a backward branch at")
    assert set(loop.causes) == {ScFailure.INJECTED}


def test_a_loop_that_gets_through_is_not_stuck():
    result, values = guests.run(guests.COUNTERS.replace("{n}", "2000"), harts=4, policy="inline")
    assert values["lrsc"] == 8000
    assert result.stuck == ()
