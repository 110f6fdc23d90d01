"""Zbb, basic bit manipulation (unprivileged manual, chapter "B")."""

from __future__ import annotations

from collections.abc import Callable

from hart.isa.algebra import Algebra, V
from hart.isa.row import Meaning, Table
from hart.isa.rv64i import binary, shift_immediate

TABLE = Table("Zbb")

Unary = Callable[[Algebra[V], V], V]


def unary(op: Unary[V]) -> Meaning:
    """rd = op(rs1)."""

    def meaning(m: Algebra[V], rd: int, rs1: int) -> None:
        m.set(rd, op(m, m.get(rs1)))

    return meaning


# Logic with one operand inverted


def andn(m: Algebra[V], a: V, b: V) -> V:
    """a & ~b."""
    return m.and_(a, m.xor(b, m.const(-1)))


def orn(m: Algebra[V], a: V, b: V) -> V:
    """a | ~b."""
    return m.or_(a, m.xor(b, m.const(-1)))


def xnor(m: Algebra[V], a: V, b: V) -> V:
    """~(a ^ b)."""
    return m.xor(m.xor(a, b), m.const(-1))


TABLE.add("andn rd, rs1, rs2", "0100000 rs2 rs1 111 rd 0110011", binary(andn))
TABLE.add("orn rd, rs1, rs2", "0100000 rs2 rs1 110 rd 0110011", binary(orn))
TABLE.add("xnor rd, rs1, rs2", "0100000 rs2 rs1 100 rd 0110011", binary(xnor))


# Minimum and maximum

for _name, _funct3, _op in (
    ("min", "100", lambda m, a, b: m.select(m.lt(a, b), a, b)),
    ("minu", "101", lambda m, a, b: m.select(m.ltu(a, b), a, b)),
    ("max", "110", lambda m, a, b: m.select(m.lt(a, b), b, a)),
    ("maxu", "111", lambda m, a, b: m.select(m.ltu(a, b), b, a)),
):
    TABLE.add(f"{_name} rd, rs1, rs2", f"0000101 rs2 rs1 {_funct3} rd 0110011", binary(_op))


# Rotation. A shift by the negated amount, taken modulo the width, brings in the bits that the other lost.


def rol(m: Algebra[V], a: V, b: V) -> V:
    """Rotate left by b modulo 64."""
    return m.or_(m.sll(a, b), m.srl(a, m.sub(m.const(0), b)))


def ror(m: Algebra[V], a: V, b: V) -> V:
    """Rotate right by b modulo 64."""
    return m.or_(m.srl(a, b), m.sll(a, m.sub(m.const(0), b)))


def rolw(m: Algebra[V], a: V, b: V) -> V:
    """Rotate the low word left by b modulo 32, sign-extended."""
    return rorw(m, a, m.sub(m.const(0), b))


def rorw(m: Algebra[V], a: V, b: V) -> V:
    """Rotate the low word right by b modulo 32, sign-extended."""
    word = m.zext(a, 32)
    back = m.zext(m.sub(m.const(0), b), 5)
    return m.sext(m.or_(m.srl(word, m.zext(b, 5)), m.sll(word, back)), 32)


TABLE.add("rol rd, rs1, rs2", "0110000 rs2 rs1 001 rd 0110011", binary(rol))
TABLE.add("rolw rd, rs1, rs2", "0110000 rs2 rs1 001 rd 0111011", binary(rolw))
TABLE.add("ror rd, rs1, rs2", "0110000 rs2 rs1 101 rd 0110011", binary(ror))
TABLE.add("rorw rd, rs1, rs2", "0110000 rs2 rs1 101 rd 0111011", binary(rorw))
TABLE.add("rori rd, rs1, uimm", "011000 uimm[5:0] rs1 101 rd 0010011", shift_immediate(ror))
TABLE.add("roriw rd, rs1, uimm", "0110000 uimm[4:0] rs1 101 rd 0011011", shift_immediate(rorw))


# One operand

for _name, _funct12, _funct3, _opcode, _one in (
    ("clz", "011000000000", "001", "0010011", lambda m, a: m.clz(a, 64)),
    ("ctz", "011000000001", "001", "0010011", lambda m, a: m.ctz(a, 64)),
    ("cpop", "011000000010", "001", "0010011", lambda m, a: m.cpop(a, 64)),
    ("clzw", "011000000000", "001", "0011011", lambda m, a: m.clz(a, 32)),
    ("ctzw", "011000000001", "001", "0011011", lambda m, a: m.ctz(a, 32)),
    ("cpopw", "011000000010", "001", "0011011", lambda m, a: m.cpop(a, 32)),
    ("sext.b", "011000000100", "001", "0010011", lambda m, a: m.sext(a, 8)),
    ("sext.h", "011000000101", "001", "0010011", lambda m, a: m.sext(a, 16)),
    ("zext.h", "000010000000", "100", "0111011", lambda m, a: m.zext(a, 16)),
    ("orc.b", "001010000111", "101", "0010011", lambda m, a: m.orc_b(a)),
    ("rev8", "011010111000", "101", "0010011", lambda m, a: m.bswap(a)),
):
    TABLE.add(f"{_name} rd, rs1", f"{_funct12} rs1 {_funct3} rd {_opcode}", unary(_one))
