"""The command line `hartstorm`: which commands there are, and what their exit codes mean. Does no work itself.

Exit codes: 0 the run met its expectations, 1 it did not, 2 usage or config error, 3 internal error, 124 watchdog,
130 interrupted from the keyboard. Each command is a module under `coordinator.commands`; they import what they
need when they run, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from coordinator.commands import (
    asm,
    batch,
    bench,
    bench_aba,
    bench_batch,
    bench_coherence,
    bench_control,
    bench_engine,
    cache,
    check,
    configs,
    disasm,
    dt,
    fuzz,
    isa,
    litmus,
    model,
    plot,
    reg,
    report,
    results,
    run,
    serve,
    vm,
    vm_inspect,
)
from coordinator.commands.exit_codes import ExitCode

app = typer.Typer(
    name="hartstorm",
    help="Runs real RV64 machine code on many harts at once, to stress concurrent atomics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("batch")(batch.batch)
app.command("asm")(asm.asm)
app.command("disasm")(disasm.disasm)
app.add_typer(results.app, name="results")
app.command("report")(report.report)
app.command("plot")(plot.plot)
app.add_typer(configs.app, name="configs")
app.add_typer(cache.app, name="cache")
bench.app.command("control")(bench_control.control)
bench.app.command("engine")(bench_engine.engine)
bench.app.command("batch")(bench_batch.batch)
bench.app.command("coherence")(bench_coherence.coherence)
bench.app.command("aba")(bench_aba.aba)
app.add_typer(bench.app, name="bench")
app.add_typer(isa.app, name="isa")
app.command("dt")(dt.dt)
app.command("model")(model.model)
app.command("check")(check.check)
app.add_typer(fuzz.app, name="fuzz")
app.command("litmus")(litmus.litmus)
app.add_typer(serve.app, name="serve")
for inspect in (vm_inspect.events, vm_inspect.memory, vm_inspect.dt, vm_inspect.hwprobe, vm_inspect.grant):
    vm.app.command()(inspect)
app.add_typer(vm.app, name="vm")
app.add_typer(reg.app, name="reg")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"hartstorm {version('hartstorm')}")
        except PackageNotFoundError:
            typer.echo("hartstorm, run from a source tree that is not installed")
        raise typer.Exit


@app.callback()
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
        app()
    except Exception:
        import traceback

        traceback.print_exc()
        typer.echo("hartstorm: internal error; the lines above say where", err=True)
        sys.exit(ExitCode.INTERNAL_ERROR)
