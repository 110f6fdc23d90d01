"""Logs of litmus tests, as herd7 writes them for models and litmus7 for runs; mcompare7 and its kin read both.

Owns the two formats, in both directions for what they share: name, states and their counts, hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coordinator.litmus.condition import proposition_text
from coordinator.litmus.hash import hash_of
from coordinator.litmus.test import LitmusTest, Location, Quantifier, shown_name

State = tuple[str, ...]
"""The values of a state, in the order of the shown locations."""


def state_text(shown: Sequence[Location], state: State) -> str:
    """One state, e.g. `0:x5=1; [x]=2;`."""
    return " ".join(f"{shown_name(x)}={v};" for x, v in zip(shown, state, strict=True))


@dataclass(frozen=True, slots=True)
class Tally:
    """How often what was seen, as both formats summarise it.

    Attributes:
        matching: states, or outcomes of a run, that have the condition's property.
        others: those that do not.

    """

    matching: int
    others: int

    @property
    def observation(self) -> str:
        """Never, Sometimes or Always."""
        if not self.matching:
            return "Never"
        return "Sometimes" if self.others else "Always"

    def holds(self, quantifier: Quantifier) -> bool:
        """Whether the quantified condition holds."""
        match quantifier:
            case Quantifier.EXISTS:
                return self.matching > 0
            case Quantifier.NOT_EXISTS:
                return self.matching == 0
            case Quantifier.FORALL:
                return self.others == 0

    def witnesses(self, quantifier: Quantifier) -> tuple[int, int]:
        """Positive and negative witnesses: for `~exists`, a positive one lacks the property."""
        negated = quantifier is Quantifier.NOT_EXISTS
        return (self.others, self.matching) if negated else (self.matching, self.others)


def _condition(test: LitmusTest) -> str:
    return f"{test.quantifier.value} ({proposition_text(test.condition)})"


def herd_log(
    test: LitmusTest, shown: Sequence[Location], states: Iterable[State], tally: Tally, seconds: float
) -> str:
    """A model's result in herd7's format, without the blank line that separates it from the next."""
    lines = [state_text(shown, s) for s in states]
    positive, negative = tally.witnesses(test.quantifier)
    return "\n".join(
        [
            f"Test {test.name} {test.quantifier.kind}",
            f"States {len(lines)}",
            *lines,
            "Ok" if tally.holds(test.quantifier) else "No",
            "Witnesses",
            f"Positive: {positive} Negative: {negative}",
            f"Condition {_condition(test)}",
            f"Observation {test.name} {tally.observation} {tally.matching} {tally.others}",
            f"Time {test.name} {seconds:.2f}",
            f"Hash={hash_of(test)}",
            "",
        ]
    )


def litmus_log(
    test: LitmusTest,
    shown: Sequence[Location],
    counts: Mapping[State, int],
    matching: Mapping[State, bool],
    seconds: float,
) -> str:
    """A run's outcomes in litmus7's format: a histogram, and what it says of the condition."""
    tally = Tally(
        sum(n for s, n in counts.items() if matching[s]), sum(n for s, n in counts.items() if not matching[s])
    )
    positive, negative = tally.witnesses(test.quantifier)
    holds = tally.holds(test.quantifier)
    # The star marks what the quantifier asks about: for forall, the states that break it.
    marked = test.quantifier is not Quantifier.FORALL
    lines = [
        f"{n:<8}{'*' if matching[s] is marked else ':'}>{state_text(shown, s)}"
        for s, n in sorted(counts.items())
    ]
    return "\n".join(
        [
            f"Test {test.name} {test.quantifier.kind}",
            f"Histogram ({len(lines)} states)",
            *lines,
            "Ok" if holds else "No",
            "",
            "Witnesses",
            f"Positive: {positive}, Negative: {negative}",
            f"Condition {_condition(test)} is {'' if holds else 'NOT '}validated",
            f"Hash={hash_of(test)}",
            *(
                f"{key}={value}"
                for key, value in test.metadata
                if key in ("Cycle", "Safe", "Generator", "Com", "Orig")
            ),
            f"Observation {test.name} {tally.observation} {tally.matching} {tally.others}",
            f"Time {test.name} {seconds:.2f}",
            "",
        ]
    )


# Reading


@dataclass(frozen=True, slots=True)
class Entry:
    """One test of a log.

    Attributes:
        name: the test.
        states: how often each state was seen, 1 for a model; a state is its items without brackets, sorted and
            joined by `; `.
        hash: its hash, if the log gives one.

    """

    name: str
    states: Mapping[str, int]
    hash: str | None


_TEST = re.compile(r"^Test (\S+) (?:Allow(?:ed)?|Forbid(?:den)?|Required?)\s*$")
_COUNT = re.compile(r"^(\d+)\s*[:*]>")
_COUNTED = re.compile(r"^(?:States \d+|Histogram \(\d+ states\))\s*$")
_END = re.compile(r"^(?:Ok|No|Undef)\b")


def normal_state(text: str) -> str:
    """A state's items without brackets, sorted, so that states of different tools compare."""
    items = (item.strip() for item in text.split(";"))
    return "; ".join(sorted(re.sub(r"^\[(.*)\]=", r"\1=", i) for i in items if i))


def read_log(lines: Iterable[str]) -> Iterator[Entry]:
    """The tests of a herd7 or litmus7 log; what else the log holds is skipped."""
    name: str | None = None
    states: dict[str, int] = {}
    found_hash: str | None = None
    inside = False
    for raw in lines:
        line = raw.rstrip()
        if match := _TEST.match(line):
            if name is not None:
                yield Entry(name, states, found_hash)
            name, states, found_hash, inside = match[1], {}, None, False
        elif name is None:
            continue
        elif _COUNTED.match(line):
            inside = True
        elif _END.match(line):
            inside = False
        elif inside:
            count = _COUNT.match(line)
            state = normal_state(line[count.end() :] if count else line)
            states[state] = states.get(state, 0) + (int(count[1]) if count else 1)
        elif line.startswith("Hash="):
            found_hash = line.removeprefix("Hash=")
    if name is not None:
        yield Entry(name, states, found_hash)
