"""Judging what a program did: its outcomes by the states that the model allows, its recorded events by the model.

Owns what counts as a failure and its report. Runs no program.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from coordinator.check.enumerator import Timeout, enumerate_states
from coordinator.check.explain import cycle_text, event_text, explain, explanation_text
from coordinator.check.models import RVWMO_RCSC, Model
from coordinator.check.recorded import Recorded
from coordinator.check.verdict import judge_recorded
from coordinator.fuzz.arena import state_of
from coordinator.fuzz.program import Program, litmus
from coordinator.litmus.parser import parse, parse_proposition

MODEL: Model = RVWMO_RCSC
"""Zalasr as its chapter has it: every policy claims as much."""
LIMIT_S = 2.0
"""Processor seconds to enumerate one program's states."""
_EXPLAIN_S = 5.0


class How(StrEnum):
    """In what way a program fails."""

    OUTCOME = "outcome"
    """It ended in a state that the model forbids."""
    RECORDED = "recorded"
    """Its recorded events are ordered as the model forbids."""
    STALLED = "stalled"
    """No hart came any further: of the order of memory it says nothing."""
    ENDED = "ended"
    """Its VM ended: by a trap that no program takes, or because a process of the VM died."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A program that did what the model forbids, or did not come to its end.

    Attributes:
        program: the program.
        how: in what way it fails.
        text: what it did, for people: the forbidden outcome or the cycle, where harts stood, how the VM ended.
        condition: for an outcome, the clause of a litmus test that asks for it.

    """

    program: Program
    how: How
    text: str
    condition: str = "forall (true)"

    def litmus(self) -> str:
        """The program as a litmus test."""
        return litmus(self.program, self.condition)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The states that the model allows for a program, as `coordinator.fuzz.arena.state_of` writes them."""

    shown: tuple[str, ...]
    states: frozenset[tuple[str, ...]]


def allowed(program: Program) -> Allowed | None:
    """What the model allows; None if that takes too long to find."""
    try:
        outcome = enumerate_states(parse(litmus(program), f"fuzz{program.seed}"), MODEL, limit_s=LIMIT_S)
    except Timeout:
        return None
    return Allowed(tuple(map(str, outcome.shown)), frozenset(outcome.states))


def judge_outcomes(program: Program, outcomes: Counter[bytes], may: Allowed) -> Failure | None:
    """The most frequent outcome that the model forbids, or None."""
    for outcome, times in outcomes.most_common():
        state = state_of(outcome)
        if state not in may.states:
            what = "; ".join(f"{n}={v}" for n, v in zip(may.shown, state, strict=True))
            condition = " /\\ ".join(f"{n}={v}" for n, v in zip(may.shown, state, strict=True))
            return Failure(
                program,
                How.OUTCOME,
                f"seen {times} times in {outcomes.total()}: {what}\n{_why(program, condition)}",
                f"exists ({condition})",
            )
    return None


def _why(program: Program, condition: str) -> str:
    test = parse(litmus(program, f"exists ({condition})"), f"fuzz{program.seed}")
    found = explain(test, MODEL, parse_proposition(condition, "outcome"), _EXPLAIN_S)
    return explanation_text(found, "this outcome")


def judge_events(program: Program, recorded: Recorded) -> Failure | None:
    """What of a recorded run the model forbids, or None."""
    verdict = judge_recorded(recorded, MODEL)
    if not verdict.forbidden:
        return None
    execution = verdict.recorded.execution
    if verdict.problem is not None:
        at = verdict.problem.identity
        where = f"{event_text(execution, at)}: " if at >= 0 else ""
        return Failure(program, How.RECORDED, where + verdict.problem.text)
    assert verdict.violation is not None
    return Failure(program, How.RECORDED, cycle_text(execution, verdict.violation))
