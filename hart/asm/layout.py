"""From sections to an image: placement, choice between short and long forms, symbol addresses, bytes.

Owns what a linker script and a linker would do for the assembler's units. Reads no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from hart.asm import expression
from hart.asm.diagnostics import Place, Problem, Report
from hart.asm.expression import Expression, Name, Value
from hart.asm.sections import (
    HIDDEN,
    Align,
    Binding,
    Bytes,
    Code,
    Datum,
    Fill,
    Fragment,
    Instruction,
    Mark,
    Org,
    Reference,
    Relocation,
    Section,
    Symbol,
    Unit,
    readable,
)
from hart.image import Chunk, Image
from hart.image import Symbol as ImageSymbol
from hart.isa import BY_NAME
from hart.spelling import nearest

PAGE = 4096
"""Alignment of the first data section, so that code and data never share a page."""

ORDER = (r"\.text\.init", r"\.text(\..*)?", r"\.s?rodata(\..*)?", r"\.s?data(\..*)?", r"\.s?bss(\..*)?")
"""Sections in the order of their addresses, as patterns of names; others follow in order of appearance."""
_DATA = 3

MINIMUM_ALIGNMENT = {".tohost": 64}
"""Sections aligned even if their source does not say so: HTIF words on a line of their own."""

_MOST_ROUNDS = 200
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class ListingLine:
    """What one statement became: where, which bytes, and the line as written."""

    address: int
    data: bytes
    place: Place
    text: str


class Layout:
    """The sections of all units at their addresses."""

    def __init__(self, units: Sequence[Unit], base: int, report: Report) -> None:
        """Join the units' global symbols; `base` is the address of the first section."""
        self._units = units
        self._base = base
        self._report = report
        self._owner = {section: unit for unit in units for section in unit.sections.values()}
        self._sections = sorted(
            (s for s in self._owner if "a" in s.flags and (s.fragments or s.name == ".text")), key=_rank
        )
        self._globals = self._join()
        self._address = dict.fromkeys(self._sections, base)
        self._offsets = {s: [0] * (len(s.fragments) + 1) for s in self._sections}
        self._choices: dict[Code, int] = {}
        self._values: dict[tuple[Unit, str], int] = {}
        self._busy: set[tuple[Unit, str]] = set()

    # Symbols

    def _join(self) -> dict[str, tuple[Unit, Symbol]]:
        """The definition of every global name; a weak one gives way to another."""
        joined: dict[str, tuple[Unit, Symbol]] = {}
        for unit in self._units:
            for symbol in unit.symbols.values():
                if symbol.binding is Binding.LOCAL or symbol.definition is None:
                    continue
                other = joined.get(symbol.name)
                if other is None or other[1].binding is Binding.WEAK:
                    joined[symbol.name] = (unit, symbol)
                elif symbol.binding is Binding.GLOBAL and symbol.defined_by and other[1].defined_by:
                    self._report.add(
                        symbol.defined_by.place,
                        f"global {symbol.name!r} is already defined in {other[1].defined_by.place}",
                        symbol.defined_by.origin,
                    )
        return joined

    def _find(self, unit: Unit, name: str) -> tuple[Unit, Symbol]:
        own = unit.symbols.get(name)
        if own is not None and own.definition is not None and own.binding is not Binding.WEAK:
            return unit, own
        if name in self._globals:
            return self._globals[name]
        if own is not None and (own.definition is not None or own.binding is Binding.WEAK):
            return unit, own
        known = [
            n
            for n in (*unit.symbols, *self._globals)
            if HIDDEN not in n and n != name and self._defined(unit, n)
        ]
        raise Problem(f"{readable(name)!r} is not defined{nearest(name, known)}")

    def _defined(self, unit: Unit, name: str) -> bool:
        return name in self._globals or unit.symbols[name].definition is not None

    def _resolve(self, unit: Unit, name: str) -> int:
        """The address or value of a symbol; 0 for a weak one that nobody defines."""
        key = (unit, name)
        if key not in self._values:
            if key in self._busy:
                raise Problem(f"the value of {readable(name)!r} depends on itself")
            self._busy.add(key)
            try:
                self._values[key] = self._define(*self._find(unit, name))
            finally:
                self._busy.discard(key)
        return self._values[key]

    def _define(self, unit: Unit, symbol: Symbol) -> int:
        match symbol.definition:
            case None:
                return 0
            case Mark(section, index):
                if section not in self._offsets:
                    return 0  # in a section that is not loaded, such as debugging information
                return self._address[section] + self._offsets[section][index]
            case defined:
                return self._evaluate(unit, defined)

    def _evaluate(self, unit: Unit, parsed: Expression) -> int:
        return expression.constant(parsed, lambda name: Value(self._resolve(unit, name)))

    # Placement

    def settle(self) -> None:
        """Give every section its address and every fragment its size.

        Rounds are repeated until nothing moves. A form, once found too short, is never tried again, so this
        ends.
        """
        for _ in range(_MOST_ROUNDS):
            moved = self._place()
            if not self._grow() and not moved:
                return
        raise Problem(
            f"the layout does not settle in {_MOST_ROUNDS} rounds: .org or .space depend on each other"
        )

    def _place(self) -> bool:
        """Sizes, then addresses; whether any changed."""
        before = dict(self._address), dict(self._offsets)
        self._offsets = {section: self._measure(section) for section in self._sections}
        self._values.clear()
        address = self._base
        in_data = False
        for section in self._sections:
            if _rank(section) >= _DATA and not in_data:
                in_data = True
                address = _round_up(address, PAGE)
            address = _round_up(address, max(section.alignment, MINIMUM_ALIGNMENT.get(section.name, 1)))
            self._address[section] = address
            address += self._offsets[section][-1]
        return before != (self._address, self._offsets)

    def _measure(self, section: Section) -> list[int]:
        """The offset of every fragment, and of the end."""
        unit = self._owner[section]
        offsets = [0]
        for fragment in section.fragments:
            offsets.append(offsets[-1] + self._size(unit, fragment, offsets[-1]))
        return offsets

    def _size(self, unit: Unit, fragment: Fragment, offset: int) -> int:
        match fragment:
            case Code():
                return fragment.size_of(self._choices.get(fragment, 0))
            case Bytes(_, data):
                return len(data)
            case Datum(_, size):
                return size
            case Align(_, boundary, _, limit):
                padding = -offset % boundary
                return padding if padding <= limit else 0
        # Sizes that depend on symbols: an error counts as no bytes here and is reported when bytes are made.
        try:
            return self._padding(unit, fragment, offset)
        except Problem:
            return 0

    def _padding(self, unit: Unit, fragment: Fill | Org, offset: int) -> int:
        if isinstance(fragment, Fill):
            size = self._evaluate(unit, fragment.count) * len(fragment.pattern)
            if not 0 <= size <= _MOST_BYTES:
                raise Problem(f"a fill of {size} bytes; allowed are 0 to {_MOST_BYTES}")
            return size
        target = self._evaluate(unit, fragment.offset)
        if not offset <= target <= _MOST_BYTES:
            raise Problem(f".org cannot go back from offset {offset:#x} to {target:#x}")
        return target - offset

    def _grow(self) -> bool:
        """Take the next alternative of all code whose present one does not fit; whether there was any."""
        grown = False
        for section in self._sections:
            for index, fragment in enumerate(section.fragments):
                if not isinstance(fragment, Code):
                    continue
                choice = self._choices.get(fragment, 0)
                while choice + 1 < len(fragment.alternatives) and not self._fits(
                    section, index, fragment, choice
                ):
                    choice += 1
                    grown = True
                if choice:
                    self._choices[fragment] = choice
        return grown

    def _fits(self, section: Section, index: int, fragment: Code, choice: int) -> bool:
        try:
            self._encode(section, index, fragment.alternatives[choice])
        except (Problem, ValueError):
            return False
        return True

    # Bytes

    def _encode(self, section: Section, index: int, instructions: Iterable[Instruction]) -> bytes:
        pc = self._address[section] + self._offsets[section][index]
        unit = self._owner[section]
        out = bytearray()
        for instruction in instructions:
            here = pc + len(out)
            out += instruction.encode(partial(self._reference, unit, here), here)
        return bytes(out)

    def _reference(self, unit: Unit, pc: int, reference: Reference) -> int:
        """The value that an operand's expression has in the instruction at `pc`."""
        if reference.relocation is Relocation.PCREL_LO:
            return self._pcrel_low(unit, reference.expression)
        return relocate(reference.relocation, self._evaluate(unit, reference.expression), pc)

    def _pcrel_low(self, unit: Unit, label: Expression) -> int:
        """The low part that belongs to the %pcrel_hi at a label."""
        mark = None
        if isinstance(label, Name):
            owner, symbol = self._find(unit, label.name)
            mark = symbol.definition
        if isinstance(mark, Mark) and mark.index < len(mark.section.fragments):
            code = mark.section.fragments[mark.index]
            if isinstance(code, Code):
                pc = self._address[mark.section] + self._offsets[mark.section][mark.index]
                for reference in code.alternatives[self._choices.get(code, 0)][0].references.values():
                    match reference:
                        case Reference(Relocation.PCREL_HI, parsed):
                            return low(self._evaluate(owner, parsed) - pc)
                        case Reference(Relocation.HI_FOR_PCREL, parsed):
                            return low(self._evaluate(owner, parsed))
        raise Problem("%pcrel_lo needs the label of an instruction with %pcrel_hi")

    def _fragment_bytes(self, section: Section, index: int, fragment: Fragment) -> bytes:
        unit = self._owner[section]
        offset = self._offsets[section][index]
        size = self._offsets[section][index + 1] - offset
        match fragment:
            case Code():
                return self._encode(section, index, fragment.alternatives[self._choices.get(fragment, 0)])
            case Bytes(_, data):
                return data
            case Datum(_, size, parsed):
                return integer(self._evaluate(unit, parsed), size)
            case Align(_, _, None, _):
                return no_ops(size)
            case Align(_, _, bytes(pattern), _):
                return _repeat(pattern, size)
            case Fill(_, _, pattern) | Org(_, _, pattern):
                self._padding(unit, fragment, offset)
                return _repeat(pattern, size)
        raise AssertionError(fragment)

    def image(self, name: str) -> tuple[Image, tuple[ListingLine, ...]]:
        """The image and the listing; errors go to the report."""
        chunks: list[Chunk] = []
        listing: list[ListingLine] = []
        for section in self._sections:
            address = self._address[section]
            data = bytearray()
            for index, fragment in enumerate(section.fragments):
                if section.zeros and isinstance(fragment, Fill | Align | Org):
                    continue
                statement = fragment.statement
                try:
                    made = self._fragment_bytes(section, index, fragment)
                    if section.zeros and any(made):
                        raise Problem(f"{section.name} holds no data, only zeros")
                except (Problem, ValueError) as problem:
                    self._report.add(statement.place, str(problem), statement.text, statement.origin)
                    continue
                if made:
                    at = address + self._offsets[section][index]
                    listing.append(ListingLine(at, made, statement.place, statement.text))
                data += made
            size = self._offsets[section][-1]
            if size:
                chunks.append(Chunk(address, b"", size) if section.zeros else Chunk(address, bytes(data)))
        return Image(name, self._entry(), tuple(chunks), self._symbols()), tuple(listing)

    def _entry(self) -> int:
        """The global _start, else any, else the first section."""
        units = [self._globals["_start"][0]] if "_start" in self._globals else self._units
        for unit in units:
            symbol = unit.symbols.get("_start")
            if symbol and symbol.definition is not None:
                return self._resolve(unit, "_start")
        return self._address[self._sections[0]] if self._sections else self._base

    def _symbols(self) -> dict[str, ImageSymbol]:
        """Named addresses: globals under their names, locals too where free, else as `file:name`."""
        order = [
            *self._globals.values(),
            *((u, s) for u in self._units for s in u.symbols.values() if s.binding is Binding.LOCAL),
        ]
        found: dict[str, ImageSymbol] = {}
        for unit, symbol in order:
            hidden = HIDDEN in symbol.name or symbol.name.startswith(".L")
            if (
                hidden
                or not isinstance(symbol.definition, Mark)
                or symbol.definition.section not in self._offsets
            ):
                continue
            name = symbol.name if symbol.name not in found else f"{unit.name}:{symbol.name}"
            try:
                size = 0 if symbol.size is None else self._evaluate(unit, symbol.size)
                found[name] = ImageSymbol(name, self._define(unit, symbol), size)
            except Problem as problem:
                if symbol.defined_by:
                    self._report.add(symbol.defined_by.place, f".size {symbol.name}: {problem}", symbol.name)
        return found


def low(value: int) -> int:
    """The low 12 bits, signed."""
    return ((value + 0x800) & 0xFFF) - 0x800


def high(value: int) -> int | None:
    """The 20 bits for lui or auipc that leave the rest to `low`; None if 32 bits do not hold the value."""
    rounded = value - low(value)
    return rounded >> 12 & 0xFFFFF if -(1 << 31) <= rounded < 1 << 31 else None


def relocate(relocation: Relocation, value: int, pc: int = 0) -> int:
    """What stands in an operand, as the source would write it, for a value in the instruction at `pc`.

    Raises:
        Problem: 32 bits do not reach.

    """
    if relocation is Relocation.NONE:
        return value
    if relocation is Relocation.LO:
        return low(value)
    upper = high(expression.wrap(value - pc) if relocation is Relocation.PCREL_HI else value)
    if upper is None:
        address = f"{value & (1 << 64) - 1:#x}"
        raise Problem(
            f"%hi: lui cannot make {address}; use la"
            if relocation is Relocation.HI
            else f"{address} is more than 2 GiB from {pc:#x}"
        )
    return upper


def integer(value: int, size: int) -> bytes:
    """`value` in `size` bytes, signed or unsigned.

    Raises:
        Problem: it does not fit; says the range.

    """
    bits = 8 * size
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise Problem(
            f"{value:#x} does not fit in {size} bytes ({-(1 << bits - 1):#x}..{(1 << bits) - 1:#x})"
        )
    return (value & (1 << bits) - 1).to_bytes(size, "little")


def no_ops(size: int) -> bytes:
    """Padding in code: a zero byte up to even, one c.nop if need be, then nops."""
    nop, short = (
        row.pattern.encode(dict.fromkeys(row.pattern.fields, 0)).to_bytes(row.pattern.length, "little")
        for row in (BY_NAME["addi"], BY_NAME["c.nop"])
    )
    return bytes(size % 2) + short * (size % 4 // 2) + nop * (size // 4)


def _repeat(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size] if size else b""


def _round_up(value: int, boundary: int) -> int:
    return -(-value // boundary) * boundary


def _rank(section: Section) -> int:
    """Index of the first pattern of ORDER that the name matches."""
    return next((i for i, p in enumerate(ORDER) if re.fullmatch(p, section.name)), len(ORDER))
