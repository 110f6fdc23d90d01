"""Code for tests of native execution: assemble, run in a tier, look at everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hart.asm import assemble
from hart.isa.extensions import effective, implemented
from hart.jit import compiler
from hart.jit.codegen import Tier
from hart.tiers import TieredInterpreter
from tests import local_hart

T1, T2 = (Tier.T1,), (Tier.T2,)
BOTH = (Tier.T1, Tier.T2)
EVERY = {"t1": T1, "t2": T2, "auto": BOTH}


def image_of(source: str, extensions: frozenset[str] | None = None):
    return assemble(source, extensions=implemented() if extensions is None else extensions).image


def limit_regions(monkeypatch: pytest.MonkeyPatch, instructions: int) -> None:
    """Regions of at most so many: where control enters code everywhere, larger ones hold the same again and again."""
    monkeypatch.setattr(compiler, "LIMITS", dict.fromkeys(compiler.LIMITS, instructions))


@contextmanager
def running(source: str, tiers: tuple[Tier, ...], **options) -> Iterator[local_hart.Machine]:
    """A machine at the source's start."""
    extensions = options.get("extensions")
    with local_hart.machine(image_of(source, extensions), tiers=tiers, **options) as machine:
        yield machine


def run_to(machine: local_hart.Machine, instret: int) -> None:
    """Run up to exactly so many instructions."""
    hart = machine.hart
    while hart.instret < instret:
        hart.run(instret - hart.instret)
    assert hart.instret == instret


def state(machine: local_hart.Machine) -> tuple[object, ...]:
    """What the hart holds."""
    hart = machine.hart
    return hart.at, hart.instret, hart.traps, tuple(hart.x)


def native(machine: local_hart.Machine) -> int:
    """Instructions executed as native code."""
    assert isinstance(machine.hart, TieredInterpreter)
    return machine.hart.native_instructions


ALL = effective(implemented())
