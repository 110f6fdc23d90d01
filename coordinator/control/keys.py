"""Key files for CURVE: making, writing and reading them. Opens no socket.

A key file is TOML with `public_key` and `secret_key` (Z85, 40 characters each) and has mode 0600.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from coordinator.control.access import Z85_KEY_CHARACTERS


class KeyFileError(ValueError):
    """A key file that cannot be used; says which and why."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Z85 keys."""

    public_key: bytes
    secret_key: bytes


def generate() -> KeyPair:
    """A new key pair."""
    return KeyPair(*zmq.curve_keypair())


def write(path: Path, pair: KeyPair) -> None:
    """Write a key pair to a new file.

    Raises:
        KeyFileError: the file exists or cannot be written.

    """
    text = f'public_key = "{pair.public_key.decode()}"\nsecret_key = "{pair.secret_key.decode()}"\n'
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}") from None


def load(path: Path) -> KeyPair:
    """Read a key file.

    Raises:
        KeyFileError: unreadable, malformed, or readable by others.

    """
    content = _read(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyFileError(f"{path}: others can read it; chmod 600 it, or make a new one")
    return KeyPair(_key(path, content, "public_key"), _key(path, content, "secret_key"))


def public_key(text: str) -> bytes:
    """The public key that `text` is, or that stands in the TOML file which it names (a key file does).

    Raises:
        KeyFileError: it is neither.

    """
    if _is_key(text):
        return text.encode()
    path = Path(text)
    if not path.exists():
        raise KeyFileError(f"{text}: neither a Z85 key of {Z85_KEY_CHARACTERS} characters nor a file")
    return _key(path, _read(path), "public_key")


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise KeyFileError(f"{path}: {e}") from None


def _key(path: Path, content: dict[str, object], name: str) -> bytes:
    value = content.get(name)
    if not isinstance(value, str) or not _is_key(value):
        raise KeyFileError(f"{path}: $.{name} must be a Z85 key of {Z85_KEY_CHARACTERS} characters")
    return value.encode()


def _is_key(text: str) -> bool:
    return len(text) == Z85_KEY_CHARACTERS and set(os.fsencode(text)) <= z85.Z85MAP.keys()
