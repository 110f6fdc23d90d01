"""Regions: the code that is compiled together, found by following direct control flow from an entry.

Owns the control-flow graph of a region. Emits nothing. Reads code through a callback, so it serves any memory.

A region has one entry. It follows branches and jumps to targets that the code tells; a return (`jalr` through ra or
t0) goes, where the region also follows calls, to the return addresses of the region's own calls. Every cycle of the
graph has an edge to an address that is not higher than its source: those edges carry the safepoint checks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from hart.isa.decoder import Decoder
from hart.isa.effects import MemoryEffect, Transfer
from hart.isa.instruction import Fetch, Instruction, instruction_at
from hart.isa.window import fused_sc
from hart.jit.targets import known_target

LINKS = frozenset({1, 5})
"""ra and t0: the registers that calls link through (unprivileged manual, "Unconditional Jumps")."""
MAX_COPIES = 8
UNROLLED = 32
"""At most so many copies of a loop, and so many instructions in all of them; more gains nothing measurable."""
_PLAIN = (MemoryEffect.NONE, MemoryEffect.LOAD, MemoryEffect.STORE)


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

    def stretches(self) -> tuple[tuple[int, int], ...]:
        """(address, end) of each stretch of code, sorted and joined: what the region depends on."""
        stretches: list[tuple[int, int]] = []
        for start, end in sorted((b.pc, b.end) for b in self.blocks.values() if b.instructions):
            if stretches and start <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
            else:
                stretches.append((start, end))
        return tuple(stretches)

    def code(self) -> bytes:
        """The code in those stretches as it was decoded, whoever may have changed memory since."""
        code = bytearray()
        stretches = self.stretches()
        places = {}
        for start, end in stretches:
            places[start] = len(code)
            code += bytes(end - start)
        starts = [start for start, _ in stretches]
        for block in self.blocks.values():
            for i in block.instructions:
                start = starts[bisect_right(starts, i.pc) - 1]
                at = places[start] + i.pc - start
                code[at : at + i.decoded.length] = i.decoded.word.to_bytes(i.decoded.length, "little")
        return bytes(code)

    def copies(self) -> dict[int, int]:
        """How many times blocks that are loops by themselves are laid out one after the other, so that one safepoint
        check serves as many rounds; by address.

        Loops with atomics are left: one costs more than the check, and the code for it is long; and what a policy
        knows of an LR/SC pair goes by the address of its instructions. So are those without an end: there harts idle.
        """
        return {
            pc: copies
            for pc, block in self.blocks.items()
            if pc in block.successors
            and block.instructions[-1].effects.transfer is Transfer.BRANCH
            and all(i.effects.memory in _PLAIN for i in block.instructions)
            and (copies := min(MAX_COPIES, UNROLLED // len(block.instructions))) > 1
        }

    def reach(self, copies: Mapping[int, int] = MappingProxyType({})) -> int:
        """The most instructions that can be executed from one safepoint check to the next, or to an exit, where there
        are so many `copies` of blocks."""
        bounds: dict[int, int] = {}
        for pc in sorted(self.blocks, reverse=True):
            block = self.blocks[pc]
            ahead = [bounds[t] for t in block.successors if is_forward(block, t)]
            bounds[pc] = len(block.instructions) * copies.get(pc, 1) + max(ahead, default=0)
        return max(bounds.values())


def is_forward(source: Block, target: int) -> bool:
    """Whether an edge goes to a higher address, and so needs no safepoint check."""
    return bool(source.instructions) and target > source.instructions[-1].pc


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
            instruction = instruction_at(decoder, fetch, pc)
            if instruction is None:
                break
            run.append(instruction)
            owner[pc] = start
            count += 1
            targets = _targets(run, follow_calls, returns)
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


def _targets(run: Sequence[Instruction], follow_calls: bool, returns: dict[int, None]) -> list[int] | None:
    """Where control may go after a run of straight-line code; None if its last instruction does not end a block."""
    i = run[-1]
    transfer, offset = i.effects.transfer, i.effects.offset
    if not i.native:
        return []
    if transfer is Transfer.NONE:
        return None
    if transfer is Transfer.BRANCH:
        assert offset is not None
        return [i.next, i.pc + offset]
    target = known_target(run)
    if target is None:
        return []
    if i.effects.writes & LINKS:
        if not follow_calls:
            return []
        returns[i.next] = None
        return [target, i.next]
    return [target]


def _successors(block: Block, follow_calls: bool, returns: dict[int, None]) -> list[int]:
    if not block.instructions:
        return []
    targets = _targets(block.instructions, follow_calls, {})
    if targets is None:
        return [block.end]
    if not targets and is_return(block.instructions[-1]):
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


def fused_pairs(region: Region) -> dict[int, str]:
    """LR/SC pairs of the region that can be fused: a name for the pair, by the address of its LR and of its SC.

    Within the region nothing but that LR leads to the SC: the code between them is one chain of blocks, each of
    which has the one before as its only predecessor.
    """
    at = {i.pc: i for block in region.blocks.values() for i in block.instructions}
    predecessors: dict[int, int] = {}
    for block in region.blocks.values():
        for successor in block.successors:
            predecessors[successor] = predecessors.get(successor, 0) + 1
    entered = {region.entry, *region.returns}
    pairs: dict[int, str] = {}
    for i in at.values():
        if i.effects.memory is not MemoryEffect.LOAD_RESERVED:
            continue
        sc = fused_sc(at.get, i)
        if sc is None:
            continue
        between = [pc for pc in region.blocks if i.pc < pc <= sc]
        if all(predecessors.get(pc) == 1 and pc not in entered for pc in between):
            pairs[i.pc] = pairs[sc] = f"pair{i.pc:x}"
    return pairs
