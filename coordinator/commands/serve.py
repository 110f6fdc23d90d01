"""`hartstorm serve`: a control server for many VMs, until it is told to stop; `serve keys` makes keys for tcp."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.connection import fail

app = typer.Typer(help="Serve VMs to `hartstorm vm` and `hartstorm reg`.", invoke_without_command=True)


@app.callback()
def serve(
    context: typer.Context,
    endpoint: Annotated[
        str | None, typer.Option(help="ipc:// endpoint. Default: one that your own commands find.")
    ] = None,
    tcp: Annotated[
        str | None, typer.Option(help="tcp://ADDRESS:PORT as well; takes --key and --clients.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The server's key file (`hartstorm serve keys`).")] = None,
    clients: Annotated[
        Path | None,
        typer.Option(help="TOML file of the clients to let in, each as `hartstorm serve keys` prints it."),
    ] = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then every VM is ended."""
    if context.invoked_subcommand is None:
        _serve(endpoint, tcp, key, clients)


def _serve(endpoint: str | None, tcp: str | None, key: Path | None, clients: Path | None) -> None:
    import signal

    import zmq

    from coordinator.control import keys
    from coordinator.control.access import Keyring
    from coordinator.control.server import ControlServer, Curve
    from coordinator.runtime import control_endpoint
    from coordinator.vm import VirtualMachine

    if tcp is not None and (key is None or clients is None):
        fail(f"{tcp}: tcp takes --key and --clients")
    if tcp is None and (key is not None or clients is not None):
        fail("--key and --clients are for --tcp; an ipc endpoint is open to you alone")
    try:
        secret = keys.load(key).secret_key if key is not None else b""
        curve = Curve(secret, Keyring.load(clients)) if clients is not None else None
        server = ControlServer(VirtualMachine, endpoint or control_endpoint(), tcp, curve)
    except (ValueError, zmq.ZMQError) as error:
        place = "" if isinstance(error, ValueError) else f"{endpoint or tcp or control_endpoint()}: "
        fail(f"{place}{error}")
    with server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        for place in filter(None, (endpoint or control_endpoint(), tcp)):
            typer.echo(f"serving at {place}")
        server.serve()


@app.command("keys")
def make_keys(
    file: Annotated[Path, typer.Argument(help="Where to write the key pair; must not exist.")],
    name: Annotated[str, typer.Option(help="The client's name in the printed entry.")] = "someone",
    role: Annotated[str, typer.Option(help="user, observer, operator or admin.")] = "user",
) -> None:
    """Make a key pair, and print its public half as an entry for --clients."""
    from coordinator.control import keys
    from coordinator.control.access import KeyringError, entry

    pair = keys.generate()
    try:
        text = entry(name, pair.public_key.decode(), role)
        keys.write(file, pair)
    except (keys.KeyFileError, KeyringError) as error:
        fail(str(error))
    typer.echo(text)
