"""Guest RAM as bytes in the segment: bounds-checked reads and writes, nothing else.

Owns the one check that keeps a guest inside its RAM. Knows no reservations and no order; policies add those.
"""

from __future__ import annotations

from bus.access import Fault, MemoryFault


class GuestMemory:
    """Guest RAM at guest physical addresses `base` to `base + size - 1`.

    `views[size][offset // size]` is RAM in aligned items, for callers that have made the check.

    Aligned accesses of 1, 2, 4 or 8 bytes are single host loads and stores (see `bus.native`). Misaligned ones go
    byte by byte in effect, as the architecture allows for plain accesses.
    """

    def __init__(self, buffer: memoryview, base: int) -> None:
        """`buffer` holds RAM, is writable, and stays the caller's to release after `release`."""
        self.base = base
        self.size = len(buffer)
        self.bytes = buffer.cast("B")
        self.views = {
            1: self.bytes,
            2: self.bytes.cast("H"),
            4: self.bytes.cast("I"),
            8: self.bytes.cast("Q"),
        }

    def release(self) -> None:
        """Let go of the buffer."""
        for view in self.views.values():
            view.release()

    def offset(self, address: int, size: int) -> int:
        """Offset of `address` in RAM.

        Raises:
            MemoryFault: ACCESS with the first address that does not lie in RAM (what mtval of a misaligned access
                shows: privileged manual, "Machine Trap Value").

        """
        offset = address - self.base
        if 0 <= offset <= self.size - size:
            return offset
        raise self._outside(address)

    def _outside(self, address: int) -> MemoryFault:
        end = self.base + self.size
        return MemoryFault(Fault.ACCESS, end if self.base <= address < end else address)

    def aligned_offset(self, address: int, size: int) -> int:
        """As `offset`; raises MemoryFault(MISALIGNED) first unless `address` is a multiple of `size`."""
        if address & (size - 1):
            raise MemoryFault(Fault.MISALIGNED, address)
        return self.offset(address, size)

    def load(self, address: int, size: int) -> int:
        """Read 1, 2, 4 or 8 bytes, zero-extended."""
        offset = address - self.base
        if not 0 <= offset <= self.size - size:
            raise self._outside(address)
        if offset & (size - 1):
            return int.from_bytes(self.bytes[offset : offset + size], "little")
        value: int = self.views[size][offset // size]
        return value

    def store(self, address: int, size: int, value: int) -> None:
        """Write the low 1, 2, 4 or 8 bytes of `value`."""
        offset = address - self.base
        if not 0 <= offset <= self.size - size:
            raise self._outside(address)
        value &= (1 << 8 * size) - 1
        if offset & (size - 1):
            self.bytes[offset : offset + size] = value.to_bytes(size, "little")
        else:
            self.views[size][offset // size] = value

    def read(self, address: int, size: int) -> bytes:
        """Copy any number of bytes out; no atomicity."""
        offset = self.offset(address, size)
        return bytes(self.bytes[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        """Copy any number of bytes in; no atomicity."""
        offset = self.offset(address, len(data))
        self.bytes[offset : offset + len(data)] = data
