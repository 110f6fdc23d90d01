"""Results as files for other programs: CSV, JSON, Parquet, JUnit XML. One row a point. Computes nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from coordinator.expression import Value
from coordinator.results.read import BatchPoint, Results, ResultsError
from coordinator.results.record import Status
from hart.spelling import nearest

OWN = ("number", "id", "status", "attempts", "policy", "tier", "harts", "seed", "ending")
"""Columns before parameters and metrics; a parameter of the same name stands in for its column."""


def rows(results: Results, where: str | None = None) -> tuple[list[str], Iterator[list[Value | None]]]:
    """The names of the columns, and the rows; None where a point has no such value."""
    parameters = list(results.parameters)
    own = [name for name in OWN if name not in parameters]
    metrics = [name for name in results.names() if name not in (*own, *parameters, "ok")]
    columns = [*own, *parameters, *metrics]

    def row(point: BatchPoint) -> list[Value | None]:
        values = point.values
        return [values.get(name) for name in columns]

    return columns, (row(point) for point in results.points(where))


def _csv(results: Results, file: Path, where: str | None) -> None:
    columns, found = rows(results, where)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(found)


def _json(results: Results, file: Path, where: str | None) -> None:
    columns, found = rows(results, where)
    points = [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None} for row in found
    ]
    document = {"batch": results.facts, "sessions": results.sessions, "points": points}
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _parquet(results: Results, file: Path, where: str | None) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ResultsError("Parquet needs pyarrow: pip install 'hartstorm[parquet]'") from None
    columns, found = rows(results, where)
    by_column = list(zip(*found, strict=True)) or [()] * len(columns)
    arrays = {name: _column(values) for name, values in zip(columns, by_column, strict=True)}
    pyarrow.parquet.write_table(pyarrow.table(arrays), file)


def _column(values: tuple[Value | None, ...]) -> list[Value | None]:
    """Values of one type: text where there is any text or a number past 63 bits, else numbers."""
    given = [value for value in values if value is not None]
    if any(isinstance(v, str) or (isinstance(v, int) and not -(2**63) <= v < 2**63) for v in given):
        return [None if v is None else str(v) for v in values]
    if any(isinstance(v, float) for v in given):
        return [None if v is None else float(v) for v in values]
    return list(values)


def export_junit(results: Results, file: Path, where: str | None = None) -> None:
    """A test case a point: one that has not been run is skipped, one that could not be run is an error."""
    suite = ElementTree.Element("testsuite", name=results.name)
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    seconds = 0.0
    for point in results.points(where):
        case = ElementTree.SubElement(suite, "testcase", classname=results.name, name=point.label)
        counts["tests"] += 1
        case.set("time", f"{point.wall_s:.3f}")
        seconds += point.wall_s
        kind, count = _JUNIT.get(point.status, ("", ""))
        if kind:
            counts[count] += 1
            status = point.status.value if point.status else "not run"
            element = ElementTree.SubElement(
                case, kind, message=_printable(point.reason or status), type=status
            )
            element.text = _printable(
                "\n".join(
                    f"{vm.name}: {check.what}: expected {check.expected}, seen {check.seen} {check.where}".rstrip()
                    for vm in point.vms
                    for check in vm.checks
                    if not check.ok
                )
            )
        console = "".join(vm.console for vm in point.vms)
        if console:
            ElementTree.SubElement(case, "system-out").text = _printable(console)
    for name, number in counts.items():
        suite.set(name, str(number))
    suite.set("time", f"{seconds:.3f}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


_JUNIT: dict[Status | None, tuple[str, str]] = {
    None: ("skipped", "skipped"),
    Status.FAILED: ("failure", "failures"),
    Status.REFUSED: ("error", "errors"),
    Status.LOST: ("error", "errors"),
}


def _printable(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "?"
        for c in text
    )


FORMATS: dict[str, Callable[[Results, Path, str | None], None]] = {
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
    ".xml": export_junit,
}
"""By the file's suffix; `.xml` is JUnit's."""


def export(results: Results, file: Path, where: str | None = None) -> None:
    """Write the points for which `where` holds, in the form that the file's suffix says.

    Raises:
        ResultsError: a suffix with no form, a form whose package is missing, a condition that is none, or the file
            cannot be written.

    """
    if file.suffix not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise ResultsError(
            f"{file}: no form for {file.suffix!r}{nearest(file.suffix, FORMATS)}; allowed: {allowed}"
        )
    try:
        FORMATS[file.suffix](results, file, where)
    except OSError as error:
        raise ResultsError(f"{file}: cannot be written: {error.strerror}") from error
