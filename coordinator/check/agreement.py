"""Whether the model's states of litmus tests are those of a log: of herd7, of another model, of another version.

Owns the comparison, its text and its sums. Tests are found in the log by name and hash, for names occur twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from coordinator.check.explain import explain, explanation_text
from coordinator.check.models import Model
from coordinator.litmus.log import Entry
from coordinator.litmus.parser import parse_proposition
from coordinator.litmus.test import LitmusTest
from coordinator.litmus.text import LitmusError

SHOWN = 2
"""States of a difference that are explained, on each side."""
_QUANTILES = (("median", 0.5), ("95 %", 0.95), ("99 %", 0.99), ("longest", 1.0))


@dataclass(frozen=True, slots=True)
class Finding:
    """What the model says of one test.

    Attributes:
        file: the test's file.
        test: its name.
        hash: herd7's hash of it.
        states: the allowed states, as `coordinator.litmus.log.normal_state` writes them.
        seconds: processor seconds that took.

    """

    file: str
    test: str
    hash: str
    states: frozenset[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A test of which model and log differ: the states that only one of them has."""

    finding: Finding
    only_model: tuple[str, ...]
    only_log: tuple[str, ...]


class Reference:
    """The tests of a log."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Take the tests of a log, as `coordinator.litmus.log.read_log` gives them."""
        self._by_name: dict[str, list[Entry]] = {}
        for entry in entries:
            self._by_name.setdefault(entry.name, []).append(entry)

    def entry(self, finding: Finding) -> Entry | None:
        """The log's entry for a test: of its name, and of its hash where one is."""
        named = self._by_name.get(finding.test, [])
        return next((e for e in named if e.hash == finding.hash), named[0] if named else None)


@dataclass(slots=True)
class Agreement:
    """Sums over tests.

    Attributes:
        tests: how many there were, with those that cannot be read.
        findings: those that the model has an answer for.
        compared: those that the log has, too.
        hashes: how many of these have the log's hash.
        differences: those whose states differ.

    """

    reference: Reference
    tests: int = 0
    findings: list[Finding] = field(default_factory=list)
    compared: int = 0
    hashes: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, finding: Finding) -> Difference | None:
        """Compare a test; what differs, if anything does."""
        self.findings.append(finding)
        entry = self.reference.entry(finding)
        if entry is None:
            return None
        self.compared += 1
        self.hashes += entry.hash == finding.hash
        if finding.states == entry.states.keys():
            return None
        found = Difference(
            finding,
            tuple(sorted(finding.states - entry.states.keys())),
            tuple(sorted(entry.states.keys() - finding.states)),
        )
        self.differences.append(found)
        return found

    def lines(self) -> Iterator[str]:
        """The sums for people."""
        equal = self.compared - len(self.differences)
        yield (
            f"{self.tests:,} tests, {len(self.findings):,} enumerated; {self.compared:,} of them are in the log: "
            f"{self.hashes:,} with the same hash, {equal:,} with the same states, {len(self.differences):,} differ"
        )
        if self.findings:
            seconds = sorted(f.seconds for f in self.findings)
            at = (f"{label} {1e3 * seconds[int(q * (len(seconds) - 1))]:.1f} ms" for label, q in _QUANTILES)
            yield f"processor time of a test: {', '.join(at)}; of all {sum(seconds):.1f} s"


def difference_text(difference: Difference, test: LitmusTest, model: Model, limit_s: float) -> str:
    """A difference for people: an execution that reaches each state of the model alone, and what forbids each of the
    log's; not more than SHOWN of each."""
    lines = [f"differs: {difference.finding.file}"]
    for whose, states in (("model", difference.only_model), ("log", difference.only_log)):
        lines += [f"{len(states)} only in the {whose}"] if states else []
        lines += [_why(test, model, state, limit_s) for state in states[:SHOWN]]
    return "\n".join(lines)


def _why(test: LitmusTest, model: Model, state: str, limit_s: float) -> str:
    text = " /\\ ".join(state.split("; "))
    try:
        return explanation_text(explain(test, model, parse_proposition(text, "the state"), limit_s), text)
    except LitmusError as error:  # a value that propositions cannot say, e.g. x+4
        return f"{text}: {error}"
