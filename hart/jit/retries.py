"""Retry loops of a region: back-edges on which a hart may find that it only waits.

Owns their shape; what makes a loop one is `hart.isa.retry`'s. Emits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hart.isa.effects import MemoryEffect
from hart.isa.retry import is_retry
from hart.jit.region import Region

_TAKES = frozenset({MemoryEffect.STORE_CONDITIONAL, MemoryEffect.AMO, MemoryEffect.COMPARE_AND_SWAP})


@dataclass(frozen=True, slots=True)
class RetryLoop:
    """A branch back, and the blocks of its rounds: those that lie on a way from its target to it.

    Attributes:
        first: address of the block with which a round begins, the target of the branch.
        last: address of the block that ends in the branch; not lower.
        blocks: addresses of all.
        only_loads: whether it leaves what it looks at to others: their caches keep it until one writes.

    """

    first: int
    last: int
    blocks: frozenset[int]
    only_loads: bool


def retry_loops(region: Region) -> list[RetryLoop]:
    """Every retry loop of the region; one may lie in another."""
    after = {pc: block.successors for pc, block in region.blocks.items()}
    before: dict[int, list[int]] = {pc: [] for pc in region.blocks}
    for pc, targets in after.items():
        for target in targets:
            before[target].append(pc)
    loops: list[RetryLoop] = []
    for last in sorted(region.blocks):
        for first in after[last]:
            if first > last:
                continue
            body = sorted(_reached(first, after, last) & _reached(last, before, first))
            places = {pc: n for n, pc in enumerate(body)}
            origins = [
                [places[b] for b in before[pc]]
                if pc not in (first, region.entry) and places.keys() >= set(before[pc])
                else []
                for pc in body
            ]
            blocks = [region.blocks[pc].instructions for pc in body]
            if is_retry(blocks, origins):
                only_loads = not any(i.effects.memory in _TAKES for block in blocks for i in block)
                loops.append(RetryLoop(first, last, frozenset(body), only_loads))
    return loops


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
