"""`hartstorm litmus`: run litmus tests on real harts, print what they did as litmus7 would, judge it by a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode
from coordinator.commands.model import ModelName, ZalasrReading, named_files
from coordinator.commands.policy_help import POLICY_HELP

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from coordinator.harness.campaign import Plan
    from coordinator.harness.experiment import Account


def litmus(
    paths: Annotated[
        list[Path], typer.Argument(help="Litmus tests, folders of them, or @all indexes.", exists=True)
    ],
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "inline",
    tier: Annotated[str, typer.Option(help="auto, interpreter, t1 or t2.")] = "auto",
    harts: Annotated[
        int,
        typer.Option(
            min=0,
            help="Harts of a VM; copies of a test run beside each other where they are enough. 0: one for each thread.",
        ),
    ] = 0,
    time: Annotated[float, typer.Option(min=0, help="Seconds for each test.")] = 1.0,
    iterations: Annotated[
        int | None,
        typer.Option(min=1, help="End a test after so many outcomes, and the round that it is in."),
    ] = None,
    until_covered: Annotated[
        bool, typer.Option("--until-covered", help="End a test once it has shown every allowed state.")
    ] = False,
    seen: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="LOG",
            help="With --until-covered: every state that this herd7 or litmus7 log has for the test will do.",
        ),
    ] = None,
    stop_on: Annotated[
        str | None, typer.Option(metavar="forbidden", help="Stop everything at the first forbidden outcome.")
    ] = None,
    model: Annotated[ModelName, typer.Option(help="The memory model that judges.")] = ModelName.RVWMO,
    zalasr: Annotated[
        ZalasrReading,
        typer.Option(help="Annotation of lw.aq, sw.rl: rcpc as in herd7, rcsc as in the Zalasr chapter."),
    ] = ZalasrReading.RCPC,
    spurious_sc_failure: Annotated[
        float, typer.Option(min=0, max=1, help="Probability that an SC fails for no reason.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="VMs beside each other.")] = 1,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Keep what came of each test in this file (JSON lines); what it holds is not run again."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Keep the recording of a forbidden outcome here, for `hartstorm check`.",
        ),
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Write the logs to this file, not to stdout.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a test.")] = False,
) -> None:
    """Run litmus tests on the harts of a VM, many instances of each at once, and count the outcomes.

    Prints litmus7's log format, a summary to stderr. Exits with 1 if an outcome was seen that the memory model forbids
    or a test ended its VM, else with 2 if a test could not be read or run.
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from coordinator.harness.campaign import accounts, known_accounts
    from coordinator.harness.experiment import Status
    from coordinator.harness.summary import Summary, show_summary, verdict_text
    from coordinator.litmus.text import LitmusError

    plan = _plan(policy, tier, harts, spurious_sc_failure, seed)
    plan = _limited(plan, time, iterations, until_covered, seen, stop_on)
    plan = replace(plan, model=model.value, zalasr=zalasr.value, recordings=record)
    try:
        files = list(named_files(paths))
        known = known_accounts(state) if state is not None else []
    except (LitmusError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from None
    summary = Summary(len(files))
    old = {account.id for account in known}
    try:
        with ExitStack() as stack:
            write = _writer(stack, log, json)
            kept = stack.enter_context(state.open("a", encoding="utf-8")) if state is not None else None
            shown = stack.enter_context(show_summary(summary))
            for account in accounts(files, plan, jobs, known):
                summary.add(account)
                write(account)
                if kept is not None and account.id not in old:
                    kept.write(_json(account) + "\n")
                    kept.flush()
                if text := verdict_text(account):
                    typer.echo(text, err=True)
                shown()
                if account.forbidden and plan.limits.forbidden:
                    break
    except OSError as error:
        typer.echo(f"cannot run this: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; all VMs are ended", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    for line in summary.lines():
        typer.echo(line, err=True)
    if summary.forbidden or summary.of(Status.BROKEN):
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED)
    raise typer.Exit(ExitCode.USAGE_OR_CONFIG if summary.of(Status.REFUSED) else ExitCode.AS_EXPECTED)


def _plan(policy: str, tier: str, harts: int, spurious_sc_failure: float, seed: int) -> Plan:
    from pydantic import ValidationError

    from coordinator.harness import memory
    from coordinator.harness.campaign import Plan
    from coordinator.harness.experiment import Limits
    from coordinator.harness.session import Setting, vm_spec

    if harts > memory.MAX_HARTS:
        typer.echo(f"--harts {harts}: at most {memory.MAX_HARTS}", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    setting = Setting(policy, tier, harts, seed, spurious_sc_failure)  # type: ignore[arg-type]
    try:
        vm_spec(setting)
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(map(str, problem["loc"]))
            typer.echo(f"{where}{': ' if where else ''}{problem['msg']}", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from None
    return Plan(setting, Limits())


def _limited(
    plan: Plan,
    time: float,
    iterations: int | None,
    until_covered: bool,
    seen: Path | None,
    stop_on: str | None,
) -> Plan:
    from dataclasses import replace

    from coordinator.harness.experiment import Limits
    from coordinator.litmus.log import read_log

    if stop_on not in (None, "forbidden"):
        typer.echo(f"--stop-on {stop_on!r}: there is `forbidden`", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    states: dict[str, frozenset[str]] = {}
    if seen is not None:
        with seen.open(encoding="utf-8") as lines:
            states = {e.hash: frozenset(e.states) for e in read_log(lines) if e.hash is not None}
    limits = Limits(time, iterations, until_covered, states, stop_on is not None)
    return replace(plan, limits=limits)


def _writer(stack: ExitStack, log: Path | None, json: bool) -> Callable[[Account], None]:
    """Where accounts go: logs to stdout or a file; with --json, JSON to stdout and logs to the file, if any."""
    file = stack.enter_context(log.open("w", encoding="utf-8")) if log is not None else None

    def write(account: Account) -> None:
        if json:
            typer.echo(_json(account))
        if account.log and file is not None:
            print(account.log, file=file, flush=True)
        elif account.log and not json:
            typer.echo(account.log)

    return write


def _json(account: Account) -> str:
    import json

    return json.dumps(account.as_json())
