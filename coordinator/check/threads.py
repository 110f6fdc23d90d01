"""The ways a thread of a litmus test can go: its memory events and final registers, over reads not yet known.

Owns the state half of `hart.isa.algebra.Algebra`, instantiated with symbolic values: running a row's meaning records
the events and their syntactic dependencies, so no instruction is described twice. Where the way depends on a value not
known (a branch, an address, the success of an SC or AMOCAS), every possibility becomes a path of its own, with the
constraint that makes it true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bus.access import AmoOp, Order
from coordinator.check.execution import Event, Kind
from coordinator.check.layout import Layout
from coordinator.check.relations import bits
from coordinator.check.terms import ZERO, SymbolicArithmetic, Term, Value, apply
from coordinator.litmus.code import INSTRUCTION_BYTES, Instruction, Program
from coordinator.litmus.text import LitmusError, Source
from hart.isa.algebra import Algebra
from hart.isa.integers import MASK


@dataclass(frozen=True, slots=True)
class Path:
    """One way through a thread.

    Attributes:
        events: its events in program order, addresses known.
        written: by position, the value that the event writes.
        registers: final values of the registers.
        constraints: terms and whether each must be true (not 0) for this path to be taken.

    """

    events: tuple[Event, ...]
    written: Mapping[int, Term]
    registers: tuple[Term, ...]
    constraints: tuple[tuple[Term, bool], ...]


@dataclass(frozen=True, slots=True)
class Paths:
    """All paths of a thread; `cut` if some were given up because a loop went round more often than allowed."""

    paths: tuple[Path, ...]
    cut: bool


class _Impossible(Exception):
    """A choice that contradicts what is already known."""


class _LoopLimit(Exception):
    """A loop went round too often."""


def paths_of(
    program: Program, registers: Mapping[int, int], layout: Layout, source: Source, unroll: int
) -> Paths:
    """Every path of a thread.

    Args:
        program: its instructions.
        registers: initial values of the registers that are not 0.
        layout: where the locations are.
        source: for messages.
        unroll: how often an instruction may be executed.

    Raises:
        LitmusError: an access outside every location, or an instruction that litmus tests cannot have.

    """
    found: list[Path] = []
    cut = False
    pending: list[tuple[int, ...]] = [()]
    while pending:
        choices = pending.pop()
        hart = _Hart(program, registers, layout, source, choices)
        try:
            found.append(hart.run(unroll))
        except _Impossible:
            pass
        except _LoopLimit:
            cut = True
        for place in range(len(choices), len(hart.choices)):
            prefix = tuple(hart.choices[:place])
            pending += ((*prefix, option) for option in range(1, hart.options[place]))
    return Paths(tuple(found), cut)


class _Hart(SymbolicArithmetic):
    """One run of a thread. It takes the given choices where there is more than one way, then always the first."""

    __slots__ = (
        "_code", "_constraints", "_control", "_events", "_instruction", "_layout", "_pc", "_program", "_reservation",
        "_source", "_target", "_written", "_x", "choices", "options",
    )  # fmt: skip

    def __init__(
        self,
        program: Program,
        registers: Mapping[int, int],
        layout: Layout,
        source: Source,
        choices: Sequence[int],
    ) -> None:
        self._program, self._layout, self._source = program, layout, source
        self._code = program.instructions
        self._x = [Value(registers.get(n, 0), 0) for n in range(32)]
        self._events: list[Event] = []
        self._written: dict[int, Term] = {}
        self._constraints: list[tuple[Term, bool]] = []
        self._control = 0
        self._reservation: tuple[int, int] | None = None
        self._pc = program.base
        self._target: int | None = None
        self._instruction: Instruction | None = None
        self.choices = list(choices)
        self.options: list[int] = []

    def run(self, unroll: int) -> Path:
        """Execute to the end."""
        algebra: Algebra[Value] = self
        visits = [0] * len(self._code)
        end = self._program.base + INSTRUCTION_BYTES * len(self._code)
        while self._pc != end:
            index, rest = divmod(self._pc - self._program.base, INSTRUCTION_BYTES)
            if rest or not 0 <= index < len(self._code):
                raise self._error(f"this jump leads to {self._pc:#x}, which is outside the thread's code")
            visits[index] += 1
            if visits[index] > unroll:
                raise _LoopLimit
            self._instruction = self._code[index]
            self._target = None
            self._instruction.row.meaning(algebra, *self._instruction.arguments)
            self._pc = self._pc + INSTRUCTION_BYTES if self._target is None else self._target
        return Path(
            tuple(self._events),
            self._written,
            tuple(v.term for v in self._x),
            tuple(self._constraints),
        )

    def _error(self, message: str) -> LitmusError:
        assert self._instruction is not None
        line = self._instruction.line
        return self._source.error(line.position, f"{line.instruction}: {message}")

    def _refuse(self, *operands: Any) -> Any:
        raise self._error("the memory model does not cover this instruction")

    # Choices

    def _choose(self, options: int) -> int:
        """One of `options` ways."""
        place = len(self.options)
        self.options.append(options)
        if place == len(self.choices):
            self.choices.append(0)
        return self.choices[place]

    def _require(self, term: Term, truth: bool) -> None:
        """Go on only where the term is true, or false."""
        if type(term) is not int:
            self._constraints.append((term, truth))
        elif bool(term) is not truth:
            raise _Impossible

    # Registers

    def get(self, register: int) -> Value:
        """See `Algebra.get`."""
        return self._x[register] if register else ZERO

    def set(self, register: int, value: Value) -> None:
        """See `Algebra.set`."""
        if register:
            self._x[register] = value

    def pc(self) -> Value:
        """See `Algebra.pc`."""
        return Value(self._pc, 0)

    def next_pc(self) -> Value:
        """See `Algebra.next_pc`."""
        return Value(self._pc + INSTRUCTION_BYTES, 0)

    csr_read = csr_write = _refuse

    # Memory

    def _resolve(self, address: Value, size: int) -> int:
        """The address as a number; where it is not known, every place in the test's locations is possible."""
        term = address.term
        if type(term) is int:
            name = self._layout.location_at(term)
            if name is None or term + size > self._layout.bases[name] + self._layout.room_of(name):
                raise self._error(f"this accesses {term:#x}, where the test has no location")
            if term % size:
                raise self._error(
                    f"this accesses {name}+{term - self._layout.bases[name]}, which is misaligned"
                )
            return term
        places = [
            base + offset
            for name, base in self._layout.bases.items()
            for offset in range(0, max(1, self._layout.size_of(name) - size + 1), size)
        ]
        if not places:
            raise _Impossible
        place = places[self._choose(len(places))]
        self._require(apply("eq", term, place), True)
        return place

    def _record(
        self, kind: Kind, address: int = 0, size: int = 0, order: Order = Order.NONE, *,
        where: Value = ZERO, data: int = 0, pair: int = -1, sets: tuple[int, int] = (0, 0),
    ) -> int:  # fmt: skip
        """Add an event; its position."""
        assert self._instruction is not None
        event = Event(
            kind,
            address,
            size,
            int(order),
            address_from=tuple(bits(where.sources)),
            data_from=tuple(bits(data)),
            control_from=tuple(bits(self._control)),
            pair=pair,
            predecessor=sets[0],
            successor=sets[1],
            text=self._instruction.line.instruction,
        )
        self._control = 0
        self._events.append(event)
        return len(self._events) - 1

    def load(self, address: Value, size: int, order: Order = Order.NONE) -> Value:
        """See `Algebra.load`."""
        position = self._record(Kind.LOAD, self._resolve(address, size), size, order, where=address)
        return Value(("read", position), 1 << position)

    def store(self, address: Value, size: int, value: Value, order: Order = Order.NONE) -> None:
        """See `Algebra.store`."""
        place = self._resolve(address, size)
        position = self._record(Kind.STORE, place, size, order, where=address, data=value.sources)
        self._written[position] = apply("low_bytes", value.term, size)

    def load_reserved(self, address: Value, size: int, order: Order) -> Value:
        """See `Algebra.load_reserved`."""
        place = self._resolve(address, size)
        position = self._record(Kind.LOAD_RESERVED, place, size, order, where=address)
        self._reservation = (place, position)
        return Value(("read", position), 1 << position)

    def store_conditional(self, address: Value, size: int, value: Value, order: Order) -> Value:
        """See `Algebra.store_conditional`. Each location, or whole array, is a reservation set; others must fail."""
        reserved, self._reservation = self._reservation, None
        if reserved is None or not self._choose(2):
            return Value(1, 0)
        place = self._resolve(address, size)
        if self._layout.location_at(place) != self._layout.location_at(reserved[0]):
            raise _Impossible
        position = self._record(
            Kind.STORE_CONDITIONAL, place, size, order, where=address, data=value.sources, pair=reserved[1]
        )
        self._written[position] = apply("low_bytes", value.term, size)
        return Value(0, 1 << position)

    def amo(self, op: AmoOp, address: Value, size: int, operand: Value, order: Order) -> Value:
        """See `Algebra.amo`."""
        place = self._resolve(address, size)
        position = self._record(Kind.AMO, place, size, order, where=address, data=operand.sources)
        self._written[position] = apply("amo", int(op), size, ("read", position), operand.term)
        return Value(("read", position), 1 << position)

    def _swap_if(
        self, place: int, size: int, order: Order, where: Value, expected: Value, desired: Value
    ) -> int:
        """AMOCAS, on whole values of `size` bytes; the position of its event."""
        writes = self._choose(2) == 0
        position = self._record(
            Kind.AMO if writes else Kind.CAS_FAILED, place, size, order,
            where=where, data=expected.sources | desired.sources,
        )  # fmt: skip
        if writes:
            self._written[position] = desired.term
        self._require(apply("eq", ("read", position), expected.term), writes)
        return position

    def compare_and_swap(
        self, address: Value, size: int, expected: Value, desired: Value, order: Order
    ) -> Value:
        """See `Algebra.compare_and_swap`."""
        position = self._swap_if(
            self._resolve(address, size), size, order, address,
            Value(apply("low_bytes", expected.term, size), expected.sources),
            Value(apply("low_bytes", desired.term, size), desired.sources),
        )  # fmt: skip
        return Value(("read", position), 1 << position)

    def compare_and_swap_pair(
        self, address: Value, expected: tuple[Value, Value], desired: tuple[Value, Value], order: Order
    ) -> tuple[Value, Value]:
        """See `Algebra.compare_and_swap_pair`."""
        position = self._swap_if(
            self._resolve(address, 16), 16, order, address,
            *(Value(apply("pair", v[0].term, v[1].term), v[0].sources | v[1].sources) for v in (expected, desired)),
        )  # fmt: skip
        old: Term = ("read", position)
        return Value(apply("low_bytes", old, 8), 1 << position), Value(apply("high", old), 1 << position)

    def fence(self, predecessor: int, successor: int) -> None:
        """See `Algebra.fence`."""
        self._record(Kind.FENCE, sets=(predecessor, successor))

    def fence_tso(self) -> None:
        """See `Algebra.fence_tso`."""
        self._record(Kind.FENCE_TSO)

    def fence_i(self) -> None:
        """See `Algebra.fence_i`: the model leaves instruction fetches aside, so it orders nothing."""

    # Control

    def jump(self, offset: int) -> None:
        """See `Algebra.jump`."""
        self._target = self._pc + offset

    def jump_to(self, target: Value) -> None:
        """See `Algebra.jump_to`."""
        self._control |= target.sources
        term = apply("and_", target.term, MASK - 1)
        if type(term) is int:
            self._target = term
            return
        places = [self._program.base + INSTRUCTION_BYTES * i for i in range(len(self._code) + 1)]
        self._target = places[self._choose(len(places))]
        self._require(apply("eq", term, self._target), True)

    def branch(self, condition: Value, offset: int) -> None:
        """See `Algebra.branch`. A branch to the next instruction goes there either way, but is still one."""
        self._control |= condition.sources
        if offset == INSTRUCTION_BYTES:
            return
        if type(condition.term) is int:
            taken = bool(condition.term)
        else:
            taken = self._choose(2) == 1
            self._require(condition.term, taken)
        if taken:
            self._target = self._pc + offset

    illegal = ecall = ebreak = mret = wfi = _refuse

    def wait_on_reservation(self, bounded: bool) -> None:
        """See `Algebra.wait_on_reservation`: no memory operation."""

    def pause(self) -> None:
        """See `Algebra.pause`: no memory operation."""
