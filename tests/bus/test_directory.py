"""The directory: who owns what at each moment, whoever dies when; and the port's part in it.

The attack drives the real bus server without its socket: the test is the network, the harts and the deaths.
"""

from __future__ import annotations

import random
from collections import deque

import msgpack
import pytest

from bus.access import ScFailure
from bus.directory import Claim
from bus.handover import Handover, chooser, distance
from bus.layout import PAGE, RAM_BASE, Doorbell, Geometry, Hart, Ownership
from bus.link import BusError
from bus.messages import VERSION, Kind, encode_request
from bus.policies import Reservations
from bus.segment import Segment
from bus.server import BusServer, BusSpec
from bus.traffic import TRAFFIC, Traffic

A = RAM_BASE + 0x400
GRANULE = 8
NONE, SHARED, MODIFIED = Ownership


class Killed(Exception):
    """What SIGKILL is here."""


class Fragile:
    """Memory whose writes burn a fuse."""

    def __init__(self, view, fuse):
        self.view, self.fuse = view, fuse

    def __getitem__(self, index):
        return self.view[index]

    def __setitem__(self, index, value):
        if self.fuse and self.fuse[0] == 0:
            raise Killed
        if self.fuse:
            self.fuse[0] -= 1
        self.view[index] = value


class Net:
    """A bus server whose messages the test carries. Requests wait in `sent`, answers in `answers`, by hart."""

    def __init__(self, directory, harts, handover=Handover(), exp=3):  # noqa: B008
        self.segment = Segment.create(Geometry(harts, PAGE, granule_exp=exp, owned=True))
        self.segment.unlink()
        self.harts = range(harts)
        tokens = tuple(b"t%d" % i for i in range(harts + 1))
        self.spec = BusSpec(
            self.segment.name,
            f"ipc://{directory}/b",
            tokens[:-1],
            tokens[-1:],
            "directory",
            Reservations(reservation_set_size_exp=exp),
            handover=handover,
        )
        self.ids = [0] * (harts + 1)
        self.sent = [deque() for _ in range(harts + 1)]
        self.answers = [deque() for _ in range(harts + 1)]
        self.fuse = []
        self.start()
        for hart in self.harts:
            self.send(hart, Kind.JOIN, VERSION, 1)
            self.carry(hart)
            self.answers[hart].clear()

    def start(self):
        self.server = server = BusServer(self.spec, self.segment)
        server._transmit = lambda *_: None
        server._send = self._answered
        directory = server._arbiter._directory
        directory._pages = tuple(Fragile(page, self.fuse) for page in directory._pages)
        directory._table = tuple(Fragile(owned, self.fuse) for owned in directory._table)
        server._pages = tuple(Fragile(page, self.fuse) for page in server._pages)

    def stop(self):
        self.server._socket.close(0)
        self.server._context.term()

    def close(self):
        self.stop()
        self.server = None
        self.segment.close()

    def _answered(self, token, data):
        identity, status, *values = msgpack.unpackb(data)
        if status:
            raise BusError(values[0])
        self.answers[self.spec.hart_tokens.index(token) if token in self.spec.hart_tokens else -1].append(
            identity
        )

    def send(self, hart, kind, *fields):
        self.ids[hart] += 1
        self.sent[hart].append(encode_request(kind, self.ids[hart], *fields))

    def carry(self, hart):
        """Let the bus take the hart's next request."""
        token = (*self.spec.hart_tokens, *self.spec.coordinator_tokens)[hart]
        self.server._take(token, self.sent[hart].popleft())

    def ask(self, hart, kind, *fields):
        """Send and carry; whether it was answered."""
        self.send(hart, kind, *fields)
        self.carry(hart)
        return self.granted(hart)

    def granted(self, hart):
        answered = bool(self.answers[hart]) and self.answers[hart][-1] == self.ids[hart]
        self.answers[hart].clear()
        return answered

    def owned(self, hart, granule=0):
        return self.segment.ownership[hart][(A - RAM_BASE) // GRANULE + granule]

    def state(self, granule=0):
        return tuple(self.owned(hart, granule) for hart in self.harts)

    def page(self, hart):
        return self.segment.harts[hart]

    def count(self, hart, event):
        return self.page(hart)[Hart.COHERENCE + event]


@pytest.fixture
def net(tmp_path):
    net = Net(tmp_path, 3)
    yield net
    net.close()


def test_loads_share_and_stores_own(net):
    assert net.ask(0, Kind.OBTAIN, A, Claim.LOAD)
    assert net.ask(1, Kind.OBTAIN, A, Claim.LOAD)
    assert net.state() == (SHARED, SHARED, NONE)
    assert not net.ask(0, Kind.OBTAIN, A, Claim.STORE)  # hart 1 runs: it is asked
    assert net.state() == (SHARED, SHARED, NONE)
    assert net.page(1)[Hart.DOORBELL] & Doorbell.RECALL
    assert net.ask(1, Kind.GIVE_UP, 1)
    assert net.granted(0)
    assert net.state() == (MODIFIED, NONE, NONE)


def test_an_owner_is_left_a_share_of_what_others_read(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    assert not net.ask(1, Kind.OBTAIN, A, Claim.LOAD)
    net.ask(0, Kind.GIVE_UP, 1)
    assert net.granted(1)
    assert net.state() == (SHARED, SHARED, NONE)


def test_an_owner_that_waits_is_taken_from_at_once(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    assert not net.ask(0, Kind.WAIT, 0)
    assert net.ask(1, Kind.OBTAIN, A, Claim.STORE)
    assert net.state() == (NONE, MODIFIED, NONE)
    assert not net.page(0)[Hart.DOORBELL]


def test_what_is_recalled_is_taken_when_the_owner_begins_to_wait(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    assert not net.ask(1, Kind.OBTAIN, A, Claim.AMO)
    assert not net.ask(0, Kind.OBTAIN, A, Claim.AMO)  # behind hart 1
    assert net.granted(1)
    assert net.state() == (NONE, MODIFIED, NONE)
    net.ask(1, Kind.GIVE_UP, 1)
    assert net.granted(0)


def test_only_what_was_asked_for_so_far_is_given_up(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    net.ask(0, Kind.OBTAIN, A + GRANULE, Claim.STORE)
    net.ask(1, Kind.OBTAIN, A, Claim.STORE)
    net.ask(2, Kind.OBTAIN, A + GRANULE, Claim.STORE)
    net.ask(0, Kind.GIVE_UP, 1)
    assert (net.granted(1), net.granted(2)) == (True, False)
    assert net.page(0)[Hart.RECALLS_DONE] == 1
    net.ask(0, Kind.GIVE_UP, 2)
    assert net.granted(2)


def test_an_sc_whose_reservation_is_lost_takes_nothing(net):
    for hart in (0, 1):
        net.ask(hart, Kind.OBTAIN, A, Claim.LOAD)
        net.page(hart)[Hart.RESERVATION] = 1 + (A - RAM_BASE) // GRANULE
    assert not net.ask(0, Kind.OBTAIN, A, Claim.SC)
    assert net.ask(1, Kind.OBTAIN, A, Claim.SC)  # answered: too late, and hart 0 keeps the granule
    assert net.granted(0)
    assert net.page(1)[Hart.RESERVATION] == 0
    assert net.page(1)[Hart.RESERVATION_LOST] == 1 + ScFailure.OTHER_SC
    assert net.state() == (MODIFIED, NONE, NONE)
    assert not net.page(0)[Hart.DOORBELL]


def test_reading_takes_no_reservation(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    net.page(0)[Hart.RESERVATION] = 1 + (A - RAM_BASE) // GRANULE
    net.ask(0, Kind.WAIT, 0)
    assert net.ask(1, Kind.OBTAIN, A, Claim.LOAD)
    assert net.page(0)[Hart.RESERVATION]
    assert net.state() == (SHARED, SHARED, NONE)


def test_a_wait_for_the_reservation_ends_with_it(net):
    net.ask(0, Kind.OBTAIN, A, Claim.LOAD)
    net.page(0)[Hart.RESERVATION] = 1 + (A - RAM_BASE) // GRANULE
    assert not net.ask(0, Kind.WAIT, 1)
    assert net.ask(1, Kind.OBTAIN, A, Claim.STORE)
    assert net.granted(0)


def test_the_first_of_two_granules_is_kept_while_the_second_is_waited_for(net):
    net.ask(1, Kind.OBTAIN, A + GRANULE, Claim.STORE)
    net.ask(0, Kind.OBTAIN, A, Claim.AMO)
    assert not net.ask(0, Kind.OBTAIN, A + GRANULE, Claim.SECOND)
    assert not net.ask(2, Kind.OBTAIN, A, Claim.STORE)
    assert net.owned(0) == MODIFIED
    net.ask(1, Kind.GIVE_UP, 1)
    assert net.granted(0)
    assert (net.owned(0), net.owned(0, 1)) == (MODIFIED, MODIFIED)
    assert net.page(0)[Hart.DOORBELL] & Doorbell.RECALL
    net.ask(0, Kind.GIVE_UP, net.page(0)[Hart.RECALLS])
    assert net.granted(2)


def test_the_dead_own_nothing_and_want_nothing(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    net.ask(1, Kind.OBTAIN, A, Claim.STORE)
    net.ask(2, Kind.OBTAIN, A, Claim.STORE)
    assert net.ask(3, Kind.HART_GONE, 1)
    assert net.ask(3, Kind.HART_GONE, 0)
    assert net.granted(2)
    assert not net.granted(1)
    assert net.state() == (NONE, NONE, MODIFIED)


def test_a_write_from_outside_waits_for_the_owner(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    net.page(0)[Hart.RESERVATION] = 1 + (A - RAM_BASE) // GRANULE
    assert not net.ask(3, Kind.EXTERNAL_WRITE, A, 8, 7)
    assert net.segment.memory.load(A, 8) == 0
    net.ask(0, Kind.GIVE_UP, 1)
    assert net.granted(3)
    assert net.segment.memory.load(A, 8) == 7
    assert net.page(0)[Hart.RESERVATION_LOST] == 1 + ScFailure.EXTERNAL_WRITE | 3 << 8
    assert net.state() == (NONE, NONE, NONE)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (Kind.OBTAIN, (0, 0), "outside|access fault"),
        (Kind.OBTAIN, (A, 5), "claim 5 is not one of 0 to 4"),
        (Kind.OBTAIN, (A, Claim.SECOND), "no second granule"),
        (Kind.TRACK, (A, 0), "TRACK: harts do this themselves"),
    ],
)
def test_refusals(net, kind, fields, text):
    with pytest.raises(BusError, match=text):
        net.ask(0, kind, *fields)


def test_traffic(net):
    net.ask(0, Kind.OBTAIN, A, Claim.STORE)
    net.ask(2, Kind.OBTAIN, A, Claim.LOAD)
    net.page(0)[Hart.DOORBELL] = 0
    net.ask(0, Kind.GIVE_UP, 1)
    net.ask(0, Kind.WAIT, 0)
    net.ask(2, Kind.OBTAIN, A, Claim.STORE)
    expected = {
        0: {
            Traffic.GET_MODIFIED: 1,
            Traffic.MESSAGE: 5,
            Traffic.RECALL: 1,
            Traffic.DOWNGRADE: 1,
            Traffic.INVALIDATION: 1,
        },
        1: {},
        2: {
            Traffic.GET_SHARED: 1,
            Traffic.GET_MODIFIED: 1,
            Traffic.MESSAGE: 4,
            Traffic.TRANSFER: 1,
            Traffic.HOP: 1,
        },
    }
    seen = {hart: {e: net.count(hart, e) for e in Traffic if net.count(hart, e)} for hart in net.harts}
    assert seen == expected
    rows = {(hart, kind - TRAFFIC): n for _, hart, kind, n in net.server._arbiter.statistics(4)}
    assert rows[0, Traffic.DOWNGRADE] == rows[2, Traffic.TRANSFER] == 1


def test_orders():
    waiting = [5, 1, 7]
    assert chooser(Handover(order="fifo"), 8)(waiting, 0) == 0
    assert chooser(Handover(order="lifo"), 8)(waiting, 0) == 2
    assert [chooser(Handover(order="nearest"), 8)(waiting, last) for last in (0, 2, 4, -1)] == [1, 1, 0, 0]
    drawn = [chooser(Handover(order="random", seed=s), 8)(waiting, 0) for s in range(50)]
    assert set(drawn) == {0, 1, 2}
    assert [chooser(Handover(order="random", seed=s), 8)(waiting, 0) for s in range(50)] == drawn
    assert (distance(0, 7, 8), distance(1, 5, 8), distance(3, 3, 8)) == (1, 4, 0)


# The attack


class Attack:
    """Harts that want, have and give up at random; a network that takes its time; deaths of harts and of the bus."""

    GRANULES = 4

    def __init__(self, directory, seed, harts, order):
        self.dice = random.Random(seed)
        self.net = Net(directory, harts, Handover(order=order, seed=seed))
        self.alive = set(self.net.harts)
        self.untold = set()
        self.open = {}
        """Request by hart that waits: its bytes, and what must hold when it is answered."""
        self.deaths = self.granted = 0

    def at(self, granule):
        return A + GRANULE * granule

    def bytes(self, hart):
        return bytes(self.net.segment.ownership[hart]), self.net.page(hart)[Hart.RESERVATION]

    def bus(self, deadly, act):
        """A step of the bus, which may die in it. Nothing of a hart that runs may change; lemma 2 must hold."""
        before = {h: self.bytes(h) for h in self.alive if h not in self.open}
        self.net.fuse[:] = [self.dice.randrange(12)] if deadly else []
        try:
            act()
        except Killed:
            self.deaths += 1
        died, self.net.fuse[:] = deadly, []
        for hart, was in before.items():
            assert self.bytes(hart) == was, "a hart that runs was taken from"
        for granule in range(self.GRANULES):
            state = [s for s in self.net.state(granule) if s]
            assert state in ([MODIFIED], [SHARED] * len(state)), "one owner, or sharers"
        if died:
            self.restart()

    def restart(self):
        self.net.stop()
        for hart in self.net.harts:
            if self.dice.randrange(2):
                self.net.answers[hart].clear()  # lost with the connection
            self.net.sent[hart].clear()
            if hart in self.open and hart in self.alive:
                self.net.sent[hart].append(self.open[hart][0])
        self.net.sent[-1].clear()
        self.net.start()
        self.untold |= set(self.net.harts) - self.alive

    def step(self):
        choice = self.dice.random()
        net = self.net
        hart = self.dice.choice(sorted(self.alive))
        if choice < 0.4 and hart not in self.open:
            self.act(hart)
        elif choice < 0.75:
            carried = [h for h in self.alive | {len(net.harts)} if net.sent[h]]
            if carried:
                who = self.dice.choice(carried)
                self.bus(self.dice.random() < 0.03, lambda: net.carry(who))
        elif choice < 0.96:
            self.receive(hart)
        elif choice < 0.99:
            net.send(len(net.harts), Kind.WAKE, hart)
        elif choice < 0.9905 and len(self.alive) > 2:
            self.alive.discard(hart)
            self.untold.add(hart)
        elif self.untold:
            net.send(len(net.harts), Kind.HART_GONE, self.untold.pop())

    def act(self, hart):
        page, granule = self.net.page(hart), self.dice.randrange(self.GRANULES)
        page[Hart.DOORBELL] = 0
        own = self.net.owned(hart, granule)
        if page[Hart.RECALLS] > page[Hart.RECALLS_DONE] and self.dice.randrange(2):
            self.request(hart, None, Kind.GIVE_UP, page[Hart.RECALLS])
        elif not self.dice.randrange(12):
            self.request(hart, None, Kind.WAIT, 0)
        elif own and not self.dice.randrange(3):
            page[Hart.RESERVATION] = 1 + (self.at(granule) - RAM_BASE) // GRANULE  # LR
        elif own == SHARED and page[Hart.RESERVATION] == 1 + (self.at(granule) - RAM_BASE) // GRANULE:
            self.request(hart, (granule, Claim.SC), Kind.OBTAIN, self.at(granule), Claim.SC)
        elif granule & 1 and self.net.owned(hart, granule - 1) == MODIFIED:
            self.request(hart, (granule, Claim.SECOND), Kind.OBTAIN, self.at(granule), Claim.SECOND)
        else:
            claim = self.dice.choice((Claim.LOAD, Claim.STORE, Claim.AMO))
            self.request(hart, (granule, claim), Kind.OBTAIN, self.at(granule), claim)

    def request(self, hart, wanted, kind, *fields):
        self.net.send(hart, kind, *fields)
        self.open[hart] = self.net.sent[hart][-1], wanted

    def receive(self, hart):
        answers = self.net.answers[hart]
        if not answers or answers.popleft() != self.net.ids[hart] or hart not in self.open:
            return
        _, wanted = self.open.pop(hart)
        if wanted is None:
            return
        self.granted += 1
        granule, claim = wanted
        own = self.net.owned(hart, granule)
        if claim is Claim.LOAD:
            assert own
        elif claim is Claim.SC:
            assert own == MODIFIED or not self.net.page(hart)[Hart.RESERVATION]
        else:
            assert own == MODIFIED
        if claim is Claim.SECOND:
            assert self.deaths or self.net.owned(hart, granule - 1) == MODIFIED

    def finish(self):
        """Harts that only give up from now on: everybody gets an answer."""
        net = self.net
        for _ in range(400):
            if not self.open.keys() & self.alive:
                break
            for dead in tuple(self.untold):
                net.send(len(net.harts), Kind.HART_GONE, dead)
            self.untold.clear()
            for who in (*self.alive, len(net.harts)):
                while net.sent[who]:
                    self.bus(False, lambda who=who: net.carry(who))
            for hart in sorted(self.alive):
                while net.answers[hart]:
                    self.receive(hart)
                page = net.page(hart)
                waits = hart in self.open and msgpack.unpackb(self.open[hart][0])[0] == Kind.WAIT
                if waits and not net.sent[hart]:
                    net.send(len(net.harts), Kind.WAKE, hart)
                if hart not in self.open and page[Hart.RECALLS] > page[Hart.RECALLS_DONE]:
                    self.request(hart, None, Kind.GIVE_UP, page[Hart.RECALLS])
        assert not self.open.keys() & self.alive, "somebody waits for ever"


def attack(directory, seed, steps=1500):
    dice = random.Random(seed)
    run = Attack(
        directory, seed, dice.choice((2, 3, 5, 8)), dice.choice(("fifo", "random", "nearest", "lifo"))
    )
    try:
        for _ in range(steps):
            run.step()
        run.finish()
    finally:
        run.net.close()
    return run.deaths, run.granted


@pytest.mark.parametrize("seed", range(6))
def test_nobody_is_taken_from_while_it_runs_whoever_dies(tmp_path, seed):
    attack(tmp_path, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6, 400))
def test_nobody_is_taken_from_while_it_runs_whoever_dies_soak(tmp_path, seed):
    attack(tmp_path, seed, 4000)
