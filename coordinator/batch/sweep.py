"""The points of a sweep: which parameters there are, which values each point gives them, what it sets for that.

Owns the expansion. Checks no configuration and builds no guest.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from coordinator import expression
from coordinator.batch.file import MOST_POINTS, Batch, Range
from coordinator.config.model import PROGRAM_KEYS
from coordinator.config.places import line_of
from coordinator.config.settings import Setting, leaves
from coordinator.expression import ExpressionError, Value
from coordinator.results.read import identifier
from hart.spelling import nearest

Path = tuple[str, ...]
Place = tuple[str | int, ...]
"""A key of the batch file."""
BASE = ("base",)
REPETITION = "repetition"
"""The parameter that tells the repetitions of a point apart."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of an axis: what it is called, by parameter, and what it sets."""

    parameters: Mapping[str, Value]
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class SweptPoint:
    """A combination of choices."""

    parameters: dict[str, Value]
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Expansion:
    """A sweep, ready to be gone through.

    Attributes:
        parameters: their names, in the order of the file.
        axes: what there is to choose from.
        combinations: how many points there are before `where`.

    """

    parameters: tuple[str, ...]
    axes: tuple[tuple[Choice, ...], ...]
    combinations: int
    _where: tuple[expression.Expression, ...]
    _batch: Batch

    def points(self) -> Iterator[SweptPoint]:
        """Every point for which the conditions hold; the last axis varies fastest.

        Raises:
            ConfigError: a condition has no value, such as a comparison of text with a number.

        """
        for choices in itertools.product(*self.axes):
            parameters: dict[str, Value] = {}
            for choice in choices:
                parameters |= choice.parameters
            if self._wanted(parameters):
                yield SweptPoint(parameters, tuple(s for choice in choices for s in choice.settings))

    def _wanted(self, parameters: Mapping[str, Value]) -> bool:
        for number, condition in enumerate(self._where):
            try:
                if not condition.evaluate(parameters):
                    return False
            except ExpressionError as error:
                message = f"{condition.text!r}: {error}"
                raise self._batch.problem(("sweep", "where", number), message) from error
        return True


def expand(batch: Batch) -> Expansion:
    """The sweep of a batch.

    Raises:
        ConfigError: lists of different lengths in a zip, a key that varies twice, a condition over names that are
            no parameters, more points than `MOST_POINTS`.

    """
    sweep = batch.file.sweep
    tables: list[tuple[Place, dict[str, Any]]] = [(("sweep", "grid"), sweep.grid)]
    tables += [(("sweep", "zip", number), table) for number, table in enumerate(sweep.zip)]
    swept = [
        (where, [(path, _values(batch, where, path, value)) for path, value in _swept_keys(table)])
        for where, table in tables
    ]
    keys = Counter(path for _, columns in swept for path, _ in columns)
    if sweep.seeds is not None:
        keys[("vm", "seed")] += 1
    for path, count in keys.items():
        if count > 1:
            raise batch.problem(("sweep",), f"{'.'.join(path)} varies on {count} axes; it can on one")
    names = _names([*keys], taken=[*sweep.named, REPETITION])
    axes: list[tuple[Choice, ...]] = []
    for where, columns in swept:
        if where == ("sweep", "grid"):
            axes += [tuple(_choice(batch, names, where, [(p, v)]) for v in values) for p, values in columns]
        else:
            axes.append(_zipped(batch, names, where, columns))
    for axis, points in sweep.named.items():
        if not points:
            raise batch.problem(("sweep", "named", axis), "has no point")
        axes.append(tuple(_named(batch, axis, name, table) for name, table in points.items()))
    if sweep.seeds is not None:
        path = ("vm", "seed")
        axes.append(
            tuple(
                Choice({names[path]: s}, (_setting(batch, path, s, ("sweep", "seeds")),)) for s in sweep.seeds
            )
        )
    if sweep.repeat > 1:
        axes.append(tuple(Choice({REPETITION: r}, ()) for r in range(sweep.repeat)))
    parameters = tuple(
        dict.fromkeys(name for axis in axes for choice in axis[:1] for name in choice.parameters)
    )
    combinations = math.prod(map(len, axes))
    if combinations > MOST_POINTS:
        raise batch.problem(("sweep",), f"has {combinations} combinations; the most is {MOST_POINTS}")
    _refuse_settings_of_swept_keys(
        batch, {s.path for axis in axes for choice in axis for s in choice.settings}
    )
    return Expansion(parameters, tuple(axes), combinations, _conditions(batch, parameters), batch)


def _swept_keys(table: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Keys with a list or a range: where a table of a grid ends."""
    for key, value in table.items():
        if isinstance(value, dict) and "from" not in value and value:
            yield from _swept_keys(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _values(batch: Batch, where: Place, path: Path, given: Any) -> list[Any]:
    if isinstance(given, list) and given:
        return given
    if isinstance(given, dict) and given:
        try:
            return list(Range.model_validate(given).values)
        except ValidationError as error:
            found = error.errors()[0]
            at = ".".join(map(str, found["loc"]))
            message = str(found.get("ctx", {}).get("error", found["msg"]))
            text = f"a range is {{ from, to, step or times }}: {at + ': ' if at else ''}{message}"
            raise batch.problem((*where, *path), text) from error
    raise batch.problem(
        (*where, *path), "must be a list of values, not empty, or a range { from = 1, to = 8 }"
    )


def _names(paths: Sequence[Path], taken: Sequence[str]) -> dict[Path, str]:
    """The name of each key as a parameter: its last part, or as many of the last as tell it from the others."""
    names: dict[Path, str] = {}
    for path in paths:
        for length in range(1, len(path) + 1):
            name = identifier("_".join(path[-length:]))
            others = [identifier("_".join(other[-length:])) for other in paths if other != path]
            if name not in others and name not in taken:
                break
        names[path] = name
    return names


def _choice(
    batch: Batch, names: Mapping[Path, str], where: Place, given: Sequence[tuple[Path, Any]]
) -> Choice:
    parameters = {names[path]: _as_parameter(value) for path, value in given}
    return Choice(parameters, tuple(_setting(batch, path, value, (*where, *path)) for path, value in given))


def _zipped(
    batch: Batch,
    names: Mapping[Path, str],
    where: Place,
    columns: Sequence[tuple[Path, list[Any]]],
) -> tuple[Choice, ...]:
    lengths = {".".join(path): len(values) for path, values in columns}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items()) or "there is none"
        raise batch.problem(where, f"its lists must be of one length; {told}")
    paths = [path for path, _ in columns]
    rows = zip(*(values for _, values in columns), strict=True)
    return tuple(_choice(batch, names, where, list(zip(paths, row, strict=True))) for row in rows)


def _named(batch: Batch, axis: str, name: str, table: Mapping[str, Any]) -> Choice:
    where = ("sweep", "named", axis, name)
    return Choice(
        {identifier(axis): name},
        tuple(_setting(batch, path, value, (*where, *path)) for path, value in leaves(table)),
    )


def _setting(batch: Batch, path: Path, value: Any, where: Place) -> Setting:
    document = batch.document
    line = line_of(document.lines, where)
    return Setting(path, anchored(batch, path, value), ".".join(map(str, where)), line, document.source)


def anchored(batch: Batch, path: Path, value: Any) -> Any:
    """A value of the batch file; a program's path starts at that file, not at the base."""
    if path[-2:-1] != ("guest",) or path[-1] not in PROGRAM_KEYS:
        return value
    directory = batch.document.directory.absolute()
    if isinstance(value, list):
        return [str(directory / part) if isinstance(part, str) else part for part in value]
    return str(directory / value) if isinstance(value, str) else value


def _as_parameter(value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int | float | str) else json.dumps(value)


def _conditions(batch: Batch, parameters: Sequence[str]) -> tuple[expression.Expression, ...]:
    parsed = []
    for number, text in enumerate(batch.file.sweep.where):
        parsed.append(expression.parse(text, expression.VALUES))
        for used in sorted(parsed[-1].names):
            if used not in parameters:
                told = f"there are {', '.join(parameters)}" if parameters else "nothing varies"
                message = f"{text!r}: no parameter {used!r}{nearest(used, parameters)}; {told}"
                raise batch.problem(("sweep", "where", number), message)
    return tuple(parsed)


def _refuse_settings_of_swept_keys(batch: Batch, swept: set[Path]) -> None:
    for setting in batch.settings:
        if setting.path in swept:
            key = ".".join(setting.path)
            raise batch.problem(
                (setting.where,), f"the sweep varies {key}; set the axis: --set sweep.grid.{key}=[...]"
            )
