"""The checker of long executions: whether a memory model allows one whose reads-from and coherence are known.

Owns the sparse graph: a few edges an event, whose paths between operations are exactly the order that the model's rules
and axioms demand. Where a rule orders many with many (a fence, an acquire), auxiliary nodes stand between. The rules
themselves are stated in `coordinator.check.rvwmo` and judged directly in `coordinator.check.models`; both must agree.

- A *collector* comes after all loads, or all stores, so far: before fences and releases.
- A *distributor* comes before all loads, or all stores, from here on: after fences, acquires, and the sources of
  control and address dependencies.
- A *junction* comes between loads of one byte that return different stores.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

from coordinator.check.components import Edges, components
from coordinator.check.execution import (
    FENCES,
    INITIAL,
    PER_BYTE,
    READS,
    STORES,
    WRITES,
    Event,
    Execution,
    Kind,
)
from coordinator.check.memory import NOWHERE, Memory
from coordinator.check.models import Label, Model, Step, Violation, axiom_of
from coordinator.check.rvwmo import Annotation
from coordinator.check.sequential import is_sequential

# Labels of edges: 1 to 13 are the rules of preserved program order.
_RF, _CO, _FR, _ATOMICITY, _PO, _AUXILIARY = 14, 15, 16, 17, 18, 19
_NAMES: dict[int, Label] = {
    **{n: n for n in range(1, 14)}, _RF: "rf", _CO: "co", _FR: "fr", _ATOMICITY: "atomicity", _PO: "po",
}  # fmt: skip
_R, _W = 2, 1

_EFFORT = 2_000_000
"""Edges that the search for the shortest cycle looks at; a cycle found by then may not be the shortest."""


def check(execution: Execution, model: Model) -> Violation | None:
    """None if the model allows the execution, else a short cycle that forbids it.

    Takes time and memory in proportion to the execution. See `coordinator.check.models.judge` for the axioms.

    Raises:
        MissingOrder: two stores to a byte stand in no sequence of `execution.coherence`.

    """
    memory = Memory(execution)
    return None if is_sequential(execution, memory) else _check_by_graph(execution, model, memory)


def check_by_graph(execution: Execution, model: Model) -> Violation | None:
    """As `check`, which asks first whether the execution is sequentially consistent: most are, and that takes less."""
    return _check_by_graph(execution, model, Memory(execution))


def _check_by_graph(execution: Execution, model: Model, memory: Memory) -> Violation | None:
    graph = _Graph(sum(map(len, execution.harts)))
    for order in memory.orders:
        for before, after in pairwise(order):
            graph.edge(before, after, _CO)
    for number, start in enumerate(execution.starts[:-1]):
        _HartEdges(execution, model, graph, memory, number, start).add_all()
    cycle = graph.find_cycle()
    if cycle is None:
        return None
    steps = _shortened(cycle, execution, memory)
    return Violation(axiom_of(steps), steps)


_JOINED: dict[tuple[Label, Label], Label] = {("co", "co"): "co", ("fr", "co"): "fr"}


def _shortened(cycle: tuple[Step, ...], execution: Execution, memory: Memory) -> tuple[Step, ...]:
    """The cycle with steps along one coherence order joined: the graph has only those from store to next store."""
    events = list(execution.events())
    steps: list[Step] = []
    for step in cycle:
        label = _JOINED.get((steps[-1].label, step.label)) if steps else None
        if label is not None and steps[-1].before != step.after:
            before = steps[-1].before
            returned = execution.byte_sources(before, events[before]) if label == "fr" else None
            if memory.agrees(before, step.after, events[before], returned):
                steps[-1] = Step(before, step.after, label)
                continue
        steps.append(step)
    return tuple(steps)


# The graph


class _Graph:
    """Nodes 0 to `events`-1 are events, those above auxiliary; edges have labels."""

    __slots__ = ("_after", "_before", "_effort", "_labels", "events", "nodes")

    def __init__(self, events: int) -> None:
        self.events = self.nodes = events
        self._before = array("i")
        self._after = array("i")
        self._labels = bytearray()
        self._effort = _EFFORT

    def edge(self, before: int, after: int, label: int) -> None:
        """Add an edge."""
        self._before.append(before)
        self._after.append(after)
        self._labels.append(label)

    def node(self) -> int:
        """A new auxiliary node."""
        self.nodes += 1
        return self.nodes - 1

    def find_cycle(self) -> tuple[Step, ...] | None:
        """A cycle between events, the shortest unless very many events lie on cycles; None if there is none."""
        left = self._peel(self._before, self._after, None)
        if left is None:
            return None
        # What only follows from a cycle goes too: peel from the other end.
        left = self._peel(self._after, self._before, left)
        assert left is not None
        return self._shortest(left)

    def _peel(self, before: array[int], after: array[int], within: bytearray | None) -> bytearray | None:
        """Take away again and again the nodes that nothing comes before; a mark for each that is left, or None."""
        first = array("i", bytes(4 * (self.nodes + 1)))
        pending = array("i", bytes(4 * self.nodes))
        for u, v in zip(before, after, strict=True):
            first[u + 1] += 1
            pending[v] += 1
        if within is not None:
            pending = array("i", bytes(4 * self.nodes))
            for u, v in zip(before, after, strict=True):
                if within[u] and within[v]:
                    pending[v] += 1
        for u in range(self.nodes):
            first[u + 1] += first[u]
        place = array("i", first)
        successors = array("i", bytes(4 * len(after)))
        for u, v in zip(before, after, strict=True):
            successors[place[u]] = v
            place[u] += 1
        ready = [n for n in range(self.nodes) if not pending[n] and (within is None or within[n])]
        count = len(ready)
        left = bytearray(b"\1" * self.nodes) if within is None else bytearray(within)
        while ready:
            u = ready.pop()
            left[u] = 0
            for v in successors[first[u] : first[u + 1]]:
                if left[v]:
                    pending[v] -= 1
                    if not pending[v]:
                        ready.append(v)
                        count += 1
        return None if within is None and count == self.nodes else left

    def _shortest(self, left: bytearray) -> tuple[Step, ...]:
        successors: Edges = {}
        for u, v, label in zip(self._before, self._after, self._labels, strict=True):
            if left[u] and left[v]:
                successors.setdefault(u, []).append((v, label))
        best: list[tuple[int, int]] | None = None
        self._effort = _EFFORT
        # Within one of these every node lies on a cycle, so that no search is in vain; in a small one cycles are short.
        for inner in sorted(components(successors), key=len):
            for start in inner:
                if start < self.events:
                    best = self._cycle_through(start, inner, best) or best
                    if self._effort <= 0 and best is not None:
                        return self._steps(best)
        assert best is not None, "what is left of the graph has a cycle"
        return self._steps(best)

    def _cycle_through(
        self, start: int, successors: Edges, best: list[tuple[int, int]] | None
    ) -> list[tuple[int, int]] | None:
        """The edges (node, label) of a shortest cycle through `start` if it has fewer events than `best`."""
        limit = self._length(best) if best is not None else self.nodes + 1
        came_from: dict[int, tuple[int, int]] = {}
        distance = {start: 0}
        queue = deque([start])
        while queue and (self._effort > 0 or best is None):
            u = queue.popleft()
            further = distance[u] + (u < self.events)
            if further >= limit:
                continue
            following = successors[u]
            self._effort -= len(following)
            for v, label in following:
                if v == start:
                    path = [(u, label)]
                    while path[-1][0] != start:
                        path.append(came_from[path[-1][0]])
                    path.reverse()
                    return path
                if v not in distance or further < distance[v]:
                    distance[v] = further
                    came_from[v] = (u, label)
                    # Auxiliary nodes cost nothing to leave, so what they lead to goes first.
                    (queue.append if u < self.events else queue.appendleft)(v)
        return None

    def _length(self, path: list[tuple[int, int]]) -> int:
        return sum(1 for node, _ in path if node < self.events)

    def _steps(self, path: list[tuple[int, int]]) -> tuple[Step, ...]:
        """The path from event to event; an edge through auxiliary nodes has the one label that says why."""
        steps: list[Step] = []
        events = [i for i, (node, _) in enumerate(path) if node < self.events]
        for i, following in zip(events, [*events[1:], len(path)], strict=True):
            label = min(label for _, label in path[i:following])
            after = path[following % len(path)][0]
            steps.append(Step(path[i][0], after, _NAMES[label]))
        return tuple(steps)


# One hart's edges


class _CellHistory:
    """What one hart did to one cell so far.

    Attributes:
        last_store: its last store operation, or -1.
        last_write: its last store that wrote, or -1.
        loads: its loads since `last_store`.
        run: since `last_write`, the latest loads that all return `returned`.
        returned: the store they return.
        junction: the node that comes before each of `run`, or -1.

    """

    __slots__ = ("junction", "last_store", "last_write", "loads", "returned", "run")

    def __init__(self) -> None:
        self.last_store = self.last_write = self.junction = NOWHERE
        self.returned = NOWHERE
        self.loads: list[int] = []
        self.run: list[int] = []


class _HartEdges:
    """Adds the edges of one hart's events, in program order."""

    def __init__(
        self, execution: Execution, model: Model, graph: _Graph, memory: Memory, number: int, start: int
    ) -> None:
        self._execution, self._graph, self._memory = execution, graph, memory
        self._rules = frozenset(model.rules)
        self._annotate: Callable[[Event], Annotation] = model.annotate
        self._annotations: dict[tuple[Kind, int], int] = {}
        self._events: Sequence[Event] = execution.harts[number]
        self._number, self._start = number, start
        self._end = start + len(self._events)
        self._histories: dict[int, _CellHistory] = {}
        # By set (R, W): operations not yet collected, the collector, the distributor.
        self._pending: dict[int, list[int]] = {_R: [], _W: []}
        self._collector = {_R: NOWHERE, _W: NOWHERE}
        self._distributor = {_R: NOWHERE, _W: NOWHERE}
        self._spread: dict[int, set[int]] = {11: set(), 13: set()}
        self._last_rcsc = NOWHERE

    def add_all(self) -> None:
        """Add the edges."""
        if 0 in self._rules:
            self._add_program_order()
        source = self._execution.source
        for position, event in enumerate(self._events):
            identity = self._start + position
            if event.control_from and 11 in self._rules:
                self._spread_sources(event.control_from, 11)
            if event.kind in FENCES:
                if 4 in self._rules:
                    self._fence(event)
                continue
            self._explicit(identity, event)
            if event.address_from or event.data_from:
                self._dependencies(identity, event)
            cells = self._memory.cells_of[identity]
            if event.kind in READS:
                read_from = source[identity]
                if read_from == PER_BYTE:
                    offsets = self._execution.bytewise[identity]
                    offset = 0
                    for cell in cells:
                        self._read(identity, cell, offsets[offset])
                        offset += self._size(cell, event, cells)
                else:
                    for cell in cells:
                        self._read(identity, cell, read_from)
            if event.kind in STORES:
                for cell in cells:
                    self._store(identity, cell, event)
            if event.pair >= 0:
                self._atomicity(identity, self._start + event.pair)
            if event.address_from and 13 in self._rules:
                self._spread_sources(event.address_from, 13)

    def _size(self, cell: int, event: Event, cells: tuple[int, ...]) -> int:
        """Bytes of a cell of a read."""
        address = self._memory.addresses
        following = address[cell + 1] if cell != cells[-1] else event.address + event.size
        return following - address[cell]

    def _add_program_order(self) -> None:
        last = NOWHERE
        for identity, event in enumerate(self._events, self._start):
            if event.kind not in FENCES:
                if last != NOWHERE:
                    self._graph.edge(last, identity, _PO)
                last = identity

    # Many to many

    def _collect(self, kind: int) -> int:
        """A node after every operation of a set so far, or -1 if there is none."""
        pending, collector = self._pending[kind], self._collector[kind]
        if pending:
            graph = self._graph
            node = graph.node()
            if collector != NOWHERE:
                graph.edge(collector, node, _AUXILIARY)
            for identity in pending:
                graph.edge(identity, node, _AUXILIARY)
            pending.clear()
            self._collector[kind] = collector = node
        return collector

    def _distribute(self, kinds: int, sources: Sequence[int], label: int) -> None:
        """Make `sources` come before every later operation of the sets `kinds`."""
        graph, distributor = self._graph, self._distributor
        both = kinds == _R | _W and distributor[_R] == distributor[_W]
        for kind in (_R,) if both else (_R, _W):
            if kinds & kind:
                node = graph.node()
                if distributor[kind] != NOWHERE:
                    graph.edge(distributor[kind], node, _AUXILIARY)
                for source in sources:
                    graph.edge(source, node, label)
                distributor[kind] = node
        if both:
            distributor[_W] = distributor[_R]

    def _spread_sources(self, positions: Sequence[int], rule: int) -> None:
        """Make the sources of dependencies come before every later store."""
        seen = self._spread[rule]
        fresh = [self._start + p for p in positions if p not in seen]
        if fresh:
            seen.update(positions)
            self._distribute(_W, fresh, rule)

    def _fence(self, event: Event) -> None:
        if event.kind is Kind.FENCE_TSO:
            self._fence_sets(_R, _R | _W)
            self._fence_sets(_W, _W)
        else:
            self._fence_sets(event.predecessor, event.successor)

    def _fence_sets(self, predecessor: int, successor: int) -> None:
        before = [self._collect(kind) for kind in (_R, _W) if predecessor & kind]
        before = [node for node in before if node != NOWHERE]
        if before and successor & (_R | _W):
            self._distribute(successor & (_R | _W), before, 4)

    # One operation

    def _annotations_of(self, event: Event) -> int:
        key = event.kind, event.order
        if key not in self._annotations:
            self._annotations[key] = int(self._annotate(event))
        return self._annotations[key]

    def _explicit(self, identity: int, event: Event) -> None:
        """Rules 4 to 8."""
        graph, distributor, rules = self._graph, self._distributor, self._rules
        annotations = self._annotations_of(event)
        loads, stores = event.kind in READS, event.kind in STORES
        if loads and distributor[_R] != NOWHERE:
            graph.edge(distributor[_R], identity, _AUXILIARY)
        if stores and distributor[_W] not in (NOWHERE, distributor[_R] if loads else NOWHERE):
            graph.edge(distributor[_W], identity, _AUXILIARY)
        if annotations:
            if annotations & Annotation.RELEASE and 6 in rules:
                for kind in (_R, _W):
                    collector = self._collect(kind)
                    if collector != NOWHERE:
                        graph.edge(collector, identity, 6)
            if annotations & Annotation.RCSC and 7 in rules:
                if self._last_rcsc != NOWHERE:
                    graph.edge(self._last_rcsc, identity, 7)
                self._last_rcsc = identity
            if annotations & Annotation.ACQUIRE and 5 in rules:
                self._distribute(_R | _W, (identity,), 5)
        if event.pair >= 0 and 8 in rules:
            graph.edge(self._start + event.pair, identity, 8)
        if loads:
            self._pending[_R].append(identity)
        if stores:
            self._pending[_W].append(identity)

    def _dependencies(self, identity: int, event: Event) -> None:
        """Rules 9 and 10."""
        if 9 in self._rules:
            for position in event.address_from:
                self._graph.edge(self._start + position, identity, 9)
        if 10 in self._rules:
            for position in event.data_from:
                self._graph.edge(self._start + position, identity, 10)

    def _history(self, cell: int) -> _CellHistory:
        history = self._histories.get(cell)
        if history is None:
            history = self._histories[cell] = _CellHistory()
        return history

    def _read(self, identity: int, cell: int, source: int) -> None:
        """The load value axiom, and rules 2, 3 and 12."""
        graph, memory = self._graph, self._memory
        history = self._history(cell)
        place = memory.place(source, cell)
        order = memory.orders[cell]
        following = order[place + 1] if place + 1 < len(order) else identity
        if following != identity:
            graph.edge(identity, following, _FR)
        if history.last_write != NOWHERE and memory.place(history.last_write, cell) > place:
            # It misses an own store before it in program order.
            graph.edge(history.last_write, identity, _PO)
        if source != INITIAL:
            if self._start <= source < identity:
                self._forwarded(identity, source)
            else:
                graph.edge(source, identity, _RF)
        if 2 in self._rules:
            self._different(identity, source, history)
        history.loads.append(identity)

    def _forwarded(self, identity: int, source: int) -> None:
        store = self._events[source - self._start]
        if 3 in self._rules and store.kind in (Kind.AMO, Kind.STORE_CONDITIONAL):
            self._graph.edge(source, identity, 3)
        if 12 in self._rules:
            for position in (*store.address_from, *store.data_from):
                self._graph.edge(self._start + position, identity, 12)

    def _different(self, identity: int, source: int, history: _CellHistory) -> None:
        graph = self._graph
        if history.run and history.returned != source:
            junction = graph.node()
            for load in history.run:
                graph.edge(load, junction, 2)
            history.junction, history.run = junction, []
        if history.junction != NOWHERE:
            graph.edge(history.junction, identity, _AUXILIARY)
        history.run.append(identity)
        history.returned = source

    def _store(self, identity: int, cell: int, event: Event) -> None:
        """Rule 1."""
        history = self._history(cell)
        if 1 in self._rules:
            if history.last_store != NOWHERE:
                self._graph.edge(history.last_store, identity, 1)
            for load in history.loads:
                if load != identity:
                    self._graph.edge(load, identity, 1)
        history.last_store = identity
        history.loads.clear()
        if event.kind in WRITES:
            history.last_write = identity
            # Loads before it and after it are no longer ordered by rule 2, but those after it and itself are.
            history.junction = NOWHERE
            history.run = [identity] if event.kind is Kind.AMO else []

    def _atomicity(self, conditional: int, load: int) -> None:
        execution, memory = self._execution, self._memory
        source = execution.source[load]
        event = self._events[load - self._start]
        offset = 0
        cells = memory.cells_of[load]
        for cell in cells:
            returned = execution.bytewise[load][offset] if source == PER_BYTE else source
            offset += self._size(cell, event, cells)
            if returned != INITIAL:
                self._graph.edge(returned, conditional, _ATOMICITY)
            foreign = memory.next_of_others(cell, memory.place(returned, cell) + 1, self._number)
            if foreign != NOWHERE:
                self._graph.edge(conditional, foreign, _ATOMICITY)
