"""Where sockets lie on the host, and the removal of what killed coordinators left behind.

Owns the per-VM directory. The segment's name is noted in it, so that whoever finds the directory can remove both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from bus.segment import NAME_PREFIX, unlink

_OWNER = "owner"


_NAME_BYTES = len(NAME_PREFIX) + 12
_LONGEST_BASE = 107 - _NAME_BYTES - len("//compile")  # unix(7): a socket's path has at most 107 bytes


def _base() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    usable = runtime and len(os.fsencode(runtime)) <= _LONGEST_BASE and os.access(runtime, os.W_OK)
    return Path(runtime if runtime and usable else tempfile.gettempdir())


def new_path(segment: str) -> Path:
    """Where the directory of the VM with that segment shall be."""
    return _base() / segment[:_NAME_BYTES]


def control_endpoint() -> str:
    """Where `hartstorm serve` serves this user unless told otherwise."""
    return f"ipc://{_base() / f'{NAME_PREFIX}control-{os.getuid()}' / 'control'}"


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


def sweep() -> None:
    """Remove this user's directories and segments whose coordinator was killed together with its fork server."""
    for owner in _base().glob(f"{NAME_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(OSError), owner.open() as file:
            if owner.stat().st_uid != os.getuid():
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment = file.read()
            if segment.startswith(NAME_PREFIX):
                unlink(segment)
                shutil.rmtree(owner.parent, ignore_errors=True)
