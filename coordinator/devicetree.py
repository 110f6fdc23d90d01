"""The device tree that describes a VM to its guest: built from the spec and the extensions, as source or
blob.

Owns the tree, its two forms, and the binding's rules for extension lists. Puts nothing into a guest.

The blob is Devicetree Specification v0.4, chapter 5, version 17: a few dozen lines, less than a dependency
would be. Extension lists: Linux `Documentation/devicetree/bindings/riscv/extensions.yaml`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coordinator.spec import VmSpec
from hart import clint
from hart.isa.extensions import REGISTRY, effective
from hart.isa.isa_string import ISA_BASE, canonical


@dataclass(frozen=True, slots=True)
class Phandle:
    """A reference to another node: its label in the source, its number in the blob."""

    label: str
    number: int


Value = None | int | str | Sequence[str] | Sequence[int | Phandle]
"""Nothing (the property's presence says it), a cell, a string, strings, or cells."""

_SOFTWARE_INTERRUPT, _TIMER_INTERRUPT = 3, 7
"""Bits of mip: what the CLINT drives."""


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
        for interrupt in (_SOFTWARE_INTERRUPT, _TIMER_INTERRUPT)
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


# Extension lists


@dataclass(frozen=True, slots=True)
class ListRule:
    """Where one of `where` (with `all`, every one) is listed, the list must hold as many of `of` as `count`
    says."""

    where: tuple[str, ...]
    count: str
    of: tuple[str, ...]
    all: bool = False

    def broken_by(self, listed: frozenset[str]) -> str:
        """The rule in words where the list breaks it, else nothing."""
        found = [name for name in self.where if name in listed]
        if not found or (self.all and len(found) < len(self.where)):
            return ""
        have = sum(name in listed for name in self.of)
        if {"all of": have == len(self.of), "exactly one of": have == 1, "none of": have == 0}[self.count]:
            return ""
        return f"{', '.join(found)}: the list must hold {self.count} {', '.join(self.of)}"


LIST_RULES = (
    ListRule(("zacas",), "all of", ("zaamo",)),  # the string itself: a does not do
    ListRule(("za64rs",), "exactly one of", ("zalrsc", "a")),
    ListRule(("ziccrse",), "exactly one of", ("zalrsc", "a")),
    ListRule(("ziccamoa",), "exactly one of", ("zaamo", "a")),
    ListRule(("d",), "all of", ("f",)),
    ListRule(("b",), "all of", ("zba", "zbb", "zbs")),
    ListRule(("zba", "zbb", "zbs"), "all of", ("b",), all=True),
    ListRule(("zcb",), "all of", ("zca",)),
    ListRule(("zcmop",), "all of", ("zca",)),
    ListRule(("zcd",), "all of", ("zca", "d")),
    ListRule(("zfbfmin",), "all of", ("f",)),
    ListRule((ISA_BASE,), "none of", ("zcf", "zilsd", "zclsd")),
)
"""The binding's rules. The name of the base stands in the list for them, so that rules may ask for it."""


def broken_rules(listed: Iterable[str]) -> list[str]:
    """The rules that a `riscv,isa-extensions` list breaks beside `riscv,isa-base = "rv64i"`."""
    names = frozenset(listed) | {ISA_BASE}
    return [said for rule in LIST_RULES if (said := rule.broken_by(names))]


def extension_list(extensions: frozenset[str]) -> list[str]:
    """The `riscv,isa-extensions` of a hart: everything spelled out, but for what the binding forbids.

    It forbids some pairs of a bundle and its part (`a` beside `zalrsc` where `ziccrse` is listed). Then the
    shortest omission that obeys is taken; what is left out is brought by what is listed, or only names what
    is.

    Raises:
        ValueError: no list obeys; says which rule.

    """
    on = effective(extensions)
    if on >= {"Zba", "Zbb", "Zbs"}:
        on |= {"B"}
    everything = [REGISTRY[name].dt_name for name in canonical(on)]
    may_go = [name for name in ("zalrsc", "zaamo", "a") if name in everything and "a" in everything]
    for count in range(len(may_go) + 1):
        for gone in itertools.combinations(may_go, count):
            kept = [name for name in everything if name not in gone]
            if not broken_rules(kept) and effective(_named(kept)) | {"A"} >= on:
                return kept
    raise ValueError("; ".join(broken_rules(everything)))


def _named(strings: Iterable[str]) -> list[str]:
    by_string = {row.dt_name: row.name for row in REGISTRY.values()}
    return [by_string[text] for text in strings]


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
