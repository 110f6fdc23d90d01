"""What is wrong with a config: each problem with its place, its value, what is allowed. Finds none itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the key path (`vm.guest.source`) or the option (`--harts`) at fault; empty for the whole file.
        message: what is wrong with it and what is allowed.
        value: what the key holds, as TOML writes it; empty where that says nothing.
        line: line of the file, counted from 1; 0 where there is none.
        source: the file at fault where it is not the one that was read first.

    """

    where: str
    message: str
    value: str = ""
    line: int = 0
    source: str = ""

    def describe(self, source: str) -> str:
        """One line as compilers print them: `file:line: key = value: message`."""
        file = self.source or source
        place = f"{file}:{self.line}" if self.line else file
        key = f"{self.where} = {self.value}" if self.value else self.where
        return ": ".join(part for part in (place, key, self.message) if part)


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
