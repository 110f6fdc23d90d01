"""Zba, address generation (unprivileged manual, chapter "B")."""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table
from hart.isa.rv64i import Binary, binary, shift_immediate

TABLE = Table("Zba")


def shift_add(amount: int) -> Binary[V]:
    """b + (a << amount)."""
    return lambda m, a, b: m.add(b, m.sll(a, m.const(amount)))


def shift_add_unsigned(amount: int) -> Binary[V]:
    """b + (low word of a << amount)."""
    return lambda m, a, b: m.add(b, m.sll(m.zext(a, 32), m.const(amount)))


def add_uw(m: Algebra[V], a: V, b: V) -> V:
    """b + low word of a."""
    return m.add(b, m.zext(a, 32))


def slli_uw(m: Algebra[V], a: V, b: V) -> V:
    """Low word of a << b."""
    return m.sll(m.zext(a, 32), b)


for _amount, _funct3 in ((1, "010"), (2, "100"), (3, "110")):
    TABLE.add(
        f"sh{_amount}add rd, rs1, rs2", f"0010000 rs2 rs1 {_funct3} rd 0110011", binary(shift_add(_amount))
    )
    TABLE.add(
        f"sh{_amount}add.uw rd, rs1, rs2",
        f"0010000 rs2 rs1 {_funct3} rd 0111011",
        binary(shift_add_unsigned(_amount)),
    )
TABLE.add("add.uw rd, rs1, rs2", "0000100 rs2 rs1 000 rd 0111011", binary(add_uw))
TABLE.add("slli.uw rd, rs1, uimm", "000010 uimm[5:0] rs1 001 rd 0011011", shift_immediate(slli_uw))
