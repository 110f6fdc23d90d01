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
from coordinator import paths
from coordinator.config.errors import ConfigError, Problem
from coordinator.config.model import Guest, Vm
from coordinator.config.load import Config
from coordinator.expect import resolve, unknown_names
from hart.asm import AssemblyError, assemble
from hart.image import Image
from hart.isa.isa_string import canonical

STACK_BYTES = 16 << 10
"""Stack of each hart of a C guest."""

BUILD_TIMEOUT_S = 300
"""A first build of zig's own parts can be slow; nothing of a guest's is."""


class BuildError(ConfigError):
    """A guest that cannot be built or read: carries the tool's own words."""


def build(vm: Vm, directory: Path) -> Image:
    """The image of `vm`'s guest; `directory` is what its paths are relative to.

    Raises:
        BuildError: a file is missing, does not assemble or compile, or is not a RISC-V program; or the entry
            names no symbol.

    """
    guest = vm.guest
    if guest.source is not None:
        image = _assemble(vm, _existing(guest.source, directory))
    elif guest.c is not None:
        image = _compile(vm, _existing(guest.c, directory))
    elif guest.elf is not None:
        (path,) = _existing([guest.elf], directory)
        image = _read_elf(path)
    else:
        image = _read_raw(guest, directory)
    if guest.entry is None:
        return image
    try:
        return replace(image, entry=resolve(guest.entry, image))
    except LookupError as error:
        raise BuildError(image.name, [Problem("entry", str(error.args[0]))]) from error


def build_all(config: Config) -> dict[str, Image]:
    """The image of every VM of a configuration, by VM name, with the expectations' symbols looked up.

    Raises:
        ConfigError: a guest cannot be built, or an expectation names a symbol that its guest lacks.

    """
    images = {name: build(vm, config.directory) for name, vm in config.run.vms.items()}
    problems = [p for name, vm in config.run.vms.items() for p in unknown_names(name, vm, images[name])]
    if problems:
        raise ConfigError(config.source, problems)
    return images


def _existing(names: Iterable[str], directory: Path) -> list[Path]:
    found = [directory / name for name in names]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise BuildError(str(missing[0]), [Problem("", "there is no such file")])
    return found


def _assemble(vm: Vm, sources: list[Path]) -> Image:
    try:
        return assemble(
            sources,
            base=RAM_BASE,
            extensions=vm.extensions,
            defines={name: str(value) for name, value in vm.guest.defines.items()},
            include_paths=[paths.GUEST_LIBRARY],
        ).image
    except AssemblyError as error:
        raise BuildError("", [Problem("", str(error))]) from error


def _read_elf(path: Path) -> Image:
    from hart.elf import ElfError, read_elf  # pyelftools takes its time to load

    try:
        return read_elf(path)
    except (ElfError, OSError) as error:
        raise BuildError(str(path), [Problem("", str(error))]) from error


def _read_raw(guest: Guest, directory: Path) -> Image:
    from hart.elf import read_raw

    assert guest.raw is not None
    assert guest.address is not None
    (path,) = _existing([guest.raw], directory)
    return read_raw(path, guest.address)


def _compile(vm: Vm, sources: list[Path]) -> Image:
    """Build with zig, whose own cache, kept in ours, makes a second build of the same content quick."""
    if importlib.util.find_spec("ziglang") is None:
        message = "C guests are built by zig, which is not installed: pip install 'hartstorm[c]'"
        raise BuildError(str(sources[0]), [Problem("", message)])
    cache = paths.cache_directory() / "zig"
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
            message = f"zig did not finish within {BUILD_TIMEOUT_S} s"
            raise BuildError(str(sources[0]), [Problem("", message)]) from error
        if done.returncode:
            message = f"zig cc failed:\n{done.stderr.strip()}"
            raise BuildError(str(sources[0]), [Problem("", message)])
        return replace(_read_elf(program), name=sources[0].name)


def compiler_arguments(vm: Vm, sources: Iterable[Path]) -> list[str]:
    """What to tell clang, but for the output file: target, ISA, memory layout, defines and sources."""
    cpu = "+".join(["generic_rv64", *(name.lower() for name in canonical(vm.extensions) if name != "I")])
    library = paths.GUEST_LIBRARY
    layout = {"HS_RAM_END": RAM_BASE + vm.memory, "HS_HARTS": vm.harts, "HS_STACK_SIZE": STACK_BYTES}
    return [
        *("-target", "riscv64-freestanding-none", f"-mcpu={cpu}"),
        *("-mcmodel=medany", "-O2", "-g", "-Wall", "-Wextra", "-Werror=implicit-function-declaration"),
        *("-ffreestanding", "-fno-stack-protector", "-fno-sanitize=all", "-fomit-frame-pointer"),
        *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,--build-id=none"),
        *("-nostdlib", "-static"),
        *("-T", str(library / "link.ld")),
        *(f"-D{name}={value}" for name, value in (layout | vm.guest.defines).items()),
        *("-I", str(library)),
        *map(str, (library / "start.S", *sources, library / "hartstorm.c")),
    ]
