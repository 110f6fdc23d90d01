"""Options and errors that commands share which talk to a control server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from coordinator.control.client import ControlClient

Server = Annotated[
    str | None,
    typer.Option("--server", help="ipc:// or tcp:// endpoint. Default: your own `hartstorm serve`."),
]
ServerKey = Annotated[str | None, typer.Option("--server-key", help="The server's public key, for tcp.")]
Key = Annotated[Path | None, typer.Option("--key", help="Your key file, for tcp.")]

TIMEOUT_S = 10.0
"""How long a command waits for each answer."""


@contextmanager
def connected(server: str | None, server_key: str | None, key: Path | None) -> Iterator[ControlClient]:
    """A client of the server; what it refuses is printed and ends the command with code 2."""
    from coordinator.control import keys
    from coordinator.control.client import ControlClient, NoAnswer
    from coordinator.control.messages import BadReply
    from coordinator.refusal import Refusal
    from coordinator.runtime import check_endpoint, control_endpoint

    endpoint = server or control_endpoint()
    if endpoint.startswith("tcp://") and (server_key is None or key is None):
        fail(f"{endpoint}: tcp takes --server-key and --key")
    try:
        check_endpoint(endpoint)
    except ValueError as error:
        fail(str(error))
    try:
        pair = keys.load(key) if key is not None else None
        curve = (pair.public_key, pair.secret_key) if pair else None
        with ControlClient(endpoint, TIMEOUT_S, server_key.encode() if server_key else None, curve) as client:
            yield client
    except NoAnswer as error:
        fail(f"{error}; is `hartstorm serve` running there?")
    except (Refusal, BadReply, keys.KeyFileError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print to stderr and end the command with the code for wrong usage."""
    typer.echo(message, err=True)
    raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
