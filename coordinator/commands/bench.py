"""`hartstorm bench`: how fast hartstorm itself is on this host."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.commands import (
    bench_aba,
    bench_batch,
    bench_coherence,
    bench_control,
    bench_engine,
    bench_recording,
)

app = typer.Typer(help="Measure hartstorm itself on this host.", invoke_without_command=True)
app.command("control")(bench_control.control)
app.command("engine")(bench_engine.engine)
app.command("batch")(bench_batch.batch)
app.command("coherence")(bench_coherence.coherence)
app.command("aba")(bench_aba.aba)
app.command("recording")(bench_recording.recording)


@app.callback()
def bench(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Rough figures in about ten seconds.")] = False,
) -> None:
    """Measure the interpreter, serial transactions beside a bare pyzmq ping-pong, and VM start and stop."""
    if context.invoked_subcommand is not None:
        return
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from coordinator.bench.report import measure, render

    errors = Console(stderr=True)
    report = measure(quick, lambda what: errors.print(f"measuring: {what}", highlight=False))
    if json:
        typer.echo(dumps(asdict(report), indent=2))
    else:
        Console().print(render(report))
