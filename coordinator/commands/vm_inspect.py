"""`hartstorm vm`, what looks into a VM: its memory, events, device tree and hwprobe; and who else may.

The group is `coordinator.commands.vm`'s, which has what makes and moves VMs; with this module it is whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.connection import Key, Server, ServerKey, connected, fail
from coordinator.commands.dt import Form, write_tree
from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.isa import print_probed
from coordinator.commands.json_output import Json
from coordinator.commands.vm import Vm, app

if TYPE_CHECKING:
    from coordinator.control.client import RemoteVm

_LINE_BYTES = 16
_LOOK_S = 0.2
"""How long an event is waited for before the state is asked for: one that came before the subscription is lost."""


@app.command()
def memory(
    vm: Vm,
    address: Annotated[str, typer.Argument(help="Where to begin, e.g. 0x80000000.")],
    size: Annotated[str, typer.Argument(help="How many bytes, e.g. 64 or 0x1000.")] = "64",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the bytes to a file.")] = None,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Print guest memory, running or not, in hexadecimal; or write it to a file."""
    begin, length = _unsigned("address", address), _unsigned("size", size)
    with connected(server, server_key, key) as client:
        data = client.vm(vm).get_memory(begin, length)
    if output is not None:
        try:
            output.write_bytes(data)
        except OSError as error:
            fail(f"{output}: {error.strerror}")
        return
    for at in range(0, length, _LINE_BYTES):
        line = data[at : at + _LINE_BYTES]
        text = "".join(chr(b) if 0x20 <= b < 0x7F else "." for b in line)
        typer.echo(f"{begin + at:016x}  {line.hex(' '):<{3 * _LINE_BYTES}} {text}")


def _unsigned(what: str, text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if value < 0:
        fail(f"{what} {text!r} is no unsigned number; write 64 or 0x40")
    return value


@app.command()
def events(
    vm: Vm,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to listen at most. Default: no limit.")
    ] = None,
    json: Json = False,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Print each change of a VM's state, until it has ended or is gone; exit code 124 after --timeout."""
    with connected(server, server_key, key) as client:
        for name, said in _changes(client.vm(vm), math.inf if timeout is None else timeout):
            if json:
                from json import dumps

                typer.echo(dumps({"event": name, **said}))
            else:
                typer.echo(" ".join([name, *map(str, said.values())]))
            if name in ("ended", "gone"):
                return
    raise typer.Exit(ExitCode.WATCHDOG)


def _changes(vm: RemoteVm, timeout_s: float) -> Iterator[tuple[str, dict[str, str | int]]]:
    """The state now, and each that follows until the time is over."""
    from coordinator.control.client import RefusedByServer
    from coordinator.control.messages import ErrorBody

    shown = ""
    end = time.monotonic() + timeout_s
    with vm.events() as subscribed:
        while not shown or time.monotonic() < end:
            event = subscribed.next(_LOOK_S) if shown else None
            try:
                body = vm.get_stats() if event is None else event[1]
            except RefusedByServer as refused:
                if not shown:
                    raise
                body = ErrorBody(reason=refused.reason)
            if isinstance(body, ErrorBody):
                yield "gone", {"reason": body.reason}
            elif body.state.value != shown:
                shown = body.state.value
                detail = {} if body.result is None else {"ending": body.result.ending.value}
                yield shown, {"instructions": sum(body.instret), **detail}


@app.command()
def dt(
    vm: Vm,
    form: Annotated[Form | None, typer.Option("--format", help="Source or blob. Default: by -o.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Write the device tree of a VM, with the extensions that are switched on in it now."""
    with connected(server, server_key, key) as client:
        tree = client.vm(vm).get_device_tree()
    write_tree(tree.source, tree.blob, form, output)


@app.command()
def hwprobe(
    vm: Vm,
    hart: Annotated[list[int] | None, typer.Option("--hart", help="Which harts. Default: all.")] = None,
    json: Json = False,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Print what riscv_hwprobe would tell a VM's guest now, of all harts or of some."""
    from coordinator.hwprobe import KEYS, Pair

    with connected(server, server_key, key) as client:
        chosen = None if hart is None else frozenset(hart)
        pairs, _ = client.vm(vm).hwprobe([Pair(number, 0) for number in KEYS], chosen)
    print_probed({vm: {KEYS[pair.key].name: pair.value for pair in pairs}}, json)


@app.command()
def grant(
    vm: Vm,
    client_name: Annotated[str, typer.Argument(metavar="client", help="The client's name in the keyring.")],
    standing: Annotated[str, typer.Argument(help="none, observer, operator or owner.")],
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Let another client observe, operate or own a VM, or take that back."""
    from coordinator.control.access import Standing
    from hart.spelling import nearest

    allowed = [s.name.lower() for s in Standing]
    if standing not in allowed:
        fail(f"{standing!r} is no standing{nearest(standing, allowed)}; there are {', '.join(allowed)}")
    with connected(server, server_key, key) as client:
        client.vm(vm).grant(client_name, standing)
