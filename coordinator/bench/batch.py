"""Measures what a batch costs beside its runs: its plan, and each point of a guest that ends at once.

A point's overhead is the wall time of the batch divided by its points: plan, workers, VMs, database and all.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from coordinator.batch.drive import Progress, drive
from coordinator.batch.file import load_batch
from coordinator.batch.plan import make_plan
from coordinator.batch.pool import LocalPool
from coordinator.batch.session import open_session

AIM_POINT_MS = 20.0
AIM_PLAN_S = 2.0
PLAN_POINTS = 10_000
"""The plan that is timed has so many, however many are run."""

_GUEST = '    .include "htif.S"\n    .globl _start\n_start:\n    exit    0\n'
_BATCH = """
name = "overhead"
[vm]
memory = "64KiB"
tier = "interpreter"
guest.source = ["overhead.S"]
[sweep]
seeds = {seeds}
grid.vm.guest.defines.ROW = {{ from = 1, to = {rows} }}
"""
_SEEDS = 100


@dataclass(frozen=True, slots=True)
class BatchOverhead:
    """What a batch of tiny points cost.

    Attributes:
        jobs: points at a time.
        points: how many were run.
        plan_s: making and keeping a plan of `PLAN_POINTS` points, their guests built.
        point_ms: wall time of the run divided by its points.
        first_kib, last_kib: resident memory of the batch and its workers after a tenth of the points and after all.
        failed: points that did not end as expected.

    """

    jobs: int
    points: int
    plan_s: float
    point_ms: float
    first_kib: int
    last_kib: int
    failed: int


def batch_overhead(
    points: int, jobs: int, progress: Callable[[str], None] = lambda what: None
) -> BatchOverhead:
    """Plan `PLAN_POINTS` tiny points, then run `points` (a multiple of 100), `jobs` at a time."""
    with tempfile.TemporaryDirectory(prefix="hartstorm-") as scratch:
        directory = Path(scratch)
        progress(f"plan of {PLAN_POINTS} points")
        begin = time.perf_counter()
        with open_session(make_plan(load_batch(_file(directory, PLAN_POINTS))), directory / "plan"):
            plan_s = time.perf_counter() - begin
        progress(f"{points} points, {jobs} at a time")
        plan = make_plan(load_batch(_file(directory, points)))
        memory: list[int] = []

        with (
            open_session(plan, directory / "run") as (store, total),
            closing(LocalPool(jobs, plan.images)) as pool,
        ):

            def look(at: Progress) -> None:
                if not memory and at.done >= points // 10:
                    memory.append(_resident_kib([os.getpid(), *pool.pids()]))

            begin = time.perf_counter()
            done = drive(store, plan.batch.file.batch, pool, total, look)
            run_s = time.perf_counter() - begin
            memory.append(_resident_kib([os.getpid(), *pool.pids()]))
    return BatchOverhead(jobs, points, plan_s, 1e3 * run_s / points, memory[0], memory[-1], done.failed)


def _file(directory: Path, points: int) -> Path:
    (directory / "overhead.S").write_text(_GUEST)
    file = directory / "overhead.toml"
    file.write_text(_BATCH.format(seeds=_SEEDS, rows=max(1, points // _SEEDS)))
    return file


def _resident_kib(pids: list[int]) -> int:
    """Resident memory of these processes, what they share counted for each."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
