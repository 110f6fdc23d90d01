"""A hart's side of `serial`: which of its accesses are transactions at the bus, and which of them it waits for.

Owns the buffer of what is posted. `bus.policies.serial` argues why all of it is right, and is the bus's side.
"""

from __future__ import annotations

from bus.access import AmoOp, AtomicKind, Order, ScFailure
from bus.direct import DirectLoads
from bus.doorbell import wait_unless_rung
from bus.failures import failed
from bus.layout import GranuleState, Hart
from bus.messages import CATALOGUE, MOST_POSTED, Kind
from bus.policies import PortContext

_MASK = (1 << 64) - 1
# Looking up a member of an enumeration costs more than the use that is made of it on the hot path.
_LR, _SC, _AMO = int(Kind.LR), int(Kind.SC), int(Kind.AMO)
_CAS, _STORE, _END_RESERVATION = int(Kind.CAS), int(Kind.STORE), int(Kind.END_RESERVATION)
_COUNT_LR, _COUNT_SC = int(Hart.ATOMICS + AtomicKind.LR), int(Hart.ATOMICS + AtomicKind.SC)
_COUNT_AMO, _COUNT_CAS = int(Hart.ATOMICS + AtomicKind.AMO), int(Hart.ATOMICS + AtomicKind.CAS)
_TRACKED = int(GranuleState.TRACKED)
_POSTED = int(Hart.POSTED)
_POST_FIELDS = len(CATALOGUE[Kind.POST].fields)
_FULL = MOST_POSTED * _POST_FIELDS


class SerialPort(DirectLoads):
    """A hart's memory port under `serial`."""

    support = 0

    def __init__(self, context: PortContext) -> None:
        """Attach to the VM's memory; the link must have joined."""
        segment = context.segment
        super().__init__(segment.memory, segment.harts[context.hart].view)
        self._base = segment.memory.base
        self._granules = segment.granules.view
        self._exp = context.reservations.reservation_set_size_exp
        self._link = context.link
        self._hart = context.hart
        self._words = segment.harts[context.hart]
        self._ends_on_trap = context.reservations.invalidate_on_trap
        self._buffer: list[int] = []
        """Fields of the accesses that are to be posted next."""
        self._buffered: set[int] = set()
        """Their granules."""
        self._sent: set[int] = set()
        """The granules of those that are on their way."""

    # What is put off

    def post_amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> None:
        """Put it off, if its granule is tracked (no quiescence to wait for) and it acquires nothing."""
        offset = self._memory.aligned_offset(address, size)
        if order & Order.AQ or self._granules[offset >> self._exp] != _TRACKED:
            self.amo(op, address, size, operand, order)
            return
        self._page[_COUNT_AMO] += 1
        self._buffer += (op, address, size, operand & (1 << 8 * size) - 1, order)
        self._buffered.add(offset >> self._exp)
        self._page[_POSTED] = 1
        if len(self._buffer) == _FULL:
            self._send()

    def _send(self) -> None:
        """Send what has been put off; waits for what was sent before, so that one request is open at a time."""
        self._link.begin(Kind.POST, len(self._buffer) // _POST_FIELDS, *self._buffer)
        self._buffer.clear()
        self._sent, self._buffered = self._buffered, set()

    def settle(self, patiently: bool = True) -> None:
        """See `MemoryPort.settle`."""
        if not self._page[_POSTED]:
            return
        if self._buffer and self._link.finish(patiently):
            self._send()
        if self._link.finish(patiently) and not self._buffer:
            self._sent.clear()
            self._page[_POSTED] = 0

    def _call(self, kind: int, *fields: int) -> list[int]:
        """A transaction that is waited for, after those that were not."""
        if self._page[_POSTED]:
            self.settle()
        return self._link.call(kind, *fields)

    def _settle_for(self, offset: int, size: int) -> None:
        """Before a load: what it would read must not be on its way."""
        for granule in range(offset >> self._exp, (offset + size - 1 >> self._exp) + 1):
            if granule in self._sent or granule in self._buffered:
                self.settle()
                return

    # Accesses

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """See `DirectLoads.load`; sees the hart's own accesses to the granule that were put off."""
        if self._page[_POSTED]:
            if order:
                self.settle()
            else:
                self._settle_for(address - self._base, size)
        return super().load(address, size, order)

    def fetch(self, address: int, size: int) -> int:
        """See `DirectLoads.fetch`."""
        if self._page[_POSTED]:
            self._settle_for(address - self._base, size)
        return super().fetch(address, size)

    def fence(self, predecessor: int, successor: int) -> None:
        """See `DirectLoads.fence`."""
        self.settle()
        super().fence(predecessor, successor)

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """Write an untracked granule directly, any other by the bus."""
        if order:
            self._memory.aligned_offset(address, size)
            self._page[Hart.ATOMICS + AtomicKind.STORE_RELEASE] += 1
            self.settle()
            self._fence()
        offset = self._memory.offset(address, size)
        first = offset >> self._exp
        last = (offset + size - 1) >> self._exp
        if not (self._granules[first] or self._granules[last]):
            self._memory.store(address, size, value)
        else:
            self._store_by_parts(address, size, value, order)
        if order:
            self._fence()

    def _store_by_parts(self, address: int, size: int, value: int, order: Order) -> None:
        if not address & (size - 1):
            self._call(_STORE, address, size, value & ((1 << 8 * size) - 1), order)
            return
        # A misaligned store need not be atomic: bytes go each their granule's way.
        for i in range(size):
            byte = value >> 8 * i & 0xFF
            if self._granules[(address - self._base + i) >> self._exp]:
                self._call(_STORE, address + i, 1, byte, order)
            else:
                self._memory.store(address + i, 1, byte)

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """One transaction."""
        self._memory.aligned_offset(address, size)
        self._page[_COUNT_LR] += 1
        return self._call(_LR, address, size, order)[0]

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """One transaction, also if it will fail; counts the reason."""
        self._memory.aligned_offset(address, size)
        self._page[_COUNT_SC] += 1
        failure = self._call(_SC, address, size, value & ((1 << 8 * size) - 1), order)[0]
        if failure:
            failed(self._words, (failure & 0xFF) - 1, address - self._base >> self._exp)
        return not failure

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """One transaction."""
        self._memory.aligned_offset(address, size)
        self._page[_COUNT_AMO] += 1
        return self._call(_AMO, op, address, size, operand & ((1 << 8 * size) - 1), order)[0]

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """One transaction."""
        self._memory.aligned_offset(address, size)
        self._page[_COUNT_CAS] += 1
        mask = (1 << 8 * size) - 1
        expected &= mask
        desired &= mask
        low, high = self._call(
            _CAS, address, size, expected & _MASK, expected >> 64, desired & _MASK, desired >> 64, order
        )
        return high << 64 | low

    def wait_on_reservation(self, timeout_s: float | None) -> None:
        """Wait at the bus, which knows when the reservation is lost."""
        self.settle()
        if self._page[Hart.RESERVATION]:
            wait_unless_rung(self._words, self._hart, self._link, timeout_s, reservation=True)

    def forget_fused(self) -> None:
        """Nothing is fused here."""

    def end_reservation(self, trap: bool) -> None:
        """One transaction, if there is a reservation to end."""
        if not (self._ends_on_trap or not trap):
            return
        self.settle()  # an own store that was put off may end it
        if self._page[Hart.RESERVATION]:
            self._call(_END_RESERVATION, ScFailure.TRAP)
