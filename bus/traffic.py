"""What coherence costs, as counts: requests, messages, recalls, transfers, invalidations, hops.

Owns the vocabulary, and the counts by hart and by granule. Decides nothing with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from bus.heat import Heat

TRAFFIC = 16
"""Added to a Traffic in tables whose other rows count an AtomicKind (`Arbiter.statistics`)."""


class Traffic(IntEnum):
    """What is counted; the value indexes the hart page's counters. A hart's count is of what it did or suffered."""

    GET_SHARED = 0
    """Asked to share a granule: a load that missed."""
    GET_MODIFIED = 1
    """Asked to own a granule alone: a store or an atomic that missed, or found the granule only shared."""
    MESSAGE = 2
    """Messages from or to the hart: request and grant, recall, giving up and leave to go on."""
    RECALL = 3
    """Was asked to give a granule up. A hart that waits for the bus is not asked: it is taken from without messages."""
    TRANSFER = 4
    """Was given a granule that another hart had owned alone: the data would come from that hart's cache."""
    INVALIDATION = 5
    """Lost a granule."""
    DOWNGRADE = 6
    """Owned a granule alone and now shares it."""
    HOP = 7
    """Distance that transfers to the hart covered (`bus.handover.distance`)."""


class TrafficCounts:
    """Counts by hart, in words that outlive the bus process, and by granule, since it started."""

    def __init__(self, words: Sequence[memoryview], first: int) -> None:
        """`words[hart][first + event]` counts; `first` is the index of a run of len(Traffic) words."""
        self._words = words
        self._first = first
        self._heat = Heat(len(words))

    def count(self, hart: int, event: Traffic, address: int, times: int = 1) -> None:
        """`times` more of `event` for `hart` and the granule at `address`."""
        self._words[hart][self._first + event] += times
        self._heat.count(hart, event, address, times)

    def busiest(self, granules: int) -> list[tuple[int, ...]]:
        """The `granules` busiest ones: rows (address, hart, TRAFFIC + event, count)."""
        return [(a, hart, TRAFFIC + event, n) for a, hart, event, n in self._heat.hottest(granules)]
