"""`inline`: the hart's own native code performs every atomic, with host atomics; the bus arbitrates what that cannot.

Owns the fast paths, and the argument that they keep the rules. For full speed.

How it works
============
*Untracked pages* (page-map byte 0): stores are plain host stores and AMOs single host atomics, behind one test of
the byte; compiled code tests the bytes of a whole stretch of pages once, when it is entered, and then only whether a
store lies in that stretch, which is its bounds check as well (`hart.jit.engine`). An LR/SC pair with nothing but
register arithmetic and forward exits between is *fused*: LR is a load that remembers its value, SC is one host
compare-and-swap from that value.

*Tracked pages*: each granule has a word `version | writers | waiters | lock` (`bus.granule`); versions are compared
without the waiters bit.

- A store, AMO or AMOCAS *enters* as a shared writer: one fetch-and-add that raises version and writers together. If
  it finds the lock it waits for the SC to finish (bounded; else it backs out). It acts, and *leaves*: writers falls.
- LR waits for a word with no writer and no lock, reads the data, and sees that the word is still the same: its
  reservation is that word.
- SC is a compare-and-swap of the word from its reservation to the same with lock; if that succeeds it stores, and
  releases with an addition that raises the version and drops the lock.

A page becomes tracked at the first LR on it that is not fused: the hart asks the bus, which sets TRACKED and PENDING,
waits for quiescence (`bus.quiescence`) and clears PENDING. While PENDING, stores already use the word, LRs wait, and an
SC fails, for there is no reservation. A page that is tracked only so that harts can park there (see below) is *given
back* after some time, soon if nobody parks there any more: the bus sets PENDING, waits for quiescence, raises the
version of each of its granules, wakes all that are parked there, and clears the byte; unless an LR has asked for it
meanwhile, for what LRs use stays tracked.

*Waiting* is done in the kernel, on the granule's word (`bus.parking`, with the argument that no wake-up is lost). WRS
sleeps until the word is no longer its reservation, the doorbell rings or its time has passed. A retry loop
(`hart.isa.retry`) spins for a budget of rounds, which is small where more harts run than there are processors, then the
hart gives way, and so on; if that was in vain YIELDS times, it has the page tracked, so that every write passes the
word. From then on it sleeps until the next one, if giving way some more is in vain. The kernel wakes those that spin
first come, first served, one for each change, and it the next if the change was not for it: that is the fair queue.
Measured with an MCS lock, 64 processes on two busy cores: `sched_yield` takes 80 to 380 us an operation, futex(2) 8 to
14, and a round trip to the bus, of which its own queue would need two, some 60; with 4 processes giving way is better
(1.5 us against 6 to 20). So it is where the next owner may be anybody (test-and-set, LR/SC), for the one that runs goes
on without a system call: hence the yields, and hence pages are given back, for there a word costs more than it brings
(a test-and-set lock is 4 times as fast without). A hart whose SC on a word another one broke rests for a moment
(RETREAT).

Why the rules of the architecture page hold
===========================================
On x86-64 host atomics are full barriers, loads and stores are TSO; on AArch64 read-modify-writes are acquire and
release, the loads in LR acquire, the stores in SC and in writers release, and the barrier that `bus.lowering`'s table
asks for follows those with aq. Let W be a write by another hart.

1. *Tracked.* W enters before it acts, and entering changes the word for good (versions only grow; 48 bits do not wrap
   in practice: a write per nanosecond takes three days, and a wrap must hit within one LR/SC). If W entered before LR's
   first look at the word, LR waited until it left, so W is ordered before LR's read. If W entered after the look, then
   either LR's second look sees it and LR repeats, or W entered after LR read, and SC's compare fails whenever W
   entered before it. If W enters after SC's compare it finds the lock and acts after SC's store (the release is
   ordered after that store). So no W acts between LR's read and a successful SC. Values play no role.
   W cannot have been decided while the page was untracked: LR ran after quiescence, and the test (of the byte, or of
   the stretch) and the store have no safepoint between them.
   *Given back.* An SC that found TRACKED is over, lock and all, before quiescence (so is the SC of a fused pair in
   native code whose LR did: no safepoint lies between); one that looks later finds PENDING, or no tracking, and fails.
   So none is between its check and its store when the first hart stores without the word. A reservation of before
   fails for good: the page is untracked, or, should it be tracked again, its version is past, whatever was written
   meanwhile. New ones are made only where the page is TRACKED and not PENDING.
   *Fused.* The SC's compare-and-swap is one instant; if the value equals the one LR read, LR could as well have
   read it at that instant: nothing between LR and SC looks at memory or at anything that other harts change, so no
   execution can tell. Then nothing lies between, whatever happened before: A -> B -> A is harmless. If the page
   has become tracked since, SC fails (PAGE_TRANSITION), because a host compare-and-swap would not be seen by words.
   In the interpreter "nothing between" is checked as it runs: any memory access, fence or trap of the hart ends a
   fused reservation. In native code it is proved from the instructions' effects before (`hart.isa.window`).
2. SC clears RESERVATION in the hart's page before anything else; a fused LR clears it too, so that an earlier
   reservation never outlives a later LR. The granule is compared before the word.
3. Untracked: AMO, AMOCAS and fused SC are single host atomics on the data. Tracked: AMOs are host atomics on the data
   as well, so they are indivisible against the other writers' stores; SC holds the lock, with no writer inside.
   A page in transition has both kinds of writers, and neither needs the word to be indivisible against the other;
   LR and SC, which do, wait until the transition is over.
4. Each write is one host store or atomic to its bytes: the host's coherence order is the order. For tracked granules
   it agrees with the order of versions as far as SCs are concerned.
5. An SC fails only if some hart entered or took the lock since its LR, or changed the value: a store or another SC
   got through, or an AMOCAS that matched when it looked; or because its page was given back, which happens at most once
   in LOOK_S, and never to one for which an LR has asked. LR, loads, failed SCs and waiting change no version. Waiting
   for a holder is bounded everywhere and then yields the host's processor, so with more harts than cores a descheduled
   holder runs. A hart that parks gives its processor away, and takes part in nothing until it is woken.
6. A fused SC and an untracked AMO are one host instruction: done or not. On tracked pages the hart's page names, from
   before it enters until after it leaves, the granule it may hold (HELD). When a hart dies, the bus freezes the
   page: it sets FROZEN and waits for quiescence. No live hart is then inside a word of the page, and none gets in:
   each leaves the access to the interpreter, whose port waits at the bus. So the word's writers and lock are the dead
   hart's: the bus clears them and raises the version, which at worst fails an SC. The one store of the dead hart's
   write is done or not. Then it wakes all that are parked on the word, for the dead hart may have died before it did;
   its own place in the kernel's queue is gone.
   Waiting for a lock never blocks this: after its bounded wait a writer backs out and passes a safepoint.
   If the bus dies, its successor finds TRACKED, PENDING and FROZEN in the page map and the dead harts' HELD, and does
   those steps again; they do not depend on how far they got. A page that was being given back it tracks for good; a
   frozen one that no dead hart holds any more it frees.
7. A failed SC counts its cause, with its pc and granule (`bus.failures`): the writer table says what kind of write came
   last; a fused one knows only that the value has changed.

Published alternatives: comparing values alone (QEMU) breaks rule 1; a table of store tests or last writers, hashed
(Kristien et al., CGO 2021) costs each store a write; page protection costs a fault and stops the world for each LR.
Here an untracked store in the stretch pays nothing, another a test of a byte that stays in the first-level cache, and
most programs, whose LR/SC pairs all fuse, never track a page.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from bus.access import AmoOp, AtomicKind, MemoryFault, Order, ScFailure
from bus.direct import DirectLoads
from bus.failures import failed
from bus.granule import LOCK, SUPPORT, VERSION, WRITER, WRITERS, YIELDS, support_ir
from bus.inline_lowering import InlineLowering
from bus.layout import PAGE_EXP, Doorbell, Hart, PageState
from bus.link import BusLost
from bus.lowering import TSO_HOST
from bus.messages import Kind
from bus.native import host_atomics
from bus.native_heat import compile_sample, hottest, sample
from bus.parking import ON_RESERVATION, WAITERS, parking
from bus.policies import ArbiterContext, Policy, PortContext, Refused, Reservations
from bus.standalone import RESULT, StandaloneFunctions

LOOK_S = 0.05
"""Time between two looks whether harts still park at a page that is tracked for them alone."""
MOST_LOOKS = 600
"""How many looks such a page stays tracked at most, while harts park there."""
MOST_EMPTY_LOOKS = 20
"""After how many looks in a row that find nobody it is given back at the latest."""
AGAIN_S = 1.0
"""If it is to be tracked again so soon, it was given back too early: then it stays tracked for twice as many looks."""
_MASK = (1 << 64) - 1


@cache
def _functions(rules: Reservations) -> StandaloneFunctions:
    support = support_ir(
        rules.reservation_set_size_exp,
        own_store_breaks=rules.invalidate_on_same_hart_store,
        exact=rules.require_exact_reservation_addr,
    )
    # The port injects failures itself.
    lowering = InlineLowering(replace(rules, spurious_sc_failure=0.0), watching=False)
    return StandaloneFunctions(lowering, support, SUPPORT)


def preload() -> None:
    """Compile what ports with default rules need, so that forked harts find it ready."""
    _functions(Reservations())
    compile_sample()


class InlinePort(DirectLoads):
    """A hart's memory port under `inline`."""

    def __init__(self, context: PortContext) -> None:
        """Attach to the VM's memory; the link must have joined."""
        segment = context.segment
        super().__init__(segment.memory, segment.harts[context.hart].view)
        self._base = segment.memory.base
        self._page_map = segment.page_map
        self._granules = segment.granules
        self._exp = segment.geometry.granule_exp
        self._link = context.link
        self._hart = context.hart
        self._rules = context.reservations
        functions = _functions(replace(context.reservations, seed=0))
        self.support = functions.support
        self._call = functions.by_name
        self._words = functions.context(segment, context.hart)
        self._at = ctypes.addressof(self._words)
        self._fused: tuple[int, int, int] | None = None
        """Address, size and value of a fused LR whose SC may follow."""
        self._own = segment.harts[context.hart]
        self._park, self._pass_on = parking().park, parking().pass_on
        self._random = random.Random(f"{context.reservations.seed}/{context.hart}")

    def forget_fused(self) -> None:
        """See `MemoryPort.forget_fused`; the hart enters native code, and passes on a baton that it still has."""
        if self._page[Hart.BATON]:
            self._pass_on(self._own.address(0), self._granules.address(0))
        if self._fused is not None:
            self._lose_fused(ScFailure.TIER_CHANGE)

    def _lose_fused(self, cause: ScFailure) -> None:
        self._fused = None
        self._page[Hart.RESERVATION_LOST] = 1 + cause

    # Accesses

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """See `DirectLoads.load`."""
        self._fused = None
        return super().load(address, size, order)

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """Write directly, or as a shared writer."""
        self._fused = None
        if order:
            self._memory.aligned_offset(address, size)
            self._page[Hart.ATOMICS + AtomicKind.STORE_RELEASE] += 1
            self._fence()
        offset = self._memory.offset(address, size)
        pages = self._page_map
        tracking = PageState.TRACKED | PageState.FROZEN
        if not (pages[offset >> PAGE_EXP] | pages[offset + size - 1 >> PAGE_EXP]) & tracking:
            self._memory.store(address, size, value)
        elif offset & (size - 1):
            for i in range(size):  # a misaligned store need not be atomic
                self._do(offset + i, "store1", value >> 8 * i & 0xFF)
        else:
            self._do(offset, f"store{size}", value & _MASK)
        if order:
            self._fence()

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """LR: fused if the instructions after it allow, else by the granule's word."""
        offset = self._memory.aligned_offset(address, size)
        self._fused = None
        if order & Order.RL:
            self._fence()
        if fusable and not self._page_map[offset >> PAGE_EXP] & ~PageState.WATCHED:
            value = self._memory.load(address, size)
            self._fence()
            self._page[Hart.RESERVATION] = 0
            self._page[Hart.RESERVATION_LOST] = 0
            sample(self._own, AtomicKind.LR, offset)
            self._fused = (address, size, value)
            return value
        if self._page_map[offset >> PAGE_EXP] & ~PageState.WATCHED != PageState.TRACKED:
            self._link.call(Kind.TRACK, address, 0)
        return self._do(offset, f"lr{size}")

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """SC: one compare-and-swap, of the data or of the word."""
        offset = self._memory.aligned_offset(address, size)
        fused, self._fused = self._fused, None
        probability = self._rules.spurious_sc_failure
        if probability and self._random.random() < probability:
            self._page[Hart.RESERVATION] = 0
            sample(self._own, AtomicKind.SC, offset)
            failed(self._own, ScFailure.INJECTED, offset >> self._exp)
            return False
        if fused is not None and fused[:2] == (address, size):
            lost = self._do(offset, f"fused{size}", value & _MASK, fused[2], order=order)
            return not lost
        reserved = self._page[Hart.RESERVATION]
        state = self._page_map[offset >> PAGE_EXP]
        if not reserved or not state & PageState.TRACKED or state & PageState.PENDING:
            # A reservation, if there is one, lies on another page, or it was lost when this one stopped being tracked.
            self._page[Hart.RESERVATION] = 0
            sample(self._own, AtomicKind.SC, offset)
            lost = self._page[Hart.RESERVATION_LOST]
            self._page[Hart.RESERVATION_LOST] = 0
            if reserved == 1 + (offset >> self._exp):
                elsewhere = ScFailure.PAGE_TRANSITION
            else:
                elsewhere = ScFailure.GRANULE_MISMATCH if reserved or fused else ScFailure.NO_RESERVATION
            failed(self._own, lost - 1 if lost else elsewhere, offset >> self._exp)
            return False
        return not self._do(offset, f"sc{size}", value & _MASK, order=order)

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """One host atomic."""
        offset = self._memory.aligned_offset(address, size)
        self._fused = None
        return self._do(offset, f"amo{int(op)}.{size}", operand & _MASK, order=order)

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """One host compare-and-swap."""
        offset = self._memory.aligned_offset(address, size)
        self._fused = None
        low = self._do(
            offset,
            f"cas{size}",
            expected & _MASK,
            expected >> 64 & _MASK,
            desired & _MASK,
            desired >> 64 & _MASK,
            order=order,
        )
        return low | self._words[RESULT + 1] << 64 if size == 16 else low

    def _do(self, offset: int, name: str, *operands: int, order: Order = Order.NONE) -> int:
        """Perform an access, waiting as long as its page is frozen or in transition, or its word is held."""
        function = self._call[name]
        a, b, c, d = (*operands, 0, 0, 0, 0)[:4]
        while function(self._at, offset, a, b, c, d):
            if self._page_map[offset >> PAGE_EXP] & (PageState.FROZEN | PageState.PENDING):
                self._link.call(Kind.TRACK, self._base + offset, 0)
                continue
            if self._page[Hart.DOORBELL] & Doorbell.STOP:
                raise BusLost("stopped while another hart holds the granule")
            os.sched_yield()
        if order & Order.AQ and not TSO_HOST:
            self._fence()  # as in `bus.inline_lowering`
        return self._words[RESULT]

    # The rest

    def fence(self, predecessor: int, successor: int) -> None:
        """See `DirectLoads.fence`."""
        self._fused = None
        super().fence(predecessor, successor)

    def wait_on_reservation(self, timeout_s: float | None) -> None:
        """Park until the granule's word changes or the doorbell rings."""
        held = self._page[Hart.RESERVATION]
        if not held or self._page_map[held - 1 << self._exp >> PAGE_EXP] & PageState.FROZEN:
            return
        deadline = 0 if timeout_s is None else time.monotonic_ns() + max(1, int(timeout_s * 1e9))
        word = self._granules.address(held - 1)
        self._park(
            self._own.address(0), word, held, self._page[Hart.RESERVATION_VERSION], deadline, ON_RESERVATION
        )

    def spin(self, address: int, waits: int) -> None:
        """Let other harts run; if that does not help, have the page tracked, so that `spin` of `bus.granule` parks."""
        if waits > YIELDS:
            page = self._memory.offset(address, 1) >> PAGE_EXP
            if self._page_map[page] & ~PageState.WATCHED != PageState.TRACKED:
                self._link.call(Kind.TRACK, address, 1)
        os.sched_yield()

    def end_reservation(self, trap: bool) -> None:
        """A fused reservation ends with any trap; another one if it is so configured."""
        if self._fused is not None:
            self._lose_fused(ScFailure.TRAP)
        if (self._rules.invalidate_on_trap or not trap) and self._page[Hart.RESERVATION]:
            self._page[Hart.RESERVATION] = 0
            self._page[Hart.RESERVATION_LOST] = 1 + ScFailure.TRAP


class InlineArbiter:
    """The bus process's half: tracking, and the words of dead harts."""

    def __init__(self, context: ArbiterContext) -> None:
        """Take over the segment as it is: new, or left behind by a bus process that died."""
        segment = context.segment
        self._context = context
        self._memory = segment.memory
        self._page_map = segment.page_map
        self._granules = segment.granules
        self._writers = segment.writers
        self._harts = segment.harts
        self._pages = tuple(hart.view for hart in segment.harts)
        self._exp = segment.geometry.granule_exp
        self._fetch_add = host_atomics().fetch_add
        self._unpark = parking().unpark
        self._waiting: dict[int, dict[int, int]] = {}
        """By page in transition: request id by hart."""
        self._given_back: dict[int, object] = {}
        """Those of the next that have been given back just now."""
        self._for_waiting: dict[int, int] = {}
        """Pages that are tracked, or were last, only so that harts can park there; for how many looks at most."""
        for page, byte in enumerate(self._page_map):
            if byte & PageState.PENDING:
                self._waiting[page] = {}
                self._begin(page)
        for hart, words in enumerate(self._pages):
            if words[Hart.STARTED] and not words[Hart.JOINED]:
                self.hart_gone(hart)
        for page, byte in enumerate(self._page_map):
            if byte & PageState.FROZEN:
                # The earlier process may have freed every word, but died before it did this.
                self._thaw(page)

    def handle(self, hart: int, request: list[int]) -> None:
        """TRACK; everything else is the harts' own."""
        kind, request_id = request[0], request[1]
        if kind != Kind.TRACK:
            self._context.refuse(
                hart, request_id, f"{Kind(kind).name}: harts do this themselves under inline"
            )
            return
        spins = request[3]
        try:
            page = self._memory.offset(request[2], 1) >> PAGE_EXP
        except MemoryFault as fault:
            self._context.refuse(hart, request_id, str(fault))
            return
        if not spins:
            self._for_waiting.pop(page, None)
        self._context.quiescence.rests(hart)
        byte = self._page_map[page]
        if byte & PageState.TRACKED and not byte & (PageState.PENDING | PageState.FROZEN):
            self._answer(hart, request_id)
            return
        starts = page not in self._waiting
        self._waiting.setdefault(page, {})[hart] = request_id
        if starts:
            self._page_map[page] = byte | PageState.TRACKED | PageState.PENDING
            self._begin(page)
            if spins:
                looks = self._for_waiting.get(page, 1)
                if self._given_back.pop(page, None):
                    looks = min(2 * looks, MOST_LOOKS)
                self._for_waiting[page] = looks
                self._untrack_later(page, looks, min(looks, MOST_EMPTY_LOOKS))

    def _begin(self, page: int) -> None:
        def tracked() -> None:
            self._page_map[page] &= ~PageState.PENDING & 0xFF
            self._answer_waiting(page)

        self._context.quiescence.begin(tracked)

    def _untrack_later(self, page: int, looks: int, empty: int) -> None:
        """It is tracked for those that wait alone: for so many looks, or so many in a row that find nobody there.

        That one look finds nobody says little: a hart that any doorbell has woken gives way for a while before it
        parks again. So the numbers grow where a page that was given back is asked for at once.
        """
        self._context.later(LOOK_S, lambda: self._untrack(page, looks - 1, empty - 1))

    def _is_parked_at(self, page: int) -> bool:
        return any(
            words[Hart.PARKED] and words[Hart.PARKED] - 1 << self._exp >> PAGE_EXP == page
            for words in self._pages
            if words[Hart.JOINED]
        )

    def _untrack(self, page: int, looks: int, empty: int) -> None:
        if page not in self._for_waiting:
            return  # there has been an LR that needs it
        if self._page_map[page] & ~PageState.WATCHED != PageState.TRACKED:
            self._untrack_later(page, max(looks, 1), max(empty, 1))  # in transition, or a hart has died there
            return
        if self._is_parked_at(page):
            empty = min(self._for_waiting[page], MOST_EMPTY_LOOKS)
        if looks > 0 and empty > 0:
            self._untrack_later(page, looks, empty)
            return
        self._given_back[page] = now = object()
        self._context.later(AGAIN_S, lambda: self._settle(page, now))
        self._page_map[page] |= PageState.PENDING
        self._waiting[page] = {}

        def untracked() -> None:
            first = page << PAGE_EXP - self._exp
            for granule in range(first, first + (1 << PAGE_EXP - self._exp)):
                word = self._granules.address(granule)
                if self._fetch_add(word, VERSION) & WAITERS:
                    self._unpark(word)
            done = PageState.PENDING
            if page in self._for_waiting and not self._page_map[page] & PageState.FROZEN:
                done |= PageState.TRACKED
            self._page_map[page] &= ~done & 0xFF
            self._answer_waiting(page)

        self._context.quiescence.begin(untracked)

    def _settle(self, page: int, given_back: object) -> None:
        """Unless a page that was given back has been wanted again since, the next time is as the first."""
        if self._given_back.get(page) is given_back:
            del self._given_back[page]
            if page in self._for_waiting:
                self._for_waiting[page] = 1

    def _answer_waiting(self, page: int) -> None:
        if not self._page_map[page] & (PageState.PENDING | PageState.FROZEN):
            for hart, request_id in self._waiting.pop(page, {}).items():
                self._answer(hart, request_id)

    def _answer(self, hart: int, request_id: int) -> None:
        self._context.quiescence.runs(hart)
        self._context.answer(hart, request_id)

    def hart_gone(self, hart: int) -> None:
        """Free what it held: rule 6."""
        words = self._pages[hart]
        words[Hart.RESERVATION] = 0
        for waiting in self._waiting.values():
            waiting.pop(hart, None)
        granules = [words[w] - 1 for w in (Hart.HELD, Hart.HELD_TOO) if words[w]]
        if not granules:
            return
        page = granules[0] << self._exp >> PAGE_EXP
        self._page_map[page] |= PageState.FROZEN
        self._waiting.setdefault(page, {})

        def still() -> None:
            for granule in granules:
                word = self._granules[granule]
                self._granules[granule] = (word & ~(WRITERS | LOCK)) + VERSION
                self._unpark(self._granules.address(granule))
            words[Hart.HELD] = words[Hart.HELD_TOO] = 0
            self._thaw(page)

        self._context.quiescence.begin(still)

    def _thaw(self, page: int) -> None:
        """Let harts go on that wait for a frozen page, if no dead hart holds a word of it any more."""
        if not any(self._holds(other, page) for other in range(len(self._pages))):
            self._page_map[page] &= ~PageState.FROZEN & 0xFF
            self._answer_waiting(page)

    def _holds(self, hart: int, page: int) -> bool:
        """Whether a dead hart's page still names a granule of `page`."""
        words = self._pages[hart]
        held = words[Hart.HELD]
        return bool(held) and not words[Hart.JOINED] and (held - 1) << self._exp >> PAGE_EXP == page

    def external_write(self, address: int, size: int, value: int, done: Callable[[], None]) -> None:
        """A write from outside: a shared writer like any other. It lies in one granule, for it is aligned."""
        if size not in (1, 2, 4, 8):
            raise Refused(f"size {size} is not one of 1, 2, 4, 8")
        try:
            offset = self._memory.aligned_offset(address, size)
        except MemoryFault as fault:
            raise Refused(str(fault)) from None
        granule = offset >> self._exp
        word = self._granules.address(granule)

        def write() -> None:
            if self._fetch_add(word, VERSION + WRITER) & LOCK:
                # Whoever holds the lock may be dead, and it is this process that frees it: it must not wait here.
                # Once every hart has passed a safepoint, it has let go, or its word has been freed.
                self._fetch_add(word, _MASK + 1 - WRITER)
                self._context.quiescence.begin(write)
                return
            self._writers[granule] = len(self._pages) << 8 | ScFailure.EXTERNAL_WRITE
            self._memory.store(address, size, value)
            if self._fetch_add(word, _MASK + 1 - WRITER) & WAITERS:
                self._unpark(word)
            done()

        write()

    def holds_reservation(self, hart: int) -> bool:
        """Whether the hart has a valid reservation."""
        words = self._pages[hart]
        reserved = words[Hart.RESERVATION]
        return bool(reserved) and self._granules[reserved - 1] & ~WAITERS == words[Hart.RESERVATION_VERSION]

    def statistics(self, addresses: int) -> list[tuple[int, ...]]:
        """From the samples in the harts' pages."""
        return hottest(self._harts, self._memory.base, addresses)


POLICY = Policy(
    name="inline",
    summary="harts perform atomics themselves with host atomics; the bus tracks pages and frees what the dead held",
    correct=True,
    port=InlinePort,
    arbiter=InlineArbiter,
    lowering=InlineLowering,
)
