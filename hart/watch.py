"""Watchpoints: ranges of guest RAM whose accesses stop the hart that makes them.

Owns their form in the segment, what a hit is, and the memory port that sees them. Stops nothing itself.

Why no access is missed. In the interpreter every access of an instruction is one call of the memory port, and
`WatchingPort` compares each with the ranges; instructions that the environment adds (HTIF's own reads) come after the
guest's and do not count. Native code must leave each access to a watched page to the interpreter. The page map has
WATCHED for it, but looking there at each access would cost every program; so, when the first watchpoint is set, harts
drop all native code and ask for code that looks (`hart.jit.instruments.Instrument.WATCHED`). None other is loaded while
there are watchpoints. The look is in the bounds check, which no access of any kind gets round, whatever the policy.

Watchpoints change only while every hart stands at a safepoint, so no access is between its look at the byte and itself.
Fetches are no accesses. A failed SC, and an AMOCAS that finds another value, write nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

from bus.access import AmoOp, Order, combine
from bus.layout import MAX_WATCHPOINTS, PAGE, Hart, Header
from bus.port import MemoryPort
from bus.segment import Segment, Words

_MASK = (1 << 64) - 1


class Access(IntFlag):
    """What an access does, or a watchpoint is for."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Watchpoint:
    """`size` bytes from `address`, all in guest RAM, that stop a hart which makes one of these accesses to one of them.

    Raises:
        ValueError: an empty range, or no kind of access.

    """

    address: int
    size: int
    access: Access = Access.READ | Access.WRITE

    def __post_init__(self) -> None:
        if self.size < 1 or self.address < 0:
            raise ValueError(
                f"watchpoint of {self.size} bytes at {self.address:#x}: at least 1 byte from 0 on"
            )
        if not self.access:
            raise ValueError(
                f"watchpoint at {self.address:#x}: for no kind of access; there are read and write"
            )

    def pages(self) -> range:
        """Guest addresses of the pages that it touches."""
        return range(self.address // PAGE * PAGE, self.address + self.size, PAGE)


@dataclass(frozen=True, slots=True)
class Hit:
    """An access that stopped its hart, which stands behind the instruction.

    Attributes:
        hart: which hart.
        pc: address of the instruction.
        address: where its access began; `size` bytes.
        access: READ and WRITE for one that did both.
        read: what it read, zero-extended; 0 where it read nothing.
        written: what it wrote, likewise.

    """

    hart: int
    pc: int
    address: int
    size: int
    access: Access
    read: int
    written: int


def store_watchpoints(segment: Segment, points: Sequence[Watchpoint]) -> None:
    """Put them into the segment, where harts find them when they start or go on; raises ValueError for too many."""
    if len(points) > MAX_WATCHPOINTS:
        raise ValueError(f"{len(points)} watchpoints; a VM has at most {MAX_WATCHPOINTS}")
    header = segment.header
    for i, point in enumerate(points):
        at = Header.WATCHPOINT + 3 * i
        header[at], header[at + 1], header[at + 2] = point.address, point.size, point.access
    header[Header.WATCHPOINTS] = len(points)
    header[Header.WATCH_GENERATION] += 1


def stored_watchpoints(segment: Segment) -> tuple[Watchpoint, ...]:
    """Those in the segment."""
    header = segment.header
    places = (Header.WATCHPOINT + 3 * i for i in range(header[Header.WATCHPOINTS]))
    return tuple(Watchpoint(header[at], header[at + 1], Access(header[at + 2])) for at in places)


def store_hit(page: Words, hit: Hit) -> None:
    """Put it into its hart's page."""
    page[Hart.HIT_PC] = hit.pc
    page[Hart.HIT_ADDRESS] = hit.address
    page[Hart.HIT_SIZE] = hit.size
    for word, value in ((Hart.HIT_READ, hit.read), (Hart.HIT_WRITTEN, hit.written)):
        page[word], page[word + 1] = value & _MASK, value >> 64
    page[Hart.HIT] = hit.access


def stored_hit(page: Words) -> Hit | None:
    """The one in a hart's page."""
    if not page[Hart.HIT]:
        return None
    read, written = (page[word] | page[word + 1] << 64 for word in (Hart.HIT_READ, Hart.HIT_WRITTEN))
    return Hit(
        page[Hart.NUMBER],
        page[Hart.HIT_PC],
        page[Hart.HIT_ADDRESS],
        page[Hart.HIT_SIZE],
        Access(page[Hart.HIT]),
        read,
        written,
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """An access to a watched range; see `Hit`."""

    address: int
    size: int
    access: Access
    read: int
    written: int


class WatchingPort:
    """A memory port that performs accesses through another and remembers one that a watchpoint is for.

    Attributes:
        seen: the first such access since somebody set this to None.

    """

    def __init__(self, port: MemoryPort, points: Sequence[Watchpoint]) -> None:
        """Watch `port`."""
        self.seen: Watched | None = None
        self._port = port
        self._points = [(p.address, p.address + p.size, p.access) for p in points]
        self.support = port.support
        self.fence = port.fence
        self.fetch = port.fetch
        self.wait_on_reservation = port.wait_on_reservation
        self.spin = port.spin
        self.forget_fused = port.forget_fused
        self.end_reservation = port.end_reservation
        self.answer_recalls = port.answer_recalls
        self.settle = port.settle

    def _look(self, address: int, size: int, access: Access, read: int, written: int) -> None:
        if self.seen is None and any(
            address < end and start < address + size and access & kind for start, end, kind in self._points
        ):
            self.seen = Watched(address, size, access, read, written)

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """See `MemoryPort.load`."""
        value = self._port.load(address, size, order)
        self._look(address, size, Access.READ, value, 0)
        return value

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """See `MemoryPort.store`."""
        self._port.store(address, size, value, order)
        self._look(address, size, Access.WRITE, 0, value & (1 << 8 * size) - 1)

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """See `MemoryPort.load_reserved`."""
        value = self._port.load_reserved(address, size, order, fusable)
        self._look(address, size, Access.READ, value, 0)
        return value

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """See `MemoryPort.store_conditional`."""
        wrote = self._port.store_conditional(address, size, value, order)
        if wrote:
            self._look(address, size, Access.WRITE, 0, value & (1 << 8 * size) - 1)
        return wrote

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """See `MemoryPort.amo`."""
        old = self._port.amo(op, address, size, operand, order)
        self._look(address, size, Access.READ | Access.WRITE, old, combine(op, old, operand, size))
        return old

    def post_amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> None:
        """See `MemoryPort.post_amo`; what is watched is not put off."""
        self.amo(op, address, size, operand, order)

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """See `MemoryPort.compare_and_swap`."""
        old = self._port.compare_and_swap(address, size, expected, desired, order)
        mask = (1 << 8 * size) - 1
        if old == expected & mask:
            self._look(address, size, Access.READ | Access.WRITE, old, desired & mask)
        else:
            self._look(address, size, Access.READ, old, 0)
        return old
