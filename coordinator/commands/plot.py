"""`hartstorm plot DIR`: one figure of a batch in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.results import opened


def plot(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Batch directory.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write: .svg or .png.")
    ],
    x: Annotated[str, typer.Option("--x", help="Parameter of the horizontal axis.")] = "harts",
    y: Annotated[str, typer.Option("--y", help="Metric of the vertical axis.")] = "operations_per_s",
    by: Annotated[
        str | None,
        typer.Option(help="Parameters with a line for each value, with commas. Default: all that vary."),
    ] = None,
    where: Annotated[str | None, typer.Option(help="Only points for which this expression holds.")] = None,
) -> None:
    """Draw a metric against a parameter, with a line for each group of points; failed points are left out."""
    from coordinator.plots.batch import batch_figure
    from coordinator.plots.draw import PlotError, check_format, check_matplotlib, write

    try:
        check_format(output)
        check_matplotlib()
        with opened(directory) as results:
            names = None if by is None else tuple(filter(None, (name.strip() for name in by.split(","))))
            write(batch_figure(results, y, x, names, where), output)
    except PlotError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error
