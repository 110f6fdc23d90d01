"""Zifencei, instruction-fetch fence (unprivileged manual, chapter "Zifencei")."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table

TABLE = Table("Zifencei")


def fence_i(m: Algebra[V]) -> None:
    """This hart's later fetches see its earlier stores."""
    m.fence_i()


# The other fields are reserved for finer fences: implementations ignore them.
TABLE.add("fence.i", "imm[11:0] rs1 001 rd 0001111", fence_i, ignored=("imm", "rs1", "rd"))
