"""What a litmus test is, as data: locations, types, initial values, code and condition.

Owns the abstract syntax and the machine integers of its types. Neither reads nor prints text beyond a name, and
knows no instruction's meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from coordinator.litmus.text import Source

# Locations


@dataclass(frozen=True, slots=True, order=True)
class Register:
    """A register of a thread; `alias` is the name the file calls it by, if not xN. Two aliases are one register."""

    thread: int
    number: int
    alias: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.thread}:x{self.number}"


@dataclass(frozen=True, slots=True, order=True)
class Memory:
    """A memory location: a name, or one element of an array."""

    name: str
    index: int | None = None

    def __str__(self) -> str:
        return self.name if self.index is None else f"{self.name}[{self.index}]"


Location = Register | Memory


def location_order(location: Location) -> tuple[int, int, int, str, int]:
    """Sort key: registers by thread and number, then memory by name."""
    if isinstance(location, Register):
        return (0, location.thread, location.number, "", 0)
    return (1, 0, 0, location.name, -1 if location.index is None else location.index)


def shown_name(location: Location) -> str:
    """The name in a state as herd7 prints it: memory in brackets."""
    return str(location) if isinstance(location, Register) else f"[{location}]"


def written_name(location: Location) -> str:
    """The location as the file calls it, e.g. `1:a0`."""
    if isinstance(location, Register) and location.alias:
        return f"{location.thread}:{location.alias}"
    return str(location)


# Types


@dataclass(frozen=True, slots=True)
class Type:
    """A C integer type, a pointer, or an array of `length` elements of either."""

    name: str
    pointer: bool = False
    length: int | None = None

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return 8 if self.pointer else TYPE_SIZES[self.name][0]

    @property
    def bytes(self) -> int:
        """Bytes of the whole."""
        return self.size * (self.length or 1)

    def convert(self, value: int) -> int:
        """The value of an element whose bits are the low ones of `value`."""
        size, signed = (8, False) if self.pointer else TYPE_SIZES[self.name]
        bits = 8 * size
        value &= (1 << bits) - 1
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    def __str__(self) -> str:
        return self.name + (" *" if self.pointer else "")


TYPE_SIZES: dict[str, tuple[int, bool]] = {
    "int": (4, True), "char": (1, True), "short": (2, True), "long": (8, True),
    **{f"int{8 * n}_t": (n, True) for n in (1, 2, 4, 8)},
    **{f"uint{8 * n}_t": (n, False) for n in (1, 2, 4, 8)},
    "intptr_t": (8, True), "uintptr_t": (8, False),
}  # fmt: skip
"""Bytes and signedness of the integer types."""

INT = Type("int")
"""The type of what declares none."""


# Values


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a location as a value."""

    of: Memory

    def __str__(self) -> str:
        return str(self.of)


@dataclass(frozen=True, slots=True)
class CodeLabel:
    """The address of a label in a thread's code as a value."""

    thread: int
    label: str

    def __str__(self) -> str:
        return f"P{self.thread}:{self.label}"


Value = int | Address | CodeLabel


# Parts of a test


@dataclass(frozen=True, slots=True)
class Initial:
    """One item of the initial state.

    Attributes:
        location: what it describes; for an array, the array's name.
        type: the declared type, if any.
        value: its initial value, for an array one for each element; None where only the type is given.
        number: a numeric value as the file has it, e.g. `0x10`.
        position: where it stands in the file.

    """

    location: Location
    type: Type | None
    value: Value | tuple[Value, ...] | None
    number: str = field(default="", compare=False)
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a thread's code: labels, and an instruction unless it is labels alone.

    `operands` are as written, without blanks. `position` is where it stands in the file.
    """

    labels: tuple[str, ...]
    mnemonic: str
    operands: tuple[str, ...]
    position: int = field(default=0, compare=False)

    @property
    def instruction(self) -> str:
        """The instruction as text, empty for labels alone."""
        return f"{self.mnemonic} {','.join(self.operands)}" if self.operands else self.mnemonic


class Quantifier(Enum):
    """How a condition speaks of the final states."""

    EXISTS = "exists"
    NOT_EXISTS = "~exists"
    FORALL = "forall"

    @property
    def kind(self) -> str:
        """What logs call it."""
        return {"exists": "Allowed", "~exists": "Forbidden", "forall": "Required"}[self.value]


@dataclass(frozen=True, slots=True)
class Atom:
    """`left` equals `right`; not equal is its negation."""

    left: Location
    right: Location | Value


@dataclass(frozen=True, slots=True)
class Constant:
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: Proposition


@dataclass(frozen=True, slots=True)
class And:
    """Conjunction of two or more."""

    operands: tuple[Proposition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Disjunction of two or more."""

    operands: tuple[Proposition, ...]


@dataclass(frozen=True, slots=True)
class Implies:
    """Implication."""

    left: Proposition
    right: Proposition


Proposition = Atom | Constant | Not | And | Or | Implies


def locations(proposition: Proposition) -> Iterator[Location]:
    """Every location that a proposition names, with repetitions."""
    match proposition:
        case Atom(left, right):
            yield left
            if isinstance(right, Register | Memory):
                yield right
        case Constant():
            pass
        case Not(operand):
            yield from locations(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from locations(operand)
        case Implies(left, right):
            yield from locations(left)
            yield from locations(right)


@dataclass(frozen=True, slots=True)
class Shown:
    """An item of `locations [...]`: something to show beside the condition's locations, with a type if it has one."""

    location: Location
    type: Type | None = None


@dataclass(frozen=True)
class LitmusTest:
    """A litmus test.

    Attributes:
        name: its name, from the first line.
        documentation: the text in double quotes below, if any.
        metadata: the `Key=Value` lines of the header, in order.
        initial: the initial state; what it does not mention is 0.
        threads: each thread's code.
        shown: the items of `locations`.
        filter: executions that fail it do not count.
        quantifier: how `condition` is meant.
        condition: the proposition about final states.
        source: where it was read from; for messages only.

    """

    name: str
    documentation: str | None
    metadata: tuple[tuple[str, str], ...]
    initial: tuple[Initial, ...]
    threads: tuple[tuple[Line, ...], ...]
    shown: tuple[Shown, ...]
    filter: Proposition | None
    quantifier: Quantifier
    condition: Proposition
    source: Source = field(compare=False, repr=False)

    def types(self) -> dict[Location, Type]:
        """Declared types, by location; those of `locations` items count only where none is declared."""
        declared: dict[Location, Type] = {s.location: s.type for s in self.shown if s.type is not None}
        declared.update({i.location: i.type for i in self.initial if i.type is not None})
        return declared

    def shown_locations(self) -> list[Location]:
        """What a final state shows: the locations of the condition and of `locations`, sorted."""
        return sorted({*locations(self.condition), *(s.location for s in self.shown)}, key=location_order)
