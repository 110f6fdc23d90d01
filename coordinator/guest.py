"""Turns `[vm.guest]` into a memory image: assembles, compiles, or reads what is built. Runs no guest."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bus.layout import RAM_BASE
from bus.object_files import default_directory
from coordinator import paths
from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import Config
from coordinator.config.model import Guest, Vm
from coordinator.expect import resolve, unknown_names
from coordinator.measure import Finding
from hart.image import Image
from hart.isa.isa_string import canonical

STACK_BYTES = 16 << 10
"""Stack of each hart of a C guest."""

BUILD_TIMEOUT_S = 300
"""A first build of zig's own parts can be slow; nothing of a guest's is."""


class GuestError(Exception):
    """A guest that cannot be built or read.

    Attributes:
        key: the key of `[vm]` that is at fault, as a path; empty where the guest's own text is, and the message is
            the tool's, with file and line.
        message: what is wrong.

    """

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


def build_all(config: Config) -> dict[str, Image]:
    """The image of every VM of a configuration, by VM name, checked against its memory and its expectations.

    Raises:
        ConfigError: a guest cannot be built or does not fit into its VM's memory, or an expectation names a symbol
            that its guest lacks; lists every problem.

    """
    images: dict[str, Image] = {}
    problems: list[Problem] = []
    for name, vm in config.run.vms.items():
        try:
            images[name] = build(vm, config.directory)
        except GuestError as error:
            if not error.key:
                raise ConfigError("", [Problem("", error.message)]) from error
            problems.append(config.problem(name, error.key, error.message))
            continue
        problems += [config.problem(name, key, text) for key, text in misfits(vm, images[name])]
    if problems:
        raise ConfigError(config.source, problems)
    return images


def misfits(vm: Vm, image: Image) -> list[Finding]:
    """Where `vm` and its program do not go together: its memory is too small, an expectation names no symbol."""
    return [*_outside_memory(vm, image), *unknown_names(vm, image)]


def recipe(vm: Vm, directory: Path) -> tuple[object, ...]:
    """What the image of `vm`'s guest depends on besides the files: VMs with the same recipe have the same image."""
    guest = vm.guest
    common = (str(directory), guest.entry)
    if guest.c is not None:
        return (*common, *compiler_arguments(vm, [directory / name for name in guest.c]))
    if guest.source is not None:
        return (*common, *guest.source, vm.extensions, tuple(guest.defines.items()))
    return (*common, guest.elf, guest.raw, guest.address)


def build(vm: Vm, directory: Path) -> Image:
    """The image of `vm`'s guest; `directory` is what its paths are relative to.

    Raises:
        GuestError: a file is missing, does not assemble or compile, or is not a RISC-V program; or the entry
            names no symbol.

    """
    guest = vm.guest
    if guest.source is not None:
        image = _assemble(vm, _existing("source", guest.source, directory))
    elif guest.c is not None:
        image = _compile(vm, _existing("c", guest.c, directory))
    elif guest.elf is not None:
        image = _read_elf(_existing("elf", [guest.elf], directory)[0])
    else:
        image = _read_raw(guest, directory)
    if guest.entry is None:
        return image
    try:
        return replace(image, entry=resolve(guest.entry, image))
    except LookupError as error:
        raise GuestError(str(error.args[0]), "guest", "entry") from error


def _outside_memory(vm: Vm, image: Image) -> list[Finding]:
    end = RAM_BASE + vm.memory
    for chunk in image.chunks:
        last = chunk.address + len(chunk.data) + chunk.zeros
        if chunk.address < RAM_BASE or last > end:
            where = f"{chunk.address:#x} to {last:#x}"
            return [(("memory",), f"{image.name} needs {where}, but memory is {RAM_BASE:#x} to {end:#x}")]
    return []


def _existing(key: str, names: list[str], directory: Path) -> list[Path]:
    found = [directory / name for name in names]
    for number, path in enumerate(found):
        if not path.is_file():
            at = (number,) if key in ("source", "c") else ()
            raise GuestError(f"there is no file {path}", "guest", key, *at)
    return found


def _assemble(vm: Vm, sources: list[Path]) -> Image:
    from hart.asm import AssemblyError, assemble  # most runs need no assembler, and it takes its time to load

    try:
        return assemble(
            sources,
            base=RAM_BASE,
            extensions=vm.extensions,
            defines={name: str(value) for name, value in vm.guest.defines.items()},
            include_paths=[paths.GUEST_LIBRARY],
        ).image
    except AssemblyError as error:
        raise GuestError(str(error)) from error


def _read_elf(path: Path) -> Image:
    from hart.elf import ImageFileError, read_elf  # pyelftools takes its time to load

    try:
        return read_elf(path)
    except ImageFileError as error:
        raise GuestError(str(error)) from error


def _read_raw(guest: Guest, directory: Path) -> Image:
    from hart.elf import ImageFileError, read_raw

    assert guest.raw is not None
    assert guest.address is not None
    (path,) = _existing("raw", [guest.raw], directory)
    try:
        return read_raw(path, guest.address)
    except ImageFileError as error:
        raise GuestError(str(error)) from error


def _compile(vm: Vm, sources: list[Path]) -> Image:
    """Build with zig, whose own cache, kept in ours, makes a second build of the same content quick."""
    if importlib.util.find_spec("ziglang") is None:
        message = "C guests are built by zig, which is not installed: pip install 'hartstorm[c]'"
        raise GuestError(message, "guest", "c")
    cache = default_directory() / "zig"
    cache.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    with tempfile.TemporaryDirectory(prefix="hartstorm-") as scratch:
        program = Path(scratch) / f"{sources[0].stem}.elf"
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *compiler_arguments(vm, sources),
            "-o",
            str(program),
        ]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise GuestError(f"zig did not finish within {BUILD_TIMEOUT_S} s", "guest", "c") from error
        if done.returncode:
            raise GuestError(done.stderr.strip() or f"zig cc ended with exit code {done.returncode}")
        return replace(_read_elf(program), name=sources[0].name)


def compiler_arguments(vm: Vm, sources: Iterable[Path]) -> list[str]:
    """What to tell clang, but for the output file: target, ISA, memory layout, defines and sources."""
    cpu = "+".join(
        ["generic_rv64", *(name.lower() for name in canonical(vm.common_extensions) if name != "I")]
    )
    library = paths.GUEST_LIBRARY
    machine = {
        "HS_RAM_END": RAM_BASE + vm.memory,
        "HS_HARTS": vm.harts,
        "HS_STACK_SIZE": STACK_BYTES,
        "HS_TIMER_HZ": vm.host.timer_frequency_hz,
    }
    return [
        *("-target", "riscv64-freestanding-none", f"-mcpu={cpu}"),
        *("-mcmodel=medany", "-O2", "-g", "-Wall", "-Wextra", "-Werror=implicit-function-declaration"),
        *("-ffreestanding", "-fno-stack-protector", "-fno-sanitize=all", "-fomit-frame-pointer"),
        *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,--build-id=none"),
        *("-nostdlib", "-static"),
        *("-T", str(library / "link.ld")),
        *(f"-D{name}={value}" for name, value in (machine | vm.guest.defines).items()),
        *("-I", str(library)),
        *map(str, (library / "start.S", *sources, library / "hartstorm.c")),
    ]
