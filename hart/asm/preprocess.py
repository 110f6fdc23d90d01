"""The C preprocessor as far as assembly sources use it.

Owns `#include`, `#define` (object-like, function-like, variadic), `#if` and its kin, and macro expansion.
Like cpp on `.S` files it leaves a `#` line that it does not know alone: that is a comment of the assembler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hart.asm import expression
from hart.asm.diagnostics import Place, Problem, Report
from hart.asm.expression import C, Value
from hart.asm.source import CHARACTER, STRING, Line, logical_lines, without_comment

_TOKEN = re.compile(
    rf"(?P<name>[A-Za-z_]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)|{STRING}|{CHARACTER}|##|\s+|.", re.DOTALL
)
_DIRECTIVE = re.compile(
    r"\s*#\s*(?P<name>define|undef|include|ifdef|ifndef|if|elif|else|endif|error|warning|pragma|line)\b"
    r"\s*(?P<rest>.*)"
)
_DEFINE = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<parameters>\([^)]*\))?\s*(?P<body>.*)", re.DOTALL)
_DEFINED = re.compile(r"\bdefined\s*(?:\(\s*([A-Za-z_]\w*)\s*\)|([A-Za-z_]\w*))")
_INCLUDE = re.compile(r'"(?P<quoted>[^"]+)"|<(?P<angled>[^>]+)>')
_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Macro:
    """A `#define`: `parameters` is None for an object-like one; the last parameter of a variadic one takes
    the rest."""

    body: tuple[str, ...]
    parameters: tuple[str, ...] | None = None
    variadic: bool = False


@dataclass
class _Condition:
    """An open `#if`: whether its present branch is live, whether any was, and whether the lines around it
    are."""

    place: Place
    live: bool
    taken: bool
    outer: bool
    in_else: bool = False


def find_include(name: str, folder: Path | None, include_paths: tuple[Path, ...]) -> Path:
    """The file that an include means: beside the including file first, then along the include path.

    Raises:
        Problem: there is none; lists the folders tried.

    """
    folders = ([] if folder is None else [folder]) + list(include_paths)
    for candidate in folders:
        if (candidate / name).is_file():
            return candidate / name
    tried = ", ".join(map(str, folders)) or "no folder: give an include path"
    raise Problem(f"cannot find {name!r} (looked in {tried})")


def read_text(path: Path) -> str:
    """The text of a source file.

    Raises:
        Problem: it cannot be read or is not UTF-8.

    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"cannot read {path}: {error}") from error


class Preprocessor:
    """The macros defined so far, and the expansion of lines under them."""

    def __init__(self, defines: Mapping[str, str], include_paths: tuple[Path, ...], report: Report) -> None:
        self.macros = {name: Macro(tuple(_tokens(value))) for name, value in defines.items()}
        self._include_paths = include_paths
        self._report = report

    def process(self, text: str, place: Place, folder: Path | None) -> Iterator[Line]:
        """The lines of a source after preprocessing; errors go to the report.

        `folder` is where the source lies, for its includes.
        """
        conditions: list[_Condition] = []
        lines = self._lines(text, place)
        for line in lines:
            live = not conditions or conditions[-1].live
            m = _DIRECTIVE.fullmatch(line.text)
            try:
                if m is None:
                    if live:
                        yield self._expand_line(line, lines)
                elif not self._condition(m["name"], m["rest"], line.place, conditions) and live:
                    if m["name"] == "include":
                        yield from self._include(m["rest"], line.place, folder)
                    else:
                        self._directive(m["name"], m["rest"])
            except Problem as problem:
                self._report.add(line.place, problem, line.origin)
        for condition in conditions:
            self._report.add(condition.place, "this #if has no #endif", "")

    def _lines(self, text: str, place: Place) -> Iterator[Line]:
        try:
            yield from logical_lines(text, place)
        except Problem as problem:
            self._report.add(place, problem, "")

    # Directives

    def _condition(self, name: str, rest: str, place: Place, open_: list[_Condition]) -> bool:
        """Whether `name` is a conditional directive; if so it is obeyed."""
        if name in ("if", "ifdef", "ifndef"):
            outer = not open_ or open_[-1].live
            truth = False
            condition = _Condition(place, False, True, outer)
            open_.append(condition)  # pushed first: an error in the condition must not unbalance the #endif
            if outer:
                truth = (
                    self._truth(rest) if name == "if" else (rest.strip() in self.macros) == (name == "ifdef")
                )
            condition.live = outer and truth
            condition.taken = truth
            return True
        if name not in ("elif", "else", "endif"):
            return False
        if not open_:
            raise Problem(f"#{name} without #if")
        condition = open_[-1]
        if name == "endif":
            open_.pop()
            return True
        if condition.in_else:
            raise Problem(f"#{name} after #else")
        condition.in_else = name == "else"
        condition.live = condition.outer and not condition.taken and (name == "else" or self._truth(rest))
        condition.taken = condition.taken or condition.live
        return True

    def _truth(self, text: str) -> bool:
        known = _DEFINED.sub(lambda m: "1" if (m[1] or m[2]) in self.macros else "0", text)
        parsed = expression.parse(self._expand(known), C)
        return expression.constant(parsed, _zero, C) != 0

    def _directive(self, name: str, rest: str) -> None:
        if name == "define":
            self._define(rest)
        elif name == "undef":
            self.macros.pop(rest.strip(), None)
        elif name == "error":
            raise Problem(f"#error {rest}")

    def _define(self, rest: str) -> None:
        m = _DEFINE.fullmatch(rest)
        if m is None:
            raise Problem("#define needs a name")
        parameters: tuple[str, ...] | None = None
        variadic = False
        if m["parameters"] is not None:
            names = [p.strip() for p in m["parameters"][1:-1].split(",")]
            names = [] if names == [""] else names
            if names and names[-1].endswith("..."):
                variadic = True
                names[-1] = names[-1][:-3].strip() or "__VA_ARGS__"
            parameters = tuple(names)
        self.macros[m["name"]] = Macro(tuple(_tokens(m["body"].strip())), parameters, variadic)

    def _include(self, rest: str, place: Place, folder: Path | None) -> Iterator[Line]:
        m = _INCLUDE.match(self._expand(rest).strip())
        if m is None:
            raise Problem('#include needs "file" or <file>')
        path = find_include(m["quoted"] or m["angled"], folder if m["quoted"] else None, self._include_paths)
        if place.depth >= _DEPTH:
            raise Problem(f"includes nested deeper than {_DEPTH}")
        inner = Place(str(path), 0, "the file included", place)
        yield from self.process(read_text(path), inner, path.parent)

    # Expansion

    def _expand_line(self, line: Line, lines: Iterator[Line]) -> Line:
        """The line with its macros expanded; a macro call that is not closed in it takes lines from
        `lines`."""
        text = without_comment(line.text)
        while self._open_call(text):
            following = next(lines, None)
            if following is None:
                raise Problem("the macro call has no closing )")
            text += "\n" + without_comment(following.text)
        return replace(line, text=self._expand(text).replace("\n", " "))

    def _open_call(self, text: str) -> bool:
        """Whether a call of a function-like macro begins in `text` and does not end in it."""
        tokens = _tokens(text)
        for at, token in enumerate(tokens):
            macro = self.macros.get(token)
            if macro and macro.parameters is not None:
                opening = _skip_space(tokens, at + 1)
                if opening < len(tokens) and tokens[opening] == "(" and _arguments(tokens, opening) is None:
                    return True
        return False

    def _expand(self, text: str) -> str:
        return "".join(self._expand_tokens(_tokens(text), frozenset()))

    def _expand_tokens(self, tokens: list[str], busy: frozenset[str]) -> list[str]:
        """Tokens with macros expanded; the macros in `busy` are being expanded and stay as they are."""
        out: list[str] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            at += 1
            macro = self.macros.get(token)
            if macro is None or token in busy:
                out.append(token)
                continue
            if macro.parameters is None:
                expanded, at = self._rescan(_paste(list(macro.body)), tokens, at, busy | {token})
                out += expanded
                continue
            opening = _skip_space(tokens, at)
            if opening == len(tokens) or tokens[opening] != "(":
                out.append(token)
                continue
            call = _arguments(tokens, opening)
            if call is None:
                raise Problem(f"the call of macro {token} has no closing )")
            arguments, at = call
            body = self._substitute(token, macro, arguments, busy)
            expanded, at = self._rescan(body, tokens, at, busy | {token})
            out += expanded
        return out

    def _rescan(
        self, body: list[str], rest: list[str], at: int, busy: frozenset[str]
    ) -> tuple[list[str], int]:
        """Expand a replacement that stands before rest[at]. If it ends in the name of a function-like macro
        whose `(` follows there, that call is taken along. Returns the tokens and the index after what was
        taken."""
        last = len(body) - 1
        while last >= 0 and body[last].isspace():
            last -= 1
        macro = self.macros.get(body[last]) if last >= 0 else None
        if macro and macro.parameters is not None and body[last] not in busy:
            opening = _skip_space(rest, at)
            if opening < len(rest) and rest[opening] == "(":
                call = _arguments(rest, opening)
                if call is not None:
                    body = body[: last + 1] + rest[opening : call[1]]
                    at = call[1]
        return self._expand_tokens(body, busy), at

    def _substitute(
        self, name: str, macro: Macro, arguments: list[list[str]], busy: frozenset[str]
    ) -> list[str]:
        parameters = macro.parameters or ()
        if len(parameters) == 0 and arguments == [[]]:
            arguments = []
        if macro.variadic and len(arguments) >= len(parameters):
            rest: list[str] = []
            for extra in arguments[len(parameters) - 1 :]:
                rest += [",", *extra] if rest or extra is not arguments[len(parameters) - 1] else extra
            arguments = [*arguments[: len(parameters) - 1], rest]
        elif macro.variadic and len(arguments) == len(parameters) - 1:
            arguments = [*arguments, []]
        if len(arguments) != len(parameters):
            raise Problem(f"macro {name} takes {len(parameters)} arguments, not {len(arguments)}")
        given = dict(zip(parameters, arguments, strict=True))
        body = list(macro.body)
        out: list[str] = []
        for at, token in enumerate(body):
            if token not in given:
                out.append(token)
            elif _beside_paste(body, at):
                out += given[token] or [""]  # even nothing is an operand of ##
            elif out and out[-1] == "#":
                out[-1] = '"' + "".join(given[token]).replace("\\", "\\\\").replace('"', '\\"') + '"'
            else:
                out += self._expand_tokens(given[token], busy)
        return _paste(out)


def _zero(name: str) -> Value:
    """A name that is no macro counts as 0 in a condition, as in C."""
    return Value(0)


def _tokens(text: str) -> list[str]:
    return [m[0] for m in _TOKEN.finditer(text)]


def _skip_space(tokens: list[str], at: int) -> int:
    while at < len(tokens) and tokens[at].isspace():
        at += 1
    return at


def _arguments(tokens: list[str], opening: int) -> tuple[list[list[str]], int] | None:
    """The arguments of the call whose `(` is tokens[opening], trimmed, and the index after its `)`; None if
    open."""
    arguments: list[list[str]] = [[]]
    depth = 0
    for at in range(opening, len(tokens)):
        token = tokens[at]
        if token == "(":
            depth += 1
            if depth == 1:
                continue
        elif token == ")":
            depth -= 1
            if depth == 0:
                return [_trim(a) for a in arguments], at + 1
        elif token == "," and depth == 1:
            arguments.append([])
            continue
        arguments[-1].append(token)
    return None


def _trim(tokens: list[str]) -> list[str]:
    start, end = 0, len(tokens)
    while start < end and tokens[start].isspace():
        start += 1
    while end > start and tokens[end - 1].isspace():
        end -= 1
    return tokens[start:end]


def _beside_paste(body: list[str], at: int) -> bool:
    after = _skip_space(body, at + 1)
    before = at - 1
    while before >= 0 and body[before].isspace():
        before -= 1
    return (after < len(body) and body[after] == "##") or (before >= 0 and body[before] == "##")


def _paste(tokens: list[str]) -> list[str]:
    """Tokens with each `##` and the blanks around it removed, and what it joined read as one token."""
    if "##" not in tokens:
        return tokens
    out: list[str] = []
    at = 0
    while at < len(tokens):
        if tokens[at] == "##" and out:
            while out and out[-1].isspace():
                out.pop()
            at = _skip_space(tokens, at + 1)
            left = out.pop() if out else ""
            right = tokens[at] if at < len(tokens) else ""
            out += _tokens(left + right)
        else:
            out.append(tokens[at])
        at += 1
    return out
