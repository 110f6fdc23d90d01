"""A byte ring between one writing hart and one reading coordinator, in the hart's ring area of the segment.

Owns the two positions and the bytes between them. Knows nothing of what the bytes mean.

Word 0 is how many bytes were ever written (the writer's), word 1 how many were ever read (the reader's). The writer
copies bytes first and then advances its word behind a fence, so the reader never sees a position before its bytes;
likewise the reader frees space only after it has copied out. If the writer dies while writing, the position is not
advanced and the reader sees only whole writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bus.layout import WORD
from bus.native import host_atomics

_HEADER = 2 * WORD


class _Ring:
    def __init__(self, area: memoryview) -> None:
        self._positions = area[:_HEADER].cast("Q")
        self._data = area[_HEADER:]
        self._size = len(self._data)
        self._fence = host_atomics().fence

    def release(self) -> None:
        """Let go of the memory."""
        self._positions.release()
        self._data.release()


class RingWriter(_Ring):
    """The hart's end."""

    def write(self, data: bytes, give_up: Callable[[], bool]) -> bool:
        """Add `data`, waiting for space; false if `give_up` became true before everything was written."""
        at = 0
        while at < len(data):
            written, read = self._positions
            space = self._size - (written - read)
            if not space:
                if give_up():
                    return False
                time.sleep(0.001)
                continue
            start = written % self._size
            piece = data[at : at + min(space, self._size - start)]
            self._data[start : start + len(piece)] = piece
            self._fence()
            self._positions[0] = written + len(piece)
            at += len(piece)
        return True


class RingReader(_Ring):
    """The coordinator's end."""

    def read(self) -> bytes:
        """Take out everything there is."""
        with self.taken() as pieces:
            return b"".join(pieces)

    @contextmanager
    def taken(self) -> Iterator[tuple[memoryview, memoryview]]:
        """Everything there is, where it lies: one piece up to the ring's end, one from its beginning.

        The writer gets the space when the context ends, so copy before that what is to stay.
        """
        written, read = self._positions
        self._fence()
        count = min(written - read, self._size)  # a guest cannot write here, a broken writer could
        start = read % self._size
        first = self._data[start : start + count]
        with first, self._data[: count - len(first)] as second:
            yield first, second
        self._fence()
        self._positions[1] = read + count
