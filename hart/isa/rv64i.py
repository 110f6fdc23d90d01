"""RV64I, the base integer instruction set (unprivileged manual, chapters "RV32I" and "RV64I")."""

from __future__ import annotations

from collections.abc import Callable

from bus.access import Order
from hart.isa.algebra import Algebra, V
from hart.isa.row import Meaning, Table

TABLE = Table("I")

Binary = Callable[[Algebra[V], V, V], V]


def binary(op: Binary[V]) -> Meaning:
    """rd = op(rs1, rs2)."""

    def meaning(m: Algebra[V], rd: int, rs1: int, rs2: int) -> None:
        m.set(rd, op(m, m.get(rs1), m.get(rs2)))

    return meaning


def binary_immediate(op: Binary[V]) -> Meaning:
    """rd = op(rs1, imm)."""

    def meaning(m: Algebra[V], rd: int, rs1: int, imm: int) -> None:
        m.set(rd, op(m, m.get(rs1), m.const(imm)))

    return meaning


def shift_immediate(op: Binary[V]) -> Meaning:
    """rd = op(rs1, shamt)."""

    def meaning(m: Algebra[V], rd: int, rs1: int, uimm: int) -> None:
        m.set(rd, op(m, m.get(rs1), m.const(uimm)))

    return meaning


# Operations on words: the low 32 bits take part, the result is sign-extended.


def addw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit sum."""
    return m.sext(m.add(a, b), 32)


def subw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit difference."""
    return m.sext(m.sub(a, b), 32)


def sllw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit shift left by b modulo 32."""
    return m.sext(m.sll(a, m.zext(b, 5)), 32)


def srlw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit logical shift right by b modulo 32."""
    return m.sext(m.srl(m.zext(a, 32), m.zext(b, 5)), 32)


def sraw(m: Algebra[V], a: V, b: V) -> V:
    """32-bit arithmetic shift right by b modulo 32."""
    return m.sra(m.sext(a, 32), m.zext(b, 5))


# Register and immediate operations


def _integer_rows() -> None:
    for name, funct7, funct3, op in (
        ("add", "0000000", "000", lambda m, a, b: m.add(a, b)),
        ("sub", "0100000", "000", lambda m, a, b: m.sub(a, b)),
        ("sll", "0000000", "001", lambda m, a, b: m.sll(a, b)),
        ("slt", "0000000", "010", lambda m, a, b: m.lt(a, b)),
        ("sltu", "0000000", "011", lambda m, a, b: m.ltu(a, b)),
        ("xor", "0000000", "100", lambda m, a, b: m.xor(a, b)),
        ("srl", "0000000", "101", lambda m, a, b: m.srl(a, b)),
        ("sra", "0100000", "101", lambda m, a, b: m.sra(a, b)),
        ("or", "0000000", "110", lambda m, a, b: m.or_(a, b)),
        ("and", "0000000", "111", lambda m, a, b: m.and_(a, b)),
    ):
        TABLE.add(f"{name} rd, rs1, rs2", f"{funct7} rs2 rs1 {funct3} rd 0110011", binary(op))
        if name not in ("sub", "sll", "srl", "sra"):
            immediate = {"sltu": "sltiu"}.get(name, name + "i")
            TABLE.add(f"{immediate} rd, rs1, imm", f"imm[11:0] rs1 {funct3} rd 0010011", binary_immediate(op))
        if name in ("sll", "srl", "sra"):
            TABLE.add(
                f"{name}i rd, rs1, uimm",
                f"{funct7[:6]} uimm[5:0] rs1 {funct3} rd 0010011",
                shift_immediate(op),
            )
    for name, funct7, funct3, op in (
        ("addw", "0000000", "000", addw),
        ("subw", "0100000", "000", subw),
        ("sllw", "0000000", "001", sllw),
        ("srlw", "0000000", "101", srlw),
        ("sraw", "0100000", "101", sraw),
    ):
        TABLE.add(f"{name} rd, rs1, rs2", f"{funct7} rs2 rs1 {funct3} rd 0111011", binary(op))
        if funct3 != "000":
            TABLE.add(
                f"{name[:3]}iw rd, rs1, uimm",
                f"{funct7} uimm[4:0] rs1 {funct3} rd 0011011",
                shift_immediate(op),
            )
    TABLE.add("addiw rd, rs1, imm", "imm[11:0] rs1 000 rd 0011011", binary_immediate(addw))


_integer_rows()


def lui(m: Algebra[V], rd: int, imm: int) -> None:
    """rd = imm."""
    m.set(rd, m.const(imm))


def auipc(m: Algebra[V], rd: int, imm: int) -> None:
    """rd = pc + imm."""
    m.set(rd, m.add(m.pc(), m.const(imm)))


TABLE.add("lui rd, upper", "imm[31:12] rd 0110111", lui)
TABLE.add("auipc rd, upper", "imm[31:12] rd 0010111", auipc)


# Control transfer


def jal(m: Algebra[V], rd: int, imm: int) -> None:
    """Jump, linking."""
    m.jump(imm)
    m.set(rd, m.next_pc())


def jalr(m: Algebra[V], rd: int, rs1: int, imm: int) -> None:
    """Jump to rs1 + imm, linking."""
    m.jump_to(m.add(m.get(rs1), m.const(imm)))
    m.set(rd, m.next_pc())


TABLE.add("jal rd, target", "imm[20|10:1|11|19:12] rd 1101111", jal)
TABLE.add("jalr rd, imm(rs1)", "imm[11:0] rs1 000 rd 1100111", jalr)


def branch_if(condition: Binary[V]) -> Meaning:
    """Branch if condition(rs1, rs2)."""

    def meaning(m: Algebra[V], rs1: int, rs2: int, imm: int) -> None:
        m.branch(condition(m, m.get(rs1), m.get(rs2)), imm)

    return meaning


for _name, _funct3, _condition in (
    ("beq", "000", lambda m, a, b: m.eq(a, b)),
    ("bne", "001", lambda m, a, b: m.ne(a, b)),
    ("blt", "100", lambda m, a, b: m.lt(a, b)),
    ("bge", "101", lambda m, a, b: m.eq(m.lt(a, b), m.const(0))),
    ("bltu", "110", lambda m, a, b: m.ltu(a, b)),
    ("bgeu", "111", lambda m, a, b: m.eq(m.ltu(a, b), m.const(0))),
):
    TABLE.add(
        f"{_name} rs1, rs2, target",
        f"imm[12|10:5] rs2 rs1 {_funct3} imm[4:1|11] 1100011",
        branch_if(_condition),
    )


# Memory


def load(size: int, signed: bool, order: Order = Order.NONE) -> Meaning:
    """rd = memory[rs1 + imm], extended."""

    def meaning(m: Algebra[V], rd: int, rs1: int, imm: int) -> None:
        value = m.load(m.add(m.get(rs1), m.const(imm)), size, order)
        m.set(rd, m.sext(value, 8 * size) if signed and size < 8 else value)

    return meaning


def store(size: int, order: Order = Order.NONE) -> Meaning:
    """memory[rs1 + imm] = low bytes of rs2."""

    def meaning(m: Algebra[V], rs1: int, rs2: int, imm: int) -> None:
        m.store(m.add(m.get(rs1), m.const(imm)), size, m.get(rs2), order)

    return meaning


for _code, _letter in enumerate("bhwd"):
    _size = 1 << _code
    TABLE.add(f"l{_letter} rd, imm(rs1)", f"imm[11:0] rs1 {_code:03b} rd 0000011", load(_size, signed=True))
    TABLE.add(f"s{_letter} rs2, imm(rs1)", f"imm[11:5] rs2 rs1 {_code:03b} imm[4:0] 0100011", store(_size))
    if _letter != "d":
        TABLE.add(
            f"l{_letter}u rd, imm(rs1)",
            f"imm[11:0] rs1 {4 + _code:03b} rd 0000011",
            load(_size, signed=False),
        )


def fence(m: Algebra[V], pred: int, succ: int) -> None:
    """Order `pred` before `succ`. Reserved fm values behave as a normal fence, as the manual asks."""
    m.fence(pred, succ)


def fence_tso(m: Algebra[V]) -> None:
    """Order all but stores before loads."""
    m.fence_tso()


# rs1 and rd are reserved for finer fences: base implementations ignore them.
TABLE.add("fence pred, succ", "fm[3:0] pred succ rs1 000 rd 0001111", fence, ignored=("fm", "rs1", "rd"))
TABLE.add("fence.tso", "1000 0011 0011 rs1 000 rd 0001111", fence_tso, ignored=("rs1", "rd"), refines="fence")


# System


def ecall(m: Algebra[V]) -> None:
    """Call the environment."""
    m.ecall()


def ebreak(m: Algebra[V]) -> None:
    """Enter the debugger."""
    m.ebreak()


TABLE.add("ecall", "000000000000 00000 000 00000 1110011", ecall)
TABLE.add("ebreak", "000000000001 00000 000 00000 1110011", ebreak)
