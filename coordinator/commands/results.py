"""`hartstorm results DIR`: list, show, filter, aggregate, compare and export what a batch came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from coordinator.results import Results
    from coordinator.results.compare import Comparison
    from coordinator.results.statistics import Ratio

app = typer.Typer(help="Read the results of a batch.", invoke_without_command=True)

DEFAULT_METRICS = ("operations_per_s", "operations", "run_s", "instret", "sc_failed")
"""What tables show unless told otherwise, of those that the batch has."""
MOST_DEFAULT = 3

Metric = Annotated[list[str] | None, typer.Option("--metric", "-m", help="Metric to show; may be repeated.")]
Where = Annotated[str | None, typer.Option(help="Only points for which this expression holds.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def results(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Batch directory.")],
) -> None:
    """Read the results of a batch. Without a command: list its points."""
    context.obj = directory
    if context.invoked_subcommand is None:
        list_points(context)


@contextmanager
def opened(directory: Path) -> Iterator[Results]:
    """Gives the results in a directory; what is wrong with them, or with what is asked of them, ends the command."""
    from coordinator.results import ResultsError, open_results

    try:
        with open_results(directory) as found:
            yield found
    except ResultsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error


@app.command("list")
def list_points(context: typer.Context, metric: Metric = None, json: Json = False) -> None:
    """Print every point of the plan: parameters, status, metrics."""
    with opened(context.obj) as found:
        _print_points(found, None, metric, json)


@app.command("filter")
def filter_points(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="E.g. 'policy == \"inline\" and harts in (2, 4)'.")],
    metric: Metric = None,
    json: Json = False,
) -> None:
    """Print the points for which an expression over parameters and metrics holds."""
    with opened(context.obj) as found:
        _print_points(found, expression, metric, json)


def _print_points(found: Results, where: str | None, metric: Sequence[str] | None, json: bool) -> None:
    from coordinator.report import plain_table, stdout_console
    from coordinator.results.compare import check_names
    from coordinator.results.text import number

    if json:
        _print_json({"number": p.number, "id": p.id, **p.values} for p in found.points(where))
        return
    check_names(found, metric or ())
    metrics = metric or [m for m in DEFAULT_METRICS if m in found.names()][:MOST_DEFAULT]
    table = plain_table(["point", *found.parameters, "status", *metrics, "why"])
    for point in found.points(where):
        values = point.values
        table.add_row(
            str(point.number),
            *(str(point.parameters.get(name, "")) for name in found.parameters),
            str(values["status"]),
            *(number(values.get(name)) for name in metrics),
            point.reason,
        )
    stdout_console().print(table)
    counts = ", ".join(f"{count} {status}" for status, count in found.statuses().items())
    typer.echo(f"\n{found.name}: {counts or 'no points'}")


@app.command()
def show(
    context: typer.Context,
    point: Annotated[str, typer.Argument(help="A point's number, or the beginning of its id.")],
) -> None:
    """Print all there is about one point, its expanded configuration included, as JSON."""
    import json
    from dataclasses import asdict

    with opened(context.obj) as found:
        it = found.point(point)
        document = asdict(it) | {"status": it.values["status"], "config": json.loads(it.config)}
        typer.echo(json.dumps(document | {"metrics": it.metrics, "sessions": found.sessions}, indent=2))


@app.command()
def aggregate(
    context: typer.Context,
    metric: Metric = None,
    by: Annotated[
        str | None,
        typer.Option(help="Parameters to group by, with commas. Default: all but seed, repetition."),
    ] = None,
    where: Where = None,
    json: Json = False,
) -> None:
    """Print mean, its 95 % interval, median and extremes of metrics, by group of points."""
    from dataclasses import asdict

    from coordinator.report import plain_table, stdout_console
    from coordinator.results.compare import aggregate as aggregated
    from coordinator.results.compare import grouping
    from coordinator.results.text import number

    with opened(context.obj) as found:
        names = grouping(found) if by is None else tuple(filter(None, (n.strip() for n in by.split(","))))
        metrics = metric or [m for m in DEFAULT_METRICS if m in found.names()][:1]
        sums = {m: aggregated(found, m, names, where) for m in metrics}
    if json:
        _print_json(
            {"metric": m, **dict(zip(names, group, strict=True)), **asdict(summary)}
            for m, groups in sums.items()
            for group, summary in groups.items()
        )
        return
    for m, groups in sums.items():
        table = plain_table([*names, "n", m, "95 % interval", "median", "least", "most"])
        for group, s in groups.items():
            low = s.low if s.low is None or s.least < 0 else max(s.low, 0.0)  # no count or time is below 0
            between = "" if low is None else f"{number(low)} to {number(s.high)}"
            figures = (number(s.mean), between, number(s.median), number(s.least), number(s.most))
            table.add_row(*map(str, group), str(s.n), *figures)
        stdout_console().print(table)


@app.command()
def compare(
    context: typer.Context,
    other: Annotated[Path, typer.Argument(help="Directory of the batch to compare with.")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="What to compare.")] = "run_s",
    where: Where = None,
    json: Json = False,
) -> None:
    """Say by how much another batch differs from this one, and where. Exits with 1 if it does."""
    from dataclasses import asdict

    from coordinator.results.compare import compare as compared

    with opened(context.obj) as a, opened(other) as b:
        found = compared(a, b, metric, where)
    if json:
        _print_json([asdict(found) | {"differs": found.differs}])
    else:
        _print_comparison(found)
    differs = found.differs or bool(found.changed)
    raise typer.Exit(ExitCode.NOT_AS_EXPECTED if differs else ExitCode.AS_EXPECTED)


def _print_comparison(found: Comparison) -> None:
    from coordinator.report import plain_table, stdout_console
    from coordinator.results.text import number

    table = plain_table(["", *found.by, f"{found.metric} here", "there", "ratio", "95 % interval", "p"])
    for group in found.groups:
        ratio = group.ratio
        table.add_row(
            "*" if group.is_significant else "",
            *map(str, group.group),
            number(group.a.mean),
            number(group.b.mean),
            "" if ratio is None else f"{ratio.ratio:.3f}",
            _interval(ratio),
            "" if group.p is None else f"{group.p:.2g}",
        )
    console = stdout_console()
    console.print(table)
    significant = sum(group.is_significant for group in found.groups)
    typer.echo(
        f"\n* differs: p below 0.05, corrected for {_groups(len(found.groups))} (Welch on logarithms, Holm)"
    )
    for label, before, after in found.changed:
        typer.echo(f"status changed: {label}: {before} here, {after} there")
    for side, only in (("here", found.only_a), ("there", found.only_b)):
        if only:
            typer.echo(f"only {side}: {_groups(len(only))}")
    typer.echo(_overall(found, significant))


def _overall(found: Comparison, significant: int) -> str:
    ratio = found.overall
    if ratio is None:
        return f"{found.metric}: no ratio, for no group has positive values alone"
    if ratio.p is None:
        return f"{found.metric}: {ratio.ratio:.3f} times as much there; too few points for more"
    told = f"{found.metric} there is {ratio.ratio:.3f} times that here, {_interval(ratio)}, p {ratio.p:.2g}"
    groups = f"{significant} of {_groups(len(found.groups))} differ"
    return f"{told}; {groups}" if found.differs else f"no significant difference: {told}; {groups}"


def _groups(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"


def _interval(ratio: Ratio | None) -> str:
    return "" if ratio is None or ratio.low is None else f"{ratio.low:.3f} to {ratio.high:.3f}"


@app.command()
def outcomes(
    context: typer.Context,
    by: Annotated[
        str | None,
        typer.Option(help="Parameters to group by, with commas. Default: all but seed, repetition."),
    ] = None,
    where: Where = None,
    json: Json = False,
) -> None:
    """Print how often each outcome that the table vm.outcome tells apart was seen, by group of points."""
    from coordinator.report import histogram_lines
    from coordinator.results.compare import check_names, grouping
    from coordinator.results.histogram import histograms

    with opened(context.obj) as found:
        names = grouping(found) if by is None else tuple(filter(None, (n.strip() for n in by.split(","))))
        check_names(found, names)
        groups = histograms(found.points(where), names)
    if json:
        _print_json(
            {**dict(zip(names, group, strict=True)), "vm": vm, "outcome": dict(outcome), "count": count}
            for (group, vm), counts in groups.items()
            for outcome, count in counts.items()
        )
        return
    for (group, vm), counts in groups.items():
        where_ = " ".join(f"{n}={v}" for n, v in zip(names, group, strict=True))
        typer.echo(f"{where_ or found.name}, {vm}: {len(counts)} outcomes in {sum(counts.values())} runs")
        for line in histogram_lines(counts):
            typer.echo(line)


@app.command()
def scaling(
    context: typer.Context,
    metric: Metric = None,
    by: Annotated[
        str | None,
        typer.Option(help="Parameters to group by, with commas. Default: all but harts, seed, repetition."),
    ] = None,
    where: Where = None,
    json: Json = False,
) -> None:
    """Print how groups of points scale with harts: means, intervals, fitted laws, and what to be warned of."""
    from coordinator.analysis.scaling import scaling as scaled
    from coordinator.analysis.show import print_scaling, to_json

    with opened(context.obj) as found:
        names = None if by is None else tuple(filter(None, (n.strip() for n in by.split(","))))
        report = scaled(found, names, where, metric or ())
    if json:
        _print_json([to_json(report)])
    else:
        print_scaling(report)


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write: .csv, .json, .parquet, or .xml for JUnit.")],
    where: Where = None,
) -> None:
    """Write the points to a file for other programs; its suffix says which form."""
    from coordinator.results.export import export as exported

    with opened(context.obj) as found:
        exported(found, file, where)


def _print_json(documents: Iterator[dict[str, object]] | Sequence[dict[str, object]]) -> None:
    import json

    typer.echo(json.dumps(list(documents), indent=1))
