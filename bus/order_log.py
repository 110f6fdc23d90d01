"""The total order as a file: one record for each transaction, in the order in which the bus executed them.

Owns the file format: a stream of msgpack arrays, first a header `["hartstorm order", version]`, then
`[hart, kind, address, size, order, before, after, failure]`. Values of 16 bytes are little-endian byte strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack

from bus.policies import OrderRecord

_HEADER = ["hartstorm order", 1]
_WORD = 1 << 64


class OrderLogError(ValueError):
    """Not an order log, or one of another version."""


class OrderLog:
    """An order log that is being written."""

    def __init__(self, path: Path) -> None:
        """Create the file, or go on with it if a bus process left it behind."""
        self._file = path.open("ab")
        self._pack = msgpack.Packer().pack
        if self._file.tell() == 0:
            self._file.write(self._pack(_HEADER))

    def append(self, record: OrderRecord) -> None:
        """Add the next transaction."""
        before, after = (v if v < _WORD else v.to_bytes(16, "little") for v in (record.before, record.after))
        self._file.write(
            self._pack(
                (
                    record.hart,
                    record.kind,
                    record.address,
                    record.size,
                    record.order,
                    before,
                    after,
                    record.failure,
                )
            )
        )

    def flush(self) -> None:
        """Hand what was written to the host."""
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_order_log(path: Path) -> Iterator[OrderRecord]:
    """The records of an order log, in order.

    Raises:
        OrderLogError: the file is not an order log of this version.

    """
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(file)
        if next(unpacker, None) != _HEADER:
            raise OrderLogError(f"{path}: not an order log of version {_HEADER[1]}")
        for hart, kind, address, size, order, before, after, failure in unpacker:
            values = (v if isinstance(v, int) else int.from_bytes(v, "little") for v in (before, after))
            yield OrderRecord(hart, kind, address, size, order, *values, failure)
