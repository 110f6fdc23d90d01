"""The memory of an execution: which cells its events touch, and where each store stands in a cell's coherence order.

Owns these places. Judges nothing: it is what `coordinator.check.checker` and `coordinator.check.sequential` look up.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, groupby

from coordinator.check.cells import Cells
from coordinator.check.execution import INITIAL, PER_BYTE, READS, Event, Execution

NOWHERE = -1
"""In place of an event: there is none."""


class Memory:
    """Where each event's bytes are, and the coherence order of each cell.

    Attributes:
        addresses: of each cell.
        cells_of: the cells of each event, by its id.
        orders: the stores to each cell, in coherence order.

    """

    __slots__ = ("_hart_of", "_next_other", "_place", "_shared", "addresses", "cells_of", "orders")

    def __init__(self, execution: Execution) -> None:
        cells = Cells(chain(((e.address, e.size) for e in execution.events() if e.size), _torn(execution)))
        of = cells.of
        self.addresses = cells.address
        self.cells_of: list[tuple[int, ...]] = [
            of[e.address, e.size] if e.size else () for e in execution.events()
        ]
        self._hart_of = array("i")
        for number, hart in enumerate(execution.harts):
            self._hart_of.extend([number] * len(hart))
        found = execution.orders(self.cells_of.__getitem__)
        self.orders: list[list[int]] = [found.get(cell, []) for cell in range(len(cells.address))]
        self._place = array("i", bytes(4 * len(self.cells_of)))
        self._shared: dict[tuple[int, int], int] = {}
        self._next_other: dict[int, list[int]] = {}
        for cell, order in found.items():
            for place, store in enumerate(order):
                if len(self.cells_of[store]) == 1:
                    self._place[store] = place
                else:
                    self._shared[store, cell] = place

    def place(self, store: int, cell: int) -> int:
        """The place of a store in the coherence order of a cell; -1 for INITIAL."""
        if store == INITIAL:
            return -1
        return self._place[store] if len(self.cells_of[store]) == 1 else self._shared[store, cell]

    def agrees(self, before: int, store: int, event: Event, returned: Sequence[int] | None) -> bool:
        """Whether in a cell of both `before`, or with `returned` (by byte) what it read, precedes `store`."""
        for cell in set(self.cells_of[before]).intersection(self.cells_of[store]):
            source = before if returned is None else returned[self.addresses[cell] - event.address]
            if self.place(source, cell) < self.place(store, cell):
                return True
        return False

    def next_of_others(self, cell: int, place: int, hart: int) -> int:
        """The first store of another hart at `place` or later in the coherence order, or -1."""
        order = self.orders[cell]
        if place >= len(order):
            return NOWHERE
        if self._hart_of[order[place]] != hart:
            return order[place]
        ends = self._next_other.get(cell)
        if ends is None:
            ends = self._next_other[cell] = [len(order)] * len(order)
            for i in range(len(order) - 2, -1, -1):
                same = self._hart_of[order[i]] == self._hart_of[order[i + 1]]
                ends[i] = ends[i + 1] if same else i + 1
        return order[ends[place]] if ends[place] < len(order) else NOWHERE


def _torn(execution: Execution) -> Iterator[tuple[int, int]]:
    """The stretches (address, size) of reads from several stores: each is from one."""
    if execution.bytewise:
        for identity, event in enumerate(execution.events()):
            if event.kind in READS and execution.source[identity] == PER_BYTE:
                address = event.address
                for _, stretch in groupby(execution.bytewise[identity]):
                    size = len(list(stretch))
                    yield address, size
                    address += size
