"""Choosing between the interpreter and native code, instruction by instruction exact.

Owns when a region is asked for and when native code is entered. Compiles nothing; executes in T0 what native code
hands back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from bus.port import MemoryPort
from bus.segment import Segment
from hart.clint import Clint
from hart.interpreter import HostEvent, Interpreter, Trap
from hart.jit.cache import CompiledRegion
from hart.jit.codegen import Tier
from hart.jit.context import REGION_LIMIT, Word
from hart.jit.engine import Engine

WARM = 40
"""Times that control jumps to an address before T1 is asked for."""
SLICE_NS = 200_000
"""Aim for the time between two looks at the doorbell."""
FIRST_SLICE = 100_000
LONGEST_SLICE = 4_000_000
INTERPRETED_SLICE = 64


class Compiler(Protocol):
    """Where regions come from."""

    def request(self, entry: int, tier: Tier) -> None:
        """Ask for a region; it comes by `arrivals`, now or later, at most once for each request."""

    def arrivals(self) -> list[CompiledRegion]:
        """Regions that are ready and were not handed out yet."""


class TieredInterpreter(Interpreter):
    """An `Interpreter` that runs hot code natively.

    Attributes:
        slice: instructions that `run` should be given, so that it takes about SLICE_NS.

    """

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
        """`warm` are the tiers to use, in the order in which a region gets them."""
        super().__init__(hart, extensions, port, segment.harts[hart], clint)
        self.engine = Engine(segment, hart)
        self.slice = FIRST_SLICE
        self._context = self.engine.context
        self._use_registers(self._context[Word.X : Word.X + 32])
        self._entries = self.engine.entries
        self._asked: dict[int, int] = {}
        """Best tier asked for, by entry."""
        self._loaded: dict[int, int] = {}
        """Best tier loaded, by entry."""
        self._counts: dict[int, int] = {}
        self._samples: dict[int, int] = {}
        self._compiler = compiler
        self._warm = warm
        self._jumped = False
        self.native_instructions = 0

    def run(self, count: int) -> None:
        """See `Interpreter.run`."""
        end = self.instret + count
        self._load_arrivals()
        context, enter, entries = self._context, self.engine.enter, self._entries
        start = time.monotonic_ns()
        while (left := end - self.instret) > 0:
            native = entries.get(self.at)
            if native is None or left <= REGION_LIMIT:
                self._interpret(min(left, INTERPRETED_SLICE))
                if time.monotonic_ns() - start > SLICE_NS:
                    return
                continue
            fuel = left - REGION_LIMIT
            self.at = enter(native, fuel)
            unused = context[Word.FUEL]
            if unused >> 63:
                unused -= 1 << 64
            self.instret += fuel - unused
            self.native_instructions += fuel - unused
            if context[Word.REASON]:
                self._interpret(1)
                self._warmer(self.at)
            elif unused <= 0:
                self._sample(fuel, time.monotonic_ns() - start)
                return
            else:
                self._interpret(INTERPRETED_SLICE)

    def _interpret(self, count: int) -> None:
        """Run at most `count` instructions in T0, but stop where a jump reaches native code."""
        entries = self._decoded
        native = self._entries
        pc = self.at
        try:
            for _ in range(count):
                self._here = pc
                execute, self._following = entries.get(pc) or self._decode(pc)
                execute()
                pc = self._following
                self.instret += 1
                if self._jumped:
                    self._jumped = False
                    self._warmer(pc)
                    if pc in native:
                        break
            self.at = pc
        except Trap as trap:
            self.at = self._here
            self._enter(trap.cause, trap.tval)
        except HostEvent:
            self.at = self._following
            self.instret += 1
            raise
        except Exception:
            self.at = self._here
            raise

    def _go(self, target: int) -> None:
        super()._go(target)
        self._jumped = True

    def _warmer(self, pc: int) -> None:
        count = self._counts[pc] = self._counts.get(pc, 0) + 1
        if count == WARM and pc not in self._asked:
            self._request(pc, self._warm[0])

    def _request(self, pc: int, tier: Tier) -> None:
        self._asked[pc] = tier
        self._compiler.request(pc, tier)
        self._load_arrivals()

    def _sample(self, fuel: int, elapsed_ns: int) -> None:
        """A slice ended in native code: adapt its length, and let what is hot become T2."""
        if elapsed_ns > 0:
            self.slice = max(
                4 * REGION_LIMIT,
                min(LONGEST_SLICE, (self.slice + max(1, fuel * SLICE_NS // elapsed_ns)) // 2),
            )
        if len(self._warm) > 1:
            for pc in {self.at, self._context[Word.REGION]}:
                samples = self._samples[pc] = self._samples.get(pc, 0) + 1
                if samples >= 2 and self._asked.get(pc, 0) < self._warm[1]:
                    self._request(pc, self._warm[1])

    def _load_arrivals(self) -> None:
        for region in self._compiler.arrivals():
            if not region.object or region.tier <= self._loaded.get(region.entry, 0):
                continue
            if self.engine.add(region.entry, region.name, region.stretches, region.code, region.object):
                self._loaded[region.entry] = region.tier
            else:
                self._forget(region.entry)

    def _forget(self, entry: int) -> None:
        """The code at `entry` has changed: start anew with it."""
        self._asked.pop(entry, None)
        self._loaded.pop(entry, None)
        self._counts.pop(entry, None)
        self._samples.pop(entry, None)

    def fence_i(self) -> None:
        """See `Algebra.fence_i`."""
        super().fence_i()
        for entry in self.engine.forget_changed():
            self._forget(entry)


class LocalCompiler:
    """Compiles in the hart's own process, at once: for single-tier runs and tests."""

    def __init__(self, compile_region: Callable[[int, Tier], CompiledRegion]) -> None:
        """`compile_region` makes a region."""
        self._compile = compile_region
        self._ready: list[CompiledRegion] = []

    def request(self, entry: int, tier: Tier) -> None:
        """See `Compiler.request`."""
        self._ready.append(self._compile(entry, tier))

    def arrivals(self) -> list[CompiledRegion]:
        """See `Compiler.arrivals`."""
        ready, self._ready = self._ready, []
        return ready
