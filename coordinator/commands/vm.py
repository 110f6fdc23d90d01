"""`hartstorm vm`: make, list, run and remove VMs on a control server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands import vm_inspect
from coordinator.commands.connection import Key, Server, ServerKey, Vm, connected
from coordinator.commands.exit_codes import ExitCode, config_errors
from coordinator.commands.json_output import Json, print_json
from coordinator.commands.policy_help import POLICY_HELP

if TYPE_CHECKING:
    from coordinator.control.client import RemoteVm
    from coordinator.control.messages import Status

app = typer.Typer(help="Make, list, run and remove VMs on a server.", no_args_is_help=True)


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="Run configuration (.toml), ELF program, or .S or .c source.")],
    harts: Annotated[int | None, typer.Option(help="Number of harts.")] = None,
    isa: Annotated[str | None, typer.Option(help="ISA string, e.g. rv64imac_zacas.")] = None,
    policy: Annotated[str | None, typer.Option(help=POLICY_HELP)] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What to call the VM; of several, what their names begin with. Default: the file's."
        ),
    ] = None,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Make the VMs of a configuration, loaded and ready to run; prints the id and name of each."""
    from coordinator import runner
    from coordinator.config import Overrides, open_run
    from coordinator.guest import build_all

    with config_errors():
        config = open_run(file, Overrides(harts, isa, policy))
        images = build_all(config)
        names = runner.names(config.run, name)
    with connected(server, server_key, key) as client:
        for in_file, made in runner.create(config.run, images, client, names).items():
            typer.echo(f"{made.id} {names[in_file]}")


@app.command("list")
def list_vms(
    json: Json = False, server: Server = None, server_key: ServerKey = None, key: Key = None
) -> None:
    """Print the VMs that you may know of."""
    from bus.policies import label
    from coordinator.report import plain_table, stdout_console

    with connected(server, server_key, key) as client:
        vms = client.list_vms()
    if json:
        print_json([vm.model_dump(mode="json") for vm in vms])
        return
    table = plain_table(["id", "name", "owner", "state", "harts", "policy", "you are"])
    for vm in vms:
        shown = label(vm.policy)
        table.add_row(vm.vm, vm.name, vm.owner, vm.state.value, str(vm.harts), shown, vm.standing)
    stdout_console().print(table)


@app.command()
def run(vm: Vm, server: Server = None, server_key: ServerKey = None, key: Key = None) -> None:
    """Start a VM; it runs on when this command ends."""
    with connected(server, server_key, key) as client:
        client.vm(vm).run()


@app.command()
def pause(vm: Vm, server: Server = None, server_key: ServerKey = None, key: Key = None) -> None:
    """Bring every hart to a safepoint, so that registers can be read."""
    with connected(server, server_key, key) as client:
        client.vm(vm).pause()


@app.command()
def resume(vm: Vm, server: Server = None, server_key: ServerKey = None, key: Key = None) -> None:
    """Let a paused VM go on."""
    with connected(server, server_key, key) as client:
        client.vm(vm).resume()


@app.command()
def step(
    vm: Vm,
    count: Annotated[int, typer.Argument(help="How many instructions.", min=1)] = 1,
    hart: Annotated[int, typer.Option("--hart", help="Which hart.")] = 0,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Let one hart of a paused VM execute instructions; prints how many retired, and what stands at its pc."""
    with connected(server, server_key, key) as client:
        done = client.vm(vm).step(hart, count)
        text = _instruction_at(client.vm(vm), done.pc)
    typer.echo(f"{done.retired} retired, pc {done.pc:#x}: {text}")


def _instruction_at(vm: RemoteVm, pc: int) -> str:
    from coordinator.control.client import RefusedByServer
    from hart.isa.disassembler import disassemble

    for size in (4, 2):  # a short one may be RAM's last
        try:
            return disassemble(int.from_bytes(vm.get_memory(pc, size), "little"), pc)
        except RefusedByServer:
            continue
    return "outside RAM"


@app.command()
def stop(vm: Vm, server: Server = None, server_key: ServerKey = None, key: Key = None) -> None:
    """End a VM's run; its result stays until `rm`."""
    with connected(server, server_key, key) as client:
        client.vm(vm).stop()


@app.command()
def rm(vm: Vm, server: Server = None, server_key: ServerKey = None, key: Key = None) -> None:
    """Remove a VM, running or not."""
    with connected(server, server_key, key) as client:
        client.vm(vm).destroy()


@app.command()
def status(
    vm: Vm, json: Json = False, server: Server = None, server_key: ServerKey = None, key: Key = None
) -> None:
    """Print where a VM is, and its result if the run is over."""
    with connected(server, server_key, key) as client:
        _print(client.vm(vm).get_stats(), json)


@app.command()
def wait(
    vm: Vm,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 60.0,
    json: Json = False,
    server: Server = None,
    server_key: ServerKey = None,
    key: Key = None,
) -> None:
    """Wait until a VM's run is over and print its result; exit code 124 if it is not in time."""
    with connected(server, server_key, key) as client:
        result = client.vm(vm).wait(timeout)
        _print(client.vm(vm).get_stats(), json)
    if result is None:
        raise typer.Exit(ExitCode.WATCHDOG)


for inspect in (vm_inspect.events, vm_inspect.memory, vm_inspect.dt, vm_inspect.hwprobe, vm_inspect.grant):
    app.command()(inspect)


def _print(now: Status, json: bool) -> None:
    if json:
        from coordinator.control.messages import unfold

        def say(value: object) -> object:
            # Console output is bytes of the guest's choosing.
            return value.decode(errors="replace") if isinstance(value, bytes) else unfold(value)

        print_json(now, say)
        return
    typer.echo(f"{now.state.value}, {sum(now.instret)} instructions")
    if now.result is None:
        return
    code = "" if now.result.exit_code is None else f" {now.result.exit_code}"
    typer.echo(f"{now.result.ending.value}{code} {now.result.detail}".rstrip())
    for hart in now.result.harts:
        said = f"hart {hart.hart}: {hart.ending.value}, pc {hart.pc:#x}, {hart.instret} instructions"
        typer.echo(f"{said}, {hart.trap.name}: {hart.trap.instruction}" if hart.trap else said)
    typer.echo(now.result.console.decode(errors="replace"), nl=False)
