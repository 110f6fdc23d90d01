"""Many litmus tests: which run together in one VM, which process runs them, and what needs not be run again.

Owns the order of work. Tests with as many threads share a VM, which is started once for all of them; with several jobs
each process has its own. Accounts come out as tests end, and what a state file holds is not run again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from coordinator.harness.witness import witness
from coordinator.litmus.parser import NotRiscv, parse
from coordinator.litmus.test import LitmusTest
from coordinator.litmus.text import LitmusError
from coordinator.parent import end_with_parent
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
        recordings: folder to keep recordings of forbidden outcomes in, or None to keep none.

    """

    setting: Setting
    limits: Limits
    model: str = "rvwmo"
    zalasr: str = Zalasr.RCPC.value
    model_s: float = 20.0
    recordings: Path | None = None

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
    """What came of each test, as they end; what is known already is not run again.

    Raises:
        OSError: a file cannot be read, or the host cannot run the VMs.

    """
    made = _batches(files, plan, {account.id: account for account in known})
    if jobs > 1:
        yield from _run_in_processes(made, plan, jobs)
        return
    for ready in made:
        if isinstance(ready, Account):
            yield ready
        else:
            yield from _run_batch(ready, plan)


_Batch = list[_Read]


def _batches(files: Sequence[Path], plan: Plan, known: Mapping[str, Account]) -> Iterator[Account | _Batch]:
    """Tests to run together, as they are read, and the accounts of what is not to be run."""
    begun: dict[int, _Batch] = {}
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        id_ = plan.id_of(text)
        if id_ in known:
            yield replace(known[id_], file=str(file))
            continue
        try:
            read = _Read(id_, str(file), parse(text, str(file)))
        except LitmusError as error:
            if not isinstance(error, NotRiscv):
                yield Account(id_, str(file), Status.REFUSED, str(error))
            continue
        threads = len(read.test.threads)
        batch = begun.setdefault(threads, [])
        batch.append(read)
        if len(batch) == BATCH:
            yield begun.pop(threads)
    yield from begun.values()


def _run_batch(batch: _Batch, plan: Plan, leave: Callable[[], bool] = lambda: False) -> Iterator[Account]:
    """Run tests that have as many threads, in as few VMs as that takes; no more once `leave` says so."""
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
    while at < len(ready) and not leave():
        with Session(program, setting) as session:
            try:
                while at < len(ready):
                    account = run(session, at, ready[at], plan.limits, leave)
                    if leave():
                        return
                    yield _with_witness(account, ready[at], setting, plan)
                    at += 1
            except Broken as broken:
                failed = ready[at]
                at += 1
                test = failed.compiled.test.name
                yield Account(failed.id, failed.file, Status.BROKEN, f"{failed.file}: {broken}", test=test)


def _with_witness(account: Account, ready: Ready, setting: Setting, plan: Plan) -> Account:
    """The account, with what a recorded run shows of its forbidden outcomes."""
    if not account.forbidden:
        return account
    shown = witness(ready.compiled, setting, ready.model, account.forbidden, plan.recordings)
    return replace(account, witness=shown)


def _allowed(test: LitmusTest, model: Model, plan: Plan) -> Outcome | None:
    try:
        return enumerate_states(test, model, limit_s=plan.model_s)
    except Timeout:
        return None


# Several processes


def _run_in_processes(made: Iterator[Account | _Batch], plan: Plan, jobs: int) -> Iterator[Account]:
    context = multiprocessing.get_context("forkserver")
    work: Queue[_Batch | None] = context.Queue()
    results: Queue[Account | None] = context.Queue()
    leave = context.Event()
    workers = [
        context.Process(target=_work, args=(work, results, plan, leave), daemon=True) for _ in range(jobs)
    ]
    for worker in workers:
        worker.start()
    given = 0
    """Batches that are not done."""
    try:
        for ready in made:
            if isinstance(ready, Account):
                yield ready
                continue
            work.put(ready)
            given += 1
            while given > jobs:  # one each, and one that waits
                account = _next(results, workers)
                given -= account is None
                if account is not None:
                    yield account
        while given:
            account = _next(results, workers)
            given -= account is None
            if account is not None:
                yield account
    finally:
        leave.set()
        for _ in workers:
            work.put(None)
        for worker in workers:
            worker.join()


def _next(results: Queue[Account | None], workers: Sequence[ForkServerProcess]) -> Account | None:
    """The next account, or None for the end of a batch."""
    while True:
        try:
            return results.get(timeout=_PATIENCE_S)
        except Empty:
            for worker in workers:
                if worker.exitcode is not None:
                    text = f"a process that runs tests ended with exit code {worker.exitcode}"
                    raise RuntimeError(text) from None


def _work(work: Queue[_Batch | None], results: Queue[Account | None], plan: Plan, leave: Event) -> None:
    """What a worker process does: batches, each followed by None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to handle
    end_with_parent()
    while not leave.is_set() and (batch := work.get()) is not None:
        for account in _run_batch(batch, plan, leave.is_set):
            results.put(account)
        results.put(None)
    results.cancel_join_thread()  # nobody may want the rest


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
