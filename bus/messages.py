"""The message catalogue of the coherence bus: what harts and the coordinator may say, one row per message.

Owns the wire form (msgpack) and the check of its shape. Executes nothing.

A request is `[kind, id, field, ...]`, an answer `[id, status, value, ...]`. Every element is an unsigned integer
below 2**64, but for the text of an error. `id` counts a sender's requests from 1; id 0 marks a request that gets no
answer. A sender is known by its routing id, a secret token that the coordinator gave to it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import msgpack

VERSION = 1
MAX_BYTES = 512
"""No valid request is longer."""
MAX_TEXT = 200
"""Characters of an error's text at most."""


class Kind(IntEnum):
    """Request kinds. LR to STORE are transactions: executed in one total order."""

    JOIN = 1
    LEAVE = 2
    LR = 3
    SC = 4
    AMO = 5
    CAS = 6
    STORE = 7
    END_RESERVATION = 8
    WAIT = 9
    WAKE = 10
    QUIESCENT = 11
    HART_GONE = 12
    STATISTICS = 13
    PING = 14
    EXTERNAL_WRITE = 15
    TRACK = 16
    OBTAIN = 17
    GIVE_UP = 18
    WATCH = 19
    POST = 20
    END = 21


MOST_POSTED = 16
"""AMOs in a POST at most."""


class Status(IntEnum):
    """First element of an answer after the id."""

    OK = 0
    ERROR = 1
    """The request was refused; a text follows. Nothing was executed."""


class Sender(IntEnum):
    """Who may send a message."""

    HART = 0
    COORDINATOR = 1
    ANYONE = 2


@dataclass(frozen=True, slots=True)
class Message:
    """One row: the fields that follow kind and id, who may send it, and what the answer holds."""

    kind: Kind
    fields: tuple[str, ...]
    sender: Sender
    answer: tuple[str, ...]
    meaning: str
    repeated: bool = False
    """Whether the fields come once or more often."""


CATALOGUE: dict[int, Message] = {
    int(row.kind): row
    for row in (
        Message(
            Kind.JOIN, ("version", "pid"), Sender.HART, (), "the hart's process runs and is at a safepoint"
        ),
        Message(Kind.LEAVE, (), Sender.HART, (), "the hart makes no more accesses"),
        Message(Kind.LR, ("address", "size", "order"), Sender.HART, ("value",), "load-reserved"),
        Message(
            Kind.SC,
            ("address", "size", "value", "order"),
            Sender.HART,
            ("failure",),
            "store-conditional; failure is 0, or 1 + ScFailure | hart << 8",
        ),
        Message(Kind.AMO, ("op", "address", "size", "operand", "order"), Sender.HART, ("old",), "AMO"),
        Message(
            Kind.CAS,
            ("address", "size", "expected", "expected_high", "desired", "desired_high", "order"),
            Sender.HART,
            ("old", "old_high"),
            "AMOCAS of 1 to 16 bytes",
        ),
        Message(
            Kind.STORE, ("address", "size", "value", "order"), Sender.HART, (), "store to a tracked granule"
        ),
        Message(Kind.END_RESERVATION, ("failure",), Sender.HART, (), "drop the sender's reservation"),
        Message(
            Kind.WAIT,
            ("reservation",),
            Sender.HART,
            (),
            "answered at once if the sender's doorbell has rung, else when someone wakes it, or, if `reservation` "
            "is 1, when it has none (left)",
        ),
        Message(Kind.WAKE, ("hart",), Sender.ANYONE, (), "answer that hart's WAIT"),
        Message(
            Kind.QUIESCENT, ("epoch",), Sender.HART, (), "a safepoint was passed after `epoch` was announced"
        ),
        Message(Kind.HART_GONE, ("hart",), Sender.COORDINATOR, (), "that hart's process has ended"),
        Message(
            Kind.STATISTICS,
            ("addresses", "from_row"),
            Sender.COORDINATOR,
            ("total", "rows"),
            "the so many most used addresses, from row `from_row` on: [address, hart, kind, count] each; counted "
            "since this bus process started",
        ),
        Message(Kind.PING, (), Sender.ANYONE, ("version",), "is anybody there"),
        Message(
            Kind.EXTERNAL_WRITE,
            ("address", "size", "value"),
            Sender.COORDINATOR,
            (),
            "a write from outside the harts: breaks reservations as a store does; made twice if the bus is "
            "restarted before it has answered",
        ),
        Message(
            Kind.TRACK,
            ("address", "spins"),
            Sender.HART,
            (),
            "under `inline`: answered when the page of that address is tracked, and not frozen; `spins` is 1 if the "
            "hart wants to park there, 0 if it needs the granules' words",
        ),
        Message(
            Kind.OBTAIN,
            ("address", "claim"),
            Sender.HART,
            (),
            "under `directory`: answered when the hart owns the granule of that address as the Claim asks, or, for an "
            "SC, has lost it",
        ),
        Message(
            Kind.GIVE_UP,
            ("recalls",),
            Sender.HART,
            (),
            "under `directory`: the hart gives up what it was asked for by its first so many recalls",
        ),
        Message(
            Kind.WATCH,
            ("address", "watched"),
            Sender.COORDINATOR,
            (),
            "set (1) or clear (0) WATCHED for the page of that address, while no hart runs: once there is a bus "
            "process, it alone writes the page map",
        ),
        Message(
            Kind.POST,
            ("op", "address", "size", "operand", "order"),
            Sender.HART,
            (),
            "under `serial`: AMOs on tracked granules whose old values nobody wants, executed in this "
            "order; each has an id of its own, the last one the request's",
            repeated=True,
        ),
        Message(
            Kind.END, (), Sender.COORDINATOR, (), "the run is over: the bus process ends, without an answer"
        ),
    )
}
_LENGTHS = {kind: 2 + len(row.fields) for kind, row in CATALOGUE.items()}
_REPEATED = {kind: len(row.fields) for kind, row in CATALOGUE.items() if row.repeated}
_INTEGERS = {int}
_unpack = msgpack.unpackb
_pack = msgpack.Packer().pack


class MalformedMessage(ValueError):
    """A request that the catalogue does not know; the text goes back to its sender. `id` is 0 if unreadable."""

    def __init__(self, text: str, request_id: int = 0) -> None:
        super().__init__(text)
        self.id = request_id


def encode_request(kind: int, request_id: int, *fields: int) -> bytes:
    """The wire form of a request."""
    encoded: bytes = _pack((kind, request_id, *fields))
    return encoded


def decode_request(data: bytes) -> list[int]:
    """`[kind, id, field, ...]`, its shape checked against the catalogue.

    Raises:
        MalformedMessage: not msgpack, not of the catalogue, or an element that is no unsigned integer.

    """
    try:
        message = _unpack(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedMessage(f"not msgpack: {error}"[:MAX_TEXT]) from None
    if (
        type(message) is not list
        or set(map(type, message)) != _INTEGERS
        or (_LENGTHS.get(message[0]) != len(message) and not _is_repeated(message))
        or min(message) < 0
        or len(data) > MAX_BYTES
    ):
        raise _malformed(message, len(data))
    checked: list[int] = message
    return checked


def _is_repeated(message: list[int]) -> bool:
    fields = _REPEATED.get(message[0])
    return fields is not None and len(message) > 2 and not (len(message) - 2) % fields


def _malformed(message: object, size: int) -> MalformedMessage:
    """What is wrong with a message that is no request: the first of its faults."""
    if size > MAX_BYTES:
        return MalformedMessage(f"{size} bytes; no request is longer than {MAX_BYTES}")
    if type(message) is not list or len(message) < 2:
        return MalformedMessage("not [kind, id, field, ...]")
    kind, identity = message[:2]
    request_id = identity if type(identity) is int and identity > 0 else 0
    for element in message:
        if type(element) is not int or element < 0:
            return MalformedMessage(f"{str(element)[:40]!r} is not an unsigned integer", request_id)
    row = CATALOGUE.get(kind)
    if row is None:
        return MalformedMessage(f"unknown kind {kind}; kinds are 1 to {max(Kind)}", request_id)
    wanted = ", ".join(row.fields) or "no fields"
    return MalformedMessage(f"{row.kind.name} takes {wanted}; got {len(message) - 2}", request_id)


def encode_answer(request_id: int, *values: int) -> bytes:
    """The wire form of an answer with status OK."""
    encoded: bytes = _pack((request_id, 0, *values))
    return encoded


def encode_rows(request_id: int, total: int, rows: list[tuple[int, ...]]) -> bytes:
    """The wire form of an answer that holds a table."""
    encoded: bytes = _pack((request_id, 0, total, rows))
    return encoded


def encode_error(request_id: int, text: str) -> bytes:
    """The wire form of a refusal."""
    encoded: bytes = _pack((request_id, int(Status.ERROR), text))
    return encoded
