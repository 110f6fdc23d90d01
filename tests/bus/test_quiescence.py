"""Quiescence over every interleaving of harts and bus: when `then` is called, no direct write is in flight."""

import itertools
from collections import deque

import pytest

from bus.layout import PAGE, Doorbell, Geometry, Hart, Header
from bus.quiescence import Quiescence
from bus.segment import Segment


class World:
    """One granule word, harts that check it before each write, and a bus that makes it tracked."""

    def __init__(self, harts):
        self.segment = Segment.create(Geometry(harts, PAGE))
        self.segment.unlink()
        self.word = self.segment.granules
        self.word[0] = 0
        self.inbox = deque()
        self.answered = set()
        self.in_flight = set()
        self.late_writes = 0
        self.tracked = False
        self.free = {}
        """By hart: the epoch at which it entered native code last, and whether the word was 0 then."""
        self.quiescence = Quiescence(self.segment)
        for hart in range(harts):
            self.quiescence.runs(hart)

    def reset(self, harts):
        self.__dict__.update(inbox=deque(), answered=set(), in_flight=set(), late_writes=0, tracked=False)
        self.free = {}
        self.word[0] = 0
        self.segment.header[Header.QUIESCE_EPOCH] = 0
        self.quiescence = Quiescence(self.segment)
        for hart in range(harts):
            self.segment.harts[hart][Hart.DOORBELL] = 0
            self.quiescence.runs(hart)

    def bus_step(self):
        kind, hart, epoch = self.inbox.popleft()
        if kind == "ack":
            self.quiescence.acknowledged(hart, epoch)
        elif kind == "atomic":  # wants the granule tracked
            if self.quiescence.pending:
                self.quiescence.heard(hart)
            self.quiescence.rests(hart)
            self.word[0] = 1

            def then():
                assert not self.in_flight, "tracked with a direct write in flight"
                self.tracked = True
                self.quiescence.runs(hart)
                self.answered.add(hart)

            self.quiescence.begin(then)
        else:  # any other request, answered at once
            if self.quiescence.pending:
                self.quiescence.heard(hart)
            self.answered.add(hart)

    def check(self, hart):
        if not self.word[0]:
            self.in_flight.add(hart)

    def enter(self, hart):
        """As `hart.jit.engine`: look again only if the epoch has changed."""
        epoch = self.segment.header[Header.QUIESCE_EPOCH]
        if self.free.get(hart, (-1, False))[0] != epoch:
            self.free[hart] = epoch, not self.word[0]

    def rely(self, hart):
        """Decide to write by what was found then."""
        if self.free[hart][1]:
            self.in_flight.add(hart)

    def write(self, hart):
        if hart in self.in_flight:
            assert not self.tracked, "a direct write after tracking"
            self.in_flight.remove(hart)

    def safepoint(self, hart):
        page = self.segment.harts[hart]
        if page[Hart.DOORBELL] & Doorbell.QUIESCE:
            page[Hart.DOORBELL] = 0
            self.inbox.append(("ack", hart, self.segment.header[Header.QUIESCE_EPOCH]))


ATOMIC = ("send atomic", "await")
OTHER = ("send other", "await")
STORE = ("check", "write")
NATIVE = ("enter", "rely", "write", "rely", "write")
PROGRAMS = {
    "one stores": [ATOMIC, (*STORE, "safepoint", *STORE, "safepoint")],
    "one stores, then asks": [ATOMIC, (*STORE, *OTHER, *STORE, "safepoint")],
    "both ask": [(*STORE, *ATOMIC, *STORE), (*STORE, *ATOMIC, *STORE)],
    "stores after the answer": [(*ATOMIC, *STORE), (*STORE, "safepoint", *STORE)],
    "native code stores": [ATOMIC, (*NATIVE, "safepoint", *NATIVE, "safepoint")],
    "native code stores, then asks": [ATOMIC, (*NATIVE, *OTHER, *NATIVE)],
    "native code stores after the answer": [(*ATOMIC, *NATIVE), (*NATIVE, "safepoint", *NATIVE)],
    "both ask after native code": [(*NATIVE, *ATOMIC, *NATIVE), (*NATIVE, *ATOMIC, *NATIVE)],
    "two store": [ATOMIC, (*STORE, "safepoint"), (*STORE, "safepoint")],
}


def enabled(world, programs, at):
    """Who can take a step: each hart, and the bus as the last."""
    for hart, program in enumerate(programs):
        if at[hart] < len(program) and (program[at[hart]] != "await" or hart in world.answered):
            yield hart
    if world.inbox:
        yield len(programs)


def step(world, programs, at, who):
    if who == len(programs):
        world.bus_step()
        return
    action = programs[who][at[who]]
    at[who] += 1
    if action.startswith("send"):
        world.answered.discard(who)
        world.inbox.append((action.split()[1], who, 0))
    elif action == "await":
        world.answered.discard(who)
    else:
        getattr(world, action)(who)


def interleavings(world, programs):
    """Run every schedule, by replaying its prefix and going on with the first that can."""
    pending = [()]
    while pending:
        prefix = pending.pop()
        world.reset(len(programs))
        at = [0] * len(programs)
        for who in prefix:
            step(world, programs, at, who)
        schedule = list(prefix)
        while ready := list(enabled(world, programs, at)):
            pending += [(*schedule, other) for other in ready[1:]]
            step(world, programs, at, ready[0])
            schedule.append(ready[0])
        # Harts that go on pass safepoints; then everybody must have been answered.
        for _ in range(3):
            for hart in range(len(programs)):
                world.safepoint(hart)
            while world.inbox:
                world.bus_step()
        yield schedule, at


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_write_is_in_flight_when_all_are_quiescent(name):
    programs = PROGRAMS[name]
    world = World(len(programs))
    schedules = set()
    for schedule, _ in itertools.islice(interleavings(world, programs), 20_000):
        schedules.add(tuple(schedule))
        assert world.tracked, f"nobody says that all are quiescent, after {schedule}"
    assert len(schedules) > 20


def test_the_model_finds_a_missing_check():
    """If the bus did not wait for a hart that runs, the model would show the write in flight."""
    programs = PROGRAMS["one stores"]
    world = World(2)

    def explore():
        for _ in interleavings(world, programs):
            pass

    reset = world.reset
    world.reset = lambda harts: (reset(harts), world.quiescence.rests(1))
    with pytest.raises(AssertionError, match=r"tracked with a direct write in flight|direct write after"):
        explore()


def test_the_model_finds_a_hart_that_enters_native_code_without_a_look():
    programs = PROGRAMS["native code stores, then asks"]
    world = World(2)
    world.enter = lambda hart: world.free.setdefault(hart, (0, not world.word[0]))
    with pytest.raises(AssertionError, match=r"tracked with a direct write in flight|direct write after"):
        for _ in interleavings(world, programs):
            pass
