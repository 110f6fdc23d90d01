"""The report of a batch as files: the page, and its figures beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coordinator.page.report import make_report
from coordinator.plots.draw import FORMATS, PlotError, write
from coordinator.results.read import Results

REPORT = "report.html"
"""Name of the page in the batch directory."""


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """The page, how many bytes it has, how many figures are on it, and their directory if they have one."""

    page: Path
    size: int
    figures: int
    beside: Path | None

    def __str__(self) -> str:
        said = f"{self.page}: {self.size // 1024} KiB, {self.figures} figures"
        return said if self.beside is None else f"{said}, also in {self.beside}"


def write_report(results: Results, file: Path, with_figures: bool = True) -> WrittenReport:
    """Write the report of a batch, finished or not, to `file`, and each figure as SVG and PNG into FILE-figures.

    Raises:
        PlotError: no matplotlib, or something cannot be written.

    """
    made = make_report(results)
    beside = file.with_name(f"{file.stem}-figures") if with_figures and made.figures else None
    data = made.html.encode("utf-8")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        if beside is not None:
            beside.mkdir(exist_ok=True)
            for name, figure in made.figures.items():
                write(figure, *(beside / f"{name}{suffix}" for suffix in FORMATS))
    except OSError as error:
        raise PlotError(f"{error.filename or file}: cannot be written: {error.strerror}") from error
    return WrittenReport(file, len(data), len(made.figures), beside)
