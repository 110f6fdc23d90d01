"""What the exit codes of `hartstorm` mean, and how an error becomes one. Decides no verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer


class ExitCode(IntEnum):
    """Exit codes of every command."""

    AS_EXPECTED = 0
    NOT_AS_EXPECTED = 1
    USAGE_OR_CONFIG = 2
    INTERNAL_ERROR = 3
    WATCHDOG = 124
    INTERRUPTED = 130


@contextmanager
def config_errors() -> Iterator[None]:
    """Print a ConfigError's problems to stderr and exit with code 2."""
    from coordinator.config.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error


def parse_isa(text: str) -> frozenset[str]:
    """The extensions of `--isa`.

    Raises:
        ConfigError: it is no ISA string.

    """
    from coordinator.config.errors import ConfigError, Problem
    from hart.isa.isa_string import IsaError, parse

    try:
        return parse(text)
    except IsaError as error:
        raise ConfigError("", [Problem("--isa", str(error))]) from error
