"""`cas`: QEMU's scheme, in which SC compares values. WRONG on purpose: it shows the ABA failure.

Owns that scheme. LR remembers its address and the value it read; SC is one host compare-and-swap from that value, if
the address is the same. AMOs are host atomics; stores are plain stores. Nothing tracks who wrote.

Which rules of the architecture page break
==========================================
1. Broken. After A -> B -> A by other harts, or after a store of the value that is there, SC succeeds although stores
   lie between. Code whose correctness rests on that failure, such as a stack whose pop reads `next` between LR and SC,
   goes wrong; counters and locks do not.
7. The one cause known when the compare fails is VALUE_CHANGED.

The others hold: SC clears the reservation first (2; but only the exact address matches, the granule's size and
`invalidate_on_same_hart_store` mean nothing here), each write is one host store or atomic (3, 4), an SC fails only if
some write changed the value (5), and no hart holds anything (6).

So do qemu-riscv64 (target/riscv/insn_trans/trans_rva.c.inc: `load_res`, `load_val`), Unicorn and RVVM.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Callable
from functools import cache

from bus.access import AmoOp, AtomicKind, MemoryFault, Order, ScFailure
from bus.direct import DirectLoads
from bus.failures import FAILURES_IR, failed
from bus.layout import Hart
from bus.lowering import (
    AccessEmitter,
    Value,
    count,
    count_failure,
    full_fence,
    hart_word,
    host_fence,
    page_byte,
    plain_amo,
    plain_load,
    plain_store,
    plain_swap,
    support,
)
from bus.messages import Kind
from bus.native_heat import hottest, sample, sampled
from bus.policies import ArbiterContext, Policy, PortContext, Refused, Reservations
from bus.standalone import RESULT, StandaloneFunctions

_MASK = (1 << 64) - 1


class CasLowering:
    """The scheme as IR; the port runs the same code."""

    stores_freely = False

    def __init__(self, reservations: Reservations, *, watching: bool = True) -> None:
        """`watching` if writes to pages that the environment watches are left to the interpreter."""
        self._injects = reservations.spurious_sc_failure > 0
        self._exp = reservations.reservation_set_size_exp
        self._watching = watching

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """A host load."""
        value = plain_load(e, offset, size, order)
        if order:
            count(e, AtomicKind.LOAD_ACQUIRE)
        return value

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """A host store."""
        self._unless_watched(e, offset)
        plain_store(e, offset, size, value, order)
        if order:
            count(e, AtomicKind.STORE_RELEASE)
        return True

    def amo(
        self, e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str, order: Order
    ) -> str | None:
        """A host atomic."""
        self._unless_watched(e, offset)
        old = plain_amo(e, op, offset, size, operand)
        sampled(e, AtomicKind.AMO, offset)
        return old

    def compare_and_swap(
        self, e: AccessEmitter, offset: Value, size: int, expected: str, desired: str, order: Order
    ) -> str | None:
        """A host compare-and-swap."""
        self._unless_watched(e, offset)
        pair = plain_swap(e, offset, size, expected, desired)
        sampled(e, AtomicKind.CAS, offset)
        return e.value(f"extractvalue {{i{8 * size}, i1}} {pair}, 0")

    def load_reserved(
        self, e: AccessEmitter, offset: Value, size: int, order: Order, fused: str | None
    ) -> str | None:
        """A load; address and value go to the hart's page, for the SC may be anywhere."""
        bits = 8 * size
        if order & Order.RL:
            full_fence(e)
        pointer = e.value(f"getelementptr i8, ptr %ram, i64 {offset}")
        value = e.value(f"load atomic volatile i{bits}, ptr {pointer} acquire, align {size}")
        wide = value if size == 8 else e.value(f"zext i{bits} {value} to i64")
        granule = e.value(f"lshr i64 {offset}, {self._exp}")
        e.line(f"store i64 {e.value(f'add i64 {granule}, 1')}, ptr {hart_word(e, Hart.RESERVATION)}")
        e.line(f"store i64 {offset}, ptr {hart_word(e, Hart.RESERVATION_ADDRESS)}")
        e.line(f"store i64 {wide}, ptr {hart_word(e, Hart.RESERVATION_VALUE)}")
        sampled(e, AtomicKind.LR, offset)
        return value

    def store_conditional(
        self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order, fused: str | None
    ) -> str | None:
        """A host compare-and-swap from what the LR read, if it read here."""
        if self._injects:
            return None
        self._unless_watched(e, offset)
        bits = 8 * size
        reservation = hart_word(e, Hart.RESERVATION)
        reserved = e.value(f"load i64, ptr {reservation}")
        e.line(f"store i64 0, ptr {reservation}")
        sampled(e, AtomicKind.SC, offset)
        labels = ("some", "none", "here", "elsewhere", "lost", "done")
        some, none, here, elsewhere, lost, done = (e.label() for _ in labels)
        e.line(f"br i1 {e.value(f'icmp ne i64 {reserved}, 0')}, label %{some}, label %{none}")
        e.begin(none)
        count_failure(e, support(e, 0), ScFailure.NO_RESERVATION, offset, self._exp)
        e.line(f"br label %{done}")
        e.begin(some)
        address = e.value(f"load i64, ptr {hart_word(e, Hart.RESERVATION_ADDRESS)}")
        same = e.value(f"icmp eq i64 {address}, {offset}")
        e.line(f"br i1 {same}, label %{here}, label %{elsewhere}")
        e.begin(elsewhere)
        count_failure(e, support(e, 0), ScFailure.ADDRESS_MISMATCH, offset, self._exp)
        e.line(f"br label %{done}")
        e.begin(here)
        wide = e.value(f"load i64, ptr {hart_word(e, Hart.RESERVATION_VALUE)}")
        expected = wide if size == 8 else e.value(f"trunc i64 {wide} to i{bits}")
        pair = plain_swap(e, offset, size, expected, value)
        swapped = e.value(f"extractvalue {{i{bits}, i1}} {pair}, 1")
        e.line(f"br i1 {swapped}, label %{done}, label %{lost}")
        e.begin(lost)
        count_failure(e, support(e, 0), ScFailure.VALUE_CHANGED, offset, self._exp)
        e.line(f"br label %{done}")
        e.begin(done)
        ways = f"[ false, %{here} ], [ true, %{lost} ], [ true, %{elsewhere} ], [ true, %{none} ]"
        return e.value(f"phi i1 {ways}")

    def fence(self, e: AccessEmitter, full: bool) -> None:
        """The host's."""
        host_fence(e, full)

    def spin(self, e: AccessEmitter, offset: Value, waits: str) -> None:
        """The port's."""

    def _unless_watched(self, e: AccessEmitter, offset: Value) -> None:
        """Of a page's states this policy knows WATCHED alone."""
        if self._watching:
            e.unless(e.value(f"icmp ne i8 {page_byte(e, offset)}, 0"))


@cache
def _functions(rules: Reservations) -> StandaloneFunctions:
    return StandaloneFunctions(CasLowering(rules, watching=False), FAILURES_IR, ("sc_failed",))


class CasPort(DirectLoads):
    """A hart's memory port under `cas`."""

    def __init__(self, context: PortContext) -> None:
        """Attach to the VM's memory; the link must have joined."""
        segment = context.segment
        super().__init__(segment.memory, segment.harts[context.hart].view)
        self._own = segment.harts[context.hart]
        self._rules = context.reservations
        # The port injects failures itself.
        functions = _functions(Reservations(context.reservations.reservation_set_size_exp))
        self.support = functions.support
        self._call = functions.by_name
        self._words = functions.context(segment, context.hart)
        self._at = ctypes.addressof(self._words)
        self._random = random.Random(f"{context.reservations.seed}/{context.hart}")

    def forget_fused(self) -> None:
        """Nothing is fused here."""

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """Write directly."""
        if order:
            self._memory.aligned_offset(address, size)
            self._page[Hart.ATOMICS + AtomicKind.STORE_RELEASE] += 1
            self._fence()
        self._memory.store(address, size, value)
        if order:
            self._fence()

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """LR: remember address and value."""
        offset = self._memory.aligned_offset(address, size)
        if order & Order.RL:
            self._fence()
        return self._do(offset, f"lr{size}")

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """SC: compare the value, and swap."""
        offset = self._memory.aligned_offset(address, size)
        probability = self._rules.spurious_sc_failure
        if probability and self._random.random() < probability:
            self._page[Hart.RESERVATION] = 0
            sample(self._own, AtomicKind.SC, offset)
            failed(self._own, ScFailure.INJECTED, offset >> self._rules.reservation_set_size_exp)
            return False
        return not self._do(offset, f"sc{size}", value & _MASK)

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """One host atomic."""
        return self._do(self._memory.aligned_offset(address, size), f"amo{int(op)}.{size}", operand & _MASK)

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """One host compare-and-swap."""
        offset = self._memory.aligned_offset(address, size)
        halves = (expected & _MASK, expected >> 64 & _MASK, desired & _MASK, desired >> 64 & _MASK)
        low = self._do(offset, f"cas{size}", *halves)
        return low | self._words[RESULT + 1] << 64 if size == 16 else low

    def _do(self, offset: int, name: str, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
        self._call[name](self._at, offset, a, b, c, d)
        return self._words[RESULT]

    def wait_on_reservation(self, timeout_s: float | None) -> None:
        """Nobody would say when it is lost: let another hart run, and return early, which Zawrs allows."""
        os.sched_yield()

    def end_reservation(self, trap: bool) -> None:
        """Forget what the LR read, if it is so configured."""
        if self._rules.invalidate_on_trap or not trap:
            self._page[Hart.RESERVATION] = 0


class CasArbiter:
    """The bus process's half: nothing to arbitrate."""

    def __init__(self, context: ArbiterContext) -> None:
        """Nothing is kept between bus processes."""
        self._context = context
        self._memory = context.segment.memory
        self._harts = context.segment.harts

    def handle(self, hart: int, request: list[int]) -> None:
        """Refuse: harts do everything themselves."""
        self._context.refuse(hart, request[1], f"{Kind(request[0]).name}: harts do this themselves under cas")

    def holds_reservation(self, hart: int) -> bool:
        """Whether an SC of the hart would compare."""
        return self._harts[hart][Hart.RESERVATION] != 0

    def external_write(self, address: int, size: int, value: int, done: Callable[[], None]) -> None:
        """A store like any other."""
        try:
            self._memory.aligned_offset(address, size)
        except MemoryFault as fault:
            raise Refused(str(fault)) from None
        if size not in (1, 2, 4, 8):
            raise Refused(f"size {size} is not one of 1, 2, 4, 8")
        self._memory.store(address, size, value)
        done()

    def hart_gone(self, hart: int) -> None:
        """Its reservation goes with it."""
        self._harts[hart][Hart.RESERVATION] = 0

    def statistics(self, addresses: int) -> list[tuple[int, ...]]:
        """From the samples in the harts' pages."""
        return hottest(self._harts, self._memory.base, addresses)


POLICY = Policy(
    name="cas",
    summary="SC compares values, as in QEMU: A -> B -> A goes unnoticed",
    correct=False,
    port=CasPort,
    arbiter=CasArbiter,
    lowering=CasLowering,
)
