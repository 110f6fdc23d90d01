"""Zalrsc, load-reserved and store-conditional (unprivileged manual, chapter "A")."""

from __future__ import annotations

from bus.access import Order
from hart.isa.algebra import Algebra, V
from hart.isa.row import Meaning, Table
from hart.isa.zaamo import SIZES, funct3

TABLE = Table("Zalrsc")


def load_reserved(size: int) -> Meaning:
    """rd = memory[rs1], sign-extended, and the hart reserves it."""

    def meaning(m: Algebra[V], rd: int, rs1: int, order: int) -> None:
        value = m.load_reserved(m.get(rs1), size, Order(order))
        m.set(rd, m.sext(value, 8 * size) if size < 8 else value)

    return meaning


def store_conditional(size: int) -> Meaning:
    """memory[rs1] = rs2 if the reservation holds; rd = 0 if it did, else 1."""

    def meaning(m: Algebra[V], rd: int, rs1: int, rs2: int, order: int) -> None:
        m.set(rd, m.store_conditional(m.get(rs1), size, m.get(rs2), Order(order)))

    return meaning


# LR with rl alone and SC with aq alone are legal, only of no use.
for _letter in "wd":
    _size, _funct3 = SIZES[_letter], funct3(_letter)
    TABLE.add(f"lr.{_letter} rd, (rs1)", f"00010 order 00000 rs1 {_funct3} rd 0101111", load_reserved(_size))
    TABLE.add(
        f"sc.{_letter} rd, rs2, (rs1)",
        f"00011 order rs2 rs1 {_funct3} rd 0101111",
        store_conditional(_size),
    )
