"""LR/SC loops: found from the SC, and whether they are constrained.

Owns the rules of the unprivileged manual, "Eventual Success of Store-Conditional Instructions", decided from the
instructions' effects. Executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hart.isa.effects import MemoryEffect, Transfer, Wait
from hart.isa.instruction import Instruction

LONGEST = 16
"""Instructions of a constrained loop at most."""
REACH = 256
"""How many bytes before an SC its LR is looked for."""


@dataclass(frozen=True, slots=True)
class LrScLoop:
    """The LR/SC sequence that ends in an SC, with what repeats it.

    Attributes:
        lr: address of the LR, or None if none precedes the SC.
        sc: address of the SC.
        end: address after the loop's last instruction: the branch that repeats it, or the SC if nothing does.
        unconstrained: why it is no constrained loop; empty if it is one.

    """

    lr: int | None
    sc: int
    end: int
    unconstrained: str


def find_loop(instruction: Callable[[int], Instruction | None], sc: int) -> LrScLoop | None:
    """The loop of the SC at `sc`; None if there is no SC. `instruction` gives the instruction at an address.

    The last LR before the SC from which instructions follow each other up to it counts as its LR. That the memory
    supports eventual success is not looked at: guest RAM does.
    """
    last = instruction(sc)
    if last is None or last.effects.memory is not MemoryEffect.STORE_CONDITIONAL:
        return None
    body = _sequence(instruction, last)
    if body is None:
        return LrScLoop(None, sc, last.next, "no LR precedes the SC")
    again = _repetition(instruction, body[0], last)
    if not again:
        return LrScLoop(body[0].pc, sc, last.next, "nothing repeats it")
    back = again[-1].pc + (again[-1].effects.offset or 0)
    before = _straight(instruction, back, body[0].pc)
    return LrScLoop(body[0].pc, sc, again[-1].next, _why_not(before, body, again))


def _straight(
    instruction: Callable[[int], Instruction | None], start: int, end: int
) -> list[Instruction] | None:
    """The instructions from `start` that follow each other exactly up to `end`; None if they do not."""
    found: list[Instruction] = []
    while start < end and (i := instruction(start)) is not None:
        found.append(i)
        start = i.next
    return found if start == end else None


def _sequence(instruction: Callable[[int], Instruction | None], sc: Instruction) -> list[Instruction] | None:
    """From the nearest LR to `sc`, as they lie in memory."""
    for start in range(sc.pc - 2, sc.pc - REACH, -2):
        at = instruction(start)
        if at is not None and at.effects.memory is MemoryEffect.LOAD_RESERVED:
            body = _straight(instruction, start, sc.pc)
            if body is not None:
                return [*body, sc]
    return None


def _repetition(
    instruction: Callable[[int], Instruction | None], lr: Instruction, sc: Instruction
) -> list[Instruction]:
    """What follows the SC up to the first branch or jump back to the LR or before it; empty if there is none soon."""
    found: list[Instruction] = []
    pc = sc.next
    while len(found) < 2 * LONGEST and (i := instruction(pc)) is not None:
        found.append(i)
        e = i.effects
        if e.offset is not None and i.pc + e.offset <= lr.pc:
            return found
        if e.transfer not in (Transfer.NONE, Transfer.BRANCH):
            break
        pc = i.next
    return []


def _why_not(before: list[Instruction] | None, body: list[Instruction], again: list[Instruction]) -> str:
    """The first rule that is broken, with the address; empty if none is. `before`: from where it repeats to the LR."""
    if before is None:
        return f"{again[-1].pc:#x} goes back to code that does not lead to the LR"
    lr, sc = body[0], body[-1]
    count = len(before) + len(body) + len(again)
    if count > LONGEST:
        return f"{count} instructions, more than {LONGEST}"
    for i in body[1:-1]:
        if what := _forbidden(i, backward=False):
            return f"{what} at {i.pc:#x} between LR and SC"
    for i in (*before, *again):
        if what := _forbidden(i, backward=True):
            return f"{what} at {i.pc:#x} in the code that repeats it"
    if lr.effects.size != sc.effects.size:
        return f"LR reads {lr.effects.size} bytes, SC writes {sc.effects.size}"
    changed = frozenset[int]().union(*(i.effects.writes for i in body[:-1]))
    if lr.effects.address != sc.effects.address or lr.effects.address & changed:
        return "SC's address is not shown to be LR's"
    return ""


_BASE = frozenset({"I", "Zca", "Zcb"})
"""Extensions whose instructions a constrained loop may hold."""
_MEMORY = {
    MemoryEffect.LOAD: "a load",
    MemoryEffect.STORE: "a store",
    MemoryEffect.FENCE: "a fence",
    MemoryEffect.FENCE_TSO: "a fence",
    MemoryEffect.FENCE_I: "a fence",
}


def _forbidden(i: Instruction, *, backward: bool) -> str:
    """What `i` is that a constrained loop's code may not be; empty if it is allowed."""
    e = i.effects
    if e.memory is not MemoryEffect.NONE:
        return _MEMORY.get(e.memory, f"another {e.memory.value.upper()}")
    if e.transfer is Transfer.INDIRECT:
        return "an indirect jump"
    system = e.csr_reads or e.csr_writes or e.wait is not Wait.NONE
    if system or e.transfer in (Transfer.TRAP, Transfer.RETURN):
        return "a system instruction"
    if e.offset is not None and e.offset <= 0 and not backward:
        return "a backward branch"
    if not _BASE.issuperset(i.decoded.row.extensions):
        return f"{i.decoded.row.name}, which is not of the base ISA,"
    return ""
