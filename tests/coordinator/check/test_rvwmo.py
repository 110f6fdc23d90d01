"""The thirteen rules of preserved program order, each on its own, and the annotations they use."""

from __future__ import annotations

import pytest

from bus.access import Order
from coordinator.check.execution import Event, Kind
from coordinator.check.models import RVWMO, SC, TSO
from coordinator.check.rvwmo import RULES, TITLES, Annotation, Differ, HartOrder, Returns, annotate

X, Y, Z = 0x100, 0x200, 0x300
RW, R, W = 3, 2, 1


def load(address, **more):
    return Event(Kind.LOAD, address, 4, **more)


def store(address, **more):
    return Event(Kind.STORE, address, 4, **more)


def fence(predecessor, successor):
    return Event(Kind.FENCE, predecessor=predecessor, successor=successor)


AMO = Event(Kind.AMO, X, 4)
CASES = [
    (1, [load(X), store(X)], {(0, 1)}),
    (1, [load(X), load(X), store(Y)], set()),
    (1, [load(X), Event(Kind.STORE, X + 3, 1)], {(0, 1)}),
    (1, [load(X), Event(Kind.STORE, X + 4, 4)], set()),
    (2, [load(X), load(X)], {(0, 1, Differ(0, 1, (X, X + 1, X + 2, X + 3)))}),
    (2, [load(X), store(X), load(X)], set()),
    (2, [load(X), Event(Kind.STORE, X, 2), load(X)], {(0, 2, Differ(0, 2, (X + 2, X + 3)))}),
    (2, [AMO, load(X)], {(0, 1, Differ(0, 1, (X, X + 1, X + 2, X + 3)))}),
    (3, [AMO, load(X)], {(0, 1, Returns(1, 0))}),
    (3, [Event(Kind.STORE_CONDITIONAL, X, 4), load(X)], {(0, 1, Returns(1, 0))}),
    (3, [store(X), load(X)], set()),
    (4, [store(X), load(Y), fence(R, W), store(Z), load(Z)], {(1, 3)}),
    (4, [store(X), Event(Kind.FENCE_TSO), load(Y), store(Z)], {(0, 3)}),
    (4, [load(X), Event(Kind.FENCE_TSO), load(Y)], {(0, 2)}),
    (4, [AMO, fence(W, R), load(Y)], {(0, 2)}),
    (5, [load(X, order=Order.AQ), load(Y), store(Z)], {(0, 1), (0, 2)}),
    (6, [load(X), store(Y), store(Z, order=Order.RL)], {(0, 2), (1, 2)}),
    (7, [AMO._replace(order=Order.RL), store(Y), AMO._replace(order=Order.AQ)], {(0, 2)}),
    (7, [store(X, order=Order.RL), load(Y, order=Order.AQ)], set()),
    (8, [Event(Kind.LOAD_RESERVED, X, 4), Event(Kind.STORE_CONDITIONAL, Y, 4, pair=0)], {(0, 1)}),
    (9, [load(X), load(Y, address_from=(0,))], {(0, 1)}),
    (10, [load(X), store(Y, data_from=(0,))], {(0, 1)}),
    (11, [load(X), load(Y, control_from=(0,)), store(Z)], {(0, 2)}),
    (12, [load(X), store(Y, data_from=(0,)), load(Y)], {(0, 2, Returns(2, 1))}),
    (12, [load(X), store(Y), load(Y)], set()),
    (13, [load(X), load(Y, address_from=(0,)), load(X), store(Z)], {(0, 3)}),
]


@pytest.mark.parametrize(("number", "events", "expected"), CASES)
def test_rules(number, events, expected):
    order = HartOrder(events, annotate)
    found = {(e.before, e.after) if e.when is None else tuple(e) for e in RULES[number](order)}
    assert found == expected


def test_every_rule_is_tried_and_titled():
    assert {case[0] for case in CASES if case[2]} == set(RULES) == set(TITLES) == set(range(1, 14))


@pytest.mark.parametrize(
    ("kind", "order", "expected"),
    [
        (Kind.LOAD_RESERVED, Order.RL, Annotation.NONE),
        (Kind.STORE_CONDITIONAL, Order.AQ, Annotation.NONE),
        (Kind.LOAD_RESERVED, Order.AQRL, Annotation.ACQUIRE | Annotation.RELEASE | Annotation.RCSC),
        (Kind.AMO, Order.RL, Annotation.RELEASE | Annotation.RCSC),
        (Kind.CAS_FAILED, Order.AQRL, Annotation.ACQUIRE | Annotation.RCSC),
        (Kind.CAS_FAILED, Order.RL, Annotation.NONE),
        (Kind.LOAD, Order.AQ, Annotation.ACQUIRE),
    ],
)
def test_annotations(kind, order, expected):
    assert annotate(Event(kind, X, 4, order)) == expected


def test_zalasr_can_be_rcsc():
    event = load(X, order=Order.AQ)
    assert annotate(event, Annotation.RCSC) == Annotation.ACQUIRE | Annotation.RCSC


def test_other_models_preserve_more():
    """Of a store and a load after it, SC keeps the order and TSO does not; of other pairs both do."""
    for first in (load(X), store(X)):
        for second in (load(Y), store(Y)):
            relaxed = first.kind is Kind.STORE and second.kind is Kind.LOAD
            assert not RVWMO.preserved([first, second])
            assert bool(TSO.preserved([first, second])) is not relaxed
            assert SC.preserved([first, second])
