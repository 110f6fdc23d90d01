"""Measures what the test for tracked pages costs plain stores, where no page is tracked.

Owns the kernels and the comparison: the same loop compiled once as `inline` has it and once without the test, by turns
in one process, in processor time.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from bus.access import Order
from bus.inline_lowering import InlineLowering
from bus.layout import PAGE, RAM_BASE, Geometry
from bus.lowering import AccessEmitter, Lowering, Value, plain_store
from bus.policies import Reservations
from bus.segment import Segment
from hart.asm import assemble
from hart.isa.extensions import effective, implemented
from hart.jit.codegen import Tier
from hart.jit.context import Word
from hart.jit.engine import Engine
from hart.jit.service import region_compiler

_BUFFER = 1 << 16
"""Offset of the buffer in RAM: 16 KiB, which stay in the first-level cache."""
_NEXT = """
        addi t1, t1, 32
        and  t1, t1, t4
        add  t0, s0, t1
        j    loop
"""
KERNELS = {
    "fill": f"""
loop:   sd   t2, 0(t0)
        sd   t2, 8(t0)
        sd   t2, 16(t0)
        sd   t2, 24(t0)
{_NEXT}""",
    "update": f"""
loop:   ld   t2, 0(t0)
        add  t2, t2, t3
        sd   t2, 0(t0)
        ld   t5, 16(t0)
        xor  t5, t5, t2
        sd   t5, 16(t0)
{_NEXT}""",
    "scatter": """
loop:   mul  t1, t1, t3         # a linear congruential generator chooses the place
        addi t1, t1, 1
        and  t2, t1, t4
        add  t0, s0, t2
        sb   t1, 0(t0)
        j    loop
""",
}
_REGISTERS = {8: RAM_BASE + _BUFFER, 5: RAM_BASE + _BUFFER, 28: 6364136223846793005, 29: (1 << 14) - 32}


@dataclass(frozen=True, slots=True)
class StoreCost:
    """One kernel: nanoseconds an instruction, and the median over rounds of the ratio of the two."""

    kernel: str
    tested_ns: float
    untested_ns: float
    ratio: float


class _Untested(InlineLowering):
    """As if no page were ever tracked."""

    stores_freely = False

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """A plain host store."""
        plain_store(e, offset, size, value, order)
        return True


def store_costs(rounds: int = 15, instructions: int = 20_000_000) -> list[StoreCost]:
    """Measure each kernel for so many instructions, `rounds` times."""
    return [_cost(name, source, rounds, instructions) for name, source in KERNELS.items()]


def _cost(name: str, source: str, rounds: int, instructions: int) -> StoreCost:
    segment = Segment.create(Geometry(harts=1, ram_bytes=64 * PAGE))
    segment.unlink()
    try:
        (chunk,) = assemble(f".globl _start\n_start:{source}", name=name).image.chunks
        segment.memory.write(chunk.address, chunk.data)
        rules = Reservations()
        tested = _Kernel(segment, chunk.address, InlineLowering(rules))
        untested = _Kernel(segment, chunk.address, _Untested(rules))
        pairs = [(tested.run(instructions), untested.run(instructions)) for _ in range(1 + rounds)][1:]
        del tested, untested
    finally:
        segment.close()
    return StoreCost(
        name,
        statistics.median(a for a, _ in pairs) / instructions,
        statistics.median(b for _, b in pairs) / instructions,
        statistics.median(a / b for a, b in pairs),
    )


class _Kernel:
    """A loop of guest code, compiled at T2 with one lowering."""

    def __init__(self, segment: Segment, entry: int, lowering: Lowering) -> None:
        extensions = effective(implemented())
        compiler = region_compiler(segment, extensions, "inline", Reservations(), None)
        compiler.lowering = lowering
        _, region = compiler.compile(entry, Tier.T2, time.monotonic)
        self._engine = Engine(segment, 0)
        self._engine.add(entry, region.name, region.stretches, region.code, region.object)
        self._native = self._engine.entries[entry]
        for register, value in _REGISTERS.items():
            self._engine.context[Word.X + register] = value

    def run(self, instructions: int) -> int:
        """Processor time in nanoseconds."""
        start = time.process_time_ns()
        self._engine.enter(self._native, instructions)
        return time.process_time_ns() - start
