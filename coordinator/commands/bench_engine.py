"""`hartstorm bench engine`: how fast guest code runs, beside qemu-riscv64 and native code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.policy_help import POLICY_HELP

if TYPE_CHECKING:
    from coordinator.bench.coherence import Comparison
    from coordinator.bench.engine import Figures

ATOMICS = "atomics"
SECONDS = 0.2
"""Measured time of each atomic in each round."""


def engine(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Kernels to run, and atomics; default: all ten, and atomics.")
    ] = None,
    repetitions: Annotated[int, typer.Option(min=2, help="Calls of the kernel in a process.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Processes of each kind, interleaved.")] = 3,
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "serial",
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time ten C kernels and the atomic instructions as guests, under qemu-riscv64 and natively, in one run.

    The policy is the kernels'; atomics run under inline.
    """
    from coordinator.bench import coherence
    from coordinator.bench.engine import measure, summarise
    from coordinator.bench.kernels import KERNELS, BenchError
    from hart.spelling import nearest

    allowed = (*KERNELS, ATOMICS)
    chosen = parts or allowed
    for name in chosen:
        if name not in allowed:
            typer.echo(
                f"no kernel {name!r}{nearest(name, allowed)}; there are {', '.join(allowed)}", err=True
            )
            raise typer.Exit(ExitCode.USAGE_OR_CONFIG)

    def report(what: str) -> None:
        typer.echo(f"measuring {what}", err=True)

    kernels = [name for name in chosen if name != ATOMICS]
    try:
        figures = (
            measure(kernels, repetitions=repetitions, rounds=rounds, policy=policy, report=report)
            if kernels
            else []
        )
        atomics = coherence.atomics(rounds, SECONDS, report) if ATOMICS in chosen else []
    except BenchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED) from error
    if json:
        from json import dumps

        found: dict[str, object] = {"kernels": [asdict(f) for f in figures]}
        if figures:
            found["summary"] = asdict(summarise(figures))
        found["atomics"] = [asdict(c) for c in atomics]
        typer.echo(dumps(found, indent=2))
        return
    if figures:
        _print(figures, repetitions, rounds)
    if atomics:
        _print_atomics(atomics)


def _print_atomics(atomics: list[Comparison]) -> None:
    import os

    from coordinator.commands.bench_coherence import comparison_table
    from coordinator.report import stdout_console

    stdout_console().print(comparison_table(atomics, "inline", len(os.sched_getaffinity(0))))


def _print(figures: list[Figures], repetitions: int, rounds: int) -> None:
    from rich.table import Table

    from coordinator.bench.engine import summarise
    from coordinator.report import stdout_console

    table = Table(
        title=f"medians of {rounds} processes with {repetitions} calls each; ms for a call, s for a process"
    )
    for heading in (
        "kernel", "native ms", "qemu ms", "steady ms", "x qemu", "x native", "native s", "qemu s", "warm s", "cold s",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "kernel" else "right")
    for f in figures:
        table.add_row(
            f.kernel,
            *(_number(v, 1e3, 1) for v in (f.native, f.qemu, f.steady)),
            _number(f.qemu and f.qemu / f.steady, 1, 2),
            _number(f.native / f.steady, 1, 2),
            *(_number(v, 1, 2) for v in (f.native_process, f.qemu_process, f.warm, f.cold)),
        )
    console = stdout_console()
    console.print(table)
    means = summarise(figures)
    console.print(f"geometric mean of steady against native {means.steady_to_native:.2f}")
    if means.steady_to_qemu is not None:
        console.print(
            f"against qemu {means.steady_to_qemu:.2f}, slowest kernel {means.slowest_to_qemu:.2f}; "
            f"whole process with warm cache against qemu {means.warm_to_qemu:.2f}"
        )


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"
