"""`hartstorm reg`: KVM's registers of a vCPU, by name or id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.connection import Key, Server, ServerKey, Vm, connected, fail
from coordinator.commands.json_output import Json, print_json

if TYPE_CHECKING:
    from coordinator.control.client import RemoteVm

app = typer.Typer(help="Read and set registers through ONE_REG; explain register ids.", no_args_is_help=True)

Hart = Annotated[int, typer.Option("--hart", help="Which vCPU.", min=0)]


@app.command("list")
def list_registers(
    vm: Vm,
    prefix: Annotated[str, typer.Argument(help="Only names that begin so, e.g. core or isa_ext.z.")] = "",
    hart: Hart = 0,
    json: Json = False,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Print every register of a vCPU (KVM_GET_REG_LIST) with its value, and what that stands for."""
    from coordinator.registers import decode

    with connected(server, server_key, key) as client:
        remote = client.vm(vm)
        named = [(number, decode(number).name) for number in remote.get_reg_list(hart)]
        chosen = [(number, name) for number, name in named if name.startswith(prefix.lower())]
        if prefix and not chosen:
            classes = dict.fromkeys(name.split(".")[0] for _, name in named)
            fail(f"no register's name begins with {prefix!r}; there are {', '.join(classes)}")
        found = [(number, name, *_value(remote, hart, number)) for number, name in chosen]
    if json:
        keys = ("id", "name", "value", "meaning")
        print_json([dict(zip(keys, (f"{row[0]:#018x}", *row[1:]), strict=True)) for row in found])
        return
    for number, name, value, meaning in found:
        shown = meaning if value is None else f"{value:#x}  {meaning}".rstrip()
        typer.echo(f"{number:#018x}  {name:<42}{shown}")


def _value(vm: RemoteVm, hart: int, number: int) -> tuple[int | None, str]:
    """A register's value and what it stands for, or None and why it cannot be read now."""
    from coordinator.control.client import RefusedByServer
    from coordinator.meanings import meaning

    try:
        value = vm.get_one_reg(hart, number)
    except RefusedByServer as refused:
        return None, refused.reason
    return value, meaning(number, value)


@app.command()
def get(
    vm: Vm,
    registers: Annotated[
        list[str], typer.Argument(help="Names (core.a0, a0, x10, zacas) or ids (0x8030...).")
    ],
    hart: Hart = 0,
    json: Json = False,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Print registers: the value of one, or a line for each of several."""
    from coordinator.registers import decode

    numbers = [_number(text) for text in registers]
    with connected(server, server_key, key) as client:
        found = [(decode(number).name, client.vm(vm).get_one_reg(hart, number)) for number in numbers]
    if json:
        print_json(dict(found))
    elif len(found) == 1:
        typer.echo(f"{found[0][1]:#x}")
    else:
        for name, value in found:
            typer.echo(f"{name:<42}{value:#x}")


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_register(
    vm: Vm,
    register: Annotated[str, typer.Argument(help="Name or id.")],
    value: Annotated[str, typer.Argument(help="Unsigned number, e.g. 1 or 0xff.")],
    hart: Hart = 0,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Set a register; isa_ext registers switch extensions, before the VM's first run."""
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
    """Print register ids with class, size in bytes and name, and what is wrong with one; needs no server."""
    from coordinator.registers import Class, decode, explain, known

    numbers = [_number(text) for text in registers] if registers else [r.encode() for r in known()]
    rows = [(number, decode(number), explain(number)) for number in numbers]
    if json:
        print_json(
            [
                {
                    "id": f"{number:#018x}",
                    "name": r.name,
                    "class": _class_name(r.kind),
                    "size": r.size,
                    **({"wrong": wrong} if wrong else {}),
                }
                for number, r, wrong in rows
            ]
        )
        return
    width = max(len(kind.name) for kind in Class)
    for number, r, wrong in rows:
        said = f"no register: {wrong}" if wrong else r.name
        typer.echo(f"{number:#018x}  {_class_name(r.kind) or '-':<{width}}  {r.size:>4}  {said}")


def _class_name(kind: int) -> str | None:
    from coordinator.registers import Class

    return Class(kind).name if kind in list(Class) else None


def _number(text: str) -> int:
    from coordinator.registers import UnknownRegister, find

    try:
        low = text.strip().lower()
        register = find(text)
    except UnknownRegister as error:
        fail(str(error))
    return int(low, 0) if low[:1].isdigit() else register.encode()
