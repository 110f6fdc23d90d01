"""`hartstorm cache`: what the user's cache of compiled guest code holds, and emptying it."""

from __future__ import annotations

import typer

app = typer.Typer(help="Look at or empty the cache of compiled guest code.", no_args_is_help=True)


@app.command()
def info() -> None:
    """Print where compiled guest code is kept, in how many entries and bytes."""
    from bus.object_files import default_directory
    from coordinator.report import plain_table, stdout_console
    from hart.jit.cache import ObjectCache

    cache = ObjectCache(default_directory())
    table = plain_table(["directory", "entries", "bytes"])
    table.add_row(str(cache.top), f"{len(cache.entries()):,}", f"{cache.size():,}")
    stdout_console().print(table)


@app.command()
def clear() -> None:
    """Remove all compiled guest code; running VMs keep what they have loaded, later runs compile anew."""
    from bus.object_files import default_directory
    from hart.jit.cache import ObjectCache

    cache = ObjectCache(default_directory())
    typer.echo(f"{cache.clear():,} entries removed from {cache.top}")
