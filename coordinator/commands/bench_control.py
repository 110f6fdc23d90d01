"""`hartstorm bench control`: ONE_REG through the control channel, beside a bare pyzmq round trip."""

from __future__ import annotations

from typing import Annotated

import typer


def control(
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Rough figures in about two seconds.")] = False,
) -> None:
    """Measure ONE_REG through the Python client, beside a bare pyzmq round trip of the same sizes."""
    from coordinator.bench.control import AIM_RATIO, control_speed

    rows = control_speed(rounds=5 if quick else 100)
    if json:
        from dataclasses import asdict
        from json import dumps

        typer.echo(dumps([asdict(row) for row in rows], indent=2))
        return
    from coordinator.report import plain_table, stdout_console

    table = plain_table(["operation", "bare/s", "ONE_REG/s", "ratio", "p50 us", "p99 us"])
    for row in rows:
        figures = (f"{row.bare_per_s:,.0f}", f"{row.per_s:,.0f}", f"{row.ratio:.2f}")
        table.add_row(row.operation, *figures, f"{row.p50_us:.0f}", f"{row.p99_us:.0f}")
    stdout_console().print(table)
    typer.echo(f"aim: ratio {AIM_RATIO}")
