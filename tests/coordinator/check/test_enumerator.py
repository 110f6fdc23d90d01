"""Outcomes that the models allow: verdicts, data semantics, reservations, loops, mixed sizes."""

from __future__ import annotations

import pytest

from coordinator.check.enumerator import Timeout, enumerate_states
from coordinator.check.explain import explain, explanation_text
from coordinator.check.models import MODELS, RVWMO, RVWMO_RCSC, SC
from coordinator.litmus.families import PLAIN, SHAPES, build
from coordinator.litmus.parser import parse, parse_proposition
from coordinator.litmus.text import LitmusError


def states(text, model=RVWMO, **options):
    outcome = enumerate_states(parse(text, "t"), model, **options)
    return {" ".join(s) for s in outcome.states}


def one_thread(code, initial="", condition="x=0"):
    rows = "".join(f" {line} ;\n" for line in code.split("; "))
    return f"RISCV t\n{{ 0:x20=x; {initial} }}\n P0 ;\n{rows}exists ({condition})\n"


@pytest.mark.parametrize(
    ("shape", "allowed"),
    [
        ("SB", "rvwmo tso"),
        ("MP", "rvwmo"),
        ("LB", "rvwmo"),
        ("S", "rvwmo"),
        ("R", "rvwmo tso"),
        ("2+2W", "rvwmo"),
    ],
)
def test_models_differ_where_they_should(shape, allowed):
    (found,) = (s for s in SHAPES if s.name == shape)
    test = parse(build(found, ("po", "po"), PLAIN, "w"))
    seen = [n for n, m in MODELS.items() if enumerate_states(test, m).tally.matching]
    assert seen == allowed.split()


def test_zalasr_readings_differ():
    (shape,) = (s for s in SHAPES if s.name == "SB")
    test = parse(build(shape, ("rl-aq", "rl-aq"), PLAIN, "w"))
    assert enumerate_states(test, RVWMO).tally.matching
    assert not enumerate_states(test, RVWMO_RCSC).tally.matching


@pytest.mark.parametrize(
    ("code", "initial", "shown", "expected"),
    [
        ("amomin.w x5,x10,(x20)", "int32_t x=-1; int64_t 0:x5; 0:x10=1;", "0:x5=0 /\\ x=0", "-1 -1"),
        ("amominu.w x5,x10,(x20)", "int32_t x=-1; int64_t 0:x5; 0:x10=1;", "0:x5=0 /\\ x=0", "-1 1"),
        ("amomaxu.d x5,x10,(x20)", "uint64_t x=1; 0:x10=-1;", "x=0", "18446744073709551615"),
        ("amoadd.b x5,x10,(x20)", "uint8_t x=255; int64_t 0:x5; 0:x10=2;", "0:x5=0 /\\ x=0", "-1 1"),
        ("lbu x5,0(x20); lb x6,0(x20)", "uint8_t x=0xfb; int64_t 0:x5;", "0:x5=0 /\\ 0:x6=0", "251 -5"),
        ("amocas.w x5,x10,(x20)", "x=3; 0:x5=3; 0:x10=7;", "0:x5=0 /\\ x=0", "3 7"),
        ("amocas.w x5,x10,(x20)", "x=3; 0:x5=4; 0:x10=7;", "0:x5=0 /\\ x=0", "3 3"),
        ("li x5,0x123456789; srli x6,x5,4", "int64_t 0:x6;", "0:x6=0", "305419896"),
        ("sd x20,0(x21)", "uint64_t y; 0:x21=y;", "y=x", "x"),
        ("fence.i; j L; sw x20,0(x20); L: nop", "", "x=0", "0"),
    ],
)
def test_instructions_mean_what_the_isa_table_says(code, initial, shown, expected):
    assert states(one_thread(code, initial, shown)) == {expected}


def test_an_amo_is_one_operation():
    """With aq on the AMO its store comes before the load, too; with a plain AMO nothing is ordered."""
    for order, observation in ((".aq", "Never"), (".rl", "Never"), ("", "Sometimes")):
        text = f"""RISCV SB+amo
{{ 0:x20=x; 0:x21=y; 1:x20=x; 1:x21=y; 0:x10=1; 1:x10=1; }}
 P0 | P1 ;
 amoswap.w{order} x0,x10,(x20) | amoswap.w{order} x0,x10,(x21) ;
 amoor.w{order} x5,x0,(x21) | amoor.w{order} x5,x0,(x20) ;
exists (0:x5=0 /\\ 1:x5=0)
"""
        assert enumerate_states(parse(text), RVWMO).tally.observation == observation, order


def test_store_conditional():
    pair = "lr.w x5,(x20); sc.w x6,x10,(x20)"
    assert states(one_thread(pair, "0:x10=1;", "0:x6=0 /\\ x=1")) == {"0 1", "1 0"}
    elsewhere = "lr.w x5,(x20); sc.w x6,x10,(x21)"
    assert states(one_thread(elsewhere, "0:x21=y; 0:x10=1;", "0:x6=0 /\\ y=1")) == {"1 0"}
    twice = "lr.w x5,(x20); sc.w x6,x10,(x20); sc.w x7,x10,(x20)"
    assert states(one_thread(twice, "0:x10=1;", "0:x6=0 /\\ 0:x7=0")) == {"0 1", "1 1"}


def test_values_do_not_come_out_of_thin_air():
    text = (
        "RISCV t\n{ 0:x10=x; 0:x11=y; 1:x10=y; 1:x11=x; }\n P0 | P1 ;\n lw x5,0(x10) | lw x5,0(x10) ;\n"
        " sw x5,0(x11) | sw x5,0(x11) ;\nexists (0:x5=42)"
    )
    assert states(text) == {"0"}
    # Without the rule that forbids it, the axiom still does.
    assert states(text, RVWMO.without(10)) == {"0"}


def test_addresses_and_branches_follow_values():
    text = (
        "RISCV t\n{ uint64_t *p=x; x=1; y=2; 0:x10=p; 0:x11=y; 1:x10=p; }\n P0 | P1 ;\n"
        " sd x11,0(x10) | ld x5,0(x10) ;\n | lw x6,0(x5) ;\n | bne x6,x12,L ;\n | li x7,9 ;\n | L: ;\n"
        "exists (1:x6=1 /\\ 1:x7=1)"
    )
    assert states(text.replace("1:x10=p;", "1:x10=p; 1:x12=2;")) == {"1 0", "2 9"}


def test_mixed_sizes_are_per_byte():
    text = (
        "RISCV t\n{ uint16_t x; 0:x10=x; 0:x5=0x101; 1:x10=x; }\n P0 | P1 ;\n sh x5,0(x10) | lbu x6,0(x10) ;\n"
        " | lbu x7,1(x10) ;\nexists (1:x6=1 /\\ 1:x7=0)"
    )
    assert states(text) == {"0 0", "0 1", "1 0", "1 1"}
    assert states(text, SC) == {"0 0", "0 1", "1 1"}
    # A single store is never seen half done.
    whole = text.replace("lbu x6,0(x10)", "lhu x6,0(x10)").replace("lbu x7,1(x10)", "nop")
    assert states(whole) == {"0 0", "257 0"}


def test_loops_are_cut_and_that_is_said():
    text = one_thread("L: lw x5,0(x20); beq x5,x0,L", "", "0:x5=0")
    outcome = enumerate_states(parse(text), RVWMO)
    assert outcome.cut
    assert not outcome.states


def test_filter_and_locations():
    text = one_thread("lr.w x5,(x20); sc.w x6,x10,(x20)", "0:x10=1;").replace(
        "exists (x=0)", "locations [0:x6;] filter 0:x6=0 exists x=1"
    )
    assert states(text) == {"0 1"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("lw x5,0(x9)", "t:4:2: lw x5,0(x9): this accesses 0x0, where the test has no location"),
        ("lw x5,2(x20)", "t:4:2: lw x5,2(x20): this accesses x+2, which is misaligned"),
        ("csrr x5,mhartid", "the memory model does not cover this instruction"),
    ],
)
def test_what_cannot_be_run_says_why(code, message):
    with pytest.raises(LitmusError) as caught:
        enumerate_states(parse(one_thread(code), "t"), RVWMO)
    assert message in str(caught.value)


def test_a_condition_on_a_thread_that_is_not_there():
    with pytest.raises(LitmusError, match="the test has no 3:x5"):
        enumerate_states(parse(one_thread("nop", "", "3:x5=0"), "t"), RVWMO)


def test_time_is_bounded():
    (shape,) = (s for s in SHAPES if s.name == "IRIW")
    with pytest.raises(Timeout):
        enumerate_states(parse(build(shape, ("po", "po"), PLAIN, "w")), RVWMO, limit_s=0.0)


def test_explanations():
    (shape,) = (s for s in SHAPES if s.name == "MP")
    test = parse(build(shape, ("fence.w.w", "fence.rw.rw"), PLAIN, "w"))
    forbidden = explain(test, RVWMO, test.condition)
    assert forbidden.violation is not None
    assert [s.label for s in forbidden.violation.cycle].count(4) == 2
    text = explanation_text(forbidden, "P")
    assert "ppo 4, fence" in text
    assert "P1#0 lw x5,0(x21): R y=1" in text
    allowed = explain(test, RVWMO, parse_proposition("1:x5=1 /\\ 1:x6=1"))
    assert allowed.violation is None
    assert "from P0#0" in explanation_text(allowed, "P")
    assert explain(test, RVWMO, parse_proposition("1:x5=7")).execution is None
    with pytest.raises(LitmusError, match="the test has no z"):
        explain(test, RVWMO, parse_proposition("z=1"))
