"""Where sockets lie on the host, and the removal of what killed coordinators left behind.

Owns the per-VM directory. The segment's name is noted in it, so that whoever finds the directory can remove both.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from bus.segment import NAME_PREFIX, unlink

_OWNER = "owner"


_NAME_BYTES = len(NAME_PREFIX) + 12
_LONGEST_PATH = 107
"""Bytes of a socket's path: unix(7)."""
_LAST_PORT = (1 << 16) - 2


def base(longest: str) -> Path:
    """The directory to make sockets under: the user's own, or the first in which a path that goes on so fits."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]
    for candidate in filter(None, candidates):
        if len(os.fsencode(f"{candidate}/{longest}")) <= _LONGEST_PATH and os.access(candidate, os.W_OK):
            return Path(candidate)
    return Path(tempfile.gettempdir())


def _vm_base() -> Path:
    return base(f"{'x' * _NAME_BYTES}/compile")


def new_path(segment: str) -> Path:
    """Where the directory of the VM with that segment shall be."""
    return _vm_base() / segment[:_NAME_BYTES]


def control_endpoint() -> str:
    """Where `hartstorm serve` serves this user unless told otherwise."""
    path = f"{NAME_PREFIX}control-{os.getuid()}/control"
    return f"ipc://{base(f'{path}.events') / path}"


def check_endpoint(endpoint: str) -> None:
    """Raises ValueError unless this is `ipc://PATH`, no longer than a socket's path can be, or `tcp://HOST:PORT`."""
    kind, _, place = endpoint.partition("://")
    if kind == "ipc" and place:
        if (size := len(os.fsencode(place))) > _LONGEST_PATH:
            raise ValueError(
                f"{place}: the path of a socket has at most {_LONGEST_PATH} bytes, this has {size}"
            )
        return
    host, _, port = place.rpartition(":")
    if kind != "tcp" or not host:
        raise ValueError(f"{endpoint!r} is no endpoint; write ipc://PATH or tcp://HOST:PORT")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _LAST_PORT):
        raise ValueError(f"{endpoint}: the port must be from 1 to {_LAST_PORT}; events are at the next one")


class RuntimeDirectory:
    """A directory of mode 0700 for one VM. While its owner lives, a lock on its `owner` file says so."""

    def __init__(self, segment: str) -> None:
        """Make the directory, after removing those whose owners are dead."""
        sweep()
        self.path = new_path(segment)
        self.path.mkdir(mode=0o700)
        self._owner = (self.path / _OWNER).open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self._owner.write(segment)  # after locking: a sweep passes over a file that names no segment
        self._owner.flush()

    def remove(self) -> None:
        """Remove the directory; idempotent."""
        self._owner.close()
        shutil.rmtree(self.path, ignore_errors=True)


LIVING_S = 10.0
"""A directory whose owner was seen to live is looked at again after so long: there may be many, and VMs start often."""
_living: dict[str, float] = {}
"""By path, when that was."""


def sweep() -> None:
    """Remove this user's directories and segments whose coordinator was killed together with its fork server."""
    now = time.monotonic()
    with os.scandir(_vm_base()) as entries:  # thousands of others' may be there
        found = {entry.path for entry in entries if entry.name.startswith(NAME_PREFIX)}
    for path in [*_living]:
        if path not in found or now - _living[path] > LIVING_S:
            _living.pop(path, None)
    for path in found - _living.keys():
        try:
            _sweep(Path(path, _OWNER))
        except BlockingIOError:
            _living[path] = now
        except OSError:  # no VM's, or another user's
            continue


def _sweep(owner: Path) -> None:
    """Remove one, if nobody holds the lock; raises BlockingIOError if somebody does."""
    with owner.open() as file:
        if os.fstat(file.fileno()).st_uid != os.getuid():
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        segment = file.read()
        if segment.startswith(NAME_PREFIX):
            unlink(segment)
            shutil.rmtree(owner.parent, ignore_errors=True)
