"""What compiled code can do beyond executing its instructions, where somebody asks for it.

Owns the names. Code without them pays nothing for them.
"""

from __future__ import annotations

import platform
from enum import IntFlag

CYCLES = "@llvm.readsteadycounter" if platform.machine() in ("aarch64", "arm64") else "@llvm.readcyclecounter"
"""LLVM's name of a clock that any process may read in a few nanoseconds; AArch64's cycle counter is the kernel's."""
CYCLES_DECLARATION = f"declare i64 {CYCLES}()"


class Instrument(IntFlag):
    """Additions to a region; part of what identifies it."""

    NONE = 0
    WATCHED = 1
    """Every access to a WATCHED page is the interpreter's."""
    PROFILED = 2
    """A region counts the instructions that it retires and the cycles that it takes (`hart.jit.context.Word`)."""
