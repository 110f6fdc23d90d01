"""What a run came to, for people: tables on a terminal, plain text elsewhere. Judges and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bus.access import AtomicKind, ScFailure
from bus.policies import policy
from bus.traffic import Traffic
from coordinator.measure import Measurements
from coordinator.outcome import Outcome
from coordinator.profile import shares
from coordinator.result import FailedScs, HartResult, HotAddress, VmResult

PLAIN_WIDTH = 160
"""Columns of output that goes to no terminal."""

MOST_SITES = 10
"""Rows of the table of places where SCs failed."""
MOST_PROFILE_ROWS = 20
"""The rest are summed up."""
MOST_HART_COLUMNS = 8
"""With more harts, a table has no column for each."""

KIND_NAMES = {
    AtomicKind.LR: "LR",
    AtomicKind.SC: "SC",
    AtomicKind.AMO: "AMO",
    AtomicKind.CAS: "CAS",
    AtomicKind.LOAD_ACQUIRE: "load-acquire",
    AtomicKind.STORE_RELEASE: "store-release",
}
TRAFFIC_NAMES = {event: event.name.lower().replace("_", " ") for event in Traffic}
FAILURE_NAMES = {cause: cause.name.lower().replace("_", " ") for cause in ScFailure}


def print_report(console: Console, name: str, outcomes: Sequence[Outcome]) -> None:
    """Print each VM's numbers and verdict, and the run's verdict last."""
    for outcome in outcomes:
        for part in _vm(outcome, name, several=len(outcomes) > 1, plain=not console.is_terminal):
            console.print(part)
            if isinstance(part, Table) and not console.is_terminal:
                console.print()
    met = sum(outcome.verdict.ok for outcome in outcomes)
    checks = sum(len(outcome.verdict.checks) for outcome in outcomes)
    if met == len(outcomes):
        console.print(Text(f"{name}: as expected ({checks} checks)", "bold green"))
    else:
        console.print(
            Text(f"{name}: NOT as expected in {len(outcomes) - met} of {len(outcomes)} VMs", "bold red")
        )


def print_outcomes(console: Console, repetitions: Sequence[Sequence[Outcome]]) -> None:
    """How often each outcome that `[vm.outcome]` tells apart was seen, for each VM that has some."""
    for of_vm in zip(*repetitions, strict=True):
        from coordinator.results.histogram import as_outcome, counted  # which reads databases

        counts = counted(as_outcome(o.measured.outcome) for o in of_vm if o.measured.outcome)
        if counts:
            console.print(Text(f"outcomes of {of_vm[0].name} in {sum(counts.values())} runs", "bold"))
            for line in histogram_lines(counts):
                console.print(Text(line))


def histogram_lines(counts: Mapping[tuple[tuple[str, int], ...], int]) -> Iterator[str]:
    """A histogram as litmus tools print it: `  412 :> 0:a0=1; x=0;`."""
    width = len(str(max(counts.values(), default=0)))
    for outcome, count in counts.items():
        yield f"  {count:>{width}} :> {' '.join(f'{name}={value};' for name, value in outcome)}"


def _vm(outcome: Outcome, name: str, *, several: bool, plain: bool) -> Iterator[RenderableType]:
    vm, result = outcome.vm, outcome.result
    title = f"{name}: {outcome.name}" if several else name
    harts = "1 hart" if vm.harts == 1 else f"{vm.harts} harts"
    chosen = policy(vm.policy)
    yield Text(f"{title}: {harts}, policy {chosen.label}, tier {vm.tier}, seed {vm.seed}", "bold")
    if not chosen.correct:
        yield Text(f"{chosen.label} on purpose: {chosen.summary}", "bold red")
    yield Text(outcome.isa, "dim")
    if result.regions_compiled or result.regions_cached:
        yield Text(
            f"native code: {result.regions_compiled} regions compiled, {result.regions_cached} from the cache",
            "dim",
        )
    if result.compiler_ended:
        yield Text(
            f"the compiler ended {result.compiler_ended}: code it had not made was interpreted", "bold red"
        )
    yield from _harts(result.harts, plain)
    yield from _sc_failures(result.harts, plain)
    yield from _failed_scs(result.failed_scs, plain)
    for loop in result.stuck:
        yield Text(str(loop), "bold red")
    yield from _hot(result.hot, plain)
    yield from _profile(result.harts, plain)
    yield from _traffic(result, plain)
    yield from _measured(outcome.measured, plain)
    if result.console:
        yield Text("console", "bold")
        for line in result.console.decode(errors="replace").splitlines():
            yield Text(f"  {line}")
        yield Text()
    yield from _verdict(outcome, plain)


def _table(title: str, columns: Iterable[str], plain: bool, left: Sequence[str] = ()) -> Table:
    """Numbers to the right; columns in `left` to the left."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None if plain else box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return table


def _harts(harts: Sequence[HartResult], plain: bool) -> Iterator[Table]:
    kinds = [kind for kind in AtomicKind if any(hart.atomics.get(kind) for hart in harts)]
    failing = AtomicKind.SC in kinds
    columns = ["hart", "ending", "instructions", "MIPS", "wall s", "traps"]
    columns += [KIND_NAMES[kind] for kind in kinds] + (["SC failed"] if failing else [])
    table = _table("harts", columns, plain, left=["ending"])
    for hart in harts:
        row = [
            str(hart.hart),
            hart.ending.value,
            f"{hart.instret:,}",
            f"{_mips(hart):.2f}",
            f"{hart.wall_s:.3f}",
        ]
        row += [str(hart.traps_taken)] + [f"{hart.atomics.get(kind, 0):,}" for kind in kinds]
        if failing:
            row.append(_share(sum(hart.sc_failures.values()), hart.atomics.get(AtomicKind.SC, 0)))
        table.add_row(*row)
    yield table


def _mips(hart: HartResult) -> float:
    return hart.instret / hart.wall_s / 1e6 if hart.wall_s > 0 else 0.0


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else f"{part:,}"


def _sc_failures(harts: Sequence[HartResult], plain: bool) -> Iterator[Table]:
    causes = [cause for cause in ScFailure if any(hart.sc_failures.get(cause) for hart in harts)]
    if not causes:
        return
    table = _table("failed SCs by cause", ["hart", *(FAILURE_NAMES[cause] for cause in causes)], plain)
    for hart in harts:
        table.add_row(str(hart.hart), *(f"{hart.sc_failures.get(cause, 0):,}" for cause in causes))
    yield table


def _failed_scs(sites: Sequence[FailedScs], plain: bool) -> Iterator[Table]:
    if not sites:
        return
    columns = ["SC", "granule", "cause", "failed", "harts"]
    table = _table("failed SCs by place", columns, plain, ["SC", "granule", "cause"])
    for site in sites[:MOST_SITES]:
        counts = site.by_hart
        table.add_row(
            f"{site.symbol} ({site.pc:#x})",
            f"{site.place} ({site.granule:#x})",
            FAILURE_NAMES[site.cause],
            f"{sum(counts.values()):,}",
            str(len(counts)),
        )
    yield table


def _hot(hot: Sequence[HotAddress], plain: bool) -> Iterator[Table]:
    if not hot:
        return
    harts = sorted({hart for place in hot for hart in place.by_hart})
    each = len(harts) <= MOST_HART_COLUMNS
    who = [f"hart {hart}" for hart in harts] if each else ["harts", "least", "most"]
    table = _table(
        "atomics by address", ["place", "address", "atomics", *who, "kinds"], plain, ["place", "kinds"]
    )
    for place in hot:
        by_hart = {hart: sum(kinds.values()) for hart, kinds in place.by_hart.items()}
        counts = [by_hart.get(hart, 0) for hart in harts]
        by_kind = {kind: sum(kinds.get(kind, 0) for kinds in place.by_hart.values()) for kind in AtomicKind}
        table.add_row(
            place.symbol,
            f"{place.address:#x}",
            f"{sum(by_hart.values()):,}",
            *(f"{count:,}" for count in (counts if each else (len(by_hart), min(counts), max(counts)))),
            ", ".join(f"{KIND_NAMES[kind]} {count:,}" for kind, count in by_kind.items() if count),
        )
    yield table


def _profile(harts: Sequence[HartResult], plain: bool) -> Iterator[Table]:
    if not any(hart.profile for hart in harts):
        return
    columns = ["function", "code", "tier", "instructions", "seconds", "time"]
    table = _table("profile, all harts together", columns, plain, ["function", "code", "tier"])
    ranked = shares(harts)
    for row in ranked[:MOST_PROFILE_ROWS]:
        code = row.code
        place = f"{code.start:#x}-{code.end:#x}" if code.end else ""
        table.add_row(
            code.function,
            place,
            code.tier,
            f"{code.instructions:,}",
            f"{code.seconds:.4f}",
            f"{row.share:.1%}",
        )
    if rest := ranked[MOST_PROFILE_ROWS:]:
        instructions, seconds = (sum(r.code.instructions for r in rest), sum(r.code.seconds for r in rest))
        table.add_row(
            f"{len(rest)} more",
            "",
            "",
            f"{instructions:,}",
            f"{seconds:.4f}",
            f"{sum(r.share for r in rest):.1%}",
        )
    yield table


def _traffic(result: VmResult, plain: bool) -> Iterator[Table]:
    events = [event for event in Traffic if any(hart.traffic.get(event) for hart in result.harts)]
    if not events:
        return
    columns = [TRAFFIC_NAMES[event] for event in events]
    table = _table("coherence traffic by hart", ["hart", *columns, "messages per atomic"], plain)
    for hart in result.harts:
        atomics = sum(hart.atomics.values())
        share = f"{hart.traffic.get(Traffic.MESSAGE, 0) / atomics:.4f}" if atomics else ""
        table.add_row(str(hart.hart), *(f"{hart.traffic.get(event, 0):,}" for event in events), share)
    yield table
    table = _table("coherence traffic by granule", ["place", "address", "harts", *columns], plain, ["place"])
    for granule in result.granules:
        sums = (sum(counts.get(event, 0) for counts in granule.by_hart.values()) for event in events)
        table.add_row(
            granule.symbol, f"{granule.address:#x}", str(len(granule.by_hart)), *(f"{n:,}" for n in sums)
        )
    if result.granules:
        yield table


def _measured(measured: Measurements, plain: bool) -> Iterator[Table]:
    for title, values in (("metrics", measured.metrics), ("outcome", measured.outcome)):
        if values:
            table = _table(title, list(values), plain)
            table.add_row(*(f"{value:,}" for value in values.values()))
            yield table
    if any(measured.by_hart.values()):
        names = list(dict.fromkeys(name for values in measured.by_hart.values() for name in values))
        table = _table("metrics by hart", ["hart", *names], plain)
        for hart, values in measured.by_hart.items():
            table.add_row(str(hart), *(f"{values[n]:,}" if n in values else "" for n in names))
        yield table


def _verdict(outcome: Outcome, plain: bool) -> Iterator[Table]:
    table = _table("expected", ["", "what", "expected", "seen"], plain, left=["", "what", "expected", "seen"])
    for column in table.columns[2:]:
        column.no_wrap = False
        column.overflow = "fold"
    for check in outcome.verdict.checks:
        mark = Text("ok", "green") if check.ok else Text("FAILED", "bold red")
        seen = f"{check.seen} ({check.where})" if check.where else check.seen
        table.add_row(mark, check.what, Text(check.expected), Text(seen))
    yield table


def stdout_console() -> Console:
    """The console for results: as wide as the terminal, or wide enough for anything where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH, soft_wrap=True)


def plain_table(columns: Iterable[str]) -> Table:
    """A table of text without lines around it."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
