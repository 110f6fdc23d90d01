"""Zacas, atomic compare-and-swap of words, doublewords and quadwords (unprivileged manual, chapter "Zacas").

The byte and halfword forms belong to Zacas and Zabha together.
"""

from __future__ import annotations

from bus.access import Order
from hart.isa.algebra import Algebra, V
from hart.isa.row import Meaning, Table
from hart.isa.zaamo import SIZES, funct3

TABLE = Table("Zacas")

_ODD = range(1, 32, 2)


def amocas(size: int) -> Meaning:
    """memory[rs1] = rs2 if it equals rd; rd = old memory[rs1], sign-extended, either way."""

    def meaning(m: Algebra[V], rd: int, rs1: int, rs2: int, order: int) -> None:
        old = m.compare_and_swap(m.get(rs1), size, m.get(rd), m.get(rs2), Order(order))
        m.set(rd, m.sext(old, 8 * size) if size < 8 else old)

    return meaning


def _get_pair(m: Algebra[V], register: int) -> tuple[V, V]:
    """The even register and the next as (low, high); the pair of x0 is zero."""
    return m.get(register), m.get(register + 1) if register else m.const(0)


def amocas_q(m: Algebra[V], rd: int, rs1: int, rs2: int, order: int) -> None:
    """amocas on 16 bytes and register pairs; rd = x0 discards the whole result."""
    low, high = m.compare_and_swap_pair(m.get(rs1), _get_pair(m, rd), _get_pair(m, rs2), Order(order))
    if rd:
        m.set(rd, low)
        m.set(rd + 1, high)


for _letter in "bhwd":
    TABLE.add(
        f"amocas.{_letter} rd, rs2, (rs1)",
        f"00101 order rs2 rs1 {funct3(_letter)} rd 0101111",
        amocas(SIZES[_letter]),
        extensions=("Zabha", "Zacas") if _letter in "bh" else ("Zacas",),
    )
TABLE.add(
    "amocas.q rd, rs2, (rs1)",
    f"00101 order rs2 rs1 {funct3('q')} rd 0101111",
    amocas_q,
    exclude={"rd": _ODD, "rs2": _ODD},  # odd numbers name no pair: reserved
)
