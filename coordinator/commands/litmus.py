"""`hartstorm litmus`: run litmus tests on real harts, in litmus7's log format, and judge them by a memory model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.exit_codes import ExitCode


def litmus(
    paths: Annotated[
        list[Path], typer.Argument(help="Litmus tests, folders of them, or @all indexes.", exists=True)
    ],
    policy: Annotated[str, typer.Option()] = "inline",
    tier: Annotated[str, typer.Option()] = "auto",
    seconds: Annotated[float, typer.Option("--time", help="Seconds for each test.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Run litmus tests on real harts."""
    from coordinator.check.enumerator import enumerate_states
    from coordinator.check.models import model_named
    from coordinator.harness.outcomes import Reader, coverage
    from coordinator.harness.program import Program
    from coordinator.harness.session import Session, Setting
    from coordinator.litmus.index import test_files
    from coordinator.litmus.log import litmus_log
    from coordinator.litmus.parser import parse_file

    program = Program()
    for path in paths:
        for file in test_files(path):
            program.add(parse_file(file))
    worst = ExitCode.AS_EXPECTED
    with Session(program, Setting(policy, tier, seed=seed)) as session:
        for number, compiled in enumerate(program.tests):
            began = time.monotonic()
            session.begin(number)
            while time.monotonic() < began + seconds:
                time.sleep(0.02)
                session.check()
            counts = session.end()
            reader = Reader(compiled)
            seen = reader.states(counts.outcomes)
            typer.echo(
                litmus_log(compiled.test, reader.shown, seen.counts, seen.matching, time.monotonic() - began)
            )
            judged = coverage(seen, enumerate_states(compiled.test, model_named("rvwmo")))
            if judged.forbidden:
                worst = ExitCode.NOT_AS_EXPECTED
    raise typer.Exit(worst)
