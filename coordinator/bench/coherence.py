"""The benchmark of the coherence policies: atomics under contention, beside qemu-riscv64 and native threads.

Owns what is measured and how it is compared; `coordinator.bench.contention` runs it. Rounds of everything are
interleaved, figures are medians over rounds, ratios are medians of each round's ratio: so that what else the host does
hits all alike.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean, median

from bus import policies
from coordinator.bench.contention import (
    WORKLOADS,
    Built,
    Plan,
    Trial,
    build,
    run_guest,
    run_program,
)
from coordinator.bench.kernels import QEMU
from coordinator.bench.tracking import StoreCost, store_costs

HARTS = (1, 2, 4, 8, 16, 64)
MESSENGERS = ("serial", "directory")
"""Policies whose harts talk to the bus."""
MESSAGE_HARTS = (1, 4)
FUSED, UNFUSED = "lrsc", "lrsc-unfused"
ATOMICS = ("amoadd", "amoswap", "amocas", FUSED)
"""Workloads that are one instruction each, or one pair."""
CROWDED = (FUSED, "ttas", "mcs")
"""What many harts on few cores must all finish."""
CROWD = 64
CROWD_LIMIT_S = 10.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Speed:
    """One workload somewhere: operations per second, the slowest worker's share, and whether it stayed right."""

    per_s: float
    slowest_share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload at one number of harts; those of qemu are None where there is none."""

    workload: str
    harts: int
    guest: Speed
    qemu: Speed | None
    native: Speed
    to_qemu: float | None
    to_native: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """One workload under a policy whose harts talk to the bus."""

    policy: str
    workload: str
    harts: int
    per_s: float
    messages_per_s: float
    messages_per_operation: float
    right: bool


@dataclass(frozen=True, slots=True)
class Crowd:
    """The same work done by two harts and by many.

    Attributes:
        finished: whether the many did it within CROWD_LIMIT_S.
        seconds: that they took, beside `pair_seconds` of the two.
        slowest_share: rate of the slowest of the many, by the mean rate.

    """

    workload: str
    harts: int
    operations: int
    pair_seconds: float
    seconds: float
    finished: bool
    slowest_share: float


@dataclass(frozen=True, slots=True)
class CoherenceReport:
    """Everything that was measured, and where; `stores` are `inline`'s, whatever the policy."""

    cores: int
    policy: str
    policy_correct: bool
    comparisons: list[Comparison]
    traffic: list[Traffic]
    crowds: list[Crowd]
    stores: list[StoreCost]


@dataclass(frozen=True, slots=True)
class Summary:
    """Over all comparisons. None without qemu, or where its workload was left out.

    Attributes:
        to_qemu: geometric mean of guest by qemu; lowest_to_qemu the least, with the workload and harts it is of.
        fused_to_native: geometric mean of LR/SC increments that fuse by native compare-and-swap loops;
            unfused_to_native of those that do not.

    """

    to_qemu: float | None
    lowest_to_qemu: tuple[float, str, int] | None
    to_native: float
    fused_to_native: float | None
    unfused_to_native: float | None


class Bench:
    """The programs, built, and where guests keep their native code: warm after `compile_all`."""

    def __init__(self, directory: Path, policy: str) -> None:
        """Build everything in `directory`; raises BenchError."""
        self.policy = policy
        self.built: Built = build(directory)
        self._cache = directory / "objects"

    def guest(
        self, harts: int, plan: Plan, policy: str | None = None, count_messages: bool = False
    ) -> list[Trial]:
        """Run in a VM."""
        return run_guest(
            self.built.guest,
            harts,
            plan,
            policy or self.policy,
            self._cache,
            count_messages=count_messages,
        )

    def qemu(self, harts: int, plan: Plan) -> list[Trial] | None:
        """Run under qemu-riscv64, if there is one."""
        riscv = self.built.riscv
        return None if riscv is None else run_program([QEMU, riscv], harts, plan)

    def native(self, harts: int, plan: Plan) -> list[Trial]:
        """Run natively."""
        return run_program([self.built.native], harts, plan)

    def compile_all(self, workloads: Sequence[str]) -> None:
        """Run each workload once, so that later runs find all native code in the cache."""
        self.guest(1, Plan(tuple(workloads), 0.3, 0.05))


def compare(
    bench: Bench, workloads: Sequence[str], harts: Sequence[int], rounds: int, plan: Plan, report: Report
) -> list[Comparison]:
    """Guest, qemu and native, `rounds` times at each number of harts."""
    plan = replace(plan, workloads=tuple(workloads))
    bench.compile_all(workloads)
    guests: dict[tuple[str, int], list[Trial]] = {}
    qemus: dict[tuple[str, int], list[Trial]] = {}
    natives: dict[tuple[str, int], list[Trial]] = {}
    for turn in range(rounds):
        for n in harts:
            report(f"round {turn + 1} of {rounds}: {n} harts")
            _sort_in(guests, bench.guest(n, plan))
            _sort_in(qemus, bench.qemu(n, plan) or ())
            _sort_in(natives, bench.native(n, plan))
    return [
        _comparison(guests[key], qemus.get(key, []), natives[key])
        for key in ((workload, n) for workload in workloads for n in harts)
    ]


def _sort_in(found: dict[tuple[str, int], list[Trial]], trials: Iterable[Trial]) -> None:
    for trial in trials:
        found.setdefault((trial.workload, trial.workers), []).append(trial)


def _comparison(guest: list[Trial], qemu: list[Trial], native: list[Trial]) -> Comparison:
    return Comparison(
        guest[0].workload,
        guest[0].workers,
        _speed(guest),
        _speed(qemu) if qemu else None,
        _speed(native),
        _ratio(guest, qemu) if qemu else None,
        _ratio(guest, native),
    )


def _speed(trials: list[Trial]) -> Speed:
    return Speed(
        median(t.per_s for t in trials),
        median(t.slowest_share for t in trials),
        all(t.right for t in trials),
    )


def _ratio(ours: list[Trial], theirs: list[Trial]) -> float:
    # A lock that many wait for may not be had once in the time: that counts as once a second.
    return median(max(a.per_s, 1) / max(b.per_s, 1) for a, b in zip(ours, theirs, strict=True))


def traffic(
    bench: Bench, policy: str, workloads: Sequence[str], harts: Sequence[int], plan: Plan, report: Report
) -> list[Traffic]:
    """Each workload in a VM of its own, so that all the VM's messages are its."""
    found = []
    for n in harts:
        report(f"{policy}, {n} harts")
        for workload in workloads:
            alone = replace(plan, workloads=(workload,), batch=1)
            (trial,) = bench.guest(n, alone, policy, count_messages=True)
            rate = trial.messages_per_s
            found.append(
                Traffic(
                    policy,
                    workload,
                    n,
                    trial.per_s,
                    rate,
                    rate / trial.per_s if trial.per_s else 0.0,
                    trial.right,
                )
            )
    return found


def crowd(bench: Bench, workload: str, harts: int, seconds: float, report: Report) -> Crowd:
    """Work that takes two harts about `seconds`, done by them and by `harts`; less if these would reach their limit."""
    report(f"{workload}, {harts} harts and 2")
    warm = Plan((workload,), 0.1, 0.2)
    ((two,), (all_of_them,)) = (bench.guest(n, warm) for n in (2, harts))
    operations = int(min(two.per_s * seconds, all_of_them.per_s * CROWD_LIMIT_S / 2))
    work = replace(warm, operations=operations, measure_s=CROWD_LIMIT_S)
    (pair,) = bench.guest(2, work)
    (many,) = bench.guest(harts, work)
    return Crowd(
        workload,
        harts,
        operations,
        pair.seconds,
        many.seconds,
        many.right and many.operations >= operations - harts,
        many.slowest_share,
    )


def measure(
    workloads: Sequence[str] = WORKLOADS,
    harts: Sequence[int] = HARTS,
    *,
    policy: str = "inline",
    others: Sequence[str] = MESSENGERS,
    rounds: int = 2,
    seconds: float = 0.15,
    report: Report = lambda text: None,
) -> CoherenceReport:
    """Measure everything.

    Raises:
        BenchError: a program does not build or does not end well.

    """
    plan = Plan(warm_up_s=0.1, measure_s=seconds)
    with tempfile.TemporaryDirectory(prefix="hartstorm-bench-") as scratch:
        report("building")
        bench = Bench(Path(scratch), policy)
        comparisons = compare(bench, workloads, harts, rounds, plan, report)
        crowded = [w for w in CROWDED if w in workloads and max(harts) > 2]
        crowds = [crowd(bench, w, max(harts), 1.0, report) for w in crowded]
        message_harts = [n for n in MESSAGE_HARTS if n in harts] or [min(harts)]
        messages = [
            t for other in others for t in traffic(bench, other, workloads, message_harts, plan, report)
        ]
    report("plain stores")
    return CoherenceReport(
        len(os.sched_getaffinity(0)),
        policy,
        policies.policy(policy).correct,
        comparisons,
        messages,
        crowds,
        store_costs(),
    )


def atomics(rounds: int, seconds: float, report: Report = lambda text: None) -> list[Comparison]:
    """The instructions alone, on one hart and on two that contend, under `inline`; raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="hartstorm-bench-") as scratch:
        bench = Bench(Path(scratch), "inline")
        return compare(bench, ATOMICS, (1, 2), rounds, Plan(measure_s=seconds), report)


def summarise(comparisons: Sequence[Comparison]) -> Summary:
    """The means of a table."""
    to_qemu = [(c.to_qemu, c.workload, c.harts) for c in comparisons if c.to_qemu is not None]
    return Summary(
        geometric_mean([ratio for ratio, _, _ in to_qemu]) if to_qemu else None,
        min(to_qemu) if to_qemu else None,
        geometric_mean([c.to_native for c in comparisons]),
        _mean_to_native(comparisons, FUSED),
        _mean_to_native(comparisons, UNFUSED),
    )


def _mean_to_native(comparisons: Sequence[Comparison], workload: str) -> float | None:
    ratios = [c.to_native for c in comparisons if c.workload == workload]
    return geometric_mean(ratios) if ratios else None
