"""The parser of `.litmus` files: header, initial state, code and condition.

Owns the file's grammar. What an instruction is, `coordinator.litmus.code` asks the ISA table.
"""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.litmus.condition import (
    read_location,
    read_proposition,
    read_value,
    thread_number,
)
from coordinator.litmus.test import (
    TYPE_SIZES,
    Constant,
    Initial,
    Line,
    LitmusTest,
    Location,
    Memory,
    Proposition,
    Quantifier,
    Shown,
    Type,
    Value,
)
from coordinator.litmus.text import LitmusError, Source, Tokens, blank_comments
from hart.asm.source import split_operands

_FIRST_LINE = re.compile(r"\s*(\S+)[ \t]+(\S+)[^\n]*\n?")
_DOCUMENTATION = re.compile(r'"([^"]*)"')
_METADATA = re.compile(r"^[ \t]*([A-Za-z_][\w-]*)[ \t]*=[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
_SECTION = re.compile(r"(?<![\w.$])(locations|filter|exists|forall|~\s*exists|not\s+exists)(?![\w.$:=])")
_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*)\s*:")


class NotRiscv(LitmusError):
    """The file's first word says that it is a test for another architecture."""


def parse_file(path: Path) -> LitmusTest:
    """The test in a file.

    Raises:
        LitmusError: the file is not a litmus test for RISC-V; says where and why.
        OSError: the file cannot be read.

    """
    return parse(path.read_text(encoding="utf-8", errors="replace"), str(path))


def parse(text: str, name: str = "<litmus>") -> LitmusTest:
    """The test that `text` describes; `name` stands for the file in messages.

    Raises:
        LitmusError: the text is not a litmus test for RISC-V; says where and why.
        NotRiscv: a test, but for another architecture.

    """
    source = Source(name, text)
    first = _FIRST_LINE.match(text)
    if first is None:
        raise source.error(0, "a litmus test begins with `RISCV NAME`")
    if first[1] != "RISCV":
        raise NotRiscv(f"{source.place(first.start(1))}: a test for {first[1]}, not for RISCV")
    brace = text.find("{", first.end())
    if brace < 0:
        raise source.error(len(text), "there is no initial state `{ ... }`")
    header = text[first.end() : brace]
    documentation = _DOCUMENTATION.search(header)
    clean = blank_comments(source, brace)
    end = _closing_brace(source, clean, brace)
    initial = _read_initial(source, clean, brace + 1, end)
    section = _SECTION.search(clean, end + 1)
    code_end = section.start() if section else len(clean)
    threads = _read_code(source, clean, end + 1, code_end)
    shown, filtered, quantifier, condition = _read_conditions(source, clean, code_end)
    return LitmusTest(
        first[2],
        documentation[1] if documentation else None,
        tuple((m[1], m[2]) for m in _METADATA.finditer(_DOCUMENTATION.sub("", header))),
        initial,
        threads,
        shown,
        filtered,
        quantifier,
        condition,
        source,
    )


# Initial state


def _closing_brace(source: Source, text: str, start: int) -> int:
    """Where the brace at `start` closes; an array's values stand in braces too."""
    depth = 0
    for brace in re.compile("[{}]").finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise source.error(start, "the initial state does not end: no `}`")


def _read_initial(source: Source, text: str, start: int, end: int) -> tuple[Initial, ...]:
    tokens = Tokens(source, text, start, end)
    items: dict[Location, Initial] = {}
    while tokens.kind != "end":
        if tokens.take(";"):
            continue
        item = _read_item(source, tokens)
        if item.location in items:
            first = source.place(items[item.location].position)
            raise source.error(item.position, f"{item.location} is initialised twice, first at {first}")
        items[item.location] = item
        if tokens.kind != "end":
            tokens.expect(";")
    return tuple(items.values())


def _read_item(source: Source, tokens: Tokens) -> Initial:
    declared: Type | None = None
    if tokens.kind == "name" and tokens.text in TYPE_SIZES:
        declared = Type(tokens.advance())
    pointer = tokens.take("*")
    position = tokens.position
    location = read_location(tokens)
    if isinstance(location, Memory) and location.index is not None and declared is not None:
        declared, location = Type(declared.name, pointer, location.index), Memory(location.name)
        if not declared.length:
            raise source.error(position, f"array {location} has no elements")
    elif pointer:
        declared = Type(declared.name if declared else "int", pointer=True)
    if not tokens.take("="):
        if declared is None:
            tokens.fail(f"expected `=` after {location}")
        return Initial(location, declared, None, position=position)
    number = tokens.text if tokens.kind == "number" else ""
    return Initial(location, declared, _read_initial_value(source, tokens, declared), number, position)


def _read_initial_value(source: Source, tokens: Tokens, declared: Type | None) -> Value | tuple[Value, ...]:
    if declared is None or declared.length is None:
        return read_value(tokens)
    position = tokens.position
    tokens.expect("{")
    values: list[Value] = []
    while not tokens.take("}"):
        values.append(read_value(tokens))
        if tokens.text != "}":
            tokens.expect(",")
    if len(values) > declared.length:
        raise source.error(position, f"{len(values)} values for {declared.length} elements")
    return (*values, *[0] * (declared.length - len(values)))


# Code


def _read_code(source: Source, text: str, start: int, end: int) -> tuple[tuple[Line, ...], ...]:
    rows: list[list[tuple[str, int]]] = []
    position = start
    while True:
        stop = text.find(";", position, end)
        if stop < 0:
            break
        cells = []
        for cell in text[position:stop].split("|"):
            cells.append((cell, position))
            position += len(cell) + 1
        rows.append(cells)
    rest = text[position:end]
    if rest.strip():
        at = position + len(rest) - len(rest.lstrip())
        raise source.error(at, f"{rest.split()[0]!r}: a row of the code does not end in `;`")
    if not rows:
        raise source.error(start, "there is no code")
    for number, (cell, at) in enumerate(rows[0]):
        if thread_number(cell.strip()) != number or not cell.strip().startswith("P"):
            raise source.error(at, f"expected `P{number}` here, found {cell.strip()!r}")
    threads: list[list[Line]] = [[] for _ in rows[0]]
    for cells in rows[1:]:
        if len(cells) != len(threads):
            at = cells[0][1] + len(cells[0][0]) - len(cells[0][0].lstrip())
            raise source.error(at, f"this row has {len(cells)} cells for {len(threads)} threads")
        for thread, (cell, at) in zip(threads, cells, strict=True):
            line = _read_cell(cell, at)
            if line is not None:
                thread.append(line)
    return tuple(tuple(t) for t in threads)


def _read_cell(cell: str, position: int) -> Line | None:
    labels: list[str] = []
    start = 0
    while match := _LABEL.match(cell, start):
        labels.append(match[1])
        start = match.end()
    text = cell[start:].strip()
    if not text and not labels:
        return None
    at = position + start + len(cell[start:]) - len(cell[start:].lstrip())
    if not text:
        return Line(tuple(labels), "", (), position + len(cell) - len(cell.lstrip()))
    mnemonic, *rest = text.split(None, 1)
    operands = tuple("".join(o.split()) for o in split_operands(rest[0])) if rest else ()
    return Line(tuple(labels), mnemonic, operands, at)


# Conditions

_QUANTIFIERS = {"exists": Quantifier.EXISTS, "forall": Quantifier.FORALL}


def _read_conditions(
    source: Source, text: str, start: int
) -> tuple[tuple[Shown, ...], Proposition | None, Quantifier, Proposition]:
    tokens = Tokens(source, text, start, len(text))
    shown = _read_shown(tokens) if tokens.take("locations") else ()
    filtered = read_proposition(tokens) if tokens.take("filter") else None
    if tokens.kind == "end":
        if not shown:
            raise source.error(start, "there is no condition (exists, ~exists or forall) and nothing to show")
        return shown, filtered, Quantifier.FORALL, Constant(True)
    negated = tokens.take("~") or tokens.take("not")
    quantifier = _QUANTIFIERS.get(tokens.text)
    if quantifier is None or (negated and quantifier is not Quantifier.EXISTS):
        tokens.fail("expected exists, ~exists or forall")
    tokens.advance()
    condition = read_proposition(tokens)
    if tokens.kind != "end":
        tokens.fail("expected the end of the test")
    return shown, filtered, Quantifier.NOT_EXISTS if negated else quantifier, condition


def _read_shown(tokens: Tokens) -> tuple[Shown, ...]:
    tokens.expect("[")
    items: list[Shown] = []
    while not tokens.take("]"):
        if tokens.take(";"):
            continue
        location = read_location(tokens)
        declared = None
        if tokens.kind == "name" and tokens.text in TYPE_SIZES:
            declared = Type(tokens.advance(), pointer=tokens.take("*"))
        items.append(Shown(location, declared))
        if tokens.text != "]":
            tokens.expect(";")
    return tuple(items)


def parse_proposition(text: str, name: str = "<proposition>") -> Proposition:
    """A proposition on its own, e.g. from the command line.

    Raises:
        LitmusError: it is not one; says where and why.

    """
    tokens = Tokens(Source(name, text), text, 0, len(text))
    proposition = read_proposition(tokens)
    if tokens.kind != "end":
        tokens.fail("expected the end of the proposition")
    return proposition
