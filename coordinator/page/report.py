"""The report of a batch: what the page says, in which order. Failures and warnings come before any figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from coordinator.analysis.scaling import HARTS, THROUGHPUT, Scaling, ScalingReport, label, scaling
from coordinator.analysis.show import FIT_HEADER, fits
from coordinator.page.markup import Markup, join, table, tag
from coordinator.plots import style
from coordinator.plots.batch import report_figures
from coordinator.plots.draw import css_name, inline_svg
from coordinator.plots.figure import Figure, axis_label, split
from coordinator.results.compare import Group
from coordinator.results.derived import FAIRNESS
from coordinator.results.read import BatchPoint, Results
from coordinator.results.record import Status
from coordinator.results.statistics import Summary
from coordinator.results.text import mean, number

MOST_FAILURES = 200
MOST_POINTS = 1000
"""Rows of the table of points; the rest is in the database."""
WITHOUT_OPERATIONS = ("run_s", "instret")
"""What is shown where a batch does not say what an operation is."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The page's Content-Security-Policy: whatever were to slip into it, nothing is fetched and no script runs."""


@dataclass(frozen=True, slots=True)
class Report:
    """The page, and its figures by name for files beside it."""

    html: str
    figures: Mapping[str, Figure]


def make_report(results: Results) -> Report:
    """The report of a batch, finished or not.

    Raises:
        PlotError: no matplotlib.

    """
    more = () if THROUGHPUT in results.names() else WITHOUT_OPERATIONS
    found = scaling(results, metrics=more)
    figures = dict(report_figures(results, found))
    points = list(results.points())
    sections = [
        _head(results, points),
        _failures(points),
        _warnings(found),
        _glance(found),
        _pictures(figures),
        _scaling_table(found),
        _fits(found),
        _host(results),
        _points(results, points),
        _configuration(results),
    ]
    return Report(_page(f"{results.name}: report", sections), figures)


def _page(title: str, sections: Iterable[str]) -> str:
    css = files("coordinator.page").joinpath("report.css").read_text(encoding="utf-8")
    light = "".join(f"{css_name(colour)}: {colour};" for colour in style.DARK)
    dark = "".join(f"{css_name(colour)}: {other};" for colour, other in style.DARK.items())
    css += f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    head = [
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", title),
        tag("style", Markup(css)),
    ]
    body = tag("body", tag("main", *sections))
    return f'<!DOCTYPE html>\n<html lang="en">{tag("head", *head)}{body}</html>\n'


def _section(title: str, *children: str, class_: str = "") -> Markup:
    return tag("section", tag("h2", title), *children, **({"class_": class_} if class_ else {}))


_CLASSES = {Status.OK.value: "good", Status.BUDGET.value: "partly", "pending": "partly"}
"""How a status is coloured; all others are bad."""


def _head(results: Results, points: Sequence[BatchPoint]) -> Markup:
    counts = results.statuses()
    total = tag("li", tag("b", str(len(points))), " points")
    order = ("bad", "partly", "good")
    found = [(_CLASSES.get(status, "bad"), status, n) for status, n in counts.items()]
    items = [
        tag("li", tag("b", str(n)), f" {status}", class_=kind)
        for kind, status, n in sorted(found, key=lambda item: order.index(item[0]))
    ]
    sessions = results.sessions
    when = _when(sessions)
    varied = ", ".join(results.parameters) or "nothing"
    return tag(
        "header",
        tag("h1", results.name),
        tag("p", str(results.facts.get("description", ""))),
        tag(
            "p", f"hartstorm batch {results.facts.get('source', '')}; varied: {varied}. {when}", class_="dim"
        ),
        tag("ul", total, *items, class_="counts"),
    )


def _when(sessions: Sequence[Mapping[str, object]]) -> str:
    times = [s["started"] for s in sessions if isinstance(s["started"], int | float)]
    if not times:
        return ""
    began = datetime.fromtimestamp(min(times), UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Begun {began}" + (f", in {len(times)} sessions." if len(times) > 1 else ".")


def _failures(points: Iterable[BatchPoint]) -> Markup:
    failed = [p for p in points if p.status and p.status.is_failure]
    if not failed:
        return Markup("")
    rows = [(p.label, p.status.value if p.status else "", p.reason) for p in failed[:MOST_FAILURES]]
    shown = "" if len(failed) <= MOST_FAILURES else f", the first {MOST_FAILURES}"
    return _section(
        "Failures",
        table(f"{len(failed)} points that failed{shown}", ["point", "status", "why"], rows),
        class_="failures",
    )


def _warnings(found: ScalingReport) -> Markup:
    if not found.warnings:
        return Markup("")
    return _section("Before you read on", tag("ul", *(tag("li", w) for w in found.warnings), class_="notes"))


def _glance(found: ScalingReport) -> Markup:
    """The groups side by side at the most harts: what a reader wants to know first."""
    sizes = sorted({n for group in found.groups for n in group.harts})
    if len(sizes) < 2:
        return Markup("")
    least, most = sizes[0], sizes[-1]
    within, outer = split(found.by, [group.group for group in found.groups])
    blocks: dict[Group, list[Scaling]] = {}
    for group in found.groups:
        blocks.setdefault(_values(found, group, outer), []).append(group)
    tables = [
        _glance_table(found, label(outer, block) if outer else "", within, members, (least, most))
        for block, members in blocks.items()
    ]
    return _section(f"At {most} harts", *tables)


def _values(found: ScalingReport, group: Scaling, names: Iterable[str]) -> Group:
    return tuple(group.group[found.by.index(name)] for name in names)


def _glance_table(
    found: ScalingReport, title: str, names: Sequence[str], groups: Sequence[Scaling], harts: tuple[int, int]
) -> Markup:
    least, most = harts
    metrics = [m for m in found.metrics if any(s.mean for s in _at(groups, m, most))]
    best = {m: _best(m, _at(groups, m, most)) for m in metrics}
    rows = []
    for group in groups:
        cells = [(m, group.series.get(m, {}).get(most)) for m in metrics]
        shown = [tag("strong", number(s.mean)) if s and s.mean == best[m] else mean(s)[0] for m, s in cells]
        values = _values(found, group, names)
        rows.append([label(names, values) if names else "all", *shown, _growth(group, least, most)])
    header = [", ".join(names), *map(axis_label, metrics), f"throughput, times that at {least}"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    said = f"{title}: means over runs" if title else "Means over runs"
    said += ", the best in bold" if any(value is not None for value in best.values()) else ""
    return table(said, header, rows, len(header) - 1)


def _at(groups: Iterable[Scaling], metric: str, harts: int) -> list[Summary]:
    found = (group.series.get(metric, {}).get(harts) for group in groups)
    return [summary for summary in found if summary is not None]


def _best(metric: str, seen: Sequence[Summary]) -> float | None:
    """The mean that is better than others; None where all are the same."""
    better = max if metric in (THROUGHPUT, FAIRNESS) else min
    means = [summary.mean for summary in seen]
    return better(means) if len(set(means)) > 1 else None


def _growth(group: Scaling, least: int, most: int) -> str:
    series = group.series.get(THROUGHPUT, {})
    if least not in series or most not in series or not series[least].mean:
        return ""
    return f"{series[most].mean / series[least].mean:.3g}"


def _pictures(figures: Mapping[str, Figure]) -> Markup:
    drawn = []
    for name, shown in figures.items():
        panels = []
        for at, panel in enumerate(shown.panels):
            identity = f"{name}-{at}"
            svg = inline_svg(shown, panel, identity)
            title = join([shown.title, f": {panel.title}" if panel.title else ""])
            named = f'<svg role="img" aria-label="{title}" '
            inside = join([tag("title", title), tag("desc", shown.described(panel))])
            start = svg.index(">") + 1
            panels.append(Markup(svg[:start].replace("<svg ", named, 1) + inside + svg[start:]))
        drawn.append(
            tag(
                "figure",
                tag("h3", shown.title),
                tag("div", *panels, class_="panels"),
                tag("figcaption", shown.caption),
            )
        )
    return _section("Figures", *drawn) if drawn else Markup("")


def _scaling_table(found: ScalingReport) -> Markup:
    if not found.groups or not found.metrics:
        return Markup("")
    header = [*found.by, HARTS, "runs", *(axis_label(metric) for metric in found.metrics)]
    rows = []
    for group in found.groups:
        for n in group.harts:
            cells = [group.series.get(metric, {}).get(n) for metric in found.metrics]
            runs = max((s.n for s in cells if s is not None), default=0)
            rows.append([*map(str, group.group), str(n), str(runs), *(_cell(*mean(s)) for s in cells)])
    columns = len(found.metrics) + 2
    return _section(
        "Measurements", table("Means over runs, with 95 % intervals of the mean", header, rows, columns)
    )


def _cell(value: str, between: str) -> Markup:
    """A value and below it, smaller, its interval."""
    return join([value, Markup("<br>"), tag("span", between, class_="i")] if between else [value])


def _fits(found: ScalingReport) -> Markup:
    rows = [[c if isinstance(c, str) else _cell(*c) for c in row] for row in fits(found)]
    if not rows:
        return Markup("")
    said = (
        "X(N) = \u03bbN / (1 + \u03c3(N\u22121) + \u03baN(N\u22121)); Amdahl's law has \u03ba = 0. Least squares of "
        "relative errors over all runs; the residual is their root mean square. Where the best \u03c3 or \u03ba is "
        "negative, which has no meaning, it is held at 0."
    )
    return _section(
        "Fits", tag("p", said), table("Laws fitted to throughput, with 95 % intervals", FIT_HEADER, rows, 7)
    )


def _host(results: Results) -> Markup:
    tables = []
    for session in results.sessions:
        facts = [(str(k), str(v)) for part in ("host", "versions") for k, v in _items(session[part])]
        started = session["started"]
        began = (
            datetime.fromtimestamp(started, UTC).isoformat(" ", "seconds")
            if isinstance(started, float)
            else ""
        )
        tables.append(table(f"Session {session['number']}, begun {began}", ["fact", "value"], facts))
    return _section("Hosts", *tables, class_="facts") if tables else Markup("")


def _items(facts: object) -> Iterable[tuple[object, object]]:
    return facts.items() if isinstance(facts, dict) else ()


def _points(results: Results, points: Sequence[BatchPoint]) -> Markup:
    known = results.names()
    metrics = [m for m in ("operations", THROUGHPUT, "run_s", "instret", "sc_failed") if m in known]
    rows = []
    for p in points[:MOST_POINTS]:
        values = p.values
        shown = [values.get(m) for m in metrics]
        rows.append(
            [
                str(p.number),
                *(str(p.parameters.get(name, "")) for name in results.parameters),
                str(values["status"]),
                *map(number, shown),
            ]
        )
    header = ["point", *results.parameters, "status", *metrics]
    cut = f", the first {MOST_POINTS}" if len(points) > MOST_POINTS else ""
    summary = tag("summary", f"All {len(points)} points{cut}")
    return _section(
        "Points", tag("details", summary, table("Points of the plan", header, rows, len(metrics)))
    )


def _configuration(results: Results) -> Markup:
    text = json.dumps(results.facts.get("file", results.facts), indent=2, ensure_ascii=False)
    engine = str(results.facts.get("engine", ""))
    said = tag("p", f"Engine {engine}", class_="dim") if engine else Markup("")
    return _section("Batch file", said, tag("details", tag("summary", "As it was read"), tag("pre", text)))
