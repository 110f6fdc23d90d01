"""The command line `hartstorm`: which commands there are, and what their exit codes mean. Does no work itself.

Exit codes: 0 the run met its expectations, 1 it did not, 2 usage or config error, 3 internal error, 124 watchdog,
130 interrupted from the keyboard. Each command is a module under `coordinator.commands`; they import what they
need when they run, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

COMMANDS: dict[str, str] = {
    "run": "run.run",
    "batch": "batch.batch",
    "asm": "asm.asm",
    "disasm": "disasm.disasm",
    "results": "results.app",
    "report": "report.report",
    "plot": "plot.plot",
    "configs": "configs.app",
    "cache": "cache.app",
    "bench": "bench.app",
    "isa": "isa.app",
    "dt": "dt.dt",
    "model": "model.model",
    "check": "check.check",
    "fuzz": "fuzz.app",
    "litmus": "litmus.litmus",
    "serve": "serve.app",
    "vm": "vm_inspect.app",
    "reg": "reg.app",
}
"""Where each command is: the module under `coordinator.commands`, and in it the function, or the group."""


def command_line(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these of COMMANDS; for one alone, the others need not be imported."""
    app = typer.Typer(
        name="hartstorm",
        help="Runs real RV64 machine code on many harts at once, to stress concurrent atomics.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in commands:
        module, attribute = COMMANDS[name].split(".")
        command = getattr(import_module(f"coordinator.commands.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def __getattr__(name: str) -> typer.Typer:
    if name == "app":  # the whole command line, for whoever wants it in one
        return command_line()
    raise AttributeError(name)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"hartstorm {version('hartstorm')}")
        except PackageNotFoundError:
            typer.echo("hartstorm, run from a source tree that is not installed")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Runs real RV64 machine code on many harts at once, to stress concurrent atomics."""


def main() -> None:
    """Entry point: run the command line, and turn what nobody expected into exit code 3."""
    try:
        command_line(COMMANDS.keys() & sys.argv[1:2] or COMMANDS)()
    except Exception:
        import traceback

        traceback.print_exc()
        typer.echo("hartstorm: internal error; the lines above say where", err=True)
        sys.exit(ExitCode.INTERNAL_ERROR)
