"""Points on a Dask cluster: one that is there (`tcp://scheduler:8786`), or one of this host's (`local:N`).

Owns the connection. Workers need this package, of the same sources, and nothing else: a point's programs travel as
bytes, and once to each worker. Dask moves the tasks of a killed worker to another; only where that keeps happening to
a task does it come back as lost. What is interrupted is cancelled, but a point that a worker has begun runs to its end
there: Dask cannot stop a task.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import pickle
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from coordinator.batch.plan import engine_identity
from coordinator.batch.task import Task, close_idle, run_here
from coordinator.results.record import PointRecord, Status
from hart.image import Image

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 30.0
AHEAD = 2
"""Tasks that each worker thread has at hand, so that none waits for the next."""


class ClusterError(Exception):
    """The cluster cannot be used; says why."""


def parse_place(text: str) -> str | int:
    """What `--on` says: a scheduler's address, or how many workers of a local cluster.

    Raises:
        ClusterError: neither.

    """
    if match := re.fullmatch(r"local:([1-9]\d{0,3})", text):
        return int(match[1])
    if re.fullmatch(r"(tcp|tls|ws|wss)://[^/\s]+:\d+", text):
        return text
    raise ClusterError(
        f"--on {text}: write tcp://HOST:PORT of a Dask scheduler, or local:N for N workers here"
    )


class DaskCluster:
    """Fulfils `coordinator.batch.drive.Executor` with the workers of a Dask cluster."""

    def __init__(self, place: str | int, images: Mapping[str, bytes]) -> None:
        """Connect to a scheduler, or start a cluster of so many worker processes; `images` as for `LocalPool`.

        Raises:
            ClusterError: Dask is not installed, nobody answers, there is no worker, or one runs other sources.

        """
        try:
            import distributed
        except ImportError:
            raise ClusterError("--on needs Dask: pip install 'hartstorm[cluster]'") from None
        self._images = images
        self._on_cluster: dict[str, Future[Any]] = {}
        self._out: dict[Future[Any], tuple[Task, float]] = {}
        self._attempts = itertools.count()
        self.cluster: Any = None
        """The local cluster; None for one that others started."""
        try:
            if isinstance(place, int):
                self.cluster = distributed.LocalCluster(
                    n_workers=place,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.ERROR,
                )
            self._client: Client = distributed.Client(
                place if self.cluster is None else self.cluster, timeout=CONNECT_S
            )
            self._client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError) as error:
            self._shut()
            raise ClusterError(f"{place}: no Dask worker to be had: {error}") from error
        self._check_engine(str(place))

    def _check_engine(self, place: str) -> None:
        """Refuse workers whose results would be another engine's."""
        try:
            found = self._client.run(engine_identity)
        except Exception as error:  # whatever it raises there, it is raised here
            self._shut()
            raise ClusterError(f"{place}: a worker cannot load hartstorm: {error}") from error
        if different := [worker for worker, engine in found.items() if engine != engine_identity()]:
            self._shut()
            raise ClusterError(f"{place}: other hartstorm sources than here on {', '.join(different)}")

    @property
    def capacity(self) -> int:
        """Tasks to have out: it follows the number of workers."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        threads = sum(int(worker["nthreads"]) for worker in workers.values())
        return max(1, AHEAD * threads)

    def submit(self, task: Task) -> None:
        """Hand a task to the scheduler."""
        for digest in task.images.values():
            if digest not in self._on_cluster:
                # A task, not scattered data: Dask makes it again where a worker took it with it.
                future = self._client.submit(
                    _as_is, self._images[digest], key=f"hartstorm-{digest}", pure=True
                )
                self._on_cluster[digest] = future
        programs = {digest: self._on_cluster[digest] for digest in task.images.values()}
        key = f"hartstorm-point-{task.id}-{next(self._attempts)}"
        self._out[self._client.submit(_run, task, programs, key=key, pure=False)] = (task, time.time())

    def wait(self, timeout_s: float) -> list[PointRecord]:
        """Records of tasks that have ended since; waits for one."""
        import distributed

        try:
            done = distributed.wait(list(self._out), timeout=timeout_s, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return []
        return [self._record(future) for future in done]

    def _record(self, future: Future[Any]) -> PointRecord:
        task, started = self._out.pop(future)
        try:
            record: PointRecord = future.result()
        except Exception as error:  # a killed worker, a lost connection, or what the task raised
            detail = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            return PointRecord(task.id, Status.LOST, detail, started, time.time() - started, "cluster")
        finally:
            future.release()
        return record

    def close(self) -> None:
        """Cancel what has not begun; end a local cluster and all that runs there."""
        self._client.cancel(list(self._out))
        self._out.clear()
        with contextlib.suppress(OSError, TimeoutError):  # the scheduler may be gone
            self._client.run(close_idle)
        self._shut()

    def _shut(self) -> None:
        if hasattr(self, "_client"):
            self._client.close()
        if self.cluster is not None:
            self.cluster.close()


def _as_is(data: bytes) -> bytes:
    return data


@lru_cache(maxsize=64)
def _unpacked(data: bytes) -> Image:
    image: Image = pickle.loads(data)
    return image


def _run(task: Task, programs: Mapping[str, bytes]) -> PointRecord:
    """On a worker: run a task."""
    return run_here(task, lambda digest: _unpacked(programs[digest]))
