"""Handing granules over: how long a hart keeps one that others want, and which of them gets it next.

Owns the settings and the orders, one row each. Moves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST_CONSTRAINED_LOOP = 16
"""Instructions (unprivileged manual, "Eventual Success of Store-Conditional Instructions")."""


@dataclass(frozen=True, slots=True)
class Handover:
    """How harts pass granules on under `directory`.

    Attributes:
        hold_instructions: a hart that finds itself asked for a granule first runs so many instructions more. One
            that waits for the bus gives up at once.
        order: which of the harts that wait for a granule gets it next, a key of ORDERS.
        seed: of random choices.

    """

    hold_instructions: int = LONGEST_CONSTRAINED_LOOP
    order: str = "fifo"
    seed: int = 0


DEFAULT = Handover()


def distance(a: int, b: int, harts: int) -> int:
    """Steps from one hart to another, were they placed on a ring in the order of their numbers."""
    steps = abs(a - b)
    return min(steps, harts - steps)


Chooser = Callable[[Sequence[int], int], int]
"""Called with the waiting harts, in the order in which they asked, and the last owner or -1; returns an index."""


def _fifo(harts: int, chance: random.Random) -> Chooser:
    return lambda waiting, last: 0


def _lifo(harts: int, chance: random.Random) -> Chooser:
    return lambda waiting, last: len(waiting) - 1


def _random(harts: int, chance: random.Random) -> Chooser:
    return lambda waiting, last: chance.randrange(len(waiting))


def _nearest(harts: int, chance: random.Random) -> Chooser:
    def choose(waiting: Sequence[int], last: int) -> int:
        if last < 0:
            return 0
        return min(range(len(waiting)), key=lambda i: distance(waiting[i], last, harts))

    return choose


ORDERS: dict[str, Callable[[int, random.Random], Chooser]] = {
    "fifo": _fifo,
    "lifo": _lifo,
    "nearest": _nearest,
    "random": _random,
}
"""By name. All but `fifo` and `random` may let a hart wait for as long as others keep asking."""


def chooser(handover: Handover, harts: int) -> Chooser:
    """The order asked for; raises KeyError for an unknown one."""
    return ORDERS[handover.order](harts, random.Random(handover.seed))
