"""Measures how long VMs take to start and stop, and how much memory a hart takes."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from hart.image import Image

_TIMEOUT_S = 120.0
# Waits for a software interrupt that nobody sends.
_SLEEPER = ".globl _start\n_start: csrwi mie, 8\nsleep: wfi\n j sleep\n"


@dataclass(frozen=True, slots=True)
class LifeCycle:
    """A VM's start and stop.

    Attributes:
        harts: how many.
        start_s: from `start` until every hart has executed its first instructions.
        stop_s: from `destroy` until nothing is left.
        pss_kib: a hart's share of memory, proportional set size, mean over the harts; what they share counts once.
        private_kib: what belongs to one hart alone, mean over the harts.

    """

    harts: int
    start_s: float
    stop_s: float
    pss_kib: float
    private_kib: float


def life_cycle(harts: int, repetitions: int) -> LifeCycle:
    """Start and stop a VM `repetitions` times; the fork server is warm."""
    image = assemble(_SLEEPER, name="sleeper").image
    _once(1, image)
    runs = [_once(harts, image) for _ in range(repetitions)]
    return LifeCycle(harts, *(statistics.median(column) for column in zip(*runs, strict=True)))


def _once(harts: int, image: Image) -> tuple[float, float, float, float]:
    vm = VirtualMachine(VmSpec(name="bench", harts=harts, ram_bytes=1 << 20, tier="interpreter"))
    try:
        vm.load(image)
        start = time.perf_counter()
        vm.start()
        while not all(vm.progress()):
            if time.perf_counter() - start > _TIMEOUT_S or vm.wait(0) is not None:
                raise RuntimeError(f"a VM of {harts} harts did not start")
            time.sleep(0.0005)
        started = time.perf_counter()
        pss, private = _memory(vm.processes()[1:])
        stop = time.perf_counter()
    finally:
        vm.destroy()
    return started - start, time.perf_counter() - stop, pss, private


def _memory(pids: tuple[int, ...]) -> tuple[float, float]:
    """Mean PSS and private memory in KiB; see smaps_rollup in proc(5)."""
    pss = private = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Pss":
                pss += int(rest.split()[0])
            elif name in ("Private_Clean", "Private_Dirty"):
                private += int(rest.split()[0])
    return pss / len(pids), private / len(pids)
