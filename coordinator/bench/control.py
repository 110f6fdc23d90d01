"""The control channel's benchmark: ONE_REG through the Python client beside a bare pyzmq round trip.

Owns what is measured: a client waits for each answer before it asks again, against a server in a process of its own.
The bare server is the fastest that Python has, one that blocks and sends back an answer of the same size. Short rounds
of both alternate, so that what else the host does hits both alike. A rate is 1 / the median time of a round trip, for a
mean on a busy host is what others make it; figures are medians over the rounds of one run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

import zmq

from coordinator.control.client import ControlClient, RemoteVm
from coordinator.control.messages import Empty, GetOneReg, SetOneReg, Value, encode_reply, encode_request
from coordinator.registers import find
from coordinator.spec import VmSpec

AIM_RATIO = 0.5
"""What ONE_REG shall reach of the bare round trip."""
_ROUND = 200
"""Round trips of one kind in a row."""
_VALUE = 0x8000_0000
_SERVE = "from coordinator.cli import main; main()"
_BARE = (
    "import sys; from coordinator.bench.control import serve_bare; serve_bare(sys.argv[1], int(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class ControlSpeed:
    """One operation through the client.

    Attributes:
        operation: e.g. `get core.a0`.
        bare_per_s: bare round trips per second with messages of the same sizes.
        per_s: operations per second.
        ratio: median over the rounds of the operation's rate / the bare one's.
        p50_us: median time of one operation in microseconds; `p99_us` likewise.

    """

    operation: str
    bare_per_s: float
    per_s: float
    ratio: float
    p50_us: float
    p99_us: float


def control_speed(rounds: int) -> list[ControlSpeed]:
    """Measure each operation in so many rounds, on a VM of its own."""
    with tempfile.TemporaryDirectory(prefix="hartstorm-bench-") as scratch, _server(scratch) as client:
        vm = client.create_vm(VmSpec(name="bench", harts=1, ram_bytes=1 << 16))
        return [_measure(Path(scratch), vm, *row, rounds) for row in _operations(vm)]


def _operations(vm: RemoteVm) -> Iterator[tuple[str, Callable[[], object], bytes, bytes]]:
    for name in ("core.a0", "isa_ext.zacas"):
        request = encode_request(10_000, "get_one_reg", GetOneReg(vm=vm.id, hart=0, id=find(name).encode()))
        answer = encode_reply(10_000, Value(value=_VALUE))
        yield f"get {name}", lambda name=name: vm.get_one_reg(0, name), request, answer  # type: ignore[misc]
    body = SetOneReg(vm=vm.id, hart=0, id=find("core.a0").encode(), value=_VALUE)
    request, answer = encode_request(10_000, "set_one_reg", body), encode_reply(10_000, Empty())
    yield "set core.a0", lambda: vm.set_one_reg(0, "core.a0", _VALUE), request, answer


def _measure(
    scratch: Path,
    vm: RemoteVm,
    name: str,
    operation: Callable[[], object],
    request: bytes,
    answer: bytes,
    rounds: int,
) -> ControlSpeed:
    with _bare(scratch / "bare", request, len(answer)) as bare:
        _times(bare), _times(operation)
        pairs = [(_times(bare), _times(operation)) for _ in range(rounds)]
    medians = [(median(bare_times), median(times)) for bare_times, times in pairs]
    cuts = quantiles([seconds for _, times in pairs for seconds in times], n=100)
    return ControlSpeed(
        name,
        1 / median(bare_s for bare_s, _ in medians),
        1 / median(own_s for _, own_s in medians),
        median(bare_s / own_s for bare_s, own_s in medians),
        1e6 * cuts[49],
        1e6 * cuts[98],
    )


def _times(operation: Callable[[], object]) -> list[float]:
    clock = time.perf_counter
    stamps = [clock()]
    for _ in range(_ROUND):
        operation()
        stamps.append(clock())
    return [end - start for start, end in pairwise(stamps)]


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError("the server of the measurement has ended")
            yield
        finally:
            process.terminate()


@contextmanager
def _server(directory: str) -> Iterator[ControlClient]:
    endpoint = f"ipc://{directory}/private/control"
    with _process(_SERVE, "serve", "--endpoint", endpoint), ControlClient(endpoint) as client:
        yield client


@contextmanager
def _bare(path: Path, request: bytes, answer_bytes: int) -> Iterator[Callable[[], object]]:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(f"ipc://{path}")

    def round_trip() -> None:
        socket.send(request)
        socket.recv()

    try:
        with _process(_BARE, str(path), str(answer_bytes)):
            yield round_trip
    finally:
        context.destroy(linger=0)


def serve_bare(path: str, answer_bytes: int) -> None:
    """The bare server's process."""
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(f"ipc://{path}")
    print("ready", flush=True)
    answer = bytes(answer_bytes)
    while True:
        frames = socket.recv_multipart()
        socket.send_multipart((frames[0], answer))
