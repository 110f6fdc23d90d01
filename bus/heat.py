"""Which addresses are used most: counts by address, hart and kind, in bounded memory.

Owns the counts. Decides nothing with them: they are for people.
"""

from __future__ import annotations

from collections import Counter

ROWS_PER_HART = 4096
"""With more rows than that, a hart's colder half is forgotten: an address used evenly but rarely may count short."""
_KIND_BITS = 3


class Heat:
    """Counts of atomics, or of coherence traffic."""

    def __init__(self, harts: int) -> None:
        """Nothing counted yet."""
        self._rows: list[dict[int, int]] = [{} for _ in range(harts)]

    def count(self, hart: int, kind: int, address: int, times: int = 1) -> None:
        """`times` more of `kind` (an AtomicKind or Traffic, below 8) by `hart` at `address`."""
        rows = self._rows[hart]
        key = address << _KIND_BITS | kind
        seen = rows.get(key)
        if seen is not None:
            rows[key] = seen + times
            return
        rows[key] = times
        if len(rows) > ROWS_PER_HART:
            self._rows[hart] = dict(Counter(rows).most_common(ROWS_PER_HART // 2))

    def hottest(self, addresses: int) -> list[tuple[int, ...]]:
        """The `addresses` most used addresses, hottest first: rows (address, hart, kind, count)."""
        totals: Counter[int] = Counter()
        by_address: dict[int, list[tuple[int, ...]]] = {}
        for hart, rows in enumerate(self._rows):
            for key, count in rows.items():
                address = key >> _KIND_BITS
                totals[address] += count
                by_address.setdefault(address, []).append((address, hart, key & (1 << _KIND_BITS) - 1, count))
        return [row for address, _ in totals.most_common(addresses) for row in by_address[address]]
