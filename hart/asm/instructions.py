"""Instruction statements: from mnemonic and operand text to fragments.

Owns the choice of the row or pseudo-instruction, long forms of branches, and compression. Encodings and
operand forms come from `hart.isa`; pseudo-instructions from `hart.asm.pseudo`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hart.asm.compression import compressed
from hart.asm.context import Context
from hart.asm.diagnostics import Problem
from hart.asm.isa_options import short_isa
from hart.asm.layout import relocate
from hart.asm.pseudo import INVERSE, LABELLED, PSEUDO, REGISTER_ATOMS, Pseudo, bind, fill, statements
from hart.asm.sections import Bytes, Code, Instruction, Reference, Relocation
from hart.asm.source import split_operands
from hart.isa import BY_MNEMONIC, BY_NAME
from hart.isa.registers import NUMBERS as REGISTERS
from hart.isa.row import Row
from hart.isa.syntax import OperandError, parse_template, split_base
from hart.spelling import nearest

_RELOCATIONS = {r.value: r for r in Relocation if r.value.startswith("%") and " " not in r.value}
_RELOCATION = re.compile(r"(%\w+)\s*\((.*)\)", re.DOTALL)


class _Unknown(Exception):
    """An operand's value waits for addresses."""


# Statements


def assemble_instruction(context: Context, text: str) -> None:
    """Add the instruction or pseudo-instruction to the current section.

    Raises:
        Problem: unknown, not enabled, or with operands that it cannot take.

    """
    mnemonic, *rest = text.split(None, 1)
    _assemble(context, mnemonic.lower(), split_operands("".join(rest)))


def _assemble(context: Context, mnemonic: str, operands: list[str]) -> None:
    row, given = BY_MNEMONIC.get(mnemonic, (None, {}))
    refusal: Problem | None = None
    if row is not None:
        refusal = _disabled(context, mnemonic, row)
        if refusal is None:
            try:
                _emit(context, _instruction(context, row, operands, given))
            except OperandError as error:
                refusal = Problem(str(error))
            else:
                return
    forms = PSEUDO.get(mnemonic, ())
    for pseudo in forms:
        bound = _match(context, pseudo, operands)
        if bound is not None:
            _expand(context, pseudo, bound)
            return
    raise refusal or (_no_form(context, forms, operands) if forms else _unknown(mnemonic))


def _disabled(context: Context, mnemonic: str, row: Row) -> Problem | None:
    missing = [e for e in row.extensions if e not in context.options.extensions]
    if not missing:
        return None
    isa = short_isa(context.options.extensions)
    return Problem(f"{mnemonic} needs {' and '.join(missing)}; the ISA is {isa}")


def _unknown(mnemonic: str) -> Problem:
    return Problem(f"unknown instruction {mnemonic!r}{nearest(mnemonic, [*BY_MNEMONIC, *PSEUDO])}")


def _no_form(context: Context, forms: tuple[Pseudo, ...], operands: list[str]) -> Problem:
    """Why no form of a pseudo-instruction fits: a bad operand where there is but one form of that length."""
    name = forms[0].name
    templates = [parse_template(p.operands) for p in forms]
    fitting = [t for t in templates if len(t) == len(operands)]
    for operand, text in zip(fitting[0], operands, strict=True) if len(fitting) == 1 else ():
        kind = operand.value.text if operand.value else ""
        if kind in REGISTER_ATOMS and text not in REGISTERS:
            return Problem(f"{name}: {text!r} is not an integer register{nearest(text, REGISTERS)}")
        if kind == "constant":
            try:
                context.constant(text)
            except Problem as problem:
                return Problem(f"{name}: {problem}")
    shapes = " or ".join(f"{p.name} {p.operands}".strip() for p in forms)
    return Problem(f"{name} does not take {', '.join(operands) or 'no operands'!r}; write {shapes}")


# Pseudo-instructions


def _match(context: Context, pseudo: Pseudo, operands: list[str]) -> dict[str, str] | None:
    def constant(text: str) -> int | None:
        try:
            return context.constant(text)
        except Problem:
            return None

    return bind(pseudo, operands, constant)


def _expand(context: Context, pseudo: Pseudo, bound: Mapping[str, str]) -> None:
    names = dict(bound)
    for line in statements(pseudo, bound):
        labelled = LABELLED.fullmatch(line)
        if labelled:
            names["hi"] = context.unit.fresh(context.unit.section.here())
        mnemonic, rest = fill(labelled[1] if labelled else line, names)
        if mnemonic.startswith("."):
            context.datum(rest, int(mnemonic[1]))
        else:
            _assemble(context, mnemonic, split_operands(rest))


# Instructions


def _instruction(context: Context, row: Row, operands: list[str], given: Mapping[str, int]) -> Instruction:
    references: dict[str, Reference | Problem] = {}
    for text in operands:
        for part in {text, split_base(text)[0]}:
            references[part] = _reference(context, part)
    return Instruction(row, tuple(operands), given, references)


def _reference(context: Context, text: str) -> Reference | Problem:
    """What an operand text refers to, or what is wrong with it as an expression."""
    if text in REGISTERS:
        return Problem(f"{text!r} is a register, where a number or a symbol should be")
    m = _RELOCATION.fullmatch(text)
    try:
        if m is None:
            return Reference(Relocation.NONE, context.expression(text))
        if m[1] not in _RELOCATIONS:
            raise Problem(f"unknown operator {m[1]!r}{nearest(m[1], _RELOCATIONS)}")
        return Reference(_RELOCATIONS[m[1]], context.expression(m[2]))
    except Problem as problem:
        return problem


def _emit(context: Context, instruction: Instruction) -> None:
    """Add an instruction, encoded at once if no operand waits for addresses.

    Raises:
        OperandError: operands that the row cannot take.
        Problem: a wrong expression.

    """
    row = instruction.row
    relative = any(o.value and o.value.text == "target" for o in row.template)

    def now(reference: Reference) -> int:
        known = None if relative else context.unit.known(reference.expression)
        if known is None or reference.relocation not in (Relocation.NONE, Relocation.HI, Relocation.LO):
            raise _Unknown
        return relocate(reference.relocation, known)

    short = list(compressed(instruction)) if _compresses(context) else []
    for form in short:
        try:
            data = form.encode(now, 0)
        except (_Unknown, Problem, ValueError):
            continue
        context.append(Bytes(context.statement, data), len(data))
        return
    try:
        data = instruction.encode(now, 0)
    except _Unknown:
        ways = [*((form,) for form in short if relative), (instruction,), *_long_forms(context, instruction)]
        sizes = {sum(i.size for i in way) for way in ways}
        context.append(Code(context.statement, tuple(ways)), sizes.pop() if len(sizes) == 1 else None)
        return
    context.append(Bytes(context.statement, data), len(data))


def _compresses(context: Context) -> bool:
    return context.options.compress and "Zca" in context.options.extensions


def _long_forms(context: Context, instruction: Instruction) -> Iterator[tuple[Instruction, ...]]:
    """Other forms of an instruction, for when the plain one does not reach."""
    row, operands = instruction.row, list(instruction.operands)
    if row.name in INVERSE:
        over = _instruction(context, BY_NAME[INVERSE[row.name]], [*operands[:-1], ". + 8"], {})
        jump = Instruction(BY_NAME["jal"], ("x0", operands[-1]), {}, instruction.references)
        yield over, jump
    for text, reference in instruction.references.items():
        # As GNU ld does: what auipc cannot reach, lui may, above all a weak symbol that nobody defines.
        if (
            row.name == "auipc"
            and isinstance(reference, Reference)
            and reference.relocation is Relocation.PCREL_HI
        ):
            absolute = {text: Reference(Relocation.HI_FOR_PCREL, reference.expression)}
            yield (Instruction(BY_NAME["lui"], instruction.operands, {}, absolute),)
