"""`hartstorm bench batch`: what a batch costs beside its runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer


def batch(
    points: Annotated[int, typer.Option(min=100, help="Points to run, a multiple of 100.")] = 1000,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Points at a time. Default: cores.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Plan 10,000 tiny points, run some of them, and say what a point costs."""
    import os
    from json import dumps

    from coordinator.bench.batch import AIM_PLAN_S, AIM_POINT_MS, PLAN_POINTS, batch_overhead

    found = batch_overhead(
        points - points % 100,
        jobs or len(os.sched_getaffinity(0)),
        lambda what: typer.echo(f"measuring: {what}", err=True),
    )
    if json:
        typer.echo(dumps(asdict(found), indent=2))
        return
    typer.echo(f"plan of {PLAN_POINTS} points: {found.plan_s:.2f} s (aim: under {AIM_PLAN_S:g})")
    typer.echo(
        f"{found.points} points, {found.jobs} at a time: {found.point_ms:.1f} ms a point (aim: under {AIM_POINT_MS:g})"
    )
    typer.echo(
        f"memory of the batch and its workers: {found.first_kib:,} KiB after a tenth, {found.last_kib:,} KiB at the end"
    )
    typer.echo(f"points that failed: {found.failed}")
