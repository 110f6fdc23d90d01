"""The engine's benchmark: how fast guest code runs, beside qemu-riscv64 and native code of the same source.

Owns what is measured and how it is compared. Repetitions of everything are interleaved, so that what else the host does
hits all alike; figures are medians, ratios are of medians of one run.

What is measured, for each kernel:

- *steady*: a call of the kernel's function once all its code is compiled at the highest tier; likewise for the others;
- *warm* and *cold*: the process `hartstorm run` from start to end with the object cache full or empty, beside the
  processes of the others doing as many calls.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median

from coordinator.bench.kernels import (
    KERNELS,
    QEMU,
    BenchError,
    Built,
    Command,
    Repetition,
    build,
    run_command,
    run_guest,
    run_program,
)

SETTLING_S = 0.6
"""Natively a kernel's calls take at least so long in all: the compiler of hot code is done in less than half of it."""
LONG_S = 1.0
"""A kernel whose process takes longer under qemu is worth starting hartstorm for."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A kernel's medians in seconds; those of qemu are None where there is none.

    Attributes:
        calls: in a process.
        native: a call of the kernel, native.
        qemu: likewise under qemu-riscv64.
        steady: likewise as a guest.
        native_process: the native process.
        qemu_process: the process of qemu-riscv64.
        warm: `hartstorm run` with a full object cache.
        cold: with an empty one.
        cold_compiled: regions that it compiled then.
        warm_compiled: regions that the second run compiled: none, unless one became hot that had not before.

    """

    kernel: str
    calls: int
    native: float
    qemu: float | None
    steady: float
    native_process: float
    qemu_process: float | None
    warm: float
    cold: float
    cold_compiled: int
    warm_compiled: int


def measure(
    kernels: Sequence[str] = KERNELS,
    *,
    repetitions: int = 10,
    rounds: int = 3,
    policy: str = "serial",
    report: Callable[[str], None] = lambda text: None,
) -> list[Figures]:
    """Measure these kernels, each with at least so many calls in a process, and so many processes of each kind.

    Raises:
        BenchError: a kernel does not build, does not end, or its checksums differ.

    """
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="hartstorm-bench-") as scratch:
        for name in kernels:
            report(name)
            built = build(name, Path(scratch), repetitions, SETTLING_S)
            if not figures:
                run_command(built, Path(scratch) / "first", policy)  # byte code is there from now on
            figures.append(_measure(built, Path(scratch), rounds, policy))
    return figures


def _measure(built: Built, scratch: Path, rounds: int, policy: str) -> Figures:
    repetitions = built.repetitions
    native: list[Repetition] = []
    qemu: list[Repetition] = []
    guest: list[Repetition] = []
    processes: dict[str, list[float]] = {"native": [], "qemu": []}
    cold: list[Command] = []
    warm: list[Command] = []
    for turn in range(rounds):
        home = scratch / f"{built.name}-{turn}"
        cold.append(run_command(built, home, policy))
        warm.append(run_command(built, home, policy))
        guest += _settled(run_guest(built, home / "hartstorm", policy))
        found, seconds = run_program([built.native], repetitions)
        native += _settled(found)
        processes["native"].append(seconds)
        if built.riscv is not None:
            found, seconds = run_program([QEMU, built.riscv], repetitions)
            qemu += _settled(found)
            processes["qemu"].append(seconds)
    sums = {r.checksum for r in (*native, *qemu, *guest)}
    if len(sums) > repetitions:
        raise BenchError(f"{built.name}: checksums differ between guest, qemu and native")
    return Figures(
        built.name,
        repetitions,
        _median(native),
        _median(qemu) if qemu else None,
        _median(guest),
        median(processes["native"]),
        median(processes["qemu"]) if qemu else None,
        median(c.seconds for c in warm),
        median(c.seconds for c in cold),
        max(c.regions_compiled for c in cold),
        max(c.regions_compiled for c in warm),
    )


def _settled(found: list[Repetition]) -> list[Repetition]:
    """The later half: all code is compiled by then."""
    return found[len(found) // 2 :]


def _median(found: Iterable[Repetition]) -> float:
    return median(r.seconds for r in found)


@dataclass(frozen=True, slots=True)
class Summary:
    """Geometric means over kernels of how many times as fast a guest is; None without the other."""

    steady_to_native: float
    steady_to_qemu: float | None
    slowest_to_qemu: float | None
    warm_to_qemu: float | None
    long_kernels: int
    long_kernels_ahead: int
    """Of the kernels whose qemu process takes over LONG_S, how many are ahead of it as a process with a warm cache."""


def summarise(figures: Sequence[Figures]) -> Summary:
    """The means of a table."""
    to_qemu = [f.qemu / f.steady for f in figures if f.qemu is not None]
    warm = [f.qemu_process / f.warm for f in figures if f.qemu_process is not None]
    long = [f for f in figures if f.qemu_process is not None and f.qemu_process > LONG_S]
    return Summary(
        geometric_mean([f.native / f.steady for f in figures]),
        geometric_mean(to_qemu) if to_qemu else None,
        min(to_qemu) if to_qemu else None,
        geometric_mean(warm) if warm else None,
        len(long),
        sum(f.warm < (f.qemu_process or 0) for f in long),
    )
