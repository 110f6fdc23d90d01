"""The CLINT: software interrupts and the timer, as words in the hart pages, seen by guests as memory.

Owns the register map and the time base. Never delivers an interrupt: it rings doorbells, harts look.

Source: SiFive CLINT as QEMU and Spike have it: msip at 4 * hart, mtimecmp at 0x4000 + 8 * hart, mtime at 0xbff8.
"""

from __future__ import annotations

import time

from bus.access import Fault, MemoryFault
from bus.doorbell import Ringer
from bus.layout import Doorbell, Hart, Header
from bus.segment import Segment, Words

BASE = 0x200_0000
SIZE = 0x1_0000
MTIMECMP = 0x4000
MTIME = 0xBFF8
_NS_PER_S = 1_000_000_000
_MASK = (1 << 64) - 1


def read_mtime(header: Words) -> int:
    """Mtime of the VM with this header: it runs from the making of the VM on, paused or not."""
    elapsed = time.monotonic_ns() - header[Header.TIME_ORIGIN_NS]
    ticks = elapsed * header[Header.TIMER_FREQUENCY_HZ] // _NS_PER_S
    return ticks + header[Header.TIME_OFFSET] & _MASK


def write_mtime(header: Words, value: int) -> None:
    """Let mtime go on from `value`, for every hart; whoever does so rings them."""
    header[Header.TIME_OFFSET] = header[Header.TIME_OFFSET] + value - read_mtime(header) & _MASK


class Clint:
    """The CLINT as one hart reaches it."""

    def __init__(self, segment: Segment, ringer: Ringer) -> None:
        """`ringer` wakes harts whose registers change."""
        self._header = segment.header
        self._harts = segment.harts
        self._ringer = ringer

    def now(self) -> int:
        """Mtime in ticks of the VM's timer frequency."""
        return read_mtime(self._header)

    def seconds_until(self, tick: int) -> float:
        """Seconds from now until mtime reaches `tick`; 0 if it has."""
        return max(0, tick - self.now()) / self._header[Header.TIMER_FREQUENCY_HZ]

    def load(self, address: int, size: int) -> int:
        """Read a register of 4 bytes, or 4 or 8 bytes of one of 8; MemoryFault(ACCESS) where there is none."""
        offset = address - BASE
        if size in (4, 8) and not address % size:
            if offset < MTIMECMP and size == 4 and offset // 4 < len(self._harts):
                return self._harts[offset // 4][Hart.MSIP]
            word = None
            if MTIMECMP <= offset < MTIMECMP + 8 * len(self._harts):
                word = self._harts[(offset - MTIMECMP) // 8][Hart.MTIMECMP]
            elif offset & ~7 == MTIME:
                word = self.now()
            if word is not None:
                return word if size == 8 else word >> 8 * (offset & 4) & 0xFFFF_FFFF
        raise MemoryFault(Fault.ACCESS, address)

    def store(self, address: int, size: int, value: int) -> None:
        """Write a register; MemoryFault(ACCESS) where there is none. Rings the harts that it concerns."""
        offset = address - BASE
        if size in (4, 8) and not address % size:
            if offset < MTIMECMP and size == 4 and offset // 4 < len(self._harts):
                hart = offset // 4
                self._harts[hart][Hart.MSIP] = value & 1
                self._ringer.ring(hart, Doorbell.INTERRUPT)
                return
            if MTIMECMP <= offset < MTIMECMP + 8 * len(self._harts):
                hart = (offset - MTIMECMP) // 8
                page = self._harts[hart]
                page[Hart.MTIMECMP] = _merge(page[Hart.MTIMECMP], offset, size, value)
                self._ringer.ring(hart, Doorbell.INTERRUPT)
                return
            if offset & ~7 == MTIME:
                write_mtime(self._header, _merge(self.now(), offset, size, value))
                for hart in range(len(self._harts)):
                    self._ringer.ring(hart, Doorbell.INTERRUPT)
                return
        raise MemoryFault(Fault.ACCESS, address)


def _merge(old: int, offset: int, size: int, value: int) -> int:
    if size == 8:
        return value & _MASK
    shift = 8 * (offset & 4)
    return old & ~(0xFFFF_FFFF << shift) | (value & 0xFFFF_FFFF) << shift
