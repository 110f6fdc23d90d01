"""Which figures a batch has: of a metric that is asked for, and those of its report. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordinator.analysis.scaling import HARTS, THROUGHPUT, ScalingReport, scaling
from coordinator.expression import Value
from coordinator.plots.figure import Figure, figure
from coordinator.results.compare import SAMPLE, Group, check_names, samples
from coordinator.results.read import Results, ResultsError
from coordinator.results.statistics import Summary, summarise


def batch_figure(
    results: Results, metric: str, x: str, by: Sequence[str] | None = None, where: str | None = None
) -> Figure:
    """A metric against `x` by groups of `by`: by default all parameters that `x` and the sample leave.

    Raises:
        ResultsError: a name that nothing has, a condition that is none, or no point that has both.

    """
    names = tuple(n for n in results.parameters if n not in (*SAMPLE, x)) if by is None else tuple(by)
    check_names(results, (x, metric, *names))
    if x == HARTS:
        found = scaling(results, names, where, (metric,))
        drawn = scaling_figure(found, metric)
    else:
        drawn = figure(metric, x, names, _series(results, metric, x, names, where))
    if not drawn.panels:
        raise ResultsError(f"no point that did not fail has both {x} and {metric}")
    return drawn


def scaling_figure(found: ScalingReport, metric: str) -> Figure:
    """A metric against harts, with the fits where it is throughput."""
    has = [g for g in found.groups if metric in g.series]
    fits = {g.group: g.usl for g in has} if metric == THROUGHPUT else None
    series = {g.group: g.series[metric] for g in has}
    return figure(metric, HARTS, found.by, series, found.cores, fits, [g.group for g in found.groups])


def report_figures(results: Results, found: ScalingReport) -> Iterator[tuple[str, Figure]]:
    """Each metric of `found` that is not always 0: against harts, or if those do not vary, the first that does."""
    varying = [name for name in results.parameters if name not in (*SAMPLE, HARTS)]
    by_harts = len({n for group in found.groups for n in group.harts}) > 1
    for metric in found.metrics:
        if by_harts:
            drawn = scaling_figure(found, metric)
        elif varying:
            x, *by = varying
            drawn = figure(metric, x, by, _series(results, metric, x, by, None))
        else:
            return
        if any(p.mean for panel in drawn.panels for line in panel.lines for p in line.points):
            yield metric, drawn


def _series(
    results: Results, metric: str, x: str, by: Sequence[str], where: str | None
) -> dict[Group, dict[Value, Summary]]:
    points = (p for p in results.points(where) if p.status and not p.status.is_failure)
    found: dict[Group, dict[Value, Summary]] = {}
    for (at, *group), values in samples(points, (x, *by), metric).items():
        found.setdefault(tuple(group), {})[at] = summarise(values)
    return found
