"""Memory models by name: which pairs of a hart's operations keep their order, and the axioms.

Owns the choice of rules and annotations that make RVWMO, TSO (Ztso) and SC, and the direct judgement of a small
execution: it says exactly what the manual says, at a cost that grows with the square of the execution. Long executions
are `coordinator.check.checker`'s; both must agree.

What is not modelled, and where readings differ:

- I/O memory, instruction fetches and `fence.i`, page tables: the manual leaves them out too.
- Misaligned accesses: refused (test_what_cannot_be_run_says_why).
- An AMO is one operation, as the manual says, so amoswap.aq orders its own store before what follows (SB.w+aq+aq+amo is
  forbidden). herd7's riscv.cat splits it into a read and a write and gives aq to the read only, rl to the write only.
- An AMOCAS that fails writes nothing; the rules treat it as an AMO without release (test_annotations).
- An SC may succeed only in the reservation set of the latest LR: here one location, or one array, of a litmus test
  (test_store_conditional). Of foreign stores, those to the bytes that the LR read make it fail (atomicity axiom).
- `lw.aq` and `sw.rl` are RCpc unless asked otherwise (test_zalasr_readings_differ).

Of litmus-tests-riscv (dcb920f) 7,913 tests run both here and in herd7 7.58 (`hartstorm model --reference`), and 7,905
have the same states. The other eight read or write a location in several sizes, which herd7 takes for accesses to
different places unless it is told `mixed`. The load value axiom decides them, for each byte on its own: LB+mixed2,
LR-SC-mixed1, LR-SC-mixed2, LB+data+pod-rfi-pos-data+MIX1, MIX1, MP+fence.rw.rw+ctrl-rfi-si-addr+VAR1,
MP+fence.rw.rw+si, WRR+2W+sis (test_mixed_sizes_are_per_byte).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from coordinator.check.execution import FENCES, INITIAL, READS, Event, Execution, Kind
from coordinator.check.relations import shortest_cycle
from coordinator.check.rvwmo import (
    RULES,
    TITLES,
    Annotation,
    Differ,
    Edge,
    HartOrder,
    Returns,
    Rule,
    annotate,
)


class Zalasr(Enum):
    """What annotation plain loads and stores with aq or rl have."""

    RCPC = "rcpc"
    """RCpc, as herd7's riscv.cat has it: the default, so that results compare."""
    RCSC = "rcsc"
    """RCsc, as the Zalasr chapter says."""


Label = int | str
"""Why one event comes before another: the number of a PPO rule, or `po`, `rf`, `co`, `fr`, `atomicity`."""


@dataclass(frozen=True)
class Model:
    """A memory model.

    Attributes:
        name: how the command line calls it.
        rules: the rules of preserved program order, by number; 0 is program order itself.
        annotate: the annotations of an operation.

    """

    name: str
    rules: dict[int, Rule]
    annotate: Callable[[Event], Annotation]

    def without(self, rule: int) -> Model:
        """The same model lacking a rule: for tests of the rules."""
        return Model(
            f"{self.name} without rule {rule}",
            {n: r for n, r in self.rules.items() if n != rule},
            self.annotate,
        )

    def preserved(self, events: Sequence[Event]) -> list[tuple[Label, Edge]]:
        """Every edge of preserved program order of one hart, with the rule it comes from."""
        order = HartOrder(events, self.annotate)
        return [(number or "po", edge) for number, rule in self.rules.items() for edge in rule(order)]


def program_order(h: HartOrder) -> Iterator[Edge]:
    """All memory operations keep program order (sequential consistency)."""
    for a, b in zip(h.operations, h.operations[1:], strict=False):
        yield Edge(a, b)


def _annotate_rcsc(event: Event) -> Annotation:
    return annotate(event, Annotation.RCSC)


_AMOS = frozenset({Kind.AMO, Kind.CAS_FAILED})


def _annotate_tso(event: Event) -> Annotation:
    """Loads acquire-RCpc, stores release-RCpc, AMOs both and RCsc (manual, chapter "Ztso")."""
    if event.kind in FENCES:
        return Annotation.NONE
    own = annotate(event, Annotation.RCSC)
    if event.kind in _AMOS:
        return Annotation.ACQUIRE | Annotation.RELEASE | Annotation.RCSC
    return own | (Annotation.ACQUIRE if event.kind in READS else Annotation.RELEASE)


RVWMO = Model("rvwmo", RULES, annotate)
RVWMO_RCSC = Model("rvwmo", RULES, _annotate_rcsc)
TSO = Model("tso", RULES, _annotate_tso)
SC = Model("sc", {0: program_order}, annotate)

MODELS: dict[str, Model] = {m.name: m for m in (RVWMO, TSO, SC)}
"""The models by name."""


def model_named(name: str, zalasr: Zalasr = Zalasr.RCPC) -> Model:
    """A model by name; raises KeyError. `zalasr` matters to RVWMO only."""
    return RVWMO_RCSC if name == RVWMO.name and zalasr is Zalasr.RCSC else MODELS[name]


# Direct judgement


class Step(NamedTuple):
    """One edge of a cycle: event `before` comes before event `after` (ids), because of `label`."""

    before: int
    after: int
    label: Label


@dataclass(frozen=True, slots=True)
class Violation:
    """Why an execution is not allowed.

    Attributes:
        axiom: which axiom fails.
        cycle: the edges that contradict each other, in order; the last leads back to the first.
        detail: what else there is to say.

    """

    axiom: str
    cycle: tuple[Step, ...]
    detail: str = ""


def judge(execution: Execution, model: Model) -> Violation | None:
    """None if the model allows the execution, else a shortest cycle that forbids it.

    The axioms: each byte read comes from the latest store in the global memory order among those before the load in
    that order or in program order (load value axiom); no foreign store to a byte read by a paired LR comes between its
    source and the SC (atomicity axiom). The global memory order exists if preserved program order, coherence,
    reads-from of other harts' stores and from-reads have no cycle. The progress axiom holds in finite executions.
    """
    edges: dict[int, dict[int, Label]] = {}
    for before, after, label in constraints(execution, model):
        edges.setdefault(before, {}).setdefault(after, label)
    cycle = shortest_cycle(list(edges), lambda node: edges.get(node, ()))
    if cycle is None:
        return None
    steps = tuple(Step(a, b, edges[a][b]) for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    return Violation(axiom_of(steps), steps)


def axiom_of(steps: tuple[Step, ...]) -> str:
    """Which axiom a cycle breaks: what no global memory order can satisfy."""
    return "atomicity axiom" if any(s.label == "atomicity" for s in steps) else "load value axiom"


def constraints(execution: Execution, model: Model) -> Iterator[Step]:
    """Everything that the global memory order must respect. A load of a stale own byte gives a step to itself."""
    starts = execution.starts
    events = list(execution.events())
    hart_of = [h for h, hart in enumerate(execution.harts) for _ in hart]
    sources = {
        i: dict(zip(range(e.address, e.address + e.size), execution.byte_sources(i, e), strict=True))
        for i, e in enumerate(events)
        if e.kind in READS
    }
    for start, hart in zip(starts, execution.harts, strict=False):
        for label, edge in model.preserved(list(hart)):
            if holds(edge, start, sources):
                yield Step(start + edge.before, start + edge.after, label)
    orders = execution.orders(lambda i: range(events[i].address, events[i].address + events[i].size))
    for order in orders.values():
        for r, i in enumerate(order):
            yield from (Step(i, j, "co") for j in order[r + 1 :])
    for i, returned in sources.items():
        own = hart_of[i]
        for x, source in returned.items():
            order = orders.get(x, [])
            newer = order[order.index(source) + 1 :] if source != INITIAL else order
            yield from _reads(i, source, newer, hart_of)
            for w in _paired(i, events, starts[own], starts[own + 1]):
                if source != INITIAL:
                    yield Step(source, w, "atomicity")
                for other in newer:
                    if hart_of[other] != own:
                        yield Step(w, other, "atomicity")


def holds(edge: Edge, start: int, sources: dict[int, dict[int, int]]) -> bool:
    """Whether an edge's condition is true, for a hart whose first event has the id `start`."""
    match edge.when:
        case None:
            return True
        case Returns(load, store):
            return start + store in sources[start + load].values()
        case Differ(first, second, common):
            left, right = sources[start + first], sources[start + second]
            return any(left[x] != right[x] for x in common)


def _reads(load: int, source: int, newer: list[int], hart_of: list[int]) -> Iterator[Step]:
    """The load value axiom for one byte: `newer` are the stores after the source in coherence order."""

    def earlier_own(store: int) -> bool:
        return hart_of[store] == hart_of[load] and store < load

    if source != INITIAL and not earlier_own(source):
        yield Step(source, load, "rf")
    for other in newer:
        if other != load:
            yield Step(load, other, "fr")
            if earlier_own(other):
                # The load misses an own store before it in program order: the global memory order cannot help.
                yield Step(other, load, "po")


def _paired(load: int, events: list[Event], start: int, end: int) -> Iterator[int]:
    if events[load].kind is Kind.LOAD_RESERVED:
        for i in range(load + 1, end):
            if events[i].pair == load - start:
                yield i


def describe_label(label: Label) -> str:
    """A label in words, e.g. `ppo 4, fence`."""
    return f"ppo {label}, {TITLES[label].short}" if isinstance(label, int) and label in TITLES else str(label)
