"""`hartstorm model`: the final states that a memory model allows for litmus tests, in herd7's log format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from coordinator.check.agreement import Agreement, Finding
    from coordinator.check.enumerator import Outcome


class ModelName(StrEnum):
    """The models."""

    RVWMO = "rvwmo"
    TSO = "tso"
    SC = "sc"


class ZalasrReading(StrEnum):
    """How plain loads and stores with aq or rl are read."""

    RCPC = "rcpc"
    RCSC = "rcsc"


@dataclass(frozen=True, slots=True)
class _Options:
    """What each test is run with; goes to worker processes."""

    model: str
    zalasr: str
    explain: str | None
    svg: Path | None
    json: bool
    compares: bool
    timeout: float
    unroll: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of one test: text for standard output, and an error with its exit code if there was one; what is to be
    compared, where that was asked for."""

    output: str
    error: str = ""
    code: ExitCode = ExitCode.AS_EXPECTED
    finding: Finding | None = None


def model(
    paths: Annotated[
        list[Path], typer.Argument(help="Litmus tests, folders of them, or @all indexes.", exists=True)
    ],
    name: Annotated[ModelName, typer.Option("--model", help="The memory model.")] = ModelName.RVWMO,
    zalasr: Annotated[
        ZalasrReading,
        typer.Option(help="Annotation of lw.aq, sw.rl: rcpc as in herd7, rcsc as in the Zalasr chapter."),
    ] = ZalasrReading.RCPC,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="PROP", help="Show an execution with this property, or the cycle that forbids it."
        ),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(help="With --explain: draw the cycle to this file; the last test's, of several."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="LOG",
            help="Print only what differs from this herd7 or litmus7 log, why, and how long tests took.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a test.")] = False,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Processes to use.")] = 1,
    timeout: Annotated[float, typer.Option(help="Processor seconds for one test.")] = 60.0,
    unroll: Annotated[int, typer.Option(min=1, help="How often a loop may execute an instruction.")] = 2,
) -> None:
    """Print every final state that a memory model allows for litmus tests, as herd7 prints it.

    Exits with 1 if states differ from the reference's, with 2 if a test cannot be read or run, with 124 if one took too
    long; the others are printed all the same.
    """
    from coordinator.litmus.text import LitmusError

    try:
        files = list(named_files(paths))
        agreement = None if reference is None else _agreement(reference)
        if explain is not None:
            from coordinator.litmus.parser import parse_proposition

            parse_proposition(explain, "--explain")
    except (LitmusError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from None
    compares = agreement is not None
    options = _Options(name.value, zalasr.value, explain, svg, json, compares, timeout, unroll)
    worst = ExitCode.AS_EXPECTED
    for answer in _answers(files, options, jobs):
        if answer.output:
            typer.echo(answer.output)
        if answer.error:
            typer.echo(answer.error, err=True)
            worst = max(worst, answer.code)
        if agreement is not None and _compare(agreement, answer, options):
            worst = max(worst, ExitCode.NOT_AS_EXPECTED)
    if agreement is not None:
        typer.echo("\n".join(agreement.lines()))
    raise typer.Exit(worst)


def _agreement(log: Path) -> Agreement:
    from coordinator.check.agreement import Agreement, Reference
    from coordinator.litmus.log import read_log

    with log.open(encoding="utf-8") as lines:
        return Agreement(Reference(read_log(lines)))


def _compare(agreement: Agreement, answer: _Answer, options: _Options) -> bool:
    """Count a test; print a difference, if there is one, and say so."""
    from coordinator.check.agreement import difference_text
    from coordinator.check.models import Zalasr, model_named
    from coordinator.litmus.parser import parse_file

    agreement.tests += 1
    difference = None if answer.finding is None else agreement.add(answer.finding)
    if difference is None:
        return False
    test = parse_file(Path(difference.finding.file))
    chosen = model_named(options.model, Zalasr(options.zalasr))
    typer.echo(difference_text(difference, test, chosen, options.timeout) + "\n")
    return True


def named_files(paths: list[Path]) -> Iterator[Path]:
    """The tests that arguments name; raises LitmusError and OSError as `coordinator.litmus.index.test_files`."""
    from coordinator.litmus.index import test_files

    for path in paths:
        yield from test_files(path)


def _answers(files: list[Path], options: _Options, jobs: int) -> Iterator[_Answer]:
    if jobs == 1 or len(files) < 2 * jobs:
        for file in files:
            yield _answer(file, options)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from itertools import repeat

    from coordinator.parent import end_with_parent

    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        yield from pool.map(
            _answer, files, repeat(options), chunksize=max(1, min(64, len(files) // (4 * jobs)))
        )


def _answer(file: Path, options: _Options) -> _Answer:
    from time import process_time

    from coordinator.check.enumerator import Timeout, enumerate_states
    from coordinator.check.explain import explain, explanation_text
    from coordinator.check.models import Zalasr, model_named
    from coordinator.check.svg import draw
    from coordinator.litmus.log import herd_log
    from coordinator.litmus.parser import parse_file, parse_proposition
    from coordinator.litmus.text import LitmusError

    chosen = model_named(options.model, Zalasr(options.zalasr))
    begun = process_time()
    try:
        test = parse_file(file)
        if options.explain is not None:
            proposition = parse_proposition(options.explain, "--explain")
            found = explain(test, chosen, proposition, options.timeout)
            if options.svg is not None and found.execution is not None and found.violation is not None:
                options.svg.write_text(draw(found.execution, found.violation))
            return _Answer(f"{test.name}: {explanation_text(found, options.explain)}\n")
        outcome = enumerate_states(test, chosen, unroll=options.unroll, limit_s=options.timeout)
    except (LitmusError, OSError) as error:
        return _Answer("", str(error), ExitCode.USAGE_OR_CONFIG)
    except Timeout:
        return _Answer("", f"{file}: gave up after {options.timeout:g} s", ExitCode.WATCHDOG)
    warning = (
        f"{file}: a loop goes round more than {options.unroll} times; states may be missing"
        if outcome.cut
        else ""
    )
    if options.compares:
        return _Answer("", warning, finding=_finding(file, outcome, process_time() - begun))
    if options.json:
        return _Answer(_json(file, outcome, options), warning)
    return _Answer(herd_log(test, outcome.shown, outcome.states, outcome.tally, outcome.seconds), warning)


def _finding(file: Path, outcome: Outcome, seconds: float) -> Finding:
    from coordinator.check.agreement import Finding
    from coordinator.litmus.hash import hash_of
    from coordinator.litmus.log import normal_state, state_text

    states = frozenset(normal_state(state_text(outcome.shown, state)) for state in outcome.states)
    return Finding(str(file), outcome.test.name, hash_of(outcome.test), states, seconds)


def _json(file: Path, outcome: Outcome, options: _Options) -> str:
    import json

    from coordinator.litmus.hash import hash_of
    from coordinator.litmus.test import shown_name

    test = outcome.test
    return json.dumps(
        {
            "file": str(file),
            "test": test.name,
            "model": options.model,
            "hash": hash_of(test),
            "quantifier": test.quantifier.value,
            "holds": outcome.tally.holds(test.quantifier),
            "observation": outcome.tally.observation,
            "matching": outcome.tally.matching,
            "others": outcome.tally.others,
            "complete": not outcome.cut,
            "states": [
                {
                    "values": {shown_name(x): v for x, v in zip(outcome.shown, s, strict=True)},
                    "matches": matches,
                }
                for s, matches in zip(outcome.states, outcome.matching, strict=True)
            ],
            "seconds": round(outcome.seconds, 6),
        }
    )
