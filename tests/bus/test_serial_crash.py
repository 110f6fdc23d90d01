"""The arbiter dies between any two of its writes; its successor finishes: exactly once (rule 6)."""

import contextlib
import itertools
import struct

import pytest
from direct_bus import BASE, DirectBus

from bus.access import AmoOp, Order, ScFailure
from bus.layout import PAGE, Hart
from bus.messages import Kind
from bus.order_log import read_order_log
from bus.policies import Reservations, serial

A = BASE + 128
RULES = Reservations(reservation_set_size_exp=3, invalidate_on_same_hart_store=True)


class Killed(Exception):
    """What SIGKILL is here."""


class Fuse:
    """Dies before write number `left`; counts if None."""

    def __init__(self, left=None):
        self.left, self.writes = left, 0

    def burn(self):
        if self.left == self.writes:
            raise Killed
        self.writes += 1


class Fragile:
    """A memoryview whose writes burn the fuse."""

    def __init__(self, view, fuse):
        self.view, self.fuse = view, fuse

    def __getitem__(self, index):
        return self.view[index]

    def __setitem__(self, index, value):
        self.fuse.burn()
        self.view[index] = value

    def __len__(self):
        return len(self.view)


class FragileStruct:
    """Writes the journal word by word, in an order that nobody promised."""

    def __init__(self, fuse):
        self.fuse, self.size = fuse, struct.calcsize("8Q")

    def pack_into(self, buffer, offset, *words):
        for i in reversed(range(8)):
            self.fuse.burn()
            struct.pack_into("Q", buffer.view, offset + 8 * i, words[i])


def make_fragile(arbiter, fuse, monkeypatch):
    arbiter._pages = tuple(Fragile(page, fuse) for page in arbiter._pages)
    arbiter._views = {size: Fragile(view, fuse) for size, view in arbiter._views.items()}
    arbiter._granules = Fragile(arbiter._granules, fuse)
    arbiter._page_map = Fragile(arbiter._page_map, fuse)
    monkeypatch.setattr(serial, "_TRANSACTION", FragileStruct(fuse))
    store_pair = arbiter._store_pair

    def fragile_pair(*arguments):
        fuse.burn()
        store_pair(*arguments)

    arbiter._store_pair = fragile_pair
    if arbiter._log is not None:
        write = arbiter._log._write

        def fragile_write(fields):
            fuse.burn()
            write(fields)

        arbiter._log._write = fragile_write


REQUESTS = {
    "lr": (Kind.LR, A, 8, 0),
    "lr elsewhere": (Kind.LR, A + 256, 4, 3),
    "sc": (Kind.SC, A, 8, 9, 0),
    "sc that fails": (Kind.SC, A + 256, 8, 9, 0),
    "amo": (Kind.AMO, AmoOp.ADD, A, 8, 5, 0),
    "amo of a byte": (Kind.AMO, AmoOp.SWAP, A + 3, 1, 5, 0),
    "cas that matches": (Kind.CAS, A, 8, 100, 0, 6, 0, 0),
    "cas that does not": (Kind.CAS, A, 8, 101, 0, 6, 0, 0),
    "cas of 16 bytes": (Kind.CAS, A, 16, 100, 200, 6, 7, 0),
    "cas that tracks": (Kind.CAS, A + 512, 16, 0, 0, 6, 7, 0),
    "store": (Kind.STORE, A, 8, 8, 0),
    "end of reservation": (Kind.END_RESERVATION, ScFailure.TRAP),
}


def prepared(log):
    """Memory 100, 200; every hart has reserved A or its neighbour, and used one request for it."""
    bus = DirectBus(harts=4, rules=RULES, log=log)
    bus.segment.memory.store(A, 8, 100)
    bus.segment.memory.store(A + 8, 8, 200)
    for hart, address in enumerate((A, A, A + 8, A + 8)):
        bus.ports[hart].load_reserved(address, 8, Order.NONE)
    return bus


def outcome(bus, log):
    """All that a transaction leaves, but which bus process did it."""
    words = (Hart.RESERVATION, Hart.RESERVATION_ADDRESS, Hart.RESERVATION_SIZE, Hart.RESERVATION_LOST)
    return (
        bus.segment.memory.read(BASE, PAGE),
        [
            [page[w] for w in words if w == Hart.RESERVATION_LOST or page[Hart.RESERVATION]]
            for page in bus.segment.harts
        ],
        sorted((g, sorted(harts)) for g, harts in bus.arbiter._reserved.items()),
        list(read_order_log(log)) if log else None,
    )


@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize("name", REQUESTS)
def test_exactly_once_wherever_the_arbiter_dies(name, logged, monkeypatch, tmp_path):
    kind, *fields = REQUESTS[name]
    names = (tmp_path / f"log{i}" for i in itertools.count())
    log = next(names) if logged else None
    reference = prepared(log)
    fuse = Fuse()
    with monkeypatch.context() as patch:
        make_fragile(reference.arbiter, fuse, patch)
        answer = reference.request(0, kind, 2, *fields)
    expected = outcome(reference, log)
    assert fuse.writes >= 10
    for deaths in range(fuse.writes + 1):
        log = next(names) if logged else None
        bus = prepared(log)
        with monkeypatch.context() as patch:
            make_fragile(bus.arbiter, Fuse(deaths), patch)
            try:
                bus.request(0, kind, 2, *fields)
                assert deaths == fuse.writes
            except Killed:
                bus.answers.clear()
        bus.start_arbiter()
        assert bus.request(0, kind, 2, *fields) == answer, f"death at write {deaths}"
        assert outcome(bus, log) == expected, f"death at write {deaths}"
        # A second repetition, to yet another arbiter: answered, not executed.
        bus.start_arbiter()
        assert bus.request(0, kind, 2, *fields) == answer
        assert outcome(bus, log) == expected


@pytest.mark.parametrize("deaths", range(6))
def test_a_write_from_outside_leaves_no_stale_reservation(deaths, monkeypatch, tmp_path):
    bus = prepared(tmp_path / "log")
    with monkeypatch.context() as patch:
        make_fragile(bus.arbiter, Fuse(deaths), patch)
        with contextlib.suppress(Killed):
            bus.arbiter.external_write(A, 8, 1, lambda: None)
    bus.start_arbiter()
    records = [r for r in read_order_log(tmp_path / "log") if r.kind == Kind.EXTERNAL_WRITE]
    written = bus.segment.memory.load(A, 8) == 1
    assert [(r.before, r.after) for r in records] == [(100, 1)] * written
    if written:
        assert not bus.arbiter.holds_reservation(0)
        assert not bus.arbiter.holds_reservation(1)
