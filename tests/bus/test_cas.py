"""`cas` does what it is there for: values are compared, A -> B -> A goes unnoticed. The rest is kept."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from bus.access import AmoOp
from bus.policies import Reservations, label, policy
from tests.bus.test_conformance import FAILS, LR, ROWS, SET, WINS, A, Harts, Row, test_row

ABA = [row for row in ROWS if row.name.startswith("R6 ABA by")]
KEPT = (
    Row("undisturbed", (SET, LR, WINS, (1, "load", A, 8, 9))),
    Row("another value", (SET, LR, (1, "store", A, 8, 6, None), FAILS, (1, "load", A, 8, 6))),
    Row("another hart's SC", (SET, LR, (1, "lr", A, 8, 5), (1, "sc", A, 8, 7, True), FAILS)),
    Row("an SC ends the reservation", (SET, LR, WINS, FAILS)),
    Row("another address", (LR, (0, "sc", A + 8, 8, 1, False), FAILS)),
    Row("32 bits", ((0, "lr", A, 4, 0), (0, "sc", A, 4, 2**40 + 7, True), (1, "load", A, 8, 7))),
    Row("a trap, ending", (LR, (0, "trap", None), FAILS), {"invalidate_on_trap": True}),
    Row("spurious", (LR, FAILS), {"spurious_sc_failure": 1.0}),
)


@pytest.mark.parametrize("row", ABA, ids=lambda r: r.name)
def test_aba_goes_unnoticed(row):
    assert len(ABA) == 4
    with pytest.raises(AssertionError, match="sc gave True"):
        test_row(row, "cas", 6)


@pytest.mark.parametrize("row", KEPT, ids=lambda r: r.name)
def test_the_rest_is_kept(row):
    test_row(row, "cas", 6)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("op", list(AmoOp))
def test_amos(op, size):
    row = next(r for r in ROWS if r.name == f"A {op.name} of {size} bytes, tracked")
    with ExitStack() as stack:
        right, wrong = (Harts(name, Reservations(), stack) for name in ("inline", "cas"))
        for step in row.steps:
            if step[1] != "sc":
                assert wrong.do(*step[:-1]) == right.do(*step[:-1])
        del right, wrong


def test_it_says_that_it_is_wrong():
    assert not policy("cas").correct
    assert label("cas") == "cas (WRONG)"
    assert label("inline") == "inline"
