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
    from coordinator.page.report import make_report
    from coordinator.plots.draw import FORMATS, PlotError, check_matplotlib, write

    file = directory / "report.html" if output is None else output
    beside = file.with_name(f"{file.stem}-figures")
    try:
        check_matplotlib()
        with opened(directory) as results:
            made = make_report(results)
        file.write_text(made.html, encoding="utf-8")
        if figures and made.figures:
            beside.mkdir(exist_ok=True)
            for name, figure in made.figures.items():
                for suffix in FORMATS:
                    write(figure, beside / f"{name}{suffix}")
    except PlotError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error
    except OSError as error:
        typer.echo(f"{file}: cannot be written: {error.strerror}", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error
    told = f", figures in {beside}" if figures and made.figures else ""
    typer.echo(f"{file}: {len(made.html) // 1024} KiB, {len(made.figures)} figures{told}")
