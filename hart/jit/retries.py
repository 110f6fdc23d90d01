"""Retry loops of a region: back-edges on which a hart may find that it only waits.

Owns their shape; what makes a loop one is `hart.isa.retry`'s. Emits nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hart.isa.effects import MemoryEffect
from hart.isa.retry import is_retry, success
from hart.jit.region import Region

_TAKES = frozenset({MemoryEffect.STORE_CONDITIONAL, MemoryEffect.AMO, MemoryEffect.COMPARE_AND_SWAP})
_MAY_SUCCEED = frozenset({MemoryEffect.STORE_CONDITIONAL, MemoryEffect.COMPARE_AND_SWAP})


@dataclass(frozen=True, slots=True)
class RetryLoop:
    """A branch back, and the blocks of its rounds: those on a way from its target to it on which no SC succeeds.

    Attributes:
        first: address of the block with which a round begins, the target of the branch.
        last: address of the block that ends in the branch; not lower.
        blocks: addresses of all.
        delays: addresses of those of them that lie in a loop that is none: it counts, and ends by itself.
        only_loads: whether it leaves what it looks at to others: their caches keep it until one writes.

    """

    first: int
    last: int
    blocks: frozenset[int]
    delays: frozenset[int]
    only_loads: bool


def retry_loops(region: Region) -> list[RetryLoop]:
    """Every retry loop of the region; one may lie in another."""
    found = _Loops(region)
    bodies = found.bodies()
    retries = {branch: body for branch, body in bodies.items() if found.is_retry(*branch, body)}
    others = [body for branch, body in bodies.items() if branch not in retries]
    return [
        RetryLoop(
            first,
            last,
            body,
            frozenset[int]().union(*(other for other in others if other < body)),
            not found.effects(body) & _TAKES,
        )
        for (first, last), body in retries.items()
    ]


class _Loops:
    """The region's loops, as far as no SC in them succeeds."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._after: dict[int, list[int]] = {}
        self._undecided: set[int] = set()
        """Blocks with an access that may succeed, and then go on as if it had not."""
        for pc, block in region.blocks.items():
            succeeded = success(block.instructions)
            self._after[pc] = [target for target in block.successors if target != succeeded]
            if succeeded is None and self.effects((pc,)) & _MAY_SUCCEED:
                self._undecided.add(pc)
        self._before: dict[int, list[int]] = {pc: [] for pc in region.blocks}
        for pc, targets in self._after.items():
            for target in targets:
                self._before[target].append(pc)

    def bodies(self) -> dict[tuple[int, int], frozenset[int]]:
        """The blocks of each loop, by the addresses of its first and its last."""
        branches = sorted(
            (last, first) for last in self._after for first in self._after[last] if first <= last
        )
        found = {
            (first, last): _reached(first, self._after, last) & _reached(last, self._before, first)
            for last, first in branches
        }
        return {branch: frozenset(body) for branch, body in found.items() if body.issuperset(branch)}

    def is_retry(self, first: int, last: int, body: frozenset[int]) -> bool:
        """Whether that loop is one. Where it may do something in a round, only if there is one way for a round."""
        if body & self._undecided and any(len(body.intersection(self._after[pc])) != 1 for pc in body):
            return False
        places = {pc: n for n, pc in enumerate(sorted(body))}
        origins = [
            [places[b] for b in self._before[pc]]
            if pc not in (first, self._region.entry) and body.issuperset(self._before[pc])
            else []
            for pc in places
        ]
        return is_retry([self._region.blocks[pc].instructions for pc in places], origins, places[last])

    def effects(self, body: Collection[int]) -> set[MemoryEffect]:
        """What is done to memory there."""
        return {i.effects.memory for pc in body for i in self._region.blocks[pc].instructions}


def _reached(start: int, steps: Mapping[int, Sequence[int]], end: int) -> set[int]:
    """`start`, and what can be reached from it without going on from `end`."""
    reached, todo = {start}, [start]
    while todo:
        pc = todo.pop()
        if pc != end:
            new = set(steps[pc]) - reached
            reached |= new
            todo += new
    return reached
