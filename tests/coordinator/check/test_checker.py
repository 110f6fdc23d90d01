"""Judging executions: the sparse checker, the direct judgement, the enumerator and the search agree."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress
from itertools import islice
from random import Random

import pytest
from random_litmus import random_test

from coordinator.check.checker import check, check_by_graph
from coordinator.check.enumerator import Enumeration, enumerate_states, search
from coordinator.check.execution import INITIAL, PER_BYTE, WRITES, Event, Execution, Kind, MissingOrder
from coordinator.check.explain import cycle_text, explain
from coordinator.check.memory import Memory
from coordinator.check.models import MODELS, RVWMO, RVWMO_RCSC, SC, constraints, judge
from coordinator.check.search import MixedSizes, Verdict, search_values
from coordinator.check.sequential import is_sequential
from coordinator.check.svg import draw
from coordinator.check.window import window_test
from coordinator.litmus.families import shipped_tests
from coordinator.litmus.parser import parse

FORBIDDEN_BY = {
    1: "CoWW.w+po",
    2: "CoRR.w+po",
    3: "MP+fence.w.w+lr-sc-rfi-addr",
    4: "MP.w+fence.rw.rw+fence.rw.rw",
    5: "MP.w+fence.rw.rw+aq",
    6: "MP.w+rl+fence.rw.rw",
    7: "SB.w+rl-aq+rl-aq+amo",
    8: "LB+fence.rw.rw+fence.r.r-lr-sc",
    9: "MP.w+fence.rw.rw+addr",
    10: "LB.w+data+fence.rw.rw",
    11: "LB.w+ctrl+fence.rw.rw",
    12: "MP+fence.w.w+data-rfi-addr",
    13: "LB+fence.rw.rw+addr-po",
}
"""For each rule a test that is forbidden because of it."""


class _Enough(Exception):
    """Enough candidates of this test."""


def candidates(test, model, most=60):
    """Executions of a test's candidates, at most so many, and the keys of those that the model allows.

    Up to half of them are allowed ones; most candidates are not.
    """
    enumeration = Enumeration(test, model)
    allowed: dict[object, Execution] = {}

    def note(candidate):
        execution = candidate.execution()
        allowed[key(execution)] = execution

    def take(candidate):
        execution = candidate.execution()
        found.setdefault(key(execution), execution)
        if len(found) >= most:
            raise _Enough

    search(enumeration, note)
    found = dict(islice(allowed.items(), most // 2))
    with suppress(_Enough):
        search(enumeration, take, consistent_only=False)
    return list(found.values()), allowed.keys()


def key(execution):
    return (
        tuple(execution.events()),
        tuple(execution.source),
        tuple(sorted(map(tuple, execution.coherence))),
        tuple(sorted(execution.bytewise.items())),
    )


def agree(seed, mixed, counts):
    """Judge the candidates of a random test in every way, under a random model; count those allowed and those not.

    Each step of a cycle is one that the model demands.
    """
    rng = Random(seed + 1_000_000 * mixed)
    model = rng.choice((*MODELS.values(), RVWMO, RVWMO_RCSC))
    test = parse(random_test(rng, rng.choice((2, 2, 3)), 4, mixed))
    found, allowed = candidates(test, model)
    for execution in found:
        violation = check(execution, model)
        assert (violation is None) is (key(execution) in allowed), (seed, model.name, test.source.text)
        direct = judge(execution, model)
        assert (direct is None) is (violation is None), (seed, model.name)
        assert check_by_graph(execution, model) == violation
        sequential = is_sequential(execution, Memory(execution))
        if not any(e.pair >= 0 for e in execution.events()):
            assert sequential is (judge(execution, SC) is None), seed
        assert not (sequential and violation), seed
        if violation is not None:
            assert set(violation.cycle) <= set(constraints(execution, model))
            assert all(
                a.after == b.before for a, b in zip(violation.cycle, violation.cycle[1:], strict=False)
            )
        counts[violation is None] += 1


@pytest.mark.parametrize("mixed", [False, True])
def test_all_judgements_agree(mixed):
    counts = {True: 0, False: 0}
    for seed in range(60):
        agree(seed, mixed, counts)
    assert min(counts.values()) > 60


@pytest.mark.soak
def test_all_judgements_agree_on_a_hundred_thousand_executions():
    counts = {True: 0, False: 0}
    seed = 1_000
    while sum(counts.values()) < 100_000:
        agree(seed, seed % 2 == 1, counts)
        seed += 1
    print(counts)
    assert min(counts.values()) > 10_000


@pytest.mark.parametrize(("rule", "name"), FORBIDDEN_BY.items())
def test_every_rule_reaches_every_judgement(rule, name):
    """A test that one rule forbids: candidates are judged alike, with and without the rule; the cycle names it."""
    test = parse(dict(shipped_tests())[name])
    assert enumerate_states(test, RVWMO).tally.observation == "Never"
    assert enumerate_states(test, RVWMO.without(rule)).tally.observation != "Never"
    for model in (RVWMO, RVWMO.without(rule)):
        found, allowed = candidates(test, model, 300)
        for execution in found:
            assert (
                (check(execution, model) is None)
                is (judge(execution, model) is None)
                is (key(execution) in allowed)
            )
    explanation = explain(test, RVWMO, test.condition)
    assert explanation.violation is not None
    execution = explanation.execution
    cycle = check(execution, RVWMO).cycle
    if rule != 1:
        assert rule in {step.label for step in cycle}
    assert search_values(execution.harts, RVWMO).verdict is (
        # By values alone one store's order can be explained by another's.
        Verdict.ALLOWED if rule == 1 else Verdict.FORBIDDEN
    )
    if name not in ("LB+fence.rw.rw+fence.r.r-lr-sc",):
        window = parse(window_test(execution, check(execution, RVWMO), "window"))
        assert enumerate_states(window, RVWMO).tally.observation == "Never"
        assert enumerate_states(window, RVWMO.without(rule)).tally.observation != "Never"


@pytest.mark.parametrize("shape", ["MP", "SB", "LB", "S", "R", "2+2W"])
def test_shipped_candidates_are_judged_alike(shape):
    for name, text in shipped_tests():
        if name.startswith(f"{shape}.w+") and not name.endswith(("cas", "lrsc")):
            found, allowed = candidates(parse(text), RVWMO, 60)
            for execution in found:
                assert (check(execution, RVWMO) is None) is (key(execution) in allowed), name


def test_loads_after_an_amo_are_ordered_by_what_they_return():
    """Rule 2 with an AMO as the first load, and with one between the loads."""
    amo, load = Event(Kind.AMO, 0, 4), Event(Kind.LOAD, 0, 4)
    observer = hart(
        Event(Kind.STORE, 0, 4), Event(Kind.FENCE, predecessor=1, successor=1), Event(Kind.STORE, 64, 4)
    )
    lanes = (hart(amo, Event(Kind.LOAD, 0, 4), Event(Kind.LOAD, 64, 4, address_from=(1,))), observer)
    for last in (INITIAL, 5):
        execution = Execution(lanes, [INITIAL, 3, last, INITIAL, INITIAL, INITIAL], [[0, 3]])
        assert (check(execution, RVWMO) is None) is (judge(execution, RVWMO) is None)
    later = (hart(Event(Kind.STORE, 64, 4), Event(Kind.FENCE, predecessor=1, successor=3), amo, load),)
    other = hart(
        Event(Kind.STORE, 0, 4), Event(Kind.FENCE, predecessor=1, successor=2), Event(Kind.LOAD, 64, 4)
    )
    execution = Execution((*later, other), [-1, -1, INITIAL, 4, -1, -1, INITIAL], [[2, 4]])
    assert judge(execution, RVWMO) is not None
    assert check(execution, RVWMO) is not None


def test_search_by_values_agrees():
    counts = dict.fromkeys(Verdict, 0)
    for seed in range(40):
        test = parse(random_test(Random(seed), 2, 3))
        found, _ = candidates(test, RVWMO, 25)
        allowed_values = {e.harts for e in found if judge(e, RVWMO) is None}
        for execution in found:
            answer = search_values(execution.harts, RVWMO)
            counts[answer.verdict] += 1
            assert answer.verdict is not Verdict.UNDECIDED
            if answer.execution is not None:
                assert check(answer.execution, RVWMO) is None
            if execution.harts in allowed_values:
                assert answer.verdict is Verdict.ALLOWED
    assert counts[Verdict.ALLOWED] > 50
    assert counts[Verdict.FORBIDDEN] > 50


def test_failing_windows_are_forbidden_tests():
    """A cycle exported as a litmus test asks for an outcome that the model never allows."""
    exported = 0
    for seed in range(30):
        test = parse(random_test(Random(seed), 3, 3))
        found, _ = candidates(test, RVWMO, 12)
        for execution in found:
            violation = check(execution, RVWMO)
            if violation is not None:
                window = parse(window_test(execution, violation, "window"))
                assert enumerate_states(window, RVWMO).tally.observation == "Never", (
                    seed,
                    window.source.text,
                )
                exported += 1
    assert exported > 100


# Long executions


def recorded(events, harts=4, addresses=16, seed=1):
    """An execution as an in-order machine would record it."""
    rng = Random(seed)
    lanes: list[list[Event]] = [[] for _ in range(harts)]
    sources: list[list[tuple[int, int] | None]] = [[] for _ in range(harts)]
    orders: dict[int, list[tuple[int, int]]] = {}
    for _ in range(events):
        hart, address = rng.randrange(harts), 64 * rng.randrange(addresses)
        lane = lanes[hart]
        last = (len(lane) - 1,) if lane and lane[-1].kind in (Kind.LOAD, Kind.AMO) else ()
        dependency = {rng.choice(("address_from", "control_from")): last}
        kind = rng.choice((Kind.LOAD, Kind.LOAD, Kind.STORE, Kind.AMO, Kind.FENCE))
        if kind is Kind.FENCE:
            event = Event(kind, predecessor=rng.randint(1, 3), successor=rng.randint(1, 3), **dependency)
        else:
            event = Event(kind, address, 8, rng.randrange(4) if kind is Kind.AMO else 0, **dependency)
        sources[hart].append(orders[address][-1] if orders.get(address) else None)
        if kind in WRITES:
            orders.setdefault(address, []).append((hart, len(lane)))
        lane.append(event)
    starts = [sum(map(len, lanes[:h])) for h in range(harts)]

    def identity(place):
        return INITIAL if place is None else starts[place[0]] + place[1]

    return Execution(
        tuple(lanes),
        [identity(s) for lane in sources for s in lane],
        [[identity(p) for p in order] for order in orders.values()],
    )


def test_a_long_recorded_run_is_allowed_by_every_model():
    execution = recorded(20_000)
    for model in MODELS.values():
        assert check(execution, model) is None


def test_one_stale_read_in_a_long_run_is_found():
    execution = recorded(20_000)
    source = list(execution.source)
    events = list(execution.events())
    load = next(i for i in range(9_000, 20_000) if events[i].kind is Kind.LOAD and source[i] != INITIAL)
    order = next(o for o in execution.coherence if source[load] in o)
    source[load] = order[order.index(source[load]) - 100]
    broken = Execution(execution.harts, source, execution.coherence)
    violation = check(broken, RVWMO)
    assert violation is not None
    assert len(violation.cycle) <= 4
    assert load in {s.before for s in violation.cycle}


# Single cases


def hart(*events):
    return tuple(events)


def test_a_load_of_the_own_future_is_forbidden():
    execution = Execution((hart(Event(Kind.LOAD, 0, 4), Event(Kind.STORE, 0, 4)),), [1, INITIAL], [])
    for judgement in (check, judge):
        violation = judgement(execution, RVWMO)
        assert {s.label for s in violation.cycle} == {"rf", 1}


def test_an_lr_sc_pair_is_atomic():
    pair = hart(Event(Kind.LOAD_RESERVED, 0, 4), Event(Kind.STORE_CONDITIONAL, 0, 4, pair=0))
    for order, allowed in (([2, 1], False), ([1, 2], True)):
        execution = Execution((pair, hart(Event(Kind.STORE, 0, 4))), [INITIAL] * 3, [order])
        for judgement in (check, judge):
            violation = judgement(execution, RVWMO)
            assert (violation is None) is allowed
            if violation is not None:
                assert violation.axiom == "atomicity axiom"


def test_an_sc_elsewhere_is_atomic_with_the_location_of_its_lr():
    """The store to what the LR read comes before the SC, as a load between them shows."""
    both = Event(Kind.FENCE, predecessor=3, successor=3)
    pair = hart(
        Event(Kind.LOAD_RESERVED, 0, 4), both, Event(Kind.LOAD, 0, 4), both,
        Event(Kind.STORE_CONDITIONAL, 8, 4, pair=0),
    )  # fmt: skip
    execution = Execution((pair, hart(Event(Kind.STORE, 0, 4))), [INITIAL, 0, 5, 0, INITIAL, INITIAL], [])
    for judgement in (check, judge):
        assert judgement(execution, RVWMO).axiom == "atomicity axiom"


def test_a_long_run_with_a_cycle_that_the_model_allows_is_allowed():
    """Store buffering amid much else: no order of all events explains it, and RVWMO does."""
    many = recorded(2_000, harts=2)
    lanes = [
        (Event(Kind.STORE, mine, 8), Event(Kind.LOAD, other, 8), *(
            e._replace(address_from=tuple(p + 2 for p in e.address_from),
                       control_from=tuple(p + 2 for p in e.control_from)) for e in lane))
        for (mine, other), lane in zip(((4096, 4160), (4160, 4096)), many.harts, strict=True)
    ]  # fmt: skip
    starts = [0, len(lanes[0])]

    def moved(identity):
        return identity if identity < 0 else identity + (2 if identity < len(many.harts[0]) else 4)

    source = [moved(s) for s in many.source]
    cut = len(many.harts[0])
    source = [INITIAL, INITIAL, *source[:cut], INITIAL, INITIAL, *source[cut:]]
    execution = Execution(tuple(lanes), source, [[moved(i) for i in order] for order in many.coherence])
    assert not is_sequential(execution, Memory(execution))
    assert check(execution, RVWMO) is None
    cycle = check(execution, SC).cycle
    assert {step.before for step in cycle} == {0, 1, starts[1], starts[1] + 1}


def test_a_torn_store_is_caught():
    store, load = Event(Kind.STORE, 0, 8, written=-1 & (1 << 64) - 1), Event(Kind.LOAD, 0, 8)
    execution = Execution(
        (hart(store), hart(load)), [INITIAL, PER_BYTE], [], bytewise={1: (0,) * 4 + (INITIAL,) * 4}
    )
    for judgement in (check, judge):
        assert judgement(execution, RVWMO) is not None


def test_missing_coherence_is_an_error():
    execution = Execution((hart(Event(Kind.STORE, 0, 4)), hart(Event(Kind.STORE, 0, 4))), [INITIAL] * 2, [])
    with pytest.raises(MissingOrder, match="store 1 writes 0x0"):
        check(execution, RVWMO)


def test_the_search_is_bounded_and_says_so():
    lanes = tuple(tuple(Event(Kind.STORE, 0, 4, written=1) for _ in range(6)) for _ in range(3))
    assert search_values(lanes, RVWMO, steps=3).verdict is Verdict.UNDECIDED
    assert search_values(lanes, RVWMO).verdict is Verdict.ALLOWED
    with pytest.raises(MixedSizes, match="overlap"):
        search_values((hart(Event(Kind.STORE, 0, 4), Event(Kind.STORE, 2, 2)),), RVWMO)


def test_reports_name_what_happened():
    store = Event(Kind.STORE, 0x1000, 4, written=1, pc=0x8000_0000, text="sw a0, 0(a1)")
    load = Event(Kind.LOAD, 0x1000, 4, read=0, pc=0x8000_0004, text="lw a2, 0(a1) <>")
    execution = Execution((hart(store, load),), [INITIAL] * 2, [], symbols={0x1000: "flag"})
    violation = check(execution, RVWMO)
    text = cycle_text(execution, violation)
    assert "P0#1 0x80000004 lw a2, 0(a1) <>: R flag=0" in text
    picture = ET.fromstring(draw(execution, violation))
    assert any("R flag=0" in (t.text or "") for t in picture.iter("{http://www.w3.org/2000/svg}text"))
