"""`hartstorm configs`: what configurations come with hartstorm, whether a file is right, what may be in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.exit_codes import ExitCode, config_errors

app = typer.Typer(help="List, check and explain run configurations.", no_args_is_help=True)


@app.command("list")
def list_configs() -> None:
    """Print the configurations that come with hartstorm, and where their files are."""
    from coordinator import paths
    from coordinator.batch.file import load_batch
    from coordinator.config import load
    from coordinator.report import plain_table, stdout_console

    table = plain_table(["name", "shows"])
    table.columns[1].no_wrap = False  # a name must be whole to be of use
    with config_errors():
        for file in paths.shipped_configs().values():
            run = load(file).run
            table.add_row(run.name, run.description)
        batches = plain_table(["batch", "shows"])
        batches.columns[1].no_wrap = False
        for file in paths.shipped_batches().values():
            batch = load_batch(file).file
            batches.add_row(batch.name, batch.description)
    console = stdout_console()
    console.print(table)
    console.print()
    console.print(batches)
    typer.echo("\n`hartstorm run NAME` runs a configuration, `hartstorm batch NAME` a batch;")
    typer.echo(f"their files are below {paths.CONFIGS}")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Run configurations: files, or names from `list`.")],
    build: Annotated[bool, typer.Option(help="Build the guests too, and look their symbols up.")] = True,
) -> None:
    """Check configurations without running them; prints every problem and exits with 2 if there is one."""
    from coordinator.config import ConfigError, load
    from coordinator.guest import build_all

    bad = False
    for file in files:
        try:
            config = load(file)
            if build:
                build_all(config)
        except ConfigError as error:
            bad = True
            typer.echo(str(error), err=True)
        else:
            typer.echo(f"{file}: ok")
    raise typer.Exit(ExitCode.USAGE_OR_CONFIG if bad else ExitCode.AS_EXPECTED)


@app.command()
def schema() -> None:
    """Print the JSON Schema of run configurations, for editors."""
    import json

    from coordinator.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A run configuration: a file, or a name from `list`.")],
) -> None:
    """Print a configuration as it will run: VMs merged, defaults filled in, as JSON."""
    from coordinator.config import load

    with config_errors():
        typer.echo(load(file).run.model_dump_json(indent=2, exclude_none=True))
