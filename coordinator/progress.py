"""Shows how a run goes while it goes: a live table on a terminal, now and then a line elsewhere. Both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coordinator.runner import Progress

if TYPE_CHECKING:
    from rich.table import Table

LIVE_EVERY_S = 0.1
LINE_EVERY_S = 5.0
"""Where stderr is no terminal; so short runs print none."""

Report = Callable[[Sequence[Progress]], None]


@contextmanager
def show_progress(name: str) -> Iterator[Report]:
    """Gives the function to call with each VM's progress; what it shows live is gone at the end."""
    # rich takes its time to load, which a run that shows nothing need not wait for.
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
            yield _every(LIVE_EVERY_S, lambda vms: live.update(live_table(name, vms), refresh=True))
    else:
        yield _every(LINE_EVERY_S, lambda vms: print(progress_line(name, vms), file=sys.stderr, flush=True))


def live_table(name: str, vms: Sequence[Progress]) -> Table:
    """One row a VM: harts, instructions so far, rate, time."""
    from rich.table import Table

    table = Table("VM", "state", box=None, title=f"running {name}", title_justify="left")
    for column in ("harts", "instructions", "MIPS", "s"):
        table.add_column(column, justify="right")
    for vm in vms:
        state = "running" if vm.result is None else vm.result.ending.value
        table.add_row(
            vm.vm, state, str(vm.harts), f"{vm.instret:,}", f"{_mips(vm):.2f}", f"{vm.elapsed_s:.1f}"
        )
    return table


def progress_line(name: str, vms: Sequence[Progress]) -> str:
    """The same in one line."""
    parts = [
        f"{vm.vm}: {vm.instret:,} instructions, {_mips(vm):.2f} MIPS, {vm.elapsed_s:.1f} s"
        for vm in vms
        if vm.result is None
    ]
    return f"{name}: {'; '.join(parts) or 'ended'}"


def _mips(vm: Progress) -> float:
    return vm.instret / vm.elapsed_s / 1e6 if vm.elapsed_s > 0 else 0.0


def _every(interval_s: float, show: Report) -> Report:
    last: float | None = None  # a host that takes its time to start the VMs makes no run long

    def report(vms: Sequence[Progress]) -> None:
        nonlocal last
        if last is None:
            last = time.monotonic()
        elif time.monotonic() - last >= interval_s:
            last = time.monotonic()
            show(vms)

    return report
