"""`hartstorm reg`: KVM's registers of a vCPU, by name or id."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.commands.connection import Key, Server, ServerKey, connected, fail
from coordinator.commands.vm import Json, Vm

app = typer.Typer(help="Read and set registers through ONE_REG; explain register ids.", no_args_is_help=True)

Hart = Annotated[int, typer.Option("--hart", help="Which vCPU.")]


@app.command("list")
def list_registers(
    vm: Vm, hart: Hart = 0, server: Server = None, server_key: ServerKey = None, key: Key = None
) -> None:
    """Print every register of a vCPU (KVM_GET_REG_LIST) with its value."""
    from coordinator.control.client import RefusedByServer
    from coordinator.registers import decode

    with connected(server, server_key, key) as client:
        remote = client.vm(vm)
        for number in remote.get_reg_list(hart):
            try:
                value = f"{remote.get_one_reg(hart, number):#x}"
            except RefusedByServer as refused:
                value = refused.reason
            typer.echo(f"{number:#018x}  {decode(number).name:<42}{value}")


@app.command()
def get(
    vm: Vm,
    registers: Annotated[list[str], typer.Argument(help="Names (core.a0) or ids (0x8030...).")],
    hart: Hart = 0,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Print registers."""
    numbers = [_number(text) for text in registers]
    with connected(server, server_key, key) as client:
        for number in numbers:
            typer.echo(f"{client.vm(vm).get_one_reg(hart, number):#x}")


@app.command("set")
def set_register(
    vm: Vm,
    register: Annotated[str, typer.Argument(help="Name or id.")],
    value: Annotated[str, typer.Argument(help="Unsigned number, e.g. 1 or 0xff.")],
    hart: Hart = 0,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Set a register."""
    number = _number(register)
    try:
        parsed = int(value, 0)
    except ValueError:
        parsed = -1
    if parsed < 0:
        fail(f"{value!r} is no unsigned number; write 255 or 0xff")
    with connected(server, server_key, key) as client:
        client.vm(vm).set_one_reg(hart, number, parsed)


@app.command()
def ids(
    registers: Annotated[
        list[str] | None, typer.Argument(help="Names or ids to explain. Default: all.")
    ] = None,
    json: Json = False,
) -> None:
    """Print register ids with name, class and size; needs no server."""
    from coordinator.registers import Class, decode, known

    chosen = [decode(_number(text)) for text in registers] if registers else list(known())
    rows = [
        {
            "id": f"{r.encode():#018x}",
            "name": r.name,
            "class": Class(r.kind).name if r.kind in list(Class) else None,
            "size": r.size,
        }
        for r in chosen
    ]
    if json:
        import json as json_module

        typer.echo(json_module.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['id']}  {row['size']:>4}  {row['name']}")


def _number(text: str) -> int:
    from coordinator.registers import UnknownRegister, find

    try:
        return find(text).encode()
    except UnknownRegister as error:
        fail(str(error))
