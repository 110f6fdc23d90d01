"""`hartstorm isa`: ISA strings explained, and what the guests of a configuration see of their ISA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.connection import fail
from coordinator.commands.exit_codes import config_errors
from coordinator.commands.json_output import Json, print_json

if TYPE_CHECKING:
    from coordinator.config import Config

app = typer.Typer(help="Explain ISA strings and what guests see of their ISA.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Argument(help="A run configuration.")]


@app.command()
def explain(
    text: Annotated[
        str,
        typer.Argument(
            help="ISA string (rv64gc_zacas), profile (rva22u64) or riscv,isa-extensions with commas (i, m, a)."
        ),
    ],
    json: Json = False,
) -> None:
    """Print each extension that an ISA string stands for, why it is on, and whether hartstorm implements it."""
    from coordinator.report import plain_table, stdout_console
    from hart.isa.extension_list import ISA_BASE, explain_extension_list
    from hart.isa.extensions import REGISTRY
    from hart.isa.isa_string import IsaError, explain, format_isa

    try:
        if "," in text:
            listed = [name.strip().strip('"') for name in text.split(",")]
            reasons = explain_extension_list(ISA_BASE, listed)
        else:
            reasons = explain(text)
    except IsaError as error:
        fail(str(error))
    if json:
        rows = [
            {"name": name, "why": why, "implemented": REGISTRY[name].implemented}
            for name, why in reasons.items()
        ]
        print_json({"isa": format_isa(reasons), "extensions": rows})
        return
    table = plain_table(["extension", "why", "implemented", "what it is"])
    for name, why in reasons.items():
        row = REGISTRY[name]
        table.add_row(name, why, "yes" if row.implemented else "no", row.about)
    stdout_console().print(table)
    typer.echo(f"\n{format_isa(reasons)}")
    if lacking := [name for name in reasons if not REGISTRY[name].implemented]:
        typer.echo(f"hartstorm does not implement {', '.join(lacking)}")


@app.command("list")
def list_extensions(json: Json = False) -> None:
    """Print the registry: every extension with its KVM id, hwprobe bit, and what it brings and needs."""
    from coordinator.report import plain_table, stdout_console
    from hart.isa.extensions import REGISTRY
    from hart.isa.isa_string import canonical

    rows = [REGISTRY[name] for name in canonical(REGISTRY)]
    if json:
        from dataclasses import asdict

        from coordinator.control.messages import unfold

        print_json([asdict(row) for row in rows], unfold)
        return
    table = plain_table(["extension", "KVM id", "hwprobe", "brings", "needs", "implemented", "what it is"])
    for row in rows:
        table.add_row(
            row.name,
            "-" if row.kvm is None else str(row.kvm),
            ":".join(map(str, row.hwprobe)) if row.hwprobe else "-",
            " ".join(row.implies) or "-",
            " ".join(row.depends) or "-",
            "yes" if row.implemented else "no",
            row.about,
        )
    stdout_console().print(table)


@app.command()
def query(file: ConfigFile, json: Json = False) -> None:
    """Print what each VM's guest will see, and why each extension is on or off."""
    from coordinator.isa_query import decisions
    from coordinator.report import plain_table, stdout_console
    from hart.isa.extensions import misa
    from hart.isa.isa_string import format_isa

    found = {
        name: {hart: (vm.extensions_of(hart), decisions(vm, hart)) for hart in vm.isa.first_harts(vm.harts)}
        for name, vm in _load(file).run.vms.items()
    }
    if json:
        from dataclasses import asdict

        vms: dict[str, dict[str, object]] = {}
        for name, kinds in found.items():
            said: list[dict[str, object]] = [
                {"isa": format_isa(on), "misa": misa(on), "extensions": [asdict(d) for d in made]}
                for on, made in kinds.values()
            ]
            more = {"harts": dict(zip(kinds, said, strict=True))} if len(said) > 1 else {}
            vms[name] = said[0] | more
        print_json(vms)
        return
    for name, kinds in found.items():
        for hart, (on, made) in kinds.items():
            which = f"VM {name}" if len(kinds) == 1 else f"VM {name}, hart {hart}"
            typer.echo(f"{which}: {format_isa(on)}\nmisa {misa(on):#x}")
            table = plain_table(["extension", "", "why"])
            for decision in made:
                table.add_row(decision.name, "on" if decision.on else "off", decision.why)
            stdout_console().print(table)


@app.command()
def hwprobe(file: ConfigFile, json: Json = False) -> None:
    """Print what riscv_hwprobe would tell each VM's guest, key by key."""
    from coordinator.hwprobe import KEYS, Pair, cpu_of_spec
    from coordinator.hwprobe import hwprobe as probe
    from coordinator.runner import vm_spec

    found = {}
    for name, vm in _load(file).run.vms.items():
        spec = vm_spec(name, vm)
        cpus = {hart: cpu_of_spec(spec, vm.extensions_of(hart)) for hart in vm.isa.first_harts(vm.harts)}
        pairs, _ = probe(cpus, [Pair(number, 0) for number in KEYS])
        found[name] = {KEYS[pair.key].name: pair.value for pair in pairs}
    print_probed(found, json)


def print_probed(found: Mapping[str, Mapping[str, int]], json: bool) -> None:
    """Print the values of hwprobe's keys by VM."""
    from coordinator.hwprobe import bits_of

    if json:
        print_json(found)
        return
    for name, values in found.items():
        typer.echo(f"VM {name}")
        for key, value in values.items():
            names = " ".join(e.name for e in bits_of(key, value))
            typer.echo(f"  {key:<24}{value:#x}{names and f'  {names}'}")


def _load(file: Path) -> Config:
    from coordinator.config import load

    with config_errors():
        return load(file)
