"""A participant's side of the bus: one request at a time, repeated until it is answered.

Owns request ids, time-outs and the liveness of the other side. Knows no policy.

A request is executed once however often it is sent: a bus process drops the repetition of a request that it has
taken, and what its predecessor has executed it answers from the hart page. So the link repeats its open request
while it cannot know that the present bus process has it: once `BUS_GENERATION` in the header is not that of a
process that has answered, every POLL_MS until one does. (Once would not do: what is sent before the death of the
old connection has been noticed is lost.) Answers to other ids are leftovers of such repetitions and are dropped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgpack
import zmq

from bus.layout import Header
from bus.messages import VERSION, Kind, encode_request
from bus.segment import Segment

POLL_MS = 100
"""How often a blocked participant looks whether it still has a reason to wait."""


class BusError(Exception):
    """The bus refused a request; the text says why."""


class BusLost(Exception):
    """Nobody will answer: the participant must end."""


class BusLink:
    """A connection to the bus process of one VM.

    Attributes:
        abandoned: called while an answer is overdue; true means that waiting makes no sense any more.

    """

    def __init__(
        self,
        endpoint: str,
        token: bytes,
        segment: Segment,
        abandoned: Callable[[], bool] = lambda: False,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        """Connect to `endpoint` as the participant that owns `token`.

        Without a `context` of its caller's the link has its own, whose threads take a millisecond to start and end.
        """
        self.abandoned = abandoned
        self._header = segment.header
        self._sent_to = self._answered_by = self._header[Header.BUS_GENERATION]
        self._own_context: zmq.Context[zmq.Socket[bytes]] | None = None
        if context is None:
            context = self._own_context = zmq.Context()
        self._socket = context.socket(zmq.DEALER)
        self._socket.routing_id = token
        self._socket.linger = 0
        self._socket.rcvtimeo = POLL_MS
        self._socket.reconnect_ivl = 10
        self._socket.sndhwm = 0  # sending never blocks, also while there is no bus
        self._socket.connect(endpoint)
        self._send = self._socket.send
        self._receive = self._socket.recv
        self._unpack = msgpack.unpackb
        self._id = 0
        self._begun: bytes | None = None
        """A request that `begin` sent and that has not been answered."""

    def close(self, linger_ms: int = 0) -> None:
        """Disconnect, giving what was posted up to `linger_ms` to leave."""
        self._socket.close(linger_ms)
        if self._own_context is not None:
            self._own_context.term()

    def join(self) -> None:
        """Introduce this hart; raises BusError if the versions differ."""
        self.call(Kind.JOIN, VERSION, os.getpid())

    def call(self, kind: int, *fields: int) -> list[int]:
        """Send a request and wait for its answer; returns the values after the status.

        Raises:
            BusError: refused.
            BusLost: abandoned while waiting.

        """
        if self._begun is not None:
            self.finish()
        self._id += 1
        request = encode_request(kind, self._id, *fields)
        self._send(request)
        return self._answer(request)

    def _answer(self, request: bytes) -> list[int]:
        while True:
            try:
                answer = self._unpack(self._receive())
            except zmq.Again:
                self._overdue(request)
                continue
            if answer[1]:
                raise BusError(answer[2])
            if answer[0] == self._id:
                self._answered_by = self._sent_to
                values: list[int] = answer[2:]
                return values

    def begin(self, kind: int, ids: int, *fields: int) -> None:
        """Send a request that takes so many ids and go on; `finish`, or any other request, waits for its answer."""
        self.finish()
        self._id += ids
        self._begun = encode_request(kind, self._id, *fields)
        self._send(self._begun)

    def finish(self, patiently: bool = True) -> bool:
        """Whether what was begun has been answered; wait for that, unless told not to. Raises as `call` does."""
        if self._begun is not None and (patiently or self._socket.poll(0)):
            self._answer(self._begun)
            self._begun = None
        return self._begun is None

    def wait(self, hart: int, seconds: float | None, reservation: bool) -> None:
        """Block until someone wakes this hart, for at most `seconds`; see `Kind.WAIT`.

        A wait that runs out is ended by waking oneself, never by walking away: while its WAIT is unanswered the
        bus takes the hart for quiescent.
        """
        self.finish()
        self._id += 1
        request = encode_request(Kind.WAIT, self._id, int(reservation))
        deadline = None if seconds is None else time.monotonic() + seconds
        self._send(request)
        while True:
            patience = POLL_MS
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.post(Kind.WAKE, hart)
                else:
                    patience = min(patience, max(1, round(left * 1000)))
            if not self._socket.poll(patience):
                self._overdue(request)
                continue
            answer = self._unpack(self._receive())
            if answer[1]:
                raise BusError(answer[2])
            if answer[0] == self._id:
                self._answered_by = self._sent_to
                return

    def post(self, kind: int, *fields: int) -> None:
        """Send a request that gets no answer."""
        self._send(encode_request(kind, 0, *fields))

    def _overdue(self, request: bytes) -> None:
        if self.abandoned():
            raise BusLost("the bus does not answer any more")
        generation = self._header[Header.BUS_GENERATION]
        if generation != self._answered_by:
            self._sent_to = generation  # an answer from now on is this process's, or a later one's
            self._send(request)
