"""Cells: memory cut into stretches that every access covers wholly or not at all.

Owns the cutting. Most programs access each location in one size, so that a cell is a location; where sizes mix,
an access covers several cells, and reads-from and coherence are said per cell.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from coordinator.check.execution import Event


class Cells:
    """The bytes that some accesses touch, in stretches that no access splits.

    Attributes:
        address: of each cell, ascending.
        size: of each cell, in bytes.
        of: the cells that an access of (address, size) covers, lowest first.

    """

    __slots__ = ("address", "of", "size")

    def __init__(self, accesses: Iterable[tuple[int, int]]) -> None:
        """`accesses` are (address, size)."""
        footprints = set(accesses)
        changes: Counter[int] = Counter()
        for address, size in footprints:
            changes[address] += 1
            changes[address + size] -= 1
        bounds = sorted(changes)
        self.address: list[int] = []
        self.size: list[int] = []
        covering = 0
        for low, high in itertools.pairwise(bounds):
            covering += changes[low]
            if covering:
                self.address.append(low)
                self.size.append(high - low)
        self.of: dict[tuple[int, int], tuple[int, ...]] = {
            (address, size): tuple(
                range(bisect_left(self.address, address), bisect_left(self.address, address + size))
            )
            for address, size in footprints
        }

    def covering(self, event: Event) -> tuple[int, ...]:
        """The cells of an event."""
        return self.of[event.address, event.size]
