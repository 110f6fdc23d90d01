"""Zicsr, access to control and status registers (unprivileged manual, chapter "Zicsr").

Which registers exist and who may access them is the machine's to say, not these rows'.
"""

from __future__ import annotations

from collections.abc import Callable

from hart.isa.algebra import Algebra, V
from hart.isa.row import Meaning, Table

TABLE = Table("Zicsr")

Modify = Callable[[Algebra[V], V, V], V]


# rd is written last: an access that traps must leave it alone.


def _write(m: Algebra[V], rd: int, csr: int, value: V) -> None:
    """Exchange; with rd = x0 the register is not read, so reading has no side effect."""
    old = m.csr_read(csr) if rd else m.const(0)
    m.csr_write(csr, value)
    m.set(rd, old)


def csrrw(m: Algebra[V], rd: int, csr: int, rs1: int) -> None:
    """CSR = rs1, rd = old."""
    _write(m, rd, csr, m.get(rs1))


def csrrwi(m: Algebra[V], rd: int, csr: int, zimm: int) -> None:
    """CSR = zimm, rd = old."""
    _write(m, rd, csr, m.const(zimm))


def _modify(m: Algebra[V], rd: int, csr: int, new: Callable[[V], V] | None) -> None:
    """CSR = new(old), rd = old; without `new` the register is not written, so it may be read-only."""
    old = m.csr_read(csr)
    if new is not None:
        m.csr_write(csr, new(old))
    m.set(rd, old)


def modify_register(op: Modify[V]) -> Meaning:
    """CSR = op(CSR, rs1); rs1 = x0 (the register number, not a value of 0) does not write."""

    def meaning(m: Algebra[V], rd: int, csr: int, rs1: int) -> None:
        bits = m.get(rs1)
        _modify(m, rd, csr, (lambda old: op(m, old, bits)) if rs1 else None)

    return meaning


def modify_immediate(op: Modify[V]) -> Meaning:
    """CSR = op(CSR, zimm); zimm = 0 does not write."""

    def meaning(m: Algebra[V], rd: int, csr: int, zimm: int) -> None:
        _modify(m, rd, csr, (lambda old: op(m, old, m.const(zimm))) if zimm else None)

    return meaning


def set_bits(m: Algebra[V], old: V, bits: V) -> V:
    """Old | bits."""
    return m.or_(old, bits)


def clear_bits(m: Algebra[V], old: V, bits: V) -> V:
    """Old & ~bits."""
    return m.and_(old, m.xor(bits, m.const(-1)))


for _name, _code, _register, _immediate in (
    ("csrrw", "01", csrrw, csrrwi),
    ("csrrs", "10", modify_register(set_bits), modify_immediate(set_bits)),
    ("csrrc", "11", modify_register(clear_bits), modify_immediate(clear_bits)),
):
    TABLE.add(f"{_name} rd, csr, rs1", f"csr rs1 0{_code} rd 1110011", _register)
    TABLE.add(f"{_name}i rd, csr, zimm", f"csr zimm 1{_code} rd 1110011", _immediate)
