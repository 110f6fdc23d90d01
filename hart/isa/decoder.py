"""The decoder: from instruction words to rows and operands, for one set of extensions.

Owns dispatch and the cache of decoded words. Neither fetches nor executes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from hart.isa import ROWS
from hart.isa.row import Row

_KEY_MASKS = {2: 0xE003, 4: 0x707F}
"""Bits that select a dispatch bucket, by instruction length: opcode and funct3."""

_CACHE_LIMIT = 1 << 16
"""Words remembered; a program that runs random words must not fill the host's memory."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One instruction as decoded.

    Attributes:
        word: the instruction's own bits, 16 or 32.
        row: which instruction it is.
        length: its bytes, 2 or 4.
        fields: operand values by field name; not to be changed.
        arguments: what `row.meaning` takes after the algebra.

    """

    word: int
    row: Row
    length: int = field(compare=False)
    fields: dict[str, int] = field(compare=False)
    arguments: tuple[int, ...] = field(compare=False)


class Decoder:
    """Decodes for the extensions given: words of other extensions are illegal."""

    def __init__(self, extensions: frozenset[str]) -> None:
        """`extensions` are canonical names as in `hart.isa.EXTENSIONS`; others are allowed and own no row."""
        self.extensions = extensions
        enabled = [row for row in ROWS if extensions.issuperset(row.extensions)]
        # More fixed bits first, so that a refinement is met before what it refines.
        enabled.sort(key=lambda row: -row.pattern.mask.bit_count())
        buckets: defaultdict[int, list[Row]] = defaultdict(list)
        for row in enabled:
            for key in _keys(row):
                buckets[key].append(row)
        self._buckets = {key: tuple(rows) for key, rows in buckets.items()}
        self._cache: dict[int, Decoded | None] = {}

    def decode(self, word: int) -> Decoded | None:
        """The instruction in the low 16 or 32 bits of `word`, or None where that is an illegal instruction.

        The two lowest bits give the length, so a 16-bit instruction may carry any 16 bits above it. Encodings
        longer than 32 bits are illegal.
        """
        word &= 0xFFFF if word & 3 != 3 else 0xFFFF_FFFF
        try:
            return self._cache[word]
        except KeyError:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            decoded = self._cache[word] = self._find(word)
            return decoded

    def _find(self, word: int) -> Decoded | None:
        length = instruction_length(word)
        for row in self._buckets.get(word & _KEY_MASKS[length], ()):
            if row.matches(word):
                values = row.pattern.decode(word)
                return Decoded(word, row, length, values, row.bind(values))
        return None


def instruction_length(word: int) -> int:
    """Bytes of the instruction that begins with these bits: 2 if the two lowest are not both set, else 4."""
    return 4 if word & 3 == 3 else 2


def _keys(row: Row) -> Iterator[int]:
    """Every value of the key bits that the row's words have."""
    key_mask = _KEY_MASKS[row.pattern.length]
    fixed = row.pattern.match & key_mask
    free = key_mask & ~row.pattern.mask
    subset = free
    while True:
        yield fixed | subset
        if not subset:
            return
        subset = (subset - 1) & free
