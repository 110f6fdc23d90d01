"""Choosing between the interpreter and native code, instruction by instruction exact.

Owns when a region is asked for and when native code is entered. Compiles nothing; executes in T0 what native code
hands back.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from bus.access import Order
from bus.layout import Hart, HartStatus
from bus.port import MemoryPort
from bus.segment import Segment
from hart.clint import Clint
from hart.csr import MIP_MTIP
from hart.interpreter import Entry, Interpreter
from hart.jit.cache import CompiledRegion
from hart.jit.codegen import Tier
from hart.jit.context import Reason, Word
from hart.jit.engine import Engine
from hart.jit.instruments import Instrument
from hart.watch import Watchpoint

WARM = 40
"""Times that control jumps to an address before T1 is asked for."""
STRIDE_NS = 100_000
"""Aim for the time between two looks at the doorbell."""
FIRST_STRIDE = 50_000
LONGEST_STRIDE = 2_000_000
SHORTEST_STRIDE = 10_000
"""Instructions; many more than any region needs at once."""
LOOKING_STRIDES = 2
"""Strides in a slice as long as something besides the doorbell wants to be seen soon: better code, the timer."""
SETTLED_STRIDES = 20
INTERPRETED_SLICE = 64
CROWDED_BUDGET = 200
"""Rounds of a retry loop before a hart lets others run, where more of them want to than there are processors: less than
a microsecond, some hand-overs between two that run."""
BUDGET = 20_000
"""The same where each hart may have a processor: it is worth some ten microseconds to keep it."""
LOOK_NS = 1_000_000
"""Time between two looks at how many harts run."""
REST_S = 100e-6
"""How long a hart in T0 rests after each slice while native code is on its way, for each hart that a processor has,
where it has more than one: then all of them leave some of it to whoever compiles. (Yielding would give way to programs
that have nothing to do with this VM.)"""
PATIENCE_NS = 10_000_000_000
"""How long it does so after each request at most."""


class _NativeBegins(Exception):
    """T0 came to an instruction where native code begins; it has not executed it."""


def _stop() -> None:
    raise _NativeBegins


_STOP: Entry = (_stop, 0)
"""Stands in T0's decoded code where native code begins."""


class Compiler(Protocol):
    """Where regions come from."""

    def request(self, entry: int, tier: Tier, instruments: Instrument) -> None:
        """Ask for a region; it comes by `arrivals`, now or later, at most once for each request."""

    def arrivals(self) -> list[CompiledRegion]:
        """Regions that are ready and were not handed out yet."""


class TieredInterpreter(Interpreter):
    """An `Interpreter` that runs hot code natively.

    Attributes:
        stride: instructions after which native code looks at the doorbell, so that it takes about STRIDE_NS.
        slice: instructions that `run` should be given: some strides.

    """

    _engine_type: type[Engine] = Engine
    _always = Instrument.NONE
    """What all native code of such a machine has."""

    def __init__(
        self,
        hart: int,
        extensions: frozenset[str],
        port: MemoryPort,
        segment: Segment,
        clint: Clint,
        compiler: Compiler,
        warm: tuple[Tier, ...] = (Tier.T1, Tier.T2),
        warm_after: int = WARM,
    ) -> None:
        """`warm` are the tiers to use, in the order in which a region gets them; the first after so many jumps."""
        super().__init__(hart, extensions, port, segment.harts[hart], clint)
        harts, self._processors = segment.geometry.harts, len(os.sched_getaffinity(0))
        self.crowded = harts > self._processors
        self._rest_s = REST_S * harts / self._processors
        self.engine = self._engine_type(segment, hart, port.support)
        self.stride = FIRST_STRIDE
        self._strides = LOOKING_STRIDES
        self.slice = self.stride * self._strides
        self._context = self.engine.context
        self._use_registers(self._context[Word.X : Word.X + 32])
        self._entries = self.engine.entries
        self._asked: dict[int, int] = {}
        """Best tier asked for, by entry."""
        self._loaded: dict[int, int] = {}
        """Best tier loaded, by entry."""
        self._counts: dict[int, int] = {}
        self._samples: dict[int, int] = {}
        self._arrived: deque[CompiledRegion] = deque()
        """Regions that are not loaded yet."""
        self._compiler = compiler
        self._warm = warm
        self._warm_after = warm_after
        self._instruments = self._always
        self._reserved = range(0)
        """Where an LR that T0 has executed may be fused with its SC: native code knows nothing of it."""
        self.native_instructions = 0
        self._base = segment.memory.base
        self._awaited: set[int] = set()
        """Regions that a crowded hart has asked for and not seen, for which it rests in T0 until a time."""
        self._rests_until = 0
        self._pages = tuple(page.view for page in segment.harts)
        self._look_for_crowd(0)

    def _look_for_crowd(self, now: int) -> None:
        """Harts that wait for an interrupt, have ended or have not begun leave their processor to those that run.

        One that sleeps at a lock counts as running: it will want a processor when its turn comes.
        """
        self._next_look = now + LOOK_NS
        running = (page for page in self._pages if page[Hart.STATUS] == HartStatus.RUNNING)
        crowded = self.crowded and len(tuple(islice(running, self._processors + 1))) > self._processors
        self._context[Word.SPIN_BUDGET] = CROWDED_BUDGET if crowded else BUDGET

    def run(self, count: int) -> None:
        """See `Interpreter.run`; returns early, so that no call takes much longer than a slice should, and soon after
        the doorbell has rung."""
        end = self.instret + count
        traps = self.traps
        self._load_arrivals()
        if self._arrived:  # the doorbell rings
            end = min(end, self.instret + INTERPRETED_SLICE)
        context, enter, entries = self._context, self.engine.enter, self._entries
        limit = self._strides * STRIDE_NS
        page = self._page
        start = now = time.monotonic_ns()
        if now >= self._next_look:
            self._look_for_crowd(now)
        rung = 0  # while it spins or is in T0: what it waits for may be a hart that waits for it
        while (left := end - self.instret) > 0 and now - start < limit and self.traps == traps and not rung:
            native = entries.get(self.at)
            if native is None or self.at in self._reserved:
                self._interpret(min(left, INTERPRETED_SLICE))
                now, rung = time.monotonic_ns(), page[Hart.DOORBELL]
                if self._awaited and now < self._rests_until and not rung:
                    time.sleep(self._rest_s)
                continue
            self.port.forget_fused()
            self.at = enter(native, left, self.stride)
            executed = left - context[Word.FUEL]
            self.instret += executed
            self.native_instructions += executed
            reason = context[Word.REASON]
            if reason == Reason.FUEL:
                if executed:
                    self._sample(executed, time.monotonic_ns() - start)
                    return
                self._interpret(left)
            elif reason == Reason.SPIN:
                self.port.spin(self._base + context[Word.SPIN_OFFSET], context[Word.SPIN_WAITS])
            elif reason == Reason.ABSENT:
                self._warmer(self.at)
            elif executed < left:
                try:
                    self._interpret(1)
                finally:
                    self._warmer(self.at)
            now, rung = time.monotonic_ns(), page[Hart.DOORBELL]

    def _interpret(self, count: int) -> None:
        """Run `count` > 0 instructions in T0; fewer if, after the first, native code begins somewhere."""
        at = self.at
        try:
            if at in self._entries:
                del self._decoded[at]
                try:
                    super().run(1)
                finally:
                    if at in self._entries:
                        self._decoded[at] = _STOP
                count -= 1
            super().run(count)
        except _NativeBegins:
            pass
        self._load_arrivals()

    def _go(self, target: int) -> None:
        super()._go(target)
        self._warmer(target)

    def load_reserved(self, address: int, size: int, order: Order) -> int:
        """See `Algebra.load_reserved`."""
        self._reserved = self._window()
        return super().load_reserved(address, size, order)

    def mret(self) -> None:
        """See `Algebra.mret`."""
        super().mret()
        self._warmer(self._following)

    def _warmer(self, pc: int) -> None:
        count = self._counts[pc] = self._counts.get(pc, 0) + 1
        if count == self._warm_after and pc not in self._asked:
            self._request(pc, self._warm[0])

    def _request(self, pc: int, tier: Tier) -> None:
        self._asked[pc] = tier
        if self.crowded and tier == self._warm[0]:
            self._awaited.add(pc)
            self._rests_until = time.monotonic_ns() + PATIENCE_NS
        self._compiler.request(pc, tier, self._instruments)

    def _sample(self, fuel: int, elapsed_ns: int) -> None:
        """A slice ended in native code: adapt its length, and let what is hot become T2."""
        if elapsed_ns > 0:
            aim = max(1, fuel * STRIDE_NS // elapsed_ns)
            self.stride = max(SHORTEST_STRIDE, min(LONGEST_STRIDE, (self.stride + aim) // 2))
        settled = self._loaded.get(self.at, 0) == self._warm[-1] and not self.csrs.mie & MIP_MTIP
        self._strides = SETTLED_STRIDES if settled else LOOKING_STRIDES
        self.slice = self.stride * self._strides
        if len(self._warm) > 1:
            for pc in {self.at, self._context[Word.REGION]}:
                samples = self._samples[pc] = self._samples.get(pc, 0) + 1
                if samples >= 2 and self._asked.get(pc, 0) < self._warm[1]:
                    self._request(pc, self._warm[1])

    def _load_arrivals(self) -> None:
        """Load what has come. Loading may take a millisecond each: when the doorbell rings, the rest comes later."""
        for region in self._compiler.arrivals():
            self._awaited.discard(region.entry)
            # A region with other instruments is another hart's, or was asked for before they changed.
            if region.instruments == self._instruments:
                self._arrived.append(region)
        while self._arrived and not self._page[Hart.DOORBELL]:
            self._load(self._arrived.popleft())

    def _load(self, region: CompiledRegion) -> None:
        self._awaited.discard(region.entry)
        if not region.object or region.tier <= self._loaded.get(region.entry, 0):
            return
        if self.engine.add(region.entry, region.name, region.stretches, region.code, region.object):
            self._loaded[region.entry] = region.tier
            self._asked[region.entry] = max(region.tier, self._asked.get(region.entry, 0))
            self._decoded[region.entry] = _STOP
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
        self._decoded.update(dict.fromkeys(self._entries, _STOP))

    def watch(self, points: tuple[Watchpoint, ...]) -> None:
        """See `Interpreter.watch`; native code that does not look at each access goes away, or comes back."""
        super().watch(points)
        others = self._instruments & ~Instrument.WATCHED
        self._instrument(others | Instrument.WATCHED if points else others)
        self._decoded.update(dict.fromkeys(self._entries, _STOP))

    def _instrument(self, instruments: Instrument) -> None:
        """Run native code with exactly these."""
        if instruments == self._instruments:
            return
        self._instruments = instruments
        self.engine.forget_all()
        self._arrived.clear()
        for known in (self._asked, self._loaded, self._counts, self._samples):
            known.clear()
        self._decoded.clear()


class LocalCompiler:
    """Compiles in the hart's own process, at once: for single-tier runs and tests."""

    def __init__(self, compile_region: Callable[[int, Tier, Instrument], CompiledRegion]) -> None:
        """`compile_region` makes a region."""
        self._compile = compile_region
        self._ready: list[CompiledRegion] = []

    def request(self, entry: int, tier: Tier, instruments: Instrument) -> None:
        """See `Compiler.request`."""
        self._ready.append(self._compile(entry, tier, instruments))

    def arrivals(self) -> list[CompiledRegion]:
        """See `Compiler.arrivals`."""
        ready, self._ready = self._ready, []
        return ready
