"""A picture of an execution and the cycle that forbids it: one column a hart, an arrow for each reason.

Owns the drawing, as SVG that any browser shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from coordinator.check.execution import Execution
from coordinator.check.explain import event_text, hart_of
from coordinator.check.models import Violation, describe_label

_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 34, 150, 56, 40
_CHARACTER = 7.3
"""Width of one, generously."""
_BOW = 70
"""How far an arrow keeps away from the boxes that it passes."""
_MOST = 12

_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#b00020"/></marker></defs>'
)


def draw(execution: Execution, violation: Violation) -> str:
    """The picture. Short executions are shown whole, of long ones the events of the cycle."""
    starts = execution.starts
    cycle = {step.before for step in violation.cycle}
    shown = list(range(starts[-1])) if starts[-1] <= _MOST else sorted(cycle)
    texts = {identity: event_text(execution, identity) for identity in shown}
    wide = round(16 + _CHARACTER * max(map(len, texts.values())))
    place: dict[int, _Box] = {}
    harts = sorted({hart_of(execution, i) for i in shown})
    rows = dict.fromkeys(harts, 0)
    for identity in shown:
        hart = hart_of(execution, identity)
        place[identity] = _Box(harts.index(hart), rows[hart], wide)
        rows[hart] += 1
    width = 2 * _MARGIN + len(harts) * (wide + _GAP_X)
    height = 2 * _MARGIN + 24 + max(rows.values()) * (_HEIGHT + _GAP_Y) + _BOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'style="max-width: 100%; height: auto" font-family="monospace" font-size="12">',
        f'{_HEAD}<rect width="100%" height="100%" fill="white"/>',
    ]
    parts += (
        _text(_MARGIN + column * (wide + _GAP_X), _MARGIN, f"hart {hart}", "#000")
        for column, hart in enumerate(harts)
    )
    for identity, box in place.items():
        colour = "#fde7ea" if identity in cycle else "#f2f2f2"
        parts.append(
            f'<rect x="{box.x}" y="{box.y}" width="{wide}" height="{_HEIGHT}" rx="4" fill="{colour}" stroke="#777"/>'
        )
        parts.append(_text(box.x + 8, box.y + 21, texts[identity], "#000"))
    parts += (_arrow(place[s.before], place[s.after], describe_label(s.label)) for s in violation.cycle)
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Box:
    """Where an event stands."""

    column: int
    row: int
    wide: int

    @property
    def x(self) -> int:
        return _MARGIN + self.column * (self.wide + _GAP_X)

    @property
    def y(self) -> int:
        return _MARGIN + 24 + self.row * (_HEIGHT + _GAP_Y)

    @property
    def middle(self) -> float:
        return self.y + _HEIGHT / 2


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    """With a white rim, so that it can be read on a line."""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}" paint-order="stroke" stroke="white" '
        f'stroke-width="{4 if anchor != "start" else 0}">{escape(text)}</text>'
    )


def _arrow(start: _Box, end: _Box, label: str) -> str:
    """From box to box: straight where nothing stands between, else around it.

    To the next event of a column straight down, to another beside the column; to the next column straight, to one
    farther away below what stands between.
    """
    if start.column == end.column and end.row == start.row + 1:
        x = start.x + start.wide / 2
        line = f"M{x:g},{start.y + _HEIGHT} L{x:g},{end.y}"
        at = x, (start.y + _HEIGHT + end.y) / 2 + 4
    elif start.column == end.column:
        x = start.x + start.wide
        line = (
            f"M{x},{start.middle:g} C{x + _BOW},{start.middle:g} {x + _BOW},{end.middle:g} {x},{end.middle:g}"
        )
        at = x + 0.75 * _BOW, (start.middle + end.middle) / 2 + 4
    else:
        right = end.column > start.column
        x1, x2 = (start.x + start.wide, end.x) if right else (start.x, end.x + end.wide)
        far = abs(end.column - start.column) > 1
        below = max(start.y, end.y) + _HEIGHT + _BOW if far else 0
        y1, y2 = (below, below) if far else (start.middle, end.middle)
        step = _GAP_X / 2 if right else -_GAP_X / 2
        line = f"M{x1},{start.middle:g} C{x1 + step:g},{y1:g} {x2 - step:g},{y2:g} {x2},{end.middle:g}"
        # A quarter on its way, so that labels of arrows that cross stand apart.
        t = 0.3
        at = (
            _along(t, x1, x1 + step, x2 - step, x2),
            _along(t, start.middle, y1, y2, end.middle) - 4,
        )
    path = f'<path d="{line}" fill="none" stroke="#b00020" stroke-width="1.5" marker-end="url(#head)"/>'
    return path + _text(*at, label, "#b00020", "middle")


def _along(t: float, a: float, b: float, c: float, d: float) -> float:
    """A coordinate of a cubic Bezier curve."""
    u = 1 - t
    return u**3 * a + 3 * u**2 * t * b + 3 * u * t**2 * c + t**3 * d
