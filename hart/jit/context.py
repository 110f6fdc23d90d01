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
    LASTS = 40
    """Host address of the writer table."""
    PC = 41
    """Private to compiled code."""
    SUPPORT = 42
    """Host address of the policy's table of functions; see `bus.lowering`."""
    RECORD = 43
    """Host address of the recorder's table, or 0; see `bus.recorder`."""
    COUNT = 64


class Reason(IntEnum):
    """Why compiled code returned; the pc it returns is the next to execute."""

    ABSENT = 0
    """No region begins at the pc."""
    INTERPRET = 1
    """The instruction at the pc is the interpreter's: it traps, or is not compiled, or its policy says so."""
    FUEL = 2
    """The next stretch of code up to a check might take more fuel than there is."""
