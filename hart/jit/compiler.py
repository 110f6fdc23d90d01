"""Compiling one region of a VM's memory: discovery, key, cache, LLVM.

Owns what a region depends on. Used by the compile service, and in-process by tests and single-tier runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import bus
import hart.isa
import hart.jit
from bus.access import MemoryFault
from bus.lowering import Lowering
from bus.memory import GuestMemory
from bus.native import host_identity
from bus.object_files import key_of
from bus.policies import Reservations
from hart.isa.decoder import Decoder
from hart.jit.cache import CompiledRegion, ObjectCache
from hart.jit.codegen import Tier, compile_ir
from hart.jit.guest_memory import Geometry
from hart.jit.instruments import Instrument
from hart.jit.lowering import lower
from hart.jit.region import Region, discover
from hart.sources import sources_digest

LIMITS = {Tier.T1: 200, Tier.T2: 1200}
"""Instructions in a region, by tier. T2 follows calls."""


@cache
def engine_identity() -> str:
    """Digest of the sources that decide what a region compiles to: ISA, compiler, policies."""
    return sources_digest((hart.isa, hart.jit, bus))


@dataclass(slots=True)
class Counters:
    """What a compiler did."""

    compiled: int = 0
    cached: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class RegionCompiler:
    """Compiles regions of one VM.

    Attributes:
        memory: guest RAM.
        decoder: for the VM's extensions.
        geometry: what compiled code assumes.
        policy: what identifies the `lowering` for these `reservations`: the policy's name, and whether it is recorded.
        cache: where compiled regions are kept, or None.

    """

    memory: GuestMemory
    decoder: Decoder
    geometry: Geometry
    policy: str
    lowering: Lowering
    reservations: Reservations
    cache: ObjectCache | None
    counters: Counters = field(default_factory=Counters)

    def compile(
        self,
        entry: int,
        tier: Tier,
        clock: Callable[[], float],
        instruments: Instrument = Instrument.NONE,
    ) -> tuple[str, CompiledRegion]:
        """The region at `entry` and its cache key, compiled if it is not in the cache."""
        # What is profiled shall lie in one function.
        follow_calls = tier is Tier.T2 and not instruments & Instrument.PROFILED
        region = discover(self.decoder, self._fetch, entry, LIMITS[tier], follow_calls=follow_calls)
        stretches, code = region.stretches(), region.code()
        key = key_of(*self._identity(), int(tier), int(instruments), entry, stretches, code, region.returns)
        found = None if self.cache is None else self.cache.load(key)
        if found is not None:
            self.counters.cached += 1
            return key, found
        start = clock()
        name = f"r{key[:16]}"
        obj = b""
        if entry % self.geometry.alignment == 0 and _worth_compiling(region):
            ir = lower(
                region, name, self.geometry, self.lowering, ssa=tier is Tier.T2, instruments=instruments
            )
            obj = compile_ir(ir, tier)
            self.counters.compiled += 1
        self.counters.seconds += clock() - start
        compiled = CompiledRegion(
            entry, int(tier), name, stretches, code, region.instructions, obj, int(instruments)
        )
        return key, compiled

    def _identity(self) -> tuple[object, ...]:
        """What every region of this compiler depends on."""
        return (
            engine_identity(),
            host_identity(),
            self.policy,
            replace(self.reservations, seed=0),
            self.geometry,
            sorted(self.decoder.extensions),
        )

    def program_key(self, program: str, tiers: Sequence[Tier]) -> str:
        """The key for what runs of a program in these tiers need of this compiler."""
        return key_of("program", *self._identity(), program, [int(tier) for tier in tiers])

    def holds(self, region: CompiledRegion) -> bool:
        """Whether memory has the code that the region stands for."""
        try:
            return region.code == b"".join(self.memory.read(a, end - a) for a, end in region.stretches)
        except MemoryFault:
            return False

    def _fetch(self, pc: int) -> int | None:
        try:
            low = self.memory.load(pc, 2)
            return low if low & 3 != 3 else low | self.memory.load(pc + 2, 2) << 16
        except MemoryFault:
            return None


def _worth_compiling(region: Region) -> bool:
    first = region.blocks[region.entry].instructions
    return bool(first) and first[0].native
