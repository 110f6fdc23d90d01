"""`hartstorm dt`: the device tree of a configuration's VM."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.connection import fail
from coordinator.commands.exit_codes import config_errors


class Form(StrEnum):
    """What `dt` writes."""

    DTS = "dts"
    DTB = "dtb"


def dt(
    file: Annotated[Path, typer.Argument(help="A run configuration.")],
    vm: Annotated[str | None, typer.Option(help="Which VM. Default: the only one.")] = None,
    form: Annotated[Form | None, typer.Option("--format", help="Source or blob. Default: by -o.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the device tree that a VM's guest would find: source, or a blob with -o FILE.dtb (see also `vm dt`)."""
    from coordinator.config import load
    from coordinator.devicetree import device_tree, to_blob, to_source
    from coordinator.runner import vm_spec
    from hart.spelling import nearest

    with config_errors():
        vms = load(file).run.vms
    if vm is None and len(vms) > 1:
        fail(f"{file} has several VMs; choose with --vm: {', '.join(vms)}")
    name = vm or next(iter(vms))
    if name not in vms:
        fail(f"{file} has no VM {name!r}{nearest(name, vms)}; there are {', '.join(vms)}")
    chosen = vms[name]
    tree = device_tree(vm_spec(name, chosen), [chosen.extensions_of(hart) for hart in range(chosen.harts)])
    write_tree(to_source(tree), to_blob(tree), form, output)


def write_tree(source: str, blob: bytes, form: Form | None, output: Path | None) -> None:
    """Write a device tree to a file, or to stdout if that is none; a blob goes to no terminal."""
    if form is None:
        form = Form.DTB if output is not None and output.suffix == ".dtb" else Form.DTS
    content = blob if form is Form.DTB else source.encode()
    if output is not None:
        try:
            output.write_bytes(content)
        except OSError as error:
            fail(f"{output}: {error.strerror}")
    elif form is Form.DTB and sys.stdout.isatty():
        fail("--format dtb needs -o FILE, or > FILE")
    else:
        typer.echo(content, nl=False)
