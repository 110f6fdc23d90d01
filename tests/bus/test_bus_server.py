import threading
import time

import msgpack
import pytest
import zmq
from live_bus import BASE, LiveBus, ask

from bus.access import AmoOp, Order
from bus.doorbell import Ringer, wait_unless_rung
from bus.layout import PAGE, Doorbell, Geometry, Hart, Header, PageState
from bus.link import BusError, BusLink, BusLost
from bus.messages import MAX_BYTES, VERSION, Kind
from bus.policies import Reservations
from bus.segment import Segment
from bus.server import BusServer, BusSpec


@pytest.fixture
def bus(tmp_path):
    bus = LiveBus(tmp_path)
    yield bus
    assert bus.serving, "the bus has ended"
    bus.close()


def add(bus, hart, value=1):
    return bus.port(hart).amo(AmoOp.ADD, BASE, 8, value, Order.NONE)


def test_ping(bus):
    assert bus.coordinator.call(Kind.PING) == [VERSION]


def test_harts_join_use_memory_and_leave(bus):
    assert add(bus, 0) == 0
    # Another hart that has joined may store directly to a granule to be tracked: it must say that it does not.
    link = bus.link(1)
    thread = threading.Thread(target=lambda: link.call(Kind.PING))
    thread.start()
    thread.join()
    assert add(bus, 1) == 1
    assert bus.segment.harts[1][Hart.JOINED] == 1
    link.call(Kind.LEAVE)
    assert bus.segment.harts[1][Hart.JOINED] == 0
    assert add(bus, 0) == 2
    with pytest.raises(BusError, match="AMO is for harts that have joined"):
        add(bus, 1)
    with pytest.raises(BusError, match="hart 1 has left; a hart joins once"):
        link.join()


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (Kind.HART_GONE, (0,), "HART_GONE is the coordinator's to send"),
        (Kind.STATISTICS, (1, 0), "STATISTICS is the coordinator's to send"),
        (Kind.WATCH, (BASE, 1), "WATCH is the coordinator's to send"),
        (Kind.EXTERNAL_WRITE, (BASE, 1, 1), "EXTERNAL_WRITE is the coordinator's to send"),
        (Kind.JOIN, (VERSION + 1, 1), f"message catalogue {VERSION + 1}; this bus speaks {VERSION}"),
        (Kind.STORE, (BASE, 3, 1, 0), "size 3 is not one of 1, 2, 4, 8"),
    ],
)
def test_what_a_hart_may_not_do_costs_it_an_error(bus, kind, fields, text):
    with pytest.raises(BusError, match=text):
        bus.link(0).call(kind, *fields)
    assert add(bus, 0) == 0


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (Kind.JOIN, (VERSION, 1), "JOIN is the hart's to send"),
        (Kind.LR, (BASE, 8, 0), "LR is for harts that have joined"),
        (Kind.WAIT, (0,), "WAIT is the hart's to send"),
        (Kind.HART_GONE, (99,), "hart 99: this VM has 0 to 2"),
        (Kind.WATCH, (0, 1), "access fault at 0x0"),
        (Kind.EXTERNAL_WRITE, (0, 8, 1), "do not lie in RAM"),
        (Kind.EXTERNAL_WRITE, (BASE, 16, 1), "size 16 is not one of"),
    ],
)
def test_what_the_coordinator_may_not_do_costs_it_an_error(bus, kind, fields, text):
    with pytest.raises(BusError, match=text):
        bus.coordinator.call(kind, *fields)


def test_a_stranger_gets_an_error_and_nothing_else(bus):
    with bus.raw(b"stranger") as socket:
        assert ask(socket, Kind.EXTERNAL_WRITE, 1, BASE, 8, 1) == [0, 1, "not a participant of this VM"]
    assert bus.segment.memory.load(BASE, 8) == 0


def test_a_second_socket_with_a_known_token_does_not_displace_the_first(bus):
    add(bus, 0)
    with bus.raw(bus.spec.hart_tokens[0]) as socket:
        socket.rcvtimeo = 50
        with pytest.raises(zmq.Again):
            ask(socket, Kind.PING, 1)
    assert add(bus, 0) == 1


def test_messages_of_several_frames_or_too_long_are_refused(bus):
    with bus.raw(bus.spec.hart_tokens[2]) as socket:
        socket.send_multipart([b"", b"x", b""])
        assert msgpack.unpackb(socket.recv()) == [0, 1, "a request is one frame"]
        socket.send(b"\x01" * (MAX_BYTES + 1))
        assert msgpack.unpackb(socket.recv())[1] == 1


def test_a_repeated_request_is_executed_once_and_an_older_one_refused(bus):
    with bus.raw(bus.spec.hart_tokens[0]) as socket:
        assert ask(socket, Kind.JOIN, 1, VERSION, 1) == [1, 0]
        assert ask(socket, Kind.AMO, 5, AmoOp.ADD, BASE, 8, 1, 0) == [5, 0, 0]
        assert ask(socket, Kind.AMO, 4, AmoOp.ADD, BASE, 8, 1, 0) == [4, 1, "request 4 comes after request 5"]
        socket.rcvtimeo = 50
        with pytest.raises(zmq.Again):
            ask(socket, Kind.AMO, 5, AmoOp.ADD, BASE, 8, 1, 0)
        assert bus.segment.memory.load(BASE, 8) == 1
        bus.stop()
        bus.start()
        socket.rcvtimeo = 5000
        assert ask(socket, Kind.AMO, 5, AmoOp.ADD, BASE, 8, 1, 0) == [5, 0, 0]
        assert bus.segment.memory.load(BASE, 8) == 1


def test_harts_go_on_with_a_new_bus_process(bus):
    assert add(bus, 0) == 0
    for i in range(1, 4):
        bus.stop()
        adding = threading.Thread(target=add, args=(bus, 0))
        adding.start()
        time.sleep(0.02)
        bus.start()
        adding.join()
        assert bus.segment.memory.load(BASE, 8) == i + 1
        assert bus.segment.header[Header.BUS_GENERATION] == i + 1


def test_a_transaction_needs_an_id(bus):
    with bus.raw(bus.spec.hart_tokens[0]) as socket:
        ask(socket, Kind.JOIN, 1, VERSION, 1)
        assert ask(socket, Kind.LR, 0, BASE, 8, 0)[:2] == [0, 1]
        assert ask(socket, Kind.WAIT, 0, 0)[:2] == [0, 1]


def test_waiting_ends_by_wake_doorbell_time_or_lost_reservation(bus):
    page = bus.segment.harts[0]
    link = bus.link(0)
    ringer = Ringer(bus.segment, bus.coordinator)
    waiting = threading.Thread(target=wait_unless_rung, args=(page, 0, link, None, False))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    ringer.ring(0, Doorbell.INTERRUPT)
    waiting.join(5)
    assert not waiting.is_alive()
    link.wait(0, None, False)  # the doorbell has rung: answered at once
    page[Hart.DOORBELL] = 0
    start = time.monotonic()
    link.wait(0, 0.03, False)
    assert time.monotonic() - start >= 0.03
    link.wait(0, None, True)  # no reservation to wait on
    port = bus.port(0)
    port.load_reserved(BASE, 8, Order.NONE)
    waiting = threading.Thread(target=port.wait_on_reservation, args=(None,))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    bus.coordinator.call(Kind.EXTERNAL_WRITE, BASE, 1, 1)
    waiting.join(5)
    assert not waiting.is_alive()


def test_tracking_waits_for_a_hart_that_runs(bus):
    bus.link(1)
    done = threading.Event()
    adding = threading.Thread(target=lambda: (add(bus, 0), done.set()))
    adding.start()
    assert not done.wait(0.1), "hart 1 may have a store in flight"
    assert bus.segment.harts[1][Hart.DOORBELL] == Doorbell.QUIESCE
    bus.link(1).post(Kind.QUIESCENT, bus.segment.header[Header.QUIESCE_EPOCH])
    assert done.wait(5)
    adding.join()


def test_tracking_does_not_wait_for_a_hart_that_waits(bus):
    link = bus.link(1)
    waiting = threading.Thread(target=link.wait, args=(1, None, False))
    waiting.start()
    time.sleep(0.05)
    assert add(bus, 0) == 0
    assert bus.segment.harts[1][Hart.DOORBELL] == 0
    bus.coordinator.call(Kind.WAKE, 1)
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_request_that_died_with_its_bus_is_repeated(bus):
    """The old bus has taken it from the socket, and has done nothing with it."""
    link = bus.link(0)
    bus.stop()
    context = zmq.Context()
    old = context.socket(zmq.ROUTER)
    old.bind(bus.spec.endpoint)
    adding = threading.Thread(target=add, args=(bus, 0))
    adding.start()
    old.recv_multipart()
    context.destroy(0)
    bus.start()
    adding.join(5)
    assert not adding.is_alive()
    assert bus.segment.memory.load(BASE, 8) == 1
    assert link.call(Kind.PING) == [VERSION]


def test_a_hart_that_dies_keeps_nobody_waiting(bus):
    bus.link(1)
    bus.link(2)
    done = threading.Event()
    adding = threading.Thread(target=lambda: (add(bus, 0), done.set()))
    adding.start()
    assert not done.wait(0.05)
    for dead in (1, 2):
        bus.coordinator.call(Kind.HART_GONE, dead)
    assert done.wait(5)
    adding.join()


def test_a_waiter_whose_tracking_is_pending_can_die(bus):
    """Its request is forgotten, and the granule becomes tracked for the next."""
    with bus.raw(bus.spec.hart_tokens[1]) as socket:
        ask(socket, Kind.JOIN, 1, VERSION, 1)
        bus.link(2)
        from bus.messages import encode_request

        socket.send(encode_request(Kind.AMO, 2, AmoOp.ADD, BASE, 8, 1, 0))
        while not bus.segment.granules[0]:
            time.sleep(0.001)
        bus.coordinator.call(Kind.HART_GONE, 1)
        bus.coordinator.call(Kind.HART_GONE, 2)
        assert add(bus, 0) == 0


def test_statistics_come_in_pieces(bus):
    link = bus.link(0)
    for i in range(700):
        link.call(Kind.AMO, AmoOp.ADD, BASE + 8 * i, 8, 1, 0)
    link.call(Kind.AMO, AmoOp.ADD, BASE + 80, 8, 1, 0)
    rows = []
    while True:
        total, piece = bus.coordinator.call(Kind.STATISTICS, 600, len(rows))
        rows += piece
        if len(rows) >= total:
            break
    assert len(rows) == 600
    assert rows[0] == [BASE + 80, 0, 2, 2]


def test_who_is_abandoned_gets_to_know(bus):
    bus.link(0)
    bus.stop()
    try:
        bus.link(0).abandoned = lambda: True
        with pytest.raises(BusLost):
            add(bus, 0)
        with pytest.raises(BusLost):
            bus.link(0).wait(0, None, False)
    finally:
        bus.start()


def test_a_new_bus_process_waits_for_harts_that_run(tmp_path):
    """Its predecessor died between setting a page PENDING and the acknowledgement of a hart."""
    segment = Segment.create(Geometry(1, PAGE, BASE))
    segment.unlink()
    segment.harts[0][Hart.JOINED] = segment.harts[0][Hart.STARTED] = 1
    segment.page_map[0] = PageState.TRACKED | PageState.PENDING
    spec = BusSpec(segment.name, f"ipc://{tmp_path}/bus", (b"hart",), (b"owner",), "inline", Reservations())
    server = BusServer(spec, segment)
    thread = threading.Thread(target=server.serve)
    thread.start()
    link = BusLink(spec.endpoint, b"hart", segment)
    try:
        assert segment.harts[0][Hart.DOORBELL] & Doorbell.QUIESCE
        assert segment.page_map[0] & PageState.PENDING
        link.post(Kind.QUIESCENT, segment.header[Header.QUIESCE_EPOCH])
        link.call(Kind.PING)
        assert segment.page_map[0] == PageState.TRACKED
    finally:
        link.close()
        server.stop()
        thread.join()
        segment.close()
