"""Program files: ELF64 executables and raw images, read into a `hart.image.Image`.

Owns the reading. Places nothing in memory and runs nothing.
"""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hart.image import Chunk, Image, Symbol


class ElfError(ValueError):
    """A file that is no RISC-V RV64 executable; says what it is instead."""


def read_elf(path: Path) -> Image:
    """The program in an ELF64 RISC-V executable, placed at its segments' physical addresses.

    Raises:
        ElfError: not such a file.
        OSError: it cannot be read.

    """
    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            machine, kind = elf["e_machine"], elf["e_type"]
            if elf.elfclass != 64 or not elf.little_endian or machine != "EM_RISCV":
                raise ElfError(
                    f"{path}: {elf.elfclass}-bit {machine} ELF, not a 64-bit little-endian RISC-V one"
                )
            if kind != "ET_EXEC":
                raise ElfError(f"{path}: {kind}, not an executable linked to fixed addresses (ET_EXEC)")
            chunks = tuple(
                Chunk(s["p_paddr"], s.data(), s["p_memsz"] - s["p_filesz"])
                for s in elf.iter_segments("PT_LOAD")
                if s["p_memsz"]
            )
            return Image(path.name, elf["e_entry"], chunks, _symbols(elf))
        except ELFError as error:
            raise ElfError(f"{path}: {error}") from error


def read_raw(path: Path, address: int) -> Image:
    """A file's bytes at `address`, which is also the entry; raises OSError."""
    return Image(path.name, address, (Chunk(address, path.read_bytes()),))


def _symbols(elf: ELFFile) -> dict[str, Symbol]:
    """Named defined symbols; a global one wins over local ones of its name."""
    found: dict[str, Symbol] = {}
    for table in elf.iter_sections():
        if isinstance(table, SymbolTableSection):
            for s in sorted(table.iter_symbols(), key=lambda s: s["st_info"]["bind"] != "STB_LOCAL"):
                if (
                    s.name
                    and s["st_shndx"] != "SHN_UNDEF"
                    and s["st_info"]["type"] not in ("STT_FILE", "STT_SECTION")
                ):
                    found[s.name] = Symbol(s.name, s["st_value"], s["st_size"])
    return found
