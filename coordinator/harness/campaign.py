"""Many litmus tests: which run together in one VM, which process runs them, and what needs not be run again.

Owns the order of work. Tests with as many threads share a VM, which is started once for all of them; with several jobs
each process has its own. Accounts come out as tests end, and what a state file holds is not run again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Any

import bus
import hart
from coordinator.check.enumerator import Outcome, Timeout, enumerate_states
from coordinator.check.models import Model, Zalasr, model_named
from coordinator.harness.compile import Unsupported
from coordinator.harness.experiment import Account, Limits, Ready, Status, from_json, run
from coordinator.harness.program import Program
from coordinator.harness.session import Broken, Session, Setting
from coordinator.litmus.parser import NotRiscv, parse
from coordinator.litmus.test import LitmusTest
from coordinator.litmus.text import LitmusError
from hart.sources import sources_digest

BATCH = 32
"""Tests that share a VM."""
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How tests are run.

    Attributes:
        setting: on what; `harts` 0 stands for as many as a test has threads.
        limits: for how long.
        model: name of the memory model that judges.
        zalasr: how it reads plain loads and stores with aq or rl.
        model_s: processor seconds to find what it allows for one test.

    """

    setting: Setting
    limits: Limits
    model: str = "rvwmo"
    zalasr: str = Zalasr.RCPC.value
    model_s: float = 20.0

    def id_of(self, text: str) -> str:
        """What a test's account is kept under: the hash of its text, of all that decides how it is run, and of the
        sources of what runs it.
        """
        limits = (self.limits.time_s, self.limits.iterations, self.limits.covered)
        parts = (text, self.setting, limits, self.model, self.zalasr, sources_digest((bus, hart)))
        return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Read:
    """A test that was read."""

    id: str
    file: str
    test: LitmusTest


# Running


def accounts(
    files: Sequence[Path], plan: Plan, jobs: int, known: Iterable[Account] = ()
) -> Iterator[Account]:
    """What came of each test, as they end; first what is known already, which is not run again.

    Raises:
        OSError: a file cannot be read, or the host cannot run the VMs.

    """
    done = {account.id: account for account in known}
    batches: dict[int, list[_Read]] = {}
    full: list[list[_Read]] = []
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        id_ = plan.id_of(text)
        if id_ in done:
            yield replace(done[id_], file=str(file))
            continue
        try:
            read = _Read(id_, str(file), parse(text, str(file)))
        except LitmusError as error:
            if not isinstance(error, NotRiscv):
                yield Account(id_, str(file), Status.REFUSED, str(error))
            continue
        batch = batches.setdefault(len(read.test.threads), [])
        batch.append(read)
        if len(batch) == BATCH:
            full.append(batches.pop(len(read.test.threads)))
    full += batches.values()
    if jobs == 1 or len(full) < 2:
        for batch in full:
            yield from _run_batch(batch, plan)
    else:
        yield from _run_in_processes(full, plan, jobs)


def _run_batch(batch: Sequence[_Read], plan: Plan) -> Iterator[Account]:
    """Run tests that have as many threads, in as few VMs as that takes."""
    model = model_named(plan.model, Zalasr(plan.zalasr))
    threads = len(batch[0].test.threads)
    setting = replace(plan.setting, harts=plan.setting.harts or threads)
    program = Program()
    ready: list[Ready] = []
    for read in batch:
        try:
            if setting.harts < threads:
                raise Unsupported(f"{threads} threads, more than the {setting.harts} harts")
            if not program.add(read.test):
                raise Unsupported("no room for its code beside the other tests")
            ready.append(
                Ready(read.id, read.file, program.tests[-1], _allowed(read.test, model, plan), model)
            )
        except (LitmusError, Unsupported) as error:
            if len(program.tests) > len(ready):
                program.tests.pop()
            text = str(error)
            yield Account(
                read.id, read.file, Status.REFUSED, text if read.file in text else f"{read.file}: {text}"
            )
    at = 0
    while at < len(ready):
        with Session(program, setting) as session:
            try:
                while at < len(ready):
                    yield run(session, at, ready[at], plan.limits)
                    at += 1
            except Broken as broken:
                failed = ready[at]
                at += 1
                test = failed.compiled.test.name
                yield Account(failed.id, failed.file, Status.BROKEN, f"{failed.file}: {broken}", test=test)


def _allowed(test: LitmusTest, model: Model, plan: Plan) -> Outcome | None:
    try:
        return enumerate_states(test, model, limit_s=plan.model_s)
    except Timeout:
        return None


# Several processes


def _run_in_processes(batches: Sequence[Sequence[_Read]], plan: Plan, jobs: int) -> Iterator[Account]:
    context = multiprocessing.get_context("forkserver")
    work: Queue[Sequence[_Read] | None] = context.Queue()
    made: Queue[Account | None] = context.Queue()
    leave = context.Event()
    for batch in batches:
        work.put(batch)
    workers = [
        context.Process(target=_work, args=(work, made, plan, leave), daemon=True)
        for _ in range(min(jobs, len(batches)))
    ]
    for worker in workers:
        work.put(None)
        worker.start()
    left = len(workers)
    try:
        while left:
            try:
                account = made.get(timeout=_PATIENCE_S)
            except Empty:
                _look_for_dead(workers)
                continue
            if account is None:
                left -= 1
            else:
                yield account
    finally:
        leave.set()  # after the test that each is at
        for worker in workers:
            worker.join()


def _look_for_dead(workers: Sequence[ForkServerProcess]) -> None:
    for worker in workers:
        if worker.exitcode:
            raise RuntimeError(f"a process that runs tests ended with exit code {worker.exitcode}")


def _work(work: Queue[Sequence[_Read] | None], made: Queue[Account | None], plan: Plan, leave: Event) -> None:
    """What a worker process does."""
    while not leave.is_set() and (batch := work.get()) is not None:
        for account in _run_batch(batch, plan):
            made.put(account)
            if leave.is_set():
                break
    work.cancel_join_thread()
    made.put(None)


# State files


def known_accounts(file: Path) -> list[Account]:
    """The accounts of a state file; a line that a kill has torn is left out.

    Raises:
        OSError: it cannot be read.

    """
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            data: dict[str, Any] = json.loads(line)
            found.append(from_json(data))
        except (ValueError, TypeError, KeyError):
            continue
    return found
