"""Accesses of a block that can be checked against guest RAM together.

Owns the arithmetic of their extents. Emits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bus.access import Order
from hart.isa.decoder import Decoded
from hart.isa.effects import MemoryEffect
from hart.isa.integers import IntegerArithmetic
from hart.jit.region import Block

SPAN = 2048
"""Bytes that a group spans at most."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes `start` to `end` from an address; `start` plus the address is a multiple of `alignment`, a power of 2."""

    start: int
    end: int
    alignment: int

    def moved(self, by: int) -> Extent:
        """The same bytes as seen from an address that is `-by` higher."""
        return Extent(self.start + by, self.end + by, self.alignment)

    def joined(self, offset: int, size: int) -> Extent | None:
        """The extent that also holds `size` aligned bytes at `offset`; None if their alignments do not go together."""
        alignment = max(self.alignment, size)
        anchor = self.start if self.alignment >= size else offset
        if (offset - self.start) % min(self.alignment, size):
            return None
        start = anchor - -(-(anchor - min(self.start, offset)) // alignment) * alignment
        end = max(self.end, offset + size)
        return Extent(start, end, alignment) if end - start <= SPAN else None


@dataclass(slots=True, eq=False)
class AccessGroup:
    """Plain accesses through one value of one base register.

    Attributes:
        extent: all their bytes, from the base register's value.
        offsets: of each access, by the instruction's place in the block.
        stores: whether one of them is a store.

    """

    extent: Extent
    stores: bool = False
    offsets: dict[int, int] = field(default_factory=dict)


def access_groups(block: Block) -> dict[int, AccessGroup]:
    """The groups of a block, by the place of each access."""
    groups: dict[int, AccessGroup] = {}
    current: dict[int, AccessGroup] = {}
    for place, i in enumerate(block.instructions):
        plain = i.effects.memory in (MemoryEffect.LOAD, MemoryEffect.STORE) and not i.effects.order
        if plain and len(i.effects.address) == 1:
            (base,) = i.effects.address
            offset = _displacement(i.decoded)
            group = current.get(base)
            extent = group.extent.joined(offset, i.effects.size) if group else None
            if group is None or extent is None:
                extent = Extent(offset, offset + i.effects.size, i.effects.size)
                group = current[base] = AccessGroup(extent)
            group.extent = extent
            group.offsets[place] = offset
            group.stores |= i.effects.memory is MemoryEffect.STORE
            groups[place] = group
        for register in i.effects.writes:
            current.pop(register, None)
    return groups


class _Addresses(IntegerArithmetic):
    """The algebra of an access, all registers 0: its address is its displacement."""

    address = 0

    def get(self, register: int) -> int:
        return 0

    def set(self, register: int, value: int) -> None:
        pass

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        self.address = address
        return 0

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        self.address = address


def _displacement(decoded: Decoded) -> int:
    """What a plain access adds to its base register, signed."""
    algebra = _Addresses()
    decoded.row.meaning(algebra, *decoded.arguments)
    return algebra.address - (algebra.address >> 63 << 64)
