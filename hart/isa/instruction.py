"""Instructions in place: decoded, at their address, with their effects.

Owns the join of the three for static analysis (regions, windows). Executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hart.isa.decoder import Decoded, Decoder
from hart.isa.effects import Effects, MemoryEffect, Transfer, Wait, effects

Fetch = Callable[[int], int | None]
"""The 16 or 32 instruction bits at an address, or None where code cannot be fetched."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded instruction at its address, with its effects. `native` if it can be compiled."""

    pc: int
    decoded: Decoded
    effects: Effects
    native: bool

    @property
    def next(self) -> int:
        """Address of the instruction after it."""
        return self.pc + self.decoded.length


def instruction_at(decoder: Decoder, fetch: Fetch, pc: int) -> Instruction | None:
    """The instruction at `pc`, or None if there is none."""
    bits = fetch(pc)
    decoded = None if bits is None else decoder.decode(bits)
    if decoded is None:
        return None
    found = _EFFECTS.get(decoded)
    if found is None:
        if len(_EFFECTS) > 1 << 16:
            _EFFECTS.clear()
        found = _EFFECTS[decoded] = effects(decoded)
    native = not (
        found.transfer in (Transfer.TRAP, Transfer.RETURN)
        or found.csr_reads
        or found.csr_writes
        or found.wait not in (Wait.NONE, Wait.PAUSE)
        or found.memory is MemoryEffect.FENCE_I
    )
    return Instruction(pc, decoded, found, native)


_EFFECTS: dict[Decoded, Effects] = {}
