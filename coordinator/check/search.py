"""Executions of which only values are known: looking for reads-from and coherence that a model allows.

Owns the search, which is NP-complete in general and therefore bounded: its answer may be "undecided". Reads-from is
unique where values are; coherence is derived as far as it is forced, and guessed where it is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from coordinator.check.execution import FENCES, INITIAL, READS, WRITES, Event, Execution
from coordinator.check.models import Model
from coordinator.check.relations import Closure, closure_of, with_edge
from coordinator.check.rvwmo import Differ, Returns

DEFAULT_STEPS = 200_000
"""Edges that a search adds at most."""


class Verdict(Enum):
    """What a search came to."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Found:
    """The verdict, an execution that the model allows if there is one, and the edges that were tried."""

    verdict: Verdict
    execution: Execution | None
    steps: int


class _GiveUp(Exception):
    """The bound was reached."""


class MixedSizes(ValueError):
    """Accesses that overlap without being to the same bytes: the search does not take them."""


def search_values(
    harts: Sequence[Sequence[Event]],
    model: Model,
    initial: dict[int, int] | None = None,
    steps: int = DEFAULT_STEPS,
) -> Found:
    """Whether some reads-from and coherence explain the values that the events read and wrote.

    Args:
        harts: each hart's events in program order; each reads and writes whole locations.
        model: the memory model.
        initial: initial values by address of a location; 0 elsewhere.
        steps: how many edges to add at most.

    Raises:
        MixedSizes: two accesses overlap and differ in address or size.

    """
    problem = _Problem(harts, model, initial or {}, steps)
    try:
        answer = problem.solve()
    except _GiveUp:
        return Found(Verdict.UNDECIDED, None, steps)
    return Found(Verdict.ALLOWED if answer else Verdict.FORBIDDEN, answer, problem.steps)


class _Problem:
    def __init__(
        self, harts: Sequence[Sequence[Event]], model: Model, initial: dict[int, int], steps: int
    ) -> None:
        self._harts = tuple(tuple(h) for h in harts)
        self._limit, self.steps = steps, 0
        self._initial = initial
        self._events = [e for h in self._harts for e in h]
        self._hart_of = [n for n, h in enumerate(self._harts) for _ in h]
        self._stores: dict[int, list[int]] = {}
        self._returns: dict[tuple[int, int], list[int]] = {}
        self._differ: dict[int, list[int]] = {}
        self._pairs: dict[int, list[int]] = {}
        self._source: dict[int, int] = {}
        fixed: list[tuple[int, int]] = []
        start = 0
        for hart in self._harts:
            for _, edge in model.preserved(hart):
                before, after = start + edge.before, start + edge.after
                match edge.when:
                    case None:
                        fixed.append((before, after))
                    case Returns(load, store):
                        self._returns.setdefault((start + load, start + store), []).append(before)
                    case Differ():
                        self._differ.setdefault(after, []).append(before)
            for position, event in enumerate(hart):
                if event.pair >= 0:
                    self._pairs.setdefault(start + event.pair, []).append(start + position)
            start += len(hart)
        for identity, event in enumerate(self._events):
            if event.kind in WRITES:
                self._stores.setdefault(event.address, []).append(identity)
        self._check_sizes()
        self._fixed = fixed

    def _check_sizes(self) -> None:
        footprints = sorted({(e.address, e.size) for e in self._events if e.kind not in FENCES})
        for (address, size), (following, other) in itertools.pairwise(footprints):
            if following < address + size:
                raise MixedSizes(
                    f"{size} bytes at {address:#x} and {other} at {following:#x} overlap: give reads-from and coherence"
                )

    def solve(self) -> Execution | None:
        """An execution that the model allows, or None."""
        candidates: dict[int, list[int]] = {}
        for identity, event in enumerate(self._events):
            if event.kind in READS:
                sources = [
                    s
                    for s in self._stores.get(event.address, [])
                    if s != identity
                    and self._events[s].written == event.read
                    and not (self._hart_of[s] == self._hart_of[identity] and s > identity)
                ]
                if event.read == self._initial.get(event.address, 0):
                    sources.append(INITIAL)
                candidates[identity] = sources
        closure = closure_of(len(self._events), self._fixed)
        assert closure is not None, "preserved program order goes with program order"
        # The most constrained reads first.
        order = sorted(candidates, key=lambda i: len(candidates[i]))
        return self._assign(order, 0, candidates, closure)

    def _edge(self, closure: Closure | None, before: int, after: int) -> Closure | None:
        if closure is None:
            return None
        self.steps += 1
        if self.steps > self._limit:
            raise _GiveUp
        return with_edge(closure, before, after)

    def _earlier_own(self, store: int, load: int) -> bool:
        return self._hart_of[store] == self._hart_of[load] and store < load

    def _assign(
        self, order: list[int], number: int, candidates: dict[int, list[int]], closure: Closure
    ) -> Execution | None:
        if number == len(order):
            return self._order_stores(closure)
        load = order[number]
        for source in candidates[load]:
            grown = self._with_source(closure, load, source)
            if grown is None:
                continue
            self._source[load] = source
            settled = self._settle(grown)
            answer = None if settled is None else self._assign(order, number + 1, candidates, settled)
            if answer is not None:
                return answer
            del self._source[load]
        return None

    def _with_source(self, closure: Closure, load: int, source: int) -> Closure | None:
        grown: Closure | None = closure
        if source != INITIAL:
            if self._earlier_own(source, load):
                for before in self._returns.get((load, source), ()):
                    grown = self._edge(grown, before, load)
            else:
                grown = self._edge(grown, source, load)
            for conditional in self._pairs.get(load, ()):
                grown = self._edge(grown, source, conditional)
        # Rule 2, with loads on either side that have their source already.
        for before in self._differ.get(load, ()):
            if before in self._source and self._source[before] != source:
                grown = self._edge(grown, before, load)
        for after, befores in self._differ.items():
            if load in befores and after in self._source and self._source[after] != source:
                grown = self._edge(grown, load, after)
        return grown

    def _settle(self, closure: Closure) -> Closure | None:
        """Add the coherence and from-reads edges that are forced, until there are no more."""
        changed = True
        current: Closure | None = closure
        while changed:
            changed = False
            for load, source in self._source.items():
                for other in self._stores.get(self._events[load].address, ()):
                    if other in (source, load):
                        continue
                    assert current is not None
                    for before, after in self._forced(current, load, source, other):
                        if not current[before] >> after & 1:
                            current = self._edge(current, before, after)
                            if current is None:
                                return None
                            changed = True
        return current

    def _forced(self, closure: Closure, load: int, source: int, other: int) -> list[tuple[int, int]]:
        """The edges that hold for a load, its source and another store to the same location."""
        older = source != INITIAL and (
            self._earlier_own(other, load)
            or bool(closure[other] >> load & 1)
            or bool(closure[other] >> source & 1)
        )
        if older:
            return [(other, source)]
        newer = source == INITIAL or bool(closure[source] >> other & 1)
        if not newer:
            return []
        edges = [(load, other)]
        if self._earlier_own(other, load):
            # It misses an own store: no order helps.
            edges.append((other, load))
        if self._hart_of[other] != self._hart_of[load]:
            edges += ((conditional, other) for conditional in self._pairs.get(load, ()))
        return edges

    def _order_stores(self, closure: Closure) -> Execution | None:
        """Guess the order of stores that nothing forces, one pair at a time."""
        for stores in self._stores.values():
            for i, a in enumerate(stores):
                for b in stores[i + 1 :]:
                    if closure[a] >> b & 1 or closure[b] >> a & 1:
                        continue
                    for before, after in ((a, b), (b, a)):
                        grown = self._edge(closure, before, after)
                        settled = None if grown is None else self._settle(grown)
                        answer = None if settled is None else self._order_stores(settled)
                        if answer is not None:
                            return answer
                    return None
        coherence = [
            sorted(stores, key=lambda s: -sum(closure[s] >> other & 1 for other in stores))
            for stores in self._stores.values()
            if len(stores) > 1
        ]
        source = [self._source.get(i, INITIAL) for i in range(len(self._events))]
        initial = {
            address + i: value >> 8 * i & 0xFF for address, value in self._initial.items() for i in range(8)
        }
        return Execution(self._harts, source, coherence, initial=initial)
