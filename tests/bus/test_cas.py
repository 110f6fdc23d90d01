"""`cas` does what it is there for: values are compared, A -> B -> A goes unnoticed. The rest is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bus.policies import Reservations, label, policy
from tests.bus.conformance_rows import FAILS, LR, ROWS, SET, WINS, Row
from tests.bus.test_conformance import check
from tests.forced_harts import A, forced_harts

ABA = [row for row in ROWS if row.values_hide_it]
AMOS = [row for row in ROWS if row.tag.startswith(("amo", "Zacas", "Zabha"))]
KEPT = (
    Row("kept", "undisturbed", (SET, LR, WINS, (1, "load", A, 8, 9))),
    Row("kept", "another value", (SET, LR, (1, "store", A, 8, 6, None), FAILS, (1, "load", A, 8, 6))),
    Row("kept", "another hart's SC", (SET, LR, (1, "lr", A, 8, 5), (1, "sc", A, 8, 7, True), FAILS)),
    Row("kept", "an SC ends the reservation", (SET, LR, WINS, FAILS)),
    Row("kept", "another address", (LR, (0, "sc", A + 8, 8, 1, False), FAILS)),
    Row("kept", "32 bits", ((0, "lr", A, 4, 0), (0, "sc", A, 4, 2**40 + 7, True), (1, "load", A, 8, 7))),
    Row("kept", "a trap, ending", (LR, (0, "trap", None), FAILS), {"invalidate_on_trap": True}),
    Row("kept", "spurious", (LR, FAILS), {"spurious_sc_failure": 1.0}),
)


def run(row: Row) -> None:
    with forced_harts("cas", replace(Reservations(), **row.rules)) as harts:
        check(row, harts)


@pytest.mark.parametrize("row", ABA, ids=str)
def test_aba_goes_unnoticed(row):
    with pytest.raises(AssertionError, match="sc gave True"):
        run(row)


@pytest.mark.parametrize("row", [*KEPT, *AMOS], ids=str)
def test_the_rest_is_kept(row):
    run(row)


def test_it_says_that_it_is_wrong():
    assert not policy("cas").correct
    assert label("cas") == "cas (WRONG)"
    assert label("inline") == "inline"
