"""One VM's run, whole: what was asked, what ran, how it ended, and the verdict. Data, and its JSON form.

The JSON form is for other programs and keeps its shape: keys are added, never renamed or removed, while
`format` stays 1.

    {"format": 1, "run": name, "ok": bool, "vms": [VM, ...]}
    VM      {"name", "policy", "policy_correct": false where it is WRONG on purpose, "tier", "isa": ISA string, "seed",
             "ok", "ending", "exit_code" or null,
             "hart" that brought the end about or null, "detail", "wall_s", "console": text,
             "harts": [HART...], "hot": [HOT...], "granules": [GRANULE...],
             "failed_scs": [SITE...], "stuck": [LOOP...],
             "regions_compiled", "regions_cached": pieces of guest code that LLVM compiled, or earlier runs had,
             "compiler_ended": how its process ended, if it did before the VM, or "",
             "checks": [CHECK...], "metrics": {name: number},
             "outcome": {name: number}, "over_budget": why it was stopped and not judged, or ""}
    HART    {"hart", "ending", "pc", "x": [32 numbers], "instret", "wall_s", "traps_taken",
             "trap": null or {"cause", "name", "tval", "pc", "instruction"},
             "atomics": {kind: count}, "sc_failures": {cause: count}, "sc_failures_in_a_row",
             "traffic": {event: count}, "metrics": {name: number}, "profile": [CODE...]}
    CODE    {"function", "start", "end", "tier", "instructions", "seconds"}; none unless the run was profiled
    HOT     {"address", "symbol", "by_hart": {hart: {kind: count}}}
    GRANULE {"address", "symbol", "by_hart": {hart: {event: count}}}
    SITE    {"pc", "symbol", "granule": its address, "place": its name, "cause", "by_hart": {hart: count}}
    LOOP    {"verdict": "livelock" or "starvation", "harts": [number...], "in_a_row", "start", "sc", "symbol",
             "unconstrained": why it is no constrained loop, or "", "causes": {cause: count}}
    CHECK   {"what", "expected", "seen", "ok", "where"}

Addresses, registers and mcause are unsigned 64-bit numbers. Kinds, causes and events are the names
in `bus.access.AtomicKind`, `ScFailure` and `bus.traffic.Traffic`, in lower case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum

from bus.policies import policy
from coordinator.config.model import Vm
from coordinator.expect import Verdict
from coordinator.measure import Measurements
from coordinator.result import BusyGranule, FailedScs, HartResult, HotAddress, StuckLoop, VmResult
from hart.isa.isa_string import format_isa

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of VM `name`."""

    name: str
    vm: Vm
    result: VmResult
    verdict: Verdict
    measured: Measurements = field(default_factory=Measurements)
    over_budget: str = ""
    """Which budget it was stopped at; then it was not judged."""

    @property
    def isa(self) -> str:
        """The canonical ISA string of all that the VM's harts have."""
        return format_isa(self.vm.extensions)


def to_json(run: str, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """The whole run in the JSON form."""
    return {
        "format": FORMAT,
        "run": run,
        "ok": all(outcome.verdict.ok for outcome in outcomes),
        "vms": [_vm(outcome) for outcome in outcomes],
    }


def _vm(outcome: Outcome) -> dict[str, object]:
    result = outcome.result
    return {
        "name": outcome.name,
        "policy": outcome.vm.policy,
        "policy_correct": policy(outcome.vm.policy).correct,
        "tier": outcome.vm.tier,
        "isa": outcome.isa,
        "seed": outcome.vm.seed,
        "ok": outcome.verdict.ok,
        "ending": result.ending.value,
        "exit_code": result.exit_code,
        "hart": result.hart,
        "detail": result.detail,
        "wall_s": result.wall_s,
        "console": result.console.decode(errors="replace"),
        "harts": [
            _hart(hart) | {"metrics": outcome.measured.by_hart.get(hart.hart, {})} for hart in result.harts
        ],
        "hot": [_place(place) for place in result.hot],
        "granules": [_place(granule) for granule in result.granules],
        "failed_scs": [_site(site) for site in result.failed_scs],
        "stuck": [_loop(loop) for loop in result.stuck],
        "regions_compiled": result.regions_compiled,
        "regions_cached": result.regions_cached,
        "compiler_ended": result.compiler_ended,
        "checks": [asdict(check) for check in outcome.verdict.checks],
        "metrics": outcome.measured.metrics,
        "outcome": outcome.measured.outcome,
        "over_budget": outcome.over_budget,
    }


def _hart(hart: HartResult) -> dict[str, object]:
    return {
        "hart": hart.hart,
        "ending": hart.ending.value,
        "pc": hart.pc,
        "x": list(hart.x),
        "instret": hart.instret,
        "wall_s": hart.wall_s,
        "traps_taken": hart.traps_taken,
        "trap": None if hart.trap is None else asdict(hart.trap),
        "atomics": _counts(*hart.atomics.items()),
        "sc_failures": _counts(*hart.sc_failures.items()),
        "traffic": _counts(*hart.traffic.items()),
        "sc_failures_in_a_row": hart.sc_failures_in_a_row,
        "profile": [asdict(code) for code in hart.profile],
    }


def _place(place: HotAddress | BusyGranule) -> dict[str, object]:
    by_hart = {str(hart): _counts(*place.by_hart[hart].items()) for hart in sorted(place.by_hart)}
    return {"address": place.address, "symbol": place.symbol, "by_hart": by_hart}


def _site(site: FailedScs) -> dict[str, object]:
    by_hart = {str(hart): count for hart, count in sorted(site.by_hart.items())}
    return asdict(site) | {"cause": site.cause.name.lower(), "by_hart": by_hart}


def _loop(loop: StuckLoop) -> dict[str, object]:
    return asdict(loop) | {"harts": list(loop.harts), "causes": _counts(*loop.causes.items())}


def _counts(*counts: tuple[IntEnum, int]) -> dict[str, int]:
    return {key.name.lower(): count for key, count in sorted(counts) if count}
