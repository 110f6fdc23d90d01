"""How soon a running hart stops when it is asked to, and whether it executes exactly what it was given.

Owns the measurement. Every request reaches a hart by its doorbell, whatever it asks for. So each is measured twice: a
bell that asks for nothing, of which are taken, from the moment at which it is visible,

- *notice*: the time until the hart has taken it at a safepoint;
- *own*: of that, what is hartstorm's at most: what was left of a stride of native or of interpreted code, loading of
  native code, the loop around. It is the processor time that the hart used from its look at the doorbell before, which
  found nothing, to the one that found the bell, where that is less than *notice*: the rest the host gave to others;

and then a pause: the time until the coordinator knows that the hart stands, registers in its page.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bus.layout import Doorbell, Hart
from bus.native import host_atomics
from coordinator.spec import TierName, VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble

LOOPS = {
    "one jump": "_start: addi s1, s1, 1\n 1: j 1b",
    "count": "_start: addi s1, s1, 1\n j _start",
    "divide": "_start: li a1, -1\n 1: rem a2, a1, a3\n rem a3, a1, a2\n addi a1, a1, -1\n j 1b",
    "calls and stores": "_start: la sp, _start+0x8000\n 1: call 2f\n j 1b\n 2: sd ra, (sp)\n ld ra, (sp)\n ret",
}
TIERS: tuple[TierName, ...] = ("interpreter", "t1", "t2", "auto")
LONGEST_WAIT_S = 0.004
"""A request comes at a random time of at most this after the hart has gone on."""
LONGEST_STEP = 200_000


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in microseconds, for one loop in one tier."""

    loop: str
    tier: str
    requests: int
    notice_p50: float
    notice_p99: float
    own_p50: float
    own_p99: float
    own_max: float
    pause_p50: float
    pause_p99: float


@dataclass(frozen=True, slots=True)
class Exactness:
    """How many random numbers of instructions were given in one tier, and how many of them were not kept exactly."""

    tier: str
    values: int
    wrong: int


@dataclass(frozen=True, slots=True)
class _Times:
    """Nanoseconds of each request."""

    notice: list[int]
    own: list[int]
    pause: list[int]


def stop_latency(requests: int, seed: int = 1) -> list[Latency]:
    """Send each loop in each tier its share of about `requests` stop requests at random times.

    The last row is all requests together.
    """
    share = -(-requests // (len(LOOPS) * len(TIERS)))
    cells = {(loop, tier): _times(loop, tier, share, seed) for tier in TIERS for loop in LOOPS}
    every = _Times(
        [t for cell in cells.values() for t in cell.notice],
        [t for cell in cells.values() for t in cell.own],
        [t for cell in cells.values() for t in cell.pause],
    )
    return [
        *(_latency(loop, tier, cell) for (loop, tier), cell in cells.items()),
        _latency("all", "all", every),
    ]


def _machine(source: str, tier: TierName) -> VirtualMachine:
    vm = VirtualMachine(VmSpec(name="latency", harts=1, policy="inline", tier=tier, timeout_s=600))
    vm.load(assemble(".option norvc\n.globl _start\n" + source).image)
    vm.start()
    return vm


def _times(loop: str, tier: TierName, requests: int, seed: int) -> _Times:
    choose = random.Random(f"{seed}/{loop}/{tier}")
    notice: list[int] = []
    own: list[int] = []
    pause: list[int] = []
    vm = _machine(LOOPS[loop], tier)
    try:
        page = vm.hart_page(0)
        while page[Hart.INSTRET] < 1000:
            time.sleep(0.001)
        page[Hart.TIMED] = 1
        time.sleep(LONGEST_WAIT_S)
        ring = host_atomics().fetch_or
        for turn in range(requests + 1):
            time.sleep(choose.uniform(0, LONGEST_WAIT_S))
            rung = time.monotonic_ns()
            ring(page.address(Hart.DOORBELL), Doorbell.INTERRUPT)
            while page[Hart.BELL_NS] <= rung:
                time.sleep(0.0001)
            if not turn:
                continue  # there may have been no timed look before it
            notice.append(page[Hart.BELL_NS] - rung)
            own.append(min(page[Hart.BELL_PROCESSOR_NS], notice[-1]))
            start = time.monotonic_ns()
            vm.pause()
            pause.append(time.monotonic_ns() - start)
            vm.resume()
    finally:
        vm.destroy()
    return _Times(notice, own, pause)


def _latency(loop: str, tier: str, times: _Times) -> Latency:
    return Latency(
        loop,
        tier,
        len(times.notice),
        *(_percentile(times.notice, p) for p in (50, 99)),
        *(_percentile(times.own, p) for p in (50, 99, 100)),
        *(_percentile(times.pause, p) for p in (50, 99)),
    )


def _percentile(values: Sequence[int], percent: int) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)] / 1000


def fuel_exactness(values: int, seed: int = 1) -> list[Exactness]:
    """Give a hart random numbers of instructions, in each tier its share of about so many, and see where it stands."""
    share = -(-values // len(TIERS))
    return [_exactness(tier, share, seed) for tier in TIERS]


def _exactness(tier: TierName, values: int, seed: int) -> Exactness:
    choose = random.Random(f"{seed}/{tier}")
    vm = _machine(LOOPS["count"], tier)
    try:
        while vm.progress()[0] < 1000:
            time.sleep(0.001)
        vm.pause()
        wrong = 0
        for _ in range(values):
            count = choose.randrange(1, choose.choice((4, 100, LONGEST_STEP)))
            before = _executed(vm)
            vm.step(0, count)
            wrong += _executed(vm) - before != count
    finally:
        vm.destroy()
    return Exactness(tier, values, wrong)


def _executed(vm: VirtualMachine) -> int:
    """Instructions of the loop `count` as its own register and the pc have them."""
    return 2 * vm.get_x(0, 9) - (vm.get_pc(0) != vm.spec.ram_base)
