"""Laws fitted to throughput."""

from __future__ import annotations

import random

import pytest

from coordinator.analysis.least_squares import SingularError, solve
from coordinator.analysis.usl import fit_amdahl, fit_usl

HARTS = (1, 2, 4, 8, 16, 32)


def made(sigma, kappa, rate=1000.0, noise=0.0, seeds=1, harts=HARTS, chance=None):
    chance = chance or random.Random(1)
    return [
        (n, rate * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)) * chance.lognormvariate(0, noise))
        for n in harts
        for _ in range(seeds)
    ]


def test_exact_throughput_gives_the_parameters_back():
    fit = fit_usl(made(0.05, 0.002))
    assert (fit.rate.value, fit.sigma.value, fit.kappa.value) == pytest.approx((1000, 0.05, 0.002))
    assert fit.relative_error < 1e-9
    assert fit.peak == pytest.approx((0.95 / 0.002) ** 0.5)
    assert fit.limit == pytest.approx(fit.throughput(fit.peak))


def test_amdahl_has_a_limit_and_no_peak():
    fit = fit_amdahl(made(0.1, 0))
    assert fit.sigma.value == pytest.approx(0.1)
    assert (fit.peak, fit.limit) == (None, pytest.approx(10_000))


def test_no_parameter_is_negative():
    """Faster than linear, and faster than Amdahl at many harts: both would make a parameter negative."""
    fast = fit_usl([(n, 1000.0 * n**1.1) for n in HARTS])
    assert (fast.sigma.value, fast.kappa.value) == (0, 0)
    assert fast.peak is None
    assert fast.limit is None
    bent = fit_usl([(n, 1000 * n / (1 + 0.2 * (n - 1) - 0.002 * n * (n - 1))) for n in HARTS])
    assert bent.kappa.value == 0 < bent.sigma.value


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    chance = random.Random(7)
    fits = [fit_usl(made(0.08, 0.003, noise=0.05, seeds=5, chance=chance)) for _ in range(200)]
    for name, truth in (("rate", 1000), ("sigma", 0.08), ("kappa", 0.003)):
        held = sum(getattr(f, name).low <= truth <= getattr(f, name).high for f in fits)
        assert 175 <= held <= 200, name


def test_too_little_to_fit():
    assert fit_usl(made(0.1, 0, harts=(1, 2, 4), seeds=9)) is None
    assert fit_amdahl(made(0.1, 0, harts=(1, 2), seeds=9)) is None
    assert fit_amdahl([(1, 5.0), (2, 0.0), (4, 3.0)]) is None


def test_columns_that_depend_on_each_other_are_refused():
    with pytest.raises(SingularError):
        solve([(1, 2), (2, 4), (3, 6)], [1, 2, 3], [1, 1, 1])
