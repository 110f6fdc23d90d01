"""Zicond, integer conditional operations (unprivileged manual, chapter "Zicond")."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table
from hart.isa.rv64i import binary

TABLE = Table("Zicond")


def czero_eqz(m: Algebra[V], a: V, b: V) -> V:
    """0 if b is 0, else a."""
    return m.select(b, a, m.const(0))


def czero_nez(m: Algebra[V], a: V, b: V) -> V:
    """0 if b is not 0, else a."""
    return m.select(b, m.const(0), a)


TABLE.add("czero.eqz rd, rs1, rs2", "0000111 rs2 rs1 101 rd 0110011", binary(czero_eqz))
TABLE.add("czero.nez rd, rs1, rs2", "0000111 rs2 rs1 111 rd 0110011", binary(czero_nez))
