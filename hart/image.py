"""A guest program ready to be placed in memory: its bytes, where they go, where it starts, what its symbols are.

Owns the form that the ELF reader, the raw-image reader and the assembler all produce. Knows no file format.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named guest address; `size` in bytes, 0 where unknown."""

    name: str
    address: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes at a guest physical address. `zeros` more bytes after them are zero (bss)."""

    address: int
    data: bytes
    zeros: int = 0


@dataclass(frozen=True)
class Image:
    """A loadable guest program.

    Attributes:
        name: where it came from, for messages.
        entry: guest address at which every hart starts.
        chunks: what to place in memory.
        symbols: by name.

    """

    name: str
    entry: int
    chunks: tuple[Chunk, ...]
    symbols: dict[str, Symbol] = field(default_factory=dict)

    def symbolize(self, address: int) -> str:
        """`name`, `name+0x10`, or the bare address where no symbol covers it."""
        symbol = self.covering(address)
        if symbol is None:
            return f"{address:#x}"
        offset = address - symbol.address
        return f"{symbol.name}+{offset:#x}" if offset else symbol.name

    def digest(self) -> str:
        """SHA-256 of what it places in memory, and where."""
        digest = hashlib.sha256()
        for chunk in self.chunks:
            digest.update(f"{chunk.address} {len(chunk.data)} {chunk.zeros}\n".encode())
            digest.update(chunk.data)
        return digest.hexdigest()

    def covering(self, address: int) -> Symbol | None:
        """The symbol that `address` belongs to: the nearest below it, unless that has a size and ends before."""
        order, addresses = self._sorted
        at = bisect_right(addresses, address) - 1
        if at < 0 or (order[at].size and address >= order[at].address + order[at].size):
            return None
        return order[at]

    @property
    def _sorted(self) -> tuple[list[Symbol], list[int]]:
        cached: tuple[list[Symbol], list[int]] | None = self.__dict__.get("_order")
        if cached is None:
            order = sorted(self.symbols.values(), key=lambda s: (s.address, s.size))
            cached = (order, [s.address for s in order])
            self.__dict__["_order"] = cached
        return cached
