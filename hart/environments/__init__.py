"""Guest environments: what a guest finds at its start and whom it talks to. One file each, chosen by name.

Owns the interface. An environment's module defines ENVIRONMENT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol

from bus.segment import Segment
from hart.image import Image
from hart.interpreter import Interpreter


class Console(Protocol):
    """Where a guest's output goes."""

    def __call__(self, data: bytes) -> None:
        """Take output of this hart; returns when it is stored."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A guest environment.

    Attributes:
        name: what configs call it.
        summary: one line for people.
        load: load(segment, image) places a program and sets every hart's start registers; once, before harts run.
            Raises LoadError.
        attach: attach(machine, segment, symbols, console) connects a hart's machine to the environment; `symbols`
            are those of `anchors` that the image has.
        anchors: names of the image's symbols that the environment needs to know.

    """

    name: str
    summary: str
    load: Callable[[Segment, Image], None]
    attach: Callable[[Interpreter, Segment, dict[str, int], Console], None]
    anchors: tuple[str, ...]


class LoadError(Exception):
    """A program that does not fit this VM; says what and where."""


NAMES = tuple(sorted(module.name for module in iter_modules(__path__)))
"""Every environment: each module of this package is one."""


def environment(name: str) -> Environment:
    """The environment of that name; raises KeyError for an unknown one."""
    if name not in NAMES:
        raise KeyError(name)
    found: Environment = import_module(f"hart.environments.{name}").ENVIRONMENT
    return found
