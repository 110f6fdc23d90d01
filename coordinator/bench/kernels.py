"""The kernels under `configs/guests/kernels`: the same source as a guest, a riscv64 Linux program and a native one.

Owns how they are built and run. Compares nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bus.object_files import default_directory
from coordinator import guest, paths
from coordinator.config.isa import Isa
from coordinator.config.model import Guest, Vm
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.elf import write_elf
from hart.image import Image

SOURCES = paths.CONFIGS / "guests" / "kernels"
KERNELS = (
    "sieve",
    "crc32",
    "collatz",
    "xorshift",
    "matmul",
    "quicksort",
    "sha256",
    "strings",
    "list",
    "calls",
)
ISA = "rv64imc_zicclsm_zicntr"
RAM_BYTES = 16 << 20
QEMU = "qemu-riscv64"
_COMPILED = re.compile(r"^native code: (\d+) regions compiled", re.MULTILINE)
_LINE = re.compile(r"([0-9a-f-]+) (\d+)")


class BenchError(Exception):
    """A kernel that does not build, end or give the same checksum everywhere."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """One call of `kernel_run`: its checksum and its time."""

    checksum: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel in its three forms; the guest's is made to repeat it so often, the others are told.

    The riscv64 Linux program is there only if there is a qemu to run it.
    """

    name: str
    repetitions: int
    guest: Image
    elf: Path
    riscv: Path | None
    native: Path


def build(name: str, directory: Path, repetitions: int, seconds: float = 0.0) -> Built:
    """Build a kernel; the guest repeats `kernel_run` so often, or more if natively that takes less than `seconds`.

    Raises:
        BenchError: a compiler complains.

    """
    native = directory / f"{name}-native"
    sources = [SOURCES / "host-main.c", SOURCES / f"{name}.c"]
    riscv = zig_cc_riscv(sources, directory / f"{name}-riscv64", "-ffreestanding")
    zig_cc(sources, native, "-ffreestanding")
    if seconds:
        calls, _ = run_program([native], 2)
        repetitions = max(repetitions, ceil(seconds / calls[-1].seconds))
    vm = Vm(
        memory=RAM_BYTES,
        isa=Isa(base=ISA),
        guest=Guest(
            c=[str(SOURCES / "guest-main.c"), str(SOURCES / f"{name}.c")],
            defines={"REPETITIONS": repetitions},
        ),
    )
    image = guest.build(vm, SOURCES)
    elf = directory / f"{name}-{repetitions}.elf"
    elf.write_bytes(write_elf(image))
    return Built(name, repetitions, image, elf, riscv, native)


def zig_cc(sources: Sequence[Path], output: Path, *options: str) -> None:
    """Build a Linux program, for this host unless `options` say otherwise.

    Raises:
        BenchError: the compiler complains.

    """
    cache = str(default_directory() / "zig")
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-fno-sanitize=all", *options]
    done = subprocess.run(
        [*command, *map(str, sources), "-o", str(output)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"zig cc {output.name}: {done.stderr.strip()}")


def zig_cc_riscv(sources: Sequence[Path], output: Path, *options: str) -> Path | None:
    """Build a static riscv64 Linux program, if there is a qemu to run it: its C library takes a minute to build.

    Raises:
        BenchError: the compiler complains.

    """
    if shutil.which(QEMU) is None:
        return None
    # musl's floating-point functions need F and D.
    target = ("-target", "riscv64-linux-musl", "-static", "-mcpu=generic_rv64+m+a+f+d+c")
    zig_cc(sources, output, *target, *options)
    return output


def parse(text: str, base: int) -> list[Repetition]:
    """What a kernel printed; checksums in that base."""
    return [
        Repetition(int(m[1], base) & (1 << 64) - 1, int(m[2]) / 1e9)
        for m in map(_LINE.fullmatch, text.split("\n"))
        if m
    ]


def run_program(command: Sequence[str | Path], repetitions: int) -> tuple[list[Repetition], float]:
    """Run a Linux form, perhaps under an emulator; its repetitions, and the seconds of the whole process."""
    start = time.perf_counter()
    done = subprocess.run(
        [*map(str, command), str(repetitions)], capture_output=True, text=True, timeout=600, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise BenchError(f"{command[0]} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return parse(done.stdout, 16), seconds


def run_guest(built: Built, cache: Path, policy: str, tier: str = "auto") -> list[Repetition]:
    """Run the guest form in a VM of this process."""
    vm = VirtualMachine(
        VmSpec(
            name=built.name,
            harts=1,
            ram_bytes=RAM_BYTES,
            policy=policy,
            timeout_s=600,
            cache=str(cache),
            tier=tier,  # type: ignore[arg-type]
        )
    )
    try:
        vm.load(built.guest)
        vm.start()
        result = vm.wait(610)
        if result is None or result.ending is not Ending.EXIT:
            raise BenchError(f"{built.name} as a guest: {result and result.detail}")
        return parse(result.console.decode(), 10)
    finally:
        vm.destroy()


@dataclass(frozen=True, slots=True)
class Command:
    """What `hartstorm run` as a process of its own came to: its seconds, and how many regions it compiled."""

    seconds: float
    regions_compiled: int


def run_command(built: Built, cache_home: Path, policy: str) -> Command:
    """Run the guest form by `hartstorm run`.

    Python keeps its byte code beside `cache_home`, as it does for an installed program.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "XDG_CACHE_HOME": str(cache_home),
        "PYTHONPYCACHEPREFIX": str(cache_home.parent / "byte-code"),
    }
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "coordinator", "run", str(built.elf), "--policy", policy],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise BenchError(
            f"hartstorm run {built.elf.name} ended with exit code {done.returncode}: {done.stdout}{done.stderr}"
        )
    compiled = _COMPILED.search(done.stdout)
    return Command(seconds, int(compiled[1]) if compiled else 0)
