"""`hartstorm fuzz`: random programs on real harts, checked against the memory model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from coordinator.fuzz.campaign import Combination, Found, Statistics

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

    Exits with 1 if one does what RVWMO forbids; it is shrunk and printed as a litmus test.
    """
    wanted = _combinations(policy or [], tier or [])
    limit = 60.0 if time is None and programs is None else time
    statistics, found = _run(wanted, seed, programs, limit, jobs)
    if json:
        typer.echo(_json(statistics, found))
    else:
        typer.echo(_text(statistics))
        if found is not None:
            typer.echo(_failure(found))
    if found is not None and save is not None:
        save.write_text(found.failure.litmus())
    raise typer.Exit(ExitCode.AS_EXPECTED if found is None else ExitCode.NOT_AS_EXPECTED)


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
) -> tuple[Statistics, Found | None]:
    from coordinator.fuzz.campaign import Statistics

    if jobs == 1:
        return _campaign(wanted, seed, 1, programs, limit)
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    results: Queue[tuple[Statistics, Found | None]] = context.Queue()
    share = None if programs is None else -(-programs // jobs)
    workers = [
        context.Process(target=_worker, args=(results, wanted, seed + n, jobs, share, limit))
        for n in range(jobs)
    ]
    for worker in workers:
        worker.start()
    total, first = Statistics(), None
    for _ in workers:
        statistics, found = results.get()
        total.add(statistics)
        first = first or found
    for worker in workers:
        worker.join()
    return total, first


def _worker(
    results: Queue[tuple[Statistics, Found | None]],
    wanted: tuple[Combination, ...],
    seed: int,
    step: int,
    programs: int | None,
    limit: float | None,
) -> None:
    results.put(_campaign(wanted, seed, step, programs, limit))


def _campaign(
    wanted: tuple[Combination, ...], seed: int, step: int, programs: int | None, limit: float | None
) -> tuple[Statistics, Found | None]:
    from itertools import count, islice

    from coordinator.fuzz.campaign import Campaign

    with Campaign(wanted) as campaign:
        found = campaign.run(islice(count(seed, step), programs), limit)
        return campaign.statistics, found


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
    c, failure = found.combination, found.failure
    return (
        f"\nFORBIDDEN under policy {c.policy}, tier {c.tier} ({failure.how}), "
        f"shrunk to {failure.program.size} operations\n"
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
