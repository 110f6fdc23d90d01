"""The measurement of the test for tracked pages measures two different loops."""

from __future__ import annotations

from coordinator.bench.tracking import KERNELS, store_costs


def test_every_kernel_is_timed_both_ways():
    costs = store_costs(rounds=1, instructions=200_000)
    assert [cost.kernel for cost in costs] == list(KERNELS)
    assert all(cost.tested_ns > 0 and cost.untested_ns > 0 and cost.ratio > 0 for cost in costs)
