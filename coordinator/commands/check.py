"""`hartstorm check`: whether a memory model allows what a recorded run or an axe trace did, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.model import ModelName, ZalasrReading

if TYPE_CHECKING:
    from coordinator.check.execution import Execution
    from coordinator.check.models import Model
    from coordinator.check.verdict import Verdict


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings (of `record.memory`), or axe traces (.axe).", exists=True, dir_okay=False
        ),
    ],
    name: Annotated[ModelName, typer.Option("--model", help="The memory model.")] = ModelName.RVWMO,
    zalasr: Annotated[
        ZalasrReading,
        typer.Option(help="Annotation of lw.aq, sw.rl: rcpc as in herd7, rcsc as in the Zalasr chapter."),
    ] = ZalasrReading.RCPC,
    svg: Annotated[
        Path | None, typer.Option(help="Draw the cycle that forbids the run to this file.")
    ] = None,
    litmus: Annotated[
        Path | None, typer.Option(help="Write the events of that cycle as a litmus test to this file.")
    ] = None,
    axe: Annotated[
        Path | None,
        typer.Option(help="Write the run as an axe trace to this file; says what axe has no form for."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file.")] = False,
) -> None:
    """Check recorded runs against a memory model.

    Exits with 1 if one is forbidden or cannot be decided, with 2 if a file cannot be read or written.
    """
    from coordinator.check.models import Zalasr, model_named

    model = model_named(name.value, Zalasr(zalasr.value))
    worst = ExitCode.AS_EXPECTED
    for file in files:
        worst = max(worst, check_file(file, model, svg=svg, litmus=litmus, axe=axe, json=json))
    raise typer.Exit(worst)


def check_file(
    file: Path,
    model: Model,
    *,
    svg: Path | None = None,
    litmus: Path | None = None,
    axe: Path | None = None,
    json: bool = False,
) -> ExitCode:
    """Check one file, print what came of it, and write what was asked for."""
    from bus.recording_file import RecordingError
    from coordinator.litmus.text import LitmusError

    try:
        if file.suffix == ".axe":
            return _check_traces(file, model)
        return _check_recording(file, model, svg, litmus, axe, json)
    except (RecordingError, LitmusError, OSError) as error:
        typer.echo(str(error), err=True)
        return ExitCode.USAGE_OR_CONFIG


def _check_recording(
    file: Path, model: Model, svg: Path | None, litmus: Path | None, axe: Path | None, json: bool
) -> ExitCode:
    from time import perf_counter

    from bus.recording_file import read
    from coordinator.check.explain import cycle_text, event_text
    from coordinator.check.recorded import from_recording
    from coordinator.check.verdict import judge_recorded

    begun = perf_counter()
    recording = read(file)
    verdict = judge_recorded(from_recording(recording), model)
    execution = verdict.recorded.execution
    doubts = _doubts(recording.lost, recording.complete, recording.outside, verdict)
    code = ExitCode.NOT_AS_EXPECTED if verdict.forbidden or doubts else ExitCode.AS_EXPECTED
    word = "forbidden" if verdict.forbidden else "undecided" if doubts else "allowed"
    events = sum(map(len, execution.harts))
    if json:
        _print_json(file, model, word, events, doubts, verdict, perf_counter() - begun)
    else:
        facts = recording.facts
        typer.echo(
            f"{file}: {word} by {model.name}: {events:,} events of {facts.harts} harts, "
            f"policy {facts.policy}, tier {facts.tier}, checked in {perf_counter() - begun:.1f} s"
        )
        for doubt in doubts:
            typer.echo(f"  {doubt}")
        if verdict.problem is not None:
            at = verdict.problem.identity
            where = f"{event_text(execution, at)}\n  " if at >= 0 else ""
            typer.echo(
                f"Forbidden by the load value axiom, whatever the order:\n  {where}{verdict.problem.text}"
            )
        if verdict.violation is not None:
            typer.echo(cycle_text(execution, verdict.violation))
    written = _write_pictures(verdict, file.stem, svg, litmus)
    if axe is not None:
        written &= _write_axe(verdict.recorded.execution, axe)
    return code if written or code is not ExitCode.AS_EXPECTED else ExitCode.USAGE_OR_CONFIG


def _doubts(lost: tuple[int, ...], complete: bool, outside: int, verdict: Verdict) -> list[str]:
    """Why a run that shows nothing wrong may not be all there."""
    found = [f"hart {hart} lost {count:,} events" for hart, count in enumerate(lost) if count]
    if not complete:
        found.append("the recording was cut off: what is missing was not checked")
    if outside:
        found.append(f"{outside} writes came from outside the harts and were not noted")
    if verdict.recorded.unknown:
        found.append(
            f"{verdict.recorded.unknown} reads may have seen writes that were not noted; they were left out"
        )
    if verdict.undecided:
        found.append(verdict.undecided)
    return found


def _write_pictures(verdict: Verdict, name: str, svg: Path | None, litmus: Path | None) -> bool:
    """Whether what was asked for could be written; of a run without a cycle, there is nothing to write."""
    if verdict.violation is None:
        return True
    execution = verdict.recorded.execution
    if svg is not None:
        from coordinator.check.svg import draw

        svg.write_text(draw(execution, verdict.violation))
    if litmus is not None:
        from coordinator.check.window import Unwritable, window_test

        try:
            litmus.write_text(window_test(execution, verdict.violation, name))
        except Unwritable as error:
            typer.echo(f"{litmus}: not written: {error}", err=True)
            return False
    return True


def _write_axe(execution: Execution, file: Path) -> bool:
    from coordinator.check.axe import Unwritable, write_trace
    from coordinator.check.execution import INITIAL, READS

    initial = {
        e.address: e.read
        for identity, e in enumerate(execution.events())
        if e.kind in READS and e.read and execution.source[identity] == INITIAL
    }
    try:
        written = write_trace(execution.harts, initial)
    except Unwritable as error:
        typer.echo(f"{file}: not written: {error}", err=True)
        return False
    file.write_text(written.text)
    if written.left_out:
        what = ", ".join(f"{what} ({times:,})" for what, times in sorted(written.left_out.items()))
        typer.echo(
            f"{file}: left out, for axe cannot say it: {what}. Its NO holds; its OK is of the rest.", err=True
        )
    return True


def _check_traces(file: Path, model: Model) -> ExitCode:
    from coordinator.check.axe import read_traces
    from coordinator.check.search import Verdict as Found
    from coordinator.check.search import search_values

    code = ExitCode.AS_EXPECTED
    for number, trace in enumerate(read_traces(file.read_text(), str(file)), 1):
        found = search_values(trace.harts, model)
        typer.echo(f"{file}#{number}: {found.verdict.value} by {model.name}")
        if found.verdict is not Found.ALLOWED:
            code = ExitCode.NOT_AS_EXPECTED
    return code


def _print_json(
    file: Path, model: Model, word: str, events: int, doubts: list[str], verdict: Verdict, seconds: float
) -> None:
    import json

    from coordinator.check.explain import event_text
    from coordinator.check.models import describe_label

    execution = verdict.recorded.execution
    violation = verdict.violation
    typer.echo(
        json.dumps(
            {
                "file": str(file),
                "model": model.name,
                "verdict": word,
                "events": events,
                "doubts": doubts,
                "problem": None if verdict.problem is None else verdict.problem.text,
                "axiom": None if violation is None else violation.axiom,
                "cycle": [
                    {
                        "event": event_text(execution, s.before),
                        "pc": next(e.pc for i, e in enumerate(execution.events()) if i == s.before),
                        "before_the_next": describe_label(s.label),
                    }
                    for s in (violation.cycle if violation else ())
                ],
                "seconds": round(seconds, 3),
            }
        )
    )
