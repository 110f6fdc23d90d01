"""A fuzzing campaign: programs from seeds, run under policies and tiers, until time is up or something fails.

Owns the loop, its arenas and its statistics. A program goes to one combination of policy and tier, in turn; there it
runs unrecorded, its outcomes compared with the states that the model allows, and recorded, its events checked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bus.policies import NAMES, policy
from coordinator.fuzz.arena import Arena, ArenaError, Stalled
from coordinator.fuzz.classics import CLASSICS
from coordinator.fuzz.judge import Failure, How, allowed, judge_events, judge_outcomes
from coordinator.fuzz.program import Program, make
from coordinator.fuzz.shrink import shrink
from coordinator.spec import TierName, tier_problem

TIERS: tuple[TierName, ...] = ("interpreter", "t1", "t2")
SLOW_INSTANCES = 30
"""Instances of a program where accesses are interpreted or go to the bus."""
FAST_INSTANCES = 600
RECORDED_INSTANCES = 200
"""At most, where events are recorded and checked; enough for native code to be compiled and used."""
_ATTEMPTS = 4
"""Runs after which a smaller program counts as not failing."""


@dataclass(frozen=True, slots=True)
class Combination:
    """Where programs run."""

    policy: str
    tier: TierName

    @property
    def instances(self) -> int:
        """How many instances a run has."""
        chosen = policy(self.policy)
        slow = self.tier == "interpreter" or chosen.total_order or chosen.owned
        return SLOW_INSTANCES if slow else FAST_INSTANCES


def combinations(policies: tuple[str, ...] = (), tiers: tuple[TierName, ...] = ()) -> tuple[Combination, ...]:
    """Every combination of these that there is; by default of all correct policies and all tiers."""
    names = policies or tuple(n for n in NAMES if policy(n).correct)
    return tuple(
        Combination(name, tier)
        for name in names
        for tier in tiers or TIERS
        if tier_problem(tier, name) is None
    )


@dataclass(slots=True)
class Statistics:
    """What a campaign did.

    Attributes:
        programs: how many ran.
        instances: how often their code ran.
        events: recorded events that were checked.
        outcomes: distinct outcomes seen, added up over the programs.
        states: states that the model allows, likewise.
        undecided: programs whose states took too long to find.
        covered: operations and features that ran.
        seconds: how long it took.

    """

    programs: int = 0
    instances: int = 0
    events: int = 0
    outcomes: int = 0
    states: int = 0
    undecided: int = 0
    covered: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Statistics) -> None:
        """Add another campaign's."""
        for name in ("programs", "instances", "events", "outcomes", "states", "undecided"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.covered += other.covered
        self.seconds = max(self.seconds, other.seconds)


@dataclass(frozen=True, slots=True)
class Found:
    """A failure, where it was found and shrunk."""

    combination: Combination
    original: int
    failure: Failure

    @property
    def rerun(self) -> str:
        """The command that runs the original program again."""
        c = self.combination
        return (
            f"hartstorm fuzz memory --seed {self.original} --programs 1 --policy {c.policy} --tier {c.tier}"
        )


def program_of(seed: int) -> Program:
    """The program of a seed: the first seeds have the classics."""
    return CLASSICS[seed] if seed < len(CLASSICS) else make(seed)


class Campaign:
    """Arenas for some combinations, and what was done in them. Use as a context manager.

    Attributes:
        statistics: what was done so far.
        stopped: whether to end soon: after the run of a program, or of a smaller one while one is shrunk.

    """

    def __init__(self, wanted: tuple[Combination, ...], cache: str | None = None) -> None:
        """`cache` is the directory of the object cache, or None for the user's."""
        self._wanted = wanted
        self._cache = cache
        self._arenas: dict[tuple[Combination, bool], Arena] = {}
        self.statistics = Statistics()
        self.stopped = False

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        for arena in self._arenas.values():
            arena.close()

    def run(
        self,
        seeds: Iterator[int],
        time_s: float | None,
        report: Callable[[Statistics], None] = lambda statistics: None,
        shrink_s: float = 30.0,
    ) -> Found | None:
        """Run programs until one fails, `seeds` end, time is up or `stopped` is set."""
        begun = time.monotonic()
        for number, seed in enumerate(seeds):
            if self.stopped or (time_s is not None and time.monotonic() - begun > time_s):
                break
            combination = self._wanted[number % len(self._wanted)]
            program = program_of(seed)
            failure = self.attempt(program, combination)
            self.statistics.seconds = time.monotonic() - begun
            if failure is not None:
                return Found(combination, seed, self._shrunk(failure, combination, shrink_s))
            report(self.statistics)
        return None

    def _shrunk(self, failure: Failure, combination: Combination, limit_s: float) -> Failure:
        """The smallest program found that fails in the same way."""

        def attempt(program: Program) -> Failure | None:
            for _ in range(_ATTEMPTS):
                found = None if self.stopped else self.attempt(program, combination)
                if found is not None and found.how is failure.how:
                    return found
            return None

        return shrink(failure, attempt, limit_s)

    def attempt(self, program: Program, combination: Combination) -> Failure | None:
        """Run a program in one combination, unrecorded and recorded."""
        try:
            return self._outcomes(program, combination) or self._events(program, combination)
        except ArenaError as error:
            for record in (False, True):
                arena = self._arenas.pop((combination, record), None)
                if arena is not None:
                    arena.close()
            return Failure(program, How.STALLED if isinstance(error, Stalled) else How.ENDED, str(error))

    def _outcomes(self, program: Program, combination: Combination) -> Failure | None:
        statistics = self.statistics
        ran = self._arena(combination, record=False).run(program, combination.instances)
        statistics.programs += 1
        statistics.instances += combination.instances
        statistics.covered.update(program.kinds())
        may = allowed(program)
        if may is None:
            statistics.undecided += 1
            return None
        statistics.outcomes += len(ran.outcomes)
        statistics.states += len(may.states)
        return judge_outcomes(program, ran.outcomes, may)

    def _events(self, program: Program, combination: Combination) -> Failure | None:
        instances = min(combination.instances, RECORDED_INSTANCES)
        ran = self._arena(combination, record=True).run(program, instances)
        assert ran.recorded is not None
        self.statistics.instances += instances
        self.statistics.events += sum(map(len, ran.recorded.execution.harts))
        return judge_events(program, ran.recorded)

    def _arena(self, combination: Combination, *, record: bool) -> Arena:
        key = combination, record
        if key not in self._arenas:
            self._arenas[key] = Arena(combination.policy, combination.tier, record=record, cache=self._cache)
        return self._arenas[key]
