"""A picture of an execution and the cycle that forbids it: one column a hart, an arrow for each reason.

Owns the drawing, as SVG that any browser shows.
"""

from __future__ import annotations

from html import escape

from coordinator.check.execution import Execution
from coordinator.check.explain import event_text, hart_of
from coordinator.check.models import Violation, describe_label

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 300, 34, 150, 56, 40
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
    place: dict[int, tuple[int, int]] = {}
    harts = sorted({hart_of(execution, i) for i in shown})
    rows = dict.fromkeys(harts, 0)
    for identity in shown:
        hart = hart_of(execution, identity)
        x = _MARGIN + harts.index(hart) * (_WIDTH + _GAP_X)
        place[identity] = x, _MARGIN + 24 + rows[hart] * (_HEIGHT + _GAP_Y)
        rows[hart] += 1
    width = 2 * _MARGIN + len(harts) * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + 24 + max(rows.values()) * (_HEIGHT + _GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="monospace" font-size="12">',
        f'{_HEAD}<rect width="100%" height="100%" fill="white"/>',
    ]
    parts += (
        _text(_MARGIN + column * (_WIDTH + _GAP_X), _MARGIN, f"hart {hart}", "#000")
        for column, hart in enumerate(harts)
    )
    for identity in shown:
        x, y = place[identity]
        colour = "#fde7ea" if identity in cycle else "#f2f2f2"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="{colour}" stroke="#777"/>'
        )
        parts.append(_text(x + 8, y + 21, event_text(execution, identity), "#000"))
    parts += (_arrow(place[s.before], place[s.after], describe_label(s.label)) for s in violation.cycle)
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _arrow(start: tuple[int, int], end: tuple[int, int], label: str) -> str:
    """From box to box: straight between columns or down a column, bent to the right where it goes up one."""
    (x1, y1), (x2, y2) = start, end
    a: tuple[float, float]
    b: tuple[float, float]
    if x1 == x2:
        bend = 0 if y2 > y1 else 60
        if bend:
            a = (x1 + _WIDTH, y1 + _HEIGHT / 2)
            b = (x2 + _WIDTH, y2 + _HEIGHT / 2)
        else:
            a, b = (x1 + _WIDTH / 2, y1 + _HEIGHT), (x2 + _WIDTH / 2, y2)
    else:
        bend = 0
        right = x2 > x1
        a = (x1 + (_WIDTH if right else 0), y1 + _HEIGHT / 2)
        b = (x2 + (0 if right else _WIDTH), y2 + _HEIGHT / 2)
    middle = (a[0] + b[0]) / 2 + bend, (a[1] + b[1]) / 2
    path = (
        f'<path d="M{a[0]:g},{a[1]:g} Q{middle[0]:g},{middle[1]:g} {b[0]:g},{b[1]:g}" fill="none" '
        'stroke="#b00020" stroke-width="1.5" marker-end="url(#head)"/>'
    )
    return path + _text(middle[0], middle[1] - 4, label, "#b00020", "middle")
