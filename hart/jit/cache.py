"""Compiled regions on disk: shared between the harts of a VM and with later runs.

Owns what an entry holds. Compiles and loads nothing.

An entry's file has the form of `bus.object_files`. The key is the SHA-256 of everything that the
object depends on: guest code with its addresses, where the region ends, VM geometry, extensions, policy, tier, engine
sources, LLVM and host CPU.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import msgpack

from bus.object_files import entry_path, objects_in, read_entry, remove_entry, write_entry


@dataclass(frozen=True, slots=True)
class CompiledRegion:
    """What a compilation gives.

    Attributes:
        entry: guest address.
        tier: see `hart.jit.codegen.Tier`.
        name: of the function in the object.
        stretches: (start, end) of the code that it stands for.
        code: that code's bytes when it was compiled.
        instructions: how many it holds.
        object: the host object file; empty if nothing in the region could be compiled.
        instruments: see `hart.jit.instruments.Instrument`.

    """

    entry: int
    tier: int
    name: str
    stretches: tuple[tuple[int, int], ...]
    code: bytes
    instructions: int
    object: bytes
    instruments: int = 0


class ObjectCache:
    """A directory of compiled regions."""

    def __init__(self, directory: Path) -> None:
        """Nothing is created until something is stored."""
        self.top = directory
        self.directory = objects_in(directory)
        """Where the objects are."""
        self.programs = directory / "programs"
        """Where `hart.jit.programs` keeps its lists."""

    def path(self, key: str) -> Path:
        """Where the entry of that key is or would be."""
        return entry_path(self.directory, key)

    def load(self, key: str) -> CompiledRegion | None:
        """The entry, or None if there is none that is whole and ours."""
        path = self.path(key)
        body = read_entry(path)
        if body is None:
            return None
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry, tier, name, stretches, code, instructions, obj, instruments = msgpack.unpackb(body)
            pairs = tuple((start, end) for start, end in stretches)
            return CompiledRegion(entry, tier, name, pairs, code, instructions, obj, instruments)
        remove_entry(path)
        return None

    def store(self, key: str, region: CompiledRegion) -> Path:
        """Write an entry; raises OSError if the directory cannot be written."""
        body = msgpack.packb(
            (
                region.entry,
                region.tier,
                region.name,
                region.stretches,
                region.code,
                region.instructions,
                region.object,
                region.instruments,
            )
        )
        path = self.path(key)
        write_entry(path, body)
        return path

    def entries(self) -> list[Path]:
        """Every entry's file, and every program's list."""
        found = (path for top in (self.directory, self.programs) for path in top.glob("??/*"))
        return sorted(path for path in found if len(path.name) == 64)

    def size(self) -> int:
        """Bytes of all entries together."""
        total = 0
        for path in self.entries():
            with contextlib.suppress(OSError):  # another process may have removed it
                total += path.stat().st_size
        return total

    def clear(self) -> int:
        """Remove every entry; how many there were."""
        entries = self.entries()
        for path in entries:
            path.unlink(missing_ok=True)
        return len(entries)
