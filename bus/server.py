"""The bus process: one per VM, takes requests from its harts and from the coordinator and answers each.

Owns the socket, who may speak, joining and leaving, waits and wake-ups. Leaves every atomic to the policy's arbiter.

Nobody can stop it with a message: a request that is malformed, unknown or not its sender's to make costs the sender
an error answer. A message from a routing id that is no token of this VM is answered with an error too, and reaches
nothing else.

It may be killed at any time and need not be asked to end: all that outlives it lies in the segment. One thing is kept
there for its successor's sake alone: the id of the last request of each hart that was answered without a value. The
hart may repeat such a request to the successor and only then find the answer, which was on its way; so the successor
answers it once more and does nothing else, above all not take the hart for one that waits. (Answers with values are
transactions' of `serial`, which has a journal.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import zmq

from bus.access import MemoryFault
from bus.handover import DEFAULT as DEFAULT_HANDOVER
from bus.handover import Handover
from bus.layout import PAGE_EXP, Hart, Header, PageState
from bus.messages import (
    CATALOGUE,
    VERSION,
    Kind,
    MalformedMessage,
    Sender,
    decode_request,
    encode_answer,
    encode_error,
    encode_rows,
)
from bus.order_log import OrderLog
from bus.policies import ArbiterContext, Refused, Reservations, policy
from bus.quiescence import Quiescence
from bus.segment import Segment

ROWS_PER_ANSWER = 512


@dataclass(frozen=True, slots=True)
class BusSpec:
    """What a bus process needs to know.

    Attributes:
        segment: name of the VM's segment.
        endpoint: `ipc://` address to bind.
        hart_tokens: routing id of each hart, by number.
        coordinator_tokens: routing ids of the coordinator's connections.
        policy: name of the coherence policy.
        reservations: its settings.
        order_log: file for the total order, or None.
        handover: how harts pass granules on, where they own any.

    """

    segment: str
    endpoint: str
    hart_tokens: tuple[bytes, ...]
    coordinator_tokens: tuple[bytes, ...]
    policy: str
    reservations: Reservations
    order_log: str | None = None
    handover: Handover = DEFAULT_HANDOVER


class BusServer:
    """The request loop."""

    def __init__(
        self,
        spec: BusSpec,
        segment: Segment,
        listener: int | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        """Bind the endpoint and take over the segment as it is.

        Args:
            spec: what to be.
            segment: the VM's.
            listener: a socket that listens at the endpoint already, or None.
            context: of the caller's, for the socket; without one the server has its own.

        """
        self._segment = segment
        self._pages = tuple(hart.view for hart in segment.harts)
        self._context = zmq.Context() if context is None else context
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = 4096
        self._transmit = self._socket.send
        # A sender is a hart's number, or negative for a connection of the coordinator: an index of these all the same.
        self._tokens = (*spec.hart_tokens, *spec.coordinator_tokens)
        numbers = (*range(len(spec.hart_tokens)), *range(-len(spec.coordinator_tokens), 0))
        self._senders = dict(zip(self._tokens, numbers, strict=True))
        self._last = [0] * len(self._tokens)
        """Id of the last request taken from each sender."""
        self._answered = [page[Hart.ANSWERED] for page in self._pages]
        """By hart, the last request that an earlier bus process answered without a value."""
        self._joined = {i for i, page in enumerate(self._pages) if page[Hart.JOINED]}
        self._left: set[int] = set()
        self._waits: dict[int, tuple[int, bool]] = {}
        """Open WAITs by hart: id, and whether they end with the reservation."""
        self._rows: list[tuple[int, ...]] = []
        """The table of which the coordinator fetches pieces."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        """A heap: what is to be called when, by CLOCK_MONOTONIC."""
        self._numbers = count()
        self._quiescence = Quiescence(segment)
        for hart in self._joined:
            # An earlier bus process knew where they are; each may run until its repeated request shows otherwise.
            self._quiescence.runs(hart)
        self._log = OrderLog(Path(spec.order_log)) if spec.order_log else None
        self._arbiter = policy(spec.policy).arbiter(
            ArbiterContext(
                segment=segment,
                reservations=spec.reservations,
                quiescence=self._quiescence,
                answer=self._answer,
                refuse=self._refuse,
                reservation_lost=self._reservation_lost,
                log=self._log,
                handover=spec.handover,
                later=self._later,
            )
        )
        self._execute = self._arbiter.handle
        self._handlers: dict[int, Callable[[int, list[int]], None]] = {
            Kind.JOIN: self._join,
            Kind.LEAVE: self._leave,
            Kind.WAIT: self._wait,
            Kind.WAKE: self._wake,
            Kind.QUIESCENT: self._quiescent,
            Kind.HART_GONE: self._hart_gone,
            Kind.STATISTICS: self._statistics,
            Kind.PING: lambda sender, request: self._answer(sender, request[1], VERSION),
            Kind.EXTERNAL_WRITE: self._external_write,
            Kind.WATCH: self._watch,
            Kind.END: self._end,
        }
        # Before binding: a participant that reaches the new process must find the new generation.
        segment.header[Header.BUS_GENERATION] += 1
        if listener is not None:
            self._socket.setsockopt(zmq.USE_FD, listener)
        self._socket.bind(spec.endpoint)

    def stop(self) -> None:
        """Make `serve` return, from another thread; returns when it has."""
        self._context.term()

    def serve(self) -> None:
        """Answer requests, until END, `stop` or the end of the process."""
        receive, option = self._socket.recv, self._socket.getsockopt
        try:
            while True:
                if self._due and not self._wait_until_due():
                    continue
                routing_id = receive()
                data = receive()
                if option(zmq.RCVMORE):
                    self._socket.recv_multipart()
                    self._send(routing_id, encode_error(0, "a request is one frame"))
                else:
                    self._take(routing_id, data)
        except (zmq.ContextTerminated, _Over):
            self._socket.close(0)
            if self._log:
                self._log.close()

    def _later(self, seconds: float, then: Callable[[], None]) -> None:
        heappush(self._due, (time.monotonic() + seconds, next(self._numbers), then))

    def _wait_until_due(self) -> bool:
        """Call what is due first; true if a request has come before."""
        due, _, then = self._due[0]
        left = due - time.monotonic()
        if left > 0:
            return bool(self._socket.poll(1 + int(left * 1000)))
        heappop(self._due)
        then()
        return False

    def _take(self, routing_id: bytes, data: bytes) -> None:
        sender = self._senders.get(routing_id)
        if sender is None:
            self._send(routing_id, encode_error(0, "not a participant of this VM"))
            return
        try:
            request = decode_request(data)
        except MalformedMessage as error:
            self._send(routing_id, encode_error(error.id, str(error)))
            return
        kind, request_id = request[0], request[1]
        if request_id:
            last = self._last[sender]
            if request_id <= last:
                if request_id < last:  # its like is the repetition of a request that has been taken
                    self._refuse(sender, request_id, f"request {request_id} comes after request {last}")
                return
            self._last[sender] = request_id
            if sender >= 0:
                if request_id == self._answered[sender]:
                    self._answer(sender, request_id)
                    return
                if self._quiescence.pending and kind != Kind.POST:  # whose sender did not stop at that point
                    self._quiescence.heard(sender)
        handler = self._handlers.get(kind)
        if handler is None:  # a transaction
            if sender in self._joined and request_id:
                self._execute(sender, request)
            else:
                self._refuse(
                    sender, request_id, f"{Kind(kind).name} is for harts that have joined, with an id"
                )
            return
        row = CATALOGUE[kind]
        if row.sender is not Sender.ANYONE and (row.sender is Sender.COORDINATOR) != (sender < 0):
            self._refuse(sender, request_id, f"{row.kind.name} is the {row.sender.name.lower()}'s to send")
            return
        handler(sender, request)

    def _send(self, routing_id: bytes, data: bytes) -> None:
        # A ROUTER never blocks: it drops what a peer does not take. That peer alone pays.
        self._transmit(routing_id, zmq.SNDMORE)
        self._transmit(data)

    def _answer(self, sender: int, request_id: int, *values: int) -> None:
        if request_id:
            if not values and sender >= 0:
                self._pages[sender][Hart.ANSWERED] = request_id
            self._send(self._tokens[sender], encode_answer(request_id, *values))

    def _refuse(self, sender: int, request_id: int, text: str) -> None:
        self._send(self._tokens[sender], encode_error(request_id, text))

    # Handlers

    def _join(self, hart: int, request: list[int]) -> None:
        if request[2] != VERSION:
            self._refuse(hart, request[1], f"message catalogue {request[2]}; this bus speaks {VERSION}")
            return
        if hart in self._left:
            self._refuse(hart, request[1], f"hart {hart} has left; a hart joins once")
            return
        self._pages[hart][Hart.JOINED] = 1
        self._joined.add(hart)
        self._quiescence.runs(hart)
        self._answer(hart, request[1])

    def _leave(self, hart: int, request: list[int]) -> None:
        self._gone(hart)
        self._answer(hart, request[1])

    def _hart_gone(self, sender: int, request: list[int]) -> None:
        if request[2] >= len(self._pages):
            self._refuse(sender, request[1], f"hart {request[2]}: this VM has 0 to {len(self._pages) - 1}")
            return
        self._gone(request[2])
        self._answer(sender, request[1])

    def _gone(self, hart: int) -> None:
        self._pages[hart][Hart.JOINED] = 0
        self._joined.discard(hart)
        self._left.add(hart)
        self._waits.pop(hart, None)
        self._arbiter.hart_gone(hart)
        self._quiescence.rests(hart)

    def _wait(self, hart: int, request: list[int]) -> None:
        if hart not in self._joined or not request[1]:
            self._refuse(hart, request[1], "WAIT is for harts that have joined, with an id")
        elif self._pages[hart][Hart.DOORBELL] or (request[2] and not self._arbiter.holds_reservation(hart)):
            self._answer(hart, request[1])
        else:
            self._waits[hart] = (request[1], bool(request[2]))
            self._quiescence.rests(hart)

    def _end_wait(self, hart: int) -> None:
        request_id, _ = self._waits.pop(hart)
        self._quiescence.runs(hart)
        self._answer(hart, request_id)

    def _wake(self, sender: int, request: list[int]) -> None:
        if request[2] in self._waits:
            self._end_wait(request[2])
        self._answer(sender, request[1])

    def _reservation_lost(self, hart: int) -> None:
        _, with_reservation = self._waits.get(hart, (0, False))
        if with_reservation:
            self._end_wait(hart)

    def _quiescent(self, hart: int, request: list[int]) -> None:
        self._quiescence.acknowledged(hart, request[2])
        self._answer(hart, request[1])

    def _external_write(self, sender: int, request: list[int]) -> None:
        _, request_id, address, size, value = request
        try:
            self._arbiter.external_write(address, size, value, lambda: self._answer(sender, request_id))
            self._segment.header[Header.EXTERNAL_WRITES] += 1
        except Refused as refused:
            self._refuse(sender, request_id, str(refused))

    def _watch(self, sender: int, request: list[int]) -> None:
        try:
            page = self._segment.memory.offset(request[2], 1) >> PAGE_EXP
        except MemoryFault as fault:
            self._refuse(sender, request[1], str(fault))
            return
        others = self._segment.page_map[page] & ~PageState.WATCHED
        self._segment.page_map[page] = others | (PageState.WATCHED if request[3] else 0)
        self._answer(sender, request[1])

    def _end(self, sender: int, request: list[int]) -> None:
        raise _Over

    def _statistics(self, sender: int, request: list[int]) -> None:
        _, request_id, addresses, start = request
        if not start:
            self._rows = self._arbiter.statistics(addresses)
        piece = self._rows[start : start + ROWS_PER_ANSWER]
        self._send(self._tokens[sender], encode_rows(request_id, len(self._rows), piece))


class _Over(Exception):
    """The coordinator has ended the run."""


def run(spec: BusSpec, listener: int | None = None) -> bool:
    """The bus process's main function; `listener` as for `BusServer`.

    Returns:
        Whether nothing is left in the process of what it was, so that it may be used again.

    """
    segment = Segment.attach(spec.segment)
    BusServer(spec, segment, listener, zmq.Context.instance()).serve()
    return segment.let_go()
