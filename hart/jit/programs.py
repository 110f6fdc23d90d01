"""Which regions earlier runs of a program needed, so that a run has its native code from nearly its first instructions.

Owns that list and its file, one for each program and way to compile it, beside the objects. Compiles nothing, and
decides nothing about guests: a region of the list is used only where memory holds the code that it stands for, as any
other region.

Runs that end at the same time each write what they know; one of the lists is then the file's, and what it lacks costs a
later run what it cost this one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgpack

from bus.object_files import entry_path, read_entry, remove_entry, write_entry
from hart.jit.cache import CompiledRegion, ObjectCache

MOST_REGIONS = 400
"""The oldest of a longer list are forgotten: programs that write programs need ever new ones."""


class ProgramRegions:
    """The regions that runs of one program asked for: of each entry, the one of the highest tier."""

    def __init__(self, cache: ObjectCache, key: str) -> None:
        """`key` is the program's and the compiler's; reads the list, if there is one."""
        self._cache = cache
        self._path = entry_path(cache.programs, key)
        self._known: dict[int, tuple[int, str]] = {}
        """Tier and key by entry."""
        self._new = False
        body = read_entry(self._path)
        if body is not None:
            try:
                self._known = {
                    int(entry): (int(tier), str(name)) for entry, tier, name in msgpack.unpackb(body)
                }
            except (ValueError, TypeError, msgpack.UnpackException):
                remove_entry(self._path)

    def regions(self) -> Iterator[tuple[str, CompiledRegion]]:
        """Key and region of each that is in the cache."""
        for _, key in self._known.values():
            region = self._cache.load(key)
            if region is not None:
                yield key, region

    def add(self, key: str, region: CompiledRegion) -> None:
        """Note that a run needed this one."""
        if not region.object or region.instruments:
            return
        before = self._known.get(region.entry, (0, ""))
        if before[0] <= region.tier and before[1] != key:  # of one tier it is the code that has changed
            self._known.pop(region.entry, None)
            self._known[region.entry] = (region.tier, key)
            self._new = True

    def save(self) -> None:
        """Write the list if it has changed; a directory that cannot be written keeps none."""
        if not self._new:
            return
        self._new = False
        while len(self._known) > MOST_REGIONS:
            del self._known[next(iter(self._known))]
        body = msgpack.packb([(entry, tier, key) for entry, (tier, key) in self._known.items()])
        with contextlib.suppress(OSError):
            write_entry(self._path, body)
