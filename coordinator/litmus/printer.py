"""Litmus tests as text: what is printed reads back as an equal test.

Owns the layout of a file; comments of the file a test was read from are not kept.
"""

from __future__ import annotations

from itertools import zip_longest

from coordinator.litmus.condition import proposition_text
from coordinator.litmus.test import (
    Constant,
    Initial,
    Line,
    LitmusTest,
    Quantifier,
    Register,
    Shown,
    written_name,
)


def print_test(test: LitmusTest) -> str:
    """The test as a `.litmus` file."""
    lines = [f"RISCV {test.name}"]
    if test.documentation is not None:
        lines.append(f'"{test.documentation}"')
    lines += [f"{key}={value}" for key, value in test.metadata]
    lines += ["{", *_initial(test.initial), "}", *_code(test.threads)]
    if test.shown:
        lines.append(f"locations [{' '.join(_shown(s) + ';' for s in test.shown)}]")
    if test.filter is not None:
        lines.append(f"filter {proposition_text(test.filter, written_name)}")
    if not (test.shown and test.quantifier is Quantifier.FORALL and test.condition == Constant(True)):
        lines.append(f"{test.quantifier.value} ({proposition_text(test.condition, written_name)})")
    return "\n".join(lines) + "\n"


def _initial(items: tuple[Initial, ...]) -> list[str]:
    """One line for memory, then one for each thread's registers, as far as they stand in that order."""
    lines: list[list[str]] = []
    last: int | None = None
    for item in items:
        group = item.location.thread if isinstance(item.location, Register) else -1
        if group != last:
            lines.append([])
            last = group
        lines[-1].append(_item(item) + ";")
    return [" ".join(line) for line in lines]


def _item(item: Initial) -> str:
    name, declared = written_name(item.location), item.type
    if declared is None:
        return f"{name}={item.number or item.value}"
    pointer = "*" if declared.pointer else ""
    length = f"[{declared.length}]" if declared.length is not None else ""
    text = f"{declared.name} {pointer}{name}{length}"
    if item.value is None:
        return text
    if isinstance(item.value, tuple):
        return f"{text}={{{','.join(map(str, item.value))}}}"
    return f"{text}={item.number or item.value}"


def _code(threads: tuple[tuple[Line, ...], ...]) -> list[str]:
    columns = [[f"P{number}", *_cells(lines)] for number, lines in enumerate(threads)]
    widths = [max(map(len, column)) for column in columns]
    return [
        " " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + " ;"
        for row in zip_longest(*columns, fillvalue="")
    ]


def _cells(lines: tuple[Line, ...]) -> list[str]:
    return [" ".join([*(f"{label}:" for label in line.labels), line.instruction]).strip() for line in lines]


def _shown(item: Shown) -> str:
    return written_name(item.location) if item.type is None else f"{written_name(item.location)} {item.type}"
