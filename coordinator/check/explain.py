"""Why a model allows or forbids an outcome: executions and cycles in words.

Owns the text of reports. A property of a litmus test's outcome is explained by an allowed execution that has it, or by
the candidate that comes nearest to being allowed: the one whose shortest cycle is the longest. Others fail sooner, for
example because they order two stores of one thread against the program.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.check.enumerator import Candidate, Enumeration, Timeout, search
from coordinator.check.execution import FENCES, INITIAL, READS, WRITES, Event, Execution
from coordinator.check.models import Model, Violation, describe_label, judge
from coordinator.litmus.condition import compile_proposition
from coordinator.litmus.test import LitmusTest, Location, Proposition, locations

_JUDGED_AT_MOST = 5000


@dataclass(frozen=True, slots=True)
class Explanation:
    """An execution with the property, and the violation that forbids it, if any.

    `execution` is None if the property contradicts the test's own code: no choice of stores to read from has it.
    `complete` is False if the search was given up before every candidate was seen.
    """

    execution: Execution | None
    violation: Violation | None
    complete: bool = True


class _Found(Exception):
    """The search is over."""


def explain(
    test: LitmusTest, model: Model, proposition: Proposition, limit_s: float | None = None
) -> Explanation:
    """An allowed execution with the property, else what forbids the candidate that is nearest to allowed.

    Raises:
        LitmusError: the test cannot be executed, or the property names what it does not have.

    """
    enumeration = Enumeration(test, model)
    layout = enumeration.layout
    wanted: list[Location] = sorted(set(locations(proposition)), key=str)
    for location in wanted:
        enumeration.require(location)
    types = {location: layout.type_of(location) for location in wanted}
    holds = compile_proposition(proposition, types, enumeration.resolve)
    best: list[tuple[Execution, Violation | None]] = []
    judged = 0

    def has_property(candidate: Candidate) -> bool:
        return holds({location: candidate.final(location) for location in wanted})

    def take_first(candidate: Candidate) -> None:
        if has_property(candidate):
            best.append((candidate.execution(), None))
            raise _Found

    def take_nearest(candidate: Candidate) -> None:
        nonlocal judged
        if not has_property(candidate):
            return
        execution = candidate.execution()
        violation = judge(execution, model)
        judged += 1
        assert violation is not None, "the search with the model would have found it"
        if not best or best[0][1] is None or len(violation.cycle) > len(best[0][1].cycle):
            best[:] = [(execution, violation)]
        if judged >= _JUDGED_AT_MOST:
            raise Timeout

    complete = True
    try:
        search(enumeration, take_first, limit_s=limit_s)
        search(enumeration, take_nearest, limit_s=limit_s, consistent_only=False)
    except _Found:
        pass
    except Timeout:
        complete = False
    return Explanation(*best[0], complete) if best else Explanation(None, None, complete)


# Text


def _place(execution: Execution, event: Event) -> str:
    name = execution.symbols.get(event.address)
    if name is None:
        below = [a for a in execution.symbols if a <= event.address]
        if below and event.address - max(below) < 1 << 12:
            name = f"{execution.symbols[max(below)]}+{event.address - max(below)}"
    return name or f"{event.address:#x}"


def operation_text(execution: Execution, event: Event) -> str:
    """What an event did, e.g. `R x=1`, `W x=2` or `RW x: 1 -> 2`."""
    if event.kind in FENCES:
        return event.kind.name.lower().replace("_", ".")
    place = _place(execution, event)
    read = "?" if event.read is None else f"{event.read:#x}" if event.read > 0xFFFF else str(event.read)
    wrote = (
        "?"
        if event.written is None
        else f"{event.written:#x}"
        if event.written > 0xFFFF
        else str(event.written)
    )
    reads, writes = event.kind in READS, event.kind in WRITES
    if reads and writes:
        return f"RW {place}: {read} -> {wrote}"
    return f"R {place}={read}" if reads else f"W {place}={wrote}"


def hart_of(execution: Execution, identity: int) -> int:
    """The hart of an event."""
    starts = execution.starts
    return next(h for h in range(len(execution.harts)) if identity < starts[h + 1])


def event_text(execution: Execution, identity: int) -> str:
    """An event in one line: hart, number, pc where known, instruction, and what it did."""
    hart = hart_of(execution, identity)
    position = identity - execution.starts[hart]
    event = execution.harts[hart][position]
    pc = f" {event.pc:#x}" if event.pc else ""
    text = f" {event.text}" if event.text else ""
    return f"P{hart}#{position}{pc}{text}: {operation_text(execution, event)}"


def cycle_text(execution: Execution, violation: Violation) -> str:
    """The cycle, one event a line, and between them why one comes before the next."""
    lines = [f"Forbidden by the {violation.axiom}: no global memory order has all of"]
    for step in violation.cycle:
        lines.append(f"  {event_text(execution, step.before)}")
        lines.append(f"    before the next: {describe_label(step.label)}")
    lines.append(f"  {event_text(execution, violation.cycle[0].before)}")
    if violation.detail:
        lines.append(violation.detail)
    return "\n".join(lines)


def execution_text(execution: Execution) -> str:
    """Every event with the store it reads from, and the coherence orders."""
    lines = []
    starts = execution.starts
    for hart, events in enumerate(execution.harts):
        for position, event in enumerate(events):
            identity = starts[hart] + position
            source = ""
            if event.kind in READS:
                sources = dict.fromkeys(execution.byte_sources(identity, event))
                source = "  from " + ", ".join(_short(execution, s) for s in sources)
            lines.append(f"  {event_text(execution, identity)}{source}")
    lines += (
        "  coherence: " + " -> ".join(_short(execution, i) for i in order) for order in execution.coherence
    )
    return "\n".join(lines)


def _short(execution: Execution, identity: int) -> str:
    if identity == INITIAL:
        return "the initial value"
    hart = hart_of(execution, identity)
    return f"P{hart}#{identity - execution.starts[hart]}"


def explanation_text(explanation: Explanation, what: str) -> str:
    """An explanation for people; `what` names the property."""
    unfinished = "" if explanation.complete else "\nThe search was given up before every candidate was seen."
    if explanation.execution is None:
        return f"{what}: no candidate execution has it, whatever loads return.{unfinished}"
    if explanation.violation is None:
        return f"{what}: allowed, for example by\n{execution_text(explanation.execution)}"
    return f"{what}: {cycle_text(explanation.execution, explanation.violation)}{unfinished}"
