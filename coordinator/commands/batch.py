"""`hartstorm batch`: run every point of a batch file, here or on a cluster; go on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode, config_errors

if TYPE_CHECKING:
    from coordinator.batch.drive import Progress
    from coordinator.batch.plan import Plan
    from coordinator.results.store import PlannedPoint

MOST_SHOWN = 40
"""Points that `--dry-run` shows."""


def batch(
    file: Annotated[Path, typer.Argument(help="Batch file, or the name of one that comes along.")],
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Points at a time. Default: cores.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Batch directory. Default: results/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, run nothing.")] = False,
    until: Annotated[
        str | None, typer.Option(metavar="failures=N", help="Stop when so many points have failed.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the file.")
    ] = None,
) -> None:
    """Run every combination that a batch file asks for, and keep the results in a directory.

    Run it again to resume: what is finished is not repeated.
    """
    from coordinator.batch.file import load_batch
    from coordinator.batch.plan import make_plan
    from coordinator.config.settings import parse_setting

    with config_errors():
        failures = _until(until)
        plan = make_plan(load_batch(file, tuple(map(parse_setting, set_ or ()))))
        if dry_run:
            _show_plan(plan)
            return
    directory = Path("results") / plan.batch.file.name if out is None else out
    raise typer.Exit(_run(plan, directory, jobs, failures))


def _until(text: str | None) -> int | None:
    from coordinator.config.errors import ConfigError, Problem

    if text is None:
        return None
    key, _, number = text.partition("=")
    if key.strip() != "failures" or not number.strip().isdecimal() or int(number) < 1:
        raise ConfigError("", [Problem(f"--until {text}", "write failures=N with N of at least 1")])
    return int(number)


def _run(plan: Plan, directory: Path, jobs: int | None, failures: int | None) -> ExitCode:
    import os

    from coordinator.batch.drive import drive
    from coordinator.batch.pool import LocalPool
    from coordinator.batch.session import open_session
    from coordinator.batch.show import show_batch
    from coordinator.results.store import StoreError

    settings = plan.batch.file.batch
    name = plan.batch.file.name
    try:
        with config_errors(), open_session(plan, directory) as (store, total):
            executor = LocalPool(jobs or settings.jobs or len(os.sched_getaffinity(0)), plan.images)
            try:
                with show_batch(name) as report:
                    progress = drive(store, settings, executor, total, report, failures)
            except KeyboardInterrupt:
                typer.echo(f"interrupted; run the same command to go on ({directory})", err=True)
                return ExitCode.INTERRUPTED
            finally:
                executor.close()
    except StoreError as error:
        typer.echo(str(error), err=True)
        return ExitCode.USAGE_OR_CONFIG
    _print_end(name, directory, progress)
    return ExitCode.NOT_AS_EXPECTED if progress.failed else ExitCode.AS_EXPECTED


def _print_end(name: str, directory: Path, progress: Progress) -> None:
    for failure in progress.failures:
        typer.echo(f"{failure.status.value}  {failure.label}  {failure.detail}")
    counts = ", ".join(f"{count} {status.value}" for status, count in progress.counts.items()) or "none"
    seconds = f"{progress.elapsed_s:.1f} s"
    skipped = f", {progress.before} of them before" if progress.before else ""
    typer.echo(
        f"{name}: {progress.done} of {progress.total} points done{skipped} ({counts}) in {seconds}; {directory}"
    )


def _show_plan(plan: Plan) -> None:
    from coordinator.report import plain_table, stdout_console

    shown: list[PlannedPoint] = []
    total = 0
    for point in plan.points():
        total += 1
        if len(shown) < MOST_SHOWN:
            shown.append(point)
    table = plain_table(["point", "id", *plan.parameters])
    for number, point in enumerate(shown):
        table.add_row(
            str(number), point.id[:12], *(str(point.parameters.get(p, "")) for p in plan.parameters)
        )
    stdout_console().print(table)
    left_out = f", {MOST_SHOWN} of them shown" if total > len(shown) else ""
    typer.echo(f"\n{plan.batch.file.name}: {total} points{left_out}, {len(plan.images)} different guests")
