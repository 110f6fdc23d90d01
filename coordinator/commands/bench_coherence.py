"""`hartstorm bench coherence`: atomics under contention, beside qemu-riscv64 and native threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.policy_help import POLICY_HELP

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from coordinator.bench.coherence import CoherenceReport, Comparison, Crowd, Speed, Traffic
    from coordinator.bench.tracking import StoreCost


def coherence(
    workloads: Annotated[list[str] | None, typer.Argument(help="Workloads to run; default: all.")] = None,
    harts: Annotated[str, typer.Option(help="Numbers of harts, with commas between.")] = "1,2,4,8,16,64",
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "inline",
    messages: Annotated[
        str, typer.Option(help="Policies whose messages are counted, with commas between; may be empty.")
    ] = "serial,directory",
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured, interleaved.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.01, help="Measured time of each workload.")] = 0.15,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time counters, locks and a stack on many harts as a guest, under qemu-riscv64 and natively, in one run."""
    from coordinator.bench.coherence import measure, summarise
    from coordinator.bench.contention import MOST_WORKERS, WORKLOADS
    from coordinator.bench.kernels import BenchError

    chosen = workloads or list(WORKLOADS)
    _check(chosen, WORKLOADS, "workload")
    numbers = harts.split(",")
    _check(numbers, [str(n) for n in range(1, MOST_WORKERS + 1)], "number of harts", f"1 to {MOST_WORKERS}")
    others = [name for name in messages.split(",") if name]
    _check_policies([policy, *others])
    try:
        report = measure(
            chosen,
            [int(n) for n in numbers],
            policy=policy,
            others=others,
            rounds=rounds,
            seconds=seconds,
            report=lambda what: typer.echo(f"measuring: {what}", err=True),
        )
    except BenchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED) from error
    if json:
        from json import dumps

        found = asdict(report) | {"summary": asdict(summarise(report.comparisons))}
        typer.echo(dumps(found, indent=2))
    else:
        _print(report)


def _check(given: Sequence[str], allowed: Sequence[str], what: str, there_are: str = "") -> None:
    from hart.spelling import nearest

    for name in given:
        if name not in allowed:
            there_are = there_are or ", ".join(allowed)
            typer.echo(f"no {what} {name!r}{nearest(name, allowed)}; there are {there_are}", err=True)
            raise typer.Exit(ExitCode.USAGE_OR_CONFIG)


def _check_policies(given: Sequence[str]) -> None:
    from bus.policies import NAMES, label

    _check(given, NAMES, "policy", ", ".join(map(label, NAMES)))


def _print(report: CoherenceReport) -> None:
    from coordinator.report import stdout_console

    console = stdout_console()
    console.print(comparison_table(report.comparisons, report.policy, report.cores))
    console.print(summary_text(report.comparisons))
    if report.crowds:
        console.print(_crowd_table(report.crowds))
    if report.traffic:
        console.print(_traffic_table(report.traffic))
    console.print(_store_table(report.stores))


def comparison_table(comparisons: Sequence[Comparison], policy: str, cores: int) -> RenderableType:
    """Guest, qemu and native, M ops/s, with ratios."""
    from bus.policies import label

    name = label(policy)
    table = _table(
        f"M operations/s on {cores} cores, medians; steady state",
        "workload", "harts", name, "qemu", "native", "x qemu", "x native", "slowest's share", "wrong",
    )  # fmt: skip
    last = None
    for c in comparisons:
        if last not in (None, c.workload):
            table.add_section()
        last = c.workload
        speeds = {name: c.guest, "qemu": c.qemu, "native": c.native}
        table.add_row(
            c.workload,
            str(c.harts),
            *(_millions(speed) for speed in speeds.values()),
            *("-" if ratio is None else f"{ratio:.2f}" for ratio in (c.to_qemu, c.to_native)),
            f"{c.guest.slowest_share:.2f}",
            ", ".join(who for who, speed in speeds.items() if speed is not None and not speed.right),
        )
    return table


def summary_text(comparisons: Sequence[Comparison]) -> str:
    """Means, in lines."""
    from coordinator.bench.coherence import summarise

    s = summarise(comparisons)
    lines = [f"geometric mean against native {s.to_native:.2f}"]
    if s.to_qemu is not None and s.lowest_to_qemu is not None:
        ratio, workload, harts = s.lowest_to_qemu
        lines.append(
            f"against qemu {s.to_qemu:.2f} (aim 1.5); least {ratio:.2f} (aim 1): {workload}, {harts} harts"
        )
    for what, mean, aim in (("fused", s.fused_to_native, 0.8), ("unfused", s.unfused_to_native, 0.5)):
        if mean is not None:
            lines.append(f"{what} LR/SC against the native compare-and-swap loop {mean:.2f} (aim {aim})")
    return "\n".join(lines)


def _millions(speed: Speed | None) -> str:
    return "-" if speed is None else f"{speed.per_s / 1e6:.3f}"


def _crowd_table(crowds: Sequence[Crowd]) -> Table:
    table = _table(
        "the same work by 2 harts and by many (aim: at most 3 times as long)",
        "workload", "harts", "operations", "2 harts s", "many s", "ratio", "slowest's share", "finished",
    )  # fmt: skip
    for c in crowds:
        table.add_row(
            c.workload,
            str(c.harts),
            f"{c.operations:,}",
            f"{c.pair_seconds:.2f}",
            f"{c.seconds:.2f}",
            f"{c.seconds / c.pair_seconds:.2f}" if c.pair_seconds else "-",
            f"{c.slowest_share:.2f}",
            "yes" if c.finished else "NO",
        )
    return table


def _traffic_table(traffic: Sequence[Traffic]) -> Table:
    from bus.policies import label

    table = _table(
        "messages to and from the bus",
        "policy", "workload", "harts", "operations/s", "messages/s", "messages per operation", "wrong",
    )  # fmt: skip
    for t in traffic:
        table.add_row(
            label(t.policy),
            t.workload,
            str(t.harts),
            f"{t.per_s:,.0f}",
            f"{t.messages_per_s:,.0f}",
            f"{t.messages_per_operation:.3f}",
            "" if t.right else "wrong",
        )
    return table


def _store_table(stores: Sequence[StoreCost]) -> Table:
    table = _table(
        "what inline's tests for tracked pages cost plain stores where no page is tracked (aim: 1.05)",
        "kernel", "ns/instruction", "without tests", "ratio",
    )  # fmt: skip
    for s in stores:
        table.add_row(s.kernel, f"{s.tested_ns:.4f}", f"{s.untested_ns:.4f}", f"{s.ratio:.3f}")
    return table


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("workload", "policy", "wrong") else "right")
    return table
