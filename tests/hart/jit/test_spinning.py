"""Retry loops in native code: a hart gives way where one loop goes round in vain, not where many get through."""

import pytest
from native_code import T1, T2, run_to, running

from bus.access import AtomicKind
from bus.granule import YIELDS
from bus.layout import RAM_BASE, Hart, HartStatus, PageState
from hart import tiers
from hart.jit.context import Word

TARGET = RAM_BASE + 0x4000
TIER = pytest.mark.parametrize("tier", [T1, T2], ids=["t1", "t2"])
# Each time the inner loop goes round once: it is let through by the 1 that it has written itself.
AGAIN = """
start:
    sd zero, 0(a0)
again:
    amoswap.d a1, a2, (a0)
    beqz a1, again
    addi a3, a3, 1
    j start
"""
IN_VAIN = """
start:
    ld a1, 0(a0)
    beqz a1, start
"""
BUDGET, CROWDED_BUDGET = 5, 2


@pytest.fixture(autouse=True)
def _small_budgets(monkeypatch):
    monkeypatch.setattr(tiers, "BUDGET", BUDGET)
    monkeypatch.setattr(tiers, "CROWDED_BUDGET", CROWDED_BUDGET)


def noting(machine):
    """What the port is told."""
    waits = []
    machine.hart.x[10], machine.hart.x[12] = TARGET, 1
    spin = machine.hart.port.spin

    def note(address, count):
        assert address == TARGET
        waits.append(count)
        spin(address, count)

    machine.hart.port.spin = note
    return waits


@TIER
@pytest.mark.parametrize("name", ["inline", "cas"])
def test_loops_that_get_through_are_no_spinning(tier, name):
    with running(AGAIN, tier, policy_name=name) as machine:
        waits = noting(machine)
        run_to(machine, 7000)
        assert machine.hart.x[13] == 1000
        assert machine.hart.native_instructions > 6000
        assert waits == []


@TIER
def test_one_that_does_not_leaves_native_code_where_the_policy_knows_no_better(tier):
    with running(IN_VAIN, tier, policy_name="cas") as machine:
        waits = noting(machine)
        run_to(machine, 1000)
        assert waits == list(range(1, 1 + len(waits)))
        assert len(waits) > 50


@TIER
def test_it_gives_way_in_native_code_and_has_the_page_tracked_in_the_end(tier):
    with running(IN_VAIN, tier, policy_name="inline") as machine:
        waits = noting(machine)
        rounds = 2 * (BUDGET + 1)
        run_to(machine, 1000)
        assert waits == []
        run_to(machine, 1000 + rounds * (YIELDS + 2))
        assert waits[0] == 1 + YIELDS
        assert machine.segment.page_map[4] == PageState.TRACKED


# As compilers lay out an LR/SC lock: the loop begins with what is done after a try, and is entered behind that.
LOCK = """
    j try
start:
    nop
try:
    lr.w.aq a1, (a0)
    bnez a1, taken
    sc.w a1, a2, (a0)
    bnez a1, try
taken:
    bnez a1, start
"""
# One of its ways does not look at memory, so there is nothing to wait for.
LOOKS_AWAY = """
start:
    beqz a1, away
    ld a1, 0(a0)
    bnez a1, start
away:
    nop
    j start
"""


@TIER
def test_a_lock_of_several_ways_gives_way(tier):
    with running(LOCK, tier, policy_name="cas") as machine:
        waits = noting(machine)
        machine.segment.memory.store(TARGET, 4, 1)
        run_to(machine, 1000)
        assert len(waits) > 5


@TIER
def test_an_ordered_load_under_serial_stays_in_native_code_until_its_hart_gives_way(tier):
    with running("start: lw.aq a1, (a0)\n beqz a1, start", tier, policy_name="serial") as machine:
        waits = noting(machine)
        run_to(machine, 1000)
        assert len(waits) > 50
        assert machine.hart.native_instructions > 800
        assert machine.segment.harts[0][Hart.ATOMICS + AtomicKind.LOAD_ACQUIRE] == 500
        # What has been put off comes first: the port sees to that.
        machine.segment.harts[0][Hart.POSTED] = 1
        run_to(machine, 1002)
        assert machine.segment.harts[0][Hart.POSTED] == 0
        assert machine.segment.harts[0][Hart.ATOMICS + AtomicKind.LOAD_ACQUIRE] == 501


@TIER
@pytest.mark.parametrize("name", ["inline", "cas"])
def test_where_nothing_was_looked_at_there_is_nothing_to_wait_for(tier, name):
    with running(LOOKS_AWAY, tier, policy_name=name) as machine:
        waits = noting(machine)
        run_to(machine, 5000)
        assert machine.hart.native_instructions > 4000
        assert waits == []


def test_a_hart_that_spins_hears_its_doorbell():
    with running(IN_VAIN, T1, policy_name="cas") as machine:
        noting(machine)
        run_to(machine, 1000)
        page, spin = machine.segment.harts[0], machine.hart.port.spin

        def ring(address, count):
            page[Hart.DOORBELL] = 1
            spin(address, count)

        machine.hart.port.spin = ring
        before = machine.hart.instret
        machine.hart.run(100_000)
        assert 0 < machine.hart.instret - before < 100


def test_harts_that_do_not_run_leave_more_rounds_to_those_that_do(monkeypatch):
    monkeypatch.setattr(tiers.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(tiers, "LOOK_NS", 0)
    with running(IN_VAIN, T1, harts=4) as machine:
        noting(machine)
        hart, pages = machine.hart, machine.segment.harts
        for running_harts, budget in (
            (4, CROWDED_BUDGET),
            (3, CROWDED_BUDGET),
            (2, BUDGET),
            (3, CROWDED_BUDGET),
        ):
            for number in range(4):
                runs = number < running_harts
                pages[number][Hart.STATUS] = HartStatus.RUNNING if runs else HartStatus.WAITING
            run_to(machine, hart.instret + 2 * hart.slice)
            assert hart.engine.context[Word.SPIN_BUDGET] == budget
