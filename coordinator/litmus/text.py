"""Text with places: comments removed, tokens read, and errors that name file, line and column.

Owns positions and tokens of a `.litmus` file; knows none of its sections.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NoReturn


class LitmusError(ValueError):
    """A test that cannot be read or run; the message begins with `file:line:column: `."""


@dataclass(frozen=True)
class Source:
    """A file's text; `name` is how messages call it."""

    name: str
    text: str
    _lines: list[int] = field(default_factory=list, compare=False, repr=False)

    def place(self, position: int) -> str:
        """`file:line:column` of a character, both counted from 1."""
        if not self._lines:
            self._lines.append(0)
            self._lines.extend(m.end() for m in re.finditer("\n", self.text))
        line = bisect_right(self._lines, position)
        return f"{self.name}:{line}:{position - self._lines[line - 1] + 1}"

    def error(self, position: int, message: str) -> LitmusError:
        """The error to raise for what stands at `position`."""
        return LitmusError(f"{self.place(position)}: {message}")


_COMMENT_MARK = re.compile(r"\(\*|\*\)")
_NOT_NEWLINE = re.compile(r"[^\n]")


def blank_comments(source: Source, start: int) -> str:
    """The whole text with the comments after `start` replaced by blanks, so that positions stay.

    Comments nest and may span rows and cells of the program.

    Raises:
        LitmusError: a comment that does not end.

    """
    text = source.text
    if text.find("(*", start) < 0:
        return text
    pieces = [text[:start]]
    depth = 0
    begin = kept = start
    for mark in _COMMENT_MARK.finditer(text, start):
        if mark[0] == "(*":
            if depth == 0:
                begin = mark.start()
                pieces.append(text[kept:begin])
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                kept = mark.end()
                pieces.append(_NOT_NEWLINE.sub(" ", text[begin:kept]))
    if depth:
        raise source.error(begin, "this comment does not end")
    pieces.append(text[kept:])
    return "".join(pieces)


_TOKEN = re.compile(
    r"""\s+
    | (?P<number>-?0[xX][0-9a-fA-F]+|-?[0-9]+)
    | (?P<name>[A-Za-z_.$][A-Za-z0-9_.$]*)
    | (?P<mark>/\\|\\/|=>|==|!=|<>|[][(){}=:;,*&~])
    """,
    re.VERBOSE,
)


class Tokens:
    """The tokens of a stretch of text, one ahead: `kind` ("number", "name", "mark" or "end") and `text`."""

    __slots__ = ("_end", "_next", "_source", "_text", "kind", "position", "text")

    def __init__(self, source: Source, text: str, start: int, end: int) -> None:
        """`text` is the source's text with its comments blanked."""
        self._source, self._text, self._next, self._end = source, text, start, end
        self.kind = self.text = ""
        self.position = start
        self.advance()

    def advance(self) -> str:
        """Go to the next token; the text of the one left behind."""
        left = self.text
        while self._next < self._end:
            match = _TOKEN.match(self._text, self._next, self._end)
            if match is None:
                raise self._source.error(self._next, f"cannot read {self._text[self._next]!r} here")
            self.position, self._next = self._next, match.end()
            if match.lastgroup is not None:
                self.kind, self.text = match.lastgroup, match[0]
                return left
        self.kind, self.text, self.position = "end", "", self._end
        return left

    def take(self, text: str) -> bool:
        """Whether the token is `text`; if so it is left behind."""
        if self.text != text or self.kind == "end":
            return False
        self.advance()
        return True

    def expect(self, text: str) -> None:
        """Leave `text` behind, which must be there."""
        if not self.take(text):
            self.fail(f"expected {text!r}")

    def name(self, what: str) -> str:
        """A name."""
        if self.kind != "name":
            self.fail(f"expected {what}")
        return self.advance()

    def number(self, what: str) -> int:
        """A number, decimal or hexadecimal."""
        if self.kind != "number":
            self.fail(f"expected {what}")
        return int(self.advance(), 0)

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        """Raise LitmusError for the current token, or the one at `position`."""
        found = repr(self.text) if self.kind != "end" else "the end of the section"
        suffix = "" if position is not None else f", found {found}"
        raise self._source.error(self.position if position is None else position, message + suffix)
