"""Linearizability: known histories, agreement with trying every order, bounds."""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.check.history import Operation, decode
from coordinator.check.linearizability import TYPES, Answer, check

YES, NO, OPEN = Answer.LINEARIZABLE, Answer.NOT_LINEARIZABLE, Answer.UNDECIDED
EMPTY = 0


def history(*operations, thing=0):
    """From (hart, invoked, responded, kind, value)."""
    counts = itertools.count()
    return [Operation(hart, next(counts), a, b, kind, thing, value) for hart, a, b, kind, value in operations]


@pytest.mark.parametrize(
    ("name", "operations", "answer"),
    [
        ("counter", [], YES),
        ("counter", [(0, 1, 4, 1, 1), (1, 2, 3, 1, 0)], YES),
        ("counter", [(0, 1, 2, 1, 0), (1, 3, 4, 1, 0)], NO),
        ("counter", [(0, 1, 2, 1, 1), (1, 3, 4, 1, 0)], NO),
        ("counter", [(0, 1, 2, 1, 0), (1, 2, 4, 1, 1)], YES),
        ("queue", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (1, 5, 6, 2, 5), (1, 7, 8, 2, 6)], YES),
        ("queue", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (1, 5, 6, 2, 6), (1, 7, 8, 2, 5)], NO),
        ("queue", [(0, 1, 3, 1, 5), (1, 2, 4, 1, 6), (1, 5, 6, 2, 6), (1, 7, 8, 2, 5)], YES),
        ("queue", [(0, 1, 2, 1, 5), (1, 3, 4, 3, EMPTY)], NO),
        ("queue", [(0, 1, 3, 1, 5), (1, 2, 4, 3, EMPTY)], YES),
        ("queue", [(0, 1, 2, 1, 5), (1, 3, 4, 2, 5), (2, 3, 4, 2, 5)], NO),
        ("queue", [(0, 3, 4, 1, 5), (1, 1, 2, 2, 5)], NO),
        ("stack", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (1, 5, 6, 2, 6), (1, 7, 8, 2, 5)], YES),
        ("stack", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (1, 5, 6, 2, 5), (1, 7, 8, 2, 6)], NO),
        ("stack", [(0, 1, 2, 1, 5), (0, 3, 8, 1, 6), (1, 5, 6, 2, 5), (1, 7, 8, 2, 6)], YES),
        ("stack", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 5), (1, 5, 6, 2, 5), (1, 7, 8, 3, EMPTY)], NO),
        ("ring", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (0, 5, 6, 4, 7)], YES),
        ("ring", [(0, 1, 2, 1, 5), (0, 3, 4, 4, 6)], NO),
        ("ring", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (0, 5, 6, 1, 7)], NO),
        (
            "deque",
            [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (1, 5, 6, 4, 5), (0, 7, 8, 2, 6), (0, 9, 10, 3, EMPTY)],
            YES,
        ),
        ("deque", [(0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (1, 5, 6, 4, 6)], NO),
        ("deque", [(0, 1, 2, 1, 5), (0, 3, 4, 2, 5), (1, 3, 4, 4, 5)], NO),
        ("deque", [(0, 1, 2, 1, 5), (1, 3, 4, 5, EMPTY)], NO),
    ],
)
def test_known_histories(name, operations, answer):
    assert check(name, history(*operations), capacity=2).answer is answer


def test_the_reason_names_the_operation():
    lost = history((0, 1, 2, 1, 5), (0, 3, 4, 1, 6), (3, 5, 6, 2, 6))
    assert check("queue", lost).why == "no order gets past hart 0's operation 1, enqueue 0x6 (from 3 to 4)"
    twice = history((0, 1, 2, 1, 5), (1, 3, 4, 2, 5), (2, 3, 5, 2, 5))
    assert check("queue", twice).why == (
        "hart 2's operation 2, dequeue 0x5 (from 3 to 5) gets what was not there, or is gone"
    )


def test_objects_are_judged_apart():
    first, second = history((0, 1, 2, 1, 5), (0, 3, 4, 2, 5)), history((0, 5, 6, 3, 0), thing=7)
    assert check("queue", first + second).answer is YES
    wrong = history((0, 7, 8, 1, 5), (0, 9, 10, 3, 0), thing=7)
    found = check("queue", first + wrong)
    assert (found.answer, found.why[:9]) == (NO, "object 7:")


def test_a_kind_that_the_type_has_not():
    with pytest.raises(
        ValueError, match=r"hart 2's operation 0 is of kind 4; a queue has 1 \(enqueue\), 2 \(dequeue\)"
    ):
        check("queue", history((2, 1, 2, 4, 0)))


def test_the_bound_is_honest():
    overlapping = history(*((n, 1, 100, 1, n) for n in range(12)), (0, 101, 102, 3, EMPTY))
    assert check("deque", overlapping, most_states=500) == check("deque", overlapping, most_states=500)
    found = check("deque", overlapping, most_states=500)
    assert (found.answer, found.why) == (OPEN, "gave up after 500 states")


@pytest.mark.parametrize("name", ["queue", "stack"])
def test_long_histories_are_decided(name):
    """3,000 operations by 8 harts that overlap all the time."""
    made = made_by_running(name, random.Random(1), harts=8, count=3000)
    assert check(name, made).answer is YES
    removals = [n for n, o in enumerate(made) if o.kind == 2]
    one, other = removals[len(removals) // 3], removals[-1]
    swapped = [
        Operation(o.hart, o.number, o.invoked, o.responded, o.kind, 0, made[with_].value)
        for n, o in enumerate(made)
        for with_ in [{one: other, other: one}.get(n, n)]
    ]
    assert check(name, swapped).answer is NO


def made_by_running(name, chance, *, harts, count, capacity=None):
    """A history that is linearizable, since it was made by an object whose operations take effect at an instant."""
    kinds, state, done = TYPES[name].kinds, TYPES[name].initial, []
    free_from = [0] * harts
    for n in range(count):
        hart, at = chance.randrange(harts), 10 * n
        insert = chance.random() < 0.5 or not state
        kind = 1 if insert else 2
        value = n if insert else (state[0] if name == "queue" else state[-1])
        state = kinds[kind].apply(state, value, capacity)
        begin = chance.randint(max(free_from[hart], at - 30), at) if free_from[hart] < at else at
        end = at + 1 + chance.randrange(30)
        if begin < free_from[hart]:
            begin = at
        free_from[hart] = end
        done.append(Operation(hart, n, begin, end, kind, 0, value))
    return done


@st.composite
def small_histories(draw, name):
    count = draw(st.integers(1, 6))
    times = draw(st.permutations(range(2 * count)))
    kinds = sorted(TYPES[name].kinds)
    return [
        Operation(
            n,
            0,
            min(times[2 * n : 2 * n + 2]),
            max(times[2 * n : 2 * n + 2]),
            draw(st.sampled_from(kinds)),
            0,
            v,
        )
        for n in range(count)
        for v in [draw(st.integers(0, 2))]
    ]


def by_trying_all(name, operations, capacity):
    def explains(order):
        state = TYPES[name].initial
        for o in order:
            state = TYPES[name].kinds[o.kind].apply(state, o.value, capacity)
            if state is None:
                return False
        return True

    def in_time(order):
        return all(not b.responded < a.invoked for a, b in itertools.combinations(order, 2))

    return any(in_time(order) and explains(order) for order in itertools.permutations(operations))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_agrees_with_trying_all_orders(name):
    seen = set()

    @settings(max_examples=150)
    @given(small_histories(name))
    def agrees(operations):
        answer = check(name, operations, capacity=2).answer
        seen.add(answer)
        assert answer is (YES if by_trying_all(name, operations, 2) else NO)

    agrees()
    assert seen == {YES, NO}


EVENT = struct.Struct("<QQIIQ")


def test_events_as_guests_write_them():
    raw = EVENT.pack(1, 2, 1, 0, 7) + bytes(32) + EVENT.pack(3, 5, 2, 9, 7) + EVENT.pack(6, 8, 3, 0, 0)
    assert list(decode(raw, 2)) == [
        Operation(0, 0, 1, 2, 1, 0, 7),
        Operation(1, 0, 3, 5, 2, 9, 7),
        Operation(1, 1, 6, 8, 3, 0, 0),
    ]


def test_events_that_are_none():
    with pytest.raises(ValueError, match=r"96 bytes are no events of 32 bytes, as many for each of 2 harts"):
        list(decode(bytes(96), 2))
    with pytest.raises(ValueError, match=r"hart 1's operation 0 ends at 2, before it begins at 3"):
        list(decode(bytes(32) + EVENT.pack(3, 2, 1, 0, 0), 2))
