"""Memory events as harts note them: the form of one event in a hart's event ring.

Owns the encoding and its decoding. Knows nothing of programs: dependencies follow from the instructions
(`coordinator.check.recorded`).

An event is EVENT bytes, five little-endian words: what, place, read, written, version.

- *what*: EventKind in bits 0 to 3, log2 of the size in bits 4 to 6, aq and rl in bits 7 and 8, in bits 9 to 15 how many
  later versions a read may have seen as well, from bit 16 the offset of the instruction from the base of RAM.
- *place*: offset in RAM of the lowest byte in bits 0 to 55, the AMO operation in bits 56 to 63; for a fence its sets.
- *read*: the value read. *written*: the value stored, an AMO's operand, an AMOCAS's desired value.
- *version*: of the line (1 << LINE_EXP bytes of RAM): the one that a read saw, or the one that a write made. Each write
  to a line makes the next version of it; the memory that the run began with is version 0.

An AMOCAS of 16 bytes is followed by an event of kind HIGH with the upper halves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from bus.access import AmoOp, Order
from bus.layout import WORD

EVENT = 5 * WORD
RING_HEADER = 2 * WORD
"""Bytes of a ring before its data (`bus.ring`)."""

KIND_BITS = 4
SIZE_SHIFT = 4
ORDER_SHIFT = 7
LATER_SHIFT = 9
LATER_MOST = 127
"""More later versions than that are noted as that many."""
PC_SHIFT = 16
OP_SHIFT = 56
_PLACE = (1 << OP_SHIFT) - 1

_WORDS = struct.Struct("<5Q")


class EventKind(IntEnum):
    """What happened. A conditional write that did not happen is the kind after the one that did."""

    LOAD = 0
    STORE = 1
    LR = 2
    SC = 3
    SC_FAILED = 4
    AMO = 5
    CAS = 6
    CAS_FAILED = 7
    FENCE = 8
    HIGH = 9
    JUMP = 10
    """An indirect jump or a return from a trap, `place` its target: what no analysis of the code can know."""
    TRAP = 11
    """A trap or an interrupt, `place` its handler."""


class MemoryEvent(NamedTuple):
    """One event, decoded; offsets are from the base of RAM. See the module's text for the fields."""

    kind: EventKind
    size: int
    order: int
    later: int
    pc: int
    offset: int
    op: int
    read: int
    written: int
    version: int


def what(kind: EventKind, size: int, order: Order, pc: int) -> int:
    """The first word; `pc` is an offset from the base of RAM."""
    return (
        kind | (size.bit_length() - 1) << SIZE_SHIFT | order << ORDER_SHIFT | (pc << PC_SHIFT & (1 << 64) - 1)
    )


def place(offset: int, op: AmoOp) -> int:
    """The second word of an AMO."""
    return offset | op << OP_SHIFT


def ring_area(area: memoryview) -> memoryview:
    """As much of an event ring's area as holds whole events: none then straddles the ring's end."""
    return area[: RING_HEADER + (len(area) - RING_HEADER) // EVENT * EVENT]


def decode(data: bytes) -> Iterator[MemoryEvent]:
    """The events in `data`, a whole number of them, with the halves of 16-byte values joined."""
    kinds = tuple(EventKind)
    held: MemoryEvent | None = None
    for first, second, read, written, version in _WORDS.iter_unpack(data):
        kind = kinds[first & (1 << KIND_BITS) - 1]
        if kind is EventKind.HIGH and held is not None:
            yield held._replace(read=held.read | read << 64, written=held.written | written << 64)
            held = None
            continue
        event = MemoryEvent(
            kind,
            1 << (first >> SIZE_SHIFT & 7),
            first >> ORDER_SHIFT & 3,
            first >> LATER_SHIFT & LATER_MOST,
            first >> PC_SHIFT,
            second & _PLACE,
            second >> OP_SHIFT,
            read,
            written,
            version,
        )
        if event.size == 16:
            held = event
        else:
            yield event
