"""Where each key of a TOML document stands: key path to line. Never reads a value.

`tomllib` tells what a document says but not where. This scanner runs over text that `tomllib` has accepted,
so it only has to recognise keys and step over values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.S)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line, counted from 1, of each key, table and array element in `text`, which must be valid TOML."""
    lines: dict[KeyPath, int] = {}
    for path, offset in _Scanner(text).scan():
        lines.setdefault(path, text.count("\n", 0, offset) + 1)
    return lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """Line of `path`, or of the innermost part of it that the document has; 0 for none."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0


def _with_parents(path: KeyPath, offset: int, shortest: int = 1) -> Iterator[tuple[KeyPath, int]]:
    return ((path[:depth], offset) for depth in range(shortest, len(path) + 1))


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def scan(self) -> Iterator[tuple[KeyPath, int]]:
        table: KeyPath = ()
        tables_of: dict[KeyPath, int] = {}
        while True:
            self._skip(_SPACE)
            start = self._at
            if start >= len(self._text):
                return
            if self._take("[["):
                name = self._key()
                tables_of[name] = tables_of.get(name, -1) + 1
                table = (*name, tables_of[name])
                self._take("]]")
                yield from _with_parents(table, start)
            elif self._take("["):
                table = self._key()
                self._take("]")
                yield from _with_parents(table, start)
            else:
                yield from self._pair(table)

    def _pair(self, table: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        start = self._at
        path = (*table, *self._key())
        yield from _with_parents(path, start, len(table) + 1)
        self._take("=")
        self._skip(_BLANK)
        yield from self._value(path)

    def _value(self, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        if self._take("["):
            yield from self._list(path)
        elif self._take("{"):
            yield from self._inline_table(path)
        elif string := _STRING.match(self._text, self._at):
            self._at = string.end()
        else:
            self._skip(_SCALAR)

    def _list(self, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        index = 0
        self._skip(_SPACE)
        while not self._take("]"):
            yield (*path, index), self._at
            yield from self._value((*path, index))
            self._skip(_SPACE)
            self._take(",")
            self._skip(_SPACE)
            index += 1

    def _inline_table(self, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        self._skip(_SPACE)
        while not self._take("}"):
            yield from self._pair(path)
            self._skip(_SPACE)
            self._take(",")
            self._skip(_SPACE)

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(_BLANK)
            if string := _STRING.match(self._text, self._at):
                parts.append(string.group()[1:-1])
                self._at = string.end()
            elif bare := _BARE_KEY.match(self._text, self._at):
                parts.append(bare.group())
                self._at = bare.end()
            self._skip(_BLANK)
            if not self._take("."):
                return tuple(parts)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _take(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False
