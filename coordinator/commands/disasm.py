"""`hartstorm disasm`: show the instructions of a program, of a configuration's guests, or of words in hexadecimal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import config_errors, parse_isa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hart.image import Image
    from hart.isa.decoder import Decoder


def disasm(
    what: Annotated[
        list[str],
        typer.Argument(help="An ELF or assembly file, a run configuration, or instruction words in hex."),
    ],
    isa: Annotated[str | None, typer.Option(help="ISA string; other instructions show as data.")] = None,
) -> None:
    """Disassemble a program, the guests of a run configuration, or single instruction words such as 0x00b5252f."""
    from hart.isa import EXTENSIONS
    from hart.isa.decoder import Decoder
    from hart.isa.disassembler import disassemble

    with config_errors():
        decoder = Decoder(EXTENSIONS if isa is None else parse_isa(isa))
        for text in what:
            word = _word(text)
            lines = _programs(Path(text), decoder) if word is None else [disassemble(word, decoder=decoder)]
            for line in lines:
                typer.echo(line)


def _word(text: str) -> int | None:
    """The instruction word, unless it is a file or a name; raises ConfigError where it was meant to be one."""
    from coordinator.config.errors import ConfigError, Problem

    if Path(text).is_file():
        return None
    try:
        return int(text, 16)
    except ValueError:
        if text[:1].isdigit():
            message = "is neither a file nor an instruction word in hexadecimal"
            raise ConfigError("", [Problem(repr(text), message)]) from None
        return None


def _programs(path: Path, decoder: Decoder) -> Iterator[str]:
    """The program; those of a configuration under the names of its VMs, where it has several."""
    from coordinator.config import open_run
    from coordinator.guest import build_all

    images = build_all(open_run(path))
    for vm, image in images.items():
        if len(images) > 1:
            yield f"# {vm}"
        yield from _program(image, decoder)


def _program(image: Image, decoder: Decoder) -> Iterator[str]:
    """The chunks of a program as instructions, with its symbols as labels; data shows as what it would decode to."""
    labels: dict[int, list[str]] = {}
    for symbol in image.symbols.values():
        labels.setdefault(symbol.address, []).append(symbol.name)
    for chunk in image.chunks:
        at = 0
        while at < len(chunk.data):
            address = chunk.address + at
            yield from (f"{name}:" for name in labels.get(address, ()))
            length, text = _instruction(chunk.data[at : at + 4], address, decoder, image)
            yield f"{address:12x}  {chunk.data[at : at + length][::-1].hex():<8}  {text}"
            at += length


def _instruction(data: bytes, address: int, decoder: Decoder, image: Image) -> tuple[int, str]:
    """(length, text) of the instruction at the beginning of `data`."""
    from hart.isa.decoder import instruction_length
    from hart.isa.disassembler import disassemble

    word = int.from_bytes(data, "little")
    length = instruction_length(word)
    if length > len(data):
        return len(data), f".{'byte ' + ', '.join(map(hex, data))}"

    def symbolize(target: int) -> str:
        return f"{target:#x} <{image.symbolize(target)}>"

    return length, disassemble(word, address, decoder=decoder, symbolize=symbolize)
