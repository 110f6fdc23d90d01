"""What a figure shows, as data: panels of lines of points with intervals, axes with units. Draws nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from coordinator.analysis.scaling import HARTS, LATENCY, label
from coordinator.analysis.usl import Fit
from coordinator.expression import Value
from coordinator.results.compare import Group
from coordinator.results.derived import FAIRNESS, QUOTIENTS
from coordinator.results.schema import TABLES
from coordinator.results.statistics import Summary

MOST_TOGETHER = 4
"""Lines that one panel holds whatever tells them apart; more are spread over panels."""
_OWN_FROM = 4.0
"""Ratio of the panels' largest values from which each has a scale of its own."""
_LOGARITHMIC_FROM = 50.0
"""Ratio of the largest value to the smallest from which an axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Point:
    """A mean with its interval; no interval where there was one value only."""

    x: Value
    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together, and the model fitted to them if there is one.

    `look` is the number of its colour and marker, the same in all panels.
    """

    label: str
    points: tuple[Point, ...]
    look: int = 0
    fit: Fit | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One coordinate system; panels of a figure share their axes."""

    title: str
    lines: tuple[Line, ...]

    @property
    def shows_fits(self) -> bool:
        """Whether fits are drawn: many would hide the points."""
        return len(self.lines) <= MOST_TOGETHER and any(line.fit for line in self.lines)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Attributes:
        title: what it shows, in a few words.
        x, y: axis labels, with units.
        panels: from left to right.
        cores: of the host, for a mark on an axis of harts.
        is_share: whether y goes from 0 to 1.
        tick_unit: unit of y, where it stands at the ticks, with a prefix.
        zero: what is not drawn because it is 0 throughout.

    """

    title: str
    x: str
    y: str
    panels: tuple[Panel, ...]
    cores: int | None = None
    is_share: bool = False
    tick_unit: str = ""
    zero: tuple[str, ...] = ()

    @property
    def xs(self) -> list[Value]:
        """All x, rising where they are numbers, else in the order of the batch."""
        found = dict.fromkeys(p.x for panel in self.panels for line in panel.lines for p in line.points)
        numbers = [x for x in found if isinstance(x, int | float)]
        return [*sorted(numbers)] if len(numbers) == len(found) else list(found)

    @property
    def is_log_x(self) -> bool:
        """Whether x is best shown in powers of two: several times the least, all above 0."""
        numbers = [x for x in self.xs if isinstance(x, int | float)]
        return len(numbers) == len(self.xs) and min(numbers, default=0) > 0 and numbers[-1] >= 4 * numbers[0]

    @property
    def has_own_scales(self) -> bool:
        """Whether each panel needs a scale of its own: on one for all, some would be flat at the bottom."""
        tops = [_span(panel)[1] for panel in self.panels]
        return not self.is_share and min(tops) > 0 and max(tops) / min(tops) > _OWN_FROM

    @property
    def is_log_y(self) -> bool:
        """Whether the values span so much that small ones would not be seen otherwise."""
        spans = [_span(panel) for panel in self.panels]
        if not self.has_own_scales:
            spans = [(min(low for low, _ in spans), max(high for _, high in spans))]
        return not self.is_share and all(low > 0 and high / low > _LOGARITHMIC_FROM for low, high in spans)

    def sharing(self, panel: Panel) -> Sequence[Panel]:
        """The panels that have the same scale as this one."""
        return (panel,) if self.has_own_scales else self.panels

    @property
    def caption(self) -> str:
        """How to read it."""
        points = [p for panel in self.panels for line in panel.lines for p in line.points]
        parts = ["Means over seeds"]
        parts[0] += "; bars: 95 % intervals." if any(p.low is not None for p in points) else "."
        if any(panel.shows_fits for panel in self.panels):
            parts.append("Dotted: the fitted Universal Scalability Law.")
        if any(len(panel.lines) > 1 for panel in self.panels):
            parts.append("Points of one x are drawn side by side.")
        if self.has_own_scales:
            parts.append("Each panel has a scale of its own.")
        if self.zero:
            parts.append(f"Not drawn, being 0 throughout: {', '.join(self.zero)}.")
        return " ".join(parts)

    def described(self, panel: Panel) -> str:
        """A panel in words, for those who do not see it."""
        said = []
        for line in panel.lines:
            first, last = line.points[0], line.points[-1]
            said.append(f"{line.label}: {first.mean:.3g} at {first.x}, {last.mean:.3g} at {last.x}")
        return f"{self.y} against {self.x}. {'; '.join(said)}."


def _span(panel: Panel) -> tuple[float, float]:
    means = [p.mean for line in panel.lines for p in line.points]
    return min(means), max(means)


def axis_label(metric: str) -> str:
    """What an axis of a metric is called, with its unit where that is known."""
    if metric in _LABELS:
        return _LABELS[metric]
    if latency := LATENCY.fullmatch(metric):
        unit = "" if latency["unit"] in _SECONDS else f" ({latency['unit']})"
        return f"latency, {percentile(latency['digits'])} percentile{unit}"
    column = next((c for c in TABLES["vm"] if c.name == metric), None)
    return f"{metric} ({column.unit})" if column is not None and column.unit else metric


def percentile(digits: str) -> str:
    """`50th`, `99th`, `99.9th`: the digits after the second are decimals."""
    return f"{digits[:2]}{'.' if digits[2:] else ''}{digits[2:]}th"


_LABELS = {
    HARTS: "harts",
    **{name: f"{q.meaning} ({q.unit})" if q.unit else q.meaning for name, q in QUOTIENTS.items()},
    FAIRNESS: "Jain's fairness index",
    "run_s": "time that the longest-running hart took (s)",
    "wall_s": "time from start to end, start-up included (s)",
    "instret": "instructions retired",
    "traps": "traps taken",
    "sc_failed": "failed SCs",
    "messages": "messages to and from the bus",
}
_SHARES = {"sc_failure_rate", FAIRNESS}
_SECONDS = {"ns": 1e-9, "us": 1e-6}
"""Units of latency that are shown in seconds."""


def independent(by: Sequence[str], groups: Iterable[Group]) -> list[str]:
    """The parameters that vary, without those that follow from one of them, as in a zip: they tell groups apart."""
    groups = list(groups)
    found: list[str] = []
    for at, name in enumerate(by):
        values = len({group[at] for group in groups})
        followed = any(len({(g[by.index(n)], g[at]) for g in groups}) == _count(by, n, groups) for n in found)
        if values > 1 and not followed:
            found.append(name)
    return found


def _count(by: Sequence[str], name: str, groups: Iterable[Group]) -> int:
    at = by.index(name)
    return len({group[at] for group in groups})


def split(by: Sequence[str], groups: Collection[Group]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parameters that tell lines apart, and those that tell panels apart.

    Where there are more than `MOST_TOGETHER` groups, lines are told apart by the parameter with the most values alone.
    """
    varying = independent(by, groups)
    inner = max(varying, key=lambda name: _count(by, name, groups), default=None)
    within = (inner,) if inner is not None and len(groups) > MOST_TOGETHER else tuple(varying)
    return within, tuple(name for name in varying if name not in within)


def figure(
    metric: str,
    x: str,
    by: Sequence[str],
    series: Mapping[Group, Mapping[int, Summary] | Mapping[Value, Summary]],
    cores: int | None = None,
    fits: Mapping[Group, Fit | None] | None = None,
    among: Collection[Group] = (),
) -> Figure:
    """A metric against `x`, a line for each group of `by`, in panels as `split` says; what is always 0 is left out.

    `among` are all groups of the batch: what varies among them but not in the figure is said in its title.
    """
    drawn = {group: points for group, points in series.items() if any(s.mean for s in points.values())}
    drawn = drawn or dict(series)  # better zeros than nothing
    within, outer = split(by, drawn)
    latency = LATENCY.fullmatch(metric)
    factor = _SECONDS.get(latency["unit"]) if latency else None
    panels: dict[str, list[Line]] = {}
    looks: dict[str, int] = {}
    for group in series:  # a name has one look, whether all of its lines are drawn or not
        looks.setdefault(_label(within, dict(zip(by, group, strict=True))) or "all", len(looks))
    for group, points in drawn.items():
        chosen = dict(zip(by, group, strict=True))
        name = _label(within, chosen) or "all"
        line = Line(name, tuple(_points(points, factor or 1.0)), looks[name], (fits or {}).get(group))
        panels.setdefault(_label(outer, chosen), []).append(line)
    title = axis_label(metric).partition(" (")[0]
    return Figure(
        f"{title[:1].upper()}{title[1:]} against {axis_label(x).partition(' (')[0]}{_fixed(by, drawn, among)}",
        axis_label(x),
        axis_label(metric),
        tuple(Panel(name, tuple(lines)) for name, lines in panels.items()),
        cores if x == HARTS else None,
        metric in _SHARES,
        "s" if factor else "",
        tuple(_zero(by, drawn, [group for group in series if group not in drawn])),
    )


def _fixed(by: Sequence[str], drawn: Collection[Group], among: Collection[Group]) -> str:
    """What all drawn groups have in common though it varies in the batch, to be put behind a title."""
    names = [n for n in independent(by, among) if _count(by, n, drawn) == 1]
    group = next(iter(drawn), None)
    return f": {label(names, [group[by.index(n)] for n in names])}" if names and group is not None else ""


def _zero(by: Sequence[str], drawn: Collection[Group], zero: Collection[Group]) -> Iterator[str]:
    """The groups that are not drawn, in short: by one parameter each where all of its value are among them."""
    left = list(zero)
    for name in independent(by, [*drawn, *zero]):
        at = by.index(name)
        seen = {group[at] for group in drawn}
        for value in dict.fromkeys(group[at] for group in left):
            if value not in seen:
                left = [group for group in left if group[at] != value]
                yield label([name], [value])
    names = independent(by, [*drawn, *zero])
    for group in left:
        yield label(names, [group[by.index(n)] for n in names])


def _label(names: Sequence[str], chosen: Mapping[str, Value]) -> str:
    return label(names, tuple(chosen[n] for n in names)) if names else ""


def _points(by_x: Mapping[int, Summary] | Mapping[Value, Summary], factor: float) -> list[Point]:
    return [
        replace(Point(x, s.mean * factor), low=s.low * factor, high=s.high * factor)
        if s.low is not None and s.high is not None
        else Point(x, s.mean * factor)
        for x, s in by_x.items()
    ]
