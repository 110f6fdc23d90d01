"""Scaling for people, on a terminal, and for programs, as JSON. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import typer

from coordinator.analysis.scaling import HARTS, Scaling, ScalingReport, label
from coordinator.analysis.usl import Estimate, Fit
from coordinator.report import plain_table, stdout_console
from coordinator.results.statistics import Summary
from coordinator.results.text import half_width, interval, number

FIT_HEADER = (
    *("group", "law", "harts", "λ (operations/s)", "σ contention", "κ coherence"),
    *("peak at harts", "most operations/s", "residual"),
)


def fits(report: ScalingReport) -> Iterator[tuple[str | tuple[str, str], ...]]:
    """A row of `FIT_HEADER` for each fit; estimates as value and interval."""
    for group in report.groups:
        for law, fit in (("Amdahl", group.amdahl), ("USL", group.usl)):
            if fit is not None:
                yield (
                    label(report.by, group.group),
                    law,
                    f"{group.fitted[0]} to {group.fitted[-1]}",
                    _estimate(fit.rate),
                    _estimate(fit.sigma),
                    _estimate(fit.kappa) if law == "USL" else "",
                    "none" if fit.peak is None else f"{fit.peak:.3g}",
                    "no limit" if fit.limit is None else number(fit.limit),
                    f"{100 * fit.relative_error:.1f} %",
                )


def _estimate(estimate: Estimate) -> tuple[str, str]:
    return number(estimate.value), interval(estimate.low, estimate.high)


def print_scaling(report: ScalingReport) -> None:
    """Warnings, for each metric the means by group and harts, fits."""
    for warning in report.warnings:
        typer.echo(f"note: {warning}")
    console = stdout_console()
    harts = sorted({n for group in report.groups for n in group.harts})
    for metric in report.metrics:
        typer.echo(f"\n{metric}, by {HARTS}: mean ± half its 95 % interval")
        table = plain_table([*report.by, *map(str, harts)])
        for group in report.groups:
            series = group.series.get(metric, {})
            table.add_row(*map(str, group.group), *(_with_half(series.get(n)) for n in harts))
        console.print(table)
    rows = list(fits(report))
    if rows:
        typer.echo("\nLaws fitted to throughput, X(N) = λN / (1 + σ(N-1) + κN(N-1)), with 95 % intervals")
        table = plain_table(FIT_HEADER)
        for row in rows:
            table.add_row(*(cell if isinstance(cell, str) else _together(cell) for cell in row))
        console.print(table)


def _with_half(summary: Summary | None) -> str:
    if summary is None or summary.high is None or summary.high == summary.mean:
        return "" if summary is None else number(summary.mean)
    return f"{number(summary.mean)} ±{half_width(summary.high - summary.mean)}"


def _together(cell: tuple[str, str]) -> str:
    value, between = cell
    return f"{value} ({between})" if between else value


def to_json(report: ScalingReport) -> dict[str, object]:
    """The whole report; keys are added, never renamed or removed."""
    return {
        "by": report.by,
        "cores": report.cores,
        "oversubscribed": report.is_oversubscribed,
        "warnings": report.warnings,
        "metrics": report.metrics,
        "groups": [_group(report, group) for group in report.groups],
    }


def _group(report: ScalingReport, group: Scaling) -> dict[str, object]:
    return {
        "group": dict(zip(report.by, group.group, strict=True)),
        "series": {
            metric: [{HARTS: n, **asdict(summary)} for n, summary in by_harts.items()]
            for metric, by_harts in group.series.items()
        },
        "fitted": group.fitted,
        "amdahl": None if group.amdahl is None else _fit(group.amdahl),
        "usl": None if group.usl is None else _fit(group.usl),
    }


def _fit(fit: Fit) -> dict[str, object]:
    return asdict(fit) | {"peak": fit.peak, "limit": fit.limit}
