"""`hartstorm bench aba`: how long a stack lasts whose correctness rests on SC failing after A -> B -> A."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from coordinator.bench.aba import Endurance


def aba(
    policies: Annotated[
        list[str] | None, typer.Argument(help="Coherence policies; default: cas (WRONG) and inline.")
    ] = None,
    harts: Annotated[int, typer.Option(min=2, max=256, help="Harts that pop and push.")] = 4,
    operations: Annotated[int, typer.Option(min=1, help="Pops, with their pushes, of all harts.")] = 10**9,
    limit: Annotated[float, typer.Option(min=0.1, help="Seconds for each, at most.")] = 20.0,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Pop and push the nodes of a Treiber stack at once, until it breaks; qemu-riscv64 does likewise.

    Exit code 1 if a policy that is not WRONG on purpose broke it.
    """
    import tempfile
    from pathlib import Path

    from bus.policies import NAMES, label
    from coordinator.bench.aba import endure
    from coordinator.bench.coherence import Bench
    from coordinator.bench.kernels import BenchError
    from hart.spelling import nearest

    chosen = policies or ["cas", "inline"]
    for name in chosen:
        if name not in NAMES:
            there_are = ", ".join(map(label, NAMES))
            typer.echo(f"no policy {name!r}{nearest(name, NAMES)}; there are {there_are}", err=True)
            raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    try:
        with tempfile.TemporaryDirectory(prefix="hartstorm-bench-") as scratch:
            found = endure(
                Bench(Path(scratch), chosen[0]),
                chosen,
                harts=harts,
                operations=operations,
                limit_s=limit,
                report=lambda who: typer.echo(f"trying {who}", err=True),
            )
    except BenchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED) from error
    if json:
        from json import dumps

        typer.echo(dumps([asdict(e) for e in found], indent=2))
    else:
        _print(found, harts)
    if any(e.correct and not e.right for e in found):
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED)


def _print(found: list[Endurance], harts: int) -> None:
    from coordinator.report import plain_table, stdout_console

    table = plain_table(["who", "harts", "operations", "s", "M/s", "stack"])
    for e in found:
        table.add_row(
            e.who,
            str(harts),
            f"{e.operations:,}",
            f"{e.seconds:.2f}",
            f"{e.operations / e.seconds / 1e6:.2f}" if e.seconds else "-",
            "whole" if e.right else "CORRUPTED",
        )
    stdout_console().print(table)
