"""What is wrong with a config: each problem with its place, its value and what is allowed. Finds no problem itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the key path (`vm.guest.source`) or the option (`--harts`) that is at fault; empty for the whole file.
        message: what is wrong with it and what is allowed.
        line: line of the file, counted from 1; 0 where there is none.

    """

    where: str
    message: str
    line: int = 0

    def describe(self, source: str) -> str:
        """One line as compilers print them: `file:line: key: message`."""
        place = f"{source}:{self.line}" if self.line else source
        return ": ".join(part for part in (place, self.where, self.message) if part)


class ConfigError(ValueError):
    """A config that cannot be run; carries every problem found. The command line ends with exit code 2.

    Attributes:
        source: the file's name as the user gave it, or what stands in for it.
        problems: at least one.

    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(p.describe(source) for p in self.problems))


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest spelling among `allowed`, or nothing. Case does not count."""
    by_folded = {name.casefold(): name for name in allowed}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[found[0]]!r}?" if found else ""
