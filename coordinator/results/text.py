"""Measurements as people read them, in tables of every kind. Decides nothing about them."""

from __future__ import annotations

from coordinator.results.statistics import Summary


def number(value: object) -> str:
    """A value for a table: four significant digits where it is no whole number, nothing for None."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def half_width(value: float) -> str:
    """Half of an interval, to two significant digits."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def interval(low: float | None, high: float | None) -> str:
    """An interval of something that cannot be negative; nothing where there is none, or no room in it."""
    return "" if low is None or high is None or low == high else f"{number(max(low, 0.0))} to {number(high)}"


def mean(summary: Summary | None) -> tuple[str, str]:
    """A sample's mean, and its interval."""
    return ("", "") if summary is None else (number(summary.mean), interval(summary.low, summary.high))
