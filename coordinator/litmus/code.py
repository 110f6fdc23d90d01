"""A test's code as instructions of the ISA table: mnemonics and operands become rows with their arguments.

Owns what litmus tests spell in their own way: `.aq.rl` for `.aqrl`, `fence` alone for `fence rw,rw`, labels, one line
for a pseudo-instruction. Encodings, operand forms and meanings are the table's (`hart.isa`), pseudo-instructions the
assembler's (`hart.asm.pseudo`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from coordinator.litmus.test import Line, LitmusTest
from coordinator.litmus.text import Source
from hart.asm.pseudo import PSEUDO, bind, fill, statements
from hart.asm.source import split_operands
from hart.isa import BY_MNEMONIC
from hart.isa.row import Row
from hart.isa.syntax import OperandError, parse_operands
from hart.spelling import nearest

INSTRUCTION_BYTES = 4
"""Every instruction of a litmus test is a full one: nothing is compressed."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its row, what the row's meaning takes after the algebra, its encoding, and its line."""

    row: Row
    arguments: tuple[int, ...]
    word: int
    line: Line


@dataclass(frozen=True, slots=True)
class Program:
    """A thread's instructions, the first at address `base`, and the addresses of its labels."""

    base: int
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]


def assemble(test: LitmusTest, bases: Mapping[int, int], symbols: Mapping[str, int]) -> tuple[Program, ...]:
    """Each thread's program.

    Args:
        test: the test.
        bases: the address of each thread's code.
        symbols: addresses of the memory locations, for `la`.

    Raises:
        LitmusError: an unknown instruction, operands it cannot take, or a label that is not there.

    """
    return tuple(
        _assemble_thread(test.source, lines, bases[thread], symbols)
        for thread, lines in enumerate(test.threads)
    )


def _assemble_thread(
    source: Source, lines: tuple[Line, ...], base: int, symbols: Mapping[str, int]
) -> Program:
    labels: dict[str, int] = {}
    pc = base
    for line in lines:
        for label in line.labels:
            if label in labels:
                raise source.error(line.position, f"label {label!r} is defined twice")
            labels[label] = pc
        if line.mnemonic:
            # Labels do not change how many instructions a line becomes, so any value will do.
            pc += INSTRUCTION_BYTES * len(_line(source, line, pc, lambda name, at=pc: at))  # type: ignore[misc]
    instructions: list[Instruction] = []
    names = {**symbols, **labels}

    def look_up(name: str) -> int:
        if name not in names:
            raise OperandError(f"{name!r} is neither a number nor a label{nearest(name, labels)}")
        return names[name]

    for line in lines:
        if line.mnemonic:
            pc = base + INSTRUCTION_BYTES * len(instructions)
            instructions += (Instruction(*made, line) for made in _line(source, line, pc, look_up))
    return Program(base, tuple(instructions), labels)


Made = tuple[tuple[Row, tuple[int, ...], int], ...]
"""Rows, arguments of their meanings, encodings."""


def _line(source: Source, line: Line, pc: int, look_up: Callable[[str], int]) -> Made:
    try:
        made = _without_names(line.mnemonic, line.operands)
        return made if made is not None else _assemble_line(line.mnemonic, line.operands, pc, look_up)
    except OperandError as error:
        raise source.error(line.position, str(error)) from None


class _Name(Exception):
    """An operand that only the thread's labels or the test's locations explain."""


@cache
def _without_names(mnemonic: str, operands: tuple[str, ...]) -> Made | None:
    """What depends on no name and so is the same wherever it stands; None for the rest."""

    def refuse(name: str) -> int:
        raise _Name

    try:
        return _assemble_line(mnemonic, operands, 0, refuse)
    except _Name:
        return None


def canonical(mnemonic: str, operands: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Mnemonic and operands as the ISA table spells them."""
    name = mnemonic.lower().replace(".aq.rl", ".aqrl")
    return (name, ("rw", "rw")) if name == "fence" and not operands else (name, operands)


def _assemble_line(mnemonic: str, operands: tuple[str, ...], pc: int, look_up: Callable[[str], int]) -> Made:
    name, texts = canonical(mnemonic, operands)

    def evaluate(text: str) -> int:
        try:
            return int(text, 0)
        except ValueError:
            return look_up(text)

    row, given = BY_MNEMONIC.get(name, (None, {}))
    refusal: OperandError | None = None
    if row is not None:
        try:
            fields = parse_operands(row, texts, evaluate, pc, given)
            return ((row, row.bind(fields), row.pattern.encode(fields)),)
        except OperandError as error:
            refusal = error

    def constant(text: str) -> int | None:
        try:
            return evaluate(text)
        except OperandError:
            return None

    for pseudo in PSEUDO.get(name, ()):
        bound = bind(pseudo, texts, constant)
        if bound is not None:
            made: list[tuple[Row, tuple[int, ...], int]] = []
            for statement in statements(pseudo, bound):
                base, rest = fill(statement, bound)
                at = pc + INSTRUCTION_BYTES * len(made)
                made += _assemble_line(base, tuple(split_operands(rest)), at, look_up)
            return tuple(made)
    if refusal is None and name in PSEUDO:
        shapes = " or ".join(f"{p.name} {p.operands}".strip() for p in PSEUDO[name])
        refusal = OperandError(f"{name} does not take {', '.join(texts) or 'no operands'!r}; write {shapes}")
    raise refusal or OperandError(
        f"unknown instruction {mnemonic!r}{nearest(mnemonic, [*BY_MNEMONIC, *PSEUDO])}"
    )
