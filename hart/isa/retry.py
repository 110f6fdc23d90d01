"""Retry loops: code that, repeated, does nothing until other harts have written to the memory that it looks at.

Owns that one question, decided from the instructions' effects. Such a loop waits (for a lock, for its turn, for an SC
to succeed), and the hart may as well let others run.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def is_retry(body: Iterable[Instruction]) -> bool:
    """Whether a loop of these instructions, executed one after the other, is one.

    No register carries anything from one round to the next; each access is one that, repeated with the same operands,
    changes nothing: a load, an SC (repeated only if it failed), a compare-and-swap, an AMO but those that accumulate.
    """
    written: set[int] = set()
    carried: set[int] = set()
    looks = False
    for i in body:
        e = i.effects
        if (
            e.memory not in _ALLOWED
            or e.amo in _ACCUMULATES
            or e.csr_reads
            or e.csr_writes
            or e.wait not in (Wait.NONE, Wait.PAUSE)
        ):
            return False
        looks = looks or e.memory in _LOOKS
        carried |= e.reads - written
        written |= e.writes
    return looks and not carried & written
