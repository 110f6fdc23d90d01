"""What the harts counted, in the terms of the test: final states as the model and the logs show them.

Owns the way from the words in a guest's table to states, and the judgement of what was seen against what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coordinator.check.enumerator import Outcome
from coordinator.harness.compile import Compiled
from coordinator.litmus.code import assemble
from coordinator.litmus.condition import State as Values
from coordinator.litmus.condition import compile_proposition
from coordinator.litmus.log import State, Tally
from coordinator.litmus.test import Address, CodeLabel, Location, Value


class Reader:
    """Reads the outcomes of one test."""

    def __init__(self, compiled: Compiled) -> None:
        """For outcomes as `compiled` lays them out."""
        self._compiled = compiled
        test, layout = compiled.test, compiled.layout
        programs = assemble(test, layout.code, layout.bases)

        def resolve(value: Value) -> int:
            match value:
                case Address(of):
                    return layout.address_of(of)
                case CodeLabel(thread, label):
                    return programs[thread].labels[label]
                case _:
                    return value

        self._types = {location: layout.type_of(location) for location in compiled.observed}
        self.shown: tuple[Location, ...] = tuple(test.shown_locations())
        self._holds = compile_proposition(test.condition, self._types, resolve)
        self._passes: Callable[[Values], bool] = (
            compile_proposition(test.filter, self._types, resolve)
            if test.filter is not None
            else lambda values: True
        )

    def states(self, outcomes: Mapping[tuple[int, ...], int]) -> Seen:
        """The states that these outcomes show; those that the test's filter drops do not count."""
        counts: dict[State, int] = {}
        matching: dict[State, bool] = {}
        layout = self._compiled.layout
        for words, count in outcomes.items():
            values = {
                location: self._types[location].convert(self._as_in_model(word))
                for location, word in zip(self._compiled.observed, words, strict=True)
            }
            if not self._passes(values):
                continue
            state = tuple(layout.show(location, values[location]) for location in self.shown)
            counts[state] = counts.get(state, 0) + count
            matching[state] = self._holds(values)
        return Seen(counts, matching)

    def _as_in_model(self, word: int) -> int:
        """The guest's own addresses of data became the model's already; those of code do here."""
        for thread, (begin, size) in enumerate(self._compiled.bodies):
            if begin <= word < begin + size:
                return self._compiled.layout.code[thread] + word - begin
        return word


@dataclass(frozen=True, slots=True)
class Seen:
    """States that were seen: how often, and whether they have the condition's property."""

    counts: Mapping[State, int]
    matching: Mapping[State, bool]

    @property
    def tally(self) -> Tally:
        """How many outcomes have the condition's property, and how many have not."""
        total = sum(self.counts.values())
        matching = sum(count for state, count in self.counts.items() if self.matching[state])
        return Tally(matching, total - matching)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was seen against what a model allows.

    Attributes:
        allowed: states that the model allows.
        seen: how many of them were seen.
        forbidden: states that were seen and are not allowed; unknown, thus none, where `complete` is false.
        target: how many of the allowed states have the condition's property.
        target_seen: how many of those were seen.
        complete: whether the model's states are all known.

    """

    allowed: int
    seen: int
    forbidden: tuple[State, ...]
    target: int
    target_seen: int
    complete: bool


def coverage(seen: Seen, model: Outcome) -> Coverage:
    """Compare states seen with the model's."""
    allowed = dict(zip(model.states, model.matching, strict=True))
    target = {state for state, matches in allowed.items() if matches}
    return Coverage(
        allowed=len(allowed),
        seen=len(allowed.keys() & seen.counts.keys()),
        forbidden=() if model.cut else tuple(sorted(seen.counts.keys() - allowed.keys())),
        target=len(target),
        target_seen=len(target & seen.counts.keys()),
        complete=not model.cut,
    )
