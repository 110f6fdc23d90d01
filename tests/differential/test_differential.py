"""Random programs agree with Spike; the long run is `python -m tests.differential`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hart.asm import assemble
from hart.causes import Cause
from hart.isa import BY_NAME, ROWS
from tests.differential.comparison import Pair, first_difference, shrink
from tests.differential.generator import MODELS, Item, encode, program, words
from tests.differential.run import compare

NEVER_RETIRE = {"ecall", "ebreak", "c.ebreak"}
CAUSES = {
    Cause.INSTRUCTION_ACCESS_FAULT, Cause.ILLEGAL_INSTRUCTION, Cause.BREAKPOINT, Cause.LOAD_MISALIGNED,
    Cause.LOAD_ACCESS_FAULT, Cause.STORE_MISALIGNED, Cause.STORE_ACCESS_FAULT, Cause.ECALL_FROM_M,
}  # fmt: skip


@pytest.mark.outside
def test_random_programs_agree_with_spike(spike):
    report = compare(spike, seed=20261122, instructions=5000)
    assert {row.name for row in ROWS} - report.rows.keys() == NEVER_RETIRE
    assert report.causes.keys() >= CAUSES


def test_every_row_is_generated():
    items = program(MODELS[0], "rows", 2 * len(ROWS)).items
    assert {item.row for item in items} - {None} == {row.name for row in ROWS}


def test_any_subset_of_the_items_is_a_program():
    whole = program(MODELS[0], "subset", 30)
    part = replace(whole, items=whole.items[3:17])
    assert b"".join(item.code for item in part.items) in part.code()


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.isa)
def test_printed_source_makes_the_same_program(model):
    made = program(model, "source", 250)
    image = assemble(made.source()).image
    assert next(c.data for c in image.chunks).startswith(made.code())
    assert image.symbols["tohost"].address == made.image().symbols["tohost"].address


def test_shrinking_keeps_what_the_failure_needs():
    made = program(MODELS[0], "shrink", 60)
    needed = Item("lr.w", encode("lr.w", rd=1, rs1=2)), Item("sc.w", encode("sc.w", rd=1, rs1=2))
    items = list(made.items)
    items[10:10] = needed[:1]
    items[41:41] = needed[1:]

    def fails(candidate):
        return all(item in candidate.items for item in needed)

    smallest = shrink(replace(made, items=tuple(items)), fails)
    assert smallest.items == needed
    assert not any(smallest.registers)
    assert not any(smallest.data)


def test_a_difference_names_the_line_and_what_led_to_it():
    found = first_difference(["a", "b", "c"], ["a", "b", "d"])
    assert (found.before, found.ours, found.theirs) == (("a", "b"), "c", "d")
    assert first_difference(["a"], ["a", "b"]).theirs == "b"
    assert first_difference(["a"], ["a"]) is None


@pytest.mark.outside
def test_a_wrong_meaning_is_found(spike, monkeypatch):
    """The comparison can fail: with mulhsu for mulhu it does, and shrinking leaves one item."""
    wrong = BY_NAME["mulhsu"].meaning
    monkeypatch.setattr(
        "hart.isa.decoder.ROWS",
        tuple(replace(row, meaning=wrong) if row.name == "mulhu" else row for row in ROWS),
    )
    model = MODELS[0]
    pair = Pair(spike, model)
    code = encode("addi", rd=5, rs1=0, imm=-1) + encode("mulhu", rd=6, rs1=5, rs2=5)
    made = program(model, "wrong", 4)
    made = replace(made, items=(*made.items, Item("mulhu", code)))
    assert pair.difference(made.image()) is not None
    smallest = shrink(made, lambda p: pair.difference(p.image()) is not None)
    assert [item.row for item in smallest.items] == ["mulhu"]
    assert list(words(smallest.items[0].code))[-1] == int.from_bytes(code[-4:], "little")
