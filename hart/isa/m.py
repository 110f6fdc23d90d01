"""M and Zmmul, integer multiplication and division (unprivileged manual, chapters "M" and "Zmmul").

M brings Zmmul, which owns the multiplications.
"""

from __future__ import annotations

from hart.isa.algebra import Algebra, V
from hart.isa.row import Table
from hart.isa.rv64i import binary

TABLE = Table("M")

_OWNER = {"mul": ("Zmmul",), "div": ("M",), "rem": ("M",)}


# The word forms widen their operands, so that the 32-bit overflow -2**31 / -1 needs no case of its own.


def mulw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit product."""
    return m.sext(m.mul(a, b), 32)


def divw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit signed quotient."""
    return m.sext(m.div(m.sext(a, 32), m.sext(b, 32)), 32)


def divuw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit unsigned quotient."""
    return m.sext(m.divu(m.zext(a, 32), m.zext(b, 32)), 32)


def remw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit signed remainder."""
    return m.sext(m.rem(m.sext(a, 32), m.sext(b, 32)), 32)


def remuw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit unsigned remainder."""
    return m.sext(m.remu(m.zext(a, 32), m.zext(b, 32)), 32)


for _name, _funct3, _op in (
    ("mul", "000", lambda m, a, b: m.mul(a, b)),
    ("mulh", "001", lambda m, a, b: m.mulh(a, b)),
    ("mulhsu", "010", lambda m, a, b: m.mulhsu(a, b)),
    ("mulhu", "011", lambda m, a, b: m.mulhu(a, b)),
    ("div", "100", lambda m, a, b: m.div(a, b)),
    ("divu", "101", lambda m, a, b: m.divu(a, b)),
    ("rem", "110", lambda m, a, b: m.rem(a, b)),
    ("remu", "111", lambda m, a, b: m.remu(a, b)),
):
    TABLE.add(
        f"{_name} rd, rs1, rs2",
        f"0000001 rs2 rs1 {_funct3} rd 0110011",
        binary(_op),
        extensions=_OWNER[_name[:3]],
    )

for _name, _funct3, _op in (
    ("mulw", "000", mulw),
    ("divw", "100", divw),
    ("divuw", "101", divuw),
    ("remw", "110", remw),
    ("remuw", "111", remuw),
):
    TABLE.add(
        f"{_name} rd, rs1, rs2",
        f"0000001 rs2 rs1 {_funct3} rd 0111011",
        binary(_op),
        extensions=_OWNER[_name[:3]],
    )
