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

from coordinator.control.access import Z85_KEY_CHARACTERS


class KeyFileError(ValueError):
    """A key file that cannot be used; says which and why."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Z85 keys."""

    public_key: bytes
    secret_key: bytes


def make(path: Path) -> KeyPair:
    """Make a key pair and write it to a new file.

    Raises:
        KeyFileError: the file exists or cannot be written.

    """
    public, secret = zmq.curve_keypair()
    text = f'public_key = "{public.decode()}"\nsecret_key = "{secret.decode()}"\n'
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as e:
        raise KeyFileError(f"{path}: {e.strerror}") from None
    return KeyPair(public, secret)


def load(path: Path) -> KeyPair:
    """Read a key file.

    Raises:
        KeyFileError: unreadable, malformed, or readable by others.

    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyFileError(f"{path}: others can read it; chmod 600 it, or make a new one")
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise KeyFileError(f"{path}: {e}") from None
    keys = []
    for name in ("public_key", "secret_key"):
        value = content.get(name)
        if not isinstance(value, str) or len(value) != Z85_KEY_CHARACTERS:
            raise KeyFileError(f"{path}: $.{name} must be a Z85 key of {Z85_KEY_CHARACTERS} characters")
        keys.append(value.encode())
    return KeyPair(*keys)
