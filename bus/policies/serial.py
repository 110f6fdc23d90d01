"""`serial`: the bus process executes every atomic, one transaction each, in the order it grants them.

Owns the total order and the bus's side; the hart's is in `bus.serial_port` and `bus.serial_lowering`. For schedules
that can be recorded and chosen; slow, and simple enough to trust.

How it works
============
A granule's word says who writes it. UNTRACKED: harts store directly, as one host store. TRACKED: only the arbiter
writes it, and a hart's plain store is a transaction too. The first atomic on a granule makes it tracked: the arbiter
sets PENDING (harts send their stores from now on), waits for quiescence (no direct store is in flight any more, see
`bus.quiescence`), sets TRACKED and then executes. A granule never goes back. Loads, except LR, read RAM directly
under every state. With an order log, every granule is tracked from the start, so that the log is complete.

*Posting.* An AMO whose old value nobody wants (rd = x0, no aq), to a granule that is tracked already, is *posted*: put
into a buffer, sent with up to MOST_POSTED in one request, and not waited for. The hart goes on while one such request
is open and the next is filled. It *settles* (sends all, waits for the answer) before: a load or fetch from a granule
with something posted; a fence, FENCE.I, and any access with order but an AMO's rl; every transaction it waits for;
waiting, pausing, a trap that ends reservations, its end. At each safepoint what is left is sent, if nothing is open.
Faults are found before posting, so traps are precise. Stores are not posted: they keep the order that they have under
other policies.

This is allowed: posted AMOs are executed in program order among themselves and before any later transaction. What
they do let pass are loads from other granules, and stores to granules that are not tracked. Of preserved program order
(unprivileged manual) only a rule could forbid that whose first access is posted: overlapping addresses (1 to 3: the
granule is the same, so the later access is posted, a transaction, or settles), fences (4: settle), aq (5: not posted),
rl on a later access (6) and two annotated ones (7: an ordered load or store settles, transactions are in order), LR/SC
pairs (8: not posted), dependencies (9 to 13: start at a load whose value is used; a posted AMO's is not).

Why the rules of the architecture page hold
===========================================
1. (SC fails if another hart's store lies between.) LR makes its granule tracked before it reads, so from then on
   each store to the granule passes through `_apply`, which ends every other hart's reservation of it. Values are not
   looked at. A store decided before tracking was complete has happened before LR read (quiescence).
2. (Every SC ends the reservation.) `_apply` ends it for each SC that is executed, whatever the outcome; the range
   check is against the reserved granule of the latest LR.
3. (AMO and SC are indivisible.) Their granules are tracked, so between the arbiter's read and its write nobody else
   writes; 16-byte values are written by one host store. A hart's load sees the old value or the new one.
4. (One order per granule.) All writes of a tracked granule are made by one process, one after the other, in the
   order of the log. Writes before tracking are ordered by the host's cache coherence, and all before those after.
5. (Progress.) Answers are given in the order of arrival. A constrained LR/SC loop fails only if another hart's
   transaction wrote the granule, which is what the manual's eventuality rule asks for; ZeroMQ's ROUTER takes from
   its peers in turn, so each hart's requests are served as long as it sends any.
6. (Death.) A hart holds nothing: a dead hart's request has been executed as a whole or not at all. For the death of
   the arbiter itself, the hart's page is a journal, and one transaction is in the works at a time:

   a. phase EMPTY, so that the words beside do not count; then the words: the whole transaction and its answer;
   b. phase INTENT; then `_apply`: memory, then reservations;
   c. phase DONE; then the answer is sent.

   A new arbiter finds at most one page in phase INTENT and applies it again. That is harmless: `_apply` sets memory
   and reservations to values that do not depend on how far the first attempt got, and nobody else has written the
   granule since. In phase EMPTY nothing has happened. Then each hart repeats its open request (see `bus.link`): if
   it is the one in the page and DONE, it is answered from there; any other has had no effect and is executed. The
   AMOs of a POST have an id each, in order, and a transaction each. POSTED_DONE says up to which they are done; it is
   written after a transaction is DONE and before the next one's EMPTY, so that the two together are never behind.
   A hart that dies takes along what it has posted and not sent, at most MOST_POSTED AMOs. For others that is as if
   it had died before them, except that stores of its own may have passed them, as they may in its life.
   Journal and memory are written by one thread, in program order, and outlive it in the shared mapping.
7. (Causes.) The reason is kept where the reservation was, in the hart page, and travels in the answer to the SC.
"""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Callable

from bus.access import AmoOp, AtomicKind, Order, ScFailure, combine
from bus.heat import Heat
from bus.layout import PAGE_EXP, WORD, GranuleState, Hart, Header, PageState, TransactionPhase
from bus.messages import CATALOGUE, MOST_POSTED, Kind
from bus.native import host_atomics
from bus.order_log import OrderLog, OrderRecord
from bus.policies import ArbiterContext, Policy, Refused
from bus.serial_lowering import SerialLowering
from bus.serial_port import SerialPort

_MASK = (1 << 64) - 1
_TRANSACTION = struct.Struct("8Q")  # TXN_ID to TXN_RESULT_HIGH
assert _TRANSACTION.size == (Hart.TXN_RESULT_HIGH + 1 - Hart.TXN_ID) * WORD

# Looking up a member of an enumeration costs more than the use that is made of it on the hot path.
_LR, _SC, _AMO = int(Kind.LR), int(Kind.SC), int(Kind.AMO)
_CAS, _STORE, _END_RESERVATION = int(Kind.CAS), int(Kind.STORE), int(Kind.END_RESERVATION)
_COUNT_SC = int(Hart.ATOMICS + AtomicKind.SC)
_PENDING, _TRACKED = int(GranuleState.PENDING), int(GranuleState.TRACKED)
_EMPTY, _INTENT, _DONE = map(int, TransactionPhase)
_POSTED_DONE = int(Hart.POSTED_DONE)
_POST_FIELDS = len(CATALOGUE[Kind.POST].fields)
_TXN_PHASE = int(Hart.TXN_PHASE)
_TXN_OFFSET = Hart.TXN_ID * WORD
_RESERVATION = int(Hart.RESERVATION)
_TRANSACTIONS = int(Header.BUS_TRANSACTIONS)

_RESERVABLE = (4, 8)
_PLAIN = (1, 2, 4, 8)
_SWAPPABLE = (1, 2, 4, 8, 16)
_OPERATIONS = tuple(AmoOp)
_LAST_OP = len(_OPERATIONS) - 1
_LAST_ORDER = int(Order.AQRL)
_HEAT_AMO = int(AtomicKind.AMO)
_RESULTS = {_LR: 1, _SC: 1, _AMO: 1, _CAS: 2, _STORE: 0, _END_RESERVATION: 0}
"""How many values an answer has."""
_BREAKS = {
    _SC: ScFailure.OTHER_SC,
    _AMO: ScFailure.OTHER_AMO,
    _CAS: ScFailure.OTHER_AMO,
    _STORE: ScFailure.OTHER_STORE,
}


class SerialArbiter:
    """The bus process's half: executes transactions one after the other."""

    def __init__(self, context: ArbiterContext) -> None:
        """Take over the segment as it is: new, or left behind by a bus process that died."""
        segment = context.segment
        self._context = context
        self._answer = context.answer
        self._rules = context.reservations
        self._log = context.log
        self._base = segment.memory.base
        self._ram_bytes = segment.memory.size
        self._views = segment.memory.views
        self._ram_address = segment.address + segment.geometry.ram_offset
        self._granules = segment.granules.view
        self._page_map = segment.page_map
        self._exp = segment.geometry.granule_exp
        self._header = segment.header.view
        self._pages = tuple(hart.view for hart in segment.harts)
        self._store_pair = host_atomics().store_pair
        self._reserved: dict[int, set[int]] = {}
        """Harts by the granule that they have reserved; mirrors RESERVATION in their pages."""
        self._deferred: dict[int, list[tuple[int, list[int]]]] = {}
        """Transactions that wait until a PENDING granule is TRACKED."""
        self._heat = Heat(len(self._pages))
        for hart, page in enumerate(self._pages):
            if page[_RESERVATION]:
                self._reserved.setdefault(page[_RESERVATION] - 1, set()).add(hart)
        self._execute = {
            _LR: self._load_reserved,
            _SC: self._store_conditional,
            _AMO: self._amo,
            _CAS: self._compare_and_swap,
            _STORE: self._store,
            _END_RESERVATION: self._end_reservation,
            Kind.POST: self._posted,
        }
        self._answered = [self._recover(hart) for hart in range(len(self._pages))]
        """By hart, the id of the request whose answer an earlier bus process left in the page; 0 for none."""
        if self._log is not None:
            self._recover_log(self._log)
            self._track_everything()

    # Taking over

    def _recover(self, hart: int) -> int:
        """Finish the hart's transaction if one was in the works; the id of the one in its page, or 0."""
        page = self._pages[hart]
        if page[_TXN_PHASE] == _INTENT:
            words = (Hart.TXN_KIND, Hart.TXN_ADDRESS, Hart.TXN_SIZE, Hart.TXN_LOW, Hart.TXN_HIGH)
            self._apply(hart, *(page[w] for w in words))
            page[_TXN_PHASE] = _DONE
        return max(page[_POSTED_DONE], page[Hart.TXN_ID] if page[_TXN_PHASE] == _DONE else 0)

    def _recover_log(self, log: OrderLog) -> None:
        """Make the log end with the last transaction that began."""
        last = log.last
        if last is None:
            return
        if last.hart == len(self._pages):
            self._write_from_outside(last.address, last.size, last.after)
        elif last.request != self._answered[last.hart]:
            log.drop_last()

    def _track_everything(self) -> None:
        for page in range(len(self._page_map)):
            self._page_map[page] |= PageState.TRACKED
        tracked = array("Q", [_TRACKED]) * 512
        for start in range(0, len(self._granules), len(tracked)):
            stop = min(start + len(tracked), len(self._granules))
            self._granules[start:stop] = memoryview(tracked)[: stop - start]

    # Requests

    def handle(self, hart: int, request: list[int]) -> None:
        """Execute a transaction, or put it off until its granules are tracked."""
        if request[1] == self._answered[hart]:
            self._answer_again(hart)
            return
        execute = self._execute.get(request[0])
        try:
            if execute is None:
                raise Refused(f"{Kind(request[0]).name} is no transaction under serial")
            execute(hart, request)
        except Refused as refused:
            self._context.refuse(hart, request[1], str(refused))

    def _load_reserved(self, hart: int, request: list[int]) -> None:
        _, request_id, address, size, order = request
        offset = self._locate(address, size, _RESERVABLE, order)
        if self._granules[offset >> self._exp] != _TRACKED:
            self._track(offset >> self._exp, hart, request)
            return
        value = self._views[size][offset // size]
        if self._log is not None:
            self._log.append(OrderRecord(hart, request_id, _LR, address, size, order, value, value))
        self._heat.count(hart, AtomicKind.LR, address)
        self._commit(hart, request_id, _LR, address, 0, size, 0, value, 0)
        self._answer(hart, request_id, value)

    def _store_conditional(self, hart: int, request: list[int]) -> None:
        _, request_id, address, size, value, order = request
        offset = self._locate(address, size, _RESERVABLE, order, value)
        if self._granules[offset >> self._exp] != _TRACKED:
            self._track(offset >> self._exp, hart, request)
            return
        failure = self._sc_failure(hart, address, size, offset >> self._exp)
        if self._log is not None:
            old = self._views[size][offset // size]
            self._log.append(
                OrderRecord(
                    hart, request_id, _SC, address, size, order, old, old if failure else value, failure
                )
            )
        self._heat.count(hart, AtomicKind.SC, address)
        self._commit(hart, request_id, _SC, address, 0 if failure else size, value, 0, failure, 0)
        self._answer(hart, request_id, failure)

    def _amo(self, hart: int, request: list[int]) -> None:
        _, request_id, op, address, size, operand, order = request
        offset = self._locate(address, size, _PLAIN, order, operand)
        if op > _LAST_OP:
            raise Refused(f"AMO operation {op} is not one of 0 to {_LAST_OP}")
        if self._granules[offset >> self._exp] != _TRACKED:
            self._track(offset >> self._exp, hart, request)
            return
        old = self._views[size][offset // size]
        new = combine(_OPERATIONS[op], old, operand, size)
        if self._log is not None:
            self._log.append(OrderRecord(hart, request_id, _AMO, address, size, order, old, new))
        self._heat.count(hart, _HEAT_AMO, address)
        self._commit(hart, request_id, _AMO, address, size, new, 0, old, 0)
        self._answer(hart, request_id, old)

    def _compare_and_swap(self, hart: int, request: list[int]) -> None:
        _, request_id, address, size, expected, expected_high, desired, desired_high, order = request
        expected |= expected_high << 64
        desired |= desired_high << 64
        offset = self._locate(address, size, _SWAPPABLE, order, expected | desired)
        # Two granules only for 16 bytes of 8-byte granules.
        for granule in range(offset >> self._exp, (offset + size - 1 >> self._exp) + 1):
            if self._granules[granule] != _TRACKED:
                self._track(granule, hart, request)
                return
        if size == 16:
            words = self._views[8]
            old, old_high = words[offset >> 3], words[(offset >> 3) + 1]
        else:
            old, old_high = self._views[size][offset // size], 0
        before = old | old_high << 64
        matches = before == expected
        if self._log is not None:
            after = desired if matches else before
            self._log.append(OrderRecord(hart, request_id, _CAS, address, size, order, before, after))
        self._heat.count(hart, AtomicKind.CAS, address)
        self._commit(
            hart,
            request_id,
            _CAS,
            address,
            size if matches else 0,
            desired & _MASK,
            desired_high,
            old,
            old_high,
        )
        self._answer(hart, request_id, old, old_high)

    def _store(self, hart: int, request: list[int]) -> None:
        _, request_id, address, size, value, order = request
        offset = self._locate(address, size, _PLAIN, order, value)
        if self._granules[offset >> self._exp] != _TRACKED:
            self._track(offset >> self._exp, hart, request)
            return
        if self._log is not None:
            old = self._views[size][offset // size]
            self._log.append(OrderRecord(hart, request_id, _STORE, address, size, order, old, value))
        self._commit(hart, request_id, _STORE, address, size, value, 0, 0, 0)
        self._answer(hart, request_id)

    def _posted(self, hart: int, request: list[int]) -> None:
        """Several AMOs, of which an earlier bus process may have executed the first ones."""
        last = request[1]
        items = [request[i : i + _POST_FIELDS] for i in range(2, len(request), _POST_FIELDS)]
        if len(items) > min(MOST_POSTED, last):
            raise Refused(f"{len(items)} AMOs in request {last}: at most {min(MOST_POSTED, last)}")
        offsets = [self._locate_posted(*item) for item in items]
        for request_id, offset, (op, address, size, operand, order) in zip(
            range(last - len(items) + 1, last + 1), offsets, items, strict=True
        ):
            if request_id <= self._answered[hart]:
                continue
            old = self._views[size][offset // size]
            new = combine(_OPERATIONS[op], old, operand, size)
            if self._log is not None:
                self._log.append(OrderRecord(hart, request_id, _AMO, address, size, order, old, new))
            self._heat.count(hart, _HEAT_AMO, address)
            self._commit(hart, request_id, _AMO, address, size, new, 0, old, 0)
            self._pages[hart][_POSTED_DONE] = request_id  # before the next one takes its place in the journal
        self._answer(hart, last)

    def _locate_posted(self, op: int, address: int, size: int, operand: int, order: int) -> int:
        offset = self._locate(address, size, _PLAIN, order, operand)
        if op > _LAST_OP:
            raise Refused(f"AMO operation {op} is not one of 0 to {_LAST_OP}")
        if self._granules[offset >> self._exp] != _TRACKED:
            raise Refused(f"{address:#x} is in no tracked granule: that takes a request that is waited for")
        return offset

    def _end_reservation(self, hart: int, request: list[int]) -> None:
        _, request_id, failure = request
        if failure >= len(ScFailure):
            raise Refused(f"cause {failure} is not one of 0 to {len(ScFailure) - 1}")
        self._commit(hart, request_id, _END_RESERVATION, 0, 0, failure, 0, 0, 0)
        self._answer(hart, request_id)

    def _locate(self, address: int, size: int, sizes: tuple[int, ...], order: int, value: int = 0) -> int:
        """The offset in RAM of an access; raises Refused for one that no hart can make."""
        offset = address - self._base
        if size not in sizes:
            raise Refused(f"size {size} is not one of {', '.join(map(str, sizes))}")
        if not 0 <= offset <= self._ram_bytes - size:
            raise Refused(f"{size} bytes at {address:#x} do not lie in RAM")
        if offset & (size - 1):
            raise Refused(f"{address:#x} is not a multiple of {size}")
        if value >> 8 * size:
            raise Refused(f"value {value:#x} has more than {size} bytes")
        if order > _LAST_ORDER:
            raise Refused(f"order {order} is not one of 0 to {_LAST_ORDER}")
        return offset

    def _track(self, granule: int, hart: int, request: list[int]) -> None:
        """Put `request` off until `granule` is tracked, and have that done."""
        self._context.quiescence.rests(hart)
        waiting = self._deferred.get(granule)
        if waiting is not None:
            waiting.append((hart, request))
            return
        self._deferred[granule] = [(hart, request)]
        # Native code asks the page map first, so it is set first: rule 1 holds for it by the same quiescence.
        self._page_map[granule << self._exp >> PAGE_EXP] |= PageState.TRACKED
        self._granules[granule] = _PENDING

        def tracked() -> None:
            self._granules[granule] = _TRACKED
            for waiter, deferred in self._deferred.pop(granule):
                self._context.quiescence.runs(waiter)
                self.handle(waiter, deferred)

        self._context.quiescence.begin(tracked)

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
        """Journal and apply: rule 6. `size` is that of the write, 0 for none."""
        page = self._pages[hart]
        page[_TXN_PHASE] = _EMPTY
        _TRANSACTION.pack_into(
            page, _TXN_OFFSET, request_id, kind, address, size, low, high, result, result_high
        )
        page[_TXN_PHASE] = _INTENT
        self._apply(hart, kind, address, size, low, high)
        page[_TXN_PHASE] = _DONE
        self._header[_TRANSACTIONS] += 1

    def _answer_again(self, hart: int) -> None:
        """Answer from the page what an earlier bus process executed."""
        page = self._pages[hart]
        kind = page[Hart.TXN_KIND]
        values = (page[Hart.TXN_RESULT], page[Hart.TXN_RESULT_HIGH])
        self._answer(hart, page[Hart.TXN_ID], *values[: _RESULTS[kind]])

    # State changes. Each may be repeated after a crash: the outcome does not depend on how far it got before.

    def _apply(self, hart: int, kind: int, address: int, size: int, low: int, high: int) -> None:
        if size:
            offset = address - self._base
            if size == 16:
                self._store_pair(self._ram_address + offset, low, high)
            else:
                self._views[size][offset // size] = low
            if self._reserved:
                self._break(offset, size, _BREAKS[kind], hart)
        if kind == _LR:
            self._reserve(hart, address, low)
        elif kind == _SC:
            self._lose(hart, ScFailure.NO_RESERVATION, hart)
        elif kind == _END_RESERVATION:
            self._lose(hart, low, hart)

    def _break(self, offset: int, size: int, cause: ScFailure, writer: int) -> None:
        """End the reservations that a write touches; `writer` is the number of harts for one from outside."""
        for granule in range(offset >> self._exp, (offset + size - 1 >> self._exp) + 1):
            for hart in tuple(self._reserved.get(granule, ())):
                if hart != writer:
                    self._lose(hart, cause, writer)
                    self._context.reservation_lost(hart)
                elif self._rules.invalidate_on_same_hart_store:
                    self._lose(hart, ScFailure.OWN_STORE, writer)

    def _reserve(self, hart: int, address: int, size: int) -> None:
        self._forget(hart)
        page = self._pages[hart]
        granule = address - self._base >> self._exp
        self._reserved.setdefault(granule, set()).add(hart)
        page[Hart.RESERVATION_ADDRESS] = address
        page[Hart.RESERVATION_SIZE] = size
        page[_RESERVATION] = 1 + granule

    def _lose(self, hart: int, cause: int, by: int) -> None:
        self._forget(hart)
        page = self._pages[hart]
        page[Hart.RESERVATION_LOST] = 1 + cause | by << 8
        page[_RESERVATION] = 0

    def _forget(self, hart: int) -> None:
        reserved = self._pages[hart][_RESERVATION]
        if reserved:
            holders = self._reserved.get(reserved - 1)
            if holders is not None:
                holders.discard(hart)
                if not holders:
                    del self._reserved[reserved - 1]

    def _sc_failure(self, hart: int, address: int, size: int, granule: int) -> int:
        """0 if the SC may write, else 1 + ScFailure | hart << 8."""
        page = self._pages[hart]
        reserved = page[_RESERVATION]
        if not reserved:
            return page[Hart.RESERVATION_LOST] or 1 + ScFailure.NO_RESERVATION | hart << 8
        if reserved - 1 != granule:
            return 1 + ScFailure.GRANULE_MISMATCH | hart << 8
        rules = self._rules
        if rules.require_exact_reservation_addr and (
            page[Hart.RESERVATION_ADDRESS] != address or page[Hart.RESERVATION_SIZE] != size
        ):
            return 1 + ScFailure.ADDRESS_MISMATCH | hart << 8
        if rules.spurious_sc_failure:
            # Decided by which SC of the hart it is: alike in each run, and when the request is repeated.
            attempt = page[_COUNT_SC]
            if random.Random(f"{rules.seed}/{hart}/{attempt}").random() < rules.spurious_sc_failure:
                return 1 + ScFailure.INJECTED | hart << 8
        return 0

    # Housekeeping

    def external_write(self, address: int, size: int, value: int, done: Callable[[], None]) -> None:
        """A write from outside; raises Refused for one that cannot be."""
        offset = self._locate(address, size, _PLAIN, Order.NONE, value)
        if self._log is not None:
            old = self._views[size][offset // size]
            self._log.append(
                OrderRecord(len(self._pages), 0, Kind.EXTERNAL_WRITE, address, size, Order.NONE, old, value)
            )
        self._write_from_outside(address, size, value)
        done()

    def _write_from_outside(self, address: int, size: int, value: int) -> None:
        # Reservations first, so that a crash in between cannot leave one that should be gone.
        offset = address - self._base
        self._break(offset, size, ScFailure.EXTERNAL_WRITE, len(self._pages))
        self._views[size][offset // size] = value

    def holds_reservation(self, hart: int) -> bool:
        """Whether the hart has a valid reservation."""
        return self._pages[hart][_RESERVATION] != 0

    def hart_gone(self, hart: int) -> None:
        """Drop its reservation and whatever it asked for."""
        self._forget(hart)
        self._pages[hart][_RESERVATION] = 0
        for granule, waiting in self._deferred.items():
            self._deferred[granule] = [w for w in waiting if w[0] != hart]

    def statistics(self, addresses: int) -> list[tuple[int, ...]]:
        """See `Arbiter.statistics`."""
        return self._heat.hottest(addresses)


POLICY = Policy(
    name="serial",
    summary="the bus process executes every atomic, one transaction each: one total order",
    correct=True,
    port=SerialPort,
    arbiter=SerialArbiter,
    lowering=SerialLowering,
    total_order=True,
)
