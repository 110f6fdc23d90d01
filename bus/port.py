"""The memory port: what a hart may ask of guest memory, whichever coherence policy answers.

This is the one interface between execution (interpreter, compiled code) and coherence. Each policy under
`bus/policies/` provides one. Addresses are guest physical addresses, values are unsigned Python integers,
sizes are bytes.
"""

from __future__ import annotations

from typing import Protocol

from bus.access import AmoOp, Order


class NotNow(Exception):
    """An access that has to wait for another hart; nothing has happened. Pass a safepoint, then repeat it."""


class MemoryPort(Protocol):
    """A hart's access to guest memory under one coherence policy.

    Every method raises `bus.access.MemoryFault` for an address outside guest RAM, and for a misaligned address
    where the access does not allow one (all but plain `load` and `store`). Any may raise NotNow.

    Attributes:
        support: host address of what compiled code of the policy needs, a table of functions for example, or 0.

    """

    support: int

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """Read `size` (1, 2, 4, 8) bytes, zero-extended; with AQ or RL it is a Zalasr load, hence aligned."""

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """Write the low `size` bytes of `value`; with AQ or RL it is a Zalasr store, hence aligned."""

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """LR: read `size` (4, 8) bytes, zero-extended, and register the reservation; replaces any earlier one.

        `fusable` promises that the code that follows reaches the SC, if it does, by register arithmetic alone.
        """

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """SC: true if it wrote. Ends the hart's reservation in every case, except when it raises."""

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """Replace memory by `combine(op, old, operand, size)` in one step; returns old, zero-extended."""

    def post_amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> None:
        """An AMO whose old value nobody wants: it may be performed later, in the order that RVWMO asks for."""

    def settle(self, patiently: bool = True) -> None:
        """Perform what has been posted; `patiently`: before returning, else soon. Called at each safepoint."""

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """AMOCAS of `size` (1, 2, 4, 8, 16) bytes: returns old, zero-extended; wrote if old equals `expected`.

        Bits of `expected` and `desired` above the width are ignored.
        """

    def fence(self, predecessor: int, successor: int) -> None:
        """FENCE with the instruction's 4-bit sets (I=8, O=4, R=2, W=1)."""

    def fetch(self, address: int, size: int) -> int:
        """Read `size` (2, 4) bytes of code at an address aligned to 2, zero-extended."""

    def wait_on_reservation(self, timeout_s: float | None) -> None:
        """Zawrs: return when the reservation is lost, the doorbell rings, or after `timeout_s`.

        Returns at once without a valid reservation. May return early for any reason.
        """

    def spin(self, address: int, waits: int) -> None:
        """The hart repeats a loop that does nothing until other harts have written at `address`: let them run.

        `waits`: how often it has waited there now, and done nothing else between.
        """

    def forget_fused(self) -> None:
        """Native code is about to run: accesses that the port does not see."""

    def end_reservation(self, trap: bool) -> None:
        """The hart took a trap (`trap`) or asks otherwise to drop its reservation, as the configuration says."""

    def answer_recalls(self, instret: int) -> int:
        """Called at a safepoint after the doorbell rang RECALL, with the instructions retired so far.

        Returns 0, or after how many more instructions it wants to be called again.
        """
