"""Groups of points, and how two batches differ: by how much, with which certainty, and where. Prints nothing.

Points are grouped by their parameters but for the seed and the repetition: those make the sample. Two batches are
compared group by group (Welch's t test on logarithms, p corrected by Holm), and as a whole over all their groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.expression import Value
from coordinator.results.read import BatchPoint, Results, ResultsError
from coordinator.results.statistics import (
    LogRatio,
    Ratio,
    Summary,
    holm,
    log_ratio,
    ratio_of,
    summarise,
    together,
)
from hart.spelling import nearest

SAMPLE = ("seed", "repetition")
"""Parameters that make the sample, unless a caller groups by them."""
LEVEL = 0.05
"""A difference is significant if p, corrected, is below this."""

Group = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One group in both batches.

    Attributes:
        group: the values of the parameters that make it.
        a, b: the samples in numbers.
        ratio: b over a; None where a value is not positive, so that there is none.
        p: of no difference, corrected for the number of groups; None where a sample is too small.

    """

    group: Group
    a: Summary
    b: Summary
    ratio: Ratio | None
    p: float | None

    @property
    def is_significant(self) -> bool:
        """Whether chance alone would hardly do that."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two batches.

    Attributes:
        by: the parameters that make the groups.
        metric: what was compared.
        groups: those in both.
        overall: b over a over all groups that have a ratio.
        only_a, only_b: groups that only one of them has.
        changed: points of the same parameters whose status differs: their label, status in a and in b.

    """

    by: tuple[str, ...]
    metric: str
    groups: tuple[Difference, ...]
    overall: Ratio | None
    only_a: tuple[Group, ...]
    only_b: tuple[Group, ...]
    changed: tuple[tuple[str, str, str], ...]

    @property
    def differs(self) -> bool:
        """Whether the batches differ as a whole, or in a group."""
        overall = self.overall is not None and self.overall.p is not None and self.overall.p < LEVEL
        return overall or any(group.is_significant for group in self.groups)


def check_names(results: Results, names: Iterable[str]) -> None:
    """Raises ResultsError for a name that is neither parameter nor metric."""
    known = results.names()
    for name in names:
        if name not in known:
            raise ResultsError(
                f"no parameter or metric {name!r}{nearest(name, known)}; there are {', '.join(known)}"
            )


def samples(points: Iterable[BatchPoint], by: Sequence[str], metric: str) -> dict[Group, list[float]]:
    """The values of a metric by group, in the order of the plan; points without it are left out."""
    found: dict[Group, list[float]] = defaultdict(list)
    for point in points:
        values = point.values
        value = values.get(metric)
        if isinstance(value, int | float):
            found[tuple(values.get(name, "") for name in by)].append(value)
    return dict(found)


def grouping(results: Results) -> tuple[str, ...]:
    """The parameters that make groups unless a caller says otherwise: all but `SAMPLE`."""
    return tuple(name for name in results.parameters if name not in SAMPLE)


def aggregate(
    results: Results, metric: str, by: Sequence[str] | None = None, where: str | None = None
) -> dict[Group, Summary]:
    """A metric in numbers, by group.

    Raises:
        ResultsError: a name that nothing has, or a condition that is none.

    """
    by = grouping(results) if by is None else by
    check_names(results, (*by, metric))
    found = samples(results.points(where), by, metric)
    return {group: summarise(values) for group, values in found.items()}


def compare(a: Results, b: Results, metric: str, where: str | None = None) -> Comparison:
    """How batch `b` differs from batch `a` in a metric. Points that did not end as expected do not count.

    Raises:
        ResultsError: a batch has no such metric, or they have no group in common.

    """
    by = tuple(name for name in grouping(a) if name in grouping(b))
    for results in (a, b):
        check_names(results, [metric])
    of_a, of_b = ([p for p in results.points(where) if p.status] for results in (a, b))
    good_a, good_b = ([p for p in points if p.status and not p.status.is_failure] for points in (of_a, of_b))
    samples_a, samples_b = (samples(points, by, metric) for points in (good_a, good_b))
    common = [group for group in samples_a if group in samples_b]
    if not common:
        raise ResultsError(f"{a.directory} and {b.directory} have no group of points with {metric} in common")
    logs = {group: _log_ratio(samples_a[group], samples_b[group]) for group in common}
    ratios = {group: None if found is None else ratio_of(found) for group, found in logs.items()}
    tested = [(group, r.p) for group, r in ratios.items() if r is not None and r.p is not None]
    corrected = dict(zip((g for g, _ in tested), holm([p for _, p in tested]), strict=True))
    comparable = [found for found in logs.values() if found is not None]
    return Comparison(
        by,
        metric,
        tuple(
            Difference(g, summarise(samples_a[g]), summarise(samples_b[g]), ratios[g], corrected.get(g))
            for g in common
        ),
        ratio_of(together(comparable)) if comparable else None,
        tuple(group for group in samples_a if group not in samples_b),
        tuple(group for group in samples_b if group not in samples_a),
        tuple(_changed(of_a, of_b)),
    )


def _log_ratio(a: Sequence[float], b: Sequence[float]) -> LogRatio | None:
    return log_ratio(a, b) if min(*a, *b) > 0 else None


def _changed(a: Iterable[BatchPoint], b: Iterable[BatchPoint]) -> Iterable[tuple[str, str, str]]:
    def by_parameters(points: Iterable[BatchPoint]) -> Mapping[object, BatchPoint]:
        return {tuple(sorted(p.parameters.items())): p for p in points}

    of_b = by_parameters(b)
    for key, point in by_parameters(a).items():
        other = of_b.get(key)
        if other is not None and point.status and other.status and point.status is not other.status:
            yield point.label, point.status.value, other.status.value
