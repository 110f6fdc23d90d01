"""LR/SC windows: whether the code after an LR reaches its SC by register arithmetic alone.

Owns that one question, decided from the instructions' effects. Executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from hart.isa.effects import MemoryEffect, Transfer, Wait
from hart.isa.instruction import Instruction

LONGEST = 16
"""Instructions between LR and SC; constrained loops have fewer (unprivileged manual, "Eventual Success")."""


def fused_sc(instruction: Callable[[int], Instruction | None], lr: Instruction) -> int | None:
    """Address of the SC that `lr` can be fused with, or None; `instruction` gives the instruction at an address.

    The instructions between follow each other in memory and do register arithmetic; branches among them go forward,
    so that control reaches the SC or leaves for good. SC's address register is LR's, not written in between, and the
    sizes agree.
    """
    address = lr.effects.address
    if len(address) != 1 or lr.effects.writes & address:
        return None
    at = lr.next
    for _ in range(LONGEST):
        i = instruction(at)
        if i is None:
            return None
        e = i.effects
        if e.memory is MemoryEffect.STORE_CONDITIONAL:
            return at if e.address == address and e.size == lr.effects.size else None
        forward = e.transfer is Transfer.BRANCH and e.offset is not None and e.offset > 0
        if not (
            i.native
            and e.memory is MemoryEffect.NONE
            and e.wait is Wait.NONE
            and (forward or e.transfer is Transfer.NONE)
            and not e.writes & address
        ):
            return None
        at = i.next
    return None
