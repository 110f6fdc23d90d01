"""herd7's hash of a litmus test: the `Hash=` line by which logs of different tools are matched.

Owns the canonical text that is hashed; nothing else may depend on that text. The quantifier and the proposition
itself are not in it: two tests have equal hashes if they show the same locations of the same program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from coordinator.litmus.code import canonical
from coordinator.litmus.test import Initial, Line, LitmusTest, Location, Register, written_name
from hart.isa.registers import NUMBERS as REGISTERS
from hart.isa.syntax import split_base


def hash_of(test: LitmusTest) -> str:
    """The hash as 32 hexadecimal digits; a `Hash=` in the test's header is taken at its word."""
    given = dict(test.metadata).get("Hash")
    if given:
        return given
    digests = (_md5(_initial(test.initial)), _md5(_program(test.threads)), _md5(_shown(test)))
    return hashlib.md5(b"".join(digests)).hexdigest()


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode()).digest()


def _name_order(location: Location) -> tuple[int, int, str]:
    """Registers by thread and by name as text (x10 before x5), then memory."""
    if isinstance(location, Register):
        return (0, location.thread, written_name(location).partition(":")[2])
    return (1, 0, str(location))


def _initial(items: Iterable[Initial]) -> str:
    return "; ".join(_initial_item(i) for i in sorted(items, key=lambda i: _name_order(i.location)))


def _initial_item(item: Initial) -> str:
    declared = item.type
    if declared is not None and declared.length is not None:
        return f"{declared.name} {item.location}[{declared.length}]"
    prefix = "" if declared is None else f"{declared.name} {'*' if declared.pointer else ''}"
    value = 0 if item.value is None else item.value
    return f"{prefix}{written_name(item.location)}={(isinstance(value, int) and item.number) or value}"


# Code


def _program(threads: tuple[tuple[Line, ...], ...]) -> str:
    order = sorted({label for lines in threads for line in lines for label in line.labels})
    renamed = {label: f"L{number:02}" for number, label in enumerate(order)}
    columns = [_column(lines, renamed) for lines in threads]
    widths = [max((len(cell) for cell in column), default=0) for column in columns]
    rows = []
    for number in range(max(len(c) for c in columns)):
        cells = [c[number] if number < len(c) else "" for c in columns]
        rows.append("|".join(f" {cell:<{width}} " for cell, width in zip(cells, widths, strict=True)) + ";\n")
    return "".join(rows)


def _column(lines: tuple[Line, ...], renamed: dict[str, str]) -> list[str]:
    cells = []
    for line in lines:
        cells += [f"{renamed[label]}:" for label in line.labels]
        if line.mnemonic:
            cells.append(_instruction(line, renamed))
    return cells


_UNORDERED = {"lr.w.rl": "lr.w", "lr.d.rl": "lr.d", "sc.w.aq": "sc.w", "sc.d.aq": "sc.d"}
"""LR with rl alone and SC with aq alone order nothing."""


def _instruction(line: Line, renamed: dict[str, str]) -> str:
    name, operands = canonical(line.mnemonic, line.operands)
    if name == "fence":
        return f"fence {','.join(operands)}"
    amo = name.startswith("amo")
    texts = [_operand(o, amo, renamed) for o in operands]
    name = _UNORDERED.get(name, name)
    if name == "li":
        name, texts = "ori", [texts[0], "x0", texts[1]]
    elif name == "addi" and texts[2] == "0":
        name, texts = "mv", texts[:2]
    return f"{name} {','.join(texts)}" if texts else name


def _operand(text: str, amo: bool, renamed: dict[str, str]) -> str:
    offset, base = split_base(text)
    if base is not None:
        return f"(x{REGISTERS[base]})" if amo else f"{int(offset or '0', 0)}(x{REGISTERS[base]})"
    if text in REGISTERS:
        return f"x{REGISTERS[text]}"
    if text in renamed:
        return renamed[text]
    try:
        return str(int(text, 0))
    except ValueError:
        return text


def _shown(test: LitmusTest) -> str:
    shown = test.shown_locations()
    return "; ".join(written_name(location) for location in sorted(shown, key=_name_order))
