"""The compile service: one process per VM that compiles each region once, for all harts.

Owns the queue of requests and the index of what is ready. Harts ask by a PUSH socket and never wait. A region that is
ready is a file in the object cache and a line in the index, and CODE_GENERATION in the header goes up; harts look at
that word at safepoints and load what is new to them.

Harts may differ in their extensions: the same code then means different things, and a region belongs to the harts of
one set. Harts with the same set share all.

What earlier runs of the program needed is ready from the start (`hart.jit.programs`).

T1 requests go before T2 requests, which take ten times as long. If the service dies, harts go on with what they have.
"""

from __future__ import annotations

import heapq
import os
import signal
import time
from pathlib import Path

import zmq

from bus.layout import Header
from bus.policies import Reservations, policy
from bus.recording import RecordingLowering
from bus.segment import Segment
from hart.isa.decoder import Decoder
from hart.jit.cache import ObjectCache
from hart.jit.compiler import RegionCompiler
from hart.jit.guest_memory import Geometry
from hart.jit.programs import ProgramRegions
from hart.jit.shared import END, INDEX, Request, ServiceSpec, decode, endpoint

LIVENESS_MS = 100
SAVE_S = 0.1
"""Time between two times that the programs' lists are written, while there is more to compile."""


def region_compiler(
    segment: Segment,
    extensions: frozenset[str],
    policy_name: str,
    reservations: Reservations,
    cache: Path | None,
) -> RegionCompiler:
    """A compiler for a VM; raises ValueError if the policy has no native form."""
    lowering = policy(policy_name).lowering
    if lowering is None:
        raise ValueError(f"policy {policy_name!r} has no native code: use --tier interpreter")
    geometry = Geometry(
        segment.geometry.ram_base,
        segment.geometry.ram_bytes,
        segment.geometry.granule_exp,
        2 if "Zca" in extensions else 4,
        "Zicclsm" in extensions,
    )
    accesses, recorded = lowering(reservations), segment.geometry.event_bytes > 0
    return RegionCompiler(
        segment.memory,
        Decoder(extensions),
        geometry,
        f"{policy_name}, recorded" if recorded else policy_name,
        RecordingLowering(accesses, geometry.ram_base) if recorded else accesses,
        reservations,
        None if cache is None else ObjectCache(cache),
    )


def run(spec: ServiceSpec) -> bool:
    """The compile service's main function.

    Returns:
        Whether nothing is left in the process of what it was, so that it may be used again: never after a compilation.

    """
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    segment = Segment.attach(spec.segment)
    compiled = _serve(spec, segment)
    signal.signal(signal.SIGINT, interrupt)
    return not compiled and segment.let_go()


def _serve(spec: ServiceSpec, segment: Segment) -> int:
    """Compile what is asked for, until END or the end of the parent; how many regions were compiled."""
    parent = os.getppid()
    cache = ObjectCache(Path(spec.cache))
    compilers = [
        region_compiler(segment, extensions, spec.policy, spec.reservations, Path(spec.cache))
        for extensions in spec.extension_sets
    ]
    shared: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    socket = shared.socket(zmq.PULL)
    socket.bind(endpoint(spec.directory))
    queue: list[tuple[int, int, Request]] = []
    waiting: set[Request] = set()
    number, save_at = 0, 0.0
    header = segment.header
    programs = [
        ProgramRegions(cache, c.program_key(spec.program, spec.tiers)) for c in compilers if spec.program
    ]
    with socket, (Path(spec.directory) / INDEX).open("ab", buffering=0) as index:
        for extension_set, (compiler, program) in enumerate(zip(compilers, programs, strict=False)):
            known = [key for key, region in program.regions() if compiler.holds(region)]
            compiler.counters.cached += len(known)
            header[Header.REGIONS_CACHED] += len(known)
            index.write(b"".join(f"{extension_set} {key}\n".encode() for key in known))
        header[Header.CODE_GENERATION] += header[Header.REGIONS_CACHED]
        while True:
            while socket.poll(0 if queue else LIVENESS_MS):
                message = socket.recv()
                if message == END:
                    for program in programs:
                        program.save()
                    return sum(c.counters.compiled for c in compilers)
                request = decode(message)
                if request is not None and request.extension_set < len(compilers) and request not in waiting:
                    waiting.add(request)
                    number += 1
                    heapq.heappush(queue, (request.tier, number, request))
            if os.getppid() != parent:
                return sum(c.counters.compiled for c in compilers)
            if not queue:
                continue
            _, _, request = heapq.heappop(queue)
            waiting.discard(request)
            compiler = compilers[request.extension_set]
            key, region = compiler.compile(request.entry, request.tier, time.monotonic, request.instruments)
            if not cache.path(key).exists():
                cache.store(key, region)
            if programs:
                programs[request.extension_set].add(key, region)
            index.write(f"{request.extension_set} {key}\n".encode())
            header[Header.REGIONS_COMPILED] = sum(c.counters.compiled for c in compilers)
            header[Header.REGIONS_CACHED] = sum(c.counters.cached for c in compilers)
            header[Header.CODE_GENERATION] += 1
            now = time.monotonic()
            if not queue or now >= save_at:  # the service is killed if it compiles when the run ends
                save_at = now + SAVE_S
                for program in programs:
                    program.save()
