"""Intervals and tests: against published values, and against samples whose truth is known."""

from __future__ import annotations

import math
import random

import pytest

from coordinator.results import ResultsError, Status, open_results
from coordinator.results.compare import aggregate, compare
from coordinator.results.statistics import (
    holm,
    log_ratio,
    ratio_of,
    summarise,
    t_quantile,
    t_tail,
    together,
)
from tests.coordinator.results.made import batch, noisy, point, record, vm


@pytest.mark.parametrize(
    ("p", "freedom", "t"),  # any table of Student's t
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 10, 2.228), (0.95, 30, 1.697), (0.995, 120, 2.617)],
)
def test_quantiles_are_the_tables(p, freedom, t):
    assert t_quantile(p, freedom) == pytest.approx(t, abs=6e-4)
    assert t_tail(t, freedom) == pytest.approx(1 - p, rel=2e-3)


def test_summary():
    s = summarise([1.0, 2.0, 3.0, 10.0])
    assert (s.n, s.mean, s.median, s.least, s.most) == (4, 4.0, 2.5, 1.0, 10.0)
    assert s.low == pytest.approx(4 - 3.1824 * 4.0825 / 2, abs=1e-3)
    assert summarise([5.0]).low is None


def test_holm_is_holms_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("t", [0.1, 1.0, 3.0, 20.0])
def test_tails_of_one_and_two_degrees_have_closed_forms(t):
    assert t_tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, rel=1e-9)
    assert t_tail(t, 2) == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)), rel=1e-9)


def test_welch_of_equal_variances_is_students():
    a, b = [math.exp(x) for x in (1.0, 2.0, 3.0)], [math.exp(x) for x in (5.0, 6.0, 7.0)]
    found = log_ratio(a, b)
    assert (found.estimate, found.variance, found.freedom) == pytest.approx((4.0, 2 / 3, 4.0))
    assert ratio_of(found).p == pytest.approx(2 * t_tail(4 / math.sqrt(2 / 3), 4))


def test_intervals_hold_the_truth_as_often_as_they_say():
    chance = random.Random(5)
    held = 0
    for _ in range(400):
        a = [chance.lognormvariate(0, 0.2) for _ in range(5)]
        b = [chance.lognormvariate(0.1, 0.4) for _ in range(7)]
        found = ratio_of(log_ratio(a, b))
        held += found.low <= 1.10517 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_strata_with_one_value_each_are_paired():
    pairs = [log_ratio([x], [1.2 * x * n]) for x, n in ((1, 1.01), (10, 0.99), (100, 1.0))]
    found = ratio_of(together(pairs))
    assert found.ratio == pytest.approx(1.2, rel=0.01)
    assert found.p < 0.01


def opened_pair(tmp_path, make_a, make_b):
    return open_results(batch(tmp_path / "a", make_a)), open_results(batch(tmp_path / "b", make_b))


def test_a_planted_slow_down_of_10_percent_is_found(tmp_path):
    a, b = opened_pair(tmp_path, noisy(1.0, 1), noisy(1.1, 2))
    with a as results_a, b as results_b:
        found = compare(results_a, results_b, "run_s")
    assert found.differs
    assert found.overall.low < 1.1 < found.overall.high
    assert found.overall.low > 1.05
    assert all(group.is_significant for group in found.groups)
    assert [group.group for group in found.groups] == [(1,), (2,), (4,)]


def test_equal_batches_do_not_differ(tmp_path):
    differing = 0
    for seed in range(20):
        a, b = opened_pair(tmp_path / str(seed), noisy(1.0, seed), noisy(1.0, 100 + seed))
        with a as results_a, b as results_b:
            differing += compare(results_a, results_b, "run_s").differs
    assert differing <= 3  # of 20 at level 0.05 each for the whole and for its groups


def test_a_slow_down_of_one_group_is_found_there_alone(tmp_path):
    a, b = opened_pair(tmp_path, noisy(1.0, 1), noisy(1.0, 2, slow={2: 1.1}))
    with a as results_a, b as results_b:
        found = compare(results_a, results_b, "run_s")
    assert [group.group for group in found.groups if group.is_significant] == [(2,)]


def test_points_that_failed_do_not_count_but_are_told(tmp_path):
    def failing(planned):
        if planned.parameters["seed"] == 3:
            return record(planned, Status.FAILED, (vm(ok=False, run_s=100.0),))
        return noisy(1.0, 2)(planned)

    a, b = opened_pair(tmp_path, noisy(1.0, 1), failing)
    with a as results_a, b as results_b:
        found = compare(results_a, results_b, "run_s")
    assert [group.b.n for group in found.groups] == [7, 7, 7]
    assert found.changed[0] == ("harts=1 seed=3", "ok", "failed")


def test_a_metric_of_zeros_has_no_ratio(tmp_path):
    a, b = opened_pair(tmp_path, None, None)
    with a as results_a, b as results_b:
        found = compare(results_a, results_b, "traps")
        assert found.overall is None
        assert not found.differs
        with pytest.raises(ResultsError, match="did you mean 'traps'"):
            compare(results_a, results_b, "trap")


def test_batches_without_common_groups(tmp_path):
    a = open_results(batch(tmp_path / "a"))
    b = open_results(batch(tmp_path / "b", points=[point({"harts": 64, "seed": 0})]))
    with a as results_a, b as results_b, pytest.raises(ResultsError, match="no group of points"):
        compare(results_a, results_b, "run_s")


def test_aggregate(tmp_path):
    with open_results(batch(tmp_path, noisy(1.0, 1))) as results:
        by_harts = aggregate(results, "run_s")
        assert list(by_harts) == [(1,), (2,), (4,)]
        assert by_harts[2,].n == 8
        assert by_harts[2,].low < 2 < by_harts[2,].high
        (everything,) = aggregate(results, "run_s", by=(), where="harts >= 2").values()
        assert everything.n == 16
        with pytest.raises(ResultsError, match="did you mean 'harts'"):
            aggregate(results, "run_s", by=["hart"])
