"""Measures what recording memory events costs: a program's run with it beside its run without, and checking the events.

Owns the programs, which are shipped configurations, and the times, which are those of whole VMs: start, compilation (of
an object cache that is warm) and all. Of runs of two lengths, the difference leaves out what does not grow.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bus.recording_file import read
from coordinator import paths
from coordinator.bench.kernels import BenchError
from coordinator.check.models import RVWMO_RCSC
from coordinator.check.recorded import from_recording
from coordinator.check.verdict import judge_recorded
from coordinator.config.load import Config, open_run
from coordinator.config.settings import parse_setting
from coordinator.guest import build_all
from coordinator.result import Ending
from coordinator.runner import vm_spec
from coordinator.spec import TierName
from coordinator.vm import VirtualMachine
from hart.image import Image

AIM = 10.0
"""A recorded run takes less than so many times as long."""
PROGRAMS = {"quickstart": 20_000, "c-atomics": 8_000}
"""Shipped configurations, with iterations that make more than a million events."""
SHORT = 8
"""The short run has so many times fewer iterations."""
WHERE: tuple[tuple[str, TierName, float], ...] = (
    ("inline", "interpreter", 1),
    ("inline", "t1", SHORT),
    ("inline", "t2", SHORT),
    ("serial", "t2", 1 / 8),
    ("directory", "t2", 1 / 8),
)
"""Policy, tier, and by what the iterations of timed runs are multiplied there: native code makes a million events in
less time than a VM takes to start; with the other policies the bus has a part in each access that harts contend for."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What recording a program cost somewhere.

    Attributes:
        events: how many were recorded and checked, by a run that is not among the timed ones.
        iterations: of the timed runs, for each of the checked one.
        plain_s: median wall time of the run without recording.
        recorded_s: with it.
        plain_grows_s: how much longer than a run of an SHORT-th of the iterations the plain run took.
        recorded_grows_s: likewise.
        megabytes: of the checked file.
        check_s: reading that file and judging it.
        verdict: what the check said: allowed, forbidden or undecided.

    """

    program: str
    policy: str
    tier: str
    harts: int
    events: int
    iterations: float
    plain_s: float
    recorded_s: float
    plain_grows_s: float
    recorded_grows_s: float
    megabytes: float
    check_s: float
    verdict: str

    @property
    def times(self) -> float:
        """How many times as long the recorded run took."""
        return self.recorded_s / self.plain_s

    @property
    def steady_times(self) -> float | None:
        """Likewise of what grows with the iterations; None where the plain run's growth is lost in noise."""
        return self.recorded_grows_s / self.plain_grows_s if self.plain_grows_s > 0 else None


def costs(
    programs: Sequence[str],
    harts: int,
    rounds: int,
    report: Callable[[str], None] = lambda what: None,
    where: Sequence[tuple[str, TierName, float]] = WHERE,
    scale: float = 1.0,
) -> list[Cost]:
    """The cost of recording each program in each place of `where`, `scale` times as many iterations as usual.

    Raises:
        BenchError: a run does not end as it should.

    """
    found = []
    with tempfile.TemporaryDirectory(prefix="hartstorm-bench-") as scratch:
        for program in programs:
            for policy, tier, times in where:
                report(f"{program}, {policy}, {tier}")
                checked = max(SHORT, int(scale * PROGRAMS[program] * min(times, 1)))
                timed = max(checked, int(scale * PROGRAMS[program] * times))
                case = _Case(program, policy, tier, harts, Path(scratch))
                found.append(_cost(case, checked, timed, rounds))
    return found


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True, slots=True)
class _Case:
    program: str
    policy: str
    tier: TierName
    harts: int
    scratch: Path

    @property
    def file(self) -> Path:
        return self.scratch / "run.rec"

    def prepared(self, iterations: int) -> tuple[Config, Image]:
        settings = (
            f"vm.guest.defines.ITERATIONS={iterations}",
            f"vm.harts={self.harts}",
            f"vm.policy={self.policy}",
            f"vm.tier={self.tier}",
            "vm.limits.timeout_s=600",
        )
        config = open_run(
            paths.CONFIGS / f"{self.program}.toml", settings=[parse_setting(s) for s in settings]
        )
        return config, build_all(config)["vm"]

    def run(self, config: Config, image: Image, recorded: bool) -> float:
        """Wall seconds of a VM's life from its start to its end."""
        spec = replace(
            vm_spec("recording", config.run.vms["vm"]),
            record_memory=str(self.file) if recorded else None,
            cache=str(self.scratch / "cache"),
        )
        vm = VirtualMachine(spec)
        try:
            vm.load(image)
            begun = time.perf_counter()
            vm.start()
            result = vm.wait(610)
            seconds = time.perf_counter() - begun
        finally:
            vm.destroy()
        if result is None or result.ending is not Ending.EXIT or result.exit_code:
            what = "no end" if result is None else result.detail
            raise BenchError(f"{self.program} under {self.policy}, {self.tier}: {what}")
        return seconds


def _cost(case: _Case, checked: int, timed: int, rounds: int) -> Cost:
    long, short = case.prepared(timed), case.prepared(timed // SHORT)
    times: dict[tuple[bool, bool], list[float]] = {}
    for turn in range(1 + rounds):
        for recorded in (False, True):
            for is_long, (config, image) in ((False, short), (True, long)):
                seconds = case.run(config, image, recorded)
                if turn:  # the first fills the object cache
                    times.setdefault((is_long, recorded), []).append(seconds)
    took = {key: median(values) for key, values in times.items()}
    case.run(*case.prepared(checked), recorded=True)
    begun = time.perf_counter()
    recording = read(case.file)
    verdict = judge_recorded(from_recording(recording), RVWMO_RCSC)
    check_s = time.perf_counter() - begun
    unsure = verdict.undecided or verdict.recorded.unknown or any(recording.lost) or not recording.complete
    return Cost(
        program=case.program,
        policy=case.policy,
        tier=case.tier,
        harts=case.harts,
        events=sum(map(len, verdict.recorded.execution.harts)),
        iterations=timed / checked,
        plain_s=took[True, False],
        recorded_s=took[True, True],
        plain_grows_s=took[True, False] - took[False, False],
        recorded_grows_s=took[True, True] - took[False, True],
        megabytes=case.file.stat().st_size / 1e6,
        check_s=check_s,
        verdict="forbidden" if verdict.forbidden else "undecided" if unsure else "allowed",
    )
