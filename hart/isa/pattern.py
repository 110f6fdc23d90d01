"""Bit patterns: an encoding written as in the manual, one string, both directions.

Owns encoding and decoding of fields. Knows nothing of what an instruction means.

A pattern lists the bits from the highest to the lowest, separated by blanks:

    0000000 rs2 rs1 000 rd 0110011                     fixed bits and register fields
    imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011       a scattered immediate, as in the manual's figures
    000 imm[5] rd imm[4:0] 01                          compressed, 16 bits
    010 imm[5:3] rs1' imm[2|6] rd' 00                  x8-x15 in three bits

Signedness belongs to the field's name: `imm` and `nzimm` are signed, `uimm` and every other name unsigned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WIDTHS = {
    "rd": 5, "rs1": 5, "rs2": 5, "rd'": 3, "rs1'": 3, "rs2'": 3,
    "order": 2, "csr": 12, "zimm": 5, "fm": 4, "pred": 4, "succ": 4,
}  # fmt: skip
_SIGNED = frozenset({"imm", "nzimm"})
_TOKEN = re.compile(r"(?P<bits>[01]+)|(?P<name>[a-z][a-z0-9]*'?)(?:\[(?P<slices>[0-9:|]+)\])?")


class PatternError(ValueError):
    """A pattern that does not describe an instruction, or a value that its field cannot hold."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of instruction bits for a run of field bits: word[low+width-1:low] = value[at+width-1:at]."""

    low: int
    at: int
    width: int


@dataclass(frozen=True, slots=True)
class Field:
    """One operand field: its pieces, its width in bits (counting implied low zeros) and its signedness.

    `bias` is 8 for the three-bit register fields, whose name in operands drops the prime.
    """

    name: str
    pieces: tuple[Piece, ...]
    width: int
    signed: bool
    bias: int
    step: int

    def decode(self, word: int) -> int:
        """The field's value in `word`."""
        value = 0
        for p in self.pieces:
            value |= (word >> p.low & ((1 << p.width) - 1)) << p.at
        if self.signed and value >> (self.width - 1):
            value -= 1 << self.width
        return value + self.bias

    def encode(self, value: int) -> int:
        """The instruction bits that hold `value`.

        Raises:
            PatternError: the value is out of range or not a multiple of the field's step; names the range.

        """
        if value not in self.range:
            raise PatternError(f"{self.name} = {value} is not in {self.describe_range()}")
        raw = value - self.bias
        return sum((raw >> p.at & ((1 << p.width) - 1)) << p.low for p in self.pieces)

    @property
    def range(self) -> range:
        """Every value the field can hold."""
        if self.signed:
            return range(-(1 << (self.width - 1)), 1 << (self.width - 1), self.step)
        return range(self.bias, self.bias + (1 << self.width), self.step)

    def describe_range(self) -> str:
        """The range in words, for messages."""
        r = self.range
        text = f"{r[0]}..{r[-1]}"
        return text if self.step == 1 else f"the multiples of {self.step} in {text}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern: `word & mask == match` selects it; `fields` are its operands by name."""

    text: str
    length: int
    match: int
    mask: int
    fields: dict[str, Field] = field(hash=False)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern string.

        Raises:
            PatternError: unknown token, total width not 16 or 32, or field bits missing or given twice.

        """
        parts: list[tuple[str, list[tuple[int, int]]]] = []  # (bits or name, [(high, low), ...])
        for token in text.split():
            m = _TOKEN.fullmatch(token)
            if m is None:
                raise PatternError(f"pattern {text!r}: cannot read {token!r}")
            if m["bits"] is not None:
                parts.append((m["bits"], []))
            elif m["slices"] is not None:
                ends = [[int(n) for n in s.split(":")] for s in m["slices"].split("|")]
                parts.append((m["name"], [(e[0], e[-1]) for e in ends]))
            elif m["name"] in _WIDTHS:
                parts.append((m["name"], [(_WIDTHS[m["name"]] - 1, 0)]))
            else:
                raise PatternError(
                    f"pattern {text!r}: field {m['name']!r} needs its bits, as in {m['name']}[4:0]"
                )
        total = sum(sum(h - low + 1 for h, low in s) if s else len(name) for name, s in parts)
        if total not in (16, 32):
            raise PatternError(f"pattern {text!r} describes {total} bits, not 16 or 32")
        match = mask = 0
        position = total
        pieces: dict[str, list[Piece]] = {}
        for name, slices in parts:
            if not slices:
                position -= len(name)
                match |= int(name, 2) << position
                mask |= ((1 << len(name)) - 1) << position
            for high, low in slices:
                position -= high - low + 1
                pieces.setdefault(name, []).append(Piece(position, low, high - low + 1))
        fields = dict(_field(text, name, tuple(p)) for name, p in pieces.items())
        return cls(text, total // 8, match, mask, fields)

    def decode(self, word: int) -> dict[str, int]:
        """Every field's value in `word`, which must match."""
        return {name: f.decode(word) for name, f in self.fields.items()}

    def encode(self, values: dict[str, int]) -> int:
        """The word that holds `values`, one for each field; raises PatternError if one does not fit."""
        return self.match | sum(f.encode(values[name]) for name, f in self.fields.items())


def _field(text: str, name: str, pieces: tuple[Piece, ...]) -> tuple[str, Field]:
    covered = sorted(bit for p in pieces for bit in range(p.at, p.at + p.width))
    lowest = covered[0]
    if covered != list(range(lowest, lowest + len(covered))):
        raise PatternError(f"pattern {text!r}: bits of {name} are missing or given twice")
    compressed = name.endswith("'")
    plain = name.rstrip("'")
    made = Field(plain, pieces, covered[-1] + 1, plain in _SIGNED, 8 if compressed else 0, 1 << lowest)
    return plain, made
