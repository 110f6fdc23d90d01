"""Options and errors that commands share which talk to a control server."""

from __future__ import annotations

import socket
import time
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
ServerKey = Annotated[
    str | None,
    typer.Option("--server-key", help="For tcp: the server's public key, or a TOML file that holds it."),
]
Key = Annotated[Path | None, typer.Option("--key", help="For tcp: your key file (`hartstorm serve keys`).")]
Vm = Annotated[str, typer.Argument(help="Name or id of a VM.")]

ANSWER_S = 60.0
"""How long a command waits for each answer: a busy host may need long to start many harts."""
LISTENER_S = 30.0
"""How long it waits for a server that is about to start; after `_NOTICE_S` it says so."""
_NOTICE_S = 1.0
_LOOK_AGAIN_S = 0.05


@contextmanager
def connected(server: str | None, server_key: str | None, key: Path | None) -> Iterator[ControlClient]:
    """A client of the server; what it refuses is printed and ends the command with code 2."""
    from pydantic import ValidationError

    from coordinator.control import keys
    from coordinator.control.client import ControlClient, NoAnswer, NotLetIn
    from coordinator.control.messages import BadReply
    from coordinator.refusal import Refusal
    from coordinator.runtime import check_endpoint, control_endpoint

    endpoint = server or control_endpoint()
    remote = endpoint.startswith("tcp://")
    if remote and (server_key is None or key is None):
        fail(f"{endpoint}: tcp takes --server-key and --key")
    try:
        check_endpoint(endpoint)
        pair = keys.load(key) if remote and key is not None else None
        public = keys.public_key(server_key) if remote and server_key is not None else None
    except ValueError as error:
        fail(str(error))
    _await_listener(endpoint)
    curve = (pair.public_key, pair.secret_key) if pair else None
    try:
        with ControlClient(endpoint, ANSWER_S, public, curve) as client:
            client.await_handshake()
            yield client
    except NoAnswer as error:
        fail(f"{error} in {ANSWER_S:g} s; the server may be busy, or no server of hartstorm")
    except ValidationError as error:  # of a request: what the command was given does not fit into one
        first = error.errors()[0]
        fail(f"{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}")
    except (Refusal, BadReply, NotLetIn) as error:
        fail(str(error))


def _await_listener(endpoint: str) -> None:
    """Wait until someone listens there: a server that was started just before needs a moment. Fails if nobody does."""
    begin = time.monotonic()
    told = False
    while (problem := _connection_problem(endpoint)) is not None:
        waited = time.monotonic() - begin
        if waited > LISTENER_S:
            fail(f"nothing serves at {endpoint}: {problem}")
        if waited > _NOTICE_S and not told:
            typer.echo(f"waiting for a server at {endpoint}; `hartstorm serve` starts one", err=True)
            told = True
        time.sleep(_LOOK_AGAIN_S)


def _connection_problem(endpoint: str) -> str | None:
    """Why nobody can be reached there, or None if somebody listens."""
    kind, _, place = endpoint.partition("://")
    try:
        if kind == "ipc":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(LISTENER_S)
                probe.connect(place)
        else:
            host, _, port = place.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), LISTENER_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def fail(message: str) -> NoReturn:
    """Print to stderr and end the command with the code for wrong usage."""
    typer.echo(message, err=True)
    raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
