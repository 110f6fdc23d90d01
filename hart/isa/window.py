"""LR/SC windows: whether the code after an LR reaches its SC by register arithmetic alone.

Owns that one question, decided from the instructions' effects. Executes nothing.
"""

from __future__ import annotations

from hart.isa.effects import MemoryEffect, Transfer, Wait
from hart.jit.region import Fetch, Instruction, instruction_effects
from hart.isa.decoder import Decoder

LONGEST = 16
"""Instructions between LR and SC; constrained loops have fewer (unprivileged manual, "Eventual Success")."""


def fused_sc(decoder: Decoder, fetch: Fetch, lr: Instruction) -> int | None:
    """Address of the SC that the LR at `lr` can be fused with, or None.

    The instructions between follow each other in memory and do register arithmetic; branches among them go forward,
    so that control reaches the SC or leaves for good. SC's address register is LR's, not written in between, and the
    sizes agree.
    """
    address = lr.effects.address
    if len(address) != 1 or lr.effects.writes & address:
        return None
    at = lr.next
    for _ in range(LONGEST):
        i = instruction_effects(decoder, fetch, at)
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
