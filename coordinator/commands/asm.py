"""`hartstorm asm`: assemble sources to an ELF file, a raw image or a listing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode, config_errors, parse_isa

if TYPE_CHECKING:
    from hart.image import Image


class Form(StrEnum):
    """What `asm` writes."""

    ELF = "elf"
    RAW = "raw"
    LISTING = "listing"


def asm(
    files: Annotated[list[Path], typer.Argument(help="Assembly sources, assembled together.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    form: Annotated[Form | None, typer.Option("--format", help="What to write. Default: by -o.")] = None,
    isa: Annotated[str | None, typer.Option(help="ISA string. Default: everything.")] = None,
    base: Annotated[str, typer.Option(help="Guest address of the first section.")] = "0x80000000",
    define: Annotated[list[str] | None, typer.Option("--define", "-D", help="NAME or NAME=VALUE.")] = None,
    include: Annotated[list[Path] | None, typer.Option("--include", "-I", help="Folder to look in.")] = None,
    compress: Annotated[bool, typer.Option(help="Use compressed instructions where possible.")] = False,
) -> None:
    """Assemble RISC-V sources into an ELF file, a raw image (-o FILE.bin) or a listing (without -o)."""
    from coordinator import paths
    from hart.asm import AssemblyError, assemble
    from hart.elf import write_elf

    with config_errors():
        extensions = None if isa is None else parse_isa(isa)
        origin = _number(base)
    macros = {
        name: value if given else "1" for name, given, value in (text.partition("=") for text in define or ())
    }
    folders = [*(include or ()), paths.GUEST_LIBRARY]
    try:
        made = assemble(
            files,
            base=origin,
            extensions=extensions,
            defines=macros,
            include_paths=folders,
            compress=compress,
        )
    except AssemblyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error
    form = form or _form_of(output)
    if form is Form.LISTING:
        lines = [f"{x.address:16x}  {x.data[::-1].hex():<32}  {x.place}  {x.text}" for x in made.listing]
        _write(output, ("\n".join(lines) + "\n").encode())
    elif output is None:
        typer.echo(f"--format {form.value} needs -o FILE", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    elif form is Form.RAW:
        _write(output, _flat(made.image))
    else:
        _write(output, write_elf(made.image))


def _number(text: str) -> int:
    from coordinator.config.errors import ConfigError, Problem

    try:
        return int(text, 0)
    except ValueError:
        raise ConfigError("", [Problem("--base", "must be an address, e.g. 0x80000000", text)]) from None


def _form_of(output: Path | None) -> Form:
    if output is None:
        return Form.LISTING
    return {".bin": Form.RAW, ".lst": Form.LISTING}.get(output.suffix, Form.ELF)


def _write(output: Path | None, data: bytes) -> None:
    if output is None:
        typer.echo(data.decode(), nl=False)
    else:
        output.write_bytes(data)


def _flat(image: Image) -> bytes:
    """Memory from the lowest to the highest address of the image."""
    start = min(chunk.address for chunk in image.chunks)
    end = max(chunk.address + len(chunk.data) for chunk in image.chunks)
    memory = bytearray(end - start)
    for chunk in image.chunks:
        memory[chunk.address - start : chunk.address - start + len(chunk.data)] = chunk.data
    return bytes(memory)
