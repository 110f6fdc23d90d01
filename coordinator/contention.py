"""Where SCs failed, and which LR/SC loops got nowhere: read from the hart pages at the end of a run.

Owns what counts as being stuck. Reads the segment; changes nothing.

A hart is stuck if its last SCs, MANY in a row, all failed, and it has not ended by itself. If that holds for every hart
that still ran, it is a livelock: they keep each other, or themselves, from going on. If others went on, it is
starvation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from bus.access import AtomicKind, MemoryFault, ScFailure
from bus.failures import failure_sites
from bus.layout import Hart, HartEnding
from bus.memory import GuestMemory
from bus.segment import Segment, Words
from coordinator.result import FailedScs, StuckLoop
from hart.image import Image
from hart.isa.decoder import Decoder
from hart.isa.instruction import Instruction, instruction_at
from hart.isa.loops import find_loop

MANY = 1000
"""SCs that fail in a row for a hart to be stuck: with 64 harts that take turns, one in ten million is so by chance."""
MOST_ROWS = 256
"""Rows of a result's table of failed SCs."""


def failed_scs(segment: Segment, image: Image) -> tuple[FailedScs, ...]:
    """The table of failed SCs of all harts together, most frequent first."""
    by_place: dict[tuple[int, int, ScFailure], dict[int, int]] = {}
    for hart, page in enumerate(segment.harts):
        for site in failure_sites(page):
            by_place.setdefault((site.pc, site.granule, site.cause), {})[hart] = site.count
    base, exp = segment.geometry.ram_base, segment.geometry.granule_exp
    rows = [
        FailedScs(
            pc=pc,
            symbol=image.symbolize(pc),
            granule=base + (granule << exp),
            place=image.symbolize(base + (granule << exp)),
            cause=cause,
            by_hart=by_hart,
        )
        for (pc, granule, cause), by_hart in by_place.items()
    ]
    rows.sort(key=lambda row: -sum(row.by_hart.values()))
    return tuple(rows[:MOST_ROWS])


def stuck_loops(segment: Segment, image: Image, decoders: Iterable[frozenset[str]]) -> tuple[StuckLoop, ...]:
    """The loops in which harts were stuck at the end, one row for each; `decoders` are each hart's extensions."""
    extensions = tuple(decoders)
    still = [h for h, page in enumerate(segment.harts) if page[Hart.ENDING] in _NOT_BY_ITSELF]
    stuck = [h for h in still if _is_stuck(segment.harts[h])]
    verdict = "livelock" if len(stuck) == len(still) else "starvation"
    by_sc: dict[int, list[int]] = {}
    for hart in stuck:
        by_sc.setdefault(segment.harts[hart][Hart.SC_PC], []).append(hart)
    return tuple(
        _loop(segment, image, verdict, sc, harts, extensions[harts[0]]) for sc, harts in sorted(by_sc.items())
    )


_NOT_BY_ITSELF = (HartEnding.NONE, HartEnding.STOPPED, HartEnding.LIMIT)


def _is_stuck(page: Words) -> bool:
    latest = page[Hart.ATOMICS + AtomicKind.SC]
    return page[Hart.SC_FAILED_IN_A_ROW] >= MANY and page[Hart.SC_LAST_FAILED] == latest


def _loop(
    segment: Segment, image: Image, verdict: str, sc: int, harts: list[int], extensions: frozenset[str]
) -> StuckLoop:
    loop = find_loop(_reader(segment.memory, Decoder(extensions)), sc)
    causes: Counter[ScFailure] = Counter()
    for hart in harts:
        for site in failure_sites(segment.harts[hart]):
            if site.pc == sc:
                causes[site.cause] += site.count
    start = sc if loop is None or loop.lr is None else loop.lr
    return StuckLoop(
        verdict=verdict,
        harts=tuple(harts),
        in_a_row=min(segment.harts[hart][Hart.SC_FAILED_IN_A_ROW] for hart in harts),
        start=start,
        sc=sc,
        symbol=image.symbolize(start),
        unconstrained="the SC is gone" if loop is None else loop.unconstrained,
        causes=dict(causes),
    )


def _reader(memory: GuestMemory, decoder: Decoder) -> Callable[[int], Instruction | None]:
    """The instruction at an address, or None."""

    def fetch(pc: int) -> int | None:
        try:
            low = memory.load(pc, 2)
            return low if low & 3 != 3 else low | memory.load(pc + 2, 2) << 16
        except MemoryFault:
            return None

    return lambda pc: instruction_at(decoder, fetch, pc)
