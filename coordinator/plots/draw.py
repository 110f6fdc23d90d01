"""Draws figures with matplotlib. Owns the drawing; what is shown is decided by `coordinator.plots.figure`."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.plots import style
from coordinator.plots.figure import MOST_TOGETHER, Figure, Line, Panel
from hart.spelling import nearest

if TYPE_CHECKING:
    from coordinator.analysis.usl import Fit
    from coordinator.expression import Value

FORMATS = (".svg", ".png")
_LABEL_GAP = 0.062
"""Least distance of two labels, as a share of the panel's height."""
_MOST_TEXT = 24
"""Characters of a name in a figure: longer ones would leave no room for the lines."""
_DODGE = 0.03
"""How far lines' points stand apart, as a share of the distance from one x to the next."""
_BANDS = 2
"""With more lines in a panel, intervals are bars only."""
_COLUMNS = 2
"""Panels beside each other in a file."""


class PlotError(Exception):
    """A figure cannot be drawn or written; says why."""


def check_format(file: Path) -> None:
    """Raises PlotError if `file` has a suffix that is no form of a figure."""
    if file.suffix not in FORMATS:
        raise PlotError(
            f"{file}: no form for {file.suffix!r}{nearest(file.suffix, FORMATS)}; allowed: {', '.join(FORMATS)}"
        )


def check_matplotlib() -> None:
    """Raises PlotError if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise PlotError("figures need matplotlib: pip install 'hartstorm[plots]'") from None


def write(figure: Figure, *files: Path) -> None:
    """Draw all panels of a figure into files, each in the form that its suffix says.

    Raises:
        PlotError: another suffix, no matplotlib, or a file cannot be written.

    """
    for file in files:
        check_format(file)
    drawn = _rendered(figure, [file.suffix[1:] for file in files])
    for file, data in zip(files, drawn, strict=True):
        try:
            file.write_bytes(data)
        except OSError as error:
            raise PlotError(f"{file}: cannot be written: {error.strerror}") from error


def inline_svg(figure: Figure, panel: Panel, prefix: str) -> str:
    """One panel as SVG to put into an HTML page, on the scale of the whole figure.

    Colours are CSS variables (`css_name`); ids begin with `prefix`; it has a title and refers to nothing outside.

    Raises:
        PlotError: no matplotlib.

    """
    text = _rendered(figure, ["svg"], panel)[0].decode("utf-8")
    text = text[text.index("<svg ") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:xmlns|xmlns:xlink|version)="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for colour in style.DARK:
        text = re.sub(colour, f"var({css_name(colour)})", text, flags=re.IGNORECASE)
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", text, count=1).strip()


def css_name(colour: str) -> str:
    """The CSS variable that stands for a colour of the style."""
    return f"--c{colour[1:].lower()}"


def _rendered(figure: Figure, forms: Sequence[str], only: Panel | None = None) -> list[bytes]:
    """The figure, or one panel of it, in each of the forms; its layout is worked out once."""
    check_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = figure.panels if only is None else (only,)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = style.PANEL_INCHES
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type, unused-ignore]
        canvas = Canvas(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=not figure.has_own_scales)
        cells = [cell for row in axes for cell in row]
        for at, cell in enumerate(cells):
            if at >= len(panels):
                cell.set_visible(False)
                continue
            outer = figure.has_own_scales or at % columns == 0
            _axes(cell, figure, panels[at], leftmost=outer, lowest=at + columns >= len(panels))
            _panel(cell, figure, panels[at])
        for cell, panel in zip(cells, panels, strict=False):
            _labels(cell, figure, panel)
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")
        found = []
        for form in forms:
            out = io.BytesIO()
            settings: dict[str, Any] = (
                {"metadata": {"Date": None}} if form == "svg" else {"dpi": style.PNG_DPI}
            )
            canvas.savefig(out, format=form, **settings)
            found.append(out.getvalue())
    return found


def _axes(cell: Any, figure: Figure, panel: Panel, *, leftmost: bool, lowest: bool) -> None:
    """Scales, ticks, labels, limits: the same for every panel of the figure."""
    from matplotlib.ticker import (
        EngFormatter,
        FixedLocator,
        FuncFormatter,
        MaxNLocator,
        NullFormatter,
        NullLocator,
    )

    xs = figure.xs
    at = [_place(x, xs) for x in xs]
    if figure.is_log_x:
        cell.set_xscale("log", base=2)
    low, high = min(at), max(at)
    if figure.is_log_x:
        margin = max(1.1, (high / low) ** 0.04)
        cell.set_xlim(low / margin, high * margin)
    else:
        margin = 0.05 * (high - low) or 0.5
        cell.set_xlim(low - margin, high + margin)
    cell.xaxis.set_major_locator(FixedLocator(at))
    cell.xaxis.set_minor_locator(NullLocator())
    cell.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, xs)))
    if figure.is_log_y:
        cell.set_yscale("log")
    bottom, top = _limits(figure, panel)
    cell.set_ylim(bottom, top)
    if not figure.is_log_y:
        cell.yaxis.set_major_locator(MaxNLocator(5))
    if figure.tick_unit or top >= 1000:
        cell.yaxis.set_major_formatter(EngFormatter(figure.tick_unit, sep="\N{THIN SPACE}"))
    elif figure.is_log_y:  # matplotlib's own has powers in its markup, which is switched off
        cell.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        cell.yaxis.set_minor_formatter(NullFormatter())
    cell.tick_params(labelleft=leftmost, labelbottom=lowest)
    if lowest:
        cell.set_xlabel(figure.x + (", log\N{SUBSCRIPT TWO} scale" if figure.is_log_x else ""))
    if leftmost:
        cell.set_ylabel(figure.y + (", log scale" if figure.is_log_y else ""))


def _limits(figure: Figure, panel: Panel) -> tuple[float, float]:
    """Of y: from 0, or from a little below the least where the axis is logarithmic; intervals may reach out of it."""
    points = [p for like in figure.sharing(panel) for line in like.lines for p in line.points]
    most = max(p.mean for p in points)
    reach = max(p.high if p.high is not None else p.mean for p in points)
    if figure.is_share:
        return 0.0, 1.04
    if figure.is_log_y:
        return min(p.mean for p in points) / 1.6, min(reach, 2 * most) * 1.25
    return 0.0, (min(reach, 1.6 * most) or 1.0) * 1.06


def _panel(cell: Any, figure: Figure, panel: Panel) -> None:
    xs = figure.xs
    if panel.title:
        cell.set_title(_short(panel.title), pad=14)
    if figure.cores is not None and isinstance(xs[0], int | float) and xs[0] <= figure.cores <= float(xs[-1]):
        cell.axvline(figure.cores, color=style.FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        cell.annotate(
            f"host cores: {figure.cores}",
            (figure.cores, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            color=style.FAINT,
            fontsize=7.5,
            ha="center",
            va="bottom",
        )
    for rank, line in enumerate(panel.lines):
        aside = _DODGE * (rank - (len(panel.lines) - 1) / 2)
        _line(cell, figure, line, aside, len(panel.lines))
        if panel.shows_fits and line.fit is not None:
            _fit(cell, figure, line, line.fit)


def _line(cell: Any, figure: Figure, line: Line, aside: float, lines: int) -> None:
    """`aside` is how far its points are moved, as a share of the distance to the next x; of `lines` in the panel."""
    xs = figure.xs
    look = style.LOOKS[line.look % len(style.LOOKS)]
    dash = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))[line.look // len(style.LOOKS) % 3]
    exact = [_place(p.x, xs) for p in line.points]
    at = [x * 2**aside if figure.is_log_x else x + aside * _step(xs) for x in exact]
    means = [p.mean for p in line.points]
    lows = [p.mean if p.low is None else max(p.low, 0.0) for p in line.points]
    highs = [p.mean if p.high is None else p.high for p in line.points]
    if figure.is_share:
        highs = [min(high, 1.0) for high in highs]
    if lines <= _BANDS and len(at) > 1:
        cell.fill_between(at, lows, highs, color=look.colour, alpha=0.13, linewidth=0, zorder=2)
    errors = [
        [m - low for m, low in zip(means, lows, strict=True)],
        [h - m for m, h in zip(means, highs, strict=True)],
    ]
    cell.errorbar(
        at,
        means,
        yerr=errors,
        fmt="none",
        ecolor=look.colour,
        elinewidth=1,
        capsize=2.2,
        capthick=1,
        alpha=1 if lines <= MOST_TOGETHER else 0.55,
        zorder=3,
    )
    cell.plot(
        at,
        means,
        color=look.colour,
        linestyle=dash,
        marker=look.marker,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.7,
        markersize=8 if look.marker == "*" else 6 if look.marker in "PX" else 5.5,
        zorder=4,
    )


def _fit(cell: Any, figure: Figure, line: Line, fit: Fit) -> None:
    look = style.LOOKS[line.look % len(style.LOOKS)]
    places = [_place(p.x, figure.xs) for p in line.points]
    low, high = min(places), max(places)
    smooth = [low * (high / low) ** (k / 60) for k in range(61)]
    fitted = [fit.throughput(n) for n in smooth]
    cell.plot(smooth, fitted, color=look.colour, linewidth=0.9, linestyle=(0, (1, 1.4)), alpha=0.9, zorder=3)


def _labels(cell: Any, figure: Figure, panel: Panel) -> None:
    """Names at the right ends of lines, moved apart where they would lie on each other."""
    if len(panel.lines) == 1 and panel.lines[0].label == "all":
        return
    bottom, top = _limits(figure, panel)

    def share(value: float) -> float:
        if figure.is_log_y:
            return (math.log(max(value, bottom)) - math.log(bottom)) / (math.log(top) - math.log(bottom))
        return (value - bottom) / (top - bottom)

    wanted = [share(line.points[-1].mean) for line in panel.lines]
    for line, true, moved in zip(panel.lines, wanted, _apart(wanted, _LABEL_GAP), strict=True):
        look = style.LOOKS[line.look % len(style.LOOKS)]
        x = _place(line.points[-1].x, figure.xs)
        cell.annotate(
            _short(line.label),
            (x, line.points[-1].mean),
            xycoords="data",
            xytext=(1.035, moved),
            textcoords="axes fraction",
            color=look.colour,
            fontsize=8,
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look.colour,
                "linewidth": 0.6,
                "alpha": 0.7,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            }
            if abs(true - moved) > 0.004 or x != _place(figure.xs[-1], figure.xs)
            else None,
        )


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """The same places, moved as little as order allows so that neighbours are `gap` apart, within 0 and 1."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    gap = min(gap, 1 / max(1, len(wanted) - 1))
    blocks: list[tuple[float, list[int]]] = []  # the middle that its labels want, and they
    for at in order:
        middle, members = wanted[at], [at]
        while blocks:
            before, others = blocks[-1]
            if middle - gap * (len(members) - 1) / 2 - (before + gap * (len(others) - 1) / 2) >= gap:
                break
            blocks.pop()
            middle = (before * len(others) + middle * len(members)) / (len(others) + len(members))
            members = others + members
        half = gap * (len(members) - 1) / 2
        blocks.append((min(max(middle, half), 1 - half), members))
    found = [0.0] * len(wanted)
    for middle, members in blocks:
        for rank, at in enumerate(members):
            found[at] = middle + gap * (rank - (len(members) - 1) / 2)
    return found


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"


def _place(x: Value, xs: Sequence[Value]) -> float:
    return float(x) if all(isinstance(other, int | float) for other in xs) else float(xs.index(x))


def _step(xs: Sequence[Value]) -> float:
    """The least distance of two x on a linear axis."""
    places = [_place(x, xs) for x in xs]
    return min((b - a for a, b in itertools.pairwise(places)), default=1.0)


def _tick(at: float, xs: Sequence[Value]) -> str:
    for x in xs:
        if abs(_place(x, xs) - at) < 1e-9 * max(1.0, abs(at)):
            return f"{x:g}" if isinstance(x, float) else str(x)
    return ""
