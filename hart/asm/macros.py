"""Macros of the assembler: `.macro`, `.rept`, `.irp`, `.irpc`, and the expansion of their bodies.

Owns parameters, arguments and substitution, on statements. Evaluates nothing and assembles nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hart.asm.diagnostics import Problem
from hart.asm.source import CHARACTER, STRING, Statement
from hart.spelling import nearest

_USE = re.compile(r"\\(?:(?P<empty>\(\))|(?P<count>@)|(?P<name>[A-Za-z_.$][\w.$]*))")
_PARAMETER = re.compile(
    r"(?P<name>[A-Za-z_.$][\w.$]*)\s*(?::\s*(?P<kind>req|vararg))?\s*(?:=\s*(?P<default>.*))?", re.S
)
_KEYWORD = re.compile(r"([A-Za-z_.$][\w.$]*)\s*=(?!=)\s*(.*)", re.DOTALL)
_PIECE = re.compile(
    rf"{STRING}|{CHARACTER}|(?P<open>\()|(?P<close>\))|(?P<comma>,)|(?P<space>\s+)|.", re.DOTALL
)
_OPERATORS = frozenset("+-*/%&|^~!<>=:,")
"""A blank beside one of these does not separate macro arguments."""

BLOCKS = {".macro": ".endm", ".rept": ".endr", ".irp": ".endr", ".irpc": ".endr"}
"""Directives that take the statements up to their end, and that end."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a macro: whether an argument is required, what stands for a missing one, whether it
    takes the rest of the line."""

    name: str
    required: bool = False
    default: str = ""
    vararg: bool = False


@dataclass(frozen=True, slots=True)
class Macro:
    """A `.macro`."""

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]

    def bind(self, operands: str) -> dict[str, str]:
        """The text of every parameter for a call with these operands.

        Raises:
            Problem: too many arguments, a missing required one, an unknown keyword.

        """
        known = {p.name: p for p in self.parameters}
        bound: dict[str, str] = {}
        free = list(self.parameters)
        takes_rest = bool(free) and free[-1].vararg
        for argument in _arguments(operands, len(free) if takes_rest else None):
            keyword = _KEYWORD.fullmatch(argument)
            if keyword and keyword[1] in known:
                bound[keyword[1]] = _unquote(keyword[2])
                free = [p for p in free if p.name != keyword[1]]
            elif free:
                taken = free.pop(0)
                if argument:
                    bound[taken.name] = argument if taken.vararg else _unquote(argument)
            else:
                hint = nearest(keyword[1], known) if keyword else ""
                raise Problem(
                    f"macro {self.name} takes at most {len(known)} arguments; {argument!r} is one more{hint}"
                )
        for p in self.parameters:
            if p.required and not bound.get(p.name):
                raise Problem(f"macro {self.name} needs a value for {p.name}")
        return {p.name: bound.get(p.name, p.default) for p in self.parameters}


def define(operands: str, body: Sequence[Statement]) -> Macro:
    """The macro that `.macro OPERANDS` and its body define.

    Raises:
        Problem: no name, or a parameter that cannot be read.

    """
    name, _, rest = operands.strip().replace(",", " ", 1).partition(" ")
    if not name:
        raise Problem(".macro needs a name")
    parameters = []
    for text in _arguments(rest):
        m = _PARAMETER.fullmatch(text)
        if m is None:
            raise Problem(
                f"{text!r} is not a macro parameter; write name, name=default, name:req or name:vararg"
            )
        default = _unquote(m["default"] or "")
        parameters.append(Parameter(m["name"], m["kind"] == "req", default, m["kind"] == "vararg"))
    return Macro(name, tuple(parameters), tuple(body))


def repetitions(operands: str, *, by_character: bool) -> list[dict[str, str]]:
    """One set of parameter values per round of `.irp x, a, b` or `.irpc x, ab`.

    Raises:
        Problem: no parameter name.

    """
    name, *values = _arguments(operands)[:1] or [""]
    if not re.fullmatch(r"[A-Za-z_.$][\w.$]*", name):
        raise Problem("expected the name of the parameter")
    rest = operands.strip()[len(name) :].lstrip().removeprefix(",").strip()
    values = list(_unquote(rest)) if by_character else [_unquote(v) for v in _arguments(rest)]
    return [{name: value} for value in values or [""]]


def expand(
    body: Sequence[Statement], values: dict[str, str], caller: Statement, via: str, count: int
) -> Iterator[Statement]:
    r"""The statements of `body` with `\name`, `\()` and `\@` (which is `count`) replaced, standing at
    `caller`."""

    def use(m: re.Match[str]) -> str:
        if m["empty"]:
            return ""
        if m["count"]:
            return str(count)
        return values.get(m["name"], m[0])

    for statement in body:
        place = replace(statement.place, via=via, outer=caller.place)
        made = Statement(_USE.sub(use, statement.text), place, caller.origin)
        yield from (s for s in made.rewritten(made.text) if s.text)


def _arguments(text: str, most: int | None = None) -> list[str]:
    """Arguments separated by commas, or by blanks between operands; of `most`, the last one takes the
    rest."""
    text = text.strip()
    arguments: list[str] = []
    depth = start = 0
    for m in _PIECE.finditer(text):
        if most is not None and len(arguments) == most - 1:
            break
        if m["open"]:
            depth += 1
        elif m["close"]:
            depth -= 1
        between = m["space"] and not {text[m.start() - 1], text[m.end()]} & _OPERATORS
        if depth == 0 and (m["comma"] or between):
            arguments.append(text[start : m.start()].strip())
            start = m.end()
    last = text[start:].strip()
    return [*arguments, last] if arguments or last else []


def _unquote(argument: str) -> str:
    """The argument without the quotes around it, which protect blanks and commas."""
    return argument[1:-1] if re.fullmatch(STRING, argument, re.DOTALL) else argument
