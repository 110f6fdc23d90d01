"""Measures many harts on few cores: how long contended work takes with more harts than cores, and how fair it is.

Owns the guests and the figures. Each hart does its part of a fixed total, under `inline`, so that a run of 64 harts
and one of 2 do the same work.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from coordinator.result import Ending, VmResult
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from hart.image import Image

_FRAME = """
# a0 = hart, a1 = harts, a2 = operations of each hart. All wait for all, then everybody works and notes its time.
.globl _start
_start:
    la   s0, word
    la   s1, counter
    la   s2, nodes
    slli t0, a0, 6
    add  s2, s2, t0             # this hart's node
    la   s3, times
    slli t0, a0, 3
    add  s3, s3, t0
    li   s4, 0x200bff8          # mtime
    li   s5, 1
    la   t0, arrived
    amoadd.d.aqrl zero, s5, (t0)
1:  ld   t1, (t0)
    bltu t1, a1, 1b
    fence r, rw
    ld   s6, (s4)
again:
{work}
    addi a2, a2, -1
    bnez a2, again
    ld   t0, (s4)
    sub  t0, t0, s6
    sd   t0, (s3)
2:  wfi
    j    2b
.data
.balign 4096
word: .dword 0
.balign 64
counter: .dword 0
.balign 4096
arrived: .dword 0
.balign 4096
nodes: .zero 65536
times: .zero 8192
"""

_COUNT = """
    ld   t0, (s1)
    addi t0, t0, 1
    sd   t0, (s1)
"""

WORKLOADS = {
    "lr/sc": """
1:  lr.d t0, (s1)
    addi t0, t0, 1
    sc.d t1, t0, (s1)
    bnez t1, 1b
""",
    "lr/sc, not fused": """
1:  lr.d t0, (s1)
    ld   t2, (s0)
    addi t0, t0, 1
    sc.d t1, t0, (s1)
    bnez t1, 1b
""",
    "ttas": f"""
1:  ld   t0, (s0)
    bnez t0, 1b
    amoswap.d.aq t0, s5, (s0)
    bnez t0, 1b
{_COUNT}
    amoswap.d.rl zero, zero, (s0)
""",
    "mcs": f"""
    sd   zero, (s2)             # node: next, then locked
    sd   s5, 8(s2)
    amoswap.d.aqrl t0, s2, (s0)
    beqz t0, 3f
    fence rw, w
    sd   s2, (t0)
2:  ld   t1, 8(s2)
    bnez t1, 2b
    fence r, rw
3:{_COUNT}
    ld   t0, (s2)
    bnez t0, 5f
    mv   t1, s2
    amocas.d.aqrl t1, zero, (s0)
    beq  t1, s2, 6f
4:  ld   t0, (s2)
    beqz t0, 4b
5:  fence rw, w
    sd   zero, 8(t0)
6:
""",
}
"""One operation by name: adds 1 to `counter` (s1); `word` (s0) is the lock."""

TICKS_PER_S = 10_000_000


class WrongResult(Exception):
    """A run that did not finish, or lost counts."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """One run.

    Attributes:
        harts: how many.
        seconds: until the last hart had done its part.
        slowest_share: the slowest hart's speed over the harts' mean speed.

    """

    harts: int
    seconds: float
    slowest_share: float


@cache
def program(workload: str) -> Image:
    """The guest for a workload."""
    return assemble(_FRAME.replace("{work}", WORKLOADS[workload]), name=workload).image


def crowd(workload: str, harts: int, operations: int, timeout_s: float = 120.0) -> Crowd:
    """Run `operations` in all on so many harts; raises WrongResult."""
    image = program(workload)
    each = max(1, operations // harts)
    vm = VirtualMachine(VmSpec(name="crowd", harts=harts, policy="inline", timeout_s=timeout_s))
    try:
        vm.load(image)
        for hart in range(harts):
            vm.set_x(hart, 12, each)
        vm.start()
        result = vm.wait(timeout_s + 10)
        _check(workload, result)
        counted = _words(vm, image, "counter", 1)[0]
        if counted != each * harts:
            raise WrongResult(f"{workload}, {harts} harts: counted {counted}, not {each * harts}")
        times = [ticks / TICKS_PER_S for ticks in _words(vm, image, "times", harts)]
        speeds = [1 / max(t, 1 / TICKS_PER_S) for t in times]
        return Crowd(harts, max(times), min(speeds) / statistics.mean(speeds))
    finally:
        vm.destroy()


def _check(workload: str, result: VmResult | None) -> None:
    if result is None or result.ending is not Ending.PARKED:
        raise WrongResult(f"{workload}: {result.detail if result else 'no end'}")


def _words(vm: VirtualMachine, image: Image, symbol: str, count: int) -> Sequence[int]:
    data = vm.read_memory(image.symbols[symbol].address, 8 * count)
    return memoryview(data).cast("Q").tolist()
