"""Running a program on Spike and reading its commit log.

Owns the command line, the ELF file that Spike takes, and the form of its log. Judges nothing.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from hart.image import Image

TIMEOUT_S = 60


def elf(image: Image) -> bytes:
    """A minimal ELF64 executable: one segment per chunk, and the symbols, where Spike looks for tohost."""
    names = b"\0"
    symbols = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for symbol in image.symbols.values():
        symbols += struct.pack("<IBBHQQ", len(names), 0x10, 0, 0xFFF1, symbol.address, symbol.size)
        names += symbol.name.encode() + b"\0"
    titles = b"\0.symtab\0.strtab\0.shstrtab\0"
    headers = b""
    body = b""
    start = 64 + 56 * len(image.chunks)
    for chunk in image.chunks:
        size = len(chunk.data)
        headers += struct.pack(
            "<IIQQQQQQ", 1, 7, start + len(body), chunk.address, chunk.address, size, size + chunk.zeros, 1
        )
        body += chunk.data
    places = []
    for part in (symbols, names, titles):
        places.append((start + len(body), len(part)))
        body += part
    sections = bytes(64)
    for kind, title, link, size, (offset, length) in zip(
        (2, 3, 3), (1, 9, 17), (2, 0, 0), (24, 0, 0), places, strict=True
    ):
        sections += struct.pack("<IIQQQQIIQQ", title, kind, 0, 0, offset, length, link, 1, 1, size)
    header = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH",
        2,
        243,
        1,
        image.entry,
        64,
        start + len(body),
        0,
        64,
        56,
        len(image.chunks),
        64,
        4,
        3,
    )
    return header + headers + body + sections


class SpikeError(Exception):
    """Spike did not run the program to its end."""


def commits(spike: Path, image: Image, isa: str, ram: int, ram_bytes: int, directory: Path) -> list[str]:
    """Spike's log of `image` on one M-mode hart from its first instruction to its end."""
    program, log = directory / "program.elf", directory / "spike.log"
    program.write_bytes(elf(image))
    command = [
        str(spike),
        f"--isa={isa}",
        "--priv=m",
        f"-m{ram:#x}:{ram_bytes:#x}",
        "--pmpregions=0",
        "--log-commits",
        f"--log={log}",
        str(program),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SpikeError(f"no end after {TIMEOUT_S} s") from None
    if done.returncode:
        raise SpikeError(f"exit code {done.returncode}: {done.stderr}")
    return log.read_text().splitlines()
