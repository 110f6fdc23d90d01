"""A whole comparison: many random programs, counted by row, until enough instructions agree or one differs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hart.isa.decoder import Decoder
from tests.differential.comparison import MAX_INSTRUCTIONS, Difference, Pair, first_difference, shrink
from tests.differential.control_flow import flow_program, shrink_all
from tests.differential.generator import HANDLER_READS_MCAUSE, MODELS, Program, program
from tests.differential.tiers import TIERS, TierDifference, tier_difference, tier_states

ITEMS = 250
"""Items of a program: with their set-up and traps well below `comparison.MAX_INSTRUCTIONS`."""


@dataclass
class Report:
    """What a run compared.

    Attributes:
        rows: how often each row retired on both machines.
        compared: instructions retired on both, set-up and handler included.
        items: random items among them.
        programs: how many programs that took.
        causes: how often each mcause reached the handler.

    """

    rows: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    items: int = 0
    programs: int = 0
    causes: Counter[int] = field(default_factory=Counter)


class Disagreement(Exception):
    """The machines differ; says how, with the seed and the smallest program."""

    def __init__(self, seed: str, found: Difference | TierDifference, smallest: Program) -> None:
        super().__init__(f"seed {seed}\n{found}\n\n{smallest.source()}")
        self.found = found
        self.smallest = smallest


def compare(spike: Path, seed: int, instructions: int) -> Report:
    """Compare until `instructions` random items agree; every model in turn.

    Raises:
        Disagreement: a program behaves differently; it is shrunk first.

    """
    report = Report()
    pairs = [(Pair(spike, model), model, Decoder(model.extensions)) for model in MODELS]
    while report.items < instructions:
        pair, model, decoder = pairs[report.programs % len(pairs)]
        name = f"{seed}/{report.programs}"
        made = program(model, name, min(ITEMS, instructions - report.items))
        ours, theirs = pair.logs(made.image())
        found = first_difference(ours, theirs)
        if found is not None:
            smallest = shrink(made, lambda p, pair=pair: pair.difference(p.image()) is not None)  # type: ignore[misc]
            raise Disagreement(name, pair.difference(smallest.image()) or found, smallest)
        report.programs += 1
        report.items += len(made.items)
        report.compared += len(ours)
        for line in ours:
            decoded = decoder.decode(int(line.split("(0x", 1)[1].split(")", 1)[0], 16))
            assert decoded is not None
            report.rows[decoded.row.name] += 1
            if f" {HANDLER_READS_MCAUSE:#018x} " in line:
                report.causes[int(line.split()[-1], 16)] += 1
    return report


FLOW_ITEMS = 40
"""Items of a program with control flow; loops multiply them."""
TURNS = (16, 16, 16, 16, 160, 160, 160, 160)
"""Turns of its outer loops, in turn: few enough for Spike, and many."""


@dataclass
class TierReport:
    """What a comparison of tiers compared.

    Attributes:
        compared: instructions retired in T0, all of them compared with each tier.
        native: by tier, how many it executed as native code.
        outside: how many of them were compared with Spike as well: those of programs that are short enough.

    """

    programs: int = 0
    compared: int = 0
    outside: int = 0
    native: Counter[str] = field(default_factory=Counter)


def compare_tiers(
    spike: Path | None, seed: str, instructions: int, policy: str = "serial", *, short: bool = False
) -> TierReport:
    """Compare T0 with each tier, and with Spike if there is one, on random control flow.

    `short` makes programs that Spike can follow alone, whole: then all instructions are compared with it.

    Raises:
        Disagreement: a program behaves differently; it is shrunk first.

    """
    report = TierReport()
    while report.compared < instructions:
        model = MODELS[report.programs % len(MODELS)]
        name = f"{seed}/{report.programs}"
        turns = min(TURNS) if short else TURNS[report.programs % len(TURNS)]
        made = flow_program(model, name, FLOW_ITEMS, turns)
        states = tier_states(made, tuple(TIERS), policy)
        for tier in TIERS:
            if states[tier] != states["t0"]:
                smallest = shrink_all(made, lambda p, t=tier: tier_difference(p, (t,), policy) is not None)  # type: ignore[misc]
                found = tier_difference(smallest, (tier,), policy)
                raise Disagreement(name, found or TierDifference(tier, states["t0"], states[tier]), smallest)
            report.native[tier] += states[tier].native
        retired = states["t0"].instret
        if spike is not None and retired < MAX_INSTRUCTIONS:
            pair = Pair(spike, model)
            if pair.difference(made.image()) is not None:
                smallest = shrink_all(made, lambda p, pair=pair: pair.difference(p.image()) is not None)  # type: ignore[misc]
                different = pair.difference(smallest.image())
                assert different is not None
                raise Disagreement(name, different, smallest)
            report.outside += retired
        report.programs += 1
        report.compared += retired
    return report
