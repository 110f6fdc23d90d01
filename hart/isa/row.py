"""Instruction rows: mnemonic and operands, pattern, owner extension, meaning. The whole truth about an instruction.

Owns the row type and the table with the checks it makes when it loads. Each file beside this one holds the rows
of one extension; `hart.isa` joins them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


from hart.isa.pattern import Pattern

Meaning = Callable[..., None]
"""`meaning(m, operand, ...)`: m is an Algebra, the operands are the fields that its parameters name."""


class TableError(ValueError):
    """The ISA table contradicts itself: two rows for one word, or a row whose parts do not fit."""


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction.

    Attributes:
        name: mnemonic, e.g. `amoadd.d`.
        operands: assembly operands as written after the mnemonic, e.g. `rd, rs2, (rs1)`; names are the pattern's
            fields. See `hart.isa.syntax` for the forms.
        pattern: the encoding.
        extensions: every extension that must be on, e.g. ("Zabha", "Zacas").
        meaning: what it does, over `hart.isa.algebra.Algebra`.
        exclude: field values for which the word is not this instruction (reserved, or another row's).
        refines: name of the wider row of which this one is a special case; this one wins where its extension is on.
        expands: for compressed instructions, the name of the base row that gives the meaning.

    """

    name: str
    operands: str
    pattern: Pattern
    extensions: tuple[str, ...]
    meaning: Meaning
    exclude: dict[str, frozenset[int]] = field(default_factory=dict, hash=False)
    refines: str | None = None
    expands: str | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the operands that `meaning` takes, in its order, without the algebra."""
        return tuple(inspect.signature(self.meaning).parameters)[1:]

    def matches(self, word: int) -> bool:
        """Whether `word` (its low `pattern.length` bytes) is this instruction."""
        if word & self.pattern.mask != self.pattern.match:
            return False
        return all(self.pattern.fields[f].decode(word) not in bad for f, bad in self.exclude.items())


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
        exclude: dict[str, Iterable[int]] | None = None,
        refines: str | None = None,
        expands: str | None = None,
    ) -> None:
        """Add a row; `form` is the mnemonic and its operands, e.g. `addi rd, rs1, imm`.

        Raises:
            TableError: the meaning or the operands name a field that the pattern lacks.

        """
        name, _, operands = form.partition(" ")
        row = Row(
            name,
            operands.strip(),
            Pattern.parse(pattern),
            self._extensions if extensions is None else extensions,
            meaning,
            {f: frozenset(bad) for f, bad in (exclude or {}).items()},
            refines,
            expands,
        )
        for used in (*row.parameters, *row.exclude):
            if used not in row.pattern.fields:
                raise TableError(f"{name}: no field {used!r} in pattern {pattern!r}")
        self.rows.append(row)


def check(rows: Iterable[Row]) -> None:
    """Verify that no word belongs to two rows, but for a row and the one it refines.

    Raises:
        TableError: two rows share a name or a word; says which.

    """
    rows = list(rows)
    names: dict[str, Row] = {}
    for row in rows:
        if row.name in names:
            raise TableError(f"two rows are named {row.name}")
        names[row.name] = row
    for i, a in enumerate(rows):
        for b in rows[i + 1 :]:
            if _overlap(a, b) and b.refines != a.name and a.refines != b.name:
                raise TableError(f"{a.name} and {b.name} share words: {a.pattern.text!r}, {b.pattern.text!r}")


def _overlap(a: Row, b: Row) -> bool:
    p, q = a.pattern, b.pattern
    if p.length != q.length or (p.match ^ q.match) & p.mask & q.mask:
        return False
    return not (_excludes(a, q) or _excludes(b, p))


def _excludes(row: Row, other: Pattern) -> bool:
    """Whether `other` fixes one of `row`'s fields to a value that `row` excludes."""
    for name, bad in row.exclude.items():
        bits = sum(((1 << p.width) - 1) << p.low for p in row.pattern.fields[name].pieces)
        if other.mask & bits == bits and row.pattern.fields[name].decode(other.match) in bad:
            return True
    return False


def by_specificity(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with the more fixed bits first, so that a refinement is met before what it refines."""
    return iter(sorted(rows, key=lambda r: -r.pattern.mask.bit_count()))
