"""The total order as a file: one record for each transaction, in the order in which the bus executed them.

Owns the file format: a stream of msgpack arrays, first a header `["hartstorm order", version]`, then the fields of
an `OrderRecord`. Values of 16 bytes are little-endian byte strings. Decides nothing about order.

Each record is written to the host before its transaction begins, and in one piece. So a bus process that is killed
leaves at most one record too many, the last, which its successor can see and drop; and at most one that is torn,
which is dropped when the file is opened again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack

_HEADER = ["hartstorm order", 2]
_WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One transaction as the total order has it.

    `hart` is the number of harts for a write from outside. `request` is the hart's request id. `before` and `after`
    are the values of the `size` bytes; `failure` is that of an SC, as in the catalogue.
    """

    hart: int
    request: int
    kind: int
    address: int
    size: int
    order: int
    before: int
    after: int
    failure: int = 0


class OrderLogError(ValueError):
    """Not an order log, or one of another version."""


class OrderLog:
    """An order log that is being written.

    Attributes:
        last: the last record in the file, or None.

    """

    def __init__(self, path: Path) -> None:
        """Create the file, or go on with it if a bus process left it behind; raises OrderLogError."""
        self.last: OrderRecord | None = None
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._pack = msgpack.Packer().pack
        self._before_last = self._end = 0
        if os.fstat(self._file).st_size:
            for record, end in _records(path):
                self._before_last, self._end = self._end, end
                self.last = record
        os.ftruncate(self._file, self._end)
        if not self._end:
            self._write(_HEADER)

    def append(self, record: OrderRecord) -> None:
        """Add the next transaction, which must not have begun."""
        self._before_last = self._end
        self._write(
            (
                record.hart,
                record.request,
                record.kind,
                record.address,
                record.size,
                record.order,
                _packable(record.before),
                _packable(record.after),
                record.failure,
            )
        )
        self.last = record

    def drop_last(self) -> None:
        """Take back the last record; once, and only before the next `append`."""
        os.ftruncate(self._file, self._before_last)
        self._end = self._before_last
        self.last = None

    def close(self) -> None:
        """Finish the file."""
        os.close(self._file)

    def _write(self, fields: object) -> None:
        data: bytes = self._pack(fields)
        os.write(self._file, data)
        self._end += len(data)


def read_order_log(path: Path) -> Iterator[OrderRecord]:
    """The records of an order log, in order; a torn last one is left out.

    Raises:
        OrderLogError: the file is not an order log of this version.

    """
    return (record for record, _ in _records(path) if record is not None)


def _records(path: Path) -> Iterator[tuple[OrderRecord | None, int]]:
    """Each whole record with the offset of its end, after the header as None."""
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(file)
        try:
            header = next(unpacker, None)
        except ValueError:
            header = None
        if header != _HEADER:
            raise OrderLogError(f"{path}: not an order log of version {_HEADER[1]}")
        yield None, unpacker.tell()
        for hart, request, kind, address, size, order, before, after, failure in unpacker:
            record = OrderRecord(
                hart, request, kind, address, size, order, _unpacked(before), _unpacked(after), failure
            )
            yield record, unpacker.tell()


def _packable(value: int) -> int | bytes:
    return value if value < _WORD else value.to_bytes(16, "little")


def _unpacked(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value, "little")
