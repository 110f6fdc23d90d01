"""Zihintpause, the spin-wait hint (unprivileged manual, chapter "Zihintpause")."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table

TABLE = Table("Zihintpause")


def pause(m: Algebra[V]) -> None:
    """This hart is spinning."""
    m.pause()


# The word is `fence w, 0`, which orders nothing: without the extension it is that fence.
TABLE.add("pause", "0000 0001 0000 00000 000 00000 0001111", pause, refines="fence")
