"""What became of one point of a batch, as it travels from a worker to the database and back. Data only.

Nothing here refers to the host's processes or files, so a record means the same wherever it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from coordinator.expect import Check as CheckRecord
from coordinator.expression import Value

__all__ = ["CheckRecord", "HartRecord", "PointRecord", "Status", "Value", "VmRecord"]


class Status(Enum):
    """What became of a point; the value is what the database and reports say."""

    OK = "ok"
    """It ran, and met its expectations."""
    FAILED = "failed"
    """It ran, and did not."""
    BUDGET = "budget"
    """It was stopped at its budget of time or operations; its expectations were not judged."""
    REFUSED = "refused"
    """It cannot be run: the coordinator refuses what its configuration asks for."""
    LOST = "lost"
    """Its worker or something else on the host broke, as often as was tried. It runs again with the next resume."""

    @property
    def is_final(self) -> bool:
        """Whether a resumed batch leaves the point alone."""
        return self is not Status.LOST

    @property
    def is_failure(self) -> bool:
        """Whether it counts as a failure of the batch."""
        return self not in (Status.OK, Status.BUDGET)


@dataclass(frozen=True, slots=True)
class HartRecord:
    """One hart of a VM. Atomics and failed SCs by the lower-case names of `bus.access`; `metrics` as declared."""

    hart: int
    ending: str
    instret: int
    run_s: float
    traps: int
    atomics: Mapping[str, int]
    sc_failures: Mapping[str, int]
    metrics: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VmRecord:
    """One VM of a point.

    Attributes:
        name: its name in the run configuration.
        policy, tier, isa, seed: as configured.
        ok: whether every check holds.
        ending, exit_code, detail: how it ended, as in `coordinator.result`.
        wall_s: from the start of its first process to its end, start-up of processes included.
        console: what the guest printed.
        harts: each hart.
        checks: what was expected and seen.
        metrics: the values of `[vm.metrics]`.
        outcome: the values of `[vm.outcome]`, in the order of the config.
        messages: between harts and bus, as in `coordinator.result.VmResult`; None where an older version ran it.

    """

    name: str
    policy: str
    tier: str
    isa: str
    seed: int
    ok: bool
    ending: str
    exit_code: int | None
    detail: str
    wall_s: float
    console: str
    harts: tuple[HartRecord, ...]
    checks: tuple[CheckRecord, ...]
    metrics: Mapping[str, int] = field(default_factory=dict)
    outcome: Mapping[str, int] = field(default_factory=dict)
    messages: int | None = None


@dataclass(frozen=True, slots=True)
class PointRecord:
    """What one attempt at a point came to.

    Attributes:
        id: the point's.
        status: what became of it.
        detail: why, where `status` is no verdict of its checks.
        started: Unix time at its start.
        wall_s: how long the worker had it.
        worker: host and process id of the worker.
        vms: each VM; empty where it could not be run.

    """

    id: str
    status: Status
    detail: str
    started: float
    wall_s: float
    worker: str
    vms: tuple[VmRecord, ...] = ()


def label(parameters: Mapping[str, Value]) -> str:
    """A point's parameters in short: `harts=4 policy=inline`; empty where nothing varies."""
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def describe(record: PointRecord) -> str:
    """Why a point has its status: the first check that fails of each VM, or what kept it from running."""
    return record.detail or first_failures(record.vms)


def first_failures(vms: Iterable[VmRecord]) -> str:
    """The first check that fails of each VM; empty where none does."""
    found = []
    for vm in vms:
        bad = next((check for check in vm.checks if not check.ok), None)
        if bad is not None:
            at = f" ({bad.where})" if bad.where else ""
            found.append(f"{vm.name}: {bad.what}: expected {bad.expected}, seen {bad.seen}{at}")
    return "; ".join(found)
