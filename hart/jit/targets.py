"""Where a jump goes, as far as the code just before it tells.

Owns the evaluation of address arithmetic on constants: `auipc ra, x; jalr ra, y(ra)` is how far calls are written.
Follows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from hart.isa.effects import MemoryEffect, Transfer
from hart.isa.instruction import Instruction
from hart.isa.integers import IntegerArithmetic

_MASK = (1 << 64) - 1


def known_target(run: Sequence[Instruction]) -> int | None:
    """The one target of the jump that ends a run of straight-line code; None if only its execution tells."""
    last = run[-1]
    if last.effects.transfer is Transfer.JUMP:
        assert last.effects.offset is not None
        return last.pc + last.effects.offset & _MASK
    if last.effects.transfer is not Transfer.INDIRECT:
        return None
    constants = _Constants()
    for base in last.effects.condition:
        setter = next((i for i in reversed(run[:-1]) if base in i.effects.writes), None)
        # A setter that reads registers would need setters of its own, which compilers do not write.
        if (
            setter is None
            or not setter.native
            or setter.effects.reads
            or setter.effects.memory is not MemoryEffect.NONE
        ):
            return None
        constants.execute(setter)
    constants.execute(last)
    return constants.target


class _Constants(IntegerArithmetic):
    """The algebra of constants and jumps."""

    target: int | None = None

    def __init__(self) -> None:
        self._x: dict[int, int] = {}
        self._at: Instruction

    def execute(self, instruction: Instruction) -> None:
        self._at = instruction
        instruction.decoded.row.meaning(self, *instruction.decoded.arguments)

    def get(self, register: int) -> int:
        return self._x.get(register, 0)

    def set(self, register: int, value: int) -> None:
        self._x[register] = value

    def pc(self) -> int:
        return self._at.pc

    def next_pc(self) -> int:
        return self._at.next

    def jump_to(self, target: int) -> None:
        self.target = target & ~1 & _MASK
