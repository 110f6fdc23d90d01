"""Host objects in files: where they are kept, and their form, which tells whole ones from all else.

Owns the directory, the form of an entry and how one is written. Knows nothing of what an object holds.

An entry is one file, `objects/<2 digits>/<key>`, written under another name and renamed, so that readers see whole
files and concurrent writers do no harm (they write the same). It begins with a magic and the SHA-256 of the rest; an
entry that does not agree, or that another version wrote, is removed and counts as absent. The key is the SHA-256 of
everything that the object depends on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

MAGIC = b"hartstorm object 2\n"
_DIGEST = 32


def default_directory() -> Path:
    """The user's cache for hartstorm, by the XDG base directory specification: relative paths do not count."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "hartstorm"


def objects_in(directory: Path) -> Path:
    """Where the entries of a cache directory lie."""
    return directory / "objects"


def key_of(*parts: object) -> str:
    """The key for everything that an object depends on; `parts` have an unambiguous `repr`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def entry_path(objects: Path, key: str) -> Path:
    """Where the entry of that key is or would be."""
    return objects / key[:2] / key


def read_entry(path: Path) -> bytes | None:
    """What the entry holds, or None if there is none that is whole and ours."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[len(MAGIC) + _DIGEST :]
    if data[: len(MAGIC)] == MAGIC and data[len(MAGIC) : -len(body) or None] == hashlib.sha256(body).digest():
        return body
    remove_entry(path)
    return None


def remove_entry(path: Path) -> None:
    """Remove an entry that is not whole or not ours, if the directory can be written."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_entry(path: Path, body: bytes) -> None:
    """Write an entry; raises OSError if the directory cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
