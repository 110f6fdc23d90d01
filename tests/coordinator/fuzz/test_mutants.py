"""Planted bugs are caught by the fuzzer, and what has none is not accused."""

from __future__ import annotations

from itertools import count, islice

import pytest

from coordinator.fuzz.campaign import Campaign, Combination, combinations
from tests.mutants import MUTANTS, planted

LIMIT_S = 60.0
WHERE = {
    "stores_change_places_across_a_fence": Combination("inline", "interpreter"),
    "loads_return_what_they_saw_before": Combination("inline", "interpreter"),
    "fence_i_keeps_stale_code": Combination("inline", "interpreter"),
    "serial_amo_ends_no_reservation": Combination("serial", "interpreter"),
    "serial_store_goes_past_the_bus": Combination("serial", "interpreter"),
}
QUICK = {
    "doubleword_store_in_two_halves",
    "signed_minimum_compares_unsigned",
    "amocas_writes_when_it_fails",
    "writers_leave_the_version_alone",
    "serial_amo_ends_no_reservation",
    "fence_i_keeps_stale_code",
}


def hunt(name: str, cache) -> None:
    combination = WHERE.get(name, Combination("inline", "t1"))
    with planted(name), Campaign((combination,), str(cache)) as campaign:
        found = campaign.run(count(), LIMIT_S, shrink_s=0)
    assert found is not None, f"not caught in {campaign.statistics.programs} programs"


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_planted_bug_is_caught(name, tmp_path):
    hunt(name, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - QUICK))
def test_a_planted_bug_is_caught_soak(name, tmp_path):
    hunt(name, tmp_path)


def test_correct_policies_are_not_accused(tmp_path):
    with Campaign(combinations(), str(tmp_path)) as campaign:
        found = campaign.run(islice(count(), 36), None)
        assert found is None, f"{found.combination}: {found.failure.text}"
        assert campaign.statistics.programs == 36
        assert campaign.statistics.events > 10_000
