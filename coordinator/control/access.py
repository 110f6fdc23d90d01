"""Who may do what: clients, their roles, and their standing towards a VM.

Owns the order of rights and the keyring file. Opens no socket.

Who a client is follows from the transport alone. Over `ipc://`, whose directory only one user can enter,
everyone is that user: the administrator. Over `tcp://` it is the CURVE key that the connection proved to
hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Z85_KEY_CHARACTERS = 40


class Standing(IntEnum):
    """What a client may do with one VM; each includes the ones before."""

    NONE = 0
    """Does not know that it exists."""
    OBSERVER = 1
    """Read registers, memory, state, results."""
    OPERATOR = 2
    """Run, pause, resume, stop."""
    OWNER = 3
    """Set registers and memory, load, destroy, grant."""


class Role(Enum):
    """What a client may do with the VMs of others, and whether it may make its own."""

    USER = "user"
    """Makes VMs, and knows of no others but those granted to it."""
    OBSERVER = "observer"
    """Observes every VM, makes none."""
    OPERATOR = "operator"
    """Operates every VM, makes none."""
    ADMIN = "admin"
    """Owns every VM; may name files for the server to write."""

    @property
    def standing(self) -> Standing:
        """Its standing towards any VM."""
        return _STANDING[self]

    @property
    def makes_vms(self) -> bool:
        """Whether it may create VMs."""
        return self in (Role.USER, Role.ADMIN)


_STANDING = {
    Role.USER: Standing.NONE,
    Role.OBSERVER: Standing.OBSERVER,
    Role.OPERATOR: Standing.OPERATOR,
    Role.ADMIN: Standing.OWNER,
}


@dataclass(frozen=True, slots=True)
class Client:
    """Someone at the other end of the channel, as the transport vouches for it."""

    name: str
    role: Role


LOCAL = Client("local", Role.ADMIN)
"""Whoever can reach an `ipc://` endpoint."""


class KeyringError(ValueError):
    """A keyring file that cannot be read; the message names the file, the key path and what is allowed."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    public_key: str = Field(min_length=Z85_KEY_CHARACTERS, max_length=Z85_KEY_CHARACTERS)
    role: Role


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)
    client: list[_Entry]


@dataclass(frozen=True)
class Keyring:
    """The clients that CURVE endpoints let in, by Z85 public key."""

    clients: dict[str, Client]

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Read a TOML file of `[[client]]` tables with `name`, `public_key` and `role`.

        Raises:
            KeyringError: unreadable, malformed, or a name or key given twice.

        """
        import tomllib  # here, because only tcp needs it

        try:
            entries = _File.model_validate(tomllib.loads(path.read_text())).client
        except (OSError, tomllib.TOMLDecodeError) as e:
            raise KeyringError(f"{path}: {e}") from None
        except ValidationError as e:
            first = e.errors()[0]
            raise KeyringError(f"{path}: {key_path(first['loc'])}: {first['msg']}") from None
        for what in ("name", "public_key"):
            values = [getattr(entry, what) for entry in entries]
            twice = sorted({v for v in values if values.count(v) > 1})
            if twice:
                raise KeyringError(f"{path}: {what} {twice[0]!r} is given twice")
        return cls({e.public_key: Client(e.name, e.role) for e in entries})

    def by_name(self, name: str) -> Client | None:
        """The client with this name."""
        return next((c for c in self.clients.values() if c.name == name), None)


def entry(name: str, public_key: str, role: str) -> str:
    """The `[[client]]` table of a keyring file for this client.

    Raises:
        KeyringError: a name that none may have, or no such role.

    """
    try:
        made = _Entry.model_validate({"name": name, "public_key": public_key, "role": role})
    except ValidationError as e:
        first = e.errors()[0]
        raise KeyringError(f"{first['loc'][0]} = {first['input']!r}: {first['msg']}") from None
    return f'[[client]]\nname = "{made.name}"\npublic_key = "{made.public_key}"\nrole = "{made.role.value}"'


def key_path(location: tuple[int | str, ...]) -> str:
    """`$.spec.watch[2]` for pydantic's location of an error."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
