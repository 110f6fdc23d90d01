"""The contention workloads under `configs/guests/contention`: as a guest, a riscv64 Linux program and a native one.

Owns how they are built and run, and what they print. Compares nothing.

What is measured: what the workers' counts grow by between two looks at the clock, after a barrier and a warm-up in
which everything hot is compiled; start-up, compilation and the barriers are not in it. All workers have the same time,
also those that wait for a processor. In a guest the clock is mtime,
in a program CLOCK_MONOTONIC. Beside the workers one hart, or thread, keeps time: it sleeps (WFI until mtimecmp).
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator import guest, paths
from coordinator.bench.kernels import BenchError, zig_cc, zig_cc_riscv
from coordinator.config.model import Guest, Vm
from coordinator.machine import MachineState
from coordinator.result import Ending, VmResult
from coordinator.spec import TierName, VmSpec
from coordinator.vm import VirtualMachine
from hart.image import Image

SOURCES = paths.CONFIGS / "guests" / "contention"
WORKLOADS = (
    "amoadd",
    "amoswap",
    "amocas",
    "lrsc",
    "lrsc-unfused",
    "tas",
    "ttas",
    "ticket",
    "mcs",
    "treiber",
    "private",
    "false-sharing",
)
"""In the order of the table in workloads.c."""
MOST_WORKERS = 256
RAM_BYTES = 16 << 20
SLACK_S = 300
"""For all that is not measured: start, warm-up, and locks that many wait for."""
_LOOK_S = 0.002
"""Time between two looks at what a guest does: a hundredth of what is measured."""
_C = ("trial.c", "workloads.c")
_LINE = re.compile(r"(\S+) (\d+) (\d+) (\d+) (\d+) (\d+) (right|wrong)")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the workers do; `struct plan` of contention.h, in its order.

    Attributes:
        workloads: by name.
        warm_up_s: time before measuring starts.
        measure_s: time that is measured; with `operations`, how long they may take.
        batch: operations between two looks at the time.
        operations: if not 0, all workers together do so many, without a warm-up.
        stop_when_wrong: a workload whose structure proves broken ends at once.

    """

    workloads: tuple[str, ...] = WORKLOADS
    warm_up_s: float = 0.1
    measure_s: float = 0.2
    batch: int = 64
    operations: int = 0
    stop_when_wrong: bool = False

    @property
    def limit_s(self) -> float:
        """When to give up."""
        return SLACK_S + self.measure_s * len(self.workloads)

    def words(self) -> tuple[int, ...]:
        """The fields as the program takes them."""
        mask = sum(1 << WORKLOADS.index(name) for name in self.workloads)
        times = (int(self.warm_up_s * 1e9), int(self.measure_s * 1e9))
        return mask, *times, self.batch, self.operations, int(self.stop_when_wrong)


@dataclass(frozen=True, slots=True)
class Trial:
    """One workload's outcome.

    Attributes:
        workload: its name.
        workers: harts or threads that worked.
        per_s: operations per second, of all workers together.
        slowest_per_s: of the slowest worker alone; fastest_per_s likewise.
        operations: all that were done, the warm-up included.
        seconds: from the first worker's start to the last one's end.
        right: whether the structure was whole at the end.
        messages_per_s: to and from the bus while that was measured, where they were counted; else 0.

    """

    workload: str
    workers: int
    per_s: float
    slowest_per_s: float
    fastest_per_s: float
    operations: int
    seconds: float
    right: bool
    messages_per_s: float = 0.0

    @property
    def slowest_share(self) -> float:
        """What the slowest worker did, as a share of the mean: 1 is fair, 0 starved."""
        return self.slowest_per_s * self.workers / self.per_s if self.per_s else 0.0


@dataclass(frozen=True, slots=True)
class Built:
    """The program in its three forms; the riscv64 Linux one only if there is a qemu to run it."""

    guest: Image
    riscv: Path | None
    native: Path


def build(directory: Path) -> Built:
    """Build all forms; the guest is the same for any number of harts, so that native code is found again.

    Raises:
        BenchError: a compiler complains.

    """
    vm = Vm(
        harts=1 + MOST_WORKERS,
        memory=RAM_BYTES,
        guest=Guest(c=[str(SOURCES / name) for name in ("guest-main.c", *_C)]),
    )
    try:
        image = guest.build(vm, SOURCES)
    except guest.GuestError as error:
        raise BenchError(error.message) from error
    native = directory / "contention-native"
    sources = [SOURCES / name for name in ("host-main.c", *_C)]
    riscv = zig_cc_riscv(sources, directory / "contention-riscv64")
    zig_cc(sources, native)
    return Built(image, riscv, native)


def parse(text: str, workers: int) -> list[Trial]:
    """What a program printed."""
    return [
        Trial(
            m[1], workers, float(m[2]), float(m[3]), float(m[4]), int(m[5]), int(m[6]) / 1e9, m[7] == "right"
        )
        for m in map(_LINE.fullmatch, text.split("\n"))
        if m
    ]


def run_program(command: Sequence[str | Path], workers: int, plan: Plan) -> list[Trial]:
    """Run a Linux form, perhaps under an emulator.

    Raises:
        BenchError: it does not end well.

    """
    arguments = [*map(str, command), str(workers), *map(str, plan.words())]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=plan.limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(arguments)} does not end within {plan.limit_s} s") from error
    if done.returncode:
        raise BenchError(f"{command[0]} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return _complete(parse(done.stdout, workers), plan, str(command[0]))


def run_guest(
    image: Image,
    workers: int,
    plan: Plan,
    policy: str,
    cache: Path,
    tier: TierName = "auto",
    count_messages: bool = False,
) -> list[Trial]:
    """Run the guest form with so many workers, and one hart more; counts messages of a plan with one workload.

    Raises:
        BenchError: it does not end well.

    """
    vm = VirtualMachine(
        VmSpec(
            name="contention",
            harts=1 + workers,
            ram_bytes=RAM_BYTES,
            policy=policy,
            timeout_s=plan.limit_s,
            cache=str(cache),
            tier=tier,
        )
    )
    try:
        vm.load(image)
        words = b"".join(word.to_bytes(8, "little") for word in plan.words())
        vm.write_memory(image.symbols["plan"].address, words)
        vm.start()
        messages_per_s = _messages_per_s(vm, image, plan) if count_messages else 0.0
        result: VmResult | None = vm.wait(plan.limit_s + 10)
        if result is None or result.ending is not Ending.EXIT:
            raise BenchError(f"contention under {policy} on {workers} harts: {result and result.detail}")
        trials = _complete(parse(result.console.decode(), workers), plan, policy)
        return [replace(trial, messages_per_s=messages_per_s) for trial in trials]
    finally:
        vm.destroy()


def _messages_per_s(vm: VirtualMachine, image: Image, plan: Plan) -> float:
    """Wait for the plan's only measurement, and through it: the rate of messages meanwhile, by the host's clock."""
    (workload,) = plan.workloads
    phase = image.symbols["phase"].address
    measure = 2 * WORKLOADS.index(workload) + 1  # phase_of(.., MEASURE) in trial.c
    begin = end = (0.0, 0)
    while vm.state is not MachineState.ENDED:
        now = int.from_bytes(vm.read_memory(phase, 8), "little")
        if now == measure:
            end = (time.monotonic(), vm.messages)
            begin = begin if begin[0] else end
        elif end[0]:
            break
        time.sleep(_LOOK_S)
    return (end[1] - begin[1]) / (end[0] - begin[0]) if end[0] > begin[0] else 0.0


def _complete(trials: list[Trial], plan: Plan, who: str) -> list[Trial]:
    found = tuple(trial.workload for trial in trials)
    if set(found) != set(plan.workloads):
        raise BenchError(f"{who}: results of {', '.join(found) or 'nothing'}, asked for {plan.workloads}")
    return trials
