"""`serial` in native code: loads, and stores that pass the bus by.

Owns the IR; `bus.policies.serial` argues why it is right.
"""

from __future__ import annotations

from bus.access import AmoOp, AtomicKind, Order
from bus.layout import GranuleState, Hart, PageState
from bus.lowering import (
    AccessEmitter,
    Value,
    count,
    granule_word,
    hart_word,
    host_fence,
    page_byte,
    plain_load,
    plain_store,
    unless_misaligned,
)
from bus.policies import Reservations

_UNTRACKED = int(GranuleState.UNTRACKED)


class SerialLowering:
    """Loads, and stores to untracked granules, are native; all else is the interpreter's."""

    stores_freely = False

    def __init__(self, reservations: Reservations) -> None:
        """Of how reservations behave only the size of a granule matters here; the rest is the arbiter's."""
        self._exp = reservations.reservation_set_size_exp

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """Rule 3. An ordered one, too: who waits for a lock loads nothing else, and shall not leave native code."""
        _unless_posted(e)
        if order:
            count(e, AtomicKind.LOAD_ACQUIRE)
        return plain_load(e, offset, size, order)

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """Between the check and the store there is no safepoint: quiescence covers native code too."""
        if order:
            return False
        byte = page_byte(e, offset)
        go, look = e.label(), e.label()
        e.line(f"br i1 {e.value(f'icmp eq i8 {byte}, 0')}, label %{go}, label %{look}, !prof !0")
        e.begin(look)
        other = e.value(f"and i8 {byte}, {~int(PageState.TRACKED) & 0xFF}")
        e.unless(e.value(f"icmp ne i8 {other}, 0"))
        unless_misaligned(e, offset, size)
        granule = (
            offset >> self._exp if isinstance(offset, int) else e.value(f"lshr i64 {offset}, {self._exp}")
        )
        word = e.value(f"load volatile i64, ptr {e.value(granule_word(granule))}")
        e.unless(e.value(f"icmp ne i64 {word}, {_UNTRACKED}"))
        e.line(f"br label %{go}")
        e.begin(go)
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

    def fence(self, e: AccessEmitter, full: bool) -> None:
        """The port's, if anything has been put off."""
        _unless_posted(e)
        host_fence(e, full)

    def spin(self, e: AccessEmitter, offset: Value, waits: str) -> None:
        """The port's."""


def _unless_posted(e: AccessEmitter) -> None:
    """Leave the access to the port if something has been put off. Nothing is by native code: LLVM may look once."""
    posted = e.value(f"load i64, ptr {hart_word(e, Hart.POSTED)}")
    e.unless(e.value(f"icmp ne i64 {posted}, 0"))
