"""Runs one point of a batch and makes its record. Knows neither where it runs nor what comes next.

A process that runs points keeps one coordinator, with its fork server, for all of them: starting those takes longer
than a short run does. The points' own processes are used again where they can be (`coordinator.forkserver`).
"""

from __future__ import annotations

import errno
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from bus.access import AtomicKind, ScFailure
from coordinator import runner
from coordinator.config.model import Run
from coordinator.control.client import ControlClient
from coordinator.launch import LaunchError, keep_processes
from coordinator.local import local_coordinator
from coordinator.outcome import Outcome
from coordinator.refusal import Refusal
from coordinator.result import HartResult
from coordinator.results.record import HartRecord, PointRecord, Status, VmRecord
from hart.image import Image

MOST_CONSOLE = 1 << 16
"""Characters of a guest's output that a record keeps: the first half and the last of what is longer."""

MOST_KEPT = 65
"""Processes that wait for the next point: a bus and as many harts as most points have at most."""

_HOST_ERRORS = {
    errno.EIO,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESHUTDOWN,
}
"""Refusals for which the host is to blame, not the configuration: another try may go well."""


@dataclass(frozen=True, slots=True)
class Task:
    """A point to run: its id, its run configuration as JSON, the digest of each VM's program, its budget, how many runs
    go before it if nothing like it has run here yet."""

    id: str
    config: str
    images: Mapping[str, str]
    budget: runner.Budget = field(default_factory=runner.Budget)
    warm_ups: int = 0


class PointRunner:
    """A coordinator that stays, for one thread at a time. A context manager; started by the first task."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._client: ControlClient | None = None
        self._worker = f"{platform.node()}:{os.getpid()}"

    def __enter__(self) -> PointRunner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the coordinator and all it runs."""
        self._client = None
        self._stack.close()

    def run(self, task: Task, image: Callable[[str], Image]) -> PointRecord:
        """Run a task; `image` gives a program by its digest. Never raises for what a run can come to."""
        started, begin = time.time(), time.monotonic()
        status, detail = Status.LOST, ""
        vms: tuple[VmRecord, ...] = ()
        try:
            config = Run.model_validate_json(task.config)
            programs = {name: image(digest) for name, digest in task.images.items()}
            self._warm_up(task, config, programs)
            outcomes = runner.run(config, programs, self._coordinator(), budget=task.budget)
            vms = tuple(map(vm_record, outcomes))
            status = Status.OK if all(vm.ok for vm in vms) else Status.FAILED
            if status is Status.OK and (over := [o.over_budget for o in outcomes if o.over_budget]):
                status, detail = Status.BUDGET, over[0]
        except Refusal as refusal:
            status = Status.LOST if refusal.number in _HOST_ERRORS else Status.REFUSED
            detail = str(refusal)
        except (OSError, LaunchError) as error:
            detail = f"{type(error).__name__}: {error}"
        if status is Status.LOST:
            self.close()  # what is broken is replaced for the next task
        return PointRecord(task.id, status, detail, started, time.monotonic() - begin, self._worker, vms)

    def _warm_up(self, task: Task, config: Run, programs: Mapping[str, Image]) -> None:
        if not task.warm_ups:
            return
        vms = {name: vm.model_dump_json(exclude={"seed"}) for name, vm in config.vms.items()}
        alike = repr((sorted(vms.items()), sorted(task.images.items())))
        if alike not in _warmed:
            for _ in range(task.warm_ups):
                runner.run(config, programs, self._coordinator(), budget=task.budget)
            _warmed.add(alike)

    def _coordinator(self) -> ControlClient:
        if self._client is None:
            keep_processes(MOST_KEPT)
            self._client = self._stack.enter_context(local_coordinator())
        return self._client


_warmed: set[str] = set()
"""Configurations and programs, but for seeds, that this process has run."""
_idle: list[PointRunner] = []
_lock = threading.Lock()


def run_here(task: Task, image: Callable[[str], Image]) -> PointRecord:
    """Run a task with a coordinator that this process keeps for the next one, in whichever thread."""
    with _lock:
        points = _idle.pop() if _idle else PointRunner()
    try:
        return points.run(task, image)
    finally:
        with _lock:
            _idle.append(points)


def close_idle() -> None:
    """End the coordinators that `run_here` keeps and that run nothing now."""
    with _lock:
        while _idle:
            _idle.pop().close()


def vm_record(outcome: Outcome) -> VmRecord:
    """What became of a VM, as the database keeps it."""
    result = outcome.result
    return VmRecord(
        name=outcome.name,
        policy=outcome.vm.policy,
        tier=outcome.vm.tier,
        isa=outcome.isa,
        seed=outcome.vm.seed,
        ok=outcome.verdict.ok,
        ending=result.ending.value,
        exit_code=result.exit_code,
        detail=result.detail,
        wall_s=result.wall_s,
        console=_shortened(result.console.decode(errors="replace")),
        harts=tuple(_hart(hart, outcome.measured.by_hart.get(hart.hart, {})) for hart in result.harts),
        checks=outcome.verdict.checks,
        metrics=outcome.measured.metrics,
        outcome=outcome.measured.outcome,
        messages=result.messages,
    )


def _hart(hart: HartResult, metrics: Mapping[str, int]) -> HartRecord:
    return HartRecord(
        hart=hart.hart,
        ending=hart.ending.value,
        instret=hart.instret,
        run_s=hart.wall_s,
        traps=hart.traps_taken,
        atomics={AtomicKind(kind).name.lower(): n for kind, n in sorted(hart.atomics.items())},
        sc_failures={ScFailure(cause).name.lower(): n for cause, n in sorted(hart.sc_failures.items())},
        metrics=metrics,
    )


def _shortened(text: str) -> str:
    if len(text) <= MOST_CONSOLE:
        return text
    half = MOST_CONSOLE // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
