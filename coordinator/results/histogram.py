"""How often each outcome was seen: what `[vm.outcome]` tells apart, counted over runs. Prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from coordinator.expression import Value
from coordinator.results.read import BatchPoint

Outcome = tuple[tuple[str, int], ...]
"""Name and value of each register and symbol, in the order of the config."""


def as_outcome(values: Mapping[str, int]) -> Outcome:
    """The values of one run."""
    return tuple(values.items())


def counted(outcomes: Iterable[Outcome]) -> dict[Outcome, int]:
    """How often each occurs, in the order of their values."""
    return dict(sorted(Counter(outcomes).items()))


def histograms(
    points: Iterable[BatchPoint], by: Sequence[str]
) -> dict[tuple[tuple[Value, ...], str], dict[Outcome, int]]:
    """By group and VM, how often each outcome was seen; runs that failed count too, those without outcome do not."""
    found: dict[tuple[tuple[Value, ...], str], list[Outcome]] = {}
    for point in points:
        values = point.values
        group = tuple(values.get(name, "") for name in by)
        for vm in point.vms:
            if vm.outcome:
                found.setdefault((group, vm.name), []).append(as_outcome(vm.outcome))
    return {key: counted(outcomes) for key, outcomes in found.items()}
