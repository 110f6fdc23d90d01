"""Files of guest programs: ELF64 RISC-V executables in and out, and raw images in.

Owns the file formats; `hart.image` is what they are read into. Executes and relocates nothing: programs must
be linked to their addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hart.image import Chunk, Image, Symbol

_FLAG_RVC = 1
_LITTLE, _CLASS_64, _CURRENT = 1, 2, 1
_ET_EXEC, _EM_RISCV = 2, 243
_PT_LOAD, _RWX = 1, 7
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS = 1, 2, 3, 8
_WRITE_ALLOC_EXECUTE = 7
_GLOBAL_NOTYPE, _GLOBAL_OBJECT = 0x10, 0x11
_SHN_ABS = 0xFFF1
_PAGE = 4096

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


class ImageFileError(Exception):
    """A program file that hartstorm cannot run; the message names the file and the reason."""


def read_elf(source: Path | bytes, name: str | None = None) -> Image:
    """Read a statically linked ELF64 little-endian RISC-V executable.

    Symbols with a value stay, with their sizes; those of files, sections and the assembler's markers ($x, $d,
    .L) go. Where a name occurs twice, the global one counts.

    Raises:
        ImageFileError: the file cannot be read, is no ELF, or of another class, machine or type.

    """
    called = name or (str(source) if isinstance(source, Path) else "ELF")
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        elf = ELFFile(BytesIO(data))
        _check(elf, called)
        chunks = tuple(_chunks(elf, called))
        symbols = _symbols(elf)
    except OSError as error:
        raise ImageFileError(f"cannot read {called}: {error.strerror or error}") from error
    except (ELFError, struct.error, UnicodeDecodeError, ValueError, KeyError, AssertionError) as error:
        raise ImageFileError(f"{called} is not a valid ELF file: {error or type(error).__name__}") from error
    if not chunks:
        raise ImageFileError(f"{called} has no segment to load")
    return Image(called, elf["e_entry"], chunks, symbols)


def _check(elf: ELFFile, name: str) -> None:
    if elf.elfclass != 64:
        raise ImageFileError(f"{name} is an ELF{elf.elfclass} file; hartstorm runs ELF64")
    if not elf.little_endian:
        raise ImageFileError(f"{name} is big-endian; hartstorm runs little-endian programs")
    if elf["e_machine"] != "EM_RISCV":
        raise ImageFileError(f"{name} is for {elf['e_machine']}, not EM_RISCV")
    kinds = {s["p_type"] for s in elf.iter_segments()}
    if "PT_INTERP" in kinds:
        raise ImageFileError(
            f"{name} is dynamically linked (it asks for an interpreter); link it with -static"
        )
    if elf["e_type"] == "ET_REL":
        raise ImageFileError(f"{name} is an object file; link it first")
    if elf["e_type"] != "ET_EXEC":
        raise ImageFileError(f"{name} is of type {elf['e_type']}, not ET_EXEC; link it with -static -no-pie")
    if "PT_DYNAMIC" in kinds:
        raise ImageFileError(f"{name} has dynamic linking information; link it with -static -no-pie")


def _chunks(elf: ELFFile, name: str) -> Iterable[Chunk]:
    for segment in elf.iter_segments("PT_LOAD"):
        size, data = segment["p_memsz"], segment.data()
        if len(data) != segment["p_filesz"] or size < len(data):
            raise ImageFileError(f"{name}: the segment at {segment['p_paddr']:#x} is cut short")
        if size:
            yield Chunk(segment["p_paddr"], data, size - len(data))


def _symbols(elf: ELFFile) -> dict[str, Symbol]:
    found: dict[str, Symbol] = {}
    rank: dict[str, int] = {}
    for table in elf.iter_sections():
        if not isinstance(table, SymbolTableSection) or table["sh_type"] != "SHT_SYMTAB":
            continue
        for entry in table.iter_symbols():
            kind, binding = entry["st_info"]["type"], entry["st_info"]["bind"]
            marker = entry.name.startswith(("$", ".L"))
            if (
                not entry.name
                or marker
                or kind in ("STT_FILE", "STT_SECTION")
                or entry["st_shndx"] == "SHN_UNDEF"
            ):
                continue
            weight = {"STB_GLOBAL": 2, "STB_WEAK": 1}.get(binding, 0)
            if weight > rank.get(entry.name, -1):
                rank[entry.name] = weight
                found[entry.name] = Symbol(entry.name, entry["st_value"], entry["st_size"])
    return found


def read_raw(path: Path, address: int) -> Image:
    """Read a file whose bytes go to `address` as they are; it starts at its first byte.

    Raises:
        ImageFileError: the file cannot be read, or is empty.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise ImageFileError(f"{path} is empty")
    return Image(str(path), address, (Chunk(address, data),))


class _Section(NamedTuple):
    """A section to be written; `size` counts where there are no bytes in the file."""

    name: str
    kind: int
    data: bytes
    size: int
    flags: int = 0
    address: int = 0
    link: int = 0
    info: int = 0
    entry_size: int = 0


def write_elf(image: Image) -> bytes:
    """An ELF64 executable of the image: a segment and a section for each chunk, and the symbols.

    The chunks do not say what they are for, so that every segment may be read, written and executed. The
    flags word says RVC, because the program may use it.
    """
    loaded = list(_loaded_sections(image.chunks))
    symbols, strings = _symbol_table(image, loaded)
    tables = [
        _Section(
            ".symtab",
            _SHT_SYMTAB,
            symbols,
            len(symbols),
            link=len(loaded) + 2,
            info=1,
            entry_size=_SYMBOL.size,
        ),
        _Section(".strtab", _SHT_STRTAB, strings, len(strings)),
    ]
    names = _string_table([s.name for s in (*loaded, *tables)] + [".shstrtab"])
    sections = [*loaded, *tables, _Section(".shstrtab", _SHT_STRTAB, names, len(names))]

    file = bytearray(_HEADER.size + _SEGMENT.size * len(loaded))
    segments = bytearray()
    headers = bytearray(_SECTION.size)
    for section in sections:
        # A loader maps pages: the offset in the file must equal the address modulo the page.
        file += bytes((section.address - len(file)) % (_PAGE if section.flags else 8))
        name = names.index(b"\0" + section.name.encode() + b"\0") + 1
        headers += _SECTION.pack(
            name, section.kind, section.flags, section.address, len(file), section.size,
            section.link, section.info, 1, section.entry_size,
        )  # fmt: skip
        if section.flags:
            address, stored = section.address, len(section.data)
            segments += _SEGMENT.pack(
                _PT_LOAD, _RWX, len(file), address, address, stored, section.size, _PAGE
            )
        file += section.data
    file += bytes(-len(file) % 8)
    file[: _HEADER.size] = _HEADER.pack(
        b"\x7fELF" + bytes([_CLASS_64, _LITTLE, _CURRENT]) + bytes(9),
        _ET_EXEC, _EM_RISCV, _CURRENT, image.entry, _HEADER.size, len(file), _FLAG_RVC,
        _HEADER.size, _SEGMENT.size, len(loaded), _SECTION.size, len(sections) + 1, len(sections),
    )  # fmt: skip
    file[_HEADER.size : _HEADER.size + len(segments)] = segments
    return bytes(file + headers)


def _loaded_sections(chunks: Iterable[Chunk]) -> Iterator[_Section]:
    """One section for the bytes of each chunk, one for its zeros."""
    for number, chunk in enumerate(chunks):
        size, end = len(chunk.data), chunk.address + len(chunk.data)
        if size:
            yield _Section(
                f".load{number}", _SHT_PROGBITS, chunk.data, size, _WRITE_ALLOC_EXECUTE, chunk.address
            )
        if chunk.zeros:
            yield _Section(f".zeros{number}", _SHT_NOBITS, b"", chunk.zeros, _WRITE_ALLOC_EXECUTE, end)


def _symbol_table(image: Image, sections: Sequence[_Section]) -> tuple[bytes, bytes]:
    """The symbols, and the strings of their names."""
    table = bytearray(_SYMBOL.size)
    strings = bytearray(b"\0")
    for symbol in image.symbols.values():
        kind = _GLOBAL_OBJECT if symbol.size else _GLOBAL_NOTYPE
        holders = (n for n, s in enumerate(sections, 1) if s.address <= symbol.address <= s.address + s.size)
        table += _SYMBOL.pack(len(strings), kind, 0, next(holders, _SHN_ABS), symbol.address, symbol.size)
        strings += symbol.name.encode() + b"\0"
    return bytes(table), bytes(strings)


def _string_table(names: Iterable[str]) -> bytes:
    return b"\0" + b"".join(n.encode() + b"\0" for n in names)
