"""The serial policy against the rules of the architecture page, in interleavings that the test decides."""

import pytest
from direct_bus import BASE, DirectBus, cause

from bus.access import AmoOp, AtomicKind, MemoryFault, Order, ScFailure
from bus.layout import GranuleState, Hart, PageState
from bus.link import BusError
from bus.messages import Kind
from bus.policies import Reservations

A = BASE + 128
NONE = Order.NONE


def sc(bus, hart, address=A, size=8, value=7):
    """An SC's failure: None, or (cause, by whom)."""
    bus.links[hart].id += 1
    return cause(bus.request(hart, Kind.SC, bus.links[hart].id, address, size, value, 0)[0])


def lr(bus, hart, address=A, size=8):
    return bus.ports[hart].load_reserved(address, size, NONE)


def store(value, hart=1, address=A, size=8):
    return lambda bus: bus.ports[hart].store(address, size, value)


def amo(op, operand, hart=1, address=A, size=8):
    return lambda bus: bus.ports[hart].amo(op, address, size, operand, NONE)


def cas(expected, desired, hart=1, address=A, size=8):
    return lambda bus: bus.ports[hart].compare_and_swap(address, size, expected, desired, NONE)


def reserve_and_write(bus):
    lr(bus, 1)
    assert sc(bus, 1, value=5) is None


def reserve_elsewhere(bus):
    lr(bus, 0, A + 64)


RULES = {
    "nothing between": ([], {}, None),
    "a load by another hart": ([lambda bus: bus.ports[1].load(A, 8)], {}, None),
    "an LR by another hart": ([lambda bus: lr(bus, 1)], {}, None),
    "a store of the same value": ([store(0)], {}, (ScFailure.OTHER_STORE, 1)),
    "A -> B -> A by stores": ([store(1), store(0)], {}, (ScFailure.OTHER_STORE, 1)),
    "A -> B -> A by AMOs": ([amo(AmoOp.ADD, 1), amo(AmoOp.ADD, (1 << 64) - 1)], {}, (ScFailure.OTHER_AMO, 1)),
    "A -> B -> A by CAS": ([cas(0, 1), cas(1, 0)], {}, (ScFailure.OTHER_AMO, 1)),
    "an AMO that changes nothing": ([amo(AmoOp.OR, 0)], {}, (ScFailure.OTHER_AMO, 1)),
    "a CAS that matches": ([cas(0, 0)], {}, (ScFailure.OTHER_AMO, 1)),
    "a CAS that does not match": ([cas(3, 4)], {}, None),
    "another's successful SC": ([reserve_and_write], {}, (ScFailure.OTHER_SC, 1)),
    "another's failed SC": ([lambda bus: sc(bus, 1)], {}, None),
    "a store elsewhere in the granule": ([store(1, address=A + 63, size=1)], {}, (ScFailure.OTHER_STORE, 1)),
    "a store just before the granule": ([store(1, address=A - 1, size=1)], {}, None),
    "a store just after the granule": ([store(1, address=A + 64, size=1)], {}, None),
    "a misaligned store into it": ([store(-1, address=A - 4, size=8)], {}, (ScFailure.OTHER_STORE, 1)),
    "the first cause stays": ([amo(AmoOp.ADD, 1), store(1, hart=2)], {}, (ScFailure.OTHER_AMO, 1)),
    "its own store": ([store(9, hart=0)], {}, None),
    "its own AMO": ([amo(AmoOp.ADD, 1, hart=0)], {}, None),
    "its own store, breaking": (
        [store(9, hart=0)],
        {"invalidate_on_same_hart_store": True},
        (ScFailure.OWN_STORE, 0),
    ),
    "its own AMO, breaking": (
        [amo(AmoOp.ADD, 1, hart=0)],
        {"invalidate_on_same_hart_store": True},
        (ScFailure.OWN_STORE, 0),
    ),
    "its own SC before": ([lambda bus: sc(bus, 0)], {}, (ScFailure.NO_RESERVATION, 0)),
    "its own failed SC before": ([lambda bus: sc(bus, 0, A + 64)], {}, (ScFailure.NO_RESERVATION, 0)),
    "a later LR elsewhere": ([reserve_elsewhere], {}, (ScFailure.GRANULE_MISMATCH, 0)),
    "a later LR elsewhere, then a store here": (
        [reserve_elsewhere, store(1)],
        {},
        (ScFailure.GRANULE_MISMATCH, 0),
    ),
    "a trap": ([lambda bus: bus.ports[0].end_reservation(trap=True)], {}, None),
    "a trap, breaking": (
        [lambda bus: bus.ports[0].end_reservation(trap=True)],
        {"invalidate_on_trap": True},
        (ScFailure.TRAP, 0),
    ),
    "a write from outside": (
        [lambda bus: bus.arbiter.external_write(A, 4, 1, lambda: None)],
        {},
        (ScFailure.EXTERNAL_WRITE, 3),
    ),
    "the death of another holder": ([lambda bus: lr(bus, 1), lambda bus: bus.arbiter.hart_gone(1)], {}, None),
    "a new arbiter": ([DirectBus.start_arbiter], {}, None),
    "a store, then a new arbiter": ([store(0), DirectBus.start_arbiter], {}, (ScFailure.OTHER_STORE, 1)),
    "a new arbiter, then a store": ([DirectBus.start_arbiter, store(0)], {}, (ScFailure.OTHER_STORE, 1)),
    "injected": ([], {"spurious_sc_failure": 1.0}, (ScFailure.INJECTED, 0)),
}


@pytest.mark.parametrize("rule", RULES)
def test_between_lr_and_sc(rule):
    between, options, expected = RULES[rule]
    bus = DirectBus(rules=Reservations(**options))
    lr(bus, 0)
    for step in between:
        step(bus)
    before = bus.segment.memory.load(A, 8)
    assert sc(bus, 0) == expected
    assert bus.segment.memory.load(A, 8) == (before if expected else 7)
    assert sc(bus, 0) == (ScFailure.NO_RESERVATION, 0), "an SC ends the reservation in every case"


@pytest.mark.parametrize(
    ("address", "size", "exact", "expected"),
    [
        (A, 8, True, None),
        (A, 4, True, (ScFailure.ADDRESS_MISMATCH, 0)),
        (A + 8, 8, True, (ScFailure.ADDRESS_MISMATCH, 0)),
        (A + 8, 8, False, None),
        (A + 60, 4, False, None),
        (A + 64, 8, False, (ScFailure.GRANULE_MISMATCH, 0)),
        (A - 8, 8, False, (ScFailure.GRANULE_MISMATCH, 0)),
        (A + 64, 8, True, (ScFailure.GRANULE_MISMATCH, 0)),
    ],
)
def test_where_an_sc_may_go(address, size, exact, expected):
    bus = DirectBus(rules=Reservations(require_exact_reservation_addr=exact))
    lr(bus, 0)
    assert sc(bus, 0, address, size) == expected


@pytest.mark.parametrize("exp", [3, 6, 12])
def test_the_granule_is_what_breaks(exp):
    bus = DirectBus(rules=Reservations(reservation_set_size_exp=exp))
    granule = BASE + (1 << 12)
    for address, breaks in (
        (granule + (1 << exp) - 1, True),
        (granule - 1, False),
        (granule + (1 << exp), False),
    ):
        lr(bus, 0, granule)
        store(1, address=address, size=1)(bus)
        assert (sc(bus, 0, granule) is not None) is breaks


def test_a_16_byte_cas_is_one_write_to_two_granules():
    bus = DirectBus(rules=Reservations(reservation_set_size_exp=3))
    lr(bus, 0, A)
    lr(bus, 2, A + 8)
    desired = 5 << 64 | 4
    assert bus.ports[1].compare_and_swap(A, 16, 0, desired, NONE) == 0
    assert sc(bus, 0, A) == sc(bus, 2, A + 8) == (ScFailure.OTHER_AMO, 1)
    assert bus.ports[1].compare_and_swap(A, 16, 4, 1, NONE) == desired
    assert bus.ports[1].compare_and_swap(A, 16, 6 << 64 | 4, 1, NONE) == desired
    assert (bus.ports[0].load(A, 8), bus.ports[0].load(A + 8, 8)) == (4, 5)


@pytest.mark.parametrize("address", range(A - 7, A + 1))
@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("tracked", [(), (A - 64,), (A,), (A - 64, A)])
def test_a_store_is_right_wherever_tracked_granules_lie(address, size, tracked):
    bus = DirectBus()
    for granule in tracked:
        lr(bus, 2, granule)
    bus.ports[0].store(address, size, 0x1122334455667788)
    expected = (0x1122334455667788).to_bytes(8, "little")[:size]
    assert bus.segment.memory.read(address - 1, size + 2) == b"\0" + expected + b"\0"


def test_an_untracked_granule_is_written_without_a_transaction_and_a_tracked_one_with():
    bus = DirectBus()
    bus.ports[0].store(A, 8, 1)
    assert bus.transactions == 0
    lr(bus, 1)
    assert bus.segment.granules[2] == GranuleState.TRACKED
    assert bus.segment.page_map[0] & PageState.TRACKED
    bus.ports[0].store(A, 8, 2)
    assert bus.transactions == 2
    assert bus.ports[0].load(A, 8) == 2


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("op", AmoOp)
def test_every_amo_returns_old_and_stores_new(op, size):
    from bus.access import combine

    bus = DirectBus()
    top = 1 << 8 * size - 1
    for old, operand in ((top, 1), (1, top), (top | 5, top | 3), (0, 2 * top - 1)):
        bus.segment.memory.store(A, 8, (1 << 64) - 1)
        bus.segment.memory.store(A, size, old)
        assert bus.ports[0].amo(op, A, size, operand | 1 << 64, NONE) == old
        assert bus.segment.memory.load(A, size) == combine(op, old, operand, size)
        if size < 8:
            assert bus.segment.memory.load(A + size, 1) == 0xFF


@pytest.mark.parametrize("address", [A + 1, A + 2, A + 4, BASE - 8, BASE + 4 * 4096, (1 << 64) - 8])
def test_atomics_refuse_misaligned_and_outside_addresses_without_a_transaction(address):
    bus = DirectBus()
    port = bus.ports[0]
    lr(bus, 0)
    for access in (
        lambda: port.load_reserved(address, 8, NONE),
        lambda: port.store_conditional(address, 8, 1, NONE),
        lambda: port.amo(AmoOp.ADD, address, 8, 1, NONE),
        lambda: port.compare_and_swap(address, 8, 1, 1, NONE),
        lambda: port.load(address, 8, Order.AQ),
        lambda: port.store(address, 8, 1, Order.RL),
    ):
        with pytest.raises(MemoryFault):
            access()
    assert bus.transactions == 1
    assert sc(bus, 0) is None, "an SC that traps is no SC"


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Kind.LR, (A, 2, 0), "size 2 is not one of 4, 8"),
        (Kind.LR, (A, 8, 4), "order 4 is not one of 0 to 3"),
        (Kind.LR, (A + 4, 8, 0), "is not a multiple of 8"),
        (Kind.LR, (BASE - 8, 8, 0), "do not lie in RAM"),
        (Kind.LR, ((1 << 64) - 8, 8, 0), "do not lie in RAM"),
        (Kind.SC, (A, 4, 1 << 32, 0), "value 0x100000000 has more than 4 bytes"),
        (Kind.SC, (A, 16, 1, 0), "size 16"),
        (Kind.AMO, (9, A, 8, 1, 0), "AMO operation 9 is not one of 0 to 8"),
        (Kind.AMO, (0, A, 3, 1, 0), "size 3"),
        (Kind.AMO, (0, A, 1, 256, 0), "more than 1 bytes"),
        (Kind.CAS, (A, 8, 0, 1, 0, 0, 0), "more than 8 bytes"),
        (Kind.CAS, (A + 8, 16, 0, 0, 0, 0, 0), "is not a multiple of 16"),
        (Kind.STORE, (A, 0, 0, 0), "size 0"),
        (Kind.STORE, (A, 1 << 63, 0, 0), "size"),
        (Kind.END_RESERVATION, (99,), "cause 99 is not one of 0 to 13"),
    ],
)
def test_a_request_that_no_port_makes_is_refused(kind, fields, message):
    bus = DirectBus()
    with pytest.raises(BusError, match=message):
        bus.request(0, kind, 1, *fields)
    assert bus.transactions == 0


def test_injected_failures_depend_on_the_seed_alone():
    def outcomes(seed):
        bus = DirectBus(rules=Reservations(spurious_sc_failure=0.5, seed=seed))
        return [bus.ports[0].store_conditional(A, 8, 1, NONE) for _ in range(40) if lr(bus, 0) >= 0]

    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)
    assert 5 < sum(outcomes(1)) < 35


def test_atomics_and_failures_are_counted_in_the_page():
    bus = DirectBus()
    port = bus.ports[0]
    lr(bus, 0)
    store(1)(bus)
    assert not port.store_conditional(A, 8, 1, NONE)
    port.amo(AmoOp.ADD, A, 8, 1, NONE)
    port.compare_and_swap(A, 8, 0, 1, NONE)
    port.load(A, 8, Order.AQ)
    port.store(A, 8, 1, Order.RL)
    page = bus.segment.harts[0]
    assert [page[Hart.ATOMICS + kind] for kind in AtomicKind] == [1] * len(AtomicKind)
    assert page[Hart.SC_FAILURES + ScFailure.OTHER_STORE] == 1
    assert sorted(bus.arbiter.statistics(5)) == [(A, 0, k, 1) for k in (0, 1, 2, 3)]


def test_a_waiter_is_told_when_another_breaks_its_reservation():
    bus = DirectBus()
    lr(bus, 0)
    lr(bus, 1)
    assert bus.arbiter.holds_reservation(0)
    store(1, hart=0)(bus)
    assert bus.lost == [1]
    assert bus.arbiter.holds_reservation(0)
    assert not bus.arbiter.holds_reservation(1)
