"""The state of assembling one source: where output goes, which instructions are enabled.

Owns what directives and instructions share. Reads no lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from hart.asm import expression
from hart.asm.diagnostics import Problem
from hart.asm.expression import Expression
from hart.asm.layout import integer
from hart.asm.sections import Bytes, Datum, Fragment, Section, Unit
from hart.asm.source import Statement


@dataclass(frozen=True, slots=True)
class Options:
    """What `.option` sets: the enabled extensions, and whether instructions are compressed where they can
    be."""

    extensions: frozenset[str]
    compress: bool


class Context:
    """The unit being made and the options in force. `statement` is the one being assembled."""

    def __init__(self, unit: Unit, options: Options) -> None:
        self.unit = unit
        self.options = options
        self.statement: Statement
        self.saved_options: list[Options] = []
        self.saved_sections: list[Section] = []
        self.previous_section: Section | None = None

    def expression(self, text: str) -> Expression:
        """A whole operand as an expression, bound to this point.

        Raises:
            Problem: it is not one.

        """
        return self.unit.bind(expression.parse(text))

    def constant(self, text: str) -> int:
        """The value of an operand that must be known now.

        Raises:
            Problem: it is not; says why.

        """
        return self.unit.constant(self.expression(text))

    def append(self, fragment: Fragment, size: int | None) -> None:
        """Add a fragment to the current section; `size` in bytes where it cannot change."""
        self.unit.section.append(fragment, size)

    def data(self, data: bytes) -> None:
        """Add literal bytes."""
        if data:
            self.append(Bytes(self.statement, data), len(data))

    def datum(self, text: str, size: int) -> None:
        """Add an integer of `size` bytes, now or when addresses are known.

        Raises:
            Problem: not an expression, or its value does not fit.

        """
        parsed = self.expression(text)
        known = self.unit.known(parsed)
        if known is None:
            self.append(Datum(self.statement, size, parsed), size)
        else:
            self.data(integer(known, size))

    def switch(self, name: str, flags: str, zeros: bool) -> None:
        """Go on in another section.

        Raises:
            Problem: it exists with other flags.

        """
        self.previous_section = self.unit.section
        section = self.unit.enter(name, flags, zeros)
        if flags and section.flags != flags and section.fragments:
            raise Problem(f"section {name} has flags {section.flags!r} above and {flags!r} here")
