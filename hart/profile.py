"""Profiling: how many instructions each piece of guest code retired and how long that took, in every tier.

Owns the measurement in a hart process. Names no function and prints nothing.

Native regions carry an instrument (`hart.jit.instruments.Instrument.PROFILED`): where control leaves a region, it adds
what it retired and the host cycles since control came to it. A profiled region ends at calls, so that each lies in one
function as far as direct jumps keep to theirs. The interpreter is measured from jump to jump; what it takes to enter
and leave native code counts as its time. Instructions are exact: those of all pieces add up to what the hart retired.
Cycles become time by the ratio that both have in all native code of the hart.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgpack

from bus.port import MemoryPort
from bus.segment import Segment, Words
from hart.clint import Clint
from hart.interpreter import Interpreter
from hart.jit.cache import CompiledRegion
from hart.jit.codegen import Tier
from hart.jit.context import COUNT_WORDS, Word
from hart.jit.engine import LONGEST_STRIDE, NORESERVE, Engine
from hart.jit.instruments import CYCLES, CYCLES_DECLARATION, Instrument
from hart.tiers import Compiler, TieredInterpreter

INTERPRETED = 0
"""Stands for a tier: T0."""
LOADING = -1
"""Stands for a tier, and for all code: looking for native code and loading it."""

_ON_ENTRY = f"""
  %since = getelementptr i64, ptr %c, i64 {int(Word.SINCE)}
  %now = call i64 {CYCLES}()
  store i64 %now, ptr %since
"""


@dataclass(frozen=True, slots=True)
class CodeTime:
    """What a piece of code took.

    Attributes:
        tier: INTERPRETED, or a native tier's number; LOADING with no addresses.
        start: guest address of its first instruction.
        end: guest address after its last.
        instructions: how many it retired.
        ns: nanoseconds that it ran.

    """

    tier: int
    start: int
    end: int
    instructions: int
    ns: int


def write(path: Path, times: list[CodeTime]) -> None:
    """Store a hart's profile."""
    path.write_bytes(msgpack.packb([(t.tier, t.start, t.end, t.instructions, t.ns) for t in times]))


def read(path: Path) -> list[CodeTime]:
    """A stored profile; empty if the hart was killed before it could store it."""
    try:
        return [CodeTime(*row) for row in msgpack.unpackb(path.read_bytes())]
    except FileNotFoundError:
        return []


class ProfiledInterpreter(Interpreter):
    """An `Interpreter` that measures itself."""

    def __init__(
        self, hart: int, extensions: frozenset[str], port: MemoryPort, page: Words, clint: Clint
    ) -> None:
        """As `Interpreter`."""
        super().__init__(hart, extensions, port, page, clint)
        self._prepare()

    def _prepare(self) -> None:
        self._blocks: dict[int, list[int]] = {}
        """End, instructions and nanoseconds by the address that a jump went to."""
        self._block = 0
        self._counted = self._measured = 0
        self._runs = False

    def _elsewhere(self) -> tuple[int, int]:
        """Instructions and nanoseconds that were not the interpreter's."""
        return 0, 0

    def _charge(self, next_block: int, retiring: int = 0) -> None:
        """Give what was done since the last call to the current block, and begin another."""
        instructions, ns = self._elsewhere()
        count = self.instret + retiring - instructions
        now = time.perf_counter_ns() - ns
        block = self._blocks.setdefault(self._block, [0, 0, 0])
        block[0] = max(block[0], self._here + 2)
        block[1] += count - self._counted
        block[2] += now - self._measured
        self._block, self._counted, self._measured = next_block, count, now

    def run(self, count: int) -> None:
        """See `Interpreter.run`."""
        instructions, ns = self._elsewhere()
        self._block, self._counted = self.at, self.instret - instructions
        self._measured = time.perf_counter_ns() - ns
        self._runs = True
        try:
            super().run(count)
        finally:
            self._charge(self.at)
            self._runs = False

    def _go(self, target: int) -> None:
        super()._go(target)
        self._charge(target, retiring=1)

    def mret(self) -> None:
        """See `Algebra.mret`."""
        super().mret()
        self._charge(self._following, retiring=1)

    def _enter(self, cause: int, tval: int) -> None:
        super()._enter(cause, tval)
        if self._runs:  # interrupts are taken between
            self._charge(self.at)

    def profile(self) -> list[CodeTime]:
        """What each piece of code took so far."""
        return [
            CodeTime(LOADING, 0, 0, 0, ns)
            if start == LOADING
            else CodeTime(INTERPRETED, start, max(end, start + 2), instructions, ns)
            for start, (end, instructions, ns) in self._blocks.items()
            if instructions or ns
        ]


class ProfilingEngine(Engine):
    """An `Engine` for regions that count."""

    declarations = CYCLES_DECLARATION
    on_entry = _ON_ENTRY

    def __init__(self, segment: Segment, hart: int, support: int = 0) -> None:
        """No region yet."""
        super().__init__(segment, hart, support)
        size = segment.geometry.ram_bytes // 2 * COUNT_WORDS * 8
        self._counts_map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
        self.counts = memoryview(self._counts_map).cast("Q")
        self.context[Word.COUNTS] = ctypes.addressof(ctypes.c_char.from_buffer(self._counts_map))
        self.ns = 0
        """Nanoseconds in native code."""
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[int], None] = lambda pc: None

    def enter(self, native: int, fuel: int, stride: int = LONGEST_STRIDE) -> int:
        """See `Engine.enter`."""
        self.before()
        start = time.perf_counter_ns()
        pc = super().enter(native, fuel, stride)
        self.ns += time.perf_counter_ns() - start
        self.after(pc)
        return pc


class ProfiledTieredInterpreter(ProfiledInterpreter, TieredInterpreter):
    """A `TieredInterpreter` that measures itself and its native code."""

    engine: ProfilingEngine
    _always = Instrument.PROFILED
    _engine_type = ProfilingEngine

    def __init__(
        self,
        hart: int,
        extensions: frozenset[str],
        port: MemoryPort,
        segment: Segment,
        clint: Clint,
        compiler: Compiler,
        warm: tuple[Tier, ...] = (Tier.T1, Tier.T2),
    ) -> None:
        """As `TieredInterpreter`."""
        TieredInterpreter.__init__(self, hart, extensions, port, segment, clint, compiler, warm)
        self._prepare()
        self._ram_base = segment.geometry.ram_base
        self._extents: dict[tuple[int, int], tuple[int, int]] = {}
        """First and last address by entry and tier of each region that was ever loaded."""
        self.engine.before = lambda: self._charge(self._block)
        self.engine.after = self._returned

    def _returned(self, pc: int) -> None:
        self._block = pc

    def _elsewhere(self) -> tuple[int, int]:
        return self.native_instructions, self.engine.ns

    def _load_arrivals(self) -> None:
        block = self._block
        self._charge(LOADING)
        super()._load_arrivals()
        self._charge(block)

    def _load(self, region: CompiledRegion) -> None:
        super()._load(region)
        if self._loaded.get(region.entry) == region.tier and region.stretches:
            extent = (region.stretches[0][0], region.stretches[-1][1])
            self._extents[region.entry, region.tier] = extent

    def profile(self) -> list[CodeTime]:
        """See `ProfiledInterpreter.profile`."""
        found = []
        for (entry, tier), (start, end) in self._extents.items():
            at = (entry - self._ram_base >> 1) * COUNT_WORDS + 2 * (tier - 1)
            instructions, cycles = self.engine.counts[at : at + 2]
            if cycles:
                found.append((tier, start, end, instructions, cycles))
        total = sum(cycles for *_, cycles in found)
        native = [
            CodeTime(tier, start, end, instructions, cycles * self.engine.ns // total)
            for tier, start, end, instructions, cycles in found
        ]
        return native + super().profile()
