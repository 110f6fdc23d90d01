"""What compiled code can do beyond executing its instructions, where somebody asks for it.

Owns the names. Code without them pays nothing for them.
"""

from __future__ import annotations

from enum import IntFlag


class Instrument(IntFlag):
    """Additions to a region; part of what identifies it."""

    NONE = 0
    LOADS_WATCHED = 1
    """Loads from WATCHED pages are the interpreter's, as stores are always."""
    PROFILED = 2
    """A region counts the instructions that it retires and the cycles that it takes (`hart.jit.context.Word`)."""
