"""The account of a run: what the hart pages and the bus say at its end, as results.

Reads the segment; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from bus.access import AtomicKind, MemoryFault, ScFailure
from bus.layout import Hart, HartEnding, Header
from bus.segment import Segment
from bus.traffic import TRAFFIC, Traffic
from coordinator.result import (
    BusyGranule,
    CodeProfile,
    Ending,
    HartResult,
    HotAddress,
    TrapReport,
    messages,
)
from hart.causes import cause_name
from hart.image import Image
from hart.isa.decoder import Decoder
from hart.isa.disassembler import describe
from hart.profile import INTERPRETED, LOADING, CodeTime

_ENDINGS = {
    HartEnding.EXIT: Ending.EXIT,
    HartEnding.TRAP: Ending.TRAP,
    HartEnding.PARKED: Ending.PARKED,
    HartEnding.LIMIT: Ending.LIMIT,
    HartEnding.STOPPED: Ending.STOPPED,
    HartEnding.DIED: Ending.HART_DIED,
}


def messages_so_far(segment: Segment) -> int:
    """What `VmResult.messages` would be now."""
    by_directory = (page[Hart.COHERENCE + Traffic.MESSAGE] for page in segment.harts)
    return messages(segment.header[Header.BUS_TRANSACTIONS], by_directory)


def hart_ending(segment: Segment, hart: int) -> Ending:
    """Why a hart ended; one that was killed at the end of the run counts as stopped."""
    return _ENDINGS.get(HartEnding(segment.harts[hart][Hart.ENDING]), Ending.STOPPED)


def hart_result(
    segment: Segment, hart: int, image: Image, extensions: frozenset[str], times: list[CodeTime]
) -> HartResult:
    """One hart's result; `extensions` are the decoder's, `times` its profile."""
    page = segment.harts[hart]
    ending = hart_ending(segment, hart)
    return HartResult(
        hart=hart,
        ending=ending,
        pc=page[Hart.PC],
        x=tuple(page[Hart.X + i] for i in range(32)),
        instret=page[Hart.INSTRET],
        wall_s=page[Hart.WALL_NS] / 1e9,
        trap=_trap(segment, hart, image, extensions) if ending is Ending.TRAP else None,
        traps_taken=page[Hart.TRAP_COUNT],
        atomics={k: page[Hart.ATOMICS + k] for k in AtomicKind if page[Hart.ATOMICS + k]},
        sc_failures={f: page[Hart.SC_FAILURES + f] for f in ScFailure if page[Hart.SC_FAILURES + f]},
        sc_failures_in_a_row=page[Hart.SC_MOST_IN_A_ROW],
        profile=tuple(_code_profile(time, image) for time in times),
        traffic={t: page[Hart.COHERENCE + t] for t in Traffic if page[Hart.COHERENCE + t]},
    )


def _code_profile(time: CodeTime, image: Image) -> CodeProfile:
    if time.tier == LOADING:
        return CodeProfile("(loading native code)", 0, 0, "-", 0, time.ns / 1e9)
    symbol = image.covering(time.start)
    function = f"{time.start:#x}" if symbol is None else symbol.name
    tier = "interpreter" if time.tier == INTERPRETED else f"t{time.tier}"
    return CodeProfile(function, time.start, time.end, tier, time.instructions, time.ns / 1e9)


def _trap(segment: Segment, hart: int, image: Image, extensions: frozenset[str]) -> TrapReport:
    page = segment.harts[hart]
    pc = page[Hart.PC]
    memory = segment.memory
    try:
        bits = memory.load(pc, 2)
        if bits & 3 == 3:
            bits |= memory.load(pc + 2, 2) << 16
        text = describe(bits, pc, decoder=Decoder(extensions), symbolize=image.symbolize)
    except MemoryFault as fault:
        text = str(fault)
    cause = page[Hart.TRAP_CAUSE]
    return TrapReport(cause, cause_name(cause), page[Hart.TRAP_TVAL], pc, text)


def hot_addresses(rows: list[list[int]], image: Image) -> tuple[HotAddress, ...]:
    """The bus's table of hot addresses (see `Kind.STATISTICS`), with names."""
    found = _by_address(row for row in rows if row[2] < TRAFFIC)
    return tuple(
        HotAddress(
            a, image.symbolize(a), {h: {AtomicKind(k): n for k, n in c.items()} for h, c in by.items()}
        )
        for a, by in found.items()
    )


def busy_granules(rows: list[list[int]], image: Image) -> tuple[BusyGranule, ...]:
    """Likewise of granules that changed hands."""
    found = _by_address(row for row in rows if row[2] >= TRAFFIC)
    return tuple(
        BusyGranule(
            a, image.symbolize(a), {h: {Traffic(k - TRAFFIC): n for k, n in c.items()} for h, c in by.items()}
        )
        for a, by in found.items()
    )


def _by_address(rows: Iterable[list[int]]) -> dict[int, dict[int, dict[int, int]]]:
    """Counts by address, hart and kind."""
    found: dict[int, dict[int, dict[int, int]]] = {}
    for address, hart, kind, count in rows:
        found.setdefault(address, {}).setdefault(hart, {})[kind] = count
    return found
