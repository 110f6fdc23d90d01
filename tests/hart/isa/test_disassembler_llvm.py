"""LLVM's assembler gives disassembled words back: samples of every row, and every compressed halfword."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from samples import ALL, random_values

from hart.isa import ROWS
from hart.isa.disassembler import disassemble

pytestmark = pytest.mark.outside

FEATURES = "+m+a+c+zacas+zabha+zawrs+zalasr+zicond+zba+zbb+zbs+zihintpause"
SAMPLES = 20


def assemble(lines: Iterable[str], directory: Path) -> bytes:
    """The .text that LLVM makes of the lines."""
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    source, target = directory / "sample.S", directory / "sample.o"
    source.write_text("\n".join([".option norelax", *lines, ""]))
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", "riscv64-freestanding-none"),
        f"-mcpu=generic_rv64{FEATURES}",
        *("-c", str(source), "-o", str(target)),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[:4000]
    section = ELFFile(BytesIO(target.read_bytes())).get_section_by_name(".text")
    assert section is not None
    data: bytes = section.data()
    return data


def check(words: list[int], directory: Path) -> None:
    """Compare the words with LLVM's encoding of their text."""
    lengths = [2 if word & 3 != 3 else 4 for word in words]
    # Without `norvc` LLVM would compress what it can.
    lines = [
        f".option {'rvc' if length == 2 else 'norvc'}\n{disassemble(word)}"
        for word, length in zip(words, lengths, strict=True)
    ]
    text = assemble(lines, directory)
    at = 0
    for word, length in zip(words, lengths, strict=True):
        theirs = int.from_bytes(text[at : at + length], "little")
        assert theirs == word, f"{disassemble(word)}: {word:#x}, LLVM {theirs:#x}"
        at += length
    assert at == len(text)


def test_every_row(tmp_path: Path) -> None:
    rng = random.Random(2)
    words = [row.pattern.encode(random_values(row, rng)) for row in ROWS for _ in range(SAMPLES)]
    assert {decoded.row.name for word in words if (decoded := ALL.decode(word))} == {row.name for row in ROWS}
    check(words, tmp_path)


def test_every_legal_halfword(tmp_path: Path) -> None:
    check([h for h in range(1 << 16) if h & 3 != 3 and ALL.decode(h)], tmp_path)
