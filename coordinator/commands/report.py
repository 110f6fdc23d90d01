"""`hartstorm report DIR`: the report of a batch as one HTML page, and its figures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.results import opened


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Batch directory.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: DIR/report.html.")
    ] = None,
    figures: Annotated[
        bool, typer.Option(help="Write each figure as SVG and PNG into FILE-figures, too.")
    ] = True,
) -> None:
    """Write what a batch came to as one HTML page that opens anywhere, with tables and figures."""
    from coordinator.page.files import REPORT, write_report
    from coordinator.plots.draw import PlotError, check_matplotlib

    try:
        check_matplotlib()
        with opened(directory) as results:
            written = write_report(results, directory / REPORT if output is None else output, figures)
    except PlotError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error
    typer.echo(str(written))
