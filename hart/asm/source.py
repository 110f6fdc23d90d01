"""Source text as lines and statements: comments, continuations, strings and separators.

Owns the lexical layer below the preprocessor and the assembler. Knows no directive and no instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hart.asm.diagnostics import Place, Problem

STRING = r'"(?:\\.|[^"\\])*"'
CHARACTER = r"'(?:\\.|[^\\])'?"
"""A character constant; as in GNU as the closing quote may be missing."""

_COMMENT = re.compile(rf"{STRING}|{CHARACTER}|(?P<line>//.*)|(?P<block>/\*)")
_STATEMENT_BREAK = re.compile(rf"{STRING}|{CHARACTER}|(?P<end>;)|(?P<comment>#.*)", re.DOTALL)
_COMMA = re.compile(rf"{STRING}|{CHARACTER}|(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>,)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x(?P<hex>[0-9a-fA-F]+)|(?P<octal>[0-7]{1,3})|(?P<letter>.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line, without C comments; `origin` is the text as written, for messages and listings."""

    text: str
    place: Place
    origin: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One label-directive-or-instruction unit: the text between separators."""

    text: str
    place: Place
    origin: str

    def rewritten(self, text: str) -> Iterator[Statement]:
        """The statements in `text`, standing where this one stood."""
        for part in split_statements(text):
            yield replace(self, text=part)


def logical_lines(text: str, place: Place) -> Iterator[Line]:
    """Lines with backslash-newlines joined and C and C++ comments blanked; `place` names the file.

    A block comment that spans lines joins them, so that the line numbers that follow stay right.

    Raises:
        Problem: a block comment that never ends; names the line where it begins.

    """
    physical = text.splitlines()
    number = 0
    while number < len(physical):
        start = number
        line = physical[number]
        number += 1
        kept = ""
        while True:
            while line.endswith("\\") and number < len(physical):
                line = line[:-1] + physical[number]
                number += 1
            found = next((m for m in _COMMENT.finditer(line) if m.lastgroup), None)
            if found is None:
                kept += line
                break
            kept += line[: found.start()]
            if found["line"] is not None:
                break
            rest = line[found.end() :]
            opened = number
            while "*/" not in rest:
                if number == len(physical):
                    raise Problem(f"the comment that begins in line {opened} has no end")
                rest = physical[number]
                number += 1
            kept += " "
            line = rest.partition("*/")[2]
        yield Line(kept, replace(place, line=start + 1), physical[start].strip())


def split_statements(text: str) -> Iterator[str]:
    """The statements of one line: split at `;`, with the `#` comment dropped."""
    start = 0
    for m in _STATEMENT_BREAK.finditer(text):
        if m["end"]:
            yield text[start : m.start()].strip()
            start = m.end()
        elif m["comment"]:
            yield text[start : m.start()].strip()
            return
    yield text[start:].strip()


def without_comment(text: str) -> str:
    """The line without its `#` comment."""
    comment = next((m for m in _STATEMENT_BREAK.finditer(text) if m["comment"]), None)
    return text if comment is None else text[: comment.start()]


def statements(line: Line) -> Iterator[Statement]:
    """The statements of a line that are not empty."""
    for part in split_statements(line.text):
        if part:
            yield Statement(part, line.place, line.origin)


def split_operands(text: str) -> list[str]:
    """Operands separated by commas outside strings and brackets; an empty text has none."""
    parts: list[str] = []
    depth = start = 0
    for m in _COMMA.finditer(text):
        if m["open"]:
            depth += 1
        elif m["close"]:
            depth -= 1
        elif m["comma"] and depth == 0:
            parts.append(text[start : m.start()].strip())
            start = m.end()
    last = text[start:].strip()
    return [*parts, last] if parts or last else []


def unescape(body: str) -> bytes:
    """The bytes that the inside of a string or character constant stands for; text is UTF-8.

    Raises:
        Problem: an escape that GNU as does not know.

    """
    out = bytearray()
    start = 0
    for m in _ESCAPE.finditer(body):
        out += body[start : m.start()].encode()
        start = m.end()
        if m["hex"]:
            out.append(int(m["hex"], 16) & 0xFF)
        elif m["octal"]:
            out.append(int(m["octal"], 8) & 0xFF)
        elif m["letter"] in "\\\"'":
            out += m["letter"].encode()
        elif m["letter"] in _LETTERS:
            out += _LETTERS[m["letter"]].encode()
        else:
            known = " ".join(rf"\{c}" for c in ("x", "0", *_LETTERS, "\\", '"', "'"))
            raise Problem(rf"unknown escape \{m['letter']}; known are {known}")
    return bytes(out + body[start:].encode())


def string(text: str) -> bytes:
    """The bytes of a quoted string operand.

    Raises:
        Problem: not a quoted string.

    """
    if not re.fullmatch(STRING, text, re.DOTALL):
        raise Problem(f"expected a string in double quotes, not {text or 'nothing'}")
    return unescape(text[1:-1])
