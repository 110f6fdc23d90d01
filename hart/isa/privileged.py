"""Machine-mode instructions (privileged manual, chapter "Machine-Level ISA"); no extension owns them."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table

TABLE = Table()


def mret(m: Algebra[V]) -> None:
    """Return from an M-mode trap."""
    m.mret()


def wfi(m: Algebra[V]) -> None:
    """Wait for an interrupt."""
    m.wfi()


TABLE.add("mret", "001100000010 00000 000 00000 1110011", mret)
TABLE.add("wfi", "000100000101 00000 000 00000 1110011", wfi)
