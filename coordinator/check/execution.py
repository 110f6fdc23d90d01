"""Executions: what each hart did to memory in program order, what each read returned, how stores were ordered.

Owns the data that models judge; judges nothing. An execution may come from a litmus test's enumeration, from a
recorded run or from a trace file: memory events, reads-from, coherence (per byte, given as orders of stores), syntactic
dependencies and fences. From-reads follows from these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

INITIAL = -1
"""As the source of a read: no store, the memory's initial value."""

PER_BYTE = -2
"""As the source of a read: its bytes come from several stores; see `Execution.bytewise`."""


class MissingOrder(ValueError):
    """An execution that does not say in which order two stores to the same byte are."""


class Kind(IntEnum):
    """What an event is."""

    LOAD = 0
    STORE = 1
    LOAD_RESERVED = 2
    STORE_CONDITIONAL = 3
    """An SC that succeeded; one that fails is no memory operation (manual, "Memory Model Primitives")."""
    AMO = 4
    """One operation that is load and store at once; AMOCAS that wrote is one too."""
    CAS_FAILED = 5
    """An AMOCAS that wrote nothing. The rules treat it as an AMO, without release (manual, chapter "Zacas")."""
    FENCE = 6
    FENCE_TSO = 7


READS = frozenset({Kind.LOAD, Kind.LOAD_RESERVED, Kind.AMO, Kind.CAS_FAILED})
"""Events that return a value."""

WRITES = frozenset({Kind.STORE, Kind.STORE_CONDITIONAL, Kind.AMO})
"""Events that put a value into memory."""

STORES = WRITES | {Kind.CAS_FAILED}
"""Store operations in the sense of the ordering rules."""

FENCES = frozenset({Kind.FENCE, Kind.FENCE_TSO})
"""Events that are no memory operations."""


class Event(NamedTuple):
    """One event of a hart. Positions are places in the hart's sequence of events.

    Attributes:
        kind: what it is.
        address: of its lowest byte; 0 for fences.
        size: bytes accessed; 0 for fences.
        order: its aq and rl bits, as `bus.access.Order`.
        read: the value read, zero-extended, where there is one and it is known.
        written: the value written, likewise.
        address_from: positions of the events on which its address depends.
        data_from: positions of the events on which the value written depends.
        control_from: positions of the events on which a branch or indirect jump depends that stands between the
            hart's previous event and this one. Later events of the hart have the dependency too.
        pair: for an SC, the position of the LR it is paired with, else -1.
        predecessor: for a fence the set before it (I=8, O=4, R=2, W=1).
        successor: for a fence the set after it.
        pc: the address of the instruction, 0 if unknown.
        text: the instruction, empty if unknown.

    """

    kind: Kind
    address: int = 0
    size: int = 0
    order: int = 0
    read: int | None = None
    written: int | None = None
    address_from: tuple[int, ...] = ()
    data_from: tuple[int, ...] = ()
    control_from: tuple[int, ...] = ()
    pair: int = -1
    predecessor: int = 0
    successor: int = 0
    pc: int = 0
    text: str = ""


@dataclass(frozen=True)
class Execution:
    """An execution. Events have ids: hart 0's come first in program order, then hart 1's, and so on.

    Attributes:
        harts: each hart's events in program order.
        source: for each id, the id of the store that the event reads, `INITIAL` or `PER_BYTE`; for an event that
            reads nothing, any value.
        bytewise: for events with `PER_BYTE`, the source of each byte from the lowest.
        coherence: sequences of ids of stores, for example one for each granule. For each byte there is one sequence
            that has all the stores to it, in coherence order; what a sequence says of stores that share no byte does
            not count. A byte with a single store needs none.
        initial: initial values of bytes that are not 0, by address.
        symbols: names for addresses, for reports.

    """

    harts: tuple[Sequence[Event], ...]
    source: Sequence[int]
    coherence: Sequence[Sequence[int]]
    bytewise: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    initial: Mapping[int, int] = field(default_factory=dict)
    symbols: Mapping[int, str] = field(default_factory=dict)

    @property
    def starts(self) -> list[int]:
        """The id of each hart's first event, and behind them the number of events."""
        starts = [0]
        for hart in self.harts:
            starts.append(starts[-1] + len(hart))
        return starts

    def events(self) -> Iterator[Event]:
        """Every event, by id."""
        for hart in self.harts:
            yield from hart

    def byte_sources(self, identity: int, event: Event) -> tuple[int, ...]:
        """The source of each byte of a read."""
        source = self.source[identity]
        return self.bytewise[identity] if source == PER_BYTE else (source,) * event.size

    def orders(self, cells_of: Callable[[int], Iterable[int]]) -> dict[int, list[int]]:
        """The stores to each cell in coherence order; `cells_of` gives the cells of a store, e.g. its bytes.

        Raises:
            MissingOrder: two stores to a cell stand in no sequence together.

        """
        found: dict[int, list[int]] = {}
        for sequence in self.coherence:
            here: dict[int, list[int]] = {}
            for store in sequence:
                for cell in cells_of(store):
                    here.setdefault(cell, []).append(store)
            for cell, order in here.items():
                if len(order) > len(found.get(cell, ())):
                    found[cell] = order
        counts: Counter[int] = Counter()
        for identity, event in enumerate(self.events()):
            if event.kind in WRITES:
                for cell in cells_of(identity):
                    counts[cell] += 1
                    if cell not in found:
                        found[cell] = [identity]
                    elif counts[cell] > len(found[cell]):
                        raise MissingOrder(
                            f"store {identity} writes {event.address:#x}, and no coherence order has it with the others"
                        )
        return found


def overlap(a: Event, b: Event) -> bool:
    """Whether two memory events share a byte."""
    return a.address < b.address + b.size and b.address < a.address + a.size
