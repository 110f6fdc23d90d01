"""Histories: what operations a guest says it did, when each began and ended, and what came of it.

Owns the form in which guests write them (`struct event` of configs/guests/workloads/workload.h): an array of as many
events for each hart, in the order of the harts. Judges nothing (`coordinator.check.linearizability`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_EVENT = struct.Struct("<QQIIQ")
EVENT_BYTES = _EVENT.size
"""Size of one event in guest memory."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that was done.

    Attributes:
        hart: who did it.
        number: its place among the hart's operations, from 0.
        invoked: when it began, in any unit that all harts share.
        responded: when it had ended; what it did, it did in between.
        kind: what it was, as `coordinator.check.linearizability.TYPES` numbers it.
        object: on which object, where there are several.
        value: what it put in or got out.

    """

    hart: int
    number: int
    invoked: int
    responded: int
    kind: int
    object: int
    value: int


def decode(raw: bytes, harts: int) -> Iterator[Operation]:
    """The operations in a guest's array of events; those of kind 0 are unused.

    Raises:
        ValueError: the array cannot be shared out to the harts, or an operation ends before it begins.

    """
    if len(raw) % (EVENT_BYTES * harts):
        raise ValueError(
            f"{len(raw)} bytes are no events of {EVENT_BYTES} bytes, as many for each of {harts} harts"
        )
    each = len(raw) // EVENT_BYTES // harts
    for index, (invoked, responded, kind, thing, value) in enumerate(_EVENT.iter_unpack(raw)):
        if kind == 0:
            continue
        hart, number = divmod(index, each)
        if responded < invoked:
            raise ValueError(
                f"hart {hart}'s operation {number} ends at {responded}, before it begins at {invoked}"
            )
        yield Operation(hart, number, invoked, responded, kind, thing, value)
