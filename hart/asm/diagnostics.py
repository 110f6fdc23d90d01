"""What the assembler says about bad text: where, what, the text itself and how it got there.

Owns places, diagnostics and the one exception of the package. Knows no syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LIMIT = 20
"""Diagnostics collected before the assembler gives up."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of source text. `outer` is the place that brought it there, by `via`: a macro call, an
    include."""

    file: str
    line: int
    via: str = ""
    outer: Place | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def trail(self) -> Iterator[str]:
        """How this line came to be assembled, innermost step first."""
        here = self
        while here.outer is not None:
            yield f"{here.via} at {here.outer}"
            here = here.outer

    def root(self) -> Place:
        """The outermost place: where a reader of the source would look."""
        here = self
        while here.outer is not None:
            here = here.outer
        return here

    @property
    def depth(self) -> int:
        """Number of steps in the trail."""
        return sum(1 for _ in self.trail())


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error: where, what is wrong, and the offending text; `origin` is the line as written, where a macro
    made the text from it."""

    place: Place
    message: str
    text: str
    origin: str = ""

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}"]
        if self.text:
            lines.append(f"    {self.text}")
        if self.origin:
            lines.append(f"  expanded from: {self.origin}")
        lines += [f"  in {step}" for step in self.place.trail()]
        return "\n".join(lines)


class AssemblyError(Exception):
    """The source does not assemble. `diagnostics` holds every error found, at most LIMIT, by file and line."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        found = list(diagnostics)
        files = list(dict.fromkeys(d.place.root().file for d in found))
        self.diagnostics = tuple(
            sorted(found, key=lambda d: (files.index(d.place.root().file), d.place.root().line))
        )
        super().__init__("\n".join(map(str, self.diagnostics)))


class Problem(Exception):
    """What is wrong, raised where the place is not known; the assembler adds it. Never leaves the package."""


class Report:
    """The errors found so far."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []

    def add(self, place: Place, problem: Problem | str, text: str, origin: str = "") -> None:
        """Note an error; `origin` is the source line, if it is not simply around the text.

        Raises:
            AssemblyError: it is the LIMITth.

        """
        written = " ".join(origin.split())
        found = Diagnostic(
            place, str(problem), text.strip(), "" if " ".join(text.split()) in written else written
        )
        if found not in self._found:
            self._found.append(found)
        if len(self._found) >= LIMIT:
            raise AssemblyError(self._found)

    def check(self) -> None:
        """Raise AssemblyError if there was any error."""
        if self._found:
            raise AssemblyError(self._found)
