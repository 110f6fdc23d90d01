"""Measures the interpreter (T0): millions of instructions per second of one hart, without processes around it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from bus.doorbell import Ringer
from bus.layout import PAGE, Geometry
from bus.link import BusLink
from bus.policies import PortContext, Reservations, policy
from bus.segment import Segment
from hart.asm import assemble
from hart.clint import Clint
from hart.interpreter import Interpreter
from hart.isa.extensions import effective, implemented

KERNELS = {
    "arithmetic": """
loop: addi t1, t1, 3
      xor t2, t2, t1
      slli t3, t1, 7
      add t4, t4, t3
      srli t5, t4, 3
      sub t6, t4, t5
      and a2, t6, t2
      j loop
""",
    "loads and stores": """
      la s0, data
loop: ld t1, 0(s0)
      addi t1, t1, 1
      sd t1, 0(s0)
      lw t2, 16(s0)
      add t2, t2, t1
      sw t2, 16(s0)
      lbu t3, 3(s0)
      j loop
.data
.balign 8
data: .zero 32
""",
}
_BATCH = 64
"""Instructions between two looks at the doorbell, as in a hart process."""


@dataclass(frozen=True, slots=True)
class InterpreterSpeed:
    """One kernel's speed, in millions of instructions per second of processor time."""

    kernel: str
    mips: float


def interpreter_speed(repetitions: int, instructions: int = 200_000) -> list[InterpreterSpeed]:
    """Run each kernel `repetitions` times for `instructions`."""
    return [
        InterpreterSpeed(name, statistics.median(_mips(source, repetitions, instructions)))
        for name, source in KERNELS.items()
    ]


def _mips(source: str, repetitions: int, instructions: int) -> list[float]:
    segment = Segment.create(Geometry(harts=1, ram_bytes=16 * PAGE))
    segment.unlink()
    link = BusLink("inproc://nobody", b"bench", segment)
    try:
        image = assemble(f".globl _start\n_start:{source}", name="kernel").image
        for chunk in image.chunks:
            segment.memory.write(chunk.address, chunk.data)
        port = policy("serial").port(PortContext(segment, 0, link, Reservations()))
        clint = Clint(segment, Ringer(segment, link))
        machine = Interpreter(0, effective(implemented(6)), port, segment.harts[0], clint)
        machine.at = image.entry
        machine.run(1000)
        return [_run(machine, instructions) for _ in range(repetitions)]
    finally:
        link.close()
        segment.close()


def _run(machine: Interpreter, instructions: int) -> float:
    before = machine.instret
    start = time.process_time()
    while machine.instret - before < instructions:
        machine.run(_BATCH)
    return (machine.instret - before) / (time.process_time() - start) / 1e6
