"""Native code does what T0 does on random control flow; the long run is `python -m tests.differential --tiers`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hart.jit.lowering import _Function
from tests.differential.control_flow import Shape, flow_program, loop, shrink_all
from tests.differential.generator import MODELS, Item, encode
from tests.differential.run import compare_tiers
from tests.differential.tiers import tier_difference, tier_states


def test_tiers_agree():
    report = compare_tiers(None, "ci", 4000)
    assert all(count > report.compared / 4 for count in report.native.values())


@pytest.mark.outside
def test_control_flow_agrees_with_spike(spike):
    assert compare_tiers(spike, "ci spike", 2000).outside > 1000


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.isa)
def test_every_program_comes_to_its_end(model):
    state = tier_states(flow_program(model, "end", 40, 16), ())["t0"]
    assert state.end == "exit 0"
    assert state.instret > 500


def test_a_wrong_lowering_is_found_and_shrunk(monkeypatch):
    """The comparison can fail: with OR for XOR in native code it does, and shrinking leaves what shows it."""
    wrong = Item("xor", encode("addi", rd=8, rs1=0, imm=3) + encode("xor", rd=7, rs1=8, rs2=8))
    made = flow_program(MODELS[0], "wrong", 4, 16)
    around = Shape(None, loop(0, 9), (*made.items[:1], wrong))  # type: ignore[arg-type]
    made = replace(made, items=(*made.items, around))
    assert tier_difference(made, ("t1",)) is None
    monkeypatch.setattr(_Function, "xor", _Function.or_)
    assert tier_difference(made, ("t1",)) is not None
    smallest = shrink_all(made, lambda p: tier_difference(p, ("t1",)) is not None)
    assert len(smallest.items) == 1
    assert len(smallest.code()) < len(made.code())
