"""The measurements of one `hartstorm bench` as data and as tables. Measures nothing itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table

from coordinator.bench.interpreter import InterpreterSpeed, interpreter_speed
from coordinator.bench.lifecycle import LifeCycle, life_cycle
from coordinator.bench.transactions import TransactionSpeed, transaction_speed

AIM_RATIO = 0.8
"""What serial shall reach of the bare ping-pong."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything that was measured, and where."""

    python: str
    machine: str
    cores: int
    interpreter: list[InterpreterSpeed]
    transactions: list[TransactionSpeed]
    life_cycle: list[LifeCycle]


def measure(quick: bool, progress: Callable[[str], None] = lambda what: None) -> BenchReport:
    """Measure everything; `quick` takes seconds and is rough. `progress` is told what comes next."""
    repetitions, seconds = (3, 0.2) if quick else (9, 1.0)
    sizes = (1, 16) if quick else (1, 16, 64, 256)
    progress("interpreter")
    speed = interpreter_speed(repetitions)
    transactions = []
    for harts in (1, 2, 4, 8):
        progress(f"serial transactions, {harts} harts")
        transactions.append(transaction_speed(harts, repetitions, seconds))
    cycles = []
    for harts in sizes:
        progress(f"start and stop, {harts} harts")
        cycles.append(life_cycle(harts, 3))
    return BenchReport(
        platform.python_version(),
        platform.machine(),
        len(os.sched_getaffinity(0)),
        speed,
        transactions,
        cycles,
    )


def render(report: BenchReport) -> RenderableType:
    """The report as tables."""
    speed = _table("Interpreter, one hart", "kernel", "M instructions/s")
    for row in report.interpreter:
        speed.add_row(row.kernel, f"{row.mips:.2f}")
    serial = _table(
        f"Round trips per second on {report.cores} cores (aim: ratio {AIM_RATIO})",
        "harts",
        "bare pyzmq",
        "serial",
        "ratio",
        "serial, posted AMOs",
    )
    for t in report.transactions:
        serial.add_row(
            str(t.harts),
            f"{t.bare_per_s:,.0f}",
            f"{t.serial_per_s:,.0f}",
            f"{t.ratio:.2f}",
            f"{t.posted_per_s:,.0f}",
        )
    life = _table(
        "VM start and stop",
        "harts",
        "start ms",
        "stop ms",
        "start ms per hart",
        "PSS MiB per hart",
        "private MiB",
    )
    for c in report.life_cycle:
        life.add_row(
            str(c.harts),
            f"{c.start_s * 1e3:.0f}",
            f"{c.stop_s * 1e3:.0f}",
            f"{c.start_s * 1e3 / c.harts:.1f}",
            f"{c.pss_kib / 1024:.1f}",
            f"{c.private_kib / 1024:.1f}",
        )
    return Group(speed, serial, life)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
