"""The fork server: the parent of every bus, hart and helper process, and the one who cleans up after the coordinator.

Owns the processes and the names on the host (segments, directories) that must not outlive the coordinator. Knows
nothing of VMs. `coordinator.launch` is the coordinator's end.

It has loaded everything that such a process needs, so that one starts by a fork alone. It is the parent of all of
them and learns first of the coordinator's end, however that came: their socket closes. Then it kills its children,
also those that are stopped, removes what was held, and ends. If it is killed itself, the kernel kills its children.

A request is one message, a pickled tuple; files come along as descriptors, the first being the write end of a pipe:

- ("start", job, name, work): run `target(spec, *files)`, pickled in `work`, in a process; 8 bytes with its process id
  (negative: the errno for which there is none) go to the pipe, and 8 bytes with its exit code (negative: the signal
  that ended it) once the job has ended;
- ("signal", job, number): send a signal to the process that does this job, unless the job has ended;
- ("keep", most): of the processes that have done their job and can do another, so many may wait for one;
- ("hold", segment, directory) and ("drop", segment, directory): remove them at the end, or no longer.

A process that waits is idle, and takes the next job whatever it is. That saves what is most of a short run: the fork,
the pages that a new process copies as it touches them, its threads, its end. Without "keep" each job has a process of
its own. With it, this is why nothing gets from one job into another:

- A target says that its process can go on by returning true, and may only where it has closed all that it opened, has
  unmapped its segment and has loaded no native code of a guest. Any other end, an exception as well, is the process's.
- What stays behind is what the fork server itself has loaded, and the threads of ZeroMQ, without a socket. Guests see
  none of it: their memory is their segment, which is new. Native code of a guest is the last that a process runs.
- A process does at most MOST_JOBS, so that nothing can pile up.

And this is why no job is mistaken for another: a process tells of a job's end over a socket of its own, and gets the
next only after that; requests name jobs, never processes, so a signal that comes late finds no job. Whoever is killed:
an idle process is a child like any other and dies with the server; when it is killed itself, its socket closes, and it
gets no job any more, or the job that it was just given ends by that signal, as if it had been killed a moment later.
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
from itertools import pairwise
from types import FrameType
from typing import NoReturn

MAX_MESSAGE = 1 << 17
_PRELOAD = ("msgpack", "zmq", "llvmlite.binding", "hart.isa", "hart.preload")
"""The last is what is wanted; in steps, so that the coordinator's end is seen soon also meanwhile."""
MOST_FILES = 4
"""Descriptors that come along with a request at most."""
MOST_JOBS = 200
"""How many jobs a process does at most."""
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)
_MOST_NAME = 15
_libc = ctypes.CDLL(None)


class _Child:
    """A process of the server's, and the job that it does."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel: socket.socket | None = channel
        """Over which it tells of the job's end and gets the next; None once it does no more."""
        self.job = self.report = -1
        """The job's number, and the write end of its report pipe."""
        self.jobs = 1

    def ended(self, code: int) -> None:
        """Its job has."""
        _report(self.report, code)
        os.close(self.report)


class _Server:
    def __init__(self, coordinator: socket.socket) -> None:
        self._coordinator = coordinator
        self._poll = select.poll()
        self._children: dict[int, _Child] = {}
        """By process id."""
        self._by_channel: dict[int, _Child] = {}
        self._busy: dict[int, _Child] = {}
        """By job."""
        self._idle: list[_Child] = []
        self._most_idle = 0
        self._held: set[tuple[str, str]] = set()

    def serve(self) -> None:
        """Work until the coordinator is gone, then clean up."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _do_nothing)  # a handler must be there for the pipe to be written
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._poll.register(self._coordinator, select.POLLIN)
        self._poll.register(wake_read, select.POLLIN)
        while True:
            for ready, _ in self._poll.poll():
                if ready == wake_read:
                    os.read(wake_read, 4096)
                    self._reap(os.WNOHANG)
                elif ready in self._by_channel:
                    self._hear(self._by_channel[ready])
                elif ready == self._coordinator.fileno() and not self._take():
                    self._clean_up()
                    return

    def _take(self) -> bool:
        data, files, _, _ = socket.recv_fds(self._coordinator, MAX_MESSAGE, MOST_FILES)
        if not data:
            return False
        operation, *arguments = pickle.loads(data)
        if operation == "start":
            if not _hung_up(self._coordinator):
                self._start(files, *arguments)
        elif operation == "signal":
            job, number = arguments
            if job in self._busy:  # not reaped, so the number is still that process's
                os.kill(self._busy[job].pid, number)
        elif operation == "keep":
            (self._most_idle,) = arguments
            while len(self._idle) > self._most_idle:
                self._forget_channel(self._idle[-1])  # which ends it
        elif operation == "hold":
            self._held.add((arguments[0], arguments[1]))
        else:
            self._held.discard((arguments[0], arguments[1]))
        return True

    def _start(self, files: list[int], job: int, name: str, work: bytes) -> None:
        report, *others = files
        try:
            child = self._next_idle(others, name, work) or self._fork(others, name, work)
        except OSError as error:
            _report(report, -(error.errno or errno.EAGAIN))
            os.close(report)
            return
        finally:
            for file in others:
                os.close(file)
        child.job, child.report = job, report
        self._busy[job] = child
        _report(report, child.pid)

    def _next_idle(self, files: list[int], name: str, work: bytes) -> _Child | None:
        """An idle process that has been given this work."""
        while self._idle:
            child = self._idle.pop()
            assert child.channel is not None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has just been killed
                socket.send_fds(child.channel, [pickle.dumps((name, work))], files)
                child.jobs += 1
                return child
        return None

    def _fork(self, files: list[int], name: str, work: bytes) -> _Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if not pid:
                _become(theirs if self._most_idle else None, files, name, work)
        child = _Child(pid, ours)
        self._children[pid] = child
        self._by_channel[ours.fileno()] = child
        self._poll.register(ours, select.POLLIN)
        return child

    def _hear(self, child: _Child) -> None:
        """A process has done its job, or will do no other."""
        assert child.channel is not None
        try:
            done = child.channel.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:  # what was there to hear was another's, who had that descriptor
            return
        except ConnectionResetError:
            done = b""
        if not done:
            self._forget_channel(child)
            return
        del self._busy[child.job]
        child.ended(0)
        if len(self._idle) < self._most_idle and child.jobs < MOST_JOBS:
            self._idle.append(child)
        else:
            self._forget_channel(child)  # which ends it

    def _forget_channel(self, child: _Child) -> None:
        """No longer listen to it, nor give it work; idempotent."""
        if child in self._idle:
            self._idle.remove(child)
        if child.channel is not None:
            self._poll.unregister(child.channel)
            del self._by_channel[child.channel.fileno()]
            child.channel.close()
            child.channel = None

    def _reap(self, options: int) -> None:
        while self._children:
            pid, status = os.waitpid(-1, options)
            if not pid:
                return
            child = self._children.pop(pid)
            if child.channel is not None:
                self._hear(child)  # it may have done its job before
            self._forget_channel(child)
            if self._busy.get(child.job) is child:
                del self._busy[child.job]
                child.ended(os.waitstatus_to_exitcode(status))

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


def _become(channel: socket.socket | None, files: list[int], name: str, work: bytes) -> NoReturn:
    """Be the new process; with a channel, for more than one job."""
    code = 1
    try:
        end_with_parent(_server_pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_all_but(files if channel is None else [channel.fileno(), *files])
        while _work(name, work, files) and channel is not None:
            sys.stderr.flush()
            _call_me("hartstorm-idle")
            channel.send(b"d")
            data, files, _, _ = socket.recv_fds(channel, MAX_MESSAGE, MOST_FILES)
            if not data:
                break
            name, work = pickle.loads(data)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _work(name: str, work: bytes, files: list[int]) -> bool:
    """Do a job; whether this process can do another."""
    _call_me(name)
    target, spec = pickle.loads(work)
    return bool(target(spec, *files))


def _close_all_but(kept: list[int]) -> None:
    """Close every descriptor but these and the standard ones."""
    edges = [2, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for below, above in pairwise(edges):
        os.closerange(below + 1, above)


def _call_me(name: str) -> None:
    """Give this process a name for `ps`, the end of `name`."""
    _libc.prctl(_PR_SET_NAME, name[-_MOST_NAME:].encode())


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, whose child it is, is gone; end it if that is so already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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
