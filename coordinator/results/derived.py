"""Measurements that follow from others: rates, shares, counts per operation, fairness. Reads no results.

A table, so that lists, filters, comparisons, plots and reports know the same ones under the same names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coordinator.measure import OPERATIONS


@dataclass(frozen=True, slots=True)
class Quotient:
    """One measurement by another; `machine_independent` where the speed of the host does not enter."""

    above: str
    below: str
    meaning: str
    unit: str = ""
    machine_independent: bool = True


QUOTIENTS: dict[str, Quotient] = {
    "operations_per_s": Quotient(
        OPERATIONS, "run_s", "throughput", "operations/s", machine_independent=False
    ),
    "instructions_per_operation": Quotient("instret", OPERATIONS, "instructions per operation"),
    "sc_failures_per_operation": Quotient("sc_failed", OPERATIONS, "failed SCs per operation"),
    "messages_per_operation": Quotient("messages", OPERATIONS, "messages per operation"),
    "sc_failure_rate": Quotient("sc_failed", "sc", "share of SCs that fail"),
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
        name: measured[quotient.above] / measured[quotient.below]
        for name, quotient in QUOTIENTS.items()
        if quotient.above in measured and measured.get(quotient.below, 0) > 0
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
    found = [name for name, q in QUOTIENTS.items() if q.above in measured and q.below in measured]
    return [*found, FAIRNESS] if any(name in by_hart for name in SHARES) else found


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index, (sum x)^2 / (n sum x^2): 1 where all get the same, 1/n where one gets all.

    Jain, Chiu, Hawe: A quantitative measure of fairness and discrimination, DEC TR-301, 1984. `shares` has one that
    is not 0.
    """
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
