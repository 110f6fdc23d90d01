"""Each row of `conformance_rows` under every correct policy, interpreted and in both native tiers, with granules of 8,
64 and 4096 bytes; and what takes more than a row. `cas` must fail the rows whose writes values hide (A to B to A).
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from bus.access import AmoOp
from bus.policies import NAMES, Reservations, policy
from hart.jit.codegen import Tier
from tests.bus.conformance_rows import (
    ANY,
    FUSED_ROWS,
    INLINE_FUSED_ROWS,
    LR,
    ROWS,
    SET,
    TAGS,
    UNTESTED,
    WINS,
    Row,
)
from tests.forced_harts import MTVEC, A, Harts, forced_harts, release

CORRECT = tuple(name for name in NAMES if policy(name).correct)
TIERS = (None, Tier.T1, Tier.T2)
EXPONENTS = (3, 6, 12)


def check(row: Row, harts: Harts) -> None:
    """Run a row; AssertionError names the step that went wrong."""
    harts.reset()
    for number, (hart, operation, *operands, answer) in enumerate(row.steps):
        got = harts.do(hart, operation, *operands)  # type: ignore[arg-type]
        assert answer is ANY or got == answer, f"step {number}: hart {hart} {operation} gave {got}"


class _Bench:
    """Harts for many rows: they are made once for each setting."""

    def __init__(self) -> None:
        self._harts: dict[tuple[str, Reservations, Tier | None], Harts] = {}

    def check(self, row: Row, name: str, tier: Tier | None, exp: int) -> None:
        rules = replace(Reservations(reservation_set_size_exp=exp), **row.rules)
        key = (name, rules, tier)
        if key not in self._harts:
            self._harts[key] = Harts(name, rules, tier)
        check(row, self._harts[key])

    def close(self) -> None:
        release(*self._harts.values())


@pytest.fixture(scope="module")
def bench():
    bench = _Bench()
    yield bench
    bench.close()


def tier_name(tier: object) -> str | None:
    return "t0" if tier is None else tier.name.lower() if isinstance(tier, Tier) else None


settings = (
    pytest.mark.parametrize("exp", EXPONENTS, ids=lambda e: str(1 << e)),
    pytest.mark.parametrize("tier", TIERS, ids=tier_name),
    pytest.mark.parametrize("name", CORRECT),
)


def everywhere(test):
    for mark in settings:
        test = mark(test)
    return test


@everywhere
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(bench, row, name, tier, exp):
    bench.check(row, name, tier, exp)


@pytest.mark.parametrize("exp", EXPONENTS, ids=lambda e: str(1 << e))
@pytest.mark.parametrize("tier", TIERS, ids=tier_name)
def test_cas_fails_where_values_hide_it(bench, tier, exp):
    passed = []
    for row in (row for row in ROWS if row.values_hide_it):
        try:
            bench.check(row, "cas", tier, exp)
        except AssertionError:
            continue
        passed.append(str(row))
    assert not passed


# Eventual success

_RETRY = "sc.d a2, a0, (a1)\n bnez a2, 1b"
_NOTHING = "addi a0, a0, 1\n addi a0, a0, -1\n"
_ADD = f"addi a0, a0, 1\n {_RETRY}"
LOOPS = {
    "constrained_lrsc_loop_size": f"1: lr.d a0, (a1)\n {_NOTHING * 6} {_ADD}",
    "constrained_lrsc_instruction_set": "1: lr.d a0, (a1)\n lui a4, 1\n sltu a5, a0, a4\n beqz a5, 2f\n"
    f" xor a0, a0, a4\n xor a0, a0, a4\n2: {_ADD}",
    "constrained_lrsc_compressed_allowed": "1: lr.w a0, (a1)\n c.mv a4, a0\n c.addi a4, 1\n sc.w a2, a4, (a1)\n"
    " c.bnez a2, 1b",
    "constrained_lrsc_retry_code": "1: lr.d a0, (a1)\n addi a0, a0, 1\n sc.d a2, a0, (a1)\n beqz a2, 2f\n j 1b\n2:",
    "constrained_lrsc_forward_progress_intro": "1: lr.d.aq a0, (a1)\n addi a0, a0, 1\n sc.d.rl a2, a0, (a1)\n"
    " bnez a2, 1b",
    "constrained_lrsc_forward_progress_sc": "1: lr.w.aqrl a0, (a1)\n addi a0, a0, 1\n sc.w.aqrl a2, a0, (a1)\n"
    " bnez a2, 1b",
    "constrained_lrsc_forward_progress_branch": f"1: lr.d a0, (a1)\n bnez a0, done\n {_ADD}",
}
"""Constrained loops that add 1, by the rule that they are for. The last one leaves as soon as it sees another's 1."""
BESIDE = {
    "adds": "1: addi a4, x0, 1\n amoadd.d x0, a4, (a1)\n addi a3, a3, -1\n bnez a3, 1b",
    "spins": "1: lr.d a4, (a1)\n ld a4, 0(a1)\n addi a3, a3, -1\n bnez a3, 1b",
    "traps": "lr.d a0, (a1)\n ecall\n sc.d a2, a0, (a1)",
}
TESTED = {row.tag for row in ROWS} | {
    *LOOPS,
    "constrained_lrsc_forward_progress_store_amo",
    "constrained_lrsc_forward_progress_trap",
}
STEPS = tuple(itertools.product((1, 3, 4), repeat=2))
LONGEST = 4000
"""Instructions in which two loops must be through."""


def two_loops(harts: Harts, slots: tuple[str, str], steps: tuple[int, int], third: str | None = None) -> None:
    """Run them in turn, so many instructions each, to their ends; `third` runs one at a time beside them."""
    harts.reset()
    turns = [(0, slots[0], steps[0]), (1, slots[1], steps[1]), *([(2, third, 1)] if third else [])]
    for hart, slot, _ in turns:
        harts.harts[hart].x[11], harts.harts[hart].x[13] = A, 40
        harts.start(hart, slot)
    harts.harts[1].csrs.write(MTVEC, harts.done)
    done: set[int] = set()
    for _ in range(LONGEST // sum(count for *_, count in turns)):
        done |= {hart for hart, _, count in turns if hart not in done and harts.go_on(hart, count)}
        if done >= {0, 1}:
            return
    raise AssertionError(f"in {LONGEST} instructions only harts {done} got through")


@everywhere
def test_constrained_loops_succeed_in_the_end(name, tier, exp):
    rules = Reservations(reservation_set_size_exp=exp)
    with forced_harts(name, rules, tier, LOOPS | BESIDE) as harts:
        for tag, steps in itertools.product(LOOPS, STEPS):
            two_loops(harts, (tag, tag), steps)
            left = tag == "constrained_lrsc_forward_progress_branch"
            assert harts.do(2, "load", A, 8) == (1 if left else 2), (tag, steps)
        for steps in STEPS:  # loads and LRs of others do not stand in the way
            tag = "constrained_lrsc_forward_progress_sc"
            two_loops(harts, (tag, tag), steps, "spins")
            assert harts.do(2, "load", A, 8) == 2, steps
        for steps in STEPS:  # a loop beside AMOs ends at the latest when they do
            two_loops(harts, ("constrained_lrsc_loop_size", "adds"), steps)
            assert harts.do(2, "load", A, 8) == 41, steps
        for steps in STEPS:
            two_loops(harts, ("constrained_lrsc_retry_code", "traps"), steps)
            assert harts.do(2, "load", A, 8) == 1, steps


def test_every_tag_has_a_row_or_a_reason():
    assert not TESTED & UNTESTED.keys()
    assert TESTED | UNTESTED.keys() == TAGS


MORE = ((0, "amo", AmoOp.ADD, A, 8, 1, 9), (0, "cas", A, 8, 10, 6, 10))


@pytest.mark.parametrize("tier", TIERS[1:], ids=tier_name)
@pytest.mark.parametrize("name", [name for name in CORRECT if name != "serial"])
def test_the_tiers_are_what_they_say(name, tier):
    with forced_harts(name, Reservations(), tier) as harts:
        for asked in (True, False):  # the first time hart 0 may have to ask the bus
            for _, operation, *operands, answer in ((0, *SET[1:]), LR, WINS, *MORE):
                before = harts.native(0)
                got = harts.do(0, operation, *operands)
                assert answer is ANY or got == answer
                assert asked or harts.native(0) > before, f"{operation} is native"


@pytest.mark.parametrize("name", CORRECT)
@pytest.mark.parametrize("row", FUSED_ROWS, ids=str)
def test_fused(bench, row, name):
    bench.check(row, name, None, 6)


@pytest.mark.parametrize("row", INLINE_FUSED_ROWS, ids=str)
def test_what_ends_a_fused_pair(bench, row):
    bench.check(row, "inline", None, 6)


def test_a_neighbouring_granule_is_another(bench):
    row = Row(
        "lr_reservation_set_size",
        "8 bytes",
        (
            LR,
            (1, "store", A + 8, 8, 1, None),
            (1, "amo", AmoOp.ADD, A - 8, 8, 1, ANY),
            WINS,
            LR,
            (0, "sc", A + 8, 8, 1, False),
        ),
    )
    for name in CORRECT:
        bench.check(row, name, None, 3)
