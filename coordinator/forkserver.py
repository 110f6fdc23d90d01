"""The fork server: the parent of every bus, hart and helper process, and the one who cleans up after the coordinator.

Owns the processes and the names on the host (segments, directories) that must not outlive the coordinator. Knows
nothing of VMs. `coordinator.launch` is the coordinator's end.

It has loaded everything that such a process needs, so that one starts by a fork alone. It is the parent of all of
them and learns first of the coordinator's end, however that came: their socket closes. Then it kills its children,
also those that are stopped, removes what was held, and ends. If it is killed itself, the kernel kills its children.

A request is one message, a pickled tuple:

- ("start", name, work), with the write end of a pipe: run `target(spec)`, pickled in `work`, in a new process; 8
  bytes with its process id (negative: the errno for which there is none) go to the pipe, and 8 bytes with its exit
  code (negative: the signal that ended it) once it has ended;
- ("signal", pid, number): send a signal to such a process, unless it has ended;
- ("hold", segment, directory) and ("drop", segment, directory): remove them at the end, or no longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import os
import pickle
import select
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

MAX_MESSAGE = 1 << 17
_PRELOAD = ("msgpack", "zmq", "llvmlite.binding", "hart.isa", "hart.preload")
"""The last is what is wanted; in steps, so that the coordinator's end is seen soon also meanwhile."""
_PR_SET_PDEATHSIG = 1  # prctl(2)


class _Server:
    def __init__(self, coordinator: socket.socket) -> None:
        self._coordinator = coordinator
        self._children: dict[int, int] = {}
        """Write end of the report pipe, by process id."""
        self._held: set[tuple[str, str]] = set()

    def serve(self) -> None:
        """Work until the coordinator is gone, then clean up."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _do_nothing)  # a handler must be there for the pipe to be written
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._coordinator, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            for ready, _ in poll.poll():
                if ready == wake_read:
                    os.read(wake_read, 4096)
                    self._reap(os.WNOHANG)
                elif not self._take():
                    self._clean_up()
                    return

    def _take(self) -> bool:
        data, files, _, _ = socket.recv_fds(self._coordinator, MAX_MESSAGE, 1)
        if not data:
            return False
        operation, *arguments = pickle.loads(data)
        if operation == "start":
            if not _hung_up(self._coordinator):
                self._start(files[0], *arguments)
        elif operation == "signal":
            pid, number = arguments
            if pid in self._children:  # not reaped, so the number is still that process's
                os.kill(pid, number)
        elif operation == "hold":
            self._held.add((arguments[0], arguments[1]))
        else:
            self._held.discard((arguments[0], arguments[1]))
        return True

    def _start(self, report: int, name: str, work: bytes) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            _report(report, -(error.errno or errno.EAGAIN))
            os.close(report)
            return
        if not pid:
            _become(name, work)
        self._children[pid] = report
        _report(report, pid)

    def _reap(self, options: int) -> None:
        while self._children:
            pid, status = os.waitpid(-1, options)
            if not pid:
                return
            report = self._children.pop(pid)
            _report(report, os.waitstatus_to_exitcode(status))
            os.close(report)

    def _clean_up(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        self._reap(0)
        for segment, directory in self._held:
            remove(segment, directory)


def remove(segment: str, directory: str) -> None:
    """Remove what a VM has on the host; idempotent."""
    from bus.segment import unlink

    unlink(segment)
    shutil.rmtree(directory, ignore_errors=True)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _report(pipe: int, value: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(pipe, value.to_bytes(8, sys.byteorder, signed=True))


def _become(name: str, work: bytes) -> NoReturn:
    """Be the new process."""
    code = 1
    try:
        end_with_parent(_server_pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        Path("/proc/self/comm").write_text(name[-15:])
        target, spec = pickle.loads(work)
        target(spec)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, whose child it is, is gone; end it if that is so already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


_server_pid = os.getpid()


def main(descriptor: int) -> NoReturn:
    """The fork server's main function; `descriptor` is its end of the socket."""
    coordinator = socket.socket(fileno=descriptor)
    gc.disable()  # until all is there, and frozen; see hart.preload
    for module in _PRELOAD:
        if not _hung_up(coordinator):
            importlib.import_module(module)
    _Server(coordinator).serve()
    os._exit(0)


def _hung_up(peer: socket.socket) -> bool:
    """Whether the other end is closed, whatever is still to be read."""
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    return bool(poll.poll(0))
