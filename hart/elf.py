"""Files of guest programs: ELF64 RISC-V executables in and out, and raw images in.

Owns the file formats; `hart.image` is what they are read into. Executes and relocates nothing: programs must be linked
to their addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

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
_PAGE = 4096

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


class ImageFileError(Exception):
    """A program file that hartstorm cannot run; the message names the file and the reason."""


def read_elf(source: Path | bytes, name: str | None = None) -> Image:
    """Read a statically linked ELF64 little-endian RISC-V executable.

    Symbols with a value stay, with their sizes; those of files, sections and the assembler's markers ($x, $d, .L) go.
    Where a name occurs twice, the global one counts.

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
        raise ImageFileError(f"{name} is dynamically linked (it asks for an interpreter); link it with -static")
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
            if not entry.name or marker or kind in ("STT_FILE", "STT_SECTION") or entry["st_shndx"] == "SHN_UNDEF":
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


def write_elf(image: Image) -> bytes:
    """An ELF64 executable of the image: a segment and a section for each chunk, and the symbols.

    The chunks do not say what they are for, so that every segment may be read, written and executed; the flags word
    says RVC, because a program may use it.
    """
    chunks = image.chunks
    table_at = _HEADER.size
    position = table_at + _SEGMENT.size * len(chunks)
    segments = bytearray()
    sections = bytearray(_SECTION.pack(*(0,) * 10))
    names = bytearray(b"\0")
    body = bytearray()

    def intern(text: str, strings: bytearray) -> int:
        strings += text.encode() + b"\0"
        return len(strings) - len(text.encode()) - 1

    def add_section(
        name: str, kind: int, data: bytes, flags: int = 0, address: int = 0, link: int = 0, info: int = 0, entry: int = 0
    ) -> None:
        sections.extend(
            _SECTION.pack(
                intern(name, names), kind, flags, address, position + len(body), len(data), link, info, 8, entry
            )
        )
        body.extend(data)

    for number, chunk in enumerate(chunks):
        # A loader maps pages: the offset in the file must equal the address modulo the page.
        body += bytes((chunk.address - position - len(body)) % _PAGE)
        size = len(chunk.data) + chunk.zeros
        segments += _SEGMENT.pack(
            _PT_LOAD, _RWX, position + len(body), chunk.address, chunk.address, len(chunk.data), size, _PAGE
        )
        if chunk.data:
            add_section(f".load{number}", _SHT_PROGBITS, chunk.data, _WRITE_ALLOC_EXECUTE, chunk.address)
        if chunk.zeros:
            name, start = f".zeros{number}", chunk.address + len(chunk.data)
            flags = _WRITE_ALLOC_EXECUTE
            sections += _SECTION.pack(
                intern(name, names), _SHT_NOBITS, flags, start, position + len(body), chunk.zeros, 0, 0, 8, 0
            )
    strings = bytearray(b"\0")
    symbols = bytearray(_SYMBOL.size)
    for symbol in image.symbols.values():
        kind = _GLOBAL_OBJECT if symbol.size else _GLOBAL_NOTYPE
        section = _section_of(symbol.address, chunks)
        symbols += _SYMBOL.pack(intern(symbol.name, strings), kind, 0, section, symbol.address, symbol.size)
    count = len(sections) // _SECTION.size
    body += bytes(-(position + len(body)) % 8)
    add_section(".symtab", _SHT_SYMTAB, bytes(symbols), link=count + 1, info=1, entry=_SYMBOL.size)
    add_section(".strtab", _SHT_STRTAB, bytes(strings))
    at = intern(".shstrtab", names)
    sections += _SECTION.pack(at, _SHT_STRTAB, 0, 0, position + len(body), len(names), 0, 0, 1, 0)
    body += names
    body += bytes(-(position + len(body)) % 8)
    header = _HEADER.pack(
        b"\x7fELF" + bytes([_CLASS_64, _LITTLE, _CURRENT]) + bytes(9),
        _ET_EXEC, _EM_RISCV, _CURRENT, image.entry, table_at, position + len(body), _FLAG_RVC,
        _HEADER.size, _SEGMENT.size, len(chunks), _SECTION.size, count + 3, count + 2,
    )  # fmt: skip
    return header + bytes(segments) + bytes(body) + bytes(sections)


def _section_of(address: int, chunks: tuple[Chunk, ...]) -> int:
    """The index of the section that `write_elf` makes for the chunk an address lies in; absolute if in none."""
    index = 0
    for chunk in chunks:
        for size, start in ((len(chunk.data), chunk.address), (chunk.zeros, chunk.address + len(chunk.data))):
            index += bool(size)
            if start <= address <= start + size and size:
                return index
    return 0xFFF1
