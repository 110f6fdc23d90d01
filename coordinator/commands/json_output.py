"""`--json`: the option, and how a command prints what it has as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object, default: Callable[[object], object] | None = None) -> None:
    """Print a value; `default` says what JSON cannot in terms that it can."""
    import json

    typer.echo(json.dumps(value, indent=2, default=default))
