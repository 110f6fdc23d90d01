"""Regions: the code that is compiled together, found by following direct control flow from an entry.

Owns the control-flow graph of a region. Emits nothing. Reads code through a callback, so it serves any memory.

A region has one entry. It follows branches and jumps to known targets; a return (`jalr` through ra or t0) goes, where
the region also follows calls, to the return addresses of the region's own calls. Every cycle of the graph has an
edge to an address that is not higher than its source: those edges carry the safepoint checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hart.isa.decoder import Decoded, Decoder
from hart.isa.effects import Effects, MemoryEffect, Transfer, Wait, effects

Fetch = Callable[[int], int | None]
"""The 16 or 32 instruction bits at an address, or None where code cannot be fetched."""

LINKS = frozenset({1, 5})
"""ra and t0: the registers that calls link through (unprivileged manual, "Unconditional Jumps")."""


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


@dataclass(slots=True)
class Block:
    """Straight-line code: control enters at the first instruction and leaves after the last.

    Attributes:
        pc: its address.
        instructions: possibly none, where nothing could be fetched or decoded.
        successors: addresses of the region's blocks that may follow.

    """

    pc: int
    instructions: list[Instruction] = field(default_factory=list)
    successors: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """Address after its last instruction."""
        return self.instructions[-1].next if self.instructions else self.pc


@dataclass(frozen=True, slots=True)
class Region:
    """A region.

    Attributes:
        entry: where control enters.
        blocks: by address, in order of discovery; the first is the entry.
        returns: return addresses of calls inside the region, targets of its returns.
        instructions: how many instructions it holds.

    """

    entry: int
    blocks: dict[int, Block]
    returns: tuple[int, ...]
    instructions: int

    def code(self) -> tuple[tuple[int, int], ...]:
        """(address, end) of each stretch of code, sorted and joined: what the region depends on."""
        stretches: list[tuple[int, int]] = []
        for start, end in sorted((b.pc, b.end) for b in self.blocks.values()):
            if stretches and start <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
            else:
                stretches.append((start, end))
        return tuple(stretches)


def instruction_effects(decoder: Decoder, fetch: Fetch, pc: int) -> Instruction | None:
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
        or found.wait is not Wait.NONE
        or found.memory is MemoryEffect.FENCE_I
    )
    return Instruction(pc, decoded, found, native)


_EFFECTS: dict[Decoded, Effects] = {}


def discover(decoder: Decoder, fetch: Fetch, entry: int, limit: int, *, follow_calls: bool) -> Region:
    """The region that begins at `entry`, of at most about `limit` instructions.

    Nearer code comes first: blocks are taken in breadth-first order, so a limit cuts off what is farthest.
    """
    starts: dict[int, list[Instruction]] = {}
    owner: dict[int, int] = {}
    """Block start by instruction address."""
    queue = [entry]
    returns: dict[int, None] = {}
    count = 0
    while queue:
        start = queue.pop(0)
        if start in starts:
            continue
        if start in owner:
            _split(starts, owner, start)
            continue
        if count >= limit and starts:
            continue
        run: list[Instruction] = []
        starts[start] = run
        pc = start
        while pc not in owner and count < limit:
            instruction = instruction_effects(decoder, fetch, pc)
            if instruction is None:
                break
            run.append(instruction)
            owner[pc] = start
            count += 1
            targets = _targets(instruction, follow_calls, returns)
            if targets is not None:
                queue.extend(targets)
                break
            pc = instruction.next
            if pc in starts:
                break
    blocks = {start: Block(start, run) for start, run in starts.items()}
    for block in blocks.values():
        block.successors = tuple(t for t in _successors(block, follow_calls, returns) if t in blocks)
    return Region(entry, blocks, tuple(r for r in returns if r in blocks), count)


def _targets(i: Instruction, follow_calls: bool, returns: dict[int, None]) -> list[int] | None:
    """Where control may go after a block's last instruction; None if `i` does not end a block."""
    transfer, offset = i.effects.transfer, i.effects.offset
    if not i.native:
        return []
    if transfer is Transfer.NONE:
        return None
    if transfer is Transfer.BRANCH:
        assert offset is not None
        return [i.next, i.pc + offset]
    if transfer is Transfer.JUMP:
        assert offset is not None
        if i.effects.writes & LINKS:
            if not follow_calls:
                return []
            returns[i.next] = None
            return [i.pc + offset, i.next]
        return [i.pc + offset]
    return []


def _successors(block: Block, follow_calls: bool, returns: dict[int, None]) -> list[int]:
    if not block.instructions:
        return []
    last = block.instructions[-1]
    targets = _targets(last, follow_calls, {})
    if targets is None:
        return [last.next]
    if is_return(last):
        return list(returns)
    return targets


def is_return(i: Instruction) -> bool:
    """Whether `i` is a return: an indirect jump through a link register that links nothing."""
    return (
        i.effects.transfer is Transfer.INDIRECT and not i.effects.writes and bool(i.effects.condition & LINKS)
    )


def _split(starts: dict[int, list[Instruction]], owner: dict[int, int], at: int) -> None:
    """Make the instruction at `at`, inside a block, the start of a block of its own."""
    old = owner[at]
    run = starts[old]
    index = next(n for n, i in enumerate(run) if i.pc == at)
    starts[at] = run[index:]
    starts[old] = run[:index]
    for i in starts[at]:
        owner[i.pc] = at
