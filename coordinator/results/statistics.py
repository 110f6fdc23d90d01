"""Means, medians, intervals and tests over measurements. Pure functions of numbers; knows no batches.

Intervals and tests are Student's and Welch's, whose distribution is computed here (Abramowitz and Stegun 26.5, 26.7),
so that nothing but Python is needed. Ratios are compared as logarithms: times and rates are positive and skewed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
"""Of all intervals, unless a caller says otherwise."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A sample in numbers; the interval of the mean is None for fewer than two values."""

    n: int
    mean: float
    median: float
    low: float | None
    high: float | None
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times b is a: of geometric means, with its interval, and the probability of one as far from 1 by chance.

    The interval and p are None where a sample is too small to say.
    """

    ratio: float
    low: float | None
    high: float | None
    p: float | None


def summarise(values: Sequence[float], confidence: float = CONFIDENCE) -> Summary:
    """The sample's mean with its t interval, its median, its extremes; `values` is not empty."""
    mean = statistics.fmean(values)
    low = high = None
    if len(values) > 1:
        half = (
            t_quantile(0.5 + confidence / 2, len(values) - 1)
            * statistics.stdev(values)
            / math.sqrt(len(values))
        )
        low, high = mean - half, mean + half
    return Summary(len(values), mean, statistics.median(values), low, high, min(values), max(values))


@dataclass(frozen=True, slots=True)
class LogRatio:
    """ln(b/a) of geometric means: its estimate, the variance of that, and Welch's degrees of freedom; 0 for unknown."""

    estimate: float
    variance: float
    freedom: float


def log_ratio(a: Sequence[float], b: Sequence[float]) -> LogRatio:
    """Of two samples of positive numbers."""
    la, lb = [math.log(v) for v in a], [math.log(v) for v in b]
    estimate = statistics.fmean(lb) - statistics.fmean(la)
    if len(la) < 2 or len(lb) < 2:
        return LogRatio(estimate, 0.0, 0.0)
    parts = [(statistics.variance(x) / len(x), len(x) - 1) for x in (la, lb)]
    return _added(estimate, parts)


def together(ratios: Sequence[LogRatio]) -> LogRatio:
    """The mean of several log ratios, each of its own strata; of their scatter, where one of them has no variance."""
    mean = statistics.fmean(r.estimate for r in ratios)
    if all(r.freedom for r in ratios):
        return _added(mean, [(r.variance / len(ratios) ** 2, r.freedom) for r in ratios])
    if len(ratios) < 2:
        return LogRatio(mean, 0.0, 0.0)
    scatter = statistics.variance(r.estimate for r in ratios)
    return LogRatio(mean, scatter / len(ratios), len(ratios) - 1)


def _added(estimate: float, parts: Sequence[tuple[float, float]]) -> LogRatio:
    """Variances added; degrees of freedom by Welch and Satterthwaite."""
    variance = sum(v for v, _ in parts)
    below = sum(v * v / freedom for v, freedom in parts)
    return LogRatio(estimate, variance, variance * variance / below if below else sum(f for _, f in parts))


def ratio_of(found: LogRatio, confidence: float = CONFIDENCE) -> Ratio:
    """A log ratio as a ratio, with interval and p."""
    ratio = math.exp(found.estimate)
    if not found.freedom:
        return Ratio(ratio, None, None, None)
    error = math.sqrt(found.variance)
    if not error:
        return Ratio(ratio, ratio, ratio, 1.0 if found.estimate == 0 else 0.0)
    half = t_quantile(0.5 + confidence / 2, found.freedom) * error
    p = 2 * t_tail(abs(found.estimate) / error, found.freedom)
    return Ratio(ratio, math.exp(found.estimate - half), math.exp(found.estimate + half), p)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected so that all their errors together stay below the level (Holm 1979)."""
    adjusted = [0.0] * len(ps)
    worst = 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = worst
    return adjusted


def t_tail(t: float, freedom: float) -> float:
    """P(T > t) of Student's t, for t of at least 0."""
    return 0.5 * _beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def t_quantile(p: float, freedom: float) -> float:
    """The t that T stays below with probability p, for p of at least 0.5."""
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > 1 - p:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > 1 - p else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly
        return 1 - _beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return front * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """Its continued fraction, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 1000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + term / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
