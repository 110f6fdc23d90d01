"""Zbs, single-bit operations (unprivileged manual, chapter "B")."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table
from hart.isa.rv64i import binary, shift_immediate

TABLE = Table("Zbs")


def _bit(m: Algebra[V], index: V) -> V:
    return m.sll(m.const(1), index)


def bclr(m: Algebra[V], a: V, b: V) -> V:
    """a with bit b modulo 64 cleared."""
    return m.and_(a, m.xor(_bit(m, b), m.const(-1)))


def bext(m: Algebra[V], a: V, b: V) -> V:
    """Bit b modulo 64 of a."""
    return m.and_(m.srl(a, b), m.const(1))


def binv(m: Algebra[V], a: V, b: V) -> V:
    """a with bit b modulo 64 inverted."""
    return m.xor(a, _bit(m, b))


def bset(m: Algebra[V], a: V, b: V) -> V:
    """a with bit b modulo 64 set."""
    return m.or_(a, _bit(m, b))


for _name, _funct6, _funct3, _op in (
    ("bclr", "010010", "001", bclr),
    ("bext", "010010", "101", bext),
    ("binv", "011010", "001", binv),
    ("bset", "001010", "001", bset),
):
    TABLE.add(f"{_name} rd, rs1, rs2", f"{_funct6}0 rs2 rs1 {_funct3} rd 0110011", binary(_op))
    TABLE.add(
        f"{_name}i rd, rs1, uimm", f"{_funct6} uimm[5:0] rs1 {_funct3} rd 0010011", shift_immediate(_op)
    )
