"""`directory`: a hart performs every access itself, while it owns the granule; the bus moves ownership (MSI).

Owns the accesses and the argument; `bus.directory` owns who has what. For counting what coherence costs: every request,
message, recall, transfer, invalidation and hop, by granule and by hart (`bus.traffic`).

How it works
============
Each hart has a byte per granule, NONE, SHARED or MODIFIED (`bus.layout.Ownership`). A load or an LR needs SHARED, any
other access MODIFIED. If the byte says so (a *hit*) the hart makes the access with plain host loads and stores: an AMO
is a load, some arithmetic and a store. If not, it asks the bus by OBTAIN and looks again when that is answered. Between
look and access there is no safepoint and no request. Instruction fetches read RAM directly, as FENCE.I has it.

The bus process alone writes these bytes, and a hart's bytes only while that hart *rests*: while a request of it is open
at the bus, before it has joined, after it has left or died. To get a granule from an owner that runs the bus sends a
recall: it raises RECALLS in the owner's page and rings its doorbell. At its next safepoint the owner sees that, runs
`hold_instructions` more, and sends GIVE_UP; while that is open the bus takes what it asked for. An owner that rests for
another reason is taken from at once. The order in which harts that wait for a granule get it is configuration
(`bus.handover`).

A reservation is RESERVATION in the hart's page, set by LR. The bus clears it when it takes the reserved granule
altogether, not when it only leaves the hart a share.

Why it needs no host atomics and no fences
==========================================
*Lemma 1 (look and access).* A byte does not change between a hart's look at it and the end of the access it allows:
the bus writes it only while the hart rests. That the bus takes a hart for resting although it runs cannot be: it
counts a hart as resting when it takes a request from it, and as running before it answers. The hart has made all
its accesses before it sends, and makes the next one after it has received the answer. A repeated request whose first
sending was answered by a bus process that then died could arrive while the hart already runs; the new bus process
knows it by its id, which the old one wrote into the hart's page before it answered (`bus.server`), and leaves the
hart alone. A dead hart is reported by the coordinator after its process has been waited for.

*Lemma 2 (single writer, many readers).* At each instant, for each granule, at most one byte is MODIFIED and then all
others are NONE. Serving a want, the bus gives a byte only after it has written the others as they must be, one want at
a time for each granule.

*Lemma 3 (no races).* Let two harts make conflicting accesses to a granule, X by hart a, then, in the order of the
ownership that allowed them, Y by hart b. By lemma 2 b was given what Y needed after a had lost what allowed X. a lost
it while it rested, so X happens before its message to the bus, that before the bus's write of a's byte, that before
the bus's answer to b, and that before Y. ZeroMQ and the kernel's sockets synchronise sender and receiver, so this is
happens-before in the host's sense as well. All accesses to guest RAM but instruction fetches are thus free of data
races, and a host that is asked for race-free programs gives sequential consistency: x86-64 (TSO) and AArch64 both do,
with plain loads and stores and whatever order they take within a hart between two messages. Guest accesses therefore
appear in one total order that agrees with each hart's program order: aq, rl and FENCE have nothing left to do, and
RVWMO is kept, being weaker. (LLVM may not move an access over the look that allows it: both are volatile.)

Why the rules of the architecture page hold
===========================================
1. (SC fails if another hart's store lies between.) A store needs MODIFIED, hence every other hart at NONE. A hart with
   a reservation on the granule loses it as its byte becomes NONE, before that byte is written (so also if the bus dies
   between the two). SC writes only if the reservation is there after MODIFIED was obtained. Values play no role.
2. (Every SC ends the reservation.) SC clears RESERVATION whatever it does; the granule is compared first.
3. (Indivisible.) An AMO or SC runs while its hart's byte is MODIFIED, so by lemma 1 and 2 nobody else reads or writes
   the granule meanwhile. AMOCAS.Q over two granules asks for the lower first and looks at both after the answer for the
   higher; while it waits for that the lower is left to it (Claim.SECOND). So it does not lose one waiting for the other
   for ever, and as the one kept is always the lower of an aligned pair, harts never wait for each other in a circle.
4. (One order.) By lemma 3, for all accesses. Counted per granule, not recorded.
5. (Progress.) *A want is answered:* an owner that runs reaches a safepoint and, after `hold_instructions`, gives up; or
   it rests (then it is taken from at once), or stops existing. Under `fifo` each want is served after at most as many
   others as there are harts; under `random` with probability 1. *What was asked for is used:* the hart looks and
   accesses on receipt of the answer, before its next safepoint, so each grant performs an access. *Constrained LR/SC:*
   an SC asks for MODIFIED only while it holds its reservation, and says so (Claim.SC); if the reservation has gone by
   the time that the want is served, nobody loses the granule for it. So if such a want is served by taking the
   granule from others, the SC succeeds: no two harts' loops can fail because of each other without one succeeding. It
   is lost only to an SC that succeeds, to a store or AMO (which the manual's eventuality rule allows for) or to a write
   from outside. LRs and loads take no reservation. The hold is not needed for that; it lets a hart that has found
   itself recalled between LR and SC finish a constrained loop (at most 16 instructions) before it gives up, unless
   the SC itself must ask and so rests. None of this depends on how many harts share a processor: waiting harts sleep.
6. (Death.) A hart holds no lock: it holds bytes, which the bus takes back when the coordinator says that it is dead;
   until then, as for a hart that is stopped, others wait. Data lies in the segment, not with the hart. Each
   aligned access, AMOs included, changes RAM by one host store (16 bytes: one 16-byte store), so it happened or not.
   If the bus dies, its successor learns from the bytes who owns what (`Directory.rebuild`): lemma 2 holds at each
   instant, hence also then. The harts repeat their open requests. A want that was granted but not answered is found
   granted; one that was not is served anew; the bus performs no access for a hart, so none is lost or made twice. The
   one exception is a write from outside, which is made again if it was not answered. Recalls are issued again for
   those repeated requests; that a bell rings for an old one does no harm.
7. (Causes.) The want for which a granule is taken says why: RESERVATION_LOST names the kind of access and the hart.

What it does not model: a cache's capacity (a granule stays until another hart wants it), silent upgrades (the E of
MESI), the network's time.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from bus.access import AmoOp, AtomicKind, MemoryFault, Order, ScFailure, combine
from bus.direct import DirectLoads
from bus.directory import Claim, Directory
from bus.doorbell import wait_unless_rung
from bus.failures import failed
from bus.layout import Hart, Ownership, PageState
from bus.lowering import AccessEmitter, Value, count, hart_word, page_byte, plain_load, plain_store
from bus.messages import Kind
from bus.native import host_atomics
from bus.native_heat import hottest, sample, sampled
from bus.policies import ArbiterContext, Policy, PortContext, Refused, Reservations

_MASK = (1 << 64) - 1
_NONE, _MODIFIED = int(Ownership.NONE), int(Ownership.MODIFIED)
_PLAIN = (1, 2, 4, 8)
_LAST_CLAIM = Claim.SECOND


class DirectoryPort(DirectLoads):
    """A hart's memory port under `directory`."""

    def __init__(self, context: PortContext) -> None:
        """Attach to the VM's memory; the link must have joined."""
        segment = context.segment
        super().__init__(segment.memory, segment.harts[context.hart].view)
        self.support = segment.ownership_address(context.hart)
        self._owned = segment.ownership[context.hart]
        self._views = segment.memory.views
        self._base = segment.memory.base
        self._ram_address = segment.address + segment.geometry.ram_offset
        self._exp = segment.geometry.granule_exp
        self._link = context.link
        self._hart = context.hart
        self._words = segment.harts[context.hart]
        self._rules = context.reservations
        self._hold = context.handover.hold_instructions
        self._store_pair = host_atomics().store_pair
        self._random = random.Random(f"{context.reservations.seed}/{context.hart}")
        self._giving_up: tuple[int, int] | None = None
        """Recalls that have been seen, and the instruction count at which they are to be answered."""

    # Ownership

    def _share(self, offset: int) -> None:
        """Own the granule at least shared, up to the next request or safepoint."""
        while not self._owned[offset >> self._exp]:
            self._link.call(Kind.OBTAIN, self._base + offset, Claim.LOAD)

    def _own(self, offset: int, claim: Claim) -> None:
        """Own the granule alone, up to the next request or safepoint."""
        while self._owned[offset >> self._exp] != _MODIFIED:
            self._link.call(Kind.OBTAIN, self._base + offset, claim)

    def _own_pair(self, offset: int) -> None:
        """Own 16 bytes alone: one granule, or two."""
        first, second = offset >> self._exp, offset + 8 >> self._exp
        while self._owned[first] != _MODIFIED or self._owned[second] != _MODIFIED:
            self._own(offset, Claim.AMO)
            if first != second and self._owned[second] != _MODIFIED:
                self._link.call(Kind.OBTAIN, self._base + offset + 8, Claim.SECOND)

    def answer_recalls(self, instret: int) -> int:
        """Give up what other harts want; see `MemoryPort.answer_recalls`."""
        page = self._page
        while True:
            if self._giving_up is None:
                if page[Hart.RECALLS] == page[Hart.RECALLS_DONE]:
                    return 0
                self._giving_up = page[Hart.RECALLS], instret + self._hold
            recalls, due = self._giving_up
            if instret < due:
                return due - instret
            self._giving_up = None
            if page[Hart.RECALLS_DONE] < recalls:
                self._link.call(Kind.GIVE_UP, recalls)

    # Accesses

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """One host load of a granule that the hart shares or owns; byte by byte where it is misaligned."""
        if order:
            self._memory.aligned_offset(address, size)
            self._page[Hart.ATOMICS + AtomicKind.LOAD_ACQUIRE] += 1
        offset = self._memory.offset(address, size)
        if offset & (size - 1):
            return int.from_bytes(bytes(self.load(address + i, 1) for i in range(size)), "little")
        if not self._owned[offset >> self._exp]:
            self._share(offset)
        value: int = self._views[size][offset // size]
        return value

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """One host store to a granule that the hart owns; byte by byte where it is misaligned."""
        if order:
            self._memory.aligned_offset(address, size)
            self._page[Hart.ATOMICS + AtomicKind.STORE_RELEASE] += 1
        offset = self._memory.offset(address, size)
        if offset & (size - 1):
            for i in range(size):
                self.store(address + i, 1, value >> 8 * i)
            return
        self._own(offset, Claim.STORE)
        self._write(offset, size, value)

    def _write(self, offset: int, size: int, value: int) -> None:
        self._views[size][offset // size] = value & (1 << 8 * size) - 1
        if self._rules.invalidate_on_same_hart_store:
            self._end_own(offset, size)

    def _end_own(self, offset: int, size: int) -> None:
        if offset >> self._exp <= self._page[Hart.RESERVATION] - 1 <= offset + size - 1 >> self._exp:
            self._lose(ScFailure.OWN_STORE)

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """A load that leaves a reservation."""
        offset = self._memory.aligned_offset(address, size)
        page = self._page
        sample(self._words, AtomicKind.LR, offset)
        self._share(offset)
        page[Hart.RESERVATION_ADDRESS] = offset
        page[Hart.RESERVATION_SIZE] = size
        page[Hart.RESERVATION] = 1 + (offset >> self._exp)
        value: int = self._views[size][offset // size]
        return value

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """A store, if the reservation is there once the granule is owned."""
        offset = self._memory.aligned_offset(address, size)
        page = self._page
        sample(self._words, AtomicKind.SC, offset)
        failure = self._sc_failure(offset, size)
        if failure is None and self._owned[offset >> self._exp] != _MODIFIED:
            self._link.call(Kind.OBTAIN, address, Claim.SC)
            if not page[Hart.RESERVATION]:
                failure = self._why_lost()
        self._lose(ScFailure.NO_RESERVATION)
        if failure is not None:
            failed(self._words, failure, offset >> self._exp)
            return False
        self._views[size][offset // size] = value & (1 << 8 * size) - 1
        return True

    def _sc_failure(self, offset: int, size: int) -> int | None:
        """Why the SC fails as things are, or None."""
        page, rules = self._page, self._rules
        if not page[Hart.RESERVATION]:
            return self._why_lost()
        if page[Hart.RESERVATION] != 1 + (offset >> self._exp):
            return ScFailure.GRANULE_MISMATCH
        same = page[Hart.RESERVATION_ADDRESS] == offset and page[Hart.RESERVATION_SIZE] == size
        if rules.require_exact_reservation_addr and not same:
            return ScFailure.ADDRESS_MISMATCH
        if rules.spurious_sc_failure and self._random.random() < rules.spurious_sc_failure:
            return ScFailure.INJECTED
        return None

    def _why_lost(self) -> int:
        lost: int = self._page[Hart.RESERVATION_LOST]
        return (lost & 0xFF) - 1 if lost else ScFailure.NO_RESERVATION

    def _lose(self, cause: ScFailure) -> None:
        self._page[Hart.RESERVATION_LOST] = 1 + cause | self._hart << 8
        self._page[Hart.RESERVATION] = 0

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """A load and a store of a granule that nobody else may touch meanwhile."""
        offset = self._memory.aligned_offset(address, size)
        sample(self._words, AtomicKind.AMO, offset)
        self._own(offset, Claim.AMO)
        old: int = self._views[size][offset // size]
        self._write(offset, size, combine(op, old, operand, size))
        return old

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """Likewise; a granule is owned for it whether it matches or not."""
        offset = self._memory.aligned_offset(address, size)
        sample(self._words, AtomicKind.CAS, offset)
        if size == 16:
            return self._compare_and_swap_pair(offset, expected, desired)
        self._own(offset, Claim.AMO)
        old: int = self._views[size][offset // size]
        if old == expected & (1 << 8 * size) - 1:
            self._write(offset, size, desired)
        return old

    def _compare_and_swap_pair(self, offset: int, expected: int, desired: int) -> int:
        self._own_pair(offset)
        words = self._views[8]
        old: int = words[offset >> 3] | words[(offset >> 3) + 1] << 64
        if old == expected & (1 << 128) - 1:
            self._store_pair(self._ram_address + offset, desired & _MASK, desired >> 64 & _MASK)
            if self._rules.invalidate_on_same_hart_store:
                self._end_own(offset, 16)
        return old

    # The rest

    def wait_on_reservation(self, timeout_s: float | None) -> None:
        """Wait at the bus, which knows when the reservation is lost."""
        if self._page[Hart.RESERVATION]:
            wait_unless_rung(self._words, self._hart, self._link, timeout_s, reservation=True)

    def forget_fused(self) -> None:
        """Nothing is fused here."""

    def end_reservation(self, trap: bool) -> None:
        """The reservation is the hart's own to end."""
        if (self._rules.invalidate_on_trap or not trap) and self._page[Hart.RESERVATION]:
            self._lose(ScFailure.TRAP)


class DirectoryArbiter:
    """The bus process's half: messages to and from the directory."""

    def __init__(self, context: ArbiterContext) -> None:
        """Take over the segment as it is: new, or left behind by a bus process that died."""
        segment = context.segment
        self._context = context
        self._memory = segment.memory
        self._exp = segment.geometry.granule_exp
        self._harts = segment.harts
        self._pages = tuple(hart.view for hart in segment.harts)
        quiescence = context.quiescence
        self._directory = Directory(
            segment, context.handover, quiescence.is_running, context.reservation_lost
        )
        if any(page[Hart.JOINED] or page[Hart.STARTED] for page in self._pages):
            self._directory.rebuild()
        for hart, page in enumerate(self._pages):
            if page[Hart.STARTED] and not page[Hart.JOINED]:
                self._directory.gone(hart)
        quiescence.rested = self._directory.rested

    def handle(self, hart: int, request: list[int]) -> None:
        """OBTAIN and GIVE_UP; everything else is the harts' own."""
        kind, request_id = request[0], request[1]
        if kind == Kind.GIVE_UP:
            self._directory.given_up(hart, request[2])
            self._context.answer(hart, request_id)
        elif kind == Kind.OBTAIN:
            try:
                self._obtain(hart, request_id, request[2], request[3])
            except Refused as refused:
                self._context.refuse(hart, request_id, str(refused))
        else:
            self._context.refuse(
                hart, request_id, f"{Kind(kind).name}: harts do this themselves under directory"
            )

    def _obtain(self, hart: int, request_id: int, address: int, claim: int) -> None:
        if claim > _LAST_CLAIM:
            raise Refused(f"claim {claim} is not one of 0 to {int(_LAST_CLAIM)}")
        granule = self._granule(address, 1)
        if claim == Claim.SECOND:
            if not granule & 1:
                raise Refused(f"{address:#x} lies in no second granule of a pair")
            self._directory.keep(hart, granule - 1)
        self._context.quiescence.rests(hart)

        def granted() -> None:
            self._context.quiescence.runs(hart)
            self._context.answer(hart, request_id)

        self._directory.want(hart, granule, Claim(claim), granted)

    def _granule(self, address: int, size: int) -> int:
        try:
            return self._memory.aligned_offset(address, size) >> self._exp
        except MemoryFault as fault:
            raise Refused(str(fault)) from None

    def external_write(self, address: int, size: int, value: int, done: Callable[[], None]) -> None:
        """A write by someone who owns the granule for that moment."""
        if size not in _PLAIN:
            raise Refused(f"size {size} is not one of {', '.join(map(str, _PLAIN))}")

        def granted() -> None:
            self._memory.store(address, size, value)
            done()

        self._directory.want(len(self._pages), self._granule(address, size), Claim.OUTSIDE, granted)

    def holds_reservation(self, hart: int) -> bool:
        """Whether the hart has a valid reservation."""
        return bool(self._pages[hart][Hart.RESERVATION])

    def hart_gone(self, hart: int) -> None:
        """Take back what it owned: rule 6."""
        self._context.quiescence.rests(hart)
        self._directory.gone(hart)

    def statistics(self, addresses: int) -> list[tuple[int, ...]]:
        """From the samples in the harts' pages; and the traffic of the busiest granules."""
        atomics = hottest(self._harts, self._memory.base, addresses)
        return atomics + self._directory.counts.busiest(addresses)


class DirectoryLowering:
    """Hits are native; misses, failing SCs and what spans granules are the port's. `%support` is the hart's bytes."""

    stores_freely = False

    def __init__(self, reservations: Reservations) -> None:
        """Code depends on how reservations behave."""
        self._rules = reservations
        self._exp = reservations.reservation_set_size_exp

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """A plain load, of a granule that is at least shared."""
        self._must_be_aligned(e, offset, size)
        self._must_share(e, offset)
        if order:
            count(e, AtomicKind.LOAD_ACQUIRE)
        return plain_load(e, offset, size, Order.NONE)

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """A plain store, to a granule that is the hart's own."""
        self._must_be_aligned(e, offset, size)
        self._must_own(e, offset)
        self._must_not_end(e, offset)
        if order:
            count(e, AtomicKind.STORE_RELEASE)
        plain_store(e, offset, size, value, Order.NONE)
        return True

    def amo(
        self, e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str, order: Order
    ) -> str | None:
        """A load and a store."""
        self._must_own(e, offset)
        self._must_not_end(e, offset)
        sampled(e, AtomicKind.AMO, offset)
        old = plain_load(e, offset, size, Order.NONE)
        plain_store(e, offset, size, _combined(e, op, old, operand, 8 * size), Order.NONE)
        return old

    def compare_and_swap(
        self, e: AccessEmitter, offset: Value, size: int, expected: str, desired: str, order: Order
    ) -> str | None:
        """A load, and a store of what was there or what shall be: nobody can tell the former from none."""
        if size == 16:
            return None
        self._must_own(e, offset)
        self._must_not_end(e, offset)
        sampled(e, AtomicKind.CAS, offset)
        old = plain_load(e, offset, size, Order.NONE)
        matches = e.value(f"icmp eq i{8 * size} {old}, {expected}")
        new = e.value(f"select i1 {matches}, i{8 * size} {desired}, i{8 * size} {old}")
        plain_store(e, offset, size, new, Order.NONE)
        return old

    def fence(self, e: AccessEmitter, full: bool) -> None:
        """Nothing to order: lemma 3. (LLVM moves no access over another, for they are volatile.)"""

    def spin(self, e: AccessEmitter, offset: Value, waits: str) -> None:
        """The port's."""

    def load_reserved(
        self, e: AccessEmitter, offset: Value, size: int, order: Order, fused: str | None
    ) -> str | None:
        """A load, and the reservation in the hart's page."""
        self._must_not_be_watched(e, offset)
        self._must_share(e, offset)
        sampled(e, AtomicKind.LR, offset)
        for word, value in (
            (Hart.RESERVATION_ADDRESS, str(offset)),
            (Hart.RESERVATION_SIZE, str(size)),
            (Hart.RESERVATION, self._reserved(e, offset)),
        ):
            e.line(f"store i64 {value}, ptr {hart_word(e, word)}")
        return plain_load(e, offset, size, Order.NONE)

    def store_conditional(
        self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order, fused: str | None
    ) -> str | None:
        """The SC that succeeds."""
        if self._rules.spurious_sc_failure:
            return None
        self._must_own(e, offset)
        reserved = e.value(f"load i64, ptr {hart_word(e, Hart.RESERVATION)}")
        e.unless(e.value(f"icmp ne i64 {reserved}, {self._reserved(e, offset)}"))
        if self._rules.require_exact_reservation_addr:
            for word, same in ((Hart.RESERVATION_ADDRESS, offset), (Hart.RESERVATION_SIZE, size)):
                seen = e.value(f"load i64, ptr {hart_word(e, word)}")
                e.unless(e.value(f"icmp ne i64 {seen}, {same}"))
        sampled(e, AtomicKind.SC, offset)
        e.line(f"store i64 0, ptr {hart_word(e, Hart.RESERVATION_LOST)}")
        e.line(f"store i64 0, ptr {hart_word(e, Hart.RESERVATION)}")
        plain_store(e, offset, size, value, Order.NONE)
        return "false"

    def _must_be_aligned(self, e: AccessEmitter, offset: Value, size: int) -> None:
        """Leave what may lie in two granules to the port."""
        if not isinstance(offset, int) and size > 1:
            e.unless(e.value(f"icmp ne i64 {e.value(f'and i64 {offset}, {size - 1}')}, 0"))

    def _granule(self, e: AccessEmitter, offset: Value) -> Value:
        return offset >> self._exp if isinstance(offset, int) else e.value(f"lshr i64 {offset}, {self._exp}")

    def _byte(self, e: AccessEmitter, offset: Value) -> str:
        pointer = e.value(f"getelementptr i8, ptr %support, i64 {self._granule(e, offset)}")
        return e.value(f"load atomic volatile i8, ptr {pointer} monotonic, align 1")

    def _must_share(self, e: AccessEmitter, offset: Value) -> None:
        e.unless(e.value(f"icmp eq i8 {self._byte(e, offset)}, {_NONE}"))

    def _must_not_be_watched(self, e: AccessEmitter, offset: Value) -> None:
        watched = e.value(f"and i8 {page_byte(e, offset)}, {int(PageState.WATCHED)}")
        e.unless(e.value(f"icmp ne i8 {watched}, 0"))

    def _must_own(self, e: AccessEmitter, offset: Value) -> None:
        """Own it, as a place where native code may store."""
        self._must_not_be_watched(e, offset)
        e.unless(e.value(f"icmp ne i8 {self._byte(e, offset)}, {_MODIFIED}"))

    def _reserved(self, e: AccessEmitter, offset: Value) -> str:
        """What RESERVATION is where the granule of `offset` is reserved."""
        return e.value(f"add i64 {self._granule(e, offset)}, 1")

    def _must_not_end(self, e: AccessEmitter, offset: Value) -> None:
        """Leave a store that ends the hart's own reservation to the port, where stores do."""
        if self._rules.invalidate_on_same_hart_store:
            reserved = e.value(f"load i64, ptr {hart_word(e, Hart.RESERVATION)}")
            e.unless(e.value(f"icmp eq i64 {reserved}, {self._reserved(e, offset)}"))


_INSTRUCTIONS = {AmoOp.ADD: "add", AmoOp.XOR: "xor", AmoOp.AND: "and", AmoOp.OR: "or"}
_CHOICES = {AmoOp.MIN: "slt", AmoOp.MAX: "sgt", AmoOp.MINU: "ult", AmoOp.MAXU: "ugt"}


def _combined(e: AccessEmitter, op: AmoOp, old: str, operand: str, bits: int) -> str:
    """What the AMO stores; `bus.access.combine` in IR."""
    if op is AmoOp.SWAP:
        return operand
    if op in _INSTRUCTIONS:
        return e.value(f"{_INSTRUCTIONS[op]} i{bits} {old}, {operand}")
    stays = e.value(f"icmp {_CHOICES[op]} i{bits} {old}, {operand}")
    return e.value(f"select i1 {stays}, i{bits} {old}, i{bits} {operand}")


POLICY = Policy(
    name="directory",
    summary="harts perform accesses while they own the granule; the bus moves ownership and counts what that costs",
    correct=True,
    port=DirectoryPort,
    arbiter=DirectoryArbiter,
    lowering=DirectoryLowering,
    owned=True,
)
