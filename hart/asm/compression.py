"""Compressed forms of base instructions, found from the expansions of the compressed rows.

Owns the way back from a base instruction's operands to a compressed row's. Holds no list of forms, and leaves
the question whether values fit to the encoding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from hart.asm.expression import Number
from hart.asm.sections import Instruction, Reference, Relocation
from hart.isa import BY_NAME, ROWS
from hart.isa.registers import NUMBERS as REGISTERS
from hart.isa.row import Row
from hart.isa.syntax import split_base


def _by_base() -> dict[str, tuple[Row, ...]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in ROWS:
        if row.expands is not None:
            found[row.expands].append(row)
    return {name: tuple(rows) for name, rows in found.items()}


_FORMS = _by_base()
_ZERO = Reference(Relocation.NONE, Number(0))
"""What an offset that is left out refers to."""


def compressed(instruction: Instruction) -> Iterator[Instruction]:
    """The compressed instructions that may stand for one; the values of their fields may yet not fit."""
    texts = _field_texts(instruction)
    if instruction.row.name == "addi" and _number(texts["imm"]) == 0:
        # c.mv stands for an add, mv for an addi.
        yield from _forms("add", {"rd": texts["rd"], "rs1": "x0", "rs2": texts["rs1"]}, instruction)
    yield from _forms(instruction.row.name, texts, instruction)


def _forms(base: str, texts: Mapping[str, str], instruction: Instruction) -> Iterator[Instruction]:
    for row in _FORMS.get(base, ()):
        operands = _operands(row, BY_NAME[base], texts)
        if operands is not None:
            yield Instruction(row, operands, {}, {"0": _ZERO, **instruction.references})


def _field_texts(instruction: Instruction) -> dict[str, str]:
    """The operand text of every field that the instruction writes."""
    texts: dict[str, str] = {}
    for operand, text in zip(instruction.row.template, instruction.operands, strict=False):
        parts = split_base(text) if operand.base else (text, None)
        for atom, part in zip((operand.value, operand.base), parts, strict=True):
            if atom is not None and atom.form is not None:
                texts[atom.form.field] = part or "0"
    return texts


def _operands(row: Row, base: Row, texts: Mapping[str, str]) -> tuple[str, ...] | None:
    """The operands of the compressed row for those of the base row; None where it implies others."""
    bound: dict[str, str] = {}
    for base_argument, argument in zip(base.arguments, row.arguments, strict=True):
        if not isinstance(base_argument, str):
            continue
        text = texts[base_argument]
        if isinstance(argument, int):
            if _number(text) != argument:
                return None
        elif _number(bound.setdefault(argument, text)) != _number(text):
            return None
    operands = []
    for operand in row.template:
        value, around = (
            "" if atom is None else bound[atom.form.field] if atom.form else atom.text
            for atom in (operand.value, operand.base)
        )
        operands.append(f"{value}({around})" if operand.base else value)
    return tuple(operands)


def _number(text: str) -> int | str:
    """A register's number or a literal's value; other text as it is."""
    if text in REGISTERS:
        return REGISTERS[text]
    return int(text) if text.lstrip("-").isdigit() else text
