"""From sources to an image: the entry point, and the reading of statements.

Owns labels, conditions, macro calls, repetitions and includes: all that decides which statement comes next.
What a statement adds to the image is for `directives` and `instructions`, where it goes for `layout`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hart.asm import macros
from hart.asm.context import Context, Options
from hart.asm.diagnostics import Place, Problem, Report
from hart.asm.directives import DIRECTIVES, IGNORED, assign, directive, symbol_name
from hart.asm.instructions import assemble_instruction
from hart.asm.isa_options import predefined
from hart.asm.layout import Layout, ListingLine
from hart.asm.preprocess import Preprocessor, find_include, read_text
from hart.asm.sections import Unit
from hart.asm.source import Line, Statement, logical_lines, split_operands, statements, string
from hart.image import Image
from hart.isa.extensions import effective, implemented
from hart.spelling import nearest

BASE = 0x8000_0000
"""Default address of the first section: where RAM begins."""

_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*|\d+)\s*:(?!:)\s*")
_ASSIGNMENT = re.compile(r"([A-Za-z_.$][\w.$]*)\s*=(?!=)\s*(.*)", re.DOTALL)
_WORD = re.compile(r"(\S+)\s*(.*)", re.DOTALL)
_DEPTH = 100
_MOST_STATEMENTS = 2_000_000


@dataclass(frozen=True)
class Assembly:
    """What the sources became.

    Attributes:
        image: the program.
        listing: one line per statement that made bytes, in order of addresses within each section.

    """

    image: Image
    listing: tuple[ListingLine, ...]
    _by_address: dict[int, ListingLine] = field(repr=False, compare=False)

    def line_at(self, address: int) -> ListingLine | None:
        """The statement whose bytes begin at an address."""
        return self._by_address.get(address)


def assemble(
    sources: Sequence[Path] | str,
    *,
    base: int = BASE,
    extensions: frozenset[str] | None = None,
    defines: Mapping[str, str] | None = None,
    include_paths: Sequence[Path] = (),
    name: str | None = None,
    compress: bool = False,
) -> Assembly:
    """Assemble one or several sources into one image.

    Sections are placed from `base` in the order of `hart.asm.layout.ORDER`; the entry is `_start`, or the
    first section if there is none. Files ending in `.s` are not run through the preprocessor, all others and
    text are.

    Args:
        sources: files, whose global symbols are shared, or the text of one source.
        base: address of the first section.
        extensions: those whose instructions are enabled, with what they bring; None for all implemented.
        defines: macros for the preprocessor, as `-D` would.
        include_paths: folders for `#include` and `.include`, after the folder of the including file.
        name: what to call the image, and a text source in messages.
        compress: use compressed forms where they exist, as after `.option rvc`.

    Raises:
        AssemblyError: anything wrong with the sources; holds up to 20 errors.

    """
    report = Report()
    enabled = effective(implemented() if extensions is None else extensions)
    options = Options(enabled, compress)
    paths = tuple(include_paths)
    units = []
    for source in [sources] if isinstance(sources, str) else sources:
        preprocessor = Preprocessor({**predefined(enabled), **(defines or {})}, paths, report)
        called = str(source) if isinstance(source, Path) else name or "<text>"
        reader = _Reader(Context(Unit(called), options), preprocessor, paths, report)
        if isinstance(source, Path):
            reader.read_file(source)
        else:
            reader.read(preprocessor.process(source, Place(called, 0), None))
        units.append(reader.context.unit)
    layout = Layout(units, base, report)
    try:
        layout.settle()
    except Problem as problem:
        report.add(Place(units[0].name, 1), problem, "")
    image, listing = layout.image(name or " + ".join(u.name for u in units))
    report.check()
    return Assembly(image, listing, {line.address: line for line in listing})


@dataclass
class _Frame:
    """Statements yet to be read: of a file, or of a macro or repetition, of which `.exitm` leaves the
    macro."""

    statements: Iterator[Statement]
    is_macro: bool
    conditions: int


@dataclass
class _Condition:
    """An open `.if`: whether its present branch is live, whether one was, and whether the text around it
    is."""

    statement: Statement
    live: bool
    taken: bool
    outer: bool
    in_else: bool = False


class _Reader:
    """Reads the statements of one source into its context."""

    def __init__(
        self, context: Context, preprocessor: Preprocessor, include_paths: tuple[Path, ...], report: Report
    ) -> None:
        self.context = context
        self._preprocessor = preprocessor
        self._include_paths = include_paths
        self._report = report
        self._frames: list[_Frame] = []
        self._conditions: list[_Condition] = []
        self._macros: dict[str, macros.Macro] = {}
        self._expansions = 0

    def read_file(self, path: Path) -> None:
        """Read a source file to its end; errors go to the report."""
        place = Place(str(path), 0)
        try:
            self.read(self._lines(path, place))
        except Problem as problem:
            self._report.add(place, problem, "")

    def read(self, lines: Iterator[Line]) -> None:
        """Read lines to their end; errors go to the report."""
        self._push((s for line in lines for s in statements(line)), False)
        for count, statement in enumerate(iter(self._next, None)):
            self.context.statement = statement
            try:
                if count == _MOST_STATEMENTS:
                    self._frames.clear()
                    raise Problem(f"more than {_MOST_STATEMENTS} statements: does a repetition go wrong?")
                self._statement(statement)
            except Problem as problem:
                self._report.add(statement.place, problem, statement.text, statement.origin)
        for condition in self._conditions:
            opened = condition.statement
            self._report.add(opened.place, "this .if has no .endif", opened.text)

    def _lines(self, path: Path, place: Place) -> Iterator[Line]:
        text = read_text(path)
        if path.suffix == ".s":
            return logical_lines(text, place)
        return self._preprocessor.process(text, place, path.parent)

    def _push(self, found: Iterator[Statement], is_macro: bool) -> None:
        self._frames.append(_Frame(found, is_macro, len(self._conditions)))

    def _next(self) -> Statement | None:
        while self._frames:
            statement = next(self._frames[-1].statements, None)
            if statement is not None:
                return statement
            self._frames.pop()
        return None

    # Statements

    def _statement(self, statement: Statement) -> None:
        text = statement.text
        live = not self._conditions or self._conditions[-1].live
        while m := _LABEL.match(text):
            if live:
                self.context.unit.label(m[1], statement)
            text = text[m.end() :]
        m = _WORD.match(text)
        if m is None:
            return
        name, rest = m[1], m[2]
        lower = name.lower()
        if lower in _CONDITIONS or lower in _BRANCHES:
            self._condition(lower, rest, statement)
        elif not live:
            if lower in macros.BLOCKS:
                self._block(lower, statement)
        elif assignment := _ASSIGNMENT.fullmatch(text):
            assign(self.context, assignment[1], assignment[2])
        elif name in self._macros:
            self._call(self._macros[name], rest, statement)
        elif lower in _STEERING:
            _STEERING[lower](self, rest, statement)
        elif lower.startswith("."):
            if not directive(self.context, lower, rest):
                known = (*DIRECTIVES, *IGNORED, *_STEERING, *_CONDITIONS, *_BRANCHES)
                raise Problem(f"unknown directive {name!r}{nearest(lower, known)}")
        else:
            assemble_instruction(self.context, text)

    # Conditions

    def _condition(self, name: str, rest: str, statement: Statement) -> None:
        if name in _CONDITIONS:
            outer = not self._conditions or self._conditions[-1].live
            condition = _Condition(statement, False, True, outer)
            self._conditions.append(condition)  # first: an error in the test must not unbalance the .endif
            if outer:
                condition.live = condition.taken = self._test(name, rest)
            return
        if len(self._conditions) <= self._frames[-1].conditions:
            raise Problem(f"{name} without .if")
        condition = self._conditions[-1]
        if name == ".endif":
            self._conditions.pop()
            return
        if condition.in_else:
            raise Problem(f"{name} after .else")
        condition.in_else = name == ".else"
        condition.live = (
            condition.outer and not condition.taken and (name == ".else" or self._test(".if", rest))
        )
        condition.taken = condition.taken or condition.live

    def _test(self, name: str, rest: str) -> bool:
        try:
            return _CONDITIONS[name](self.context, rest)
        except Problem as problem:
            raise Problem(f"{name}: {problem}") from None

    # Blocks

    def _block(self, name: str, statement: Statement) -> list[Statement]:
        """The statements up to the end of a block that `name` opens."""
        end = macros.BLOCKS[name]
        body: list[Statement] = []
        depth = 1
        for inner in iter(self._next, None):
            text = inner.text
            while m := _LABEL.match(text):
                text = text[m.end() :]
            word = text.split(None, 1)[0].lower() if text else ""
            depth += (macros.BLOCKS.get(word) == end) - (word in (end, end + "m"))
            if depth == 0:
                return body
            body.append(inner)
        raise Problem(f"{name} has no {end}")

    def _define_macro(self, rest: str, statement: Statement) -> None:
        body = self._block(".macro", statement)
        macro = macros.define(rest, body)
        if macro.name in self._macros:
            raise Problem(f"macro {macro.name} is already defined; .purgem removes one")
        self._macros[macro.name] = macro

    def _purge_macro(self, rest: str, statement: Statement) -> None:
        for name in split_operands(rest):
            if self._macros.pop(name, None) is None:
                raise Problem(f".purgem: no macro {name!r}{nearest(name, self._macros)}")

    def _call(self, macro: macros.Macro, rest: str, statement: Statement) -> None:
        values = macro.bind(rest)
        self._expand(macro.body, [values], statement, f"macro {macro.name}, called", is_macro=True)

    def _repeat(self, rest: str, statement: Statement) -> None:
        body = self._block(".rept", statement)
        count = self.context.constant(rest)
        if count < 0 or count * len(body) > _MOST_STATEMENTS:
            raise Problem(
                f".rept: {count} times {len(body)} statements; allowed are up to {_MOST_STATEMENTS}"
            )
        self._expand(body, [{}] * count, statement, ".rept")

    def _iterate(self, rest: str, statement: Statement) -> None:
        body = self._block(".irp", statement)
        self._expand(body, macros.repetitions(rest, by_character=False), statement, ".irp")

    def _iterate_characters(self, rest: str, statement: Statement) -> None:
        body = self._block(".irpc", statement)
        self._expand(body, macros.repetitions(rest, by_character=True), statement, ".irpc")

    def _expand(
        self,
        body: Sequence[Statement],
        rounds: list[dict[str, str]],
        statement: Statement,
        via: str,
        *,
        is_macro: bool = False,
    ) -> None:
        if statement.place.depth >= _DEPTH:
            raise Problem(f"expansions nested deeper than {_DEPTH}: does a macro call itself without end?")
        count = self._expansions
        self._expansions += is_macro
        self._push(
            (s for values in rounds for s in macros.expand(body, values, statement, via, count)), is_macro
        )

    def _exit_macro(self, rest: str, statement: Statement) -> None:
        while self._frames and not self._frames[-1].is_macro:
            self._frames.pop()
        if not self._frames:
            raise Problem(".exitm outside a macro")
        del self._conditions[self._frames.pop().conditions :]

    def _include(self, rest: str, statement: Statement) -> None:
        if statement.place.depth >= _DEPTH:
            raise Problem(f"includes nested deeper than {_DEPTH}")
        folder = Path(statement.place.file).parent
        path = find_include(string(rest.strip()).decode(), folder, self._include_paths)
        lines = self._lines(path, Place(str(path), 0, "the file included", statement.place))
        self._push((s for line in lines for s in statements(line)), False)

    def _end(self, rest: str, statement: Statement) -> None:
        self._frames.clear()

    def _stray(self, rest: str, statement: Statement) -> None:
        word = statement.text.split(None, 1)[0]
        opening = " or ".join(o for o, end in macros.BLOCKS.items() if word in (end, end + "m"))
        raise Problem(f"{word} without {opening}")


_STEERING: dict[str, Callable[[_Reader, str, Statement], None]] = {
    ".macro": _Reader._define_macro,
    ".purgem": _Reader._purge_macro,
    ".exitm": _Reader._exit_macro,
    ".rept": _Reader._repeat,
    ".irp": _Reader._iterate,
    ".irpc": _Reader._iterate_characters,
    ".include": _Reader._include,
    ".end": _Reader._end,
    **dict.fromkeys(macros.BLOCKS.values(), _Reader._stray),
}


def _defined(context: Context, name: str) -> bool:
    symbol = context.unit.symbols.get(symbol_name(name.strip()))
    return symbol is not None and symbol.definition is not None


def _same(context: Context, rest: str) -> bool:
    texts = split_operands(rest)
    if len(texts) != 2:
        raise Problem(f"takes 2 operands, not {len(texts)}")
    first, second = (t.strip("'") for t in texts)
    return first == second


_CONDITIONS: dict[str, Callable[[Context, str], bool]] = {
    ".if": lambda c, t: c.constant(t) != 0,
    ".ifne": lambda c, t: c.constant(t) != 0,
    ".ifeq": lambda c, t: c.constant(t) == 0,
    ".ifgt": lambda c, t: c.constant(t) > 0,
    ".ifge": lambda c, t: c.constant(t) >= 0,
    ".iflt": lambda c, t: c.constant(t) < 0,
    ".ifle": lambda c, t: c.constant(t) <= 0,
    ".ifdef": _defined,
    ".ifndef": lambda c, t: not _defined(c, t),
    ".ifnotdef": lambda c, t: not _defined(c, t),
    ".ifb": lambda c, t: not t.strip(),
    ".ifnb": lambda c, t: bool(t.strip()),
    ".ifc": _same,
    ".ifnc": lambda c, t: not _same(c, t),
    ".ifeqs": _same,
    ".ifnes": lambda c, t: not _same(c, t),
}
_BRANCHES = frozenset({".elseif", ".else", ".endif"})
