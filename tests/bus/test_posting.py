"""AMOs that `serial` puts off: when they are performed, and that each is performed once whoever dies."""

from __future__ import annotations

import pytest
from direct_bus import BASE, DirectBus
from test_serial_crash import Fuse, Killed, make_fragile

from bus.access import AmoOp, MemoryFault, Order
from bus.layout import Hart
from bus.link import BusError
from bus.messages import MOST_POSTED, Kind
from bus.order_log import read_order_log
from hart.asm import assemble
from tests.local_hart import machine

A = BASE + 128
ELSEWHERE = BASE + 1024


@pytest.fixture
def bus():
    bus = DirectBus()
    bus.ports[0].amo(AmoOp.SWAP, A, 8, 100, Order.NONE)  # from now on its granule is tracked
    return bus


def memory(bus):
    return bus.segment.memory.load(A, 8)


def post(bus, address=A, operand=1, order=Order.NONE):
    bus.ports[0].post_amo(AmoOp.ADD, address, 8, operand, order)


def test_it_is_put_off_and_settled(bus):
    post(bus)
    assert memory(bus) == 100
    bus.ports[0].settle()
    assert memory(bus) == 101
    assert bus.segment.harts[0][Hart.POSTED] == 0


@pytest.mark.parametrize(
    "access",
    [
        lambda port: port.load(A, 8),
        lambda port: port.load(A + 56, 8),
        lambda port: port.load(A + 64, 4, Order.AQ),
        lambda port: port.fetch(A + 2, 2),
        lambda port: port.fence(1, 2),
        lambda port: port.store(ELSEWHERE, 8, 1, Order.RL),
        lambda port: port.store(A + 8, 8, 1),
        lambda port: port.amo(AmoOp.ADD, A + 8, 8, 1, Order.NONE),
        lambda port: port.post_amo(AmoOp.ADD, A + 8, 8, 1, Order.AQ),
        lambda port: port.post_amo(AmoOp.ADD, ELSEWHERE, 8, 1, Order.NONE),
        lambda port: port.compare_and_swap(A + 8, 8, 1, 1, Order.NONE),
        lambda port: port.load_reserved(A + 8, 8, Order.NONE),
        lambda port: port.store_conditional(A + 8, 8, 1, Order.NONE),
        lambda port: port.wait_on_reservation(0),
    ],
)
def test_what_must_not_pass_it(bus, access):
    post(bus)
    access(bus.ports[0])
    assert memory(bus) == 101


def test_what_may_pass_it(bus):
    post(bus)
    bus.ports[0].load(ELSEWHERE, 8)
    bus.ports[0].store(ELSEWHERE, 8, 1)
    post(bus, order=Order.RL)
    assert memory(bus) == 100


def test_own_loads_see_it(bus):
    post(bus)
    assert bus.ports[0].load(A, 8) == 101


def test_faults_are_precise(bus):
    post(bus)
    for address in (A + 4, BASE - 8):
        with pytest.raises(MemoryFault):
            post(bus, address)
    bus.ports[0].settle()
    assert memory(bus) == 101
    assert bus.transactions == 2


def test_the_buffer_is_sent_when_it_is_full(bus):
    for _ in range(MOST_POSTED):
        post(bus)
    assert memory(bus) == 100 + MOST_POSTED


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((AmoOp.ADD, ELSEWHERE, 8, 1, 0), "no tracked granule"),
        ((9, A, 8, 1, 0), "AMO operation 9"),
        ((AmoOp.ADD, A, 8, 1, 0) * 3, "3 AMOs in request 2: at most 2"),
    ],
)
def test_refusals(bus, fields, text):
    with pytest.raises(BusError, match=text):
        bus.request(1, Kind.POST, 2, *fields)
    assert memory(bus) == 100


ITEMS = (AmoOp.ADD, A, 8, 1, 0, AmoOp.SWAP, A + 8, 4, 7, 1, AmoOp.ADD, A, 8, 10, 0)


@pytest.mark.parametrize("logged", [False, True])
def test_exactly_once_wherever_the_arbiter_dies(logged, monkeypatch, tmp_path):
    def prepared(number):
        bus = DirectBus(log=tmp_path / f"log{number}" if logged else None)
        bus.ports[0].amo(AmoOp.SWAP, A, 8, 100, Order.NONE)
        return bus

    fuse = Fuse()
    bus = prepared("-")
    with monkeypatch.context() as patch:
        make_fragile(bus.arbiter, fuse, patch)
        bus.request(0, Kind.POST, 4, *ITEMS)
    assert fuse.writes >= 30
    for deaths in range(fuse.writes + 1):
        bus = prepared(deaths)
        with monkeypatch.context() as patch:
            make_fragile(bus.arbiter, Fuse(deaths), patch)
            try:
                bus.request(0, Kind.POST, 4, *ITEMS)
                assert deaths == fuse.writes
            except Killed:
                bus.answers.clear()
        for _ in range(2):  # the second time it is answered, not executed
            bus.start_arbiter()
            bus.request(0, Kind.POST, 4, *ITEMS)
            assert (memory(bus), bus.segment.memory.load(A + 8, 4)) == (111, 7), f"death at write {deaths}"
        if logged:
            log = [(r.before, r.after) for r in read_order_log(tmp_path / f"log{deaths}")]
            assert log == [(0, 100), (100, 101), (0, 7), (101, 111)]


LOOP = """
_start:
    la s0, counter
    li t0, 50
    li t1, 1
1:  amoadd.d x0, t1, (s0)
    amoadd.b.rl x0, t1, 8(s0)
    addi t0, t0, -1
    bnez t0, 1b
    ld   t2, (s0)
    lbu  t3, 8(s0)
2:  j 2b
.balign 64
counter: .zero 64
""".replace("8(s0)\n    addi", "(s1)\n    addi").replace("li t0, 50", "addi s1, s0, 8\n    li t0, 50")


def test_the_interpreter_posts_what_it_needs_not():
    with machine(assemble(LOOP).image) as hart:
        hart.hart.run(100)
        assert hart.segment.harts[0][Hart.POSTED]
        hart.hart.run(200)
        assert (hart.hart.x[7], hart.hart.x[28]) == (50, 50)
        assert not hart.segment.harts[0][Hart.POSTED]
