"""`hartstorm fuzz`: random programs on real harts, checked against the memory model."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import Queue

    from coordinator.fuzz.campaign import Combination, Found, Statistics

    Part = tuple[Statistics, Found | None, bool]
    """What a campaign did, what it found, and whether it was interrupted."""

_POLL_S = 0.5

app = typer.Typer(
    no_args_is_help=True, help="Random programs on real harts, checked against the memory model."
)


@app.callback()
def _root() -> None:
    """Random programs on real harts, checked against the memory model."""


@app.command("memory")
def memory(
    time: Annotated[
        float | None, typer.Option(help="Stop after so many seconds. Default 60, without --programs.")
    ] = None,
    programs: Annotated[int | None, typer.Option(min=1, help="Stop after so many programs.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first program; the next has the next.")] = 0,
    policy: Annotated[
        list[str] | None, typer.Option(help="Coherence policies; all correct ones by default.")
    ] = None,
    tier: Annotated[list[str] | None, typer.Option(help="interpreter, t1, t2; all by default.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Campaigns side by side.")] = 1,
    save: Annotated[
        Path | None, typer.Option(help="Write a failing program as a litmus test to this file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the statistics as JSON.")] = False,
) -> None:
    """Run random concurrent programs under every policy and tier, compare outcomes and recorded events with RVWMO.

    Exits with 1 if one does what RVWMO forbids, stalls or ends its VM; it is shrunk and printed as a litmus test.
    Ctrl-C ends it after the programs that run, prints what was done, and exits with 130 if nothing was found.
    """
    wanted = _combinations(policy or [], tier or [])
    limit = 60.0 if time is None and programs is None else time
    try:
        statistics, found, interrupted = _run(wanted, seed, programs, limit, jobs)
    except KeyboardInterrupt:  # while it starts
        typer.echo("interrupted; all VMs are ended", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if json:
        typer.echo(_json(statistics, found))
    else:
        typer.echo(_text(statistics))
        if found is not None:
            typer.echo(_failure(found))
    if found is not None and save is not None:
        save.write_text(found.failure.litmus())
    if interrupted:
        typer.echo("interrupted; all VMs are ended", err=True)
    if found is not None:
        raise typer.Exit(ExitCode.NOT_AS_EXPECTED)
    raise typer.Exit(ExitCode.INTERRUPTED if interrupted else ExitCode.AS_EXPECTED)


def _combinations(policies: list[str], tiers: list[str]) -> tuple[Combination, ...]:
    from typing import cast

    from bus.policies import NAMES
    from coordinator.fuzz.campaign import TIERS, combinations
    from coordinator.spec import TierName
    from hart.spelling import nearest

    for option, given, known in (("--policy", policies, NAMES), ("--tier", tiers, TIERS)):
        for name in given:
            if name not in known:
                hint = nearest(name, known)
                typer.echo(f"{option} {name!r}: is not allowed{hint}; allowed: {', '.join(known)}", err=True)
                raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    found = combinations(tuple(policies), cast("tuple[TierName, ...]", tuple(tiers)))
    if not found:
        typer.echo("no policy that was asked for has native code: use --tier interpreter", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG)
    return found


def _run(
    wanted: tuple[Combination, ...], seed: int, programs: int | None, limit: float | None, jobs: int
) -> Part:
    from coordinator.fuzz.campaign import Statistics

    if jobs == 1:
        return _campaign(wanted, seed, 1, programs, limit)
    import multiprocessing
    import signal

    context = multiprocessing.get_context("forkserver")
    results: Queue[Part] = context.Queue()
    share = None if programs is None else -(-programs // jobs)
    workers = [
        context.Process(target=_worker, args=(results, wanted, seed + n, jobs, share, limit))
        for n in range(jobs)
    ]
    # Ctrl-C goes to all processes: a worker takes it when it can stop for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    for worker in workers:
        worker.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    total, first, interrupted = Statistics(), None, False
    for statistics, found, was_interrupted in _parts(results, workers):
        total.add(statistics)
        first = first or found
        interrupted |= was_interrupted
    for worker in workers:
        worker.join()
        if worker.exitcode:
            typer.echo(f"one of the campaigns ended with exit code {worker.exitcode}", err=True)
            raise typer.Exit(ExitCode.INTERNAL_ERROR)
    return total, first, interrupted


def _parts(results: Queue[Part], workers: Sequence[BaseProcess]) -> Iterator[Part]:
    """What each worker says at its end; of one that died, nothing. Ctrl-C has them all end soon."""
    import os
    import signal
    from queue import Empty

    missing = len(workers)
    while missing:
        try:
            running = any(worker.is_alive() for worker in workers)
            part = results.get(timeout=_POLL_S)
        except Empty:
            if not running:
                return
            continue
        except KeyboardInterrupt:
            # From a terminal they have it, too, and twice is no more than once.
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    if worker.is_alive() and worker.pid is not None:
                        os.kill(worker.pid, signal.SIGINT)
            continue
        missing -= 1
        yield part


def _worker(
    results: Queue[Part],
    wanted: tuple[Combination, ...],
    seed: int,
    step: int,
    programs: int | None,
    limit: float | None,
) -> None:
    from coordinator.parent import end_with_parent

    end_with_parent()
    results.put(_campaign(wanted, seed, step, programs, limit))


def _campaign(
    wanted: tuple[Combination, ...], seed: int, step: int, programs: int | None, limit: float | None
) -> Part:
    import signal
    from itertools import count, islice

    from coordinator.fuzz.campaign import Campaign

    with Campaign(wanted) as campaign:

        def stop(*_: object) -> None:
            campaign.stopped = True

        # No KeyboardInterrupt: it would come in the middle of anything, and be lost where C calls Python.
        before = signal.signal(signal.SIGINT, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            found = campaign.run(islice(count(seed, step), programs), limit)
        finally:
            signal.signal(signal.SIGINT, before)
        return campaign.statistics, found, campaign.stopped


def _text(s: Statistics) -> str:
    rate = s.programs / s.seconds if s.seconds else 0.0
    lines = [
        f"{s.programs:,} programs in {s.seconds:.1f} s ({rate:.1f} a second), run {s.instances:,} times; "
        f"{s.events:,} recorded events checked",
        f"{s.outcomes:,} of {s.states:,} allowed outcomes seen; {s.undecided} programs had too many to find",
    ]
    widest = max(map(len, s.covered), default=0)
    rows = [f"{name:<{widest}}  {times:>8,}" for name, times in sorted(s.covered.items())]
    third = -(-len(rows) // 3)
    lines += ["   ".join(rows[i::third]) for i in range(third)]
    return "\n".join(lines)


def _failure(found: Found) -> str:
    from coordinator.fuzz.judge import How

    heading = {
        How.OUTCOME: "FORBIDDEN outcome",
        How.RECORDED: "FORBIDDEN order of recorded events",
        How.STALLED: "STALLED",
        How.ENDED: "THE VM ENDED",
    }
    c, failure = found.combination, found.failure
    return (
        f"\n{heading[failure.how]} under policy {c.policy}, tier {c.tier}; "
        f"a program of {failure.program.size} operations\n"
        f"{failure.text}\n\n{failure.litmus()}\nAgain: {found.rerun}"
    )


def _json(s: Statistics, found: Found | None) -> str:
    import json

    body: dict[str, object] = {
        "programs": s.programs,
        "instances": s.instances,
        "events": s.events,
        "outcomes": s.outcomes,
        "states": s.states,
        "undecided": s.undecided,
        "seconds": round(s.seconds, 3),
        "covered": dict(sorted(s.covered.items())),
        "failure": None,
    }
    if found is not None:
        body["failure"] = {
            "policy": found.combination.policy,
            "tier": found.combination.tier,
            "how": found.failure.how,
            "text": found.failure.text,
            "litmus": found.failure.litmus(),
            "rerun": found.rerun,
        }
    return json.dumps(body, indent=2)
