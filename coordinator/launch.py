"""Starting bus, hart and helper processes, and making sure that nothing outlives the coordinator.

Owns the connection to the fork server (`coordinator.forkserver`) and the coordinator's view of one process. Knows
nothing of VMs.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

_BOOT = "import sys; sys.path[:] = {path!r}; from coordinator.forkserver import main; main({descriptor})"
_KILLED = -int(signal.SIGKILL)
EXIT_PATIENCE_S = 2.0
"""How long the coordinator's own exit waits for what it started to be gone."""


class LaunchError(OSError):
    """The fork server has ended: no process can be started or kept."""


class Process:
    """A started process. Use from one thread but for `has_ended`; `close` it in the end.

    With `keep_processes` its end may be that of its work alone.
    """

    def __init__(self, name: str, job: int, pipe: int, server: _Connection) -> None:
        """`job` is its number with the server, `pipe` the read end of its report pipe."""
        self.name = name
        self.pid = 0
        """Process id, after `started`; 0 if it could not be started."""
        self.exit_code: int | None = None
        """Once it has ended: its exit code, or minus the signal that ended it."""
        self._job = job
        self._pipe = pipe
        self._server = server
        self._refused = 0

    def started(self) -> Process:
        """Wait until it has a process id; call it once."""
        report = self._read()
        if report is None:
            self.exit_code = _KILLED
        elif report < 0:
            self._refused = -report
            self.exit_code = 1
        else:
            self.pid = report
        return self

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._pipe

    def has_ended(self) -> bool:
        """Whether it has; any thread."""
        return self.exit_code is not None or bool(wait([self], 0))

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; whether it came in time."""
        if self.exit_code is None:
            if not wait([self], timeout_s):
                return False
            report = self._read()
            self.exit_code = (
                _KILLED if report is None else report
            )  # the fork server takes its children with it
        return True

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self.exit_code is None:
            with contextlib.suppress(LaunchError):
                self._server.send(("signal", self._job, int(signal.SIGKILL)))

    def how_it_ended(self) -> str:
        """For people; once it has ended."""
        if self._refused:
            return f"before it began ({os.strerror(self._refused)})"
        code = self.exit_code or 0
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def close(self) -> None:
        """Forget it; after its end."""
        os.close(self._pipe)

    def _read(self) -> int | None:
        data = os.read(self._pipe, 8)
        return int.from_bytes(data, sys.byteorder, signed=True) if data else None


class _Connection:
    """The coordinator's end of the fork server's socket."""

    def __init__(self) -> None:
        """Start a fork server; it gets ready while the caller goes on."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self.jobs = itertools.count()
        """Numbers for them."""
        with theirs:
            # Without `site`, which looks for what `sys.path` says already: that would be a tenth of the server's start.
            path = [*sys.path, str(Path(__file__).parents[1])]
            boot = _BOOT.format(path=path, descriptor=theirs.fileno())
            self._server = subprocess.Popen(
                [sys.executable, "-S", "-c", boot],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the coordinator's to handle
            )

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return self._server.poll() is None

    def send(self, message: tuple[object, ...], files: Iterable[int] = ()) -> None:
        """Raises LaunchError if the fork server has ended."""
        data = pickle.dumps(message)
        try:
            with self._lock:
                socket.send_fds(self._socket, [data], list(files))
        except (BrokenPipeError, ConnectionResetError):
            raise LaunchError("the fork server has ended") from None

    def close(self, patience_s: float) -> None:
        """Let go of it, and wait for its end for so long."""
        self._socket.close()
        if patience_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(patience_s)


_connection: _Connection | None = None
_lock = threading.Lock()
_held: set[tuple[str, str]] = set()
_kept = 0


def _connected() -> _Connection:
    global _connection  # noqa: PLW0603 - one fork server per process
    with _lock:
        if _connection is None or not _connection.alive:
            _connection = _Connection()
            if _kept:
                _connection.send(("keep", _kept))
            for held in _held:
                _connection.send(("hold", *held))
        return _connection


def _after_fork() -> None:
    global _connection, _lock, _kept  # noqa: PLW0603
    _lock = threading.Lock()
    _kept = 0
    if _connection is not None:
        _connection.close(0)
        _connection = None
        _held.clear()


def _at_exit() -> None:
    if _connection is not None:
        _connection.close(EXIT_PATIENCE_S)


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)


def prepare() -> None:
    """Have the fork server get ready: the first process then starts sooner."""
    _connected()


def keep_processes(most: int) -> None:
    """From now on, keep up to so many processes that have done their work and can do other work, and use them for it.

    Whoever starts short runs one after the other saves most of what they cost: see `coordinator.forkserver`, which also
    says why nothing gets from one run into the next.
    """
    global _kept  # noqa: PLW0603 - one fork server per process
    connection = _connected()
    if most != _kept:
        _kept = most
        connection.send(("keep", most))


def keeps_processes() -> bool:
    """Whether it is worth asking a process to end by itself, rather than killing it."""
    return _kept > 0


def launch(target: Callable[..., object], spec: object, name: str, files: Sequence[int] = ()) -> Process:
    """Start a process that runs `target(spec, *files)`; `target` is a module's function, `spec` can be pickled.

    The process has the files under other numbers, which `target` is given. If it returns true, the process may be used
    again where `keep_processes` was called. Returns at once. Raises LaunchError if the fork server is killed meanwhile.
    """
    server = _connected()
    job = next(server.jobs)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        server.send(("start", job, name, pickle.dumps((target, spec))), [write, *files])
    except LaunchError:
        os.close(read)
        raise
    finally:
        os.close(write)
    return Process(name, job, read, server)


def hold(segment: str, directory: str) -> None:
    """Have a segment and a directory removed when this process ends, however it ends. Call before making them."""
    connection = _connected()
    _held.add((segment, directory))
    connection.send(("hold", segment, directory))


def drop(segment: str, directory: str) -> None:
    """They have been removed."""
    _held.discard((segment, directory))
    if _connection is not None:
        with contextlib.suppress(LaunchError):
            _connection.send(("drop", segment, directory))


def wait(processes: Iterable[Process | int], timeout_s: float | None) -> set[Process | int]:
    """Those processes that have ended, and those file descriptors that are readable; waits for one."""
    poll = select.poll()
    by_file = {p if isinstance(p, int) else p.fileno(): p for p in processes}
    for file in by_file:
        poll.register(file, select.POLLIN)
    ready = poll.poll(None if timeout_s is None else max(0, timeout_s) * 1000)
    return {by_file[file] for file, _ in ready}
