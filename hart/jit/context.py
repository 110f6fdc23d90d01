"""The native context: what compiled code finds behind its one pointer, one row per word.

Owns the layout of this block of words, which is private to a hart process, and of a region's return.
"""

from __future__ import annotations

from enum import IntEnum


class Word(IntEnum):
    """Word indices in the context."""

    X = 0
    """x0 to x31; the interpreter works on the same words."""
    RAM = 32
    """Host address of guest RAM."""
    TABLE = 33
    """Host address of the entry table: one word per two bytes of RAM, the region that begins there or 0."""
    PAGE_MAP = 34
    """Host address of the page map (`bus.layout`)."""
    GRANULES = 35
    """Host address of the granule table."""
    FUEL = 36
    """Out: what is left of the fuel, never negative; instructions executed are the difference."""
    REASON = 37
    """Out: a Reason."""
    PAGE = 38
    """Host address of the hart's page."""
    REGION = 39
    """Out: entry of the region that returned."""
    PC = 41
    """Private to compiled code."""
    SUPPORT = 42
    """Host address of the policy's table of functions; see `bus.lowering`."""
    RECORD = 45
    """Host address of the recorder's table, or 0; see `bus.recorder`."""
    COUNTS = 60
    """In profiled code: host address of the counts, COUNT_WORDS for each two bytes of RAM."""
    SINCE = 61
    """In profiled code: the clock when control came to the region that runs."""
    FREE_BASE = 46
    """Guest address of a stretch of RAM, whole pages whose page-map bytes are 0 as far as this hart must know; see
    `hart.jit.engine`."""
    FREE_BYTES = 47
    """Its length; may be 0."""
    SPIN_BUDGET = 43
    """Rounds of a retry loop before the hart lets others run."""
    SPIN_OFFSET = 44
    """Out, with Reason.SPIN: offset in RAM of what the loop looks at."""
    SPIN_WAITS = 48
    """How often the hart has waited in the retry loop that it is in, if it is in one."""
    COUNT = 64


COUNT_WORDS = 4
"""For the regions that begin at an address: instructions and cycles of T1's, then of T2's."""


class Reason(IntEnum):
    """Why compiled code returned; the pc it returns is the next to execute."""

    ABSENT = 0
    """No region begins at the pc."""
    INTERPRET = 1
    """The instruction at the pc is the interpreter's: it traps, or is not compiled, or its policy says so."""
    FUEL = 2
    """The next stretch of code up to a check might take more fuel than there is."""
    SPIN = 3
    """It goes round a retry loop (`hart.isa.retry`), at the pc, and has used up its budget."""
