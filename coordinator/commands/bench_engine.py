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
    from coordinator.bench.latency import Exactness, Latency

ATOMICS = "atomics"
STOPS = "stops"
SECONDS = 0.2
"""Measured time of each atomic in each round."""


def engine(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="Kernels to run, atomics and stops; default: all ten, and both."),
    ] = None,
    repetitions: Annotated[
        int, typer.Option(min=2, help="Calls of the kernel in a process; more of a short one.")
    ] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Processes of each kind, interleaved.")] = 3,
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "serial",
    stops: Annotated[
        int,
        typer.Option(min=1, help="Stop requests, and random numbers of instructions, to try."),
    ] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time ten C kernels and the atomic instructions as guests, under qemu-riscv64 and natively; and how soon and how
    exactly harts stop. All in one run.

    The policy is the kernels'; atomics run under inline.
    """
    from coordinator.bench import coherence
    from coordinator.bench.engine import measure, summarise
    from coordinator.bench.kernels import KERNELS, BenchError
    from coordinator.bench.latency import fuel_exactness, stop_latency
    from hart.spelling import nearest

    allowed = (*KERNELS, ATOMICS, STOPS)
    chosen = parts or allowed
    for name in chosen:
        if name not in allowed:
            typer.echo(
                f"no kernel {name!r}{nearest(name, allowed)}; there are {', '.join(allowed)}", err=True
            )
            raise typer.Exit(ExitCode.USAGE_OR_CONFIG)

    def report(what: str) -> None:
        typer.echo(f"measuring {what}", err=True)

    kernels = [name for name in chosen if name in KERNELS]
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
    latencies, exact = [], []
    if STOPS in chosen:
        report("stops")
        latencies, exact = stop_latency(stops), fuel_exactness(stops)
    if json:
        from json import dumps

        found: dict[str, object] = {"kernels": [asdict(f) for f in figures]}
        if figures:
            found["summary"] = asdict(summarise(figures))
        found["atomics"] = [asdict(c) for c in atomics]
        found["stops"] = [asdict(row) for row in latencies]
        found["exact"] = [asdict(row) for row in exact]
        typer.echo(dumps(found, indent=2))
        return
    if figures:
        _print(figures, rounds)
    if atomics:
        _print_atomics(atomics)
    if exact:
        _print_stops(latencies, exact)


def _print_atomics(atomics: list[Comparison]) -> None:
    import os

    from coordinator.commands.bench_coherence import comparison_table
    from coordinator.report import stdout_console

    stdout_console().print(comparison_table(atomics, "inline", len(os.sched_getaffinity(0))))


def _print(figures: list[Figures], rounds: int) -> None:
    from rich.table import Table

    from coordinator.bench.engine import LONG_S, summarise
    from coordinator.report import stdout_console

    table = Table(title=f"medians of {rounds} processes; ms for a call, s for a process")
    for heading in (
        "kernel", "calls", "native ms", "qemu ms", "steady ms", "x qemu", "x native", "native s", "qemu s", "warm s",
        "cold s", "compiled warm", "compiled cold",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "kernel" else "right")
    for f in figures:
        table.add_row(
            f.kernel,
            str(f.calls),
            *(_number(v, 1e3, 1) for v in (f.native, f.qemu, f.steady)),
            _number(f.qemu and f.qemu / f.steady, 1, 2),
            _number(f.native / f.steady, 1, 2),
            *(_number(v, 1, 2) for v in (f.native_process, f.qemu_process, f.warm, f.cold)),
            str(f.warm_compiled),
            str(f.cold_compiled),
        )
    console = stdout_console()
    console.print(table)
    means = summarise(figures)
    console.print(f"geometric mean of steady against native {means.steady_to_native:.2f}")
    if means.steady_to_qemu is not None:
        console.print(
            f"against qemu {means.steady_to_qemu:.2f}, slowest kernel {means.slowest_to_qemu:.2f}; "
            f"whole process with warm cache against qemu {means.warm_to_qemu:.2f}, "
            f"ahead in {means.long_kernels_ahead} of the {means.long_kernels} that run over {LONG_S:g} s"
        )


def _print_stops(latencies: list[Latency], exact: list[Exactness]) -> None:
    from rich.table import Table

    from coordinator.report import stdout_console

    table = Table(title="from a visible stop request, microseconds: until the hart sees it (of that its own "
                  "processor time at most), until the coordinator knows")  # fmt: skip
    for heading in (
        "loop", "tier", "requests", "p50", "p99", "own p50", "own p99", "own max", "known p50", "known p99",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("loop", "tier") else "right")
    for row in latencies:
        if row is latencies[-1]:
            table.add_section()
        times = (row.notice_p50, row.notice_p99, row.own_p50, row.own_p99, row.own_max)
        known = (row.pause_p50, row.pause_p99)
        table.add_row(row.loop, row.tier, str(row.requests), *(f"{t:.0f}" for t in (*times, *known)))
    console = stdout_console()
    console.print(table)
    for tier in exact:
        console.print(
            f"{tier.tier}: {tier.values - tier.wrong} of {tier.values} numbers of instructions exact"
        )


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"
