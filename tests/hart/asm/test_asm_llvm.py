"""Our bytes are LLVM's: one source with every pseudo-instruction and most directives, and constants for `li`."""

from __future__ import annotations

import random
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from hart.asm import assemble
from hart.image import Image
from hart.isa.isa_string import parse

pytestmark = pytest.mark.outside

ISA = "rv64ima_zacas_zabha_zawrs_zalasr_zicond_zihintpause"
FEATURES = "+m+a+zacas+zabha+zawrs+zalasr+zicond+zihintpause-c"
SCRIPT = """
SECTIONS
{
  . = 0x80000000;
  .text.init : { *(.text.init) }
  .text : { *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  . = ALIGN(0x1000);
  .data : { *(.data .data.*) }
  .bss : { *(.bss) }
  .tohost : { *(.tohost) }
}
"""
SOURCE = Path(__file__).with_name("everything.S")
EDGES = (
    0,
    1,
    -1,
    2047,
    2048,
    -2048,
    -2049,
    0x1800,
    4096,
    0x7FFFF800,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 63,
)


def constants() -> list[int]:
    """Values at all the edges of the ways to build a constant, and random ones of every width."""
    rng = random.Random(3)
    values = [*EDGES, *(1 << n for n in range(64)), *((1 << n) - 1 for n in range(64))]
    values += [rng.getrandbits(rng.randrange(1, 65)) << rng.randrange(0, 12) for _ in range(1000)]
    values += [~v for v in values]
    return [(v & (1 << 64) - 1) - ((v & 1 << 63) << 1) for v in values]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    many = tmp_path_factory.mktemp("asm") / "constants.S"
    many.write_text("\n".join(f"li a{n % 8}, {value}" for n, value in enumerate(constants())))
    return [SOURCE, many]


@pytest.fixture(scope="module")
def theirs(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> ELFFile:
    """The sources as LLVM assembles and links them."""
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    directory = tmp_path_factory.mktemp("llvm")
    script, target = directory / "link.ld", directory / "all.elf"
    script.write_text(SCRIPT)
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", "riscv64-freestanding-none"),
        *(f"-mcpu=generic_rv64{FEATURES}", "-nostdlib", "-static", "-g0", "-mno-relax"),
        *(f"-Wl,-T,{script}", "-DSEVEN=7", *map(str, sources), "-o", str(target)),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[:4000]
    return ELFFile(BytesIO(target.read_bytes()))


@pytest.fixture(scope="module")
def ours(sources: list[Path]) -> Image:
    return assemble(sources, extensions=parse(ISA), defines={"SEVEN": "7"}).image


def test_bytes(ours: Image, theirs: ELFFile) -> None:
    expected = {
        s["sh_addr"]: s.data() if s["sh_type"] != "SHT_NOBITS" else bytes(s["sh_size"])
        for s in theirs.iter_sections()
        if s["sh_flags"] & 2 and s["sh_size"]
    }
    # A section of one file each for us, of all files for LLVM: compare what lies at each address.
    for address, data in expected.items():
        found = bytearray(len(data))
        for chunk in ours.chunks:
            whole = chunk.data + bytes(chunk.zeros)
            if address <= chunk.address < address + len(data):
                found[chunk.address - address : chunk.address - address + len(whole)] = whole
        if found != data:
            at = next(i for i, (a, b) in enumerate(zip(found, data, strict=True)) if a != b) & ~3
            place = ours.symbolize(address + at)
            pytest.fail(f"{place}: ours {found[at : at + 8].hex()}, LLVM's {data[at : at + 8].hex()}")
    assert sum(map(len, expected.values())) > 10_000


def test_symbols(ours: Image, theirs: ELFFile) -> None:
    table = theirs.get_section_by_name(".symtab")
    assert table is not None
    checked = 0
    for entry in table.iter_symbols():
        name = entry.name
        wanted = entry["st_info"]["bind"] == "STB_GLOBAL" and entry["st_shndx"] not in (
            "SHN_UNDEF",
            "SHN_ABS",
        )
        if name and wanted and name in ours.symbols:
            symbol = ours.symbols[name]
            assert (name, symbol.address, symbol.size) == (name, entry["st_value"], entry["st_size"])
            checked += 1
    assert checked >= 5
