"""How a batch scales: each group of points as series over harts, with fits, and what to be warned of. Draws nothing.

A group is all points of the same parameters but for harts, seed and repetition; a failed point counts in none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.analysis.usl import Fit, fit_amdahl, fit_usl
from coordinator.expression import Value
from coordinator.results.compare import SAMPLE, Group, check_names, samples
from coordinator.results.derived import FAIRNESS, QUOTIENTS
from coordinator.results.read import BatchPoint, Results
from coordinator.results.record import Status
from coordinator.results.statistics import Summary, summarise

HARTS = "harts"
THROUGHPUT = "operations_per_s"
COUNTS = tuple(name for name, quotient in QUOTIENTS.items() if quotient.machine_independent)
"""What does not depend on the speed of the host."""
LATENCY = re.compile(r"latency_p(?P<digits>\d{2,4})_(?P<unit>ns|us|ticks|instructions)")
"""Metrics that are percentiles of the time an operation takes: `latency_p50_ns`, `latency_p999_ns` (the 99.9th)."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """One group.

    Attributes:
        group: the values of the parameters that make it.
        series: by metric, by number of harts in rising order, the sample in numbers; no metric without values.
        amdahl, usl: fits of throughput; None where there are too few numbers of harts.
        fitted: the numbers of harts that the fits are of.

    """

    group: Group
    series: Mapping[str, Mapping[int, Summary]]
    amdahl: Fit | None
    usl: Fit | None
    fitted: tuple[int, ...]

    @property
    def harts(self) -> list[int]:
        """Numbers of harts, rising."""
        return sorted({n for by_harts in self.series.values() for n in by_harts})


@dataclass(frozen=True, slots=True)
class ScalingReport:
    """A batch.

    Attributes:
        by: names of the parameters that make the groups.
        groups: each of them.
        metrics: those that any group has, the ones to look at first foremost.
        cores: of the smallest host that ran any of it; None if nobody noted that.
        warnings: what a reader of the figures has to know, for people.

    """

    by: tuple[str, ...]
    groups: tuple[Scaling, ...]
    metrics: tuple[str, ...]
    cores: int | None
    warnings: tuple[str, ...]

    @property
    def is_oversubscribed(self) -> bool:
        """Whether there are points with more harts than the host has cores."""
        return self.cores is not None and any(n > self.cores for g in self.groups for n in g.harts)


def label(names: Sequence[str], group: Sequence[Value]) -> str:
    """A group in short: its values, with names where they are numbers; `all` for the only one."""
    named = (f"{n} {v}" if isinstance(v, int | float) else str(v) for n, v in zip(names, group, strict=True))
    return ", ".join(named) or "all"


def host_cores(results: Results) -> int | None:
    """Cores that the batch could use, of the smallest host; None if no session noted that."""
    hosts = (session["host"] for session in results.sessions)
    found = [host["cores"] for host in hosts if isinstance(host, dict) and isinstance(host.get("cores"), int)]
    return min(found, default=None)


def scaling(
    results: Results, by: Sequence[str] | None = None, where: str | None = None, metrics: Sequence[str] = ()
) -> ScalingReport:
    """The scaling of a batch, by groups of `by` (all parameters but harts, seed and repetition), of what it measured
    that belongs to scaling and of `metrics`.

    Raises:
        ResultsError: a name that nothing has, or a condition that is none.

    """
    names = tuple(n for n in results.parameters if n not in (*SAMPLE, HARTS)) if by is None else tuple(by)
    check_names(results, (*names, *metrics))
    cores = host_cores(results)
    points = [p for p in results.points(where) if p.status and not p.status.is_failure]
    wanted = list(dict.fromkeys([*metrics, *_of_scaling(results.names())]))
    groups = tuple(_scaling(group, members, wanted, cores) for group, members in _grouped(points, names))
    present = {metric for group in groups for metric in group.series}
    oversubscribed = cores is not None and any(n > cores for group in groups for n in group.harts)
    first = COUNTS if oversubscribed else (THROUGHPUT,)
    order = [m for m in dict.fromkeys([*metrics, *first, *wanted]) if m in present]
    statuses = Counter(p.status for p in results.points(where))
    return ScalingReport(
        names, groups, tuple(order), cores, tuple(_warnings(groups, cores, statuses, present))
    )


def _of_scaling(names: Sequence[str]) -> list[str]:
    latencies = sorted(name for name in names if LATENCY.fullmatch(name))
    return [name for name in (THROUGHPUT, *latencies, *COUNTS, FAIRNESS) if name in names]


def _grouped(points: Iterable[BatchPoint], names: Sequence[str]) -> Iterable[tuple[Group, list[BatchPoint]]]:
    found: dict[Group, list[BatchPoint]] = {}
    for point in points:
        values = point.values
        found.setdefault(tuple(values.get(name, "") for name in names), []).append(point)
    return found.items()


def _scaling(
    group: Group, points: Sequence[BatchPoint], metrics: Iterable[str], cores: int | None
) -> Scaling:
    series: dict[str, dict[int, Summary]] = {}
    throughput: list[tuple[int, float]] = []
    for metric in metrics:
        by_harts = {
            int(n): values for (n,), values in samples(points, (HARTS,), metric).items() if isinstance(n, int)
        }
        if by_harts:
            series[metric] = {n: summarise(by_harts[n]) for n in sorted(by_harts)}
        if metric == THROUGHPUT:
            throughput = [(n, value) for n, values in by_harts.items() for value in values]
    within = [(n, x) for n, x in throughput if cores is None or n <= cores]
    amdahl, usl = fit_amdahl(within), fit_usl(within)
    if usl is None:  # better one of all than none
        within = throughput
        amdahl, usl = fit_amdahl(within), fit_usl(within)
    fitted = tuple(sorted({n for n, _ in within})) if amdahl or usl else ()
    return Scaling(group, series, amdahl, usl, fitted)


def _warnings(
    groups: Sequence[Scaling],
    cores: int | None,
    statuses: Mapping[Status | None, int],
    present: Iterable[str],
) -> Iterable[str]:
    most = max((n for group in groups for n in group.harts), default=0)
    if cores is not None and most > cores:
        yield (
            f"up to {most} harts shared {cores} host cores: beyond {cores}, throughput and latency are the host "
            "scheduler's as much as the guest's; compare counts per operation first"
        )
    if cores is not None and any(n > cores for group in groups for n in group.fitted):
        yield f"the fits include runs with more harts than the host's {cores} cores"
    if THROUGHPUT not in present:
        yield (
            "no throughput: the configuration declares no vm.metrics.operations, so there are no rates, no counts per "
            "operation and no fits"
        )
    if any(s.n < 2 for group in groups for by in group.series.values() for s in by.values()):
        yield "some groups have one run only, so that there are no intervals; sweep.seeds makes more"
    if stopped := statuses.get(Status.BUDGET, 0):
        yield (
            f"{_points(stopped)} reached the budget and {'was' if stopped == 1 else 'were'} stopped: what was measured "
            "up to there is in the figures, but nothing was judged; counts per operation of few operations mean little"
        )
    if left_out := sum(n for status, n in statuses.items() if status is not None and status.is_failure):
        yield f"{_points(left_out)} that failed {'is' if left_out == 1 else 'are'} in no figure"
    if missing := statuses.get(None, 0):
        yield f"{_points(missing)} {'has' if missing == 1 else 'have'} not been run yet"


def _points(count: int) -> str:
    return f"{count} point{'' if count == 1 else 's'}"
