"""Measurements that follow from others: rates, shares, counts per operation, fairness. Reads no results.

A table, so that lists, filters, comparisons, plots and reports know the same ones under the same names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coordinator.measure import OPERATIONS, OPERATIONS_INSTRET, OPERATIONS_NS


@dataclass(frozen=True, slots=True)
class Quotient:
    """One measurement by another; `machine_independent` where the speed of the host does not enter.

    `above` and `below` are each measurements of one thing, the best first, with their unit in the quotient's. One that
    is 0 was not made.
    """

    above: Mapping[str, float]
    below: Mapping[str, float]
    meaning: str
    unit: str = ""
    machine_independent: bool = True

    def of(self, measured: Mapping[str, float]) -> float | None:
        """Its value; None where something is missing, or would be divided by 0."""
        above, below = _best(self.above, measured), _best(self.below, measured)
        return above / below if above is not None and below else None

    def is_of(self, measured: Collection[str]) -> bool:
        """Whether it can have a value where measurements of these names are."""
        return not (self.above.keys().isdisjoint(measured) or self.below.keys().isdisjoint(measured))


def _best(units: Mapping[str, float], measured: Mapping[str, float]) -> float | None:
    known = [measured[name] * unit for name, unit in units.items() if name in measured]
    return next(filter(None, known), 0.0) if known else None


_OPERATIONS = {OPERATIONS: 1.0}
QUOTIENTS: dict[str, Quotient] = {
    "operations_per_s": Quotient(
        _OPERATIONS,
        {OPERATIONS_NS: 1e-9, "run_s": 1},
        "throughput",
        "operations/s",
        machine_independent=False,
    ),
    "instructions_per_operation": Quotient(
        {OPERATIONS_INSTRET: 1, "instret": 1}, _OPERATIONS, "instructions per operation"
    ),
    "sc_failures_per_operation": Quotient({"sc_failed": 1}, _OPERATIONS, "failed SCs per operation"),
    "messages_per_operation": Quotient({"messages": 1}, _OPERATIONS, "messages per operation"),
    "sc_failure_rate": Quotient({"sc_failed": 1}, {"sc": 1}, "share of SCs that fail"),
}
FAIRNESS = "fairness"
"""Jain's index of the harts' shares: of the first of `SHARES` that the configuration has for each hart."""
SHARES = ("share", OPERATIONS)
"""Keys of `[vm.hart_metrics]`. A guest whose harts all do as much in the end says with `share` what each had done when
the first was through; otherwise its share are its operations."""

DERIVED = (*QUOTIENTS, FAIRNESS)
"""All names."""


def derived(measured: Mapping[str, float], shares: Sequence[float]) -> dict[str, float]:
    """What follows from a VM's measurements and its harts' shares; what would be divided by 0 is left out."""
    found = {
        name: value for name, quotient in QUOTIENTS.items() if (value := quotient.of(measured)) is not None
    }
    if any(shares):
        found[FAIRNESS] = jain(shares)
    return found


def shares_of(by_hart: Sequence[Mapping[str, float]]) -> list[float]:
    """Each hart's share, from its metrics; empty where nothing tells it."""
    name = next((name for name in SHARES if all(name in metrics for metrics in by_hart)), None)
    return [] if name is None else [metrics[name] for metrics in by_hart]


def derivable(measured: Collection[str], by_hart: Collection[str]) -> list[str]:
    """Names of what can follow from measurements of these names, of VMs and of harts."""
    found = [name for name, quotient in QUOTIENTS.items() if quotient.is_of(measured)]
    return [*found, FAIRNESS] if any(name in by_hart for name in SHARES) else found


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index, (sum x)^2 / (n sum x^2): 1 where all get the same, 1/n where one gets all.

    Jain, Chiu, Hawe: A quantitative measure of fairness and discrimination, DEC TR-301, 1984. `shares` has one that
    is not 0.
    """
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
