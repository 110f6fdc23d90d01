"""Scalability models fitted to throughput over harts: Amdahl's law and Gunther's Universal Scalability Law (USL).

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

lambda is the throughput of one hart, sigma what is serial (contention), kappa what every pair of harts costs
(coherence); Amdahl's law is kappa = 0. N / X(N) is linear in 1, N - 1 and N (N - 1), so that least squares of
relative errors have a closed form. Neither sigma nor kappa may be negative: where the best fit has one so, it is held
at 0, as the law's meaning demands. Gunther: A General Theory of Computational Scalability Based on Rational
Functions, arXiv:0808.1431; Guerrilla Capacity Planning, Springer 2007. Pure functions of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.analysis.least_squares import SingularError, Solution, solve
from coordinator.results.statistics import CONFIDENCE, t_quantile

Sample = tuple[int, float]
"""Harts, and the throughput that one run had with so many."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A parameter with its interval: None where nothing is left over to tell it from, or the parameter is held at 0."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """A model fitted to throughput.

    Attributes:
        rate: lambda, operations/s of one hart.
        sigma: contention, a share.
        kappa: coherence, a share; held at 0 by Amdahl's law.
        relative_error: root mean square of the fit's relative errors.

    """

    rate: Estimate
    sigma: Estimate
    kappa: Estimate
    relative_error: float

    def throughput(self, harts: float) -> float:
        """X(harts)."""
        sigma, kappa = self.sigma.value, self.kappa.value
        return self.rate.value * harts / (1 + sigma * (harts - 1) + kappa * harts * (harts - 1))

    @property
    def peak(self) -> float | None:
        """The number of harts with the most throughput; None if more harts are always better."""
        sigma, kappa = self.sigma.value, self.kappa.value
        if sigma >= 1:
            return 1.0
        return None if kappa <= 0 else max(1.0, math.sqrt((1 - sigma) / kappa))

    @property
    def limit(self) -> float | None:
        """The throughput that no number of harts exceeds; None if there is no bound."""
        peak = self.peak
        if peak is not None:
            return self.throughput(peak)
        return self.rate.value / self.sigma.value if self.sigma.value > 0 else None


LEAST_HARTS = {"amdahl": 3, "usl": 4}
"""Different numbers of harts that a fit needs: one more than it has parameters, so that it can be seen to be wrong."""


def fit_amdahl(samples: Sequence[Sample]) -> Fit | None:
    """Amdahl's law; None where there are too few numbers of harts, or no throughput."""
    return _best(samples, [(1,), ()]) if _enough(samples, "amdahl") else None


def fit_usl(samples: Sequence[Sample]) -> Fit | None:
    """The Universal Scalability Law; None as in `fit_amdahl`."""
    return _best(samples, [(1, 2), (1,), (2,), ()]) if _enough(samples, "usl") else None


def _enough(samples: Sequence[Sample], model: str) -> bool:
    return len({n for n, _ in samples}) >= LEAST_HARTS[model] and all(n > 0 and x > 0 for n, x in samples)


def _best(samples: Sequence[Sample], choices: Sequence[tuple[int, ...]]) -> Fit | None:
    """The best of the fits in which only the parameters of one of `choices` are not 0, and none is negative."""
    found: list[tuple[float, Fit]] = []
    for free in choices:
        columns = (0, *free)
        rows = [[(1.0, n - 1.0, n * (n - 1.0))[c] for c in columns] for n, _ in samples]
        values = [n / x for n, x in samples]
        try:
            solution = solve(rows, values, [1 / (v * v) for v in values])
        except SingularError:
            continue
        if all(c > 0 for c in solution.coefficients):
            found.append((solution.squares, _fit(solution, columns, len(samples))))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _fit(solution: Solution, columns: tuple[int, ...], samples: int) -> Fit:
    first, *_ = solution.coefficients
    width = t_quantile(0.5 + CONFIDENCE / 2, solution.freedom) if solution.freedom > 0 else None

    def estimate(value: float, gradient: dict[int, float]) -> Estimate:
        """With the interval that errors of the coefficients bring (the delta method), not below 0."""
        if width is None:
            return Estimate(value)
        covariance = solution.covariance
        variance = sum(a * b * covariance[i][j] for i, a in gradient.items() for j, b in gradient.items())
        half = width * math.sqrt(max(0.0, variance))
        return Estimate(value, max(0.0, value - half), value + half)

    parameters = {1: Estimate(0.0), 2: Estimate(0.0)}
    for at, column in enumerate(columns[1:], 1):
        ratio = solution.coefficients[at] / first
        parameters[column] = estimate(ratio, {0: -ratio / first, at: 1 / first})
    rate = estimate(1 / first, {0: -1 / (first * first)})
    return Fit(rate, parameters[1], parameters[2], math.sqrt(solution.squares / samples))
