"""Worker processes on this host that run points, one each at a time, and what happens when one dies.

Owns the processes and the pipes to them. A worker stays warm: it keeps its coordinator and every guest it was sent.
When this process ends, however it ends, the kernel kills the workers, and their fork servers clean up after them.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import NoReturn

from coordinator.batch.task import PointRunner, Task
from coordinator.forkserver import end_with_parent
from coordinator.results.record import PointRecord, Status
from hart.image import Image

_BOOT = "import sys; sys.path[:] = {path!r}; from coordinator.batch.pool import main; main({descriptor}, {parent})"
END_PATIENCE_S = 10.0
"""How long workers have to end their VMs when the pool is closed; then they are killed."""


class _Worker:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            boot = _BOOT.format(path=sys.path, descriptor=theirs.fileno(), parent=os.getpid())
            self.process = subprocess.Popen(
                [sys.executable, "-c", boot],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the batch's to handle
            )
        self.pipe = Connection(ours.detach())
        self.task: Task | None = None
        self.started = 0.0
        self.has: set[str] = set()
        """Digests of the programs it was sent."""

    def how_it_ended(self) -> str:
        code = self.process.wait()
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


class LocalPool:
    """Fulfils `coordinator.batch.drive.Executor` with processes of this host."""

    def __init__(self, jobs: int, images: Mapping[str, bytes]) -> None:
        """`images` holds pickled programs by digest; workers are started when there is something to do."""
        self.capacity = jobs
        self._images = images
        self._workers: list[_Worker] = []
        self._lost: list[PointRecord] = []

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def submit(self, task: Task) -> None:
        """Run a task on an idle worker, of which there must be one if all of `capacity` are started."""
        worker = next((w for w in self._workers if w.task is None), None)
        if worker is None:
            worker = _Worker()
            self._workers.append(worker)
        worker.task, worker.started = task, time.time()
        try:
            for digest in task.images.values():
                if digest not in worker.has:
                    worker.has.add(digest)
                    worker.pipe.send((digest, self._images[digest]))
            worker.pipe.send(task)
        except OSError:
            self._bury(worker)

    def wait(self, timeout_s: float) -> list[PointRecord]:
        """Records of tasks that have ended since; waits for one."""
        if self._lost:
            found, self._lost = self._lost, []
            return found
        by_pipe = {worker.pipe: worker for worker in self._workers}
        found = []
        for pipe in wait(list(by_pipe), timeout_s):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                found.append(worker.pipe.recv())
                worker.task = None
            except (EOFError, OSError, pickle.UnpicklingError):
                self._bury(worker)
        lost, self._lost = self._lost, []
        return found + lost

    def close(self) -> None:
        """End all workers and what they run."""
        for worker in self._workers:
            worker.pipe.close()  # which ends an idle one
            if worker.task is not None:
                worker.process.terminate()
        deadline = time.monotonic() + END_PATIENCE_S
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers = []

    def _bury(self, worker: _Worker) -> None:
        """Forget a worker that has died; its task is lost."""
        self._workers.remove(worker)
        worker.pipe.close()
        with suppress(ProcessLookupError):
            worker.process.kill()
        ended = worker.how_it_ended()
        if worker.task is not None:
            name = f"worker {worker.process.pid}"
            wall_s = time.time() - worker.started
            self._lost.append(
                PointRecord(
                    worker.task.id, Status.LOST, f"{name} ended {ended}", worker.started, wall_s, name
                )
            )


def main(descriptor: int, parent: int) -> NoReturn:
    """A worker's main function; `descriptor` is its end of the pipe."""
    end_with_parent(parent)
    signal.signal(signal.SIGTERM, _leave)
    images: dict[str, Image] = {}
    with PointRunner() as points, Connection(descriptor) as pipe, suppress(EOFError, OSError):
        while True:
            message = pipe.recv()
            if isinstance(message, Task):
                pipe.send(points.run(message, images.__getitem__))
            else:
                digest, image = message
                images[digest] = pickle.loads(image)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(0)
