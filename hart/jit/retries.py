"""Retry loops of a region: back-edges on which a hart may find that it only waits.

Owns their shape; what makes a loop one is `hart.isa.retry`'s. Emits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from hart.isa.effects import MemoryEffect
from hart.isa.retry import is_retry
from hart.jit.region import Block, Region

_TAKES = frozenset({MemoryEffect.STORE_CONDITIONAL, MemoryEffect.AMO, MemoryEffect.COMPARE_AND_SWAP})


@dataclass(frozen=True, slots=True)
class RetryLoop:
    """A chain of blocks that follow each other in memory, and a branch from the last back to the first.

    Attributes:
        first: address of its first block, the target of the branch.
        last: address of the block that ends in the branch.
        blocks: addresses of all.
        only_loads: whether it leaves what it looks at to others: their caches keep it until one writes.

    """

    first: int
    last: int
    blocks: frozenset[int]
    only_loads: bool


def retry_loops(region: Region) -> list[RetryLoop]:
    """Every retry loop of the region."""
    places = sorted(region.blocks)
    loops: list[RetryLoop] = []
    for last in places:
        for first in region.blocks[last].successors:
            if first > last:
                continue
            chain = [region.blocks[pc] for pc in places if first <= pc <= last]
            if _is_chain(chain) and is_retry(i for block in chain for i in block.instructions):
                only_loads = not any(
                    i.effects.memory in _TAKES for block in chain for i in block.instructions
                )
                loops.append(RetryLoop(first, last, frozenset(block.pc for block in chain), only_loads))
    return loops


def _is_chain(chain: list[Block]) -> bool:
    """Whether control, while it stays in these blocks, goes from each to the next, and from the last to the first."""
    inside = {block.pc for block in chain}
    following = [*(block.pc for block in chain[1:]), chain[0].pc]
    return all(
        inside & set(block.successors) == {after} for block, after in zip(chain, following, strict=True)
    )
