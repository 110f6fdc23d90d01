"""Shows how a batch goes: a live table on a terminal, now and then a line elsewhere, on stderr. Decides nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coordinator.batch.drive import Progress
from coordinator.batch.plan import PlanProgress
from coordinator.progress import LINE_EVERY_S, LIVE_EVERY_S

Report = Callable[[Progress], None]


@contextmanager
def show_batch(name: str) -> Iterator[Report]:
    """Gives the function to call with the batch's progress; what it shows live is gone at the end."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield _every(LIVE_EVERY_S, lambda p: live.update(live_table(name, p), refresh=True))
    else:
        yield _every(LINE_EVERY_S, lambda p: print(progress_line(name, p), file=sys.stderr, flush=True))


@contextmanager
def show_plan(name: str) -> Iterator[PlanProgress]:
    """The same for the plan, whose guests may have to be compiled."""
    console = Console(stderr=True)

    def line(points: int, guests: int) -> str:
        return f"{name}: planning, {points} points, {guests} guests built"

    if console.is_terminal:
        with console.status(f"{name}: planning") as status:
            show = _seldom(LIVE_EVERY_S)
            yield lambda points, guests: status.update(line(points, guests)) if show() else None
    else:
        show = _seldom(LINE_EVERY_S)
        yield (
            lambda points, guests: (
                print(line(points, guests), file=sys.stderr, flush=True) if show() else None
            )
        )


def live_table(name: str, progress: Progress) -> RenderableType:
    """Failures first, then the counts."""
    failures = Table(box=None, pad_edge=False, show_header=False)
    for failure in progress.failures:
        failures.add_row(Text(failure.status.value, "bold red"), failure.label, failure.detail)
    counts = Table("batch", box=None, pad_edge=False)
    row = [name, f"{progress.done}/{progress.total}", f"{progress.rate:.1f}/s", duration(progress.eta_s)]
    for column in ("done", "rate", "to go", "running", "run again"):
        counts.add_column(column, justify="right")
    row += [str(progress.running), str(progress.again)]
    for status, count in progress.counts.items():
        counts.add_column(status.value, justify="right", style="bold red" if status.is_failure else "")
        row.append(str(count))
    counts.add_row(*row)
    return Group(failures, counts) if progress.failures else counts


def progress_line(name: str, progress: Progress) -> str:
    """The same in one line."""
    parts = [f"{count} {status.value}" for status, count in progress.counts.items() if status.is_failure]
    parts += [f"{progress.done}/{progress.total} done", f"{progress.rate:.1f}/s"]
    parts.append(f"{duration(progress.eta_s)} to go")
    return f"{name}: {', '.join(parts)}"


def duration(seconds: float | None) -> str:
    """`1:02:03` or `4:05`; `?` for None."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _every(interval_s: float, show: Report) -> Report:
    is_time = _seldom(interval_s)

    def report(progress: Progress) -> None:
        if is_time():
            show(progress)

    return report


def _seldom(interval_s: float) -> Callable[[], bool]:
    """True when so much time has passed since it was true last."""
    last = time.monotonic()

    def is_time() -> bool:
        nonlocal last
        if time.monotonic() - last < interval_s:
            return False
        last = time.monotonic()
        return True

    return is_time
