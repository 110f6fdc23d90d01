"""Coherence policies: who performs an atomic, and how order is decided. One file each, chosen by name.

Owns the interface between the bus process and a policy. A policy's module defines POLICY.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol

from bus.handover import DEFAULT as DEFAULT_HANDOVER
from bus.handover import Handover
from bus.link import BusLink
from bus.lowering import Lowering
from bus.order_log import OrderLog
from bus.port import MemoryPort
from bus.quiescence import Quiescence
from bus.reservations import Reservations as Reservations
from bus.segment import Segment


class Refused(Exception):
    """A request that cannot be executed; the text goes back to its sender."""


class Arbiter(Protocol):
    """A policy's half in the bus process. Every method returns soon; answers may be given later."""

    def handle(self, hart: int, request: list[int]) -> None:
        """Execute a transaction of `hart`, now or later, and answer or refuse it through the context.

        One that is not answered before it returns must have been announced to the context's quiescence: `rests`
        now, `runs` before the answer.
        """

    def holds_reservation(self, hart: int) -> bool:
        """Whether the hart has a valid reservation."""

    def external_write(self, address: int, size: int, value: int, done: Callable[[], None]) -> None:
        """Write for someone who is no hart and call `done`, now or later; raises Refused for one that cannot be."""

    def hart_gone(self, hart: int) -> None:
        """Forget a hart whose process ended or that left."""

    def statistics(self, addresses: int) -> list[tuple[int, ...]]:
        """The `addresses` most used ones: (address, hart, kind, count), since this bus process started.

        `kind` is an AtomicKind, or TRAFFIC + a Traffic with the address of a granule.
        """


@dataclass(frozen=True, slots=True)
class ArbiterContext:
    """What the bus process gives an arbiter.

    Attributes:
        answer: answer(hart, request id, values...) sends status OK.
        refuse: refuse(hart, request id, text) sends an error.
        reservation_lost: called with a hart when it loses its reservation.
        log: takes each transaction in order, or None if nobody wants it.
        later: later(seconds, then) calls `then` once so much time has passed.

    """

    segment: Segment
    reservations: Reservations
    quiescence: Quiescence
    answer: Callable[..., None]
    refuse: Callable[[int, int, str], None]
    reservation_lost: Callable[[int], None]
    log: OrderLog | None
    later: Callable[[float, Callable[[], None]], None]
    handover: Handover = DEFAULT_HANDOVER


@dataclass(frozen=True, slots=True)
class PortContext:
    """What the hart process gives a port."""

    segment: Segment
    hart: int
    link: BusLink
    reservations: Reservations
    handover: Handover = DEFAULT_HANDOVER


@dataclass(frozen=True, slots=True)
class Policy:
    """A coherence policy.

    Attributes:
        name: what configs call it.
        summary: one line for people.
        correct: whether it keeps rules 1 to 7 of the architecture; a policy that does not is labelled WRONG
            wherever it appears (`label`).
        port: makes a hart's memory port.
        arbiter: makes the bus process's half.
        total_order: whether all transactions have one order, which can be recorded.
        lowering: makes its accesses' native form, or None if all code is interpreted.
        owned: whether harts own granules: the segment then has an ownership table.

    """

    name: str
    summary: str
    correct: bool
    port: Callable[[PortContext], MemoryPort]
    arbiter: Callable[[ArbiterContext], Arbiter]
    lowering: Callable[[Reservations], Lowering] | None = None
    total_order: bool = False
    owned: bool = False

    @property
    def label(self) -> str:
        """Its name for people, who must not take a wrong policy for a right one."""
        return self.name if self.correct else f"{self.name} (WRONG)"


NAMES = tuple(sorted(module.name for module in iter_modules(__path__)))
"""Every policy: each module of this package is one."""


def policy(name: str) -> Policy:
    """The policy of that name; raises KeyError for an unknown one."""
    if name not in NAMES:
        raise KeyError(name)
    found: Policy = import_module(f"bus.policies.{name}").POLICY
    return found


def label(name: str) -> str:
    """What people read in place of the name of that policy; raises KeyError for an unknown one."""
    return policy(name).label
