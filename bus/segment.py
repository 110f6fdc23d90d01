"""A VM's shared segment: created by the coordinator, attached by its harts and its bus.

Owns the mapping and the typed views of it. Never interprets what the words mean beyond `bus.layout`.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

from bus.layout import MAGIC, PAGE, VERSION, WORD, Geometry, Hart, Header
from bus.memory import GuestMemory

NAME_PREFIX = "hartstorm-"


class SegmentError(Exception):
    """A name that is no segment of ours, or one of another layout version."""


class Words:
    """A run of 64-bit words: `words[i]` reads and writes one, atomically and without order.

    `address(i)` is the host address for `bus.native`.
    """

    __slots__ = ("_base", "view")

    def __init__(self, view: memoryview, base: int) -> None:
        self.view = view
        self._base = base

    def __getitem__(self, index: int) -> int:
        value: int = self.view[index]
        return value

    def __setitem__(self, index: int, value: int) -> None:
        self.view[index] = value

    def address(self, index: int) -> int:
        """Host address of word `index`."""
        return self._base + index * WORD


class Segment:
    """An open segment: `header`, `harts[i]`, `page_map`, `granules`, `memory`.

    Close it in every process; unlink it once. The name is unguessable and the mode 0600, so no other user can
    open it.
    """

    def __init__(self, shm: SharedMemory, geometry: Geometry) -> None:
        """Use `create` or `attach`."""
        self._shm = shm
        self.geometry = geometry
        self.name: str = shm.name
        buffer = shm.buf
        pin = ctypes.c_char.from_buffer(buffer)
        self.address = ctypes.addressof(pin)
        """Host address of the segment's first byte."""
        del pin
        g = geometry
        self._buffer = buffer[: g.total_bytes]
        self.header = self._words(0, PAGE // WORD)
        self.harts = tuple(self._words(g.hart_offset + i * PAGE, Hart.END) for i in range(g.harts))
        self.page_map = self._buffer[g.page_map_offset : g.page_map_offset + g.ram_bytes // PAGE]
        self.granules = self._words(g.granule_offset, g.ram_bytes >> g.granule_exp)
        self.writers = self._words(g.writer_offset, g.ram_bytes >> g.granule_exp)
        self._ram = self._buffer[g.ram_offset : g.ram_offset + g.ram_bytes]
        self.memory = GuestMemory(self._ram, g.ram_base)

    @classmethod
    def create(cls, geometry: Geometry) -> Segment:
        """Make a new zeroed segment; raises OSError if the host has not the memory."""
        shm = SharedMemory(NAME_PREFIX + secrets.token_hex(16), create=True, size=geometry.total_bytes)
        segment = cls(shm, geometry)
        h = segment.header
        h[Header.VERSION] = VERSION
        h[Header.RAM_BASE] = geometry.ram_base
        h[Header.RAM_BYTES] = geometry.ram_bytes
        h[Header.GRANULE_EXP] = geometry.granule_exp
        h[Header.HARTS] = geometry.harts
        h[Header.RING_BYTES] = geometry.ring_bytes
        h[Header.TIME_ORIGIN_NS] = time.monotonic_ns()
        for number, hart in enumerate(segment.harts):
            hart[Hart.NUMBER] = number
            hart[Hart.MTIMECMP] = (1 << 64) - 1
        h[Header.MAGIC] = MAGIC
        return segment

    @classmethod
    def attach(cls, name: str) -> Segment:
        """Open an existing segment by name.

        Raises:
            SegmentError: no such segment, not one of ours, or of another layout version.

        """
        try:
            shm = SharedMemory(name)
        except (FileNotFoundError, ValueError) as error:
            raise SegmentError(f"no shared segment {name!r}") from error
        words = shm.buf[:PAGE].cast("Q")
        try:
            if words[Header.MAGIC] != MAGIC:
                raise SegmentError(f"{name!r} is not a hartstorm segment (magic {words[Header.MAGIC]:#x})")
            if words[Header.VERSION] != VERSION:
                raise SegmentError(f"{name!r} has layout {words[Header.VERSION]}, this is layout {VERSION}")
            geometry = Geometry(
                harts=words[Header.HARTS],
                ram_bytes=words[Header.RAM_BYTES],
                ram_base=words[Header.RAM_BASE],
                granule_exp=words[Header.GRANULE_EXP],
                ring_bytes=words[Header.RING_BYTES],
            )
        finally:
            words.release()
        return cls(shm, geometry)

    def ring(self, hart: int) -> memoryview:
        """The ring area of a hart, for `bus.ring`; release it before `close`. Empty if the VM has no rings."""
        start = self.geometry.ring_offset + hart * self.geometry.ring_bytes
        return self._buffer[start : start + self.geometry.ring_bytes]

    def close(self) -> None:
        """Unmap; views taken from this segment must not be used again."""
        self.memory.release()
        for words in (self.header, *self.harts, self.granules, self.writers):
            words.view.release()
        self.page_map.release()
        self._ram.release()
        self._buffer.release()
        self._shm.close()

    def unlink(self) -> None:
        """Remove the name; idempotent, for whoever cleans up last."""
        unlink(self.name)

    def _words(self, offset: int, count: int) -> Words:
        view = self._buffer[offset : offset + count * WORD].cast("Q")
        return Words(view, self.address + offset)


def unlink(name: str, *, registered: bool = True) -> None:
    """Remove a segment by name if it is still there, whichever process created it.

    `registered` says that this process tree's resource tracker knows the name and must forget it.
    """
    import _posixshmem  # what SharedMemory itself uses; it offers no unlink without a mapping

    with contextlib.suppress(FileNotFoundError):
        _posixshmem.shm_unlink("/" + name)
        if registered:
            resource_tracker.unregister("/" + name, "shared_memory")
