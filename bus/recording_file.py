"""Recordings as files: the harts' memory events, the memory before and after, and an index.

Owns the format, and the process that moves events from the harts' rings into the file. Judges nothing.

A file is MAGIC, then blocks: `kind, hart, raw bytes, stored bytes` (BLOCK) and as many bytes, compressed by zlib:

- HEADER, first: a msgpack map of what was recorded (`Facts`);
- PAGES: msgpack map of page number to the 4096 bytes that were there before the run, where they were not all 0;
- EVENTS: some events of one hart, in program order, as `bus.events` has them but word by word (all first words, all
  second words, ...), which compresses better;
- RAW_EVENTS: likewise, event by event and never compressed. Compressing an event takes several times as long as noting
  it, so where a ring is filling the drainer writes it out as it is: harts wait for the disk at most;
- FINAL: as PAGES, for the pages that the run has changed;
- INDEX, last: a msgpack map, the offset of every block and what was lost; then END and its own offset in 8 bytes.

A file without the end was cut off: its events count, and it says that it is not complete.
"""

from __future__ import annotations

import struct
import time
import zlib
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from io import BufferedIOBase, BufferedReader
from pathlib import Path

import msgpack

from bus.events import EVENT, ring_area
from bus.layout import PAGE, WORD, Hart, HartEnding, Header
from bus.ring import RingReader
from bus.segment import Segment

MAGIC = b"hartstorm memory 1\n"
END = b"hartstorm end\n"
BLOCK = struct.Struct("<BIQQ")
_COLUMNS = EVENT // WORD
_IDLE_S = 0.0005
_LEVEL = 1
_LIMIT = 1 << 30
_BEHIND = 64
"""A ring that is filled to one part in so many is written as it is."""
RAW_MOST = 1 << 30
"""Bytes of RAW_EVENTS in a file; from then on all is compressed, and harts that are faster wait."""


class BlockKind(IntEnum):
    """What a block holds."""

    HEADER = 0
    PAGES = 1
    EVENTS = 2
    FINAL = 3
    INDEX = 4
    RAW_EVENTS = 5


class RecordingError(ValueError):
    """Not a recording, one of another version, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was recorded.

    Attributes:
        name: of the VM.
        harts: how many.
        ram_base: guest address of RAM.
        ram_bytes: its size.
        policy: name of the coherence policy.
        tier: which tiers ran it.
        extensions: what the decoder knew.
        symbols: addresses by name.

    """

    name: str
    harts: int
    ram_base: int
    ram_bytes: int
    policy: str
    tier: str
    extensions: tuple[str, ...]
    symbols: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, read.

    Attributes:
        facts: what was recorded.
        pages: memory before the run, by page number; pages that are not there held 0.
        final: the pages that the run changed, as they were at its end.
        events: each hart's events (`bus.events`), in program order.
        lost: for each hart, events that were not noted because there was no space.
        taken: lines taken over from harts that died.
        outside: writes that did not come from harts.
        whole: whether every hart ended by itself, so that `final` holds what was noted and nothing else.
        complete: whether the file has its end.

    """

    facts: Facts
    pages: dict[int, bytes]
    final: dict[int, bytes]
    events: tuple[bytes, ...]
    lost: tuple[int, ...]
    taken: int
    outside: int
    whole: bool
    complete: bool


def _write(file: BufferedIOBase, kind: BlockKind, hart: int, raw: bytes | memoryview) -> None:
    data = raw if kind is BlockKind.RAW_EVENTS else zlib.compress(raw, _LEVEL)
    file.write(BLOCK.pack(kind, hart, len(raw), len(data)))
    file.write(data)


def begin(path: Path, facts: Facts, segment: Segment) -> None:
    """Make the file, with what memory holds now. Call before any hart runs; raises OSError."""
    with path.open("wb") as file:
        file.write(MAGIC)
        body = {name: getattr(facts, name) for name in Facts.__dataclass_fields__}
        _write(file, BlockKind.HEADER, 0, msgpack.packb(body))
        _write(file, BlockKind.PAGES, 0, msgpack.packb(memory_pages(segment)))


def memory_pages(segment: Segment) -> dict[int, bytes]:
    """The pages of RAM that are not all 0, by number."""
    memory, empty = segment.memory, bytes(PAGE)
    found: dict[int, bytes] = {}
    for number in range(memory.size // PAGE):
        page = memory.bytes[number * PAGE : (number + 1) * PAGE]
        if page != empty:
            found[number] = bytes(page)
    return found


@dataclass(frozen=True, slots=True)
class DrainSpec:
    """What a drainer needs: the segment's name and the file that `begin` made."""

    segment: str
    path: str


def run(spec: DrainSpec) -> None:
    """The drainer process's main function: ends when the coordinator says so in the header."""
    segment = Segment.attach(spec.segment)
    before = _read_pages(Path(spec.path))
    with ExitStack() as stack:
        file = stack.enter_context(Path(spec.path).open("ab"))
        rings = []
        for hart in range(segment.geometry.harts):
            area = segment.event_ring(hart)
            cut = ring_area(area)
            ring = RingReader(cut)
            rings.append(ring)
            for view in (area, cut, ring):
                stack.callback(view.release)
        header = segment.header
        full = segment.geometry.event_bytes // _BEHIND
        raw_left = RAW_MOST
        while True:
            ends = header[Header.RECORD_ENDS]
            moved = 0
            for hart, ring in enumerate(rings):
                with ring.taken() as pieces:
                    for piece in filter(len, pieces):
                        moved += len(piece)
                        if full <= len(piece) <= raw_left:
                            _write(file, BlockKind.RAW_EVENTS, hart, piece)
                            raw_left -= len(piece)
                        else:
                            _write(file, BlockKind.EVENTS, hart, _columns(piece))
            if moved:
                continue
            if ends:
                break
            file.flush()
            time.sleep(_IDLE_S)
        after = memory_pages(segment)
        empty = bytes(PAGE)
        changed = {n: after.get(n, empty) for n in {*before, *after} if after.get(n) != before.get(n)}
        _write(file, BlockKind.FINAL, 0, msgpack.packb(changed))
        file.flush()
        lost = [page[Hart.EVENTS_LOST] for page in segment.harts]
        taken = sum(page[Hart.LINES_TAKEN] for page in segment.harts)
        offsets = [(kind, hart, at, raw) for kind, hart, at, raw, _ in blocks(Path(spec.path))]
        at = file.tell()
        index = {
            "blocks": offsets,
            "lost": lost,
            "taken": taken,
            "outside": header[Header.EXTERNAL_WRITES],
            "whole": all(
                page[Hart.ENDING] not in (HartEnding.NONE, HartEnding.DIED) for page in segment.harts
            ),
        }
        _write(file, BlockKind.INDEX, 0, msgpack.packb(index))
        file.write(END + struct.pack("<Q", at))


def _columns(events: memoryview) -> bytes:
    """The body of an EVENTS block; `_rows` turns it back."""
    words = events.cast("Q")
    return b"".join(words[i::_COLUMNS].tobytes() for i in range(_COLUMNS))


def _rows(columns: bytes) -> bytes:
    """The events of an EVENTS block."""
    source = array("Q", columns)
    count = len(source) // _COLUMNS
    words = array("Q", bytes(len(columns)))
    for i in range(_COLUMNS):
        words[i::_COLUMNS] = source[i * count : (i + 1) * count]
    return words.tobytes()


def blocks(path: Path) -> Iterator[tuple[int, int, int, int, int]]:
    """Kind, hart, offset of the data, raw and stored bytes of each whole block."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise RecordingError(f"{path}: not a recording of memory, or of another version")
        while True:
            head = file.read(BLOCK.size)
            if len(head) < BLOCK.size:
                return
            kind, hart, raw, stored = BLOCK.unpack(head)
            at = file.tell()
            if kind > max(BlockKind) or raw > _LIMIT or at + stored > size:
                return  # cut off, or the trailer
            yield kind, hart, at, raw, stored
            file.seek(stored, 1)


def _load(file: BufferedReader, path: Path, kind: int, at: int, raw: int, stored: int) -> bytes:
    file.seek(at)
    data = file.read(stored)
    if kind != BlockKind.RAW_EVENTS:
        try:
            data = zlib.decompress(data, bufsize=raw or 1)
        except zlib.error as error:
            raise RecordingError(f"{path}: the block at {at} is damaged: {error}") from None
    if len(data) != raw:
        raise RecordingError(f"{path}: the block at {at} has {len(data)} bytes, its head says {raw}")
    return data


def _read_pages(path: Path) -> dict[int, bytes]:
    with path.open("rb") as file:
        for kind, _, at, raw, stored in blocks(path):
            if kind == BlockKind.PAGES:
                pages: dict[int, bytes] = msgpack.unpackb(
                    _load(file, path, kind, at, raw, stored), strict_map_key=False
                )
                return pages
    raise RecordingError(f"{path}: has no memory")


def read(path: Path) -> Recording:
    """A whole recording.

    Raises:
        RecordingError: the file is none, or is damaged.
        OSError: it cannot be read.

    """
    facts: Facts | None = None
    pages: dict[int, bytes] = {}
    final: dict[int, bytes] = {}
    events: list[list[bytes]] = []
    lost: tuple[int, ...] = ()
    taken, outside, whole, complete = 0, 0, False, False
    with path.open("rb") as file:
        for kind, hart, at, raw, stored in blocks(path):
            data = _load(file, path, kind, at, raw, stored)
            try:
                if kind == BlockKind.HEADER:
                    body = msgpack.unpackb(data)
                    facts = Facts(**{**body, "extensions": tuple(body["extensions"])})
                    events = [[] for _ in range(facts.harts)]
                elif kind == BlockKind.PAGES:
                    pages = msgpack.unpackb(data, strict_map_key=False)
                elif kind == BlockKind.FINAL:
                    final = msgpack.unpackb(data, strict_map_key=False)
                elif kind == BlockKind.EVENTS:
                    events[hart].append(_rows(data))
                elif kind == BlockKind.RAW_EVENTS:
                    events[hart].append(data)
                else:
                    index = msgpack.unpackb(data)
                    lost, complete = tuple(index["lost"]), True
                    taken, outside, whole = index["taken"], index["outside"], index["whole"]
            except (ValueError, TypeError, KeyError, IndexError, msgpack.UnpackException) as error:
                raise RecordingError(f"{path}: the block at {at} is damaged: {error!r}") from None
    if facts is None:
        raise RecordingError(f"{path}: has no header")
    return Recording(
        facts,
        pages,
        final,
        tuple(b"".join(pieces) for pieces in events),
        lost or (0,) * facts.harts,
        taken,
        outside,
        whole,
        complete,
    )
