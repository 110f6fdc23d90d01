"""The device tree that describes a VM to its guest: built from the spec and the extensions, as source or
blob.

Owns the tree and its two forms. Puts nothing into a guest; extension lists are `hart.isa.extension_list`'s.

The blob is Devicetree Specification v0.4, chapter 5, version 17: a few dozen lines, less than a dependency
would be.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coordinator.spec import VmSpec
from hart import clint
from hart.csr import MIP_MSIP, MIP_MTIP
from hart.isa.extension_list import ISA_BASE, extension_list


@dataclass(frozen=True, slots=True)
class Phandle:
    """A reference to another node: its label in the source, its number in the blob."""

    label: str
    number: int


Value = None | int | str | Sequence[str] | Sequence[int | Phandle]
"""Nothing (the property's presence says it), a cell, a string, strings, or cells."""

_INTERRUPTS = [bit.bit_length() - 1 for bit in (MIP_MSIP, MIP_MTIP)]
"""Software and timer interrupt, what the CLINT drives: numbers of their bits in mip."""


@dataclass(frozen=True)
class Node:
    """A node: its name with unit address, its properties, the nodes below it, its label where it is referred
    to."""

    name: str
    properties: dict[str, Value] = field(default_factory=dict)
    children: tuple[Node, ...] = ()
    label: str = ""


def device_tree(spec: VmSpec, harts: Sequence[frozenset[str]]) -> Node:
    """The tree of a VM; `harts` holds each one's extensions.

    Raises:
        ValueError: extensions that no list of the binding can say; says which rule.

    """
    interrupts = [
        cell
        for hart in range(len(harts))
        for interrupt in _INTERRUPTS
        for cell in (_controller(hart), interrupt)
    ]
    return Node(
        "",
        {
            "#address-cells": 2,
            "#size-cells": 2,
            "compatible": "hartstorm,vm",
            "model": f"hartstorm {spec.name}",
        },
        (
            Node("chosen"),
            Node(
                f"memory@{spec.ram_base:x}",
                {"device_type": "memory", "reg": [*_cells(spec.ram_base), *_cells(spec.ram_bytes)]},
            ),
            Node(
                "cpus",
                {
                    "#address-cells": 1,
                    "#size-cells": 0,
                    "timebase-frequency": spec.host.timer_frequency_hz,
                },
                tuple(_cpu(spec, number, extensions) for number, extensions in enumerate(harts)),
            ),
            Node(
                "soc",
                {"#address-cells": 2, "#size-cells": 2, "compatible": "simple-bus", "ranges": None},
                (
                    Node(
                        f"clint@{clint.BASE:x}",
                        {
                            "compatible": ["sifive,clint0", "riscv,clint0"],
                            "reg": [*_cells(clint.BASE), *_cells(clint.SIZE)],
                            "interrupts-extended": interrupts,
                        },
                    ),
                ),
            ),
        ),
    )


def _cpu(spec: VmSpec, number: int, extensions: frozenset[str]) -> Node:
    blocks = {
        "riscv,cbom-block-size": ("Zicbom", spec.host.zicbom_block_size),
        "riscv,cbop-block-size": ("Zicbop", spec.host.zicbop_block_size),
        "riscv,cboz-block-size": ("Zicboz", spec.host.zicboz_block_size),
    }
    return Node(
        f"cpu@{number:x}",
        {
            "device_type": "cpu",
            "reg": number,
            "status": "okay",
            "compatible": "riscv",
            "riscv,isa-base": ISA_BASE,
            "riscv,isa-extensions": extension_list(extensions),
            "mmu-type": "riscv,none",
            **{name: size for name, (needs, size) in blocks.items() if needs in extensions},
        },
        (
            Node(
                "interrupt-controller",
                {
                    "#address-cells": 0,
                    "#interrupt-cells": 1,
                    "compatible": "riscv,cpu-intc",
                    "interrupt-controller": None,
                    "phandle": _controller(number).number,
                },
                label=_controller(number).label,
            ),
        ),
    )


def _controller(hart: int) -> Phandle:
    return Phandle(f"cpu{hart}_intc", hart + 1)


def _cells(value: int) -> tuple[int, int]:
    return value >> 32, value & 0xFFFF_FFFF


# The two forms


def to_source(tree: Node) -> str:
    """Device tree source (dts)."""
    return "/dts-v1/;\n\n" + "\n".join(_source_lines(tree, "")) + "\n"


def _source_lines(node: Node, indent: str) -> Iterable[str]:
    label = f"{node.label}: " if node.label else ""
    yield f"{indent}{label}{node.name or '/'} {{"
    for name, value in node.properties.items():
        yield f"{indent}\t{name}{_source_value(value)};"
    for child in node.children:
        yield from _source_lines(child, indent + "\t")
    yield f"{indent}}};"


def _source_value(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f" = <{value:#x}>"
    if isinstance(value, str):
        return f' = "{value}"'
    if all(isinstance(v, str) for v in value):
        return " = " + ", ".join(f'"{v}"' for v in value)
    return f" = <{' '.join(f'&{v.label}' if isinstance(v, Phandle) else f'{v:#x}' for v in value)}>"


_BEGIN_NODE, _END_NODE, _PROPERTY, _END = 1, 2, 3, 9
_MAGIC, _VERSION, _COMPATIBLE_VERSION, _HEADER_BYTES = 0xD00DFEED, 17, 16, 40


def to_blob(tree: Node) -> bytes:
    """Flattened device tree (dtb)."""
    strings: dict[str, int] = {}
    table = bytearray()
    structure = bytearray()

    def offset(name: str) -> int:
        if name not in strings:
            strings[name] = len(table)
            table.extend(name.encode() + b"\0")
        return strings[name]

    def emit(node: Node) -> None:
        structure.extend(struct.pack(">I", _BEGIN_NODE) + _padded(node.name.encode() + b"\0"))
        for name, value in node.properties.items():
            data = _blob_value(value)
            structure.extend(struct.pack(">III", _PROPERTY, len(data), offset(name)) + _padded(data))
        for child in node.children:
            emit(child)
        structure.extend(struct.pack(">I", _END_NODE))

    emit(tree)
    structure += struct.pack(">I", _END)
    reservations = bytes(16)  # the empty list: one terminating entry
    at_structure = _HEADER_BYTES + len(reservations)
    at_strings = at_structure + len(structure)
    total = at_strings + len(table)
    header = struct.pack(
        ">10I",
        _MAGIC,
        total,
        at_structure,
        at_strings,
        _HEADER_BYTES,
        _VERSION,
        _COMPATIBLE_VERSION,
        0,
        len(table),
        len(structure),
    )
    return bytes(header + reservations + structure + table)


def _blob_value(value: Value | Phandle) -> bytes:
    if value is None:
        return b""
    if isinstance(value, int):
        return struct.pack(">I", value)
    if isinstance(value, str):
        return value.encode() + b"\0"
    if isinstance(value, Phandle):
        return _blob_value(value.number)
    return b"".join(_blob_value(v) for v in value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
