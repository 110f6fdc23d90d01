"""The verdict on a recorded run: allowed, forbidden and why, or not decided and why not.

Owns the choice among what a read may have seen, and what makes a verdict incomplete. The order is judged by
`coordinator.check.checker`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from coordinator.check.checker import check
from coordinator.check.explain import hart_of
from coordinator.check.models import Model, Violation
from coordinator.check.recorded import Problem, Recorded

TRIES = 64
"""Choices that are tried before a cycle that goes through a read with several counts as real."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check.

    Attributes:
        recorded: the run, with the choices that the verdict is about.
        violation: the cycle that forbids it, if any.
        problem: what forbids it whatever the order, if anything does; the first of `recorded.problems`.
        undecided: why a run that shows no violation is not known to be allowed; empty if it is.

    """

    recorded: Recorded
    violation: Violation | None
    problem: Problem | None
    undecided: str = ""

    @property
    def forbidden(self) -> bool:
        """Whether the model forbids the run."""
        return self.violation is not None or self.problem is not None


def _involved(recorded: Recorded, violation: Violation) -> Iterator[int]:
    """The events of a cycle, and the LRs of its SCs: what those read decides atomicity."""
    execution = recorded.execution
    starts = execution.starts
    for step in violation.cycle:
        yield step.before
        hart = hart_of(execution, step.before)
        pair = execution.harts[hart][step.before - starts[hart]].pair
        if pair >= 0:
            yield starts[hart] + pair


def judge_recorded(recorded: Recorded, model: Model) -> Verdict:
    """Whether the model allows a recorded run.

    A run with reads that may have seen several versions is forbidden only if it is so for every choice that was tried:
    where a cycle goes through such a read, its next choice is tried.
    """
    if recorded.problems:
        return Verdict(recorded, None, recorded.problems[0])
    first: Verdict | None = None
    left = dict(recorded.choices)
    for _ in range(TRIES):
        violation = check(recorded.execution, model)
        if violation is None:
            return Verdict(recorded, None, None)
        first = first or Verdict(recorded, violation, None)
        on_cycle = [i for i in _involved(recorded, violation) if len(left.get(i, ())) > 1]
        if not on_cycle:
            return Verdict(recorded, violation, None)
        left[on_cycle[0]] = left[on_cycle[0]][1:]
        recorded = recorded.with_source(on_cycle[0], left[on_cycle[0]][0])
    assert first is not None
    why = f"{TRIES} choices among versions with equal bytes were tried, each with a cycle; there are more"
    return replace(first, violation=None, undecided=why)
