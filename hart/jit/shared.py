"""What a hart and the compile service of its VM say to each other: the request, the index of what is ready.

Owns their form and the hart's end. Compiles nothing (`hart.jit.service`), so it loads quickly.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgpack
import zmq

from bus.layout import Header
from bus.policies import Reservations
from bus.segment import Segment
from hart.jit.cache import CompiledRegion, ObjectCache
from hart.jit.codegen import Tier
from hart.jit.instruments import Instrument

INDEX = "regions"
"""Name of the index, in the VM's runtime directory."""
END = b""
"""What is said to the service instead of a request when the run is over."""
_INSTRUMENTS = range(max(Instrument) * 2)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What a compile service needs to know.

    Attributes:
        segment: name of the VM's segment.
        directory: the VM's runtime directory; holds the socket and the index.
        extension_sets: what the decoders of the harts know, each set once; requests name them by number.
        policy: name of the coherence policy, with `reservations`.
        cache: directory of the object cache.
        program: identifies the guest program (`hart.image.Image.digest`); empty if none was loaded.
        tiers: which ones harts ask for.

    """

    segment: str
    directory: str
    extension_sets: tuple[frozenset[str], ...]
    policy: str
    reservations: Reservations
    cache: str
    program: str
    tiers: tuple[Tier, ...]


def run_service(spec: ServiceSpec) -> bool:
    """The compile service's main function, for whoever starts it and need not load the compiler."""
    from hart.jit.service import run

    return run(spec)


def endpoint(directory: str) -> str:
    """Where the service of the VM with that directory listens."""
    return f"ipc://{directory}/compile"


class Request(NamedTuple):
    """That a region be compiled; see `hart.tiers.Compiler.request`."""

    entry: int
    tier: Tier
    extension_set: int
    instruments: Instrument


def decode(data: bytes) -> Request | None:
    """The request that these bytes are, or None."""
    try:
        entry, tier, extension_set, instruments = msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    if type(entry) is not int or tier not in (Tier.T1, Tier.T2) or instruments not in _INSTRUMENTS:
        return None
    if type(extension_set) is not int or extension_set < 0:
        return None
    return Request(entry, Tier(tier), extension_set, Instrument(instruments))


class SharedCompiler:
    """A hart's end: see `hart.tiers.Compiler`."""

    def __init__(self, segment: Segment, directory: str, cache: str, extension_set: int) -> None:
        """Connect to the VM's service, for a hart with the extension set of that number; it need not be there yet."""
        self._header = segment.header
        self._index = Path(directory) / INDEX
        self._cache = ObjectCache(Path(cache))
        self._set = extension_set
        self._generation = 0
        self._position = 0
        shared: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = shared.socket(zmq.PUSH)
        self._socket.linger = 0
        self._socket.connect(endpoint(directory))

    def request(self, entry: int, tier: Tier, instruments: Instrument) -> None:
        """See `Compiler.request`."""
        with contextlib.suppress(zmq.Again):  # the service is far behind or gone
            self._socket.send(msgpack.packb((entry, int(tier), self._set, int(instruments))), zmq.NOBLOCK)

    def arrivals(self) -> list[CompiledRegion]:
        """See `Compiler.arrivals`."""
        generation = self._header[Header.CODE_GENERATION]
        if generation == self._generation:
            return []
        self._generation = generation
        with self._index.open("rb") as index:
            index.seek(self._position)
            lines = index.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._position += len(whole)
        lines_of = (line.split() for line in whole.decode().splitlines())
        loaded = (self._cache.load(key) for number, key in lines_of if int(number) == self._set)
        return [region for region in loaded if region is not None]

    def end(self) -> None:
        """Have the service end, once it has answered what was asked before."""
        with contextlib.suppress(zmq.Again):
            self._socket.send(END, zmq.NOBLOCK)

    def close(self) -> None:
        """Disconnect, at once."""
        self._socket.close(0)
