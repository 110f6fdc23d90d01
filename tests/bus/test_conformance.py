"""What every correct policy owes LR/SC, AMO and AMOCAS, one row per consequence of the manual's rules.

Each row is a forced interleaving: steps of several harts, one after the other, and what each must answer. Rows are
named by the rule they follow from (R: the manual's LR/SC rules, A: AMOs, C: compare-and-swap; architecture rules 1 to
3). The same rows run under every policy that calls itself correct, with small, usual and page-sized granules.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest

from bus.access import AmoOp, MemoryFault, Order
from bus.layout import Geometry
from bus.policies import NAMES, PortContext, Reservations, policy
from bus.segment import Segment
from tests.local_hart import DirectLink

RAM = 0x8000_0000
A = RAM + 0x2000
"""In a granule of its own, whatever the granule's size."""
FAR = RAM + 0x4000
"""In another granule, and on another page."""
CORRECT = [name for name in NAMES if policy(name).correct]
ANY = object()
FAULT = "fault"


class Harts:
    """Three harts' ports on one segment; a step is (hart, operation, operands...)."""

    def __init__(self, name: str, rules: Reservations, stack: ExitStack) -> None:
        exp, owned = rules.reservation_set_size_exp, policy(name).owned
        self.segment = Segment.create(Geometry(3, 1 << 16, granule_exp=exp, owned=owned))
        self.segment.unlink()
        stack.callback(self.segment.close)
        self.link = DirectLink(self.segment, rules, name)
        stack.callback(self.link.close)
        make = policy(name).port
        self.ports = [make(PortContext(self.segment, h, self.link, rules)) for h in range(3)]  # type: ignore[arg-type]
        stack.callback(self.ports.clear)

    def do(self, hart: int, operation: str, *operands: int | AmoOp) -> object:
        self.link.hart = hart
        port = self.ports[hart]
        try:
            match operation, operands:
                case "lr", (address, size):
                    return port.load_reserved(address, size, Order.NONE)
                case "fused lr", (address, size):
                    return port.load_reserved(address, size, Order.NONE, True)
                case "sc", (address, size, value):
                    return port.store_conditional(address, size, value, Order.NONE)
                case "store", (address, size, value):
                    return port.store(address, size, value)
                case "load", (address, size):
                    return port.load(address, size)
                case "cas", (address, size, expected, desired):
                    return port.compare_and_swap(address, size, expected, desired, Order.AQRL)
                case "trap", ():
                    return port.end_reservation(trap=True)
                case "amo", (op, address, size, operand):
                    return port.amo(op, address, size, operand, Order.NONE)  # type: ignore[arg-type]
        except MemoryFault as fault:
            return FAULT, fault.fault.name
        raise AssertionError(operation)


@dataclass(frozen=True)
class Row:
    name: str
    steps: tuple[tuple[object, ...], ...]
    """(hart, operation, operands..., answer)."""
    rules: dict[str, object] = field(default_factory=dict)


LR = (0, "lr", A, 8, ANY)
WINS, FAILS = (0, "sc", A, 8, 9, True), (0, "sc", A, 8, 9, False)
SET = (2, "store", A, 8, 5, None)

ROWS = (
    Row("R8 undisturbed SC writes", (SET, (0, "lr", A, 8, 5), WINS, (1, "load", A, 8, 9))),
    Row(
        "R6 ABA by stores",
        (SET, LR, (1, "store", A, 8, 6, None), (1, "store", A, 8, 5, None), FAILS, (1, "load", A, 8, 5)),
    ),
    Row(
        "R6 ABA by AMOs",
        (SET, LR, (1, "amo", AmoOp.ADD, A, 8, 1, 5), (1, "amo", AmoOp.ADD, A, 8, 2**64 - 1, 6), FAILS),
    ),
    Row(
        "R6 ABA by SCs",
        (
            SET,
            LR,
            (1, "lr", A, 8, 5),
            (1, "sc", A, 8, 6, True),
            (2, "lr", A, 8, 6),
            (2, "sc", A, 8, 5, True),
            FAILS,
        ),
    ),
    Row("R6 ABA by AMOCASs", (SET, LR, (1, "cas", A, 8, 5, 6, 5), (1, "cas", A, 8, 6, 5, 6), FAILS)),
    Row("R6 the same value stored", (SET, LR, (1, "store", A, 8, 5, None), FAILS)),
    Row("R6 a byte of the set stored", (SET, LR, (1, "store", A + 7, 1, 0, None), FAILS)),
    Row("R6 a misaligned store into the set", (SET, LR, (1, "store", A - 3, 4, 0, None), FAILS)),
    Row("R6 an SC between", (LR, (0, "sc", FAR, 8, 1, False), FAILS)),
    Row("R5 most recent LR only", (LR, (0, "lr", FAR, 8, ANY), FAILS, (0, "sc", FAR, 8, 1, False))),
    Row("R2 a new LR replaces the old", (LR, (0, "lr", FAR, 8, ANY), (0, "sc", FAR, 8, 1, True))),
    Row("R3 success ends the reservation", (LR, WINS, FAILS)),
    Row("R3 failure ends the reservation", (LR, (1, "store", A, 8, 1, None), FAILS, FAILS)),
    Row("R4 none after reset", (FAILS,)),
    Row("R8 a failed SC writes nothing", (SET, FAILS, (1, "load", A, 8, 5))),
    Row(
        "R12 SC.W stores 32 bits",
        (
            (2, "store", A, 8, 2**64 - 1, None),
            (0, "lr", A, 4, 2**32 - 1),
            (0, "sc", A, 4, 2**40 + 7, True),
            (1, "load", A, 8, 0xFFFFFFFF_00000007),
        ),
    ),
    Row("one of two harts", (LR, (1, "lr", A, 8, ANY), (1, "sc", A, 8, 3, True), FAILS)),
    Row("loads do not break", (LR, (1, "load", A, 8, ANY), (1, "lr", A, 8, ANY), WINS)),
    Row(
        "stores elsewhere do not break",
        (LR, (1, "store", FAR, 8, 1, None), (1, "amo", AmoOp.OR, FAR, 4, 1, ANY), WINS),
    ),
    Row("a failed SC of another hart does not break", (LR, (1, "sc", A, 8, 1, False), WINS)),
    Row("R7 own store", (LR, (0, "store", A, 8, 1, None), WINS)),
    Row(
        "R7 own store, breaking",
        (LR, (0, "store", A, 8, 1, None), FAILS),
        {"invalidate_on_same_hart_store": True},
    ),
    Row(
        "R7 own store does not hide another's",
        (LR, (1, "store", A, 8, 1, None), (0, "store", A, 8, 1, None), FAILS),
    ),
    Row("R7 another address of the set", (LR, (0, "sc", A + 4, 4, 1, True))),
    Row(
        "R7 another address, exact",
        (LR, (0, "sc", A + 4, 4, 1, False)),
        {"require_exact_reservation_addr": True},
    ),
    Row("R7 another size, exact", (LR, (0, "sc", A, 4, 1, False)), {"require_exact_reservation_addr": True}),
    Row("R4 a trap", (LR, (0, "trap", None), WINS)),
    Row("R4 a trap, ending", (LR, (0, "trap", None), FAILS), {"invalidate_on_trap": True}),
    Row("R7 spurious", (LR, FAILS, LR, FAILS), {"spurious_sc_failure": 1.0}),
    Row(
        "misaligned LR and SC",
        (
            (0, "lr", A + 4, 8, (FAULT, "MISALIGNED")),
            (0, "lr", A + 2, 4, (FAULT, "MISALIGNED")),
            (0, "sc", A + 4, 8, 1, (FAULT, "MISALIGNED")),
        ),
    ),
    Row(
        "R9 a faulting SC writes nothing",
        (LR, (0, "sc", RAM - 8, 8, 1, (FAULT, "ACCESS")), (1, "load", A, 8, 0)),
    ),
    Row(
        "accesses outside RAM",
        tuple(
            (0, *o, (FAULT, "ACCESS"))
            for o in (
                ("lr", RAM + 0x10000, 8),
                ("amo", AmoOp.ADD, RAM - 4, 4, 1),
                ("cas", RAM + 0x10000, 16, 0, 0),
                ("store", RAM + 0xFFFC, 8, 1),
                ("load", 0, 1),
            )
        ),
    ),
    Row(
        "misaligned AMO and AMOCAS",
        (
            (0, "amo", AmoOp.ADD, A + 1, 2, 1, (FAULT, "MISALIGNED")),
            (0, "cas", A + 8, 16, 0, 0, (FAULT, "MISALIGNED")),
        ),
    ),
    Row(
        "C a compare-and-swap that does not match writes nothing",
        (SET, (1, "cas", A, 8, 4, 6, 5), (2, "load", A, 8, 5)),
    ),
    Row(
        "C width of the comparison",
        (
            (2, "store", A, 8, 0x1_0000_0005, None),
            (1, "cas", A, 4, 0xFF_0000_0005, 6, 5),
            (2, "load", A, 8, 0x1_0000_0006),
        ),
    ),
    Row(
        "C 16 bytes",
        (
            (2, "store", A, 8, 5, None),
            (2, "store", A + 8, 8, 6, None),
            (1, "cas", A, 16, 6 << 64 | 5, 8 << 64 | 7, 6 << 64 | 5),
            (1, "cas", A, 16, 0, 0, 8 << 64 | 7),
            (2, "load", A + 8, 8, 8),
        ),
    ),
    Row(
        "C 16 bytes break both halves",
        (
            (2, "store", A, 8, 5, None),
            (0, "lr", A + 8, 8, 0),
            (1, "cas", A, 16, 5, 5, 5),
            (0, "sc", A + 8, 8, 9, False),
        ),
    ),
    *(
        Row(
            f"A {op.name} of {size} bytes, tracked",
            (SET, LR, (1, "amo", op, A, size, 3, 5), FAILS, (2, "load", A, size, ANY)),
        )
        for op in AmoOp
        for size in (1, 2, 4, 8)
    ),
)


@pytest.mark.parametrize("exp", [3, 6, 12])
@pytest.mark.parametrize("name", CORRECT)
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_row(row, name, exp):
    rules = replace(Reservations(reservation_set_size_exp=exp), **row.rules)
    with ExitStack() as stack:
        harts = Harts(name, rules, stack)
        for number, (hart, operation, *operands, answer) in enumerate(row.steps):
            got = harts.do(hart, operation, *operands)
            assert answer is ANY or got == answer, f"step {number}: hart {hart} {operation} gave {got}"
        del harts


@pytest.mark.parametrize("name", CORRECT)
def test_a_neighbouring_granule_is_another(name):
    with ExitStack() as stack:
        harts = Harts(name, Reservations(reservation_set_size_exp=3), stack)
        harts.do(0, "lr", A, 8)
        harts.do(1, "store", A + 8, 8, 1)
        harts.do(1, "amo", AmoOp.ADD, A - 8, 8, 1)
        assert harts.do(0, "sc", A, 8, 1) is True
        harts.do(0, "lr", A, 8)
        assert harts.do(0, "sc", A + 8, 8, 1) is False
        del harts


FUSED = (0, "fused lr", A, 8, ANY)
FUSED_ROWS = (
    Row("undisturbed", (SET, (0, "fused lr", A, 8, 5), WINS, (1, "load", A, 8, 9))),
    Row("another value", (SET, FUSED, (1, "store", A, 8, 6, None), FAILS)),
    Row("an own store between", (SET, FUSED, (0, "store", FAR, 8, 1, None), FAILS)),
    Row("an own load between", (SET, FUSED, (0, "load", FAR, 8, ANY), FAILS)),
    Row("a trap between", (SET, FUSED, (0, "trap", None), FAILS)),
    Row("another address", (SET, FUSED, (0, "sc", A + 4, 4, 1, False))),
    Row("the page becomes tracked", (SET, FUSED, (1, "lr", A + 8, 8, ANY), FAILS)),
    Row("an older reservation is gone", ((0, "lr", FAR, 8, ANY), FUSED, (0, "sc", FAR, 8, 1, False))),
    Row(
        "on a tracked page ABA fails",
        ((1, "lr", A, 8, ANY), SET, FUSED, (1, "store", A, 8, 6, None), SET, FAILS),
    ),
)


@pytest.mark.parametrize("row", FUSED_ROWS, ids=lambda r: r.name)
def test_fused(row):
    test_row(row, "inline", 6)
