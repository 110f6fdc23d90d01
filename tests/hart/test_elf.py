"""ELF files in and out: round trip, what is refused and why, and that Spike runs what we write."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from hart.asm import assemble
from hart.elf import ImageFileError, read_elf, read_raw, write_elf

PROGRAM = """
        .globl  _start
_start: la      t0, table
        li      t1, 4
        li      a0, 0
1:      lw      t2, (t0)
        add     a0, a0, t2
        addi    t0, t0, 4
        addi    t1, t1, -1
        bnez    t1, 1b
        lw      t2, zeros + 60
        add     a0, a0, t2
        slli    a0, a0, 1
        ori     a0, a0, 1
        sd      a0, tohost, t0
1:      j       1b
        .data
table:  .word   1, 2, 3, 4
        .size   table, . - table
        .bss
zeros:  .zero   64
        .section .tohost
        .globl  tohost, fromhost
tohost: .dword  0
        .size   tohost, 8
        .align  6
fromhost: .dword 0
        .size   fromhost, 8
"""


def test_round_trip() -> None:
    image = assemble(PROGRAM).image
    found = read_elf(write_elf(image), "again")
    assert (found.entry, found.chunks, found.symbols) == (image.entry, image.chunks, image.symbols)
    assert found.name == "again"


def test_file_round_trip(tmp_path: Path) -> None:
    image = assemble(PROGRAM).image
    path = tmp_path / "program.elf"
    path.write_bytes(write_elf(image))
    assert read_elf(path).chunks == image.chunks
    path.write_bytes(b"\x13\x00\x00\x00")
    raw = read_raw(path, 0x1000)
    assert (raw.entry, raw.chunks[0].address, raw.chunks[0].data) == (0x1000, 0x1000, b"\x13\x00\x00\x00")


def patched(offset: int, data: bytes) -> bytes:
    elf = bytearray(write_elf(assemble(PROGRAM).image))
    elf[offset : offset + len(data)] = data
    return bytes(elf)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a valid ELF file"),
        (b"\x7fELF", "not a valid ELF file"),
        (b"#!/bin/sh\n" * 10, "not a valid ELF file: Magic number does not match"),
        (patched(18, struct.pack("<H", 62)), "is for EM_X86_64, not EM_RISCV"),
        (patched(16, struct.pack("<H", 3)), "is of type ET_DYN, not ET_EXEC"),
        (patched(16, struct.pack("<H", 1)), "is an object file; link it first"),
        (patched(64, struct.pack("<I", 3)), "asks for an interpreter"),
        (patched(64 + 32, struct.pack("<Q", 1 << 40)), "is cut short"),
        (patched(56, struct.pack("<H", 0)), "has no segment to load"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageFileError, match=message):
        read_elf(data, "file")


def test_other_class_and_byte_order() -> None:
    header = struct.pack("<HHIIIIIHHHHHH", 2, 243, 1, 0, 0, 0, 0, 52, 32, 0, 40, 0, 0)
    with pytest.raises(ImageFileError, match="ELF32"):
        read_elf(b"\x7fELF\x01\x01\x01" + bytes(9) + header)
    big = struct.pack(">HHIQQQIHHHHHH", 2, 243, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
    with pytest.raises(ImageFileError, match="big-endian"):
        read_elf(b"\x7fELF\x02\x02\x01" + bytes(9) + big)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="cannot read"):
        read_elf(tmp_path / "none")
    with pytest.raises(ImageFileError, match="cannot read"):
        read_raw(tmp_path / "none", 0)


def test_damaged_files_are_refused_or_read() -> None:
    """No damage makes the reader fail in any other way."""
    rng = random.Random(5)
    whole = write_elf(assemble(PROGRAM).image)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            start = rng.choice((0, 64, len(damaged) - 700))
            damaged[rng.randrange(start, min(start + 700, len(damaged)))] = rng.choice(
                (0, 1, 0xFF, rng.randrange(256))
            )
        try:
            read_elf(bytes(damaged))
        except ImageFileError:
            refused += 1
    assert refused > 50


@pytest.mark.outside
def test_spike_runs_it(tmp_path: Path) -> None:
    spike = shutil.which("spike")
    if spike is None:
        pytest.skip("spike is not on PATH")
    path = tmp_path / "program.elf"
    path.write_bytes(write_elf(assemble(PROGRAM).image))
    run = subprocess.run([spike, "--isa=rv64imac", str(path)], capture_output=True, timeout=60, check=False)
    assert run.returncode == 10, run.stderr
