"""Where compiled code stores without a look at the page map: never to a page that is tracked or watched."""

import pytest
from native_code import T1, T2, run_to, running

from bus.granule import VERSION
from bus.layout import PAGE, RAM_BASE, Header, PageState
from hart.jit.context import Word

RAM_BYTES = 8 * PAGE
TARGET = RAM_BASE + 4 * PAGE
STORES = """
start:
    sd a1, 0(a0)
    ld a2, 8(a0)
    sd a1, 8(a0)
    addi a1, a1, 1
    sub a3, a0, a4      # a place that no other check has seen
    sb a1, 70(a3)
    j start
"""
TIER = pytest.mark.parametrize("tiers", [T1, T2], ids=["t1", "t2"])


def stretch(machine):
    base, size = (machine.hart.engine.context[word] for word in (Word.FREE_BASE, Word.FREE_BYTES))
    return (base - RAM_BASE) // PAGE, size // PAGE


def track(machine, page):
    """As the arbiter does, in its order."""
    machine.segment.page_map[page] |= PageState.TRACKED
    machine.segment.header[Header.QUIESCE_EPOCH] += 1


def versions(machine, granule):
    return machine.segment.granules[granule] // VERSION


@TIER
def test_stores_pass_the_words_from_the_next_entry_on(tiers):
    with running(STORES, tiers, ram_bytes=RAM_BYTES, policy_name="inline") as machine:
        machine.hart.x[10], machine.hart.x[14] = TARGET, 0
        granule = 4 * PAGE >> 6
        run_to(machine, 700)
        assert stretch(machine) == (0, 8)
        assert not versions(machine, granule)
        track(machine, 4)
        run_to(machine, 1400)
        assert stretch(machine) == (0, 4)
        assert versions(machine, granule) == 200
        assert versions(machine, granule + 1) == 100
        assert machine.segment.memory.load(TARGET + 8, 8) == 199
        assert machine.hart.native_instructions > 1000


@TIER
def test_the_longest_stretch_is_taken(tiers):
    with running(STORES, tiers, ram_bytes=RAM_BYTES, policy_name="inline") as machine:
        machine.hart.x[10] = TARGET
        machine.segment.page_map[1] = PageState.WATCHED
        run_to(machine, 700)
        assert stretch(machine) == (2, 6)
        track(machine, 6)
        run_to(machine, 1400)
        assert stretch(machine) == (2, 4)
        assert machine.segment.memory.load(TARGET, 8) == 199


@TIER
def test_without_a_free_page_every_store_is_tested(tiers):
    with running(STORES, tiers, ram_bytes=RAM_BYTES, policy_name="inline") as machine:
        machine.hart.x[10] = TARGET
        for page in range(8):
            track(machine, page)
        run_to(machine, 700)
        assert stretch(machine)[1] == 0
        assert versions(machine, 4 * PAGE >> 6) == 200


@TIER
@pytest.mark.parametrize("start", [-8, -4, 0, PAGE - 16, PAGE - 8])
def test_the_edges_of_the_stretch(tiers, start):
    """Around a tracked page each granule of it counts its stores, and none beside it does."""
    with running(STORES, tiers, ram_bytes=RAM_BYTES, policy_name="inline") as machine:
        track(machine, 4)
        # The byte store goes to page 2.
        machine.hart.x[10], machine.hart.x[14] = TARGET + start, 2 * PAGE
        run_to(machine, 700)
        # A misaligned store to a tracked page is made byte by byte.
        parts = range(8) if start % 8 else (0,)
        inside = [0 <= start + offset + i < PAGE for offset in (0, 8) for i in parts]
        counted = sum(versions(machine, (4 * PAGE >> 6) + g) for g in range(PAGE >> 6))
        assert counted == 100 * sum(inside)
        assert not any(versions(machine, g) for g in range(4 * PAGE >> 6))
        assert not any(versions(machine, g) for g in range(5 * PAGE >> 6, 8 * PAGE >> 6))
        assert machine.segment.memory.load(TARGET + start + 8, 8) == 99
