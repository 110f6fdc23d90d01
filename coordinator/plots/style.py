"""The house style of figures: colours, markers, sizes. Data only; matplotlib is not imported here.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/) that keep contrast on white and on black alike;
each has a marker of its own, so that figures also work without colour.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """How a line is drawn; `dark` is its colour on a dark page."""

    colour: str
    dark: str
    marker: str


LOOKS = (
    Look("#0072B2", "#3D9BD6", "o"),  # blue
    Look("#D55E00", "#EB7A24", "s"),  # vermilion
    Look("#009E73", "#1DB88C", "^"),  # bluish green
    Look("#CC79A7", "#D98DB8", "D"),  # reddish purple
    Look("#B67C00", "#E69F00", "v"),  # orange, darker on white
    Look("#3A9BCB", "#56B4E9", "P"),  # sky blue, darker on white
    Look("#5B5B5B", "#B5B5B5", "X"),  # grey, for Okabe and Ito's black, which is the axes'
    Look("#8A8200", "#F0E442", "*"),  # yellow, darker on white
)

INK, PAPER, FAINT = "#1A1B1C", "#FEFEFD", "#8B8C8D"
"""Text and axes; the page; grids and marks. Used for nothing else, so that a page can put its own in their place."""

DARK = {INK: "#E6E6E6", PAPER: "#16181C", FAINT: "#85878A", **{look.colour: look.dark for look in LOOKS}}
"""What stands for each colour on a dark page."""

PANEL_INCHES = (4.6, 3.1)
"""Width and height of a panel."""
PNG_DPI = 200

RC: dict[str, object] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.28,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # names may hold dollar signs
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",  # the layout must not depend on the reader's fonts
    "svg.hashsalt": "hartstorm",
}
"""matplotlib's settings."""
