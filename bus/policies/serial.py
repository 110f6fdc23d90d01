"""`serial`: the bus process executes every atomic, one transaction each, in the order it grants them.

Owns the total order. For schedules that can be recorded and chosen; slow, and simple enough to trust.

How it works
============
A granule's word says who writes it. UNTRACKED: harts store directly, as one host store. TRACKED: only the arbiter
writes it, and a hart's plain store is a transaction too. The first atomic on a granule makes it tracked: the arbiter
sets PENDING (harts send their stores from now on), waits for quiescence (no direct store is in flight any more, see
`bus.quiescence`), sets TRACKED and then executes. A granule never goes back. Loads, except LR, read RAM directly
under every state.

Why the rules of the architecture page hold
===========================================
1. (SC fails if another hart's store lies between.) LR makes its granule tracked before it reads, so from then on
   each store to the granule passes through `_apply`, which ends every other hart's reservation of it. Values are not
   looked at. A store decided before tracking was complete has happened before LR read (quiescence).
2. (Every SC ends the reservation.) `_execute` ends it for each SC it executes, whatever the outcome; the range check
   is against the reserved granule of the latest LR.
3. (AMO and SC are indivisible.) Their granules are tracked, so between the arbiter's read and its write nobody else
   writes; 16-byte values are written by one host store. A hart's load sees the old value or the new one.
4. (One order per granule.) All writes of a tracked granule are made by one process, one after the other, in the
   order of `record`. Writes before tracking are ordered by the hosts' cache coherence, and all before those after.
5. (Progress.) Answers are given in the order of arrival. A constrained LR/SC loop fails only if another hart's
   transaction wrote the granule, so some hart progresses; ZeroMQ's ROUTER takes from its peers in turn, so each
   hart's requests are served as long as it sends any.
6. (Death.) A hart holds nothing: a dead hart's request has been executed as a whole or not at all. For the death of
   the arbiter itself: before memory changes, the hart's page holds the complete transaction (INTENT); afterwards it
   holds the answer (DONE). One transaction is in the works at a time. A new arbiter first repeats the one in phase
   INTENT, if there is one: `_apply` sets memory and reservations to values that do not depend on how far the first
   attempt got, and no one else can have written the granule since. Then each hart repeats its open request (see
   `bus.link`): one that is DONE is answered from the page, any other has had no effect and is executed.
   Phase, fields and memory are written by one thread and outlive it in the shared mapping, in program order.
7. (Causes.) The reason is kept where the reservation was, in the hart page, and travels in the answer to the SC.
"""

from __future__ import annotations

import random
import struct
from collections import Counter

from bus.access import AmoOp, AtomicKind, MemoryFault, Order, ScFailure, combine
from bus.doorbell import wait_unless_rung
from bus.layout import PAGE_EXP, WORD, GranuleState, Hart, PageState, TransactionPhase
from bus.lowering import AccessEmitter, Value, page_byte, plain_load, plain_store
from bus.messages import Kind
from bus.native import host_atomics
from bus.policies import ArbiterContext, OrderRecord, Policy, PortContext, Reservations

_MASK = (1 << 64) - 1
_TRANSACTION = struct.Struct("8Q")  # TXN_ID to TXN_RESULT_HIGH, native order: one host store per word
assert _TRANSACTION.size == (Hart.TXN_RESULT_HIGH + 1 - Hart.TXN_ID) * WORD
_SIZES = {
    Kind.LR: (4, 8),
    Kind.SC: (4, 8),
    Kind.AMO: (1, 2, 4, 8),
    Kind.CAS: (1, 2, 4, 8, 16),
    Kind.STORE: (1, 2, 4, 8),
}
_BREAKS = {
    Kind.SC: ScFailure.OTHER_SC,
    Kind.AMO: ScFailure.OTHER_AMO,
    Kind.CAS: ScFailure.OTHER_AMO,
    Kind.STORE: ScFailure.OTHER_STORE,
}
_COUNTED = {
    Kind.LR: AtomicKind.LR,
    Kind.SC: AtomicKind.SC,
    Kind.AMO: AtomicKind.AMO,
    Kind.CAS: AtomicKind.CAS,
}


class SerialPort:
    """A hart's memory port under `serial`."""

    def __init__(self, context: PortContext) -> None:
        """Attach to the VM's memory; the link must have joined."""
        segment = context.segment
        self._memory = segment.memory
        self._base = segment.memory.base
        self._granules = segment.granules.view
        self._exp = context.reservations.reservation_set_size_exp
        self._call = context.link.call
        self._link = context.link
        self._hart = context.hart
        self._page = segment.harts[context.hart]
        self._fence = host_atomics().fence
        self._ends_on_trap = context.reservations.invalidate_on_trap

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """Read RAM directly: see rule 3."""
        if not order:
            return self._memory.load(address, size)
        self._memory.aligned_offset(address, size)
        self._count(AtomicKind.LOAD_ACQUIRE)
        # RCsc: after every earlier release store of this hart, before every later access.
        self._fence()
        value = self._memory.load(address, size)
        self._fence()
        return value

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """Write an untracked granule directly, any other by the bus."""
        if order:
            self._memory.aligned_offset(address, size)
            self._count(AtomicKind.STORE_RELEASE)
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
            self._call(Kind.STORE, address, size, value & ((1 << 8 * size) - 1), order)
            return
        # A misaligned store need not be atomic: bytes go each their granule's way.
        for i in range(size):
            byte = value >> 8 * i & 0xFF
            if self._granules[(address - self._base + i) >> self._exp]:
                self._call(Kind.STORE, address + i, 1, byte, order)
            else:
                self._memory.store(address + i, 1, byte)

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """One transaction."""
        self._memory.aligned_offset(address, size)
        self._count(AtomicKind.LR)
        return self._call(Kind.LR, address, size, order)[0]

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """One transaction, also if it will fail; counts the reason."""
        self._memory.aligned_offset(address, size)
        self._count(AtomicKind.SC)
        failure = self._call(Kind.SC, address, size, value & ((1 << 8 * size) - 1), order)[0]
        if failure:
            self._page[Hart.SC_FAILURES + (failure & 0xFF) - 1] += 1
        return not failure

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """One transaction."""
        self._memory.aligned_offset(address, size)
        self._count(AtomicKind.AMO)
        return self._call(Kind.AMO, op, address, size, operand & ((1 << 8 * size) - 1), order)[0]

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """One transaction."""
        self._memory.aligned_offset(address, size)
        self._count(AtomicKind.CAS)
        mask = (1 << 8 * size) - 1
        expected &= mask
        desired &= mask
        low, high = self._call(
            Kind.CAS, address, size, expected & _MASK, expected >> 64, desired & _MASK, desired >> 64, order
        )
        return high << 64 | low

    def fence(self, predecessor: int, successor: int) -> None:
        """A full host fence: stronger than any FENCE asks for."""
        self._fence()

    def fetch(self, address: int, size: int) -> int:
        """Read code directly."""
        return self._memory.load(address, size)

    def wait_on_reservation(self, timeout_s: float | None) -> None:
        """Wait at the bus, which knows when the reservation is lost."""
        if self._page[Hart.RESERVATION]:
            wait_unless_rung(self._page, self._hart, self._link, timeout_s, reservation=True)

    def forget_fused(self) -> None:
        """Nothing is fused here."""

    def end_reservation(self, trap: bool) -> None:
        """One transaction, if there is a reservation to end."""
        if (self._ends_on_trap or not trap) and self._page[Hart.RESERVATION]:
            self._call(Kind.END_RESERVATION, ScFailure.TRAP)

    def _count(self, kind: AtomicKind) -> None:
        self._page[Hart.ATOMICS + kind] += 1


class SerialArbiter:
    """The bus process's half: executes transactions one after the other."""

    def __init__(self, context: ArbiterContext) -> None:
        """Take over the segment as it is: new, or left behind by a bus process that died."""
        segment = context.segment
        self._context = context
        self._rules = context.reservations
        self._memory = segment.memory
        self._ram_address = segment.address + segment.geometry.ram_offset
        self._granules = segment.granules.view
        self._page_map = segment.page_map
        self._exp = segment.geometry.granule_exp
        self._pages = tuple(hart.view for hart in segment.harts)
        self._bytes = tuple(hart.view.cast("B") for hart in segment.harts)
        self._store_pair = host_atomics().store_pair
        self._reserved: dict[int, set[int]] = {}
        """Harts by the granule that they have reserved; mirrors RESERVATION in their pages."""
        self._deferred: dict[int, list[tuple[int, list[int]]]] = {}
        """Transactions that wait until a PENDING granule is TRACKED."""
        self._open: dict[int, int] = {}
        """Id of the deferred request by hart."""
        self._heat: Counter[tuple[int, int, int]] = Counter()
        for hart, page in enumerate(self._pages):
            if page[Hart.RESERVATION]:
                self._reserved.setdefault(page[Hart.RESERVATION] - 1, set()).add(hart)
        for hart, page in enumerate(self._pages):
            if page[Hart.TXN_PHASE] == TransactionPhase.INTENT:
                words = (Hart.TXN_KIND, Hart.TXN_ADDRESS, Hart.TXN_SIZE, Hart.TXN_LOW, Hart.TXN_HIGH)
                self._apply(hart, *(page[w] for w in words))
                page[Hart.TXN_PHASE] = TransactionPhase.DONE

    # Requests

    def handle(self, hart: int, request: list[int]) -> None:
        """Execute a transaction, or put it off until its granules are tracked."""
        kind, request_id = request[0], request[1]
        page = self._pages[hart]
        if request_id <= page[Hart.TXN_ID]:
            if request_id == page[Hart.TXN_ID] and page[Hart.TXN_PHASE] == TransactionPhase.DONE:
                self._answer(hart, page)
            return
        if kind == Kind.END_RESERVATION:
            self._commit(hart, request_id, kind, 0, 0, request[2], 0, 0, 0)
            return
        if kind == Kind.AMO:
            op, address, size = request[2], request[3], request[4]
            if op not in AmoOp._value2member_map_:
                self._context.refuse(hart, request_id, f"AMO operation {op} is not one of 0 to {max(AmoOp)}")
                return
        else:
            address, size = request[2], request[3]
        if size not in _SIZES[Kind(kind)]:
            allowed = ", ".join(map(str, _SIZES[Kind(kind)]))
            self._context.refuse(hart, request_id, f"size {size} is not one of {allowed}")
            return
        try:
            offset = self._memory.aligned_offset(address, size)
        except MemoryFault as fault:
            self._context.refuse(hart, request_id, str(fault))
            return
        granule = offset >> self._exp
        end = offset + size - 1 >> self._exp  # only AMOCAS.Q on 8-byte granules has more than one
        for touched in range(granule, end + 1):
            if self._granules[touched] != GranuleState.TRACKED:
                self._track(touched, hart, request)
                return
        self._execute(hart, request, address, size, granule)

    def _track(self, granule: int, hart: int, request: list[int]) -> None:
        """Put `request` off until `granule` is tracked, and have that done."""
        if self._open.get(hart) == request[1]:
            return
        self._open[hart] = request[1]
        waiting = self._deferred.setdefault(granule, [])
        waiting.append((hart, request))
        if len(waiting) > 1:
            return
        # Native code asks the page map alone, so it comes first: rule 1 holds for it by the same quiescence.
        self._page_map[granule << self._exp >> PAGE_EXP] |= PageState.TRACKED
        self._granules[granule] = GranuleState.PENDING

        def tracked() -> None:
            self._granules[granule] = GranuleState.TRACKED
            for waiter, deferred in self._deferred.pop(granule):
                self._open.pop(waiter, None)
                self.handle(waiter, deferred)

        self._context.quiescence.begin(tracked)

    def _execute(self, hart: int, request: list[int], address: int, size: int, granule: int) -> None:
        kind, request_id = request[0], request[1]
        write_size = low = high = result = result_high = failure = 0
        if kind == Kind.AMO:
            operand, order = request[5], request[6]
            result = self._memory.load(address, size)
            low = combine(AmoOp(request[2]), result, operand, size)
            write_size = size
        elif kind == Kind.SC:
            order = request[5]
            failure = self._sc_failure(hart, request_id, address, size, granule)
            result = failure
            if not failure:
                write_size, low = size, request[4]
        elif kind == Kind.LR:
            order = request[4]
            result = self._memory.load(address, size)
            low = size
        elif kind == Kind.CAS:
            order = request[8]
            result = self._memory.load(address, min(size, 8))
            if size == 16:
                result_high = self._memory.load(address + 8, 8)
            if result == request[4] and result_high == request[5]:
                write_size, low, high = size, request[6], request[7]
        else:
            order = request[5] if kind == Kind.STORE else 0
            write_size, low = size, request[4]
        if self._context.record is not None:
            before = result if kind in (Kind.LR, Kind.AMO, Kind.CAS) else self._memory.load(address, size)
            self._context.record(
                OrderRecord(
                    hart,
                    kind,
                    address,
                    size,
                    order,
                    before | result_high << 64,
                    (low | high << 64) if write_size else before | result_high << 64,
                    failure,
                )
            )
        if kind in _COUNTED:
            self._heat[address, hart, _COUNTED[Kind(kind)]] += 1
        self._commit(hart, request_id, kind, address, write_size, low, high, result, result_high)

    def _commit(
        self,
        hart: int,
        request_id: int,
        kind: int,
        address: int,
        size: int,
        low: int,
        high: int,
        result: int,
        result_high: int,
    ) -> None:
        """Journal, apply, answer: rule 6."""
        page = self._pages[hart]
        page[Hart.TXN_PHASE] = TransactionPhase.EMPTY
        _TRANSACTION.pack_into(
            self._bytes[hart],
            Hart.TXN_ID * WORD,
            request_id,
            kind,
            address,
            size,
            low,
            high,
            result,
            result_high,
        )
        page[Hart.TXN_PHASE] = TransactionPhase.INTENT
        self._apply(hart, kind, address, size, low, high)
        page[Hart.TXN_PHASE] = TransactionPhase.DONE
        self._answer(hart, page)

    def _answer(self, hart: int, page: memoryview) -> None:
        kind = page[Hart.TXN_KIND]
        if kind == Kind.CAS:
            self._context.answer(hart, page[Hart.TXN_ID], page[Hart.TXN_RESULT], page[Hart.TXN_RESULT_HIGH])
        else:
            self._context.answer(hart, page[Hart.TXN_ID], page[Hart.TXN_RESULT])

    # State changes. Each may be repeated after a crash: the outcome does not depend on how far it got before.

    def _apply(self, hart: int, kind: int, address: int, size: int, low: int, high: int) -> None:
        if size == 16:
            self._store_pair(self._ram_address + address - self._memory.base, low, high)
        elif size:
            self._memory.store(address, size, low)
        if size and self._reserved:
            offset = address - self._memory.base
            cause = _BREAKS[Kind(kind)]
            for granule in range(offset >> self._exp, (offset + size - 1 >> self._exp) + 1):
                self._break(granule, cause, hart)
        if kind == Kind.LR:
            self._reserve(hart, address, low)
        elif kind == Kind.SC:
            self._lose(hart, ScFailure.NO_RESERVATION, hart)
        elif kind == Kind.END_RESERVATION:
            self._lose(hart, ScFailure(low), hart)

    def _break(self, granule: int, cause: ScFailure, writer: int) -> None:
        for hart in tuple(self._reserved.get(granule, ())):
            if hart != writer:
                self._lose(hart, cause, writer)
                self._context.reservation_lost(hart)
            elif self._rules.invalidate_on_same_hart_store:
                self._lose(hart, ScFailure.OWN_STORE, writer)

    def _reserve(self, hart: int, address: int, size: int) -> None:
        self._forget(hart)
        page = self._pages[hart]
        granule = address - self._memory.base >> self._exp
        self._reserved.setdefault(granule, set()).add(hart)
        page[Hart.RESERVATION_ADDRESS] = address
        page[Hart.RESERVATION_SIZE] = size
        page[Hart.RESERVATION] = 1 + granule

    def _lose(self, hart: int, cause: ScFailure, by: int) -> None:
        self._forget(hart)
        page = self._pages[hart]
        page[Hart.RESERVATION_LOST] = 1 + cause | by << 8
        page[Hart.RESERVATION] = 0

    def _forget(self, hart: int) -> None:
        reserved = self._pages[hart][Hart.RESERVATION]
        if reserved:
            holders = self._reserved.get(reserved - 1)
            if holders is not None:
                holders.discard(hart)
                if not holders:
                    del self._reserved[reserved - 1]

    def _sc_failure(self, hart: int, request_id: int, address: int, size: int, granule: int) -> int:
        """0 if the SC may write, else 1 + ScFailure | hart << 8."""
        page = self._pages[hart]
        reserved = page[Hart.RESERVATION]
        if not reserved:
            return page[Hart.RESERVATION_LOST] or 1 + ScFailure.NO_RESERVATION | hart << 8
        if reserved - 1 != granule:
            return 1 + ScFailure.GRANULE_MISMATCH | hart << 8
        exact = page[Hart.RESERVATION_ADDRESS] == address and page[Hart.RESERVATION_SIZE] == size
        if self._rules.require_exact_reservation_addr and not exact:
            return 1 + ScFailure.ADDRESS_MISMATCH | hart << 8
        probability = self._rules.spurious_sc_failure
        # Decided by the request, not by a running generator, so that a repeated request decides alike.
        if probability and random.Random(f"{self._rules.seed}/{hart}/{request_id}").random() < probability:
            return 1 + ScFailure.INJECTED | hart << 8
        return 0

    # Housekeeping

    def external_write(self, address: int, size: int, value: int) -> None:
        """A write from outside: ends reservations first, so that a crash in between cannot leave a stale one."""
        offset = self._memory.offset(address, size)
        for granule in range(offset >> self._exp, (offset + size - 1 >> self._exp) + 1):
            self._break(granule, ScFailure.EXTERNAL_WRITE, len(self._pages))
        self._memory.store(address, size, value)

    def holds_reservation(self, hart: int) -> bool:
        """Whether the hart has a valid reservation."""
        return self._pages[hart][Hart.RESERVATION] != 0

    def hart_gone(self, hart: int) -> None:
        """Drop its reservation and whatever it asked for."""
        self._forget(hart)
        self._pages[hart][Hart.RESERVATION] = 0
        for granule, waiting in self._deferred.items():
            self._deferred[granule] = [w for w in waiting if w[0] != hart]

    def statistics(self) -> list[tuple[int, ...]]:
        """Hot addresses, hottest rows first."""
        return [(*key, count) for key, count in self._heat.most_common()]


class SerialLowering:
    """Loads, and stores to pages without a tracked granule, are native; all else is the interpreter's."""

    def __init__(self, reservations: Reservations) -> None:
        """The arbiter alone cares how reservations behave."""

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """Rule 3; ordered loads are rare here, and counted by the port."""
        return None if order else plain_load(e, offset, size, order)

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """Between the check and the store there is no safepoint: quiescence covers native code too."""
        if order:
            return False
        e.unless(e.value(f"icmp ne i8 {page_byte(e, offset)}, 0"))
        plain_store(e, offset, size, value, order)
        return True

    def amo(self, e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str, order: Order) -> None:
        """A transaction."""

    def compare_and_swap(
        self, e: AccessEmitter, offset: Value, size: int, expected: str, desired: str, order: Order
    ) -> None:
        """A transaction."""

    def load_reserved(
        self, e: AccessEmitter, offset: Value, size: int, order: Order, fused: str | None
    ) -> None:
        """A transaction."""

    def store_conditional(
        self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order, fused: str | None
    ) -> None:
        """A transaction."""


POLICY = Policy(
    name="serial",
    summary="the bus process executes every atomic, one transaction each: one total order",
    correct=True,
    port=SerialPort,
    arbiter=SerialArbiter,
    lowering=SerialLowering,
)
