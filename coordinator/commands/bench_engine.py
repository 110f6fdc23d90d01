"""`hartstorm bench engine`: how fast guest code runs, beside qemu-riscv64 and native code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.policy_help import POLICY_HELP

if TYPE_CHECKING:
    from coordinator.bench.engine import Figures
    from coordinator.bench.latency import Exactness, Latency


def engine(
    kernels: Annotated[list[str] | None, typer.Argument(help="Kernels to run; default: all ten.")] = None,
    repetitions: Annotated[int, typer.Option(min=2, help="Calls of the kernel in a process.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Processes of each kind, interleaved.")] = 3,
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "serial",
    stops: Annotated[
        int,
        typer.Option(min=0, help="Stop requests, and random numbers of instructions, to try; 0 for none."),
    ] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time ten C kernels as guests, under qemu-riscv64 and natively; and how soon and how exactly harts stop."""
    from coordinator.bench.engine import measure, summarise
    from coordinator.bench.kernels import KERNELS, BenchError
    from coordinator.bench.latency import fuel_exactness, stop_latency
    from hart.spelling import nearest

    for name in kernels or ():
        if name not in KERNELS:
            message = f"no kernel {name!r}{nearest(name, KERNELS)}; there are {', '.join(KERNELS)}"
            typer.echo(message, err=True)
            raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    try:
        figures = measure(
            kernels or KERNELS,
            repetitions=repetitions,
            rounds=rounds,
            policy=policy,
            report=lambda name: typer.echo(f"measuring {name}", err=True),
        )
    except BenchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED) from error
    latencies, exact = [], []
    if stops:
        typer.echo("measuring stops", err=True)
        latencies, exact = stop_latency(stops), fuel_exactness(stops)
    if json:
        from json import dumps

        found = {
            "kernels": [asdict(f) for f in figures],
            "summary": asdict(summarise(figures)),
            "stops": [asdict(row) for row in latencies],
            "exact": [asdict(row) for row in exact],
        }
        typer.echo(dumps(found, indent=2))
    else:
        _print(figures, repetitions, rounds)
        if stops:
            _print_stops(latencies, exact)


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


def _print_stops(latencies: list[Latency], exact: list[Exactness]) -> None:
    from rich.table import Table

    from coordinator.report import stdout_console

    table = Table(title="from a visible stop request, microseconds: until the hart sees it (of that its own "
                  "processor time), until the coordinator knows")  # fmt: skip
    for heading in (
        "loop", "tier", "requests", "p50", "p99", "own p50", "own p99", "own max", "known p50", "known p99",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("loop", "tier") else "right")
    for row in latencies:
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
