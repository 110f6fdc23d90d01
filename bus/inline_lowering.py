"""`inline`'s accesses as LLVM IR: the fast paths on untracked pages, and calls of the word protocol on tracked ones.

Owns which of the two an access takes; `bus.granule` owns the words, `bus.policies.inline` argues why both are right.
"""

from __future__ import annotations

from collections.abc import Callable

from bus.access import AmoOp, AtomicKind, Order, ScFailure
from bus.granule import SUPPORT, reservation_ir
from bus.layout import Hart, PageState
from bus.lowering import (
    DECLARE_PAUSE,
    TSO_HOST,
    AccessEmitter,
    Value,
    attempts,
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
    unless_misaligned,
)
from bus.native_heat import sampled
from bus.reservations import Reservations

_AWAY = PageState.FROZEN | PageState.WATCHED
_PLACE = "ptr %page, ptr %granules, ptr %ram"


class InlineLowering:
    """The policy's accesses as IR; the port runs the same code."""

    stores_freely = True

    def __init__(self, reservations: Reservations, *, watching: bool = True, tso: bool = TSO_HOST) -> None:
        """Code depends on how reservations behave; `watching` if WATCHED pages are left to the interpreter; `tso` says
        what the host's memory order is."""
        self._injects = reservations.spurious_sc_failure > 0
        self._tso = tso
        self._exp = reservations.reservation_set_size_exp
        self._reservation_ir = reservation_ir(self._exp, exact=reservations.require_exact_reservation_addr)
        self._ignored = 0 if watching else int(PageState.WATCHED)

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """Loads look at no word."""
        value = plain_load(e, offset, size, order)
        if order:
            count(e, AtomicKind.LOAD_ACQUIRE)
        return value

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """A plain host store, or a shared writer."""
        fast, slow, done = e.label(), e.label(), e.label()
        free = e.free(offset)
        if free is not None:
            look = e.label()
            e.line(f"br i1 {free}, label %{fast}, label %{look}, !prof !0")
            e.begin(look)
        byte = self._byte(e, offset)
        self._if_untracked(e, byte, fast, slow)
        plain_store(e, offset, size, value, order)
        e.line(f"br label %{done}")
        self._if_open(e, byte, slow)
        unless_misaligned(e, offset, size)
        function = self._support(e, f"tracked_store_{8 * size}")
        ok = e.value(f"call i1 {function}({_PLACE}, i64 {offset}, i{8 * size} {value})")
        e.line(f"br i1 {ok}, label %{done}, label %{e.interpret()}")
        e.begin(done)
        if order:
            count(e, AtomicKind.STORE_RELEASE)
        return True

    def amo(
        self, e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str, order: Order
    ) -> str | None:
        """A host atomic, inside the granule where it is tracked."""
        bits = 8 * size
        old = self._either(
            e,
            offset,
            bits,
            lambda: plain_amo(e, op, offset, size, operand),
            f"tracked_{op.name.lower()}_{bits}",
            f"({_PLACE}, i64 {offset}, i{bits} {operand})",
        )
        self._acquire(e, order)
        self._count(e, AtomicKind.AMO, offset)
        return old

    def compare_and_swap(
        self, e: AccessEmitter, offset: Value, size: int, expected: str, desired: str, order: Order
    ) -> str | None:
        """A host compare-and-swap, inside the granule where it is tracked."""
        bits = 8 * size

        def swap() -> str:
            pair = plain_swap(e, offset, size, expected, desired)
            return e.value(f"extractvalue {{i{bits}, i1}} {pair}, 0")

        old = self._either(
            e,
            offset,
            bits,
            swap,
            f"tracked_cas_{bits}",
            f"({_PLACE}, i64 {offset}, i{bits} {expected}, i{bits} {desired})",
        )
        self._acquire(e, order)
        self._count(e, AtomicKind.CAS, offset)
        return old

    def load_reserved(
        self, e: AccessEmitter, offset: Value, size: int, order: Order, fused: str | None
    ) -> str | None:
        """A remembered load where it is fused and the page untracked; else the word's version."""
        if self._injects:
            return None  # as the SC
        bits = 8 * size
        if order & Order.RL:
            full_fence(e)
        byte = self._byte(e, offset)
        name, arguments = f"tracked_lr_{bits}", f"({_PLACE}, i64 {offset})"
        if fused is None:
            e.unless(e.value(f"icmp ne i8 {byte}, {int(PageState.TRACKED)}"))
            self._include_reservation(e)
            value, _ = self._call(e, bits, f"@{name}", arguments)
            self._count(e, AtomicKind.LR, offset)
            return value
        fast, slow, done = e.label(), e.label(), e.label()
        self._if_untracked(e, byte, fast, slow)
        pointer = e.value(f"getelementptr i8, ptr %ram, i64 {offset}")
        read = e.value(f"load atomic volatile i{bits}, ptr {pointer} acquire, align {size}")
        e.line(f"store i{bits} {read}, ptr {e.slot(fused, bits)}")
        # An older reservation ends; there is mostly none, and each store makes the next locked instruction wait.
        reservation = hart_word(e, Hart.RESERVATION)
        older, read_it = e.label(), e.label()
        none = e.value(f"icmp eq i64 {e.value(f'load i64, ptr {reservation}')}, 0")
        e.line(f"br i1 {none}, label %{read_it}, label %{older}, !prof !0")
        e.begin(older)
        e.line(f"store i64 0, ptr {reservation}")
        e.line(f"br label %{read_it}")
        e.begin(read_it)
        e.line(f"br label %{done}")
        e.begin(slow)
        e.unless(e.value(f"icmp ne i8 {byte}, {int(PageState.TRACKED)}"))
        tracked, last = self._call(e, bits, self._support(e, name), arguments)
        e.line(f"br label %{done}")
        e.begin(done)
        value = e.value(f"phi i{bits} [ {read}, %{read_it} ], [ {tracked}, %{last} ]")
        self._count(e, AtomicKind.LR, offset)
        return value

    def store_conditional(
        self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order, fused: str | None
    ) -> str | None:
        """One compare-and-swap, of the data or of the word."""
        if self._injects:
            return None
        bits = 8 * size
        byte = self._byte(e, offset)
        name = f"tracked_sc_{bits}"
        arguments = f"({_PLACE}, i64 {offset}, i{bits} {value}, i64 "
        if fused is None:
            e.unless(e.value(f"icmp ne i8 {byte}, {int(PageState.TRACKED)}"))
            self._count(e, AtomicKind.SC, offset)
            self._include_reservation(e)
            by_word = self._tracked_sc(e, f"@{name}", arguments, ScFailure.NO_RESERVATION)
            self._acquire(e, order)
            return by_word
        fast, slow, done, lost, won = (e.label() for _ in range(5))
        self._if_untracked(e, byte, fast, slow)
        self._count(e, AtomicKind.SC, offset)
        expected = e.value(f"load i{bits}, ptr {e.slot(fused, bits)}")
        pair = plain_swap(e, offset, size, expected, value)
        swapped = e.value(f"extractvalue {{i{bits}, i1}} {pair}, 1")
        e.line(f"br i1 {swapped}, label %{won}, label %{lost}")
        e.begin(won)
        e.line(f"br label %{done}")
        e.begin(lost)
        count_failure(e, self._support(e, "sc_failed"), ScFailure.VALUE_CHANGED, offset, self._exp)
        e.line(f"br label %{done}")
        self._if_open(e, byte, slow)
        self._count(e, AtomicKind.SC, offset)
        by_word = self._tracked_sc(e, self._support(e, name), arguments, ScFailure.PAGE_TRANSITION)
        tracked = self._block(e)
        e.line(f"br label %{done}")
        e.begin(done)
        failed = e.value(f"phi i1 [ false, %{won} ], [ true, %{lost} ], [ {by_word}, %{tracked} ]")
        self._acquire(e, order)
        return failed

    def _include_reservation(self, e: AccessEmitter) -> None:
        e.include(DECLARE_PAUSE)
        e.include(self._reservation_ir)

    def _tracked_sc(self, e: AccessEmitter, function: str, arguments: str, none: ScFailure) -> str:
        """An i1: whether it failed; `none` is the cause if nothing is reserved."""
        return e.value(f"call i1 {function}{arguments}{none}, ptr %support, i64 {attempts(e)}, i64 {e.pc()})")

    def fence(self, e: AccessEmitter, full: bool) -> None:
        """The host's."""
        host_fence(e, full)

    def spin(self, e: AccessEmitter, offset: Value, waits: str) -> str | None:
        """Park on the granule's word where it is tracked; else give way, until the port shall have it tracked."""
        spins, yields, done = e.label(), e.label(), e.label()
        tracked = e.value(f"icmp eq i8 {page_byte(e, offset)}, {int(PageState.TRACKED)}")
        e.line(f"br i1 {tracked}, label %{spins}, label %{yields}")
        e.begin(spins)
        woken = e.value(f"call i1 {self._support(e, 'spin')}({_PLACE}, i64 {offset})")
        e.line(f"br label %{done}")
        e.begin(yields)
        long = e.value(f"call i1 {self._support(e, 'give_way')}(ptr %page, i64 {waits})")
        e.line(f"br label %{done}")
        e.begin(done)
        return e.value(f"phi i1 [ {woken}, %{spins} ], [ {long}, %{yields} ]")

    def _acquire(self, e: AccessEmitter, order: Order) -> None:
        """What a read-modify-write or SC with aq needs beside itself: see the table in `bus.lowering`."""
        if order & Order.AQ and not self._tso:
            full_fence(e)

    def _block(self, e: AccessEmitter) -> str:
        """Begin a new block, so that it can be named; its label."""
        label = e.label()
        e.line(f"br label %{label}")
        e.begin(label)
        return label

    def _byte(self, e: AccessEmitter, offset: Value) -> str:
        byte = page_byte(e, offset)
        return e.value(f"and i8 {byte}, {~self._ignored & 0xFF}") if self._ignored else byte

    def _support(self, e: AccessEmitter, name: str) -> str:
        return support(e, SUPPORT.index(name))

    def _count(self, e: AccessEmitter, kind: AtomicKind, offset: Value) -> None:
        sampled(e, kind, offset, self._support(e, "heat"))

    def _if_untracked(self, e: AccessEmitter, byte: str, fast: str, slow: str) -> None:
        untracked = e.value(f"icmp eq i8 {byte}, 0")
        e.line(f"br i1 {untracked}, label %{fast}, label %{slow}, !prof !0")
        e.begin(fast)

    def _if_open(self, e: AccessEmitter, byte: str, slow: str) -> str:
        """Begin `slow`; go on, in the block returned, unless the page is the interpreter's."""
        e.begin(slow)
        away = e.value(f"and i8 {byte}, {int(_AWAY)}")
        go = e.label()
        e.line(f"br i1 {e.value(f'icmp ne i8 {away}, 0')}, label %{e.interpret()}, label %{go}")
        e.begin(go)
        return go

    def _call(self, e: AccessEmitter, bits: int, function: str, arguments: str) -> tuple[str, str]:
        """The value of a function that may give up, and the block after it."""
        pair = e.value(f"call {{i{bits}, i1}} {function}{arguments}")
        ok = e.value(f"extractvalue {{i{bits}, i1}} {pair}, 1")
        value = e.value(f"extractvalue {{i{bits}, i1}} {pair}, 0")
        after = e.label()
        e.line(f"br i1 {ok}, label %{after}, label %{e.interpret()}")
        e.begin(after)
        return value, after

    def _either(
        self,
        e: AccessEmitter,
        offset: Value,
        bits: int,
        untracked: Callable[[], str],
        name: str,
        arguments: str,
    ) -> str:
        byte = self._byte(e, offset)
        fast, slow, done = e.label(), e.label(), e.label()
        self._if_untracked(e, byte, fast, slow)
        direct = untracked()
        e.line(f"br label %{done}")
        self._if_open(e, byte, slow)
        tracked, last = self._call(e, bits, self._support(e, name), arguments)
        e.line(f"br label %{done}")
        e.begin(done)
        return e.value(f"phi i{bits} [ {direct}, %{fast} ], [ {tracked}, %{last} ]")
