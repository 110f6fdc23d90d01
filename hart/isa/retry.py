"""Retry loops: code that, repeated, does nothing until other harts have written to the memory that it looks at.

Owns that one question, decided from the instructions' effects. Such a loop waits (for a lock, for its turn, for an SC
to succeed), and the hart may as well let others run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bus.access import AmoOp
from hart.isa.effects import MemoryEffect, Wait
from hart.isa.instruction import Instruction

_LOOKS = frozenset(
    {
        MemoryEffect.LOAD,
        MemoryEffect.LOAD_RESERVED,
        MemoryEffect.STORE_CONDITIONAL,
        MemoryEffect.AMO,
        MemoryEffect.COMPARE_AND_SWAP,
    }
)
_ALLOWED = _LOOKS | {MemoryEffect.NONE, MemoryEffect.FENCE, MemoryEffect.FENCE_TSO}
_ACCUMULATES = frozenset({AmoOp.ADD, AmoOp.XOR})
"""What does more when it is repeated."""
_LOOKED = 32
"""Stands among registers for what the loop has looked at."""
_REGISTERS = frozenset(range(_LOOKED + 1))
_TAKEN_IF_FAILED = {"bne": True, "beq": False}
"""Branches on an SC's result and zero."""


def is_retry(blocks: Sequence[Sequence[Instruction]], before: Sequence[Collection[int]], last: int) -> bool:
    """Whether a loop of these blocks is one.

    No register carries anything from one round to the next; each access is one that, repeated with the same operands,
    changes nothing: a load, an SC or a compare-and-swap that fails, an AMO but those that accumulate. Each round has
    such an access, whichever way it takes. (That an SC fails in every round is the caller's to see to: `success`.)

    `before[n]` are the blocks from which control comes to block n within a round; none where a round may begin, or
    where control comes from outside. A round ends with block `last`. There may be loops within a round.
    """
    if not all(_repeatable(i) for block in blocks for i in block):
        return False
    writes = [frozenset[int]().union(*(i.effects.writes | _looked(i) for i in block)) for block in blocks]
    surely = [_REGISTERS] * len(blocks)
    """What has been written in the round where a block begins, whichever way control has come."""
    changed = True
    while changed:
        changed = False
        for n, origins in enumerate(before):
            ways = [surely[origin] | writes[origin] for origin in origins]
            known = _REGISTERS.intersection(*ways) if ways else frozenset()
            changed |= known != surely[n]
            surely[n] = known
    carried: set[int] = set()
    for block, known in zip(blocks, surely, strict=True):
        written = set(known)
        for i in block:
            carried |= i.effects.reads - written
            written |= i.effects.writes
    return _LOOKED in surely[last] | writes[last] and not any(carried & w for w in writes)


def success(block: Sequence[Instruction]) -> int | None:
    """Where control goes from a block if its SC succeeds, and not if it fails; None if its end does not tell."""
    at = next((n for n, i in enumerate(block) if i.effects.memory is MemoryEffect.STORE_CONDITIONAL), None)
    if at is None:
        return None
    branch, result = block[-1], block[at].effects.writes
    row, e = branch.decoded.row, branch.effects
    taken_if_failed = _TAKEN_IF_FAILED.get(row.expands or row.name)
    overwritten = any(i.effects.writes & result for i in block[at + 1 :])
    if taken_if_failed is None or e.offset is None or not result or e.condition != result or overwritten:
        return None
    failure, other = (branch.pc + e.offset, branch.next)[:: 1 if taken_if_failed else -1]
    return other if other != failure else None


def _looked(i: Instruction) -> frozenset[int]:
    return frozenset({_LOOKED}) if i.effects.memory in _LOOKS else frozenset()


def _repeatable(i: Instruction) -> bool:
    e = i.effects
    return (
        e.memory in _ALLOWED
        and e.amo not in _ACCUMULATES
        and not e.csr_reads
        and not e.csr_writes
        and e.wait in (Wait.NONE, Wait.PAUSE)
    )
