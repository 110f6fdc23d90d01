"""Instruction rows: mnemonic, operands, pattern, owners and meaning, the whole truth about an instruction.

Owns the row type and the checks that a table of rows must pass. Holds no instruction: beside this file stands
one for each extension with its rows, and `hart.isa` joins them.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hart.isa.pattern import Pattern
from hart.isa.registers import NUMBERS as REGISTERS
from hart.isa.syntax import Template, parse_template, split_base, template_fields

Meaning = Callable[..., None]
"""`meaning(m, operand, ...)`: m is an Algebra, the operands are plain integers."""

Argument = str | int
"""What a parameter of a meaning receives: the field of that name, or a constant."""


class TableError(ValueError):
    """The ISA table contradicts itself: two rows for one word, or a row whose parts do not fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One instruction. Rows are compared by identity: each exists once.

    Attributes:
        name: mnemonic without order suffix, e.g. `amoadd.d`.
        operands: operands as written after the mnemonic, e.g. `rd, rs2, (rs1)`; see `hart.isa.syntax`.
        template: `operands`, read.
        pattern: the encoding.
        extensions: every extension that must be on, e.g. ("Zabha", "Zacas"); none for what is always there.
        meaning: what it does, over `hart.isa.algebra.Algebra`.
        arguments: what each parameter of `meaning` after the algebra receives.
        exclude: field values for which the word is not this instruction (reserved, or another row's).
        refines: name of the wider row of which this is a special case; this one wins where it is enabled.
        expands: for compressed instructions, the name of the base row that gives the meaning.

    """

    name: str
    operands: str
    template: Template
    pattern: Pattern
    extensions: tuple[str, ...]
    meaning: Meaning
    arguments: tuple[Argument, ...]
    exclude: dict[str, frozenset[int]]
    refines: str | None = None
    expands: str | None = None

    def matches(self, word: int) -> bool:
        """Whether `word` (its low `pattern.length` bytes) is this instruction."""
        if word & self.pattern.mask != self.pattern.match:
            return False
        return all(self.pattern.fields[f].decode(word) not in bad for f, bad in self.exclude.items())

    def bind(self, values: Mapping[str, int]) -> tuple[int, ...]:
        """The arguments of `meaning` for these field values."""
        return tuple(values[a] if isinstance(a, str) else a for a in self.arguments)


class Table:
    """The rows of one extension, filled by the module that describes it."""

    def __init__(self, *extensions: str) -> None:
        """`extensions` own every row unless the row says otherwise."""
        self._extensions = extensions
        self.rows: list[Row] = []

    def add(
        self,
        form: str,
        pattern: str,
        meaning: Meaning,
        *,
        extensions: tuple[str, ...] | None = None,
        constants: Mapping[str, int] | None = None,
        exclude: Mapping[str, Iterable[int]] | None = None,
        ignored: Iterable[str] = (),
        refines: str | None = None,
    ) -> None:
        """Add a row.

        Args:
            form: the mnemonic and its operands, e.g. `addi rd, rs1, imm`.
            pattern: the encoding; see `hart.isa.pattern`.
            meaning: what it does.
            extensions: its owners, where they are not the table's.
            constants: parameters of the meaning that this instruction fixes.
            exclude: field values for which the word is not this instruction.
            ignored: fields of the encoding that the manual tells implementations to ignore.
            refines: name of the wider row of which this is a special case.

        Raises:
            TableError: the meaning or the operands name a field that the pattern lacks, or the pattern has a
                field that neither operands nor order suffix show and that is not ignored.

        """
        given = constants or {}
        parameters = tuple(inspect.signature(meaning).parameters)[1:]
        self._append(
            form,
            pattern,
            extensions,
            meaning,
            tuple(given.get(p, p) for p in parameters),
            exclude=exclude,
            ignored=ignored,
            refines=refines,
        )

    def expand(
        self,
        form: str,
        pattern: str,
        expansion: str,
        bases: Mapping[str, Row],
        *,
        exclude: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        """Add a row that stands for a base instruction: it has that one's meaning, with other operands.

        Args:
            form: the mnemonic and its operands, e.g. `c.addi rd, imm`.
            pattern: the encoding.
            expansion: the base instruction; its operands are fields of `pattern`, registers and numbers, e.g.
                `addi rd, rd, imm`.
            bases: the rows that may be named, by name.
            exclude: field values for which the word is not this instruction.

        Raises:
            TableError: as for `add`, or the expansion does not have the base row's operands.

        """
        name, _, operands = expansion.partition(" ")
        base = bases[name]
        bound = _bind_operands(base, operands)
        arguments = tuple(bound.get(a, a) if isinstance(a, str) else a for a in base.arguments)
        self._append(form, pattern, None, base.meaning, arguments, exclude=exclude, expands=name)

    def _append(
        self,
        form: str,
        pattern: str,
        extensions: tuple[str, ...] | None,
        meaning: Meaning,
        arguments: tuple[Argument, ...],
        *,
        exclude: Mapping[str, Iterable[int]] | None,
        ignored: Iterable[str] = (),
        refines: str | None = None,
        expands: str | None = None,
    ) -> None:
        name, _, operands = form.partition(" ")
        operands = operands.strip()
        row = Row(
            name,
            operands,
            parse_template(operands),
            Pattern.parse(pattern),
            self._extensions if extensions is None else extensions,
            meaning,
            arguments,
            {f: frozenset(bad) for f, bad in (exclude or {}).items()},
            refines,
            expands,
        )
        used = {a for a in arguments if isinstance(a, str)}
        shown = {*template_fields(row.template), "order"}
        fields = set(row.pattern.fields)
        for missing in sorted((used | shown - {"order"} | {*row.exclude, *ignored}) - fields):
            raise TableError(f"{name}: no field {missing!r} in pattern {pattern!r}")
        for silent in sorted(fields - shown.union(ignored)):
            raise TableError(
                f"{name}: field {silent!r} of pattern {pattern!r} is not in operands {operands!r}"
            )
        for dead in sorted(used.intersection(ignored)):
            raise TableError(f"{name}: field {dead!r} is said to be ignored, but the meaning takes it")
        self.rows.append(row)


def _bind_operands(base: Row, operands: str) -> dict[str, Argument]:
    """What each field of `base` receives in the expansion `operands`."""
    texts = [t.strip() for t in operands.split(",")] if operands else []
    if len(texts) != len(base.template):
        raise TableError(f"expansion {operands!r} does not have the operands of {base.name}: {base.operands}")
    bound: dict[str, Argument] = {}
    for operand, text in zip(base.template, texts, strict=True):
        parts = split_base(text) if operand.base else (text, None)
        for atom, part in zip((operand.value, operand.base), parts, strict=True):
            if atom is not None and atom.form is not None and part is not None:
                bound[atom.form.field] = _argument(part)
    return bound


def _argument(text: str) -> Argument:
    if text in REGISTERS:
        return REGISTERS[text]
    return int(text) if text.isdigit() else text


def check(rows: Iterable[Row]) -> None:
    """Verify that no word belongs to two rows, but for a row and the one it refines.

    Raises:
        TableError: two rows share a name or a word, or one is not part of the row it refines; says which.

    """
    names: dict[str, Row] = {}
    groups: dict[int, list[Row]] = defaultdict(list)  # rows that differ in the opcode share no word
    for row in rows:
        if row.name in names:
            raise TableError(f"two rows are named {row.name}")
        names[row.name] = row
        opcode = (1 << (7 if row.pattern.length == 4 else 2)) - 1
        if row.pattern.mask & opcode != opcode:
            raise TableError(f"{row.name}: the opcode bits of {row.pattern.text!r} are not fixed")
        groups[row.pattern.match & opcode].append(row)
    for row in names.values():
        if row.refines is not None and not _within(row, names.get(row.refines)):
            raise TableError(f"{row.name} refines {row.refines}, but its words are not all words of that row")
    for group in groups.values():
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                if _overlap(a, b) and b.refines != a.name and a.refines != b.name:
                    raise TableError(
                        f"{a.name} and {b.name} share words: {a.pattern.text!r}, {b.pattern.text!r}"
                    )


def _within(narrow: Row, wide: Row | None) -> bool:
    if wide is None or wide.exclude:
        return False
    p, q = narrow.pattern, wide.pattern
    return p.length == q.length and q.mask & ~p.mask == 0 and p.match & q.mask == q.match


def _overlap(a: Row, b: Row) -> bool:
    p, q = a.pattern, b.pattern
    if p.length != q.length or (p.match ^ q.match) & p.mask & q.mask:
        return False
    return not (_excludes(a, q) or _excludes(b, p))


def _excludes(row: Row, other: Pattern) -> bool:
    """Whether `other` fixes one of `row`'s fields to a value that `row` excludes."""
    for name, bad in row.exclude.items():
        field = row.pattern.fields[name]
        bits = sum(((1 << p.width) - 1) << p.low for p in field.pieces)
        if other.mask & bits == bits and field.decode(other.match) in bad:
            return True
    return False
