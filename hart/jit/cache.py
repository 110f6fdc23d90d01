"""Compiled regions on disk: shared between the harts of a VM and with later runs.

Owns the file form, the key and the directory. Compiles and loads nothing.

An entry is one file, `objects/<2 digits>/<key>`, written under another name and renamed, so that readers see whole
files and concurrent writers do no harm (they write the same). It begins with a magic and the SHA-256 of the rest; an
entry that does not agree, or that another version wrote, is removed and counts as absent. The key is the SHA-256 of
everything that the object depends on: guest code with its addresses, where the region ends, VM geometry, extensions,
policy, tier, engine sources, LLVM and host CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgpack

MAGIC = b"hartstorm object 2\n"
_DIGEST = 32


def default_directory() -> Path:
    """The user's cache for hartstorm, by the XDG base directory specification: relative paths do not count."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "hartstorm"


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


def key_of(*parts: object) -> str:
    """The key for everything that an object depends on; `parts` have an unambiguous `repr`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class ObjectCache:
    """A directory of compiled regions."""

    def __init__(self, directory: Path) -> None:
        """Nothing is created until something is stored."""
        self.directory = directory / "objects"

    def path(self, key: str) -> Path:
        """Where the entry of that key is or would be."""
        return self.directory / key[:2] / key

    def load(self, key: str) -> CompiledRegion | None:
        """The entry, or None if there is none that is whole and ours."""
        path = self.path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = data[len(MAGIC) + _DIGEST :]
        if (
            data[: len(MAGIC)] == MAGIC
            and data[len(MAGIC) : -len(body) or None] == hashlib.sha256(body).digest()
        ):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                entry, tier, name, stretches, code, instructions, obj, instruments = msgpack.unpackb(body)
                pairs = tuple((start, end) for start, end in stretches)
                return CompiledRegion(entry, tier, name, pairs, code, instructions, obj, instruments)
        with contextlib.suppress(OSError):
            path.unlink()
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
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + hashlib.sha256(body).digest() + body)
            Path(temporary).rename(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path

    def entries(self) -> list[Path]:
        """Every entry's file."""
        return sorted(p for p in self.directory.glob("??/*") if len(p.name) == 64)

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
