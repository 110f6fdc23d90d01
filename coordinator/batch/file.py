"""The batch file as data: every key, its meaning, default and allowed values. Makes no points.

A batch file is a run configuration with three tables more: `base` names the run configuration that it starts from, over
which its own `[vm]` and `[vms.NAME]` are laid; `[sweep]` says what varies; `[batch]` how it is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from coordinator import expression
from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import Document, check_table, read_document
from coordinator.config.places import line_of
from coordinator.config.settings import Setting, laid_over
from coordinator.paths import shipped_batches

MOST_POINTS = 1_000_000


class _Table(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=False
    )


class Range(_Table):
    """A range of integers: from `from` to `to`, both included, by `step`, or each `times` the one before."""

    first: int = Field(alias="from")
    """The first value."""
    last: int = Field(alias="to")
    """No value passes this."""
    step: int | None = Field(default=None, ge=1)
    """What to add. Default 1."""
    times: int | None = Field(default=None, ge=2)
    """What to multiply with instead."""

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.step is not None and self.times is not None:
            raise ValueError("needs step or times, not both")
        if self.last < self.first:
            raise ValueError(f"to = {self.last} is below from = {self.first}")
        if self.times is not None and self.first < 1:
            raise ValueError("times needs from of at least 1")
        if (self.last - self.first) // (self.step or 1) > MOST_POINTS and self.times is None:
            raise ValueError(f"has more than {MOST_POINTS} values")
        return self

    @property
    def values(self) -> list[int]:
        """All of them, in order."""
        if self.times is None:
            return list(range(self.first, self.last + 1, self.step or 1))
        found = [self.first]
        while found[-1] * self.times <= self.last:
            found.append(found[-1] * self.times)
        return found


def _seeds(given: object) -> object:
    if isinstance(given, int) and not isinstance(given, bool):
        if not 1 <= given <= MOST_POINTS:
            raise ValueError(f"must be from 1 to {MOST_POINTS}, a list of seeds, or a range")
        return list(range(given))
    return Range.model_validate(given).values if isinstance(given, dict) else given


def _several(given: object) -> object:
    return [given] if isinstance(given, dict | str) else given


Seed = Annotated[int, Field(ge=0, lt=1 << 64)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]


class Sweep(_Table):
    """What varies: every combination of the axes below, but for those that `where` leaves out."""

    grid: dict[str, Any] = {}
    """Keys of the run configuration, each with a list of values or a range: an axis each."""
    zip: Annotated[list[dict[str, Any]], BeforeValidator(_several)] = []
    """The same, but the keys of one table go together, value by value; `[[sweep.zip]]` for several tables."""
    named: dict[Name, dict[str, dict[str, Any]]] = {}
    """By axis, then by the name of each point on it: the keys that it sets."""
    seeds: Annotated[list[Seed], BeforeValidator(_seeds)] | None = None
    """Seeds: how many (from 0), a list, or a range. Default: the configuration's seed."""
    repeat: int = Field(default=1, ge=1, le=MOST_POINTS)
    """How often every point is run. Default 1."""
    where: Annotated[list[str], BeforeValidator(_several)] = []
    """Expressions over parameters that must hold for a point to be run."""

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds is not None and (not seeds or len(set(seeds)) < len(seeds)):
            raise ValueError("must be different seeds, at least one")
        return seeds

    @field_validator("where")
    @classmethod
    def _readable(cls, where: list[str]) -> list[str]:
        for text in where:
            expression.parse(text, expression.VALUES)
        return where


RetryOn = Literal["failed", "refused", "hart died", "bus died", "watchdog"]
"""A status, or an ending that was not expected."""


class Settings(_Table):
    """How the batch is run."""

    jobs: int | None = Field(default=None, ge=1, le=1024)
    """Points at a time; 1 where their times are to be compared. Default: as many as the host has cores."""
    retry: list[RetryOn] = []
    """After what a point is run again. Default: nothing; only a point whose worker died always is."""
    attempts: int = Field(default=3, ge=1, le=100)
    """How often a point is run at most, where it is run again. Default 3."""
    time_s: float | None = Field(default=None, gt=0)
    """Budget of each point in seconds; a point that reaches it is stopped, and not judged. Default: none."""
    operations: int | None = Field(default=None, ge=1)
    """Budget of each point in operations, as `vm.metrics.operations` counts them. Default: none."""
    warm_ups: int = Field(default=0, ge=0, le=100)
    """How often a worker runs a point before it runs it for good, the first time that it meets a configuration that
    differs in more than seeds: for times that are to be compared, without what compiling costs. Default 0."""
    report: bool = True
    """Whether a batch that is done ends with its report, where matplotlib is installed. Default true."""


class BatchFile(_Table):
    """A batch file."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What the batch is called in reports; also the name of its directory unless another is given."""
    description: str = ""
    """What it shows, for people."""
    base: str | None = None
    """A run configuration to start from: a file, relative to this one, or the name of one that comes along."""
    vm: dict[str, Any] | None = None
    """As in a run configuration; laid over the base's."""
    vms: dict[str, Any] | None = None
    """As in a run configuration; laid over the base's."""
    sweep: Sweep = Sweep.model_construct()
    """What varies. Default: nothing; the batch has one point."""
    batch: Settings = Settings.model_construct()
    """How it is run."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch file that was read and checked.

    Attributes:
        document: the file, with the command line's settings in it.
        file: its content.
        settings: the command line's, for messages.

    """

    document: Document
    file: BatchFile
    settings: tuple[Setting, ...]

    def problem(self, path: tuple[str | int, ...], message: str, value: object = "") -> ConfigError:
        """What is wrong with a key of the file."""
        where = ".".join(str(part) for part in path)
        line = line_of(self.document.lines, path)
        return ConfigError(self.document.source, [Problem(where, message, _shown(value), line)])


def _shown(value: object) -> str:
    return "" if value == "" else str(value)


def load_batch(path: Path, settings: tuple[Setting, ...] = ()) -> Batch:
    """Read and check the batch file at `path`, or the one that comes along by that name.

    Raises:
        ConfigError: it cannot be read, is not TOML, or does not fit the model; lists every problem.

    """
    read = read_document(path, shipped_batches())
    document = Document(read.source, read.directory, laid_over(read.table, settings), read.lines)
    return Batch(document, check_table(document, BatchFile, settings), settings)
