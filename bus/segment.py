"""A VM's shared segment: created by the coordinator, attached by its harts and its bus.

Owns the mapping and the typed views of it. Never interprets what the words mean beyond `bus.layout`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import secrets
import sys
import threading
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import ClassVar

from bus.layout import HART_BYTES, MAGIC, PAGE, TIMER_FREQUENCY_HZ, VERSION, WORD, Geometry, Hart, Header
from bus.memory import GuestMemory

NAME_PREFIX = "hartstorm-"
_DIRECTORY = Path("/dev/shm")
"""Where Linux shows POSIX shared memory: shm_overview(7)."""
_LOCK = threading.Lock()


class SegmentError(Exception):
    """A name that is no segment of ours, or one of another layout version."""


class _Mapping(SharedMemory):
    """Shared memory that lives until it is unlinked by name: no tracker process removes it behind our back.

    Python's tracker would be told by each process that attaches, and complain about what others removed.
    """

    def __init__(self, name: str, size: int = 0) -> None:
        """Create it with that size, or attach it if `size` is 0."""
        if sys.version_info >= (3, 13):
            super().__init__(name, create=size > 0, size=size, track=False)
            return
        with _LOCK:
            register = resource_tracker.register
            resource_tracker.register = lambda name, rtype: None
            try:
                super().__init__(name, create=size > 0, size=size)
            finally:
                resource_tracker.register = register

    def __del__(self) -> None:
        """Leave the mapping to the end of the process: views of it may be alive."""


class Words:
    """A run of 64-bit words: `words[i]` reads and writes one, atomically and without order.

    `address(i)` is the host address for `bus.native`.
    """

    __slots__ = ("_base", "_stride", "view")

    def __init__(self, view: memoryview, base: int) -> None:
        self.view = view
        self._base = base
        assert view.strides is not None
        self._stride = view.strides[0]

    def __getitem__(self, index: int) -> int:
        value: int = self.view[index]
        return value

    def __setitem__(self, index: int, value: int) -> None:
        self.view[index] = value

    def address(self, index: int) -> int:
        """Host address of word `index`."""
        return self._base + index * self._stride


class _Mmap:
    """mmap(2) and munmap(2), which place a mapping where Python's `mmap` cannot."""

    PROT_READ_WRITE = 3
    MAP_SHARED = 1
    MAP_FIXED_NOREPLACE = 0x100000

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.map = libc.mmap
        self.map.restype = ctypes.c_size_t
        self.map.argtypes = [ctypes.c_size_t, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self.unmap = libc.munmap
        self.unmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t]


class Segment:
    """An open segment: `header`, `harts[i]`, `page_map`, `granules`, `memory`, `ownership[i]` where there is any.

    Close it in every process; unlink it once. The name is unguessable and the mode 0600, so no other user can
    open it.
    """

    def __init__(self, shm: SharedMemory, geometry: Geometry) -> None:
        """Use `create` or `attach`."""
        self._shm = shm
        self.geometry = geometry
        self.name: str = shm.name
        assert shm.buf is not None
        self._buffer = shm.buf[: geometry.total_bytes]
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        """Host address of the segment's first byte."""
        g = geometry
        self.header = self._words(0, PAGE // WORD)
        self.harts = tuple(self._words(g.hart_offset + i * HART_BYTES, Hart.END) for i in range(g.harts))
        self.page_map = self._buffer[g.page_map_offset : g.page_map_offset + g.ram_bytes // PAGE]
        granules = 2 * (g.ram_bytes >> g.granule_exp)
        self.granules = self._words(g.granule_offset, granules, 2)
        self.writers = self._words(g.granule_offset + WORD, granules - 1, 2)
        self._ram = self._buffer[g.ram_offset : g.ram_offset + g.ram_bytes]
        self.memory = GuestMemory(self._ram, g.ram_base)
        self.ownership = tuple(self._owned_by(i) for i in range(g.harts if g.owned else 0))

    @classmethod
    def create(cls, geometry: Geometry, name: str | None = None) -> Segment:
        """Make a new zeroed segment, under `new_name()` unless `name` is given.

        Raises:
            OSError: the host has not the memory.

        """
        host = os.statvfs(_DIRECTORY)
        if geometry.total_bytes > host.f_bavail * host.f_frsize:
            # Writing to it later would end the process that does with SIGBUS.
            raise OSError(
                errno.ENOSPC, f"{geometry.total_bytes} bytes of shared memory do not fit", str(_DIRECTORY)
            )
        segment = cls(_Mapping(name or new_name(), geometry.total_bytes), geometry)
        h = segment.header
        h[Header.VERSION] = VERSION
        h[Header.RAM_BASE] = geometry.ram_base
        h[Header.RAM_BYTES] = geometry.ram_bytes
        h[Header.GRANULE_EXP] = geometry.granule_exp
        h[Header.HARTS] = geometry.harts
        h[Header.RING_BYTES] = geometry.ring_bytes
        h[Header.EVENT_BYTES] = geometry.event_bytes
        h[Header.RECORD_BYTES] = geometry.ram_bytes
        h[Header.OWNED] = geometry.owned
        h[Header.TIME_ORIGIN_NS] = time.monotonic_ns()
        h[Header.TIMER_FREQUENCY_HZ] = TIMER_FREQUENCY_HZ
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
            shm = _Mapping(name)
        except (OSError, ValueError) as error:
            raise SegmentError(f"no shared segment {name!r}") from error
        try:
            return cls(shm, _geometry(shm))
        except SegmentError:
            shm.close()
            raise

    def ring(self, hart: int) -> memoryview:
        """The ring area of a hart, for `bus.ring`; release it before `close`. Empty if the VM has no rings."""
        start = self.geometry.ring_offset + hart * self.geometry.ring_bytes
        return self._buffer[start : start + self.geometry.ring_bytes]

    def event_ring(self, hart: int) -> memoryview:
        """The area of a hart's memory events, for `bus.events`; release it before `close`. Empty if there is none."""
        start = self.geometry.event_offset + hart * self.geometry.event_bytes
        return self._buffer[start : start + self.geometry.event_bytes]

    def lines(self, first: int, count: int) -> list[int]:
        """Words of the line table, `count` from line `first`; see `bus.recorder`."""
        start = self.geometry.line_offset + first * WORD
        with self._buffer[start : start + count * WORD].cast("Q") as words:
            return words.tolist()

    def _owned_by(self, hart: int) -> memoryview:
        g = self.geometry
        start = g.ownership_offset + hart * g.ownership_bytes
        return self._buffer[start : start + g.ownership_bytes]

    def ownership_address(self, hart: int) -> int:
        """Host address of `ownership[hart]`."""
        return self.address + self.geometry.ownership_offset + hart * self.geometry.ownership_bytes

    _shown: ClassVar[Segment | None] = None
    """The segment whose RAM this process has at its guest addresses."""

    def show_ram(self) -> None:
        """Map guest RAM a second time, where host addresses are its guest addresses; at most one segment's at a time.

        Raises:
            OSError: something else is there.

        """
        if Segment._shown is self:
            return
        if Segment._shown is not None:
            Segment._shown._hide_ram()
        start, size, calls = self.geometry.ram_base, self.geometry.ram_bytes, _Mmap()
        flags = calls.MAP_SHARED | calls.MAP_FIXED_NOREPLACE
        descriptor = self._shm._fd  # type: ignore[attr-defined]
        at = calls.map(start, size, calls.PROT_READ_WRITE, flags, descriptor, self.geometry.ram_offset)
        if at != start:
            error = ctypes.get_errno()
            if at != ctypes.c_size_t(-1).value:  # a kernel that takes the address for a hint
                calls.unmap(at, size)
                error = errno.EEXIST
            raise OSError(error, f"guest RAM cannot be mapped at {start:#x}: {os.strerror(error)}")
        Segment._shown = self

    def _hide_ram(self) -> None:
        _Mmap().unmap(self.geometry.ram_base, self.geometry.ram_bytes)
        Segment._shown = None

    def close(self) -> None:
        """Unmap; views taken from this segment must not be used again."""
        if Segment._shown is self:
            self._hide_ram()
        self.memory.release()
        for words in (self.header, *self.harts, self.granules, self.writers):
            words.view.release()
        for owned in self.ownership:
            owned.release()
        self.page_map.release()
        self._ram.release()
        self._buffer.release()
        self._shm.close()

    def let_go(self) -> bool:
        """Close it if nothing of this process can reach it any more, what awaits collection aside; whether that is so.

        If not, the process must not be used for another VM.
        """
        gc.collect()
        try:
            self.close()
        except BufferError:
            return False
        return True

    def unlink(self) -> None:
        """Remove the name; idempotent."""
        unlink(self.name)

    def _words(self, offset: int, count: int, step: int = 1) -> Words:
        view = self._buffer[offset : offset + count * WORD].cast("Q")[::step]
        return Words(view, self.address + offset)


def new_name() -> str:
    """A name that nobody can guess."""
    return NAME_PREFIX + secrets.token_hex(16)


def unlink(name: str) -> None:
    """Remove a segment by name if it is still there, whichever process created it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_DIRECTORY / name)


def _geometry(shm: SharedMemory) -> Geometry:
    """What the header says; raises SegmentError."""
    name = shm.name
    assert shm.buf is not None
    if shm.size < PAGE:
        raise SegmentError(f"{name!r} is not a hartstorm segment ({shm.size} bytes)")
    words = [
        int.from_bytes(shm.buf[WORD * i : WORD * (i + 1)], sys.byteorder) for i in range(max(Header) + 1)
    ]
    if words[Header.MAGIC] != MAGIC:
        raise SegmentError(f"{name!r} is not a hartstorm segment (magic {words[Header.MAGIC]:#x})")
    if words[Header.VERSION] != VERSION:
        raise SegmentError(f"{name!r} has layout {words[Header.VERSION]}, this is layout {VERSION}")
    try:
        geometry = Geometry(
            harts=words[Header.HARTS],
            ram_bytes=words[Header.RAM_BYTES],
            ram_base=words[Header.RAM_BASE],
            granule_exp=words[Header.GRANULE_EXP],
            ring_bytes=words[Header.RING_BYTES],
            event_bytes=words[Header.EVENT_BYTES],
            owned=bool(words[Header.OWNED]),
        )
    except ValueError as error:
        raise SegmentError(f"{name!r} has a damaged header: {error}") from None
    if shm.size < geometry.total_bytes:
        raise SegmentError(f"{name!r} has {shm.size} bytes, its header says {geometry.total_bytes}")
    return geometry
