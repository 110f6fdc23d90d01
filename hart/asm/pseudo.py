"""Pseudo-instructions: one row each, a form and the text that it expands to.

Owns the table and the constants that `li` builds. The forms read like the operands of `hart.isa.syntax`: rd,
rs1 and rs2 are registers; `constant` is an expression whose value is known where it stands, and replaces it;
`number` is one too, or a %lo, and is copied; `symbol`, `target` and `csr` are copied. In an expansion `hi:` marks
the instruction that a later %pcrel_lo(hi) belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hart.isa.registers import NUMBERS as REGISTERS
from hart.isa.syntax import parse_template, split_base

Expansion = str | Callable[[str, int], str]
"""Statements separated by `;`, or a function that makes them from the register and the constant."""


@dataclass(frozen=True, slots=True)
class Pseudo:
    """A pseudo-instruction, used where no enabled instruction of that name takes the operands."""

    name: str
    operands: str
    expansion: Expansion


# Constants


def signed_low(value: int, bits: int) -> int:
    """The low `bits` of a value, as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1


Step = tuple[str, int]
"""An operation and its immediate. `lui` sets the register, the others change it; the first may start from
zero."""


def _build(value: int) -> list[Step]:
    """A signed 64-bit constant from the top down: lui, then a shift and an addi for each further piece."""
    low = signed_low(value, 12)
    if -(1 << 31) <= value < 1 << 31:
        upper = signed_low(value - low, 32)  # what lui leaves
        steps = [("lui", upper >> 12 & 0xFFFFF)] if upper else []
        # Only just below 2**31 does the sum leave 32 bits, so that it must be wrapped.
        add = "addi" if upper + low == value else "addiw"
        return [*steps, (add, low)] if low or not upper else steps
    rest = signed_low(value - low, 64)
    shift = 0
    if not -(1 << 31) <= rest < 1 << 31:
        shift = _trailing_zeros(rest)
        rest >>= shift
        if shift > 12 and not -(1 << 11) <= rest < 1 << 11 and -(1 << 31) <= rest << 12 < 1 << 31:
            # lui clears twelve bits itself.
            rest, shift = rest << 12, shift - 12
    steps = _build(rest)
    if shift:
        steps.append(("slli", shift))
    return [*steps, ("addi", low)] if low else steps


def _shifted_right(value: int) -> Iterator[list[Step]]:
    """Ways for a positive constant to come from a longer one by a final srli, which restores the leading
    zeros."""
    zeros = 64 - value.bit_length()
    for fill in ((1 << zeros) - 1, 0):
        yield [*_build(signed_low(value << zeros | fill, 64)), ("srli", zeros)]


def _ways(value: int) -> Iterator[list[Step]]:
    """Ways to build a signed 64-bit constant, the preferred of equally long ones first."""
    if value & 1 == 0 and value & 0xFFF:
        zeros = _trailing_zeros(value)
        shifted = [*_build(value >> zeros), ("slli", zeros)]
        if -32 <= value >> zeros < 32:
            yield shifted  # both instructions have compressed forms
        yield _build(value)
        yield shifted
    else:
        yield _build(value)
    far = signed_low(value, 13)
    if far < -(1 << 11):
        # Two addi instead of one leave more zeros for the shift before them.
        yield [*_build(signed_low(value - far, 64)), ("addi", -(1 << 11)), ("addi", far + (1 << 11))]
    if value > 0:
        yield from _shifted_right(value)
    if value < -1:
        for way in _shifted_right(~value):
            yield [*way, ("xori", -1)]


def constant_steps(value: int) -> list[Step]:
    """The shortest of the known ways to build a 64-bit constant with RV64I."""
    return min(_ways(signed_low(value, 64)), key=len)


def load_constant(rd: str, value: int) -> str:
    """The statements that leave `value` in `rd`."""
    source = "x0"
    lines = []
    for operation, immediate in constant_steps(value):
        lines.append(
            f"lui {rd}, {immediate}" if operation == "lui" else f"{operation} {rd}, {source}, {immediate}"
        )
        source = rd
    return "; ".join(lines)


# The table (unprivileged manual, chapter "RISC-V Assembly Programmer's Handbook", and the GNU as aliases in
# use)


def _rows() -> Iterator[tuple[str, Expansion]]:
    yield "nop", "addi x0, x0, 0"
    yield "unimp", "csrrw x0, cycle, x0"
    yield "c.unimp", ".2byte 0"
    yield "li rd, constant", load_constant
    yield "mv rd, rs1", "addi rd, rs1, 0"
    yield "move rd, rs1", "addi rd, rs1, 0"
    yield "not rd, rs1", "xori rd, rs1, -1"
    yield "neg rd, rs1", "sub rd, x0, rs1"
    yield "negw rd, rs1", "subw rd, x0, rs1"
    yield "seqz rd, rs1", "sltiu rd, rs1, 1"
    yield "snez rd, rs1", "sltu rd, x0, rs1"
    yield "sltz rd, rs1", "slt rd, rs1, x0"
    yield "sgtz rd, rs1", "slt rd, x0, rs1"
    yield "sgt rd, rs1, rs2", "slt rd, rs2, rs1"
    yield "sgtu rd, rs1, rs2", "sltu rd, rs2, rs1"

    # Extension of narrow values; with Zbb or Zba most of these are instructions.
    yield "sext.w rd, rs1", "addiw rd, rs1, 0"
    yield "zext.b rd, rs1", "andi rd, rs1, 255"
    yield "sext.b rd, rs1", "slli rd, rs1, 56; srai rd, rd, 56"
    yield "sext.h rd, rs1", "slli rd, rs1, 48; srai rd, rd, 48"
    yield "zext.h rd, rs1", "slli rd, rs1, 48; srli rd, rd, 48"
    yield "zext.w rd, rs1", "slli rd, rs1, 32; srli rd, rd, 32"

    # Register forms with an immediate, as GNU as reads them.
    for name in (
        "add", "and", "or", "xor", "slt", "sll", "srl", "sra", "addw", "sllw", "srlw", "sraw",
        "ror", "rorw", "bset", "bclr", "binv", "bext",
    ):  # fmt: skip
        immediate = f"{name[:-1]}iw" if name.endswith("w") else f"{name}i"
        yield f"{name} rd, rs1, number", f"{immediate} rd, rs1, number"
    yield "sltu rd, rs1, number", "sltiu rd, rs1, number"

    # Branches and jumps
    for name, base in (("beqz", "beq"), ("bnez", "bne"), ("bgez", "bge"), ("bltz", "blt")):
        yield f"{name} rs1, target", f"{base} rs1, x0, target"
    for name, base in (("blez", "bge"), ("bgtz", "blt")):
        yield f"{name} rs1, target", f"{base} x0, rs1, target"
    for name, base in (("bgt", "blt"), ("ble", "bge"), ("bgtu", "bltu"), ("bleu", "bgeu")):
        yield f"{name} rs1, rs2, target", f"{base} rs2, rs1, target"
    yield "j target", "jal x0, target"
    yield "jal target", "jal x1, target"
    yield "jr rs1", "jalr x0, 0(rs1)"
    yield "jr symbol(rs1)", "jalr x0, symbol(rs1)"
    yield "jr rs1, symbol", "jalr x0, symbol(rs1)"
    yield "jalr rs1", "jalr x1, 0(rs1)"
    yield "jalr symbol(rs1)", "jalr x1, symbol(rs1)"
    yield "jalr rd, rs1", "jalr rd, 0(rs1)"
    yield "jalr rd, rs1, symbol", "jalr rd, symbol(rs1)"
    yield "ret", "jalr x0, 0(x1)"
    yield "call symbol", "hi: auipc x1, %pcrel_hi(symbol); jalr x1, %pcrel_lo(hi)(x1)"
    yield "call rd, symbol", "hi: auipc rd, %pcrel_hi(symbol); jalr rd, %pcrel_lo(hi)(rd)"
    yield "tail symbol", "hi: auipc x6, %pcrel_hi(symbol); jalr x0, %pcrel_lo(hi)(x6)"
    yield "jump symbol, rd", "hi: auipc rd, %pcrel_hi(symbol); jalr x0, %pcrel_lo(hi)(rd)"

    # Addresses, and memory at an address
    for name in ("la", "lla"):
        yield f"{name} rd, constant", load_constant
        yield f"{name} rd, symbol", "hi: auipc rd, %pcrel_hi(symbol); addi rd, rd, %pcrel_lo(hi)"
    for name in ("lb", "lbu", "lh", "lhu", "lw", "lwu", "ld"):
        yield f"{name} rd, symbol", f"hi: auipc rd, %pcrel_hi(symbol); {name} rd, %pcrel_lo(hi)(rd)"
    for name in ("sb", "sh", "sw", "sd"):
        yield f"{name} rs2, symbol, rd", f"hi: auipc rd, %pcrel_hi(symbol); {name} rs2, %pcrel_lo(hi)(rd)"

    # System
    yield "fence", "fence iorw, iorw"
    yield "scall", "ecall"
    yield "sbreak", "ebreak"
    yield "csrr rd, csr", "csrrs rd, csr, x0"
    for name, base in (("csrw", "csrrw"), ("csrs", "csrrs"), ("csrc", "csrrc")):
        yield f"{name} csr, rs1", f"{base} x0, csr, rs1"
        yield f"{name} csr, number", f"{base}i x0, csr, number"
        yield f"{name}i csr, symbol", f"{base}i x0, csr, symbol"
        yield f"{base} rd, csr, number", f"{base}i rd, csr, number"
    for counter in ("cycle", "time", "instret"):
        yield f"rd{counter} rd", f"csrrs rd, {counter}, x0"


def _table() -> dict[str, tuple[Pseudo, ...]]:
    table: dict[str, tuple[Pseudo, ...]] = {}
    for form, expansion in _rows():
        name, _, operands = form.partition(" ")
        table[name] = (*table.get(name, ()), Pseudo(name, operands, expansion))
    return table


PSEUDO: dict[str, tuple[Pseudo, ...]] = _table()
"""The rows by name, in the order in which they are tried."""

INVERSE: dict[str, str] = {
    **(pairs := {"beq": "bne", "blt": "bge", "bltu": "bgeu"}),
    **{inverse: name for name, inverse in pairs.items()},
}
"""The branch taken when the other is not: a branch that does not reach becomes its inverse around a jump."""


# Use

REGISTER_ATOMS = frozenset({"rd", "rs1", "rs2"})
"""Names in a form that stand for registers."""

LABELLED = re.compile(r"hi:\s*(.*)", re.DOTALL)
"""A statement of an expansion that a later one refers to."""

_WORD = re.compile(r"[A-Za-z_]\w*")


def bind(
    pseudo: Pseudo, operands: Sequence[str], constant: Callable[[str], int | None]
) -> dict[str, str] | None:
    """The text for every name in the form of a pseudo-instruction, or None if the operands do not have the form.

    `constant` gives the value of an expression, or None where it has none yet.
    """
    template = parse_template(pseudo.operands)
    if len(template) != len(operands):
        return None
    bound: dict[str, str] = {}
    for operand, text in zip(template, operands, strict=True):
        value, base = split_base(text) if operand.base else (text, None)
        if operand.base:
            if base is None or base not in REGISTERS:
                return None
            bound[operand.base.text] = base
        if operand.value is None:
            continue
        name = operand.value.text
        if (name in REGISTER_ATOMS) != (value in REGISTERS):
            return None
        if operand.base is None and split_base(value)[1] in REGISTERS:
            return None
        if name == "constant" or (name == "number" and not value.startswith("%")):
            known = constant(value)
            if known is None:
                return None
            value = str(known) if name == "constant" else value
        bound[name] = value or "0"
    return bound


def statements(pseudo: Pseudo, bound: Mapping[str, str]) -> list[str]:
    """The statements of the expansion, its names not yet filled in."""
    made = pseudo.expansion
    text = made if isinstance(made, str) else made(bound["rd"], int(bound["constant"]))
    return [part.strip() for part in text.split(";")]


def fill(statement: str, names: Mapping[str, str]) -> tuple[str, str]:
    """Mnemonic and operands of a statement, the names in the operands replaced."""
    mnemonic, _, rest = statement.partition(" ")
    return mnemonic, _WORD.sub(lambda m: names.get(m[0], m[0]), rest)
