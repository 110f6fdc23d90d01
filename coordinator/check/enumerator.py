"""All final states of a litmus test that a memory model allows.

Owns the search over candidate executions: paths of the threads, coherence orders, reads-from. What orders events is the
model's, what instructions do the ISA table's. An edge that closes a cycle ends a branch of the search at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

from coordinator.check.cells import Cells
from coordinator.check.execution import FENCES, INITIAL, PER_BYTE, READS, WRITES, Event, Execution
from coordinator.check.layout import Layout
from coordinator.check.models import Model
from coordinator.check.relations import Closure, closure_of, empty, with_edge
from coordinator.check.rvwmo import Differ, Returns
from coordinator.check.terms import CyclicValue, Term, evaluate
from coordinator.check.threads import Path, Paths, paths_of
from coordinator.litmus.code import assemble
from coordinator.litmus.condition import compile_proposition
from coordinator.litmus.log import Tally
from coordinator.litmus.test import (
    Address,
    LitmusTest,
    Location,
    Memory,
    Register,
    Value,
    location_order,
    locations,
)
from hart.spelling import nearest

DEFAULT_UNROLL = 2
"""How often an instruction of a thread may be executed; herd7's limit too."""


class Timeout(Exception):
    """The search took longer than it was allowed to."""


State = tuple[int, ...]
"""Final values in the order of `Outcome.shown`."""


@dataclass(frozen=True)
class Outcome:
    """What a model allows for a test.

    Attributes:
        test: the test.
        shown: the locations that states show.
        states: the allowed states as shown, values as text, in the order of `shown`; sorted.
        matching: for each state whether it has the condition's property.
        cut: a loop was not followed to its end, so states may be missing.
        candidates: how many complete candidates the search came to.
        seconds: how long it took.

    """

    test: LitmusTest
    shown: tuple[Location, ...]
    states: tuple[tuple[str, ...], ...]
    matching: tuple[bool, ...]
    cut: bool
    candidates: int
    seconds: float = field(compare=False)

    @property
    def tally(self) -> Tally:
        """How many states have the condition's property."""
        return Tally(sum(self.matching), len(self.matching) - sum(self.matching))


# Paths, prepared for the search


class _Prepared:
    """A path with what the search needs of it. Nodes are its memory operations, numbered from 0.

    Attributes:
        path: the path.
        positions: position of each node.
        closure: preserved program order, as far as it does not depend on what loads return.
        when_returns: (load, store) to the nodes that then come before the load.
        when_differ: (load, cell) to the (earlier load, cell) pairs that come before it if their stores differ.
        needs: positions of reads on which constraints depend.

    """

    __slots__ = (
        "cells", "closure", "constraints", "events", "node_of", "path", "positions", "read_cells", "when_differ",
        "when_returns", "written",
    )  # fmt: skip

    def __init__(self, path: Path, model: Model, cells: Cells) -> None:
        self.path = path
        self.positions = [p for p, e in enumerate(path.events) if e.kind not in FENCES]
        self.node_of = {p: n for n, p in enumerate(self.positions)}
        self.events = [path.events[p] for p in self.positions]
        self.cells = [cells.covering(e) for e in self.events]
        self.written: list[Term] = [path.written.get(p, 0) for p in self.positions]
        self.constraints = path.constraints
        self.when_returns: dict[tuple[int, int], list[int]] = {}
        self.when_differ: dict[tuple[int, int], list[int]] = {}
        fixed: list[tuple[int, int]] = []
        for _, edge in model.preserved(path.events):
            before, after = self.node_of[edge.before], self.node_of[edge.after]
            match edge.when:
                case None:
                    fixed.append((before, after))
                case Returns(load, store):
                    self.when_returns.setdefault((self.node_of[load], self.node_of[store]), []).append(before)
                case Differ(_, _, common):
                    for cell in {c for c in self.cells[after] if cells.address[c] in common}:
                        self.when_differ.setdefault((after, cell), []).append(before)
        closure = closure_of(len(self.positions), fixed)
        assert closure is not None, "preserved program order goes with program order"
        self.closure = closure


class Enumeration:
    """A litmus test made ready: its threads' paths, layout and cells."""

    def __init__(self, test: LitmusTest, model: Model, unroll: int = DEFAULT_UNROLL) -> None:
        """Find every thread's paths; raises LitmusError if the test cannot be executed."""
        self.test, self.model = test, model
        self.layout = layout = Layout(test)
        programs = assemble(test, layout.code, layout.bases)
        self._labels = {t: p.labels for t, p in enumerate(programs)}
        registers: list[dict[int, int]] = [{} for _ in programs]
        self.memory: dict[int, int] = {}
        for item in test.initial:
            self._initialise(item.location, item.value, item.position, registers)
        self.threads: list[Paths] = [
            paths_of(p, registers[t], layout, test.source, unroll) for t, p in enumerate(programs)
        ]
        self.cut = any(p.cut for p in self.threads)
        self.cells = Cells(
            (e.address, e.size)
            for paths in self.threads
            for path in paths.paths
            for e in path.events
            if e.kind not in FENCES
        )

    def resolve(self, value: Value) -> int:
        """The number that a value stands for; raises LitmusError if it names nothing."""
        if isinstance(value, int):
            return value
        if isinstance(value, Address):
            self.require(value.of)
            return self.layout.address_of(value.of)
        address = self._labels.get(value.thread, {}).get(value.label)
        if address is None:
            raise self.test.source.error(0, f"{value}: there is no such label")
        return address

    def require(self, location: Location) -> None:
        """Raise LitmusError unless the test has such a location."""
        if isinstance(location, Register):
            known = location.thread < len(self.threads)
        else:
            known = location.name in self.layout.bases
        if not known:
            near = nearest(str(location), self.layout.bases)
            raise self.test.source.error(0, f"the test has no {location}{near}")

    def _initialise(
        self,
        location: Location,
        value: Value | tuple[Value, ...] | None,
        position: int,
        registers: list[dict[int, int]],
    ) -> None:
        if isinstance(location, Register):
            if location.thread >= len(registers):
                raise self.test.source.error(position, f"{location}: there is no thread {location.thread}")
            if value is not None and not isinstance(value, tuple):
                registers[location.thread][location.number] = self.resolve(value) & (1 << 64) - 1
            return
        values = value if isinstance(value, tuple) else (value or 0,)
        base, size = self.layout.address_of(location), self.layout.type_of(Memory(location.name, 0)).size
        for index, item in enumerate(values):
            bits = self.resolve(item) & (1 << 8 * size) - 1
            for offset in range(size):
                byte = bits >> 8 * offset & 0xFF
                if byte:
                    self.memory[base + index * size + offset] = byte

    def initial_value(self, address: int, size: int) -> int:
        """The initial value of some bytes."""
        return sum(self.memory.get(address + i, 0) << 8 * i for i in range(size))


# The search


Visit = Callable[["Candidate"], None]


class Candidate:
    """A complete candidate: one path of each thread, coherence orders and reads-from. Valid only while visited."""

    __slots__ = ("_values", "base", "coherence", "enumeration", "nodes", "prepared", "source", "thread_of")

    def __init__(self, enumeration: Enumeration, prepared: Sequence[_Prepared]) -> None:
        self.enumeration = enumeration
        self.prepared = prepared
        self.base: list[int] = []
        self.nodes: list[tuple[_Prepared, int]] = []
        self.thread_of: list[int] = []
        for thread, p in enumerate(prepared):
            self.base.append(len(self.nodes))
            self.nodes += ((p, n) for n in range(len(p.positions)))
            self.thread_of += [thread] * len(p.positions)
        self.source: dict[tuple[int, int], int] = {}
        self.coherence: list[list[int]] = [[] for _ in enumeration.cells.address]
        self._values: dict[int, int | None] = {}

    def forget_values(self) -> None:
        """Begin anew with other sources."""
        self._values = {}

    def value_read(self, node: int) -> int:
        """The value that a node reads; raises CyclicValue if it depends on itself."""
        values = self._values
        if node in values:
            value = values[node]
            if value is None:
                raise CyclicValue
            return value
        values[node] = None
        prepared, local = self.nodes[node]
        event, cells = prepared.events[local], self.enumeration.cells
        value = 0
        for cell in prepared.cells[local]:
            source = self.source[node, cell]
            value |= self.cell_value(source, cell) << 8 * (cells.address[cell] - event.address)
        values[node] = value
        return value

    def cell_value(self, source: int, cell: int) -> int:
        """What a store, or INITIAL, puts into a cell."""
        cells = self.enumeration.cells
        address, size = cells.address[cell], cells.size[cell]
        if source == INITIAL:
            return self.enumeration.initial_value(address, size)
        prepared, local = self.nodes[source]
        value = self.value_written(source)
        return value >> 8 * (address - prepared.events[local].address) & (1 << 8 * size) - 1

    def value_written(self, node: int) -> int:
        """The value that a node writes."""
        prepared, local = self.nodes[node]
        term = prepared.written[local]
        return term if type(term) is int else self.term_value(self.thread_of[node], term)

    def term_value(self, thread: int, term: Term) -> int:
        """The value of a term of a thread."""
        prepared, base = self.prepared[thread], self.base[thread]
        return evaluate(term, lambda position: self.value_read(base + prepared.node_of[position]))

    def possible(self) -> bool:
        """Whether the values take every thread along its path; not so if a value came out of thin air."""
        try:
            for thread, prepared in enumerate(self.prepared):
                for term, truth in prepared.constraints:
                    if bool(self.term_value(thread, term)) is not truth:
                        return False
            for node, (prepared, local) in enumerate(self.nodes):
                if prepared.cells[local] and (node, prepared.cells[local][0]) in self.source:
                    self.value_read(node)
        except CyclicValue:
            return False
        return True

    def final(self, location: Location) -> int:
        """The final value of a location, as its type shows it."""
        layout = self.enumeration.layout
        declared = layout.type_of(location)
        if isinstance(location, Register):
            term = self.prepared[location.thread].path.registers[location.number]
            return declared.convert(term if type(term) is int else self.term_value(location.thread, term))
        address, cells = layout.address_of(location), self.enumeration.cells
        value = self.enumeration.initial_value(address, declared.size)
        for cell, low in enumerate(cells.address):
            if address <= low < address + declared.size and self.coherence[cell]:
                size = min(cells.size[cell], address + declared.size - low)
                mask = (1 << 8 * size) - 1
                last = self.cell_value(self.coherence[cell][-1], cell) & mask
                value = value & ~(mask << 8 * (low - address)) | last << 8 * (low - address)
        return declared.convert(value)

    def execution(self) -> Execution:
        """This candidate as an execution, values filled in."""
        return _execution(self)


class _Search:
    """Visits every candidate of one choice of paths that the model allows, or all of them."""

    def __init__(
        self, candidate: Candidate, visit: Visit, deadline: float | None, consistent_only: bool
    ) -> None:
        self._candidate, self._visit, self._deadline = candidate, visit, deadline
        self._consistent_only = consistent_only
        self._cells = candidate.enumeration.cells
        self._nodes = candidate.nodes
        self._thread_of = candidate.thread_of
        self._stores: list[list[int]] = [[] for _ in self._cells.address]
        self._reads: list[tuple[int, int]] = []
        self._conditional: dict[int, list[int]] = {}
        closure: Closure = []
        for thread, prepared in enumerate(candidate.prepared):
            base = candidate.base[thread]
            closure += (row << base for row in prepared.closure)
            for n, event in enumerate(prepared.events):
                for cell in prepared.cells[n]:
                    if event.kind in WRITES:
                        self._stores[cell].append(base + n)
                    if event.kind in READS:
                        self._reads.append((base + n, cell))
                if event.pair >= 0:
                    self._conditional.setdefault(base + prepared.node_of[event.pair], []).append(base + n)
        # Without the model, only coherence must make sense: one order of any two stores, whatever cells they share.
        self._closure = closure if consistent_only else empty(len(closure))

    def run(self) -> None:
        """Search."""
        self._order_cell(0, self._closure)

    # Coherence

    def _order_cell(self, cell: int, closure: Closure) -> None:
        while cell < len(self._stores) and len(self._stores[cell]) < 2:
            self._candidate.coherence[cell] = self._stores[cell]
            cell += 1
        if cell == len(self._stores):
            self._assign(0, closure)
            return
        self._place(cell, [], self._stores[cell], closure)

    def _place(self, cell: int, order: list[int], rest: list[int], closure: Closure) -> None:
        """Choose the next store of a cell in coherence order."""
        if not rest:
            self._candidate.coherence[cell] = order
            self._order_cell(cell + 1, closure)
            return
        for store in rest:
            grown: Closure | None = closure
            for other in rest:
                if other != store:
                    grown = with_edge(grown, store, other)
            if grown is not None:
                self._place(cell, [*order, store], [s for s in rest if s != store], grown)

    # Reads-from

    def _assign(self, number: int, closure: Closure) -> None:
        """Choose the source of a read."""
        if number == len(self._reads):
            self._complete()
            return
        node, cell = self._reads[number]
        order = self._candidate.coherence[cell]
        thread_of, sources = self._thread_of, self._candidate.source
        thread = thread_of[node]
        low, high = 0, len(order)
        for place, store in enumerate(order):
            if thread_of[store] == thread:
                if store < node:
                    # The load value axiom: never older than an own store before it.
                    low = place + 1
                else:
                    # Rule 1 and coherence: never newer than an own store after it.
                    high = min(high, place)
                    if store == node:
                        low = max(low, place)
                    break
        if not self._consistent_only:
            for source in (INITIAL, *order):
                if source != node:
                    sources[node, cell] = source
                    self._assign(number + 1, closure)
            sources.pop((node, cell), None)
            return
        for place in range(low, high + 1):
            source = order[place - 1] if place else INITIAL
            if source == node:
                continue
            grown = self._with_source(
                closure, node, cell, source, order[place] if place < len(order) else None
            )
            if grown is None:
                continue
            if node in self._conditional:
                grown = self._with_pair(grown, node, source, order[place:])
                if grown is None:
                    continue
            sources[node, cell] = source
            self._assign(number + 1, grown)
        sources.pop((node, cell), None)

    def _with_source(
        self, closure: Closure, node: int, cell: int, source: int, following: int | None
    ) -> Closure | None:
        """The closure if `node` reads `source` and `following` comes next in coherence order."""
        thread = self._thread_of[node]
        base = self._candidate.base[thread]
        prepared, local = self._nodes[node]
        grown: Closure | None = closure
        if source != INITIAL:
            if self._thread_of[source] == thread and source < node:
                for before in prepared.when_returns.get((local, source - base), ()):
                    grown = with_edge(grown, base + before, node)
            else:
                grown = with_edge(grown, source, node)
        if following is not None and following != node:
            grown = with_edge(grown, node, following)
        sources = self._candidate.source
        for before in prepared.when_differ.get((local, cell), ()):
            if sources[base + before, cell] != source:
                grown = with_edge(grown, base + before, node)
        return grown

    def _with_pair(self, closure: Closure, node: int, source: int, later: list[int]) -> Closure | None:
        """The closure with the atomicity axiom for an LR that reads `source`, `later` being newer stores."""
        grown: Closure | None = closure
        for conditional in self._conditional[node]:
            if source != INITIAL:
                grown = with_edge(grown, source, conditional)
            thread = self._thread_of[node]
            foreign = next((s for s in later if self._thread_of[s] != thread), None)
            if foreign is not None:
                grown = with_edge(grown, conditional, foreign)
        return grown

    def _complete(self) -> None:
        if self._deadline is not None and time.process_time() > self._deadline:
            raise Timeout
        self._candidate.forget_values()
        if self._candidate.possible():
            self._visit(self._candidate)


def search(
    enumeration: Enumeration, visit: Visit, *, limit_s: float | None = None, consistent_only: bool = True
) -> None:
    """Visit every candidate that the model allows, or every one that its values make possible.

    Args:
        enumeration: the test.
        visit: called for each; the candidate changes afterwards.
        limit_s: processor time to spend at most.
        consistent_only: whether the model has a say.

    Raises:
        Timeout: the limit was reached.

    """
    deadline = None if limit_s is None else time.process_time() + limit_s
    prepared = [
        [_Prepared(path, enumeration.model, enumeration.cells) for path in thread.paths]
        for thread in enumeration.threads
    ]
    for choice in product(*prepared):
        if deadline is not None and time.process_time() > deadline:
            raise Timeout
        _Search(Candidate(enumeration, choice), visit, deadline, consistent_only).run()


def enumerate_states(
    test: LitmusTest, model: Model, *, unroll: int = DEFAULT_UNROLL, limit_s: float | None = None
) -> Outcome:
    """Every final state of a test that the model allows.

    Args:
        test: the test.
        model: the memory model.
        unroll: how often an instruction may be executed in a loop.
        limit_s: processor time to spend at most.

    Raises:
        LitmusError: the test cannot be executed; says where and why.
        Timeout: the limit was reached.

    """
    began = time.process_time()
    enumeration = Enumeration(test, model, unroll)
    shown = test.shown_locations()
    filtered = test.filter
    wanted = sorted({*shown, *(locations(filtered) if filtered is not None else ())}, key=location_order)
    layout = enumeration.layout
    for location in wanted:
        enumeration.require(location)
    types = {location: layout.type_of(location) for location in wanted}
    passes = compile_proposition(filtered, types, enumeration.resolve) if filtered is not None else None
    found: set[State] = set()
    candidates = 0

    def visit(candidate: Candidate) -> None:
        nonlocal candidates
        candidates += 1
        state = {location: candidate.final(location) for location in wanted}
        if passes is None or passes(state):
            found.add(tuple(state[location] for location in shown))

    search(enumeration, visit, limit_s=limit_s)
    holds = compile_proposition(test.condition, types, enumeration.resolve)
    states = sorted(found)
    return Outcome(
        test,
        tuple(shown),
        tuple(tuple(layout.show(x, v) for x, v in zip(shown, s, strict=True)) for s in states),
        tuple(holds(dict(zip(shown, s, strict=True))) for s in states),
        enumeration.cut,
        candidates,
        time.process_time() - began,
    )


def _execution(candidate: Candidate) -> Execution:
    enumeration = candidate.enumeration
    identity: dict[int, int] = {}
    harts: list[tuple[Event, ...]] = []
    first = 0
    for thread, prepared in enumerate(candidate.prepared):
        events = list(prepared.path.events)
        for local, position in enumerate(prepared.positions):
            node = candidate.base[thread] + local
            identity[node] = first + position
            event = events[position]
            events[position] = event._replace(
                read=candidate.value_read(node) if event.kind in READS else None,
                written=candidate.value_written(node) if event.kind in WRITES else None,
            )
        harts.append(tuple(events))
        first += len(events)
    source = [INITIAL] * first
    bytewise: dict[int, tuple[int, ...]] = {}
    for node, (prepared, local) in enumerate(candidate.nodes):
        if prepared.events[local].kind not in READS:
            continue
        per_byte: list[int] = []
        for cell in prepared.cells[local]:
            per_byte += [candidate.source[node, cell]] * enumeration.cells.size[cell]
        ids = tuple(identity.get(s, INITIAL) for s in per_byte)
        if len(set(ids)) == 1:
            source[identity[node]] = ids[0]
        else:
            source[identity[node]], bytewise[identity[node]] = PER_BYTE, ids
    coherence = [[identity[n] for n in order] for order in candidate.coherence if len(order) > 1]
    return Execution(
        tuple(harts),
        source,
        coherence,
        bytewise,
        dict(enumeration.memory),
        {address: name for name, address in enumeration.layout.bases.items()},
    )
