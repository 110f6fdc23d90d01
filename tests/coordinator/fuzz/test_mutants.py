"""Planted bugs are caught by the fuzzer, and what has none is not accused."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain, count, islice
from unittest import mock

import pytest

from coordinator import monitor
from coordinator.fuzz.campaign import Campaign, Combination, combinations
from coordinator.fuzz.classics import CLASSICS
from coordinator.fuzz.judge import Failure, How
from tests.mutants import MUTANTS, processes

LIMIT_S = 60
"""By then a bug must be found."""
PROGRAMS = 60
"""A bug must be found in so many programs in the normal run: other tests beside it make time say little."""
WHERE = {
    "stores_change_places_across_a_fence": Combination("inline", "interpreter"),
    "loads_return_what_they_saw_before": Combination("inline", "interpreter"),
    "fence_i_keeps_stale_code": Combination("inline", "interpreter"),
    "serial_amo_ends_no_reservation": Combination("serial", "interpreter"),
    "serial_store_goes_past_the_bus": Combination("serial", "interpreter"),
}
SHAPES = {
    "release_store_without_its_fence": (0,) * 6,
    "full_fence_dropped_by_the_compiler": (1,) * 6,
    "stores_change_places_across_a_fence": (3,),
    "loads_return_what_they_saw_before": (5,),
    "doubleword_store_in_two_halves": (6,) * 4,
    "add_is_a_load_and_a_store": (9,) * 4,
    "signed_minimum_compares_unsigned": (12,),
    "unsigned_maximum_compares_signed": (13,),
    "amocas_writes_when_it_fails": (11,),
    "byte_amo_writes_its_neighbours_back": (8, 8, 8, 7),
    "writers_leave_the_version_alone": (20, 15),
    "sc_looks_at_no_version": (15,) * 4 + (20,) * 4,
    "lr_takes_the_version_after_the_value": (15,) * 8,
    "amos_of_tracked_pages_take_the_fast_path": (16, 17),
    "failed_sc_says_it_succeeded": (14, 19),
    "serial_amo_ends_no_reservation": (16,),
    "serial_store_goes_past_the_bus": (15, 20),
    "word_load_zero_extends": (21,),
    "fence_i_keeps_stale_code": (5, 6),
}
"""Classics (by seed) that the bug should show in; random programs run in between."""
QUICK = {
    "doubleword_store_in_two_halves",
    "signed_minimum_compares_unsigned",
    "writers_leave_the_version_alone",
    "serial_amo_ends_no_reservation",
    "fence_i_keeps_stale_code",
}


def hunt(name: str, cache, programs: int | None = None, time_s: float | None = None) -> Failure:
    combination = WHERE.get(name, Combination("inline", "t1"))
    with ExitStack() as stack:
        for function, planted in processes(name).items():
            stack.enter_context(mock.patch.object(monitor, function, planted))
        campaign = stack.enter_context(Campaign((combination,), str(cache)))
        seeds = chain.from_iterable((*SHAPES[name], random) for random in count(len(CLASSICS)))
        found = campaign.run(islice(seeds, programs), time_s, shrink_s=0)
    assert found is not None, f"not caught in {campaign.statistics.programs} programs"
    # A program that runs stale code may do anything; any other bug must be seen for what it is.
    assert found.failure.how in (How.OUTCOME, How.RECORDED) or name == "fence_i_keeps_stale_code", (
        found.failure.text
    )
    return found.failure


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_planted_bug_is_caught(name, tmp_path):
    hunt(name, tmp_path, programs=PROGRAMS)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_planted_bug_is_caught_within_a_minute(name, tmp_path):
    hunt(name, tmp_path, time_s=LIMIT_S)


def test_correct_policies_are_not_accused(tmp_path):
    with Campaign(combinations(), str(tmp_path)) as campaign:
        found = campaign.run(islice(count(), 12), None)
        assert found is None, f"{found.combination}: {found.failure.text}"
        assert campaign.statistics.programs == 12
        assert campaign.statistics.events > 1_000
