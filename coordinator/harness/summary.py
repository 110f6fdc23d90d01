"""A campaign in figures: how many tests, how fast, how much of what the model allows was seen. For people and as JSON.

Owns the sums and their text; draws the live table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from coordinator.harness.experiment import Account, Status
from coordinator.progress import LINE_EVERY_S, LIVE_EVERY_S

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(slots=True)
class Summary:
    """Sums over accounts.

    Attributes:
        tests: how many there are; 0 if that is not known.
        begun: monotonic time at the start.

    """

    tests: int = 0
    begun: float = field(default_factory=time.monotonic)
    accounts: list[Account] = field(default_factory=list)

    def add(self, account: Account) -> None:
        """Count one."""
        self.accounts.append(account)

    def of(self, status: Status) -> list[Account]:
        """Those of which that came."""
        return [account for account in self.accounts if account.status is status]

    @property
    def forbidden(self) -> list[Account]:
        """Tests of which a forbidden outcome was seen."""
        return [account for account in self.accounts if account.forbidden]

    def figures(self) -> dict[str, float]:
        """The figures by name, in the order in which they are told."""
        ran = self.of(Status.RAN)
        judged = [a for a in ran if a.complete]
        allowed, covered = sum(a.allowed for a in judged), sum(a.covered for a in judged)
        targets = [a for a in judged if a.target]
        return {
            "tests": len(self.accounts),
            "ran": len(ran),
            "refused": len(self.of(Status.REFUSED)),
            "broken": len(self.of(Status.BROKEN)),
            "outcomes": sum(a.outcomes for a in ran),
            "median_outcomes_per_s": round(median(a.rate for a in ran)) if ran else 0,
            "judged": len(judged),
            "states_allowed": allowed,
            "states_seen": covered,
            "coverage": round(covered / allowed, 4) if allowed else 0.0,
            "tests_covered": sum(a.covered == a.allowed for a in judged),
            "targets_allowed": len(targets),
            "targets_seen": sum(a.target_seen > 0 for a in targets),
            "forbidden": len(self.forbidden),
        }

    def lines(self) -> Iterator[str]:
        """The figures for people."""
        f = self.figures()
        yield (
            f"{f['ran']:,} of {f['tests']:,} tests ran, {f['refused']:,} refused, {f['broken']:,} broken; "
            f"{f['outcomes']:,} outcomes, median {f['median_outcomes_per_s']:,} a second"
        )
        yield (
            f"states: {f['states_seen']:,} of {f['states_allowed']:,} allowed ({100 * f['coverage']:.1f} %), all "
            f"of them in {f['tests_covered']:,} of {f['judged']:,} tests; targets: {f['targets_seen']:,} of "
            f"{f['targets_allowed']:,} allowed"
        )
        yield f"forbidden outcomes: {f['forbidden'] or 'none'}{' of these tests:' if f['forbidden'] else ''}"
        yield from (f"  {account.test} ({account.file})" for account in self.forbidden)


def verdict_text(account: Account) -> str:
    """What is to be said of a test beside its log; empty for nothing."""
    parts = [account.reason] if account.reason else []
    for state, why in account.forbidden.items():
        parts.append(f"{account.file}: FORBIDDEN outcome {state} seen {account.states[state]} times\n{why}")
    parts += [account.witness] if account.witness else []
    return "\n".join(parts)


@contextmanager
def show_summary(summary: Summary) -> Iterator[Callable[[], None]]:
    """Gives a function to call after each test; shows a live table on a terminal, a line now and then elsewhere."""
    last = 0.0 if sys.stderr.isatty() else time.monotonic()

    def due(interval_s: float) -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < interval_s:
            return False
        last = now
        return True

    if not sys.stderr.isatty():
        yield lambda: print(_line(summary), file=sys.stderr, flush=True) if due(LINE_EVERY_S) else None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda: live.update(_table(summary), refresh=True) if due(LIVE_EVERY_S) else None


def _line(summary: Summary) -> str:
    f = summary.figures()
    return (
        f"litmus: {f['tests']:,} of {summary.tests:,} tests, median {f['median_outcomes_per_s']:,} outcomes/s, "
        f"{100 * f['coverage']:.1f} % of states, {f['forbidden']} forbidden, "
        f"{time.monotonic() - summary.begun:.0f} s"
    )


def _table(summary: Summary) -> Table:
    from rich.table import Table

    f = summary.figures()
    elapsed_s = time.monotonic() - summary.begun
    left_s = elapsed_s / f["tests"] * (summary.tests - f["tests"]) if f["tests"] else 0.0
    table = Table(box=None, title="litmus", title_justify="left")
    row = {
        "tests": f"{f['tests']:,}/{summary.tests:,}",
        "forbidden": f"{f['forbidden']}",
        "outcomes/s (median)": f"{f['median_outcomes_per_s']:,}",
        "states": f"{f['states_seen']:,}/{f['states_allowed']:,}",
        "%": f"{100 * f['coverage']:.1f}",
        "targets": f"{f['targets_seen']}/{f['targets_allowed']}",
        "refused": f"{f['refused'] + f['broken']}",
        "s": f"{elapsed_s:.0f}",
        "s left": f"{left_s:.0f}",
    }
    for name in row:
        table.add_column(name, justify="right")
    table.add_row(*row.values())
    return table
