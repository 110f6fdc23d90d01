"""How rounds are run: where locations lie, how many instances, how harts are brought together and apart.

Owns the choice, drawn from a seed; the guest takes a row of the schedule for each round and does the rest. Sizes stay
small enough that a round is over soon even where the interpreter runs it.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from coordinator.harness import memory
from coordinator.harness.memory import Row, Team

_LINE = memory.ROOM
_TOGETHER_ONCE = (1 << 64) - 1
"""As SYNC_MASK: harts begin the first instance together, and no other."""
_PAGE = 1 << 12


@dataclass(frozen=True, slots=True)
class Effort:
    """Bounds of the choice.

    Attributes:
        instances: log2 of how many instances a round has, least and most; the first rounds of a test are smaller and
            plain, for the interpreter runs them.
        start: the same for those rounds, one after the other.
        delays: log2 of how many turns of an empty loop a hart may wait at most, before it begins.
        patience: how often in a round a hart looks whether the others begin before it does so alone: at least, and
            more for each instance.

    """

    instances: tuple[int, int]
    start: tuple[int, ...]
    delays: tuple[int, ...]
    patience: tuple[int, int]


FAST = Effort((8, 13), (6, 6, 7, 7, 8, 8, 9, 9, 10, 10), (0, 0, 0, 1, 2, 3, 4, 5, 6), (1 << 19, 256))
SLOW = Effort((4, 6), (4,), (0, 0, 1, 2, 3), (500, 50))


def schedule(seed: int, effort: Effort) -> bytes:
    """The schedule's rows, as they lie in guest memory."""
    choose = random.Random(seed)
    later = memory.SCHEDULE_ROWS - len(effort.start)
    sizes = (*effort.start, *(choose.randint(*effort.instances) for _ in range(later)))
    rows = [_row(choose, effort, 1 << size) for size in sizes]
    for row in rows[: len(effort.start)]:
        row[Row.SYNC_MASK], row[Row.DELAY_MASK], row[Row.SKEW_MASK] = _TOGETHER_ONCE, 0, 0
    return b"".join(struct.pack(f"<{Row.END}Q", *row) for row in rows)


def _row(choose: random.Random, effort: Effort, count: int) -> list[int]:
    row = [0] * Row.END
    placement = choose.choice(tuple(p for p in _PLACEMENTS if count * p.bytes <= Team.AREA_BYTES))
    row[Row.MASK] = count - 1
    row[Row.INCREMENT] = choose.getrandbits(32) | 1
    row[Row.FIRST] = choose.randrange(count)
    row[Row.SYNC_MASK] = choose.choice((0, 0, 0, 0, 0, 1, 7, _TOGETHER_ONCE))
    row[Row.DELAY_MASK] = (1 << choose.choice(effort.delays)) - 1
    row[Row.SKEW_MASK] = (1 << choose.choice(effort.delays)) - 1
    row[Row.PATIENCE] = effort.patience[0] + effort.patience[1] * count
    row[Row.SHARE] = choose.randrange(memory.MAX_THREADS)
    row[Row.STRIDE] = placement.stride
    row[Row.BASES :] = placement.bases(choose, count)
    return row


@dataclass(frozen=True, slots=True)
class _Placement:
    """A way to place locations: bytes from an instance to the next, and the offsets of an instance's locations.

    With no `pitch`, each location has pages of its own.
    """

    stride: int
    pitch: int | None

    @property
    def bytes(self) -> int:
        """Per instance."""
        return self.stride * (memory.MAX_LOCATIONS + 1 if self.pitch is None else 1)

    def bases(self, choose: random.Random, count: int) -> list[int]:
        """Offsets of the locations of instance 0."""
        places = list(range(memory.MAX_LOCATIONS))
        choose.shuffle(places)
        if self.pitch is not None:
            return [place * self.pitch for place in places]
        span = count * self.stride + 2 * _PAGE
        return [place * span + choose.randrange(_PAGE // _LINE) * _LINE for place in places]


_PLACEMENTS = (
    _Placement(memory.MAX_LOCATIONS * _LINE, _LINE),
    _Placement(memory.MAX_LOCATIONS * 2 * _LINE, 2 * _LINE),  # hosts fetch lines in pairs
    _Placement(_LINE, None),
    _Placement(_PAGE + _LINE, memory.MAX_LOCATIONS * _LINE),
)
"""An instance's locations side by side, apart, on different pages; each instance on a page of its own."""
