"""`hartstorm batch`: run every point of a batch file, here or on a cluster; go on where it was interrupted."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode, config_errors

if TYPE_CHECKING:
    from coordinator.batch.drive import Executor, Progress
    from coordinator.batch.plan import Plan
    from coordinator.results.store import PlannedPoint

_OPTIONS = {
    "retry": "--retry",
    "attempts": "--attempts",
    "time_s": "--time",
    "operations": "--operations",
    "report": "--report",
}
"""Options that stand for keys of `[batch]`."""

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
    junit: Annotated[
        Path | None, typer.Option(help="Write the points as JUnit XML to this file, too.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="PLACE", help="tcp://HOST:PORT of a Dask scheduler, or local:N.")
    ] = None,
    retry: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT", help="Run again what ended so: 'hart died', watchdog, failed, ...; several times."
        ),
    ] = None,
    attempts: Annotated[int | None, typer.Option(help="How often at most. Default: 3.")] = None,
    time: Annotated[float | None, typer.Option(metavar="S", help="Budget of each point in seconds.")] = None,
    operations: Annotated[
        int | None, typer.Option(metavar="N", help="Budget of each point in operations.")
    ] = None,
    report: Annotated[
        bool | None,
        typer.Option(
            "--report/--no-report", help="Write report.html once all points are done. Default: yes."
        ),
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
    from coordinator.config.settings import Setting, parse_setting

    with config_errors():
        failures = _until(until)
        given = {
            "retry": retry,
            "attempts": attempts,
            "time_s": time,
            "operations": operations,
            "report": report,
        }
        settings = [
            Setting(("batch", key), value, _OPTIONS[key]) for key, value in given.items() if value is not None
        ]
        plan = make_plan(load_batch(file, (*map(parse_setting, set_ or ()), *settings)))
        if dry_run:
            _show_plan(plan)
            return
    directory = Path("results") / plan.batch.file.name if out is None else out
    code = _run(plan, directory, jobs, failures, on)
    if code in (ExitCode.AS_EXPECTED, ExitCode.NOT_AS_EXPECTED):
        if junit is not None:
            _write_junit(directory, junit)
        if plan.batch.file.batch.report:
            _write_report(directory)
    raise typer.Exit(code)


def _write_report(directory: Path) -> None:
    from coordinator.page.files import REPORT, write_report
    from coordinator.plots.draw import PlotError, check_matplotlib
    from coordinator.results import open_results

    try:
        check_matplotlib()
        with open_results(directory) as results:
            if not results.statuses().get("pending"):
                typer.echo(str(write_report(results, directory / REPORT)))
    except PlotError as error:
        typer.echo(f"no report: {error}", err=True)


def _write_junit(directory: Path, file: Path) -> None:
    from coordinator.results import ResultsError, open_results
    from coordinator.results.export import export_junit

    try:
        with open_results(directory) as results:
            export_junit(results, file)
    except ResultsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error


def _until(text: str | None) -> int | None:
    from coordinator.config.errors import ConfigError, Problem

    if text is None:
        return None
    key, _, number = text.partition("=")
    if key.strip() != "failures" or not number.strip().isdecimal() or int(number) < 1:
        raise ConfigError("", [Problem(f"--until {text}", "write failures=N with N of at least 1")])
    return int(number)


def _run(plan: Plan, directory: Path, jobs: int | None, failures: int | None, on: str | None) -> ExitCode:
    from coordinator.batch.cluster import ClusterError
    from coordinator.batch.drive import drive
    from coordinator.batch.session import open_session
    from coordinator.batch.show import show_batch, show_plan
    from coordinator.results.store import StoreError

    settings = plan.batch.file.batch
    name = plan.batch.file.name
    try:
        with ExitStack() as stack:
            stack.enter_context(config_errors())
            with show_plan(name) as planning:
                store, total = stack.enter_context(open_session(plan, directory, planning))
            executor = stack.enter_context(closing(_executor(plan, jobs, on)))
            with show_batch(name) as report:
                progress = drive(store, settings, executor, total, report, failures)
    except KeyboardInterrupt:  # while planning, too, which compiles guests
        typer.echo(f"interrupted; run the same command to go on ({directory})", err=True)
        return ExitCode.INTERRUPTED
    except (StoreError, ClusterError) as error:
        typer.echo(str(error), err=True)
        return ExitCode.USAGE_OR_CONFIG
    _print_end(name, directory, progress)
    return ExitCode.NOT_AS_EXPECTED if progress.failed else ExitCode.AS_EXPECTED


def _executor(plan: Plan, jobs: int | None, on: str | None) -> Executor:
    import os

    from coordinator.batch.cluster import DaskCluster, parse_place
    from coordinator.batch.pool import LocalPool

    if on is not None:
        return DaskCluster(parse_place(on), plan.images)
    return LocalPool(jobs or plan.batch.file.batch.jobs or len(os.sched_getaffinity(0)), plan.images)


def _print_end(name: str, directory: Path, progress: Progress) -> None:
    for failure in progress.failures:
        typer.echo(f"{failure.status.value}  {failure.label}  {failure.detail}")
    if progress.failed > len(progress.failures):
        typer.echo(
            f"these are the last of {progress.failed}; all: hartstorm results {directory} filter "
            '\'status in ("failed", "refused")\''
        )
    counts = ", ".join(f"{count} {status.value}" for status, count in progress.counts.items()) or "none"
    seconds = f"{progress.elapsed_s:.1f} s"
    skipped = f", {progress.before} of them before" if progress.before else ""
    typer.echo(
        f"{name}: {progress.done} of {progress.total} points done{skipped} ({counts}) in {seconds}; {directory}"
    )


def _show_plan(plan: Plan) -> None:
    from coordinator.batch.show import show_plan
    from coordinator.report import plain_table, stdout_console

    shown: list[PlannedPoint] = []
    total = 0
    with show_plan(plan.batch.file.name) as planning:
        for point in plan.points(planning):
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
