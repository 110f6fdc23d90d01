"""Measures `serial` transactions, waited for and posted, beside a bare pyzmq ping-pong of the same sizes.

Both sides are whole round trips: a client sends, waits for the answer, and only then sends again; every client and
the server are processes. The bare server is the fastest that Python has, one that blocks and sends back what it got.
The serial clients are harts' memory ports that do AMOs on one address, waiting for each (rd is wanted) or not (rd = x0:
`bus.policies.serial`, "Posting"). Repetitions alternate between the three.
"""

from __future__ import annotations

import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zmq

from bus.access import AmoOp, Order
from bus.layout import PAGE, RAM_BASE, Geometry, Hart, HartStatus, Header
from bus.link import BusLink
from bus.messages import Kind, encode_answer, encode_request
from bus.policies import PortContext, Reservations, policy
from bus.port import MemoryPort
from bus.segment import Segment, new_name
from bus.server import BusSpec
from bus.server import run as run_bus
from coordinator.launch import Process, drop, hold, launch

_WARM_UP = 20
_BATCH = 20
"""Round trips between two looks at the clock."""
_REQUEST = encode_request(Kind.AMO, 10_000, AmoOp.ADD, RAM_BASE, 8, 1, 0)
_ANSWER = encode_answer(10_000, 10_000)


@dataclass(frozen=True, slots=True)
class TransactionSpeed:
    """Per second, of all clients together: round trips, and AMOs that were posted.

    `ratio` is the median of serial / bare, repetition by repetition.
    """

    harts: int
    bare_per_s: float
    serial_per_s: float
    posted_per_s: float
    ratio: float


@dataclass(frozen=True, slots=True)
class _Client:
    segment: str
    endpoint: str
    token: bytes
    number: int
    seconds: float


def transaction_speed(harts: int, repetitions: int, seconds: float) -> TransactionSpeed:
    """Measure each for `seconds`, `repetitions` times."""
    runs = [
        (
            _measure(harts, seconds, _bare_server, _bare_client),
            _measure(harts, seconds, run_bus, _serial_client),
            _measure(harts, seconds, run_bus, _posting_client),
        )
        for _ in range(repetitions)
    ]
    bare, serial, posted = (statistics.median(column) for column in zip(*runs, strict=True))
    ratio = statistics.median(one_serial / one_bare for one_bare, one_serial, _ in runs)
    return TransactionSpeed(harts, bare, serial, posted, ratio)


def _measure(
    harts: int, seconds: float, server: Callable[[BusSpec], object], client: Callable[[_Client], None]
) -> float:
    name, directory = new_name(), tempfile.mkdtemp()
    with ExitStack() as stack:
        hold(name, directory)
        stack.callback(drop, name, directory)
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        segment = Segment.create(Geometry(harts, ram_bytes=PAGE), name)
        stack.callback(segment.unlink)
        stack.callback(segment.close)
        tokens = tuple(b"t" + secrets.token_bytes(16) for _ in range(harts + 1))
        endpoint = f"ipc://{Path(directory) / 'bus'}"
        spec = BusSpec(name, endpoint, tokens[:-1], tokens[-1:], "serial", Reservations())
        processes = [launch(server, spec, "bench-server")]
        processes += [
            launch(client, _Client(name, endpoint, token, i, seconds), f"bench-{i}")
            for i, token in enumerate(tokens[:-1])
        ]
        for process in processes:
            process.started()
            stack.callback(_end, process)
        pages = segment.harts
        while not all(page[Hart.STATUS] == HartStatus.PAUSED for page in pages):
            _check(processes)
        segment.header[Header.EXIT_TICKET] = 1  # go
        while not all(page[Hart.STATUS] == HartStatus.ENDED for page in pages):
            _check(processes)
        return sum(page[Hart.INSTRET] / page[Hart.WALL_NS] * 1e9 for page in pages)


def _end(process: Process) -> None:
    process.kill()
    process.join()
    process.close()


def _check(processes: list[Process]) -> None:
    time.sleep(0.005)
    if processes[0].has_ended():
        raise RuntimeError("the server of the measurement has ended")


def _bare_server(spec: BusSpec) -> None:
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(spec.endpoint)
    while True:
        frames = socket.recv_multipart()
        socket.send_multipart((frames[0], _ANSWER))


def _bare_client(spec: _Client) -> None:
    socket = zmq.Context().socket(zmq.DEALER)
    socket.routing_id = spec.token
    socket.connect(spec.endpoint)

    def round_trip() -> None:
        socket.send(_REQUEST)
        socket.recv()

    _repeat(spec, Segment.attach(spec.segment), round_trip)


def _serial_client(spec: _Client) -> None:
    _hart(spec, lambda port: port.amo(AmoOp.ADD, RAM_BASE, 8, 1, Order.NONE))


def _posting_client(spec: _Client) -> None:
    _hart(spec, lambda port: port.post_amo(AmoOp.ADD, RAM_BASE, 8, 1, Order.NONE))


def _hart(spec: _Client, access: Callable[[MemoryPort], object]) -> None:
    segment = Segment.attach(spec.segment)
    link = BusLink(spec.endpoint, spec.token, segment)
    link.join()
    port = policy("serial").port(PortContext(segment, spec.number, link, Reservations()))
    _repeat(spec, segment, lambda: access(port), port.settle)
    link.call(Kind.LEAVE)


def _repeat(
    spec: _Client, segment: Segment, access: Callable[[], object], finish: Callable[[], object] = lambda: None
) -> None:
    page = segment.harts[spec.number]
    for _ in range(_WARM_UP):
        access()
    page[Hart.STATUS] = HartStatus.PAUSED
    while not segment.header[Header.EXIT_TICKET]:
        time.sleep(0.001)
    done = 0
    start = time.monotonic_ns()
    end = start + int(spec.seconds * 1e9)
    while time.monotonic_ns() < end:
        for _ in range(_BATCH):
            access()
        done += _BATCH
    finish()
    page[Hart.INSTRET] = done
    page[Hart.WALL_NS] = time.monotonic_ns() - start
    page[Hart.STATUS] = HartStatus.ENDED
