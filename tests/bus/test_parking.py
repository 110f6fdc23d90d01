"""Waiting in the kernel: who parks is woken by a change, by a bell, by its time, and misses none of them."""

from __future__ import annotations

import os
import threading
import time

import pytest

from bus.access import AmoOp, Order
from bus.doorbell import ring
from bus.granule import YIELDS
from bus.layout import PAGE, Doorbell, Geometry, Hart, PageState
from bus.parking import SPINNING, WAITERS, parking
from bus.policies import PortContext, Reservations, policy
from bus.segment import Segment
from tests.local_hart import DirectLink

A = 0x8000_0000
FOREVER = 0


@pytest.fixture
def segment():
    made = Segment.create(Geometry(3, 4 * PAGE))
    made.unlink()
    yield made
    made.close()


@pytest.fixture
def ports(segment):
    link = DirectLink(segment, Reservations(), "inline")
    make = policy("inline").port
    yield [make(PortContext(segment, hart, link, Reservations())) for hart in range(3)]
    link.close()


class Sleeper(threading.Thread):
    """A hart that waits, on a thread of its own; what happened to its processor time while it did."""

    def __init__(self, wait):
        super().__init__(daemon=True)
        self._wait = wait
        self.start()

    def run(self):
        self._wait()
        self.cpu_s = time.thread_time()

    def ended(self, seconds=10.0):
        self.join(seconds)
        return not self.is_alive()


def _asleep(page):
    """Until the hart sleeps in the kernel, as far as its process can be seen to."""
    deadline = time.monotonic() + 10
    while not page[Hart.PARKED]:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.02)


WRITES = {
    "store": lambda port: port.store(A + 8, 8, 1),
    "the same value": lambda port: port.store(A, 8, 0),
    "amo": lambda port: port.amo(AmoOp.ADD, A, 4, 0, Order.NONE),
    "cas": lambda port: port.compare_and_swap(A, 8, 0, 7, Order.NONE),
    "sc": lambda port: (port.load_reserved(A, 8, Order.NONE), port.store_conditional(A, 8, 1, Order.NONE)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_zawrs_sleeps_until_the_reservation_is_lost(segment, ports, write):
    waiter, writer, _ = ports
    waiter.load_reserved(A, 8, Order.NONE)
    sleeper = Sleeper(lambda: waiter.wait_on_reservation(None))
    _asleep(segment.harts[0])
    assert segment.granules[0] & WAITERS
    write(writer)
    assert sleeper.ended()
    assert not waiter.store_conditional(A, 8, 1, Order.NONE)
    assert not segment.granules[0] & WAITERS
    assert not segment.harts[0][Hart.PARKED]


def test_waiting_breaks_no_reservation(segment, ports):
    waiter, other, _ = ports
    waiter.load_reserved(A, 8, Order.NONE)
    other.load_reserved(A, 8, Order.NONE)
    other.wait_on_reservation(0.001)
    assert waiter.store_conditional(A, 8, 5, Order.NONE)


def test_waiting_takes_no_processor_time(segment, ports):
    ports[0].load_reserved(A, 8, Order.NONE)
    sleeper = Sleeper(lambda: ports[0].wait_on_reservation(0.3))
    assert sleeper.ended()
    assert sleeper.cpu_s < 0.1  # a third of what looking all the time would take


def test_all_that_wait_on_a_reservation_are_woken(segment, ports):
    sleepers = []
    for hart, port in enumerate(ports[:2]):
        port.load_reserved(A, 8, Order.NONE)
        sleepers.append(Sleeper(lambda port=port: port.wait_on_reservation(None)))
        _asleep(segment.harts[hart])
    ports[2].store(A, 8, 1)
    assert all(sleeper.ended() for sleeper in sleepers)


@pytest.mark.parametrize("bits", [Doorbell.STOP, Doorbell.INTERRUPT, Doorbell.QUIESCE])
def test_a_bell_wakes(segment, ports, bits):
    ports[0].load_reserved(A, 8, Order.NONE)
    sleeper = Sleeper(lambda: ports[0].wait_on_reservation(None))
    _asleep(segment.harts[0])
    ring(segment, 0, bits)
    assert sleeper.ended()
    assert ports[0].store_conditional(A, 8, 1, Order.NONE)  # a bell ends no reservation


def test_a_bell_that_has_rung_or_a_change_that_has_happened_lets_nobody_sleep(segment, ports):
    ports[0].load_reserved(A, 8, Order.NONE)
    ring(segment, 0, Doorbell.INTERRUPT)
    ports[0].wait_on_reservation(None)
    segment.harts[0][Hart.DOORBELL] = 0
    ports[1].store(A, 8, 1)
    ports[0].wait_on_reservation(None)


def test_without_reservation_nobody_waits(ports):
    ports[0].wait_on_reservation(None)


def test_of_those_that_spin_a_change_wakes_the_first(segment, ports):
    word = segment.granules.address(0)
    ports[2].load_reserved(A, 8, Order.NONE)  # the page is tracked from now on
    seen = segment.granules[0]
    park = parking().park
    sleepers = []
    for hart in range(2):
        address = segment.harts[hart].address(0)
        sleepers.append(Sleeper(lambda address=address: park(address, word, 1, seen, FOREVER, SPINNING)))
        _asleep(segment.harts[hart])
    ports[2].store(A, 8, 1)
    assert sleepers[0].ended()
    assert not sleepers[1].ended(0.05)
    assert segment.granules[0] & WAITERS  # the first has set it again for the second
    ports[2].store(A, 8, 2)
    assert sleepers[1].ended()


def test_no_wake_up_is_lost(segment, ports):
    """A waiter and one write for each of its waits, which race."""
    waiter, writer, _ = ports
    rounds = 2000
    began, ended = [], []

    def wait():
        for number in range(rounds):
            waiter.load_reserved(A, 8, Order.NONE)
            began.append(number)
            waiter.wait_on_reservation(None)
            ended.append(number)

    sleeper = Sleeper(wait)
    deadline = time.monotonic() + 60
    for number in range(rounds):
        for reached in (began, ended):
            while len(reached) <= number:
                assert time.monotonic() < deadline, f"round {number}: still asleep"
                os.sched_yield()
            if reached is began:
                writer.store(A, 8, number)
    assert sleeper.ended()


def test_who_spins_for_long_has_the_page_tracked(segment, ports):
    for waits in range(YIELDS):
        ports[0].spin(A, 1 + waits)
    assert not segment.page_map[0]
    ports[0].spin(A, 1 + YIELDS)
    assert segment.page_map[0] == PageState.TRACKED
