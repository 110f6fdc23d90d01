"""One test on a running VM: run it until enough is seen, compare with the model, say what came of it.

Owns when a test has run for long enough, and the account of it (`Account`), which is what logs, state files and
reports are made of. How many tests there are is `coordinator.harness.campaign`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from coordinator.check.enumerator import Outcome
from coordinator.check.explain import explain, explanation_text
from coordinator.check.models import Model
from coordinator.harness.compile import Compiled
from coordinator.harness.outcomes import Reader, coverage
from coordinator.harness.session import Counts, Session
from coordinator.litmus.hash import hash_of
from coordinator.litmus.log import State, litmus_log, state_text
from coordinator.litmus.parser import parse_proposition
from coordinator.litmus.test import LitmusTest, Location, shown_name
from coordinator.litmus.text import LitmusError

POLL_S = 0.02
"""How often the host looks at a running test."""
EXPLAIN_S = 20.0
"""Processor seconds to find the cycle that forbids an outcome."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a test ends: at the first of these.

    Attributes:
        time_s: seconds.
        iterations: outcomes, or None.
        covered: all states seen that the model allows, or that `seen` lists for the test.
        seen: states by the test's hash that were ever seen, as `coordinator.litmus.log.normal_state` writes them.
        forbidden: an outcome that the model forbids.

    """

    time_s: float = 1.0
    iterations: int | None = None
    covered: bool = False
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)
    forbidden: bool = False


class Status(StrEnum):
    """What came of a test."""

    RAN = "ran"
    REFUSED = "refused"
    """It cannot be read or run; the reason says why."""
    BROKEN = "broken"
    """It ended the VM, or did not end."""


@dataclass(frozen=True, slots=True)
class Account:
    """What came of one test. Plain data: goes between processes and into state files.

    Attributes:
        id: what defines this run of the test, as a hash.
        file: the test's file.
        status: what came of it; all below are empty unless it ran.
        reason: why not, or what is to be said besides.
        test: its name.
        hash: herd7's hash of it.
        threads: how many it has.
        states: each state that was seen, as logs show it, with how often it was.
        outcomes: how many were counted.
        lost: outcomes for which the guest had no room.
        seconds: how long it ran.
        holds: whether the quantified condition held for what was seen.
        complete: whether the model's states are all known.
        allowed: how many states the model allows, and `covered` of them were seen.
        target: how many of them have the condition's property, and `target_seen` of them were seen.
        forbidden: states that were seen and are not allowed, with what forbids them.
        witness: what a recorded run shows of them.
        log: litmus7's log of the test.

    """

    id: str
    file: str
    status: Status
    reason: str = ""
    test: str = ""
    hash: str = ""
    threads: int = 0
    states: dict[str, int] = field(default_factory=dict)
    outcomes: int = 0
    lost: int = 0
    seconds: float = 0.0
    holds: bool = False
    complete: bool = False
    allowed: int = 0
    covered: int = 0
    target: int = 0
    target_seen: int = 0
    forbidden: dict[str, str] = field(default_factory=dict)
    witness: str = ""
    log: str = ""

    @property
    def rate(self) -> float:
        """Outcomes a second."""
        return self.outcomes / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """For state files and `--json`; the constructor takes it back."""
        return asdict(self)


def from_json(data: Mapping[str, Any]) -> Account:
    """The account that `Account.as_json` gave.

    Raises:
        TypeError, ValueError, KeyError: it did not give that.

    """
    return Account(**{**data, "status": Status(data["status"])})


@dataclass(frozen=True, slots=True)
class Ready:
    """A test that is ready to run: compiled, and with what the model allows, if that could be found."""

    id: str
    file: str
    compiled: Compiled
    allowed: Outcome | None
    model: Model


def run(
    session: Session,
    number: int,
    ready: Ready,
    limits: Limits,
    leave: Callable[[], bool] = lambda: False,
) -> Account:
    """Run test `number` of the session's program, until a limit is reached or `leave` says so.

    Raises:
        Broken: it could not be run to its end.

    """
    reader = Reader(ready.compiled)
    session.begin(number)
    began = time.monotonic()
    while not leave() and not _enough(session, reader, ready, limits, time.monotonic() - began):
        time.sleep(min(POLL_S, max(0.0, began + limits.time_s - time.monotonic())))
        session.check()
    counts = session.end()
    seconds = time.monotonic() - began
    return _account(ready, reader, counts, seconds)


def _enough(session: Session, reader: Reader, ready: Ready, limits: Limits, elapsed_s: float) -> bool:
    if elapsed_s >= limits.time_s:
        return True
    if limits.iterations is not None and session.done() >= limits.iterations:
        return True
    if ready.allowed is None or not (limits.covered or limits.forbidden):
        return False
    counts = session.counts()
    seen = reader.states(counts.outcomes)
    if limits.forbidden and coverage(seen, ready.allowed).forbidden:
        return True
    if not limits.covered:
        return False
    wanted = limits.seen.get(hash_of(ready.compiled.test))
    if wanted is None:
        return seen.counts.keys() >= set(ready.allowed.states)
    return {plain_state(reader.shown, state) for state in seen.counts} >= wanted


def plain_state(shown: tuple[Location, ...], state: State) -> str:
    """As `coordinator.litmus.log.normal_state` writes it."""
    return "; ".join(sorted(f"{location}={value}" for location, value in zip(shown, state, strict=True)))


def _account(ready: Ready, reader: Reader, counts: Counts, seconds: float) -> Account:
    test = ready.compiled.test
    seen = reader.states(counts.outcomes)
    tally = seen.tally
    reason = f"the guest had no room for {counts.lost} outcomes" if counts.lost else ""
    account = Account(
        id=ready.id,
        file=ready.file,
        status=Status.RAN,
        reason=reason,
        test=test.name,
        hash=hash_of(test),
        threads=len(test.threads),
        states={state_text(reader.shown, state): count for state, count in sorted(seen.counts.items())},
        outcomes=tally.matching + tally.others,
        lost=counts.lost,
        seconds=round(seconds, 3),
        holds=tally.holds(test.quantifier),
        log=litmus_log(test, reader.shown, seen.counts, seen.matching, seconds),
    )
    if ready.allowed is None:
        return account
    found = coverage(seen, ready.allowed)
    fields = asdict(account) | {
        "complete": found.complete,
        "allowed": found.allowed,
        "covered": found.seen,
        "target": found.target,
        "target_seen": found.target_seen,
        "forbidden": {
            state_text(reader.shown, state): _why(test, ready.model, reader.shown, state)
            for state in found.forbidden
        },
    }
    return Account(**fields)


def _why(test: LitmusTest, model: Model, shown: tuple[Location, ...], state: State) -> str:
    """The cycle that forbids a state, for people."""
    text = " /\\ ".join(
        f"{shown_name(location)}={value}" for location, value in zip(shown, state, strict=True)
    )
    try:
        found = explain(test, model, parse_proposition(text, "the outcome"), EXPLAIN_S)
    except LitmusError as error:  # a value that propositions cannot say, e.g. x+4
        return str(error)
    return explanation_text(found, text)
