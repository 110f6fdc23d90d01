"""Profiles of a run, for people and other programs: the most expensive code as rows, and files for profile viewers.

Owns the file forms. Measures nothing (`hart.profile` does), prints nothing.

Two forms, by the file's ending:

- `.json`: speedscope's (https://www.speedscope.app/file-format-schema.json), one sampled profile for each hart, in
  nanoseconds;
- any other: collapsed stacks, a line `vm;hart;function;code nanoseconds` each, as flamegraph.pl and its like read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.outcome import Outcome
from coordinator.result import CodeProfile, HartResult

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


@dataclass(frozen=True, slots=True)
class Share:
    """A piece of code on all harts together, and its part of all their time."""

    code: CodeProfile
    share: float


def shares(harts: Sequence[HartResult]) -> list[Share]:
    """Every piece of code of a VM, the most expensive first; harts' other time is a row, too."""
    together: dict[tuple[str, int, int, str], CodeProfile] = {}
    for hart in harts:
        for code in _whole(hart):
            key = (code.function, code.start, code.end, code.tier)
            known = together.get(key, replace(code, instructions=0, seconds=0.0))
            together[key] = replace(
                known,
                instructions=known.instructions + code.instructions,
                seconds=known.seconds + code.seconds,
            )
    total = sum(code.seconds for code in together.values())
    ranked = sorted(together.values(), key=lambda code: -code.seconds)
    return [Share(code, code.seconds / total if total else 0.0) for code in ranked]


def _whole(hart: HartResult) -> Iterator[CodeProfile]:
    """A hart's profile and the rest of its time: waiting, pauses, looking at its doorbell."""
    yield from hart.profile
    rest = hart.wall_s - sum(code.seconds for code in hart.profile)
    if rest > 0:
        yield CodeProfile("(waiting)", 0, 0, "-", 0, rest)


def describe(code: CodeProfile) -> str:
    """A piece of code as viewers show it, below its function."""
    return f"{code.start:#x}-{code.end:#x} {code.tier}" if code.end else code.function


def write_profile(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the profiles of every hart of these VMs; raises OSError."""
    text = _speedscope(path.stem, outcomes) if path.suffix == ".json" else _collapsed(outcomes)
    path.write_text(text)


def _stacks(hart: HartResult) -> Iterator[tuple[tuple[str, ...], int]]:
    for code in _whole(hart):
        if ns := round(code.seconds * 1e9):
            yield (code.function, describe(code)) if code.end else (code.function,), ns


def _collapsed(outcomes: Sequence[Outcome]) -> str:
    lines = [
        ";".join((outcome.name, f"hart {hart.hart}", *stack)) + f" {ns}\n"
        for outcome in outcomes
        for hart in outcome.result.harts
        for stack, ns in _stacks(hart)
    ]
    return "".join(lines)


def _speedscope(name: str, outcomes: Sequence[Outcome]) -> str:
    frames: dict[str, int] = {}
    profiles = []
    for outcome in outcomes:
        for hart in outcome.result.harts:
            stacks = list(_stacks(hart))
            weights = [ns for _, ns in stacks]
            profiles.append(
                {
                    "type": "sampled",
                    "name": f"{outcome.name} hart {hart.hart}",
                    "unit": "nanoseconds",
                    "startValue": 0,
                    "endValue": sum(weights),
                    "samples": [[frames.setdefault(f, len(frames)) for f in stack] for stack, _ in stacks],
                    "weights": weights,
                }
            )
    document = {
        "$schema": SCHEMA,
        "name": name,
        "exporter": "hartstorm",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": profiles,
    }
    return json.dumps(document)
