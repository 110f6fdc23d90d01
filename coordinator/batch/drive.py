"""Drives a batch: hands out the points that are not finished, keeps what comes back, runs again what is marked so.

Owns the decision what runs next and when to stop. Knows neither where points run (`Executor`) nor how it is shown.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.batch.file import Settings
from coordinator.batch.task import Task
from coordinator.results.record import PointRecord, Status, describe, label
from coordinator.results.store import PlannedPoint, Store
from coordinator.runner import Budget

MOST_LOSSES = 10
"""How often in a session a point may lose its worker: what kills each of its workers must not stop the batch."""
RECENT_S, RECENT_POINTS = 30.0, 10
"""The rate is that of so long, or of so many points if that is longer: batches tend to have their slow points last."""
_TICK_S = 0.2


class Executor(Protocol):
    """Where points run."""

    @property
    def capacity(self) -> int:
        """How many tasks to have handed out at a time."""

    def submit(self, task: Task) -> None:
        """Take a task; only while fewer than `capacity` are out."""

    def wait(self, timeout_s: float) -> list[PointRecord]:
        """Records of tasks that have ended since the last call; waits for one. A task that went down with its worker
        has status LOST."""

    def close(self) -> None:
        """End all that runs."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A point that failed, for showing."""

    label: str
    status: Status
    detail: str


@dataclass(slots=True)
class Progress:
    """Where a batch is.

    Attributes:
        total: points of the plan.
        before: how many of them were finished before this session.
        done: how many are finished now.
        running: how many are handed out.
        again: how often a point was handed out once more.
        by_status: of those that are done.
        failures: the last few.
        started: monotonic time of the session's start.

    """

    total: int
    before: int
    done: int
    by_status: dict[Status, int]
    running: int = 0
    again: int = 0
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=8))
    started: float = field(default_factory=time.monotonic)
    _finished: deque[float] = field(default_factory=deque)
    """When recent points were."""

    @property
    def failed(self) -> int:
        """How many points have failed."""
        return sum(count for status, count in self.by_status.items() if status.is_failure)

    def count(self, point: PlannedPoint, record: PointRecord) -> None:
        """A point is finished."""
        self.done += 1
        self._finished.append(time.monotonic())
        while len(self._finished) > 1 + RECENT_POINTS and self._finished[0] < self._finished[-1] - RECENT_S:
            self._finished.popleft()
        self.by_status[record.status] = self.by_status.get(record.status, 0) + 1
        if record.status.is_failure:
            self.failures.append(Failure(label(point.parameters), record.status, describe(record)))

    @property
    def counts(self) -> dict[Status, int]:
        """`by_status`, failures first."""
        order = sorted(Status, key=lambda status: not status.is_failure)
        return {status: self.by_status[status] for status in order if self.by_status.get(status)}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the session's start."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """Points finished per second of late."""
        now, finished = time.monotonic(), self._finished
        since = self.started
        if len(finished) > RECENT_POINTS:
            since = max(since, min(now - RECENT_S, finished[-1 - RECENT_POINTS]))
        return sum(at > since for at in finished) / (now - since) if now > since else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at that rate; None while nothing is known."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


def drive(
    store: Store,
    settings: Settings,
    executor: Executor,
    total: int,
    report: Callable[[Progress], None] = lambda progress: None,
    until_failures: int | None = None,
) -> Progress:
    """Run every point of the plan that is not finished; returns when all are, or `until_failures` have failed.

    `report` is called now and then. Does not close `executor`.
    """
    statuses = store.statuses()
    statuses.pop(Status.LOST, None)
    done = sum(statuses.values())
    progress = Progress(total, done, done, statuses)
    pending = store.pending()
    again: deque[PlannedPoint] = deque()
    out: dict[str, PlannedPoint] = {}
    tries: dict[str, _Tries] = {}
    failures_before = progress.failed
    budget = Budget(settings.time_s, settings.operations)
    while True:
        stop = until_failures is not None and progress.failed - failures_before >= until_failures
        capacity = executor.capacity
        while not stop and len(out) < capacity:
            point = again.popleft() if again else next(pending, None)
            if point is None:
                break
            out[point.id] = point
            executor.submit(Task(point.id, point.config, point.images, budget, settings.warm_ups))
        progress.running = len(out)
        report(progress)
        if not out:
            return progress
        for record in executor.wait(_TICK_S):
            point = out.pop(record.id)
            if tries.setdefault(record.id, _Tries()).allow_another(record, settings):
                store.note_attempt(record)
                again.append(point)
                progress.again += 1
            else:
                store.put(record)
                del tries[record.id]
                progress.count(point, record)


@dataclass(slots=True)
class _Tries:
    """How often a point came back, by whose fault."""

    losses: int = 0
    attempts: int = 0

    def allow_another(self, record: PointRecord, settings: Settings) -> bool:
        if record.status is Status.LOST:
            self.losses += 1
            return self.losses < MOST_LOSSES
        self.attempts += 1
        return self.attempts < settings.attempts and bool(_kinds(record) & {*settings.retry})


def _kinds(record: PointRecord) -> set[str]:
    """What `[batch] retry` may call it."""
    return {record.status.value, *(vm.ending for vm in record.vms if not vm.ok)}
