"""The bus process: one per VM, takes requests from its harts and from the coordinator and answers each.

Owns the socket, who may speak, joining and leaving, waits and wake-ups. Leaves every atomic to the policy's arbiter.

Nobody can stop it with a message: a request that is malformed, unknown or not its sender's to make costs the sender
an error answer. A message from a routing id that is no token of this VM is answered with an error too, and reaches
nothing else. The process ends when the coordinator says so (SIGTERM) or is gone; then it removes what would be left
over: the segment's name and the socket directory.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq

from bus.access import MemoryFault
from bus.layout import Hart, Header
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
from bus.policies import ArbiterContext, Reservations, policy
from bus.quiescence import Quiescence
from bus.segment import Segment, unlink

ROWS_PER_ANSWER = 512
LIVENESS_MS = 100
"""How often the process looks whether its coordinator still lives."""


@dataclass(frozen=True, slots=True)
class BusSpec:
    """What a bus process needs to know.

    Attributes:
        segment: name of the VM's segment.
        endpoint: `ipc://` address to bind, inside `directory`.
        directory: removed when the coordinator is gone.
        hart_tokens: routing id of each hart, by number.
        coordinator_token: routing id of the coordinator.
        policy: name of the coherence policy.
        reservations: its settings.
        order_log: file for the total order, or None.

    """

    segment: str
    endpoint: str
    directory: str
    hart_tokens: tuple[bytes, ...]
    coordinator_token: bytes
    policy: str
    reservations: Reservations
    order_log: str | None = None


_COORDINATOR = -1


class BusServer:
    """The request loop. `serve` returns when `stopping` becomes true."""

    def __init__(self, spec: BusSpec, segment: Segment) -> None:
        """Bind the endpoint and take over the segment as it is."""
        self._segment = segment
        self._pages = tuple(hart.view for hart in segment.harts)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = 4096
        self._senders: dict[bytes, int] = {token: i for i, token in enumerate(spec.hart_tokens)}
        self._senders[spec.coordinator_token] = _COORDINATOR
        self._tokens = (*spec.hart_tokens, spec.coordinator_token)  # [-1] is the coordinator's
        self._waits: dict[int, tuple[int, bool]] = {}
        """Open WAITs by hart: id, and whether they end with the reservation."""
        self._quiescence = Quiescence(segment)
        self._log = OrderLog(Path(spec.order_log)) if spec.order_log else None
        self._arbiter = policy(spec.policy).arbiter(
            ArbiterContext(
                segment=segment,
                reservations=spec.reservations,
                quiescence=self._quiescence,
                answer=self._answer,
                refuse=self._refuse,
                reservation_lost=self._reservation_lost,
                record=self._log.append if self._log else None,
            )
        )
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
        }
        self.stopping = False
        # Before binding: a participant that reaches the new process must find the new generation.
        generation = segment.header[Header.BUS_GENERATION]
        segment.header[Header.BUS_GENERATION] = generation + 1
        if generation:
            # Harts may be anywhere: each counts as running until its repeated request shows otherwise.
            self._quiescence.running |= {i for i, p in enumerate(self._pages) if p[Hart.JOINED]}
        self._socket.bind(spec.endpoint)

    def close(self) -> None:
        """Unbind."""
        self._socket.close(0)
        self._context.term()
        if self._log:
            self._log.close()

    def serve(self, alive: Callable[[], bool]) -> None:
        """Answer requests until `stopping`, or until `alive` (asked now and then) says no."""
        socket = self._socket
        receive = socket.recv_multipart
        header = self._segment.header.view
        while not self.stopping:
            if not socket.poll(LIVENESS_MS):
                if not alive():
                    return
                if self._log:
                    self._log.flush()
                continue
            for _ in range(256):
                try:
                    frames = receive(zmq.NOBLOCK)
                except zmq.Again:
                    break
                self._take(frames)
                header[Header.BUS_TRANSACTIONS] += 1

    def _take(self, frames: list[bytes]) -> None:
        sender = self._senders.get(frames[0])
        if sender is None or len(frames) != 2:
            self._send(frames[0], encode_error(0, "not a participant of this VM"))
            return
        try:
            request = decode_request(frames[1])
        except MalformedMessage as error:
            self._send(frames[0], encode_error(error.id, str(error)))
            return
        kind, request_id = request[0], request[1]
        handler = self._handlers.get(kind)
        if handler is None:  # a transaction
            if sender < 0 or not self._pages[sender][Hart.JOINED]:
                self._refuse(sender, request_id, f"{Kind(kind).name} is for harts that have joined")
                return
            self._quiescence.rests(sender)
            self._arbiter.handle(sender, request)
            return
        row = CATALOGUE[kind]
        if row.sender is not Sender.ANYONE and (row.sender is Sender.COORDINATOR) != (sender < 0):
            self._refuse(sender, request_id, f"{row.kind.name} is the {row.sender.name.lower()}'s to send")
            return
        if request_id and sender >= 0:
            self._quiescence.rests(sender)
        handler(sender, request)

    def _send(self, routing_id: bytes, data: bytes) -> None:
        try:
            self._socket.send_multipart((routing_id, data), zmq.NOBLOCK)
        except zmq.Again:
            pass  # the peer does not read its answers; it alone pays

    def _answer(self, sender: int, request_id: int, *values: int) -> None:
        if sender >= 0:
            self._quiescence.running.add(sender)
        if request_id:
            self._send(self._tokens[sender], encode_answer(request_id, *values))

    def _refuse(self, sender: int, request_id: int, text: str) -> None:
        if sender >= 0 and self._pages[sender][Hart.JOINED]:
            self._quiescence.running.add(sender)
        self._send(self._tokens[sender], encode_error(request_id, text))

    # Handlers

    def _join(self, hart: int, request: list[int]) -> None:
        if request[2] != VERSION:
            self._refuse(hart, request[1], f"message catalogue {request[2]}; this bus speaks {VERSION}")
            return
        self._pages[hart][Hart.JOINED] = 1
        self._answer(hart, request[1])

    def _leave(self, hart: int, request: list[int]) -> None:
        self._gone(hart)
        if request[1]:
            self._send(self._tokens[hart], encode_answer(request[1]))

    def _hart_gone(self, sender: int, request: list[int]) -> None:
        if request[2] >= len(self._pages):
            self._refuse(sender, request[1], f"hart {request[2]}: this VM has 0 to {len(self._pages) - 1}")
            return
        self._gone(request[2])
        self._answer(sender, request[1])

    def _gone(self, hart: int) -> None:
        self._pages[hart][Hart.JOINED] = 0
        self._waits.pop(hart, None)
        self._arbiter.hart_gone(hart)
        self._quiescence.rests(hart)

    def _wait(self, hart: int, request: list[int]) -> None:
        if not self._pages[hart][Hart.JOINED]:
            self._refuse(hart, request[1], "WAIT is for harts that have joined")
            return
        rung = self._pages[hart][Hart.DOORBELL]
        if rung or (request[2] and not self._arbiter.holds_reservation(hart)):
            self._answer(hart, request[1])
        else:
            self._waits[hart] = (request[1], bool(request[2]))

    def _wake(self, sender: int, request: list[int]) -> None:
        waiting = self._waits.pop(request[2], None)
        if waiting is not None:
            self._answer(request[2], waiting[0])
        if request[1]:
            self._answer(sender, request[1])

    def _reservation_lost(self, hart: int) -> None:
        waiting = self._waits.get(hart)
        if waiting is not None and waiting[1]:
            del self._waits[hart]
            self._answer(hart, waiting[0])

    def _quiescent(self, hart: int, request: list[int]) -> None:
        self._quiescence.acknowledged(hart, request[2])

    def _external_write(self, sender: int, request: list[int]) -> None:
        address, size, value = request[2:]
        try:
            if size not in (1, 2, 4, 8):
                raise ValueError(f"size {size} is not one of 1, 2, 4, 8")
            self._arbiter.external_write(address, size, value)
        except (MemoryFault, ValueError) as error:
            self._refuse(sender, request[1], str(error))
            return
        self._answer(sender, request[1])

    def _statistics(self, sender: int, request: list[int]) -> None:
        rows = self._arbiter.statistics()
        start = request[2]
        data = encode_rows(request[1], len(rows), rows[start : start + ROWS_PER_ANSWER])
        self._send(self._tokens[sender], data)


def run(spec: BusSpec) -> None:
    """The bus process's main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    parent = os.getppid()
    segment = Segment.attach(spec.segment)
    server = BusServer(spec, segment)
    signal.signal(signal.SIGTERM, lambda number, frame: setattr(server, "stopping", True))
    server.serve(lambda: os.getppid() == parent)
    server.close()
    if os.getppid() != parent:
        remove_traces(spec.segment, spec.directory)


def remove_traces(segment: str, directory: str) -> None:
    """Remove what a VM leaves on the host when its coordinator was killed; idempotent."""
    unlink(segment)
    shutil.rmtree(directory, ignore_errors=True)
