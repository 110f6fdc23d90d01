"""Single keys laid over a configuration: what `--set KEY=VALUE` and the sweep of a batch file say.

Owns their form and how they are laid over a document. Checks no value: the merged document is checked as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coordinator.config.errors import ConfigError, Problem
from coordinator.config.model import PROGRAM_KEYS

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A key and the value it gets.

    Attributes:
        path: the key, as the file would have it: `("vm", "guest", "defines", "ITERATIONS")`.
        value: any TOML value but a table.
        where: who says so, for messages: `--set vm.harts`, `sweep.grid.vm.harts`.
        line: line of `source`; 0 where it is on no line.
        source: the file that says so; empty for the command line.

    """

    path: Path
    value: Any
    where: str
    line: int = 0
    source: str = ""


def parse_setting(text: str) -> Setting:
    """The setting `KEY=VALUE` of a command line; VALUE is TOML, or a word that is taken as text.

    Raises:
        ConfigError: it has not this form.

    """
    import tomllib  # here, because most commands are given no setting

    key, equals, value = (part.strip() for part in text.partition("="))
    problem = "write --set KEY=VALUE, with the key as the file has it: --set vm.harts=8"
    if not equals or not key:
        raise ConfigError("", [Problem(f"--set {text}", problem)])
    try:
        path = _single_path(tomllib.loads(f"{key} = 0"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", [Problem(f"--set {text}", f"{key!r} is not a key; {problem}")]) from error
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        found = value
    return Setting(path, found, f"--set {key}")


def _single_path(table: Mapping[str, Any]) -> Path:
    ((key, inner),) = table.items()
    return (key, *_single_path(inner)) if isinstance(inner, dict) else (key,)


def leaves(table: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key of a document that holds no table, and its value."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def laid_over(document: Mapping[str, Any], settings: Iterable[Setting]) -> dict[str, Any]:
    """`document` with the settings in it, the last word first; what is not changed is shared.

    A program that is set replaces the one that was there, whatever its kind.
    """
    result = dict(document)
    mine: set[int] = {id(result)}
    for setting in settings:
        *tables, key = setting.path
        table: Any = result
        for name in tables:
            inner = table.get(name)
            if id(inner) not in mine:
                inner = dict(inner) if isinstance(inner, dict) else {}
                mine.add(id(inner))
            table[name] = inner
            table = inner
        if tables[-1:] == ["guest"] and key in PROGRAM_KEYS:
            for other in PROGRAM_KEYS:
                table.pop(other, None)
        table[key] = setting.value
    return result
