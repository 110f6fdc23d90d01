"""What a source file becomes before addresses are known: sections of fragments, and symbols.

Owns fragments, sections, symbols and the unit that holds them. Reads no text and gives out no addresses;
distances that cannot change any more it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from hart.asm import expression
from hart.asm.diagnostics import Problem
from hart.asm.expression import Expression, Name, Value
from hart.asm.source import Statement
from hart.isa.row import Row
from hart.isa.syntax import parse_operands


class Relocation(Enum):
    """How an operand's value follows from the expression in it; values are as written in the source."""

    NONE = ""
    HI = "%hi"
    LO = "%lo"
    PCREL_HI = "%pcrel_hi"
    PCREL_LO = "%pcrel_lo"
    HI_FOR_PCREL = "%hi in place of %pcrel_hi"


@dataclass(frozen=True, slots=True)
class Reference:
    """An expression in an operand, bound to its point in the source."""

    relocation: Relocation
    expression: Expression


@dataclass(frozen=True, slots=True)
class Instruction:
    """A row and its operands as text, with what their expressions refer to.

    `references` has the expression, or what is wrong with it, for every operand text that could hold one;
    `given` the field values that the mnemonic gives (`hart.isa.syntax.spellings`).
    """

    row: Row
    operands: tuple[str, ...]
    given: Mapping[str, int]
    references: Mapping[str, Reference | Problem]

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.row.pattern.length

    def encode(self, evaluate: Callable[[Reference], int], pc: int) -> bytes:
        """The instruction's bytes at `pc`.

        Raises:
            OperandError: an operand that the row cannot take.
            Problem: an expression that is wrong, or whatever `evaluate` raises.

        """

        def value(text: str) -> int:
            reference = self.references[text]
            if isinstance(reference, Problem):
                raise reference
            return evaluate(reference)

        fields = parse_operands(self.row, self.operands, value, pc, self.given)
        return self.row.pattern.encode(fields).to_bytes(self.size, "little")


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """Instructions, possibly in several ways: the first alternative whose values all fit is taken."""

    statement: Statement
    alternatives: tuple[tuple[Instruction, ...], ...]

    def size_of(self, choice: int) -> int:
        """Bytes of an alternative."""
        return sum(i.size for i in self.alternatives[choice])


@dataclass(frozen=True, slots=True)
class Bytes:
    """Literal data."""

    statement: Statement
    data: bytes


@dataclass(frozen=True, slots=True)
class Datum:
    """An integer of `size` bytes, little-endian, that waits for addresses."""

    statement: Statement
    size: int
    expression: Expression


@dataclass(frozen=True, slots=True)
class Fill:
    """`pattern`, `count` times."""

    statement: Statement
    count: Expression
    pattern: bytes


@dataclass(frozen=True, slots=True)
class Align:
    """Padding up to a multiple of `boundary`; none if more than `limit` bytes. `pattern` None pads with
    no-ops."""

    statement: Statement
    boundary: int
    pattern: bytes | None
    limit: int


@dataclass(frozen=True, slots=True)
class Org:
    """Padding up to `offset` in the section."""

    statement: Statement
    offset: Expression
    pattern: bytes


Fragment = Code | Bytes | Datum | Fill | Align | Org


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a section: before fragment `index`; at `offset` from the start of run `run`, which is a
    stretch of fragments whose sizes are known."""

    section: Section
    index: int
    run: int
    offset: int


@dataclass(eq=False)
class Section:
    """The fragments that one file puts into a section. Sections of one name are joined by the layout."""

    name: str
    flags: str
    zeros: bool
    alignment: int = 1
    fragments: list[Fragment] = field(default_factory=list)
    _run: int = 0
    _offset: int = 0

    def append(self, fragment: Fragment, size: int | None) -> None:
        """Add a fragment of a known size, or of one that is not known yet."""
        self.fragments.append(fragment)
        if size is None:
            self._run += 1
            self._offset = 0
        else:
            self._offset += size

    def here(self) -> Mark:
        """The end of the section as it is now."""
        return Mark(self, len(self.fragments), self._run, self._offset)

    @property
    def offset(self) -> int | None:
        """Distance from the section's start, where it is fixed."""
        return self._offset if self._run == 0 else None


class Binding(Enum):
    """Who sees a symbol, and whether it may be missing."""

    LOCAL = "local"
    GLOBAL = "global"
    WEAK = "weak"


@dataclass
class Symbol:
    """A name of one file. `variable` ones (`.set`) may be defined again."""

    name: str
    definition: Mark | Expression | None = None
    defined_by: Statement | None = None
    binding: Binding = Binding.LOCAL
    variable: bool = False
    size: Expression | None = None


HIDDEN = "\x01"
"""Stands in the names that the assembler makes up; no source can write it."""


class Unit:
    """One source file: its sections and symbols, and where the next fragment goes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sections: dict[str, Section] = {}
        self.symbols: dict[str, Symbol] = {}
        self._made = 0
        self._numeric: dict[str, int] = {}
        self._evaluating: set[str] = set()
        self.section = self.enter(".text", "ax", False)

    def enter(self, name: str, flags: str, zeros: bool) -> Section:
        """Make a section, or find it, and go on in it."""
        if name not in self.sections:
            self.sections[name] = Section(name, flags, zeros, alignment=4 if "x" in flags else 1)
        self.section = self.sections[name]
        return self.section

    def symbol(self, name: str) -> Symbol:
        """The symbol of that name, made if need be."""
        return self.symbols.setdefault(name, Symbol(name))

    def define(
        self, name: str, definition: Mark | Expression, statement: Statement, *, variable: bool
    ) -> None:
        """Give a symbol its value.

        Raises:
            Problem: it has one, and either is not a variable; says where.

        """
        symbol = self.symbol(name)
        if symbol.definition is not None and not (symbol.variable and variable):
            where = f" in {symbol.defined_by.place}" if symbol.defined_by else ""
            raise Problem(f"{name!r} is already defined{where}")
        symbol.definition, symbol.defined_by, symbol.variable = definition, statement, variable

    def label(self, name: str, statement: Statement) -> None:
        """Define a label here; a name of digits only is a numeric local label, which may be defined again.

        Raises:
            Problem: the name is taken.

        """
        if name.isdigit():
            self._numeric[name] = self._numeric.get(name, 0) + 1
            name = _numeric_name(name, self._numeric[name])
        self.define(name, self.section.here(), statement, variable=False)

    def fresh(self, mark: Mark) -> str:
        """A new hidden symbol for a place."""
        self._made += 1
        name = f"{HIDDEN}{self._made}"
        self.symbols[name] = Symbol(name, mark)
        return name

    def bind(self, parsed: Expression) -> Expression:
        """The expression with what depends on this point of the source made fixed: `.`, `1b`, `1f`,
        variables.

        Raises:
            Problem: `1b` without a label `1:` before it.

        """
        return expression.substitute(parsed, self._bind_name)

    def _bind_name(self, name: str) -> Expression:
        if name == ".":
            return Name(self.fresh(self.section.here()))
        if name[0].isdigit():
            number, direction = name[:-1], name[-1]
            seen = self._numeric.get(number, 0)
            if direction == "b" and seen == 0:
                raise Problem(f"no label {number}: before this line for {name}")
            return Name(_numeric_name(number, seen + (direction == "f")))
        symbol = self.symbols.get(name)
        if (
            symbol
            and symbol.variable
            and symbol.definition is not None
            and not isinstance(symbol.definition, Mark)
        ):
            return symbol.definition
        return Name(name)

    def value(self, name: str) -> Value:
        """What is known of a name's value now; distances within a run of fixed sizes are.

        Raises:
            Problem: not defined yet.

        """
        symbol = self.symbols.get(name)
        match symbol.definition if symbol else None:
            case None:
                raise Problem(
                    f"{readable(name)!r} is not defined before this line, where its value is needed"
                )
            case Mark(section, _, run, offset):
                return Value(offset, {(section, run): 1})
            case defined:
                if name in self._evaluating:
                    raise Problem(f"the value of {readable(name)!r} depends on itself")
                self._evaluating.add(name)
                try:
                    return expression.evaluate(defined, self.value)
                finally:
                    self._evaluating.discard(name)

    def constant(self, parsed: Expression) -> int:
        """The value of a bound expression that must be known now.

        Raises:
            Problem: it is not.

        """
        return expression.constant(parsed, self.value)

    def known(self, parsed: Expression) -> int | None:
        """The value of a bound expression if it is a constant already."""
        try:
            return self.constant(parsed)
        except Problem:
            return None


def _numeric_name(number: str, occurrence: int) -> str:
    return f"{number}{HIDDEN}{occurrence}"


def readable(name: str) -> str:
    """A symbol's name as the source writes it."""
    number, hidden, _ = name.partition(HIDDEN)
    return f"{number}f" if hidden and number else name
