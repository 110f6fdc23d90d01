"""`hartstorm cache`: what the cache of compiled guest code holds, and emptying it."""

from __future__ import annotations

import typer

app = typer.Typer(help="The cache of compiled guest code.", no_args_is_help=True)


@app.command()
def info() -> None:
    """Print where the cache is, how many regions it holds and how large they are."""
    from coordinator.paths import cache_directory
    from hart.jit.cache import ObjectCache

    cache = ObjectCache(cache_directory())
    sizes = [path.stat().st_size for path in cache.entries()]
    typer.echo(f"{cache.directory}: {len(sizes)} regions, {sum(sizes) / 1024:.0f} KiB")


@app.command()
def clear() -> None:
    """Remove every region; running VMs compile anew what they need next."""
    from coordinator.paths import cache_directory
    from hart.jit.cache import ObjectCache

    typer.echo(f"removed {ObjectCache(cache_directory()).clear()} regions")
