"""The wake-up handshake over every interleaving of waiter, ringer and bus."""

import pytest

from bus.layout import PAGE, Doorbell, Geometry, Hart
from bus.segment import Segment


class Model:
    """The steps of `bus.doorbell` and of the bus's WAIT and WAKE; each is one access or one message."""

    def __init__(self, bus_looks=True):
        self.bell = self.waiting = 0
        self.to_bus = {"waiter": [], "ringer": []}
        self.open_wait = self.answered = self.slept = False
        self.seen_bell = None
        self.bus_looks = bus_looks
        self.buffer = []
        self.programs = {
            "waiter": [self.set_waiting, self.read_bell, self.sleep],
            "ringer": [self.ring, self.wake],
        }

    def set_waiting(self):
        self.buffer.append("waiting")  # a store buffer: others see it when it drains

    def drain(self):
        if self.buffer:
            self.buffer.clear()
            self.waiting = 1

    def read_bell(self):
        self.seen_bell = self.bell

    def sleep(self):
        self.drain()  # sending is a system call
        if not self.seen_bell:
            self.slept = True
            self.to_bus["waiter"].append("WAIT")

    def ring(self):
        self.bell = 1

    def wake(self):
        if self.waiting:
            self.to_bus["ringer"].append("WAKE")

    def bus(self, sender):
        if self.to_bus[sender].pop(0) == "WAIT":
            if self.bell and self.bus_looks:
                self.answered = True
            else:
                self.open_wait = True
        elif self.open_wait:
            self.open_wait, self.answered = False, True

    def ready(self):
        for program in self.programs.values():
            if program:
                yield lambda program=program: program.pop(0)()
        for sender, messages in self.to_bus.items():
            if messages:
                yield lambda sender=sender: self.bus(sender)


def outcomes(bus_looks):
    """Whether the waiter comes back, for every schedule."""
    pending = [[]]
    while pending:
        prefix = pending.pop()
        model, schedule = Model(bus_looks), list(prefix)
        for choice in prefix:
            list(model.ready())[choice]()
        while ready := list(model.ready()):
            pending += [[*schedule, other] for other in range(1, len(ready))]
            ready[0]()
            schedule.append(0)
        yield not model.slept or model.answered


def test_no_wake_up_is_lost():
    results = list(outcomes(bus_looks=True))
    assert len(results) > 10
    assert all(results)


def test_one_would_be_if_the_bus_did_not_look():
    assert not all(outcomes(bus_looks=False))


def test_the_code_does_the_steps_of_the_model():
    """In the model's order: waiting is announced before the bell is read; the bell is set before waiting is read."""
    from bus.doorbell import Ringer, wait_unless_rung
    from bus.messages import Kind

    segment = Segment.create(Geometry(1, PAGE))
    segment.unlink()
    page = segment.harts[0]
    seen = []

    class Link:
        def wait(self, hart, seconds, reservation):
            seen.append(("wait", page[Hart.WAITING]))

        def post(self, kind, hart):
            seen.append((kind, page[Hart.DOORBELL]))

    ringer = Ringer(segment, Link())
    wait_unless_rung(page, 0, Link(), None, False)
    assert (seen, page[Hart.WAITING]) == ([("wait", 1)], 0)
    ringer.ring(0, Doorbell.STOP)
    assert len(seen) == 1, "nobody waits: no message"
    wait_unless_rung(page, 0, Link(), None, False)
    assert len(seen) == 1, "rung already"
    page[Hart.WAITING] = 1
    ringer.ring(0, Doorbell.PAUSE)
    assert seen[1:] == [(Kind.WAKE, Doorbell.STOP | Doorbell.PAUSE)]


@pytest.mark.parametrize("bits", Doorbell)
def test_bits_add_up(bits):
    from bus.doorbell import Ringer

    segment = Segment.create(Geometry(2, PAGE))
    segment.unlink()
    ringer = Ringer(segment, None)
    ringer.ring(1, Doorbell.STOP)
    ringer.ring(1, bits)
    assert segment.harts[1][Hart.DOORBELL] == Doorbell.STOP | bits
    assert segment.harts[0][Hart.DOORBELL] == 0
