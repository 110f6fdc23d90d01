"""Zaamo, atomic read-modify-write operations on words and doublewords (unprivileged manual, chapter "A")."""

from __future__ import annotations

from bus.access import AmoOp, Order
from hart.isa.algebra import Algebra, V
from hart.isa.row import Meaning, Table

TABLE = Table("Zaamo")

SIZES = {"b": 1, "h": 2, "w": 4, "d": 8, "q": 16}
"""Bytes by the letter that ends the mnemonic; its index is funct3."""

_OPERATIONS = (
    ("amoswap", "00001", AmoOp.SWAP),
    ("amoadd", "00000", AmoOp.ADD),
    ("amoxor", "00100", AmoOp.XOR),
    ("amoand", "01100", AmoOp.AND),
    ("amoor", "01000", AmoOp.OR),
    ("amomin", "10000", AmoOp.MIN),
    ("amomax", "10100", AmoOp.MAX),
    ("amominu", "11000", AmoOp.MINU),
    ("amomaxu", "11100", AmoOp.MAXU),
)


def funct3(letter: str) -> str:
    """The size field of the AMO opcode."""
    return f"{list(SIZES).index(letter):03b}"


def amo(op: AmoOp, size: int) -> Meaning:
    """rd = old memory[rs1], sign-extended for unsigned operations too; memory[rs1] = op(old, rs2)."""

    def meaning(m: Algebra[V], rd: int, rs1: int, rs2: int, order: int) -> None:
        old = m.amo(op, m.get(rs1), size, m.get(rs2), Order(order))
        m.set(rd, m.sext(old, 8 * size) if size < 8 else old)

    return meaning


def add_amo_rows(table: Table, letters: str) -> None:
    """Add the nine operations of each size."""
    for letter in letters:
        for name, funct5, op in _OPERATIONS:
            table.add(
                f"{name}.{letter} rd, rs2, (rs1)",
                f"{funct5} order rs2 rs1 {funct3(letter)} rd 0101111",
                amo(op, SIZES[letter]),
            )


add_amo_rows(TABLE, "wd")
