"""Operand syntax: the assembly text of an instruction's operands, one template for both directions.

Owns the forms in which fields are written and read. Evaluates no expressions (the caller's `evaluate` does)
and knows no instruction.

A template is what stands after the mnemonic, operands separated by commas:

    rd rs1 rs2            an integer register: ABI name; numbers (x10) are read too
    csr                   a CSR by name, or by number where it has none
    pred succ             a fence set of the letters i, o, r, w; 0 for the empty one
    upper                 the field `imm` of lui and auipc: bits 31 to 12 as an unsigned number
    target                the field `imm` of a jump or branch: the address it leads to
    sp, ra, ...           that register and no other
    any other name        the field of that name as a number
    a(b)                  number a, register b; a may be left out where it is 0
    (b)                   register b; a literal 0 before it is read too
    [a]                   a is left out where it is 0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bus.access import Order
from hart.isa import csrs
from hart.isa.pattern import Field
from hart.isa.registers import ABI_NAMES
from hart.isa.registers import NUMBERS as REGISTERS
from hart.spelling import nearest

if TYPE_CHECKING:
    from hart.isa.row import Row

Evaluate = Callable[[str], int]
"""Gives the value of an expression, an address for a jump target; raises what its owner likes."""

Symbolize = Callable[[int], str]
"""Gives an address as text that reads back as the same address."""

ORDER_SUFFIXES: dict[Order, str] = {Order.NONE: "", Order.AQ: ".aq", Order.RL: ".rl", Order.AQRL: ".aqrl"}
"""What the mnemonic of a row with the field `order` ends in."""

_FENCE_LETTERS = (("i", 8), ("o", 4), ("r", 2), ("w", 1))
_WITH_BASE = re.compile(r"(?P<offset>.*)\(\s*(?P<base>[^()]*?)\s*\)", re.DOTALL)


class OperandError(ValueError):
    """Operand text that the instruction cannot take; the message names the instruction and the text."""


# The forms


class Form(NamedTuple):
    """How a field is written and read, and in messages: how its value is shown, what the field allows."""

    field: str
    write: Callable[[int, int | None, Symbolize | None], str]
    read: Callable[[str, Evaluate, int], int]
    show: Callable[[int], str]
    allowed: Callable[[Field], str]


def _show_register(value: int) -> str:
    return ABI_NAMES[value]


def _write_register(value: int, pc: int | None, symbolize: Symbolize | None) -> str:
    return ABI_NAMES[value]


def _read_register(text: str, evaluate: Evaluate, pc: int) -> int:
    try:
        return REGISTERS[text]
    except KeyError:
        raise OperandError(
            f"{text!r} is not an integer register (x0 to x31 or an ABI name){nearest(text, REGISTERS)}"
        ) from None


def _allowed_registers(field: Field) -> str:
    first, last = field.range[0], field.range[-1]
    return f"{ABI_NAMES[first]}..{ABI_NAMES[last]} (x{first}..x{last})"


def _write_number(value: int, pc: int | None, symbolize: Symbolize | None) -> str:
    return str(value)


def _read_number(text: str, evaluate: Evaluate, pc: int) -> int:
    return evaluate(text)


def _show_csr(value: int) -> str:
    return csrs.NAMES.get(value, f"{value:#x}")


def _write_csr(value: int, pc: int | None, symbolize: Symbolize | None) -> str:
    return _show_csr(value)


def _read_csr(text: str, evaluate: Evaluate, pc: int) -> int:
    number = csrs.NUMBERS.get(text)
    if number is not None:
        return number
    try:
        return evaluate(text)
    except Exception:  # whatever it is: a misspelt CSR is the likelier cause than an undefined symbol
        near = nearest(text, csrs.NUMBERS)
        if not near:
            raise
        raise OperandError(f"{text!r} is not a CSR by name or number{near}") from None


def _show_fence_set(value: int) -> str:
    return "".join(letter for letter, bit in _FENCE_LETTERS if value & bit) or "0"


def _write_fence_set(value: int, pc: int | None, symbolize: Symbolize | None) -> str:
    return _show_fence_set(value)


def _read_fence_set(text: str, evaluate: Evaluate, pc: int) -> int:
    value = sum(bit for letter, bit in _FENCE_LETTERS if letter in text)
    if _show_fence_set(value) != text:
        raise OperandError(f"{text!r} is not a fence set: some of the letters iorw in this order, or 0")
    return value


def _show_upper(value: int) -> str:
    return f"{value >> 12 & 0xFFFFF:#x}"


def _write_upper(value: int, pc: int | None, symbolize: Symbolize | None) -> str:
    return str(value >> 12 & 0xFFFFF)


def _read_upper(text: str, evaluate: Evaluate, pc: int) -> int:
    value = evaluate(text)
    if not 0 <= value <= 0xFFFFF:
        raise OperandError(f"upper = {text} is not in 0..0xfffff")
    return (value - (value >> 19 << 20)) << 12


def _allowed_upper(field: Field) -> str:
    top = field.range[-1] >> 12
    return "0..0xfffff" if top == 0x7FFFF else f"0..{top:#x} and {0xFFFFF - top:#x}..0xfffff"


def _show_target(value: int) -> str:
    return f"this instruction {'-' if value < 0 else '+'} {abs(value)}"


def _write_target(value: int, pc: int | None, symbolize: Symbolize | None) -> str:
    if pc is None:
        return f". {'-' if value < 0 else '+'} {abs(value)}"
    address = (pc + value) & ((1 << 64) - 1)
    return symbolize(address) if symbolize else f"{address:#x}"


def _read_target(text: str, evaluate: Evaluate, pc: int) -> int:
    offset = (evaluate(text) - pc) & ((1 << 64) - 1)
    return offset - (offset >> 63 << 64)


_REGISTER = (_write_register, _read_register, _show_register, _allowed_registers)
_NUMBER = (_write_number, _read_number, str, Field.describe_range)
_FENCE_SET = (_write_fence_set, _read_fence_set, _show_fence_set, Field.describe_range)

_FORMS: dict[str, Form] = {
    "rd": Form("rd", *_REGISTER),
    "rs1": Form("rs1", *_REGISTER),
    "rs2": Form("rs2", *_REGISTER),
    "csr": Form("csr", _write_csr, _read_csr, str, Field.describe_range),
    "pred": Form("pred", *_FENCE_SET),
    "succ": Form("succ", *_FENCE_SET),
    "upper": Form("imm", _write_upper, _read_upper, _show_upper, _allowed_upper),
    "target": Form("imm", _write_target, _read_target, _show_target, Field.describe_range),
}


# Templates


@dataclass(frozen=True, slots=True)
class Atom:
    """A field in its form, or a register that the encoding implies (`form` is None)."""

    text: str
    form: Form | None

    @classmethod
    def parse(cls, text: str) -> Atom:
        """Read one name of a template."""
        if text in REGISTERS:
            return cls(text, None)
        return cls(text, _FORMS.get(text) or Form(text, *_NUMBER))

    def write(self, values: Mapping[str, int], pc: int | None, symbolize: Symbolize | None) -> str:
        """This atom's text for the field values."""
        return self.form.write(values[self.form.field], pc, symbolize) if self.form else self.text


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of a template: `value`, `value(base)` or `(base)`; `optional` where 0 is left out."""

    value: Atom | None
    base: Atom | None = None
    optional: bool = False

    @classmethod
    def parse(cls, text: str) -> Operand:
        """Read one operand of a template."""
        if text.startswith("["):
            return cls(Atom.parse(text[1:-1]), optional=True)
        value, base = split_base(text)
        return cls(Atom.parse(value) if value else None, Atom.parse(base) if base else None)

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """The parts that are there."""
        return tuple(a for a in (self.value, self.base) if a is not None)


Template = tuple[Operand, ...]


def parse_template(text: str) -> Template:
    """Read the operands of a row, e.g. `rd, imm(rs1)`."""
    return tuple(Operand.parse(o.strip()) for o in text.split(",")) if text else ()


def template_fields(template: Template) -> frozenset[str]:
    """Names of the fields that a template shows."""
    return frozenset(a.form.field for o in template for a in o.atoms if a.form)


def split_base(text: str) -> tuple[str, str | None]:
    """`offset(base)` as (offset, base), anything else as (text, None); `%lo(x)(a0)` has the base a0.

    A lone parenthesized text counts as a base, `%lo(x)` does not.
    """
    m = _WITH_BASE.fullmatch(text)
    if m is None or re.search(r"%\w+\s*$", m["offset"]):
        return text, None
    return m["offset"].strip(), m["base"]


# Rows as text


def mnemonic(row: Row, values: Mapping[str, int]) -> str:
    """The row's name, with the order suffix where it has the field `order`."""
    return row.name + ORDER_SUFFIXES[Order(values["order"])] if "order" in row.pattern.fields else row.name


def spellings(row: Row) -> dict[str, dict[str, int]]:
    """Every mnemonic of a row, with the field values that the spelling itself gives."""
    if "order" not in row.pattern.fields:
        return {row.name: {}}
    return {row.name + suffix: {"order": int(order)} for order, suffix in ORDER_SUFFIXES.items()}


def format_operands(
    row: Row, values: Mapping[str, int], pc: int | None = None, symbolize: Symbolize | None = None
) -> str:
    """The operands of an instruction, e.g. `a0, 8(sp)`.

    Args:
        row: the instruction.
        values: its field values.
        pc: its address; without it a jump target is written relative to it, as `. + 16`.
        symbolize: writes the address of a jump target; in hexadecimal without it.

    """
    texts = []
    for operand in row.template:
        if operand.optional and operand.value and not values[operand.value.text]:
            continue
        value = operand.value.write(values, pc, symbolize) if operand.value else ""
        base = f"({operand.base.write(values, pc, symbolize)})" if operand.base else ""
        texts.append(value + base)
    return ", ".join(texts)


def parse_operands(
    row: Row, texts: Sequence[str], evaluate: Evaluate, pc: int = 0, given: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The field values that operand texts stand for: `row.pattern.encode` takes them as they are.

    Args:
        row: the instruction.
        texts: the operands, split at commas and stripped.
        evaluate: gives the value of an expression; called once for each number and target.
        pc: address of this instruction, from which jump targets are counted.
        given: field values that the mnemonic gave (see `spellings`).

    Raises:
        OperandError: wrong number of operands, a name that is no register, CSR or fence set, a value that the
            field cannot hold or that is reserved.

    """
    template = row.template
    least = sum(not o.optional for o in template)
    if not least <= len(texts) <= len(template):
        count = str(least) if least == len(template) else f"{least} to {len(template)}"
        shape = f" ({row.operands})" if row.operands else ""
        raise OperandError(f"{row.name} takes {count} operand{'s'[: count != '1']}{shape}, not {len(texts)}")
    values = {**dict.fromkeys(row.pattern.fields, 0), **(given or {})}
    for operand, text in zip(template, texts, strict=False):
        value, base = split_base(text) if operand.base else (text, None)
        if operand.base:
            if base is None:
                raise OperandError(f"{row.name}: {text!r} should have the form {_shape(operand)}")
            values |= _read_atom(row, operand.base, base, evaluate, pc)
        if operand.value and (value or operand.base is None):
            values |= _read_atom(row, operand.value, value, evaluate, pc)
        elif value and evaluate(value) != 0:
            raise OperandError(f"{row.name}: {text!r} has an offset, which {row.name} cannot encode")
    for atom in (a for o in template for a in o.atoms):
        if atom.form and values[atom.form.field] in row.exclude.get(atom.form.field, ()):
            shown = atom.form.show(values[atom.form.field])
            raise OperandError(f"{row.name}: {atom.text} = {shown} is reserved or another instruction's")
    return values


def _shape(operand: Operand) -> str:
    value = operand.value.text if operand.value else ""
    return f"{value}({operand.base.text})" if operand.base else value


def _read_atom(row: Row, atom: Atom, text: str, evaluate: Evaluate, pc: int) -> dict[str, int]:
    """The field that `atom` names, with the value that `text` gives it; nothing for an implied register."""
    form = atom.form
    try:
        if form is None:
            if _read_register(text, evaluate, pc) != REGISTERS[atom.text]:
                raise OperandError(f"{text!r} must be {atom.text}")
            return {}
        value = form.read(text, evaluate, pc)
        field = row.pattern.fields[form.field]
        if value not in field.range:
            shown = form.show(value) if value >= 0 or field.signed else str(value)
            origin = "" if shown == text else f"{text!r}: "
            raise OperandError(f"{origin}{atom.text} = {shown} is not in {form.allowed(field)}")
    except OperandError as error:
        raise OperandError(f"{row.name}: {error}") from None
    return {form.field: value}
