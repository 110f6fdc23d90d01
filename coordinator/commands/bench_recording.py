"""`hartstorm bench recording`: what recording memory events costs, and how long checking them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from coordinator.bench.recording import Cost


def recording(
    programs: Annotated[
        list[str] | None, typer.Argument(help="quickstart, c-atomics (needs zig). Default: both.")
    ] = None,
    harts: Annotated[int, typer.Option(min=1, max=64, help="Harts of each VM.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each kind, of which the median counts.")] = 3,
    scale: Annotated[
        float, typer.Option(min=0.001, help="How many iterations, compared with what makes a million events.")
    ] = 1.0,
    policy: Annotated[list[str] | None, typer.Option(help="Only these policies.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run programs with and without recording, under policies and tiers, and check what was recorded.

    Exit code 1 if a recorded run is not found to be allowed.
    """
    from coordinator.bench.kernels import BenchError
    from coordinator.bench.recording import PROGRAMS, WHERE, costs, peak_megabytes
    from hart.spelling import nearest

    names = {p for p, _, _ in WHERE}
    for given, known in ((programs or (), PROGRAMS), (policy or (), names)):
        for name in given:
            if name not in known:
                there_are = ", ".join(sorted(known))
                typer.echo(
                    f"{name!r} is not measured{nearest(name, known)}; there are {there_are}",
                    err=True,
                )
                raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    try:
        found = costs(
            programs or tuple(PROGRAMS),
            harts,
            rounds,
            lambda what: typer.echo(f"measuring: {what}", err=True),
            [place for place in WHERE if policy is None or place[0] in policy],
            scale,
        )
    except BenchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED) from error
    if json:
        from dataclasses import asdict
        from json import dumps

        typer.echo(dumps([asdict(cost) for cost in found], indent=2))
    else:
        _print(found, peak_megabytes())
    if any(cost.verdict != "allowed" for cost in found):
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED)


def _print(found: list[Cost], peak: float) -> None:
    from coordinator.bench.recording import AIM, SHORT
    from coordinator.report import plain_table, stdout_console

    table = plain_table(
        [
            "program",
            "policy",
            "tier",
            "M events",
            "s",
            "recorded s",
            "x",
            "x steady",
            "checked",
            "MB",
            "check s",
            "verdict",
        ]
    )
    for c in found:
        steady = "-" if c.steady_times is None else f"{c.steady_times:.1f}"
        table.add_row(
            c.program, c.policy, c.tier, f"{c.events * c.iterations / 1e6:.1f}",
            f"{c.plain_s:.2f}", f"{c.recorded_s:.2f}", f"{c.times:.1f}", steady,
            f"{c.events:,}", f"{c.megabytes:.1f}", f"{c.check_s:.1f}", c.verdict,
        )  # fmt: skip
    stdout_console().print(table)
    typer.echo(
        f"x: recorded run beside plain run, whole VMs (aim: under {AIM:g}); steady: of what a run takes longer "
        f"than one of an {SHORT}th of its iterations. Checked: the events of one more run, and the size of its file. "
        f"Peak memory of the check: {peak:,.0f} MB."
    )
