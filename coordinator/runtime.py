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

_PREFIX = "hartstorm-"
_OWNER = "owner"


def _base() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())


def control_endpoint() -> str:
    """Where `hartstorm serve` serves this user unless told otherwise."""
    return f"ipc://{_base() / f'{_PREFIX}control-{os.getuid()}' / 'control'}"


class RuntimeDirectory:
    """A directory of mode 0700 for one VM. While its owner lives, a lock on its `owner` file says so."""

    def __init__(self, segment: str) -> None:
        """Make the directory, after removing those whose owners are dead."""
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
        self._owner = (self.path / _OWNER).open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self._owner.write(segment)  # after locking: a sweep passes over a file that names no segment
        self._owner.flush()

    def remove(self) -> None:
        """Remove the directory; idempotent."""
        self._owner.close()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep() -> None:
    """Remove this user's directories and segments whose coordinator was killed with all its processes."""
    for owner in _base().glob(f"{_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(OSError), owner.open() as file:
            if owner.stat().st_uid != os.getuid():
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment = file.read()
            if segment.startswith(NAME_PREFIX):
                unlink(segment, registered=False)
                shutil.rmtree(owner.parent, ignore_errors=True)
