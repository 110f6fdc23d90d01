"""Accesses that no policy takes part in: loads and fetches straight from RAM, and full fences.

Owns what the ports of several policies do alike. Writes nothing to RAM.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from bus.access import AmoOp, AtomicKind, Order
from bus.layout import Hart
from bus.memory import GuestMemory
from bus.native import host_atomics


class DirectLoads(ABC):
    """The part of a memory port that reads RAM directly; see `bus.port.MemoryPort`."""

    def __init__(self, memory: GuestMemory, page: memoryview) -> None:
        """`page` is the hart's page, whose counters it keeps."""
        self._memory = memory
        self._page = page
        self._fence = host_atomics().fence

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """One host load, which sees the old value or the new one of any write."""
        if not order:
            return self._memory.load(address, size)
        self._memory.aligned_offset(address, size)
        self._page[Hart.ATOMICS + AtomicKind.LOAD_ACQUIRE] += 1
        # RCsc: after every earlier release store of this hart, before every later access.
        self._fence()
        value = self._memory.load(address, size)
        self._fence()
        return value

    def post_amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> None:
        """Nothing is put off."""
        self.amo(op, address, size, operand, order)

    @abstractmethod
    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """See `MemoryPort.amo`."""

    def settle(self, patiently: bool = True) -> None:  # noqa: B027 - most policies have nothing to do
        """Nothing is put off."""

    def spin(self, address: int, waits: int) -> None:
        """Let another hart have the host's processor."""
        os.sched_yield()

    def fetch(self, address: int, size: int) -> int:
        """Read code."""
        return self._memory.load(address, size)

    def fence(self, predecessor: int, successor: int) -> None:
        """A full host fence: stronger than any FENCE asks for."""
        self._fence()

    def answer_recalls(self, instret: int) -> int:
        """Nothing can be recalled."""
        return 0
