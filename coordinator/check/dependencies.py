"""Syntactic dependencies of a recorded hart, from its instructions: what feeds an event's address, data and control.

Owns the analysis of the code between two noted events. It executes nothing: of the way a hart took it knows the noted
events, indirect jumps and traps among them, and the code. Where several ways lead from one to the next, a dependency
counts if it is there on all of them; so none is ever made up, and few are missed.

A dependency on more than MOST events is cut to the latest ones, for a sum over an array would else depend on all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hart.isa.decoder import Decoder
from hart.isa.disassembler import disassemble
from hart.isa.effects import MemoryEffect, Transfer
from hart.isa.instruction import Instruction, instruction_at

MOST = 8
"""Events that a register depends on at most."""
FARTHEST = 400
"""Instructions between two events that are looked at; where there are more, no dependency is known."""

_SILENT = frozenset({MemoryEffect.NONE, MemoryEffect.FENCE_I})
"""What stands between events: everything else is noted."""

Registers = frozenset[int]


@dataclass(frozen=True, slots=True)
class Passage:
    """What the code from one event to the next does, whichever way it goes.

    Attributes:
        carried: for each register that changes, those at the beginning from which it is computed.
        control: registers at the beginning that feed a branch on the way.

    """

    carried: tuple[tuple[int, tuple[int, ...]], ...]
    control: tuple[int, ...]


@dataclass(slots=True)
class _State:
    """At an instruction: what has changed, and what fed the branches on the way here."""

    carried: dict[int, Registers]
    control: Registers

    def of(self, register: int) -> Registers:
        return self.carried.get(register, frozenset({register}))

    def union(self, registers: Registers) -> Registers:
        found: Registers = frozenset()
        for register in registers:
            found |= self.of(register)
        return found

    def after(self, i: Instruction) -> _State:
        """Behind an instruction that is no event."""
        carried = dict(self.carried)
        if i.effects.writes:
            sources = self.union(i.effects.carried)
            for register in i.effects.writes:
                carried[register] = sources
        control = self.control
        if i.effects.transfer in (Transfer.BRANCH, Transfer.INDIRECT):
            control |= self.union(i.effects.condition)
        return _State(carried, control)

    def meet(self, other: _State) -> bool:
        """Keep what holds in both; whether that is less than before."""
        changed = False
        for register in {*self.carried, *other.carried}:
            mine = self.of(register)
            both = mine & other.of(register)
            if both != mine:
                self.carried[register] = both
                changed = True
        if not self.control <= other.control:
            self.control &= other.control
            changed = True
        return changed


class Code:
    """The program's instructions, and the passages between events."""

    def __init__(self, fetch: Callable[[int], int | None], extensions: frozenset[str]) -> None:
        """`fetch` gives the instruction bits at an address; `extensions` are what the decoder knew."""
        self._fetch = fetch
        self._decoder = Decoder(extensions)
        self._instructions: dict[int, Instruction | None] = {}
        self._texts: dict[int, str] = {}
        self._passages: dict[tuple[int, int], Passage | None] = {}

    def at(self, pc: int) -> Instruction | None:
        """The instruction at an address."""
        try:
            return self._instructions[pc]
        except KeyError:
            found = self._instructions[pc] = instruction_at(self._decoder, self._fetch, pc)
            return found

    def text(self, pc: int) -> str:
        """The instruction at an address in assembly."""
        text = self._texts.get(pc)
        if text is None:
            i = self.at(pc)
            text = self._texts[pc] = (
                "" if i is None else disassemble(i.decoded.word, pc, decoder=self._decoder)
            )
        return text

    def passage(self, start: int, end: int) -> Passage | None:
        """The way from `start` to the event at `end`, neither of them passed; None if there is none, or too long."""
        key = start, end
        try:
            return self._passages[key]
        except KeyError:
            found = self._passages[key] = self._find(start, end)
            return found

    def _find(self, start: int, end: int) -> Passage | None:
        states = {start: _State({}, frozenset())}
        pending = [start]
        while pending:
            pc = pending.pop()
            i = self.at(pc)
            # An event where the hart made none was not passed; `end` itself is where the way stops.
            if pc == end or i is None or i.effects.memory not in _SILENT:
                continue
            behind = states[pc].after(i)
            for target in _successors(i):
                known = states.get(target)
                if known is None:
                    if len(states) > FARTHEST:
                        return None
                    states[target] = _State(dict(behind.carried), behind.control)
                    pending.append(target)
                elif known.meet(behind):
                    pending.append(target)
        state = states.get(end)
        if state is None:
            return None
        carried = tuple((r, tuple(sorted(s))) for r, s in sorted(state.carried.items()) if s != {r})
        return Passage(carried, tuple(sorted(state.control)))


def _successors(i: Instruction) -> tuple[int, ...]:
    match i.effects.transfer:
        case Transfer.NONE:
            return (i.next,)
        case Transfer.BRANCH:
            assert i.effects.offset is not None
            return i.next, i.pc + i.effects.offset
        case Transfer.JUMP:
            assert i.effects.offset is not None
            return (i.pc + i.effects.offset,)
        case _:
            return ()  # noted by the hart


Positions = tuple[int, ...]


class Feeds:
    """One hart as it goes: which of its events feed each register now."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._registers: list[Positions] = [()] * 32
        self._here: int | None = None
        """Address of the next instruction, None where it is not known."""
        self._control: Positions = ()

    def come_to(self, pc: int) -> Instruction | None:
        """The hart has come to the event at `pc`; its instruction."""
        passage = None if self._here is None else self._code.passage(self._here, pc)
        if passage is None:
            self.forget()
        elif passage.carried or passage.control:
            old = self._registers
            if passage.control:
                self._control = _join((self._control, *(old[r] for r in passage.control)))
            if passage.carried:
                new = list(old)
                for register, sources in passage.carried:
                    new[register] = old[sources[0]] if len(sources) == 1 else _join(old[s] for s in sources)
                self._registers = new
        self._here = None
        return self._code.at(pc)

    def forget(self) -> None:
        """The way here is not known: nor are dependencies."""
        self._registers = [()] * 32
        self._control = ()

    def of(self, registers: frozenset[int]) -> Positions:
        """Events that feed any of these registers."""
        if len(registers) == 1:
            (register,) = registers
            return self._registers[register]
        return _join(self._registers[r] for r in registers)

    def take_control(self) -> Positions:
        """Events that feed the branches since this was last asked."""
        control, self._control = self._control, ()
        return control

    def set(self, registers: frozenset[int], sources: Positions) -> None:
        """An event has written these registers."""
        for register in registers:
            self._registers[register] = sources

    def go_on(self, pc: int) -> None:
        """The next instruction is at `pc`."""
        self._here = pc

    def depend_on_jump(self, registers: frozenset[int]) -> None:
        """An indirect jump to where these registers say."""
        self._control = _join((self._control, self.of(registers)))


def _join(several: Iterable[Positions]) -> Positions:
    found: set[int] = set()
    for positions in several:
        found.update(positions)
    return tuple(sorted(found)[-MOST:])
