"""A bus without processes: harts' ports call the arbiter directly, so that a test decides every interleaving."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bus.access import ScFailure
from bus.layout import PAGE, Geometry, Header
from bus.link import BusError
from bus.messages import decode_request, encode_request
from bus.order_log import OrderLog
from bus.policies import ArbiterContext, PortContext, Reservations, policy
from bus.quiescence import Quiescence
from bus.segment import Segment

BASE = 0x8000_0000


class NobodyRuns(Quiescence):
    """Harts that make no access but by the test's hand."""

    def runs(self, hart):
        """Not between two calls."""


@dataclass
class DirectLink:
    """What a port takes for its link to the bus."""

    bus: DirectBus
    hart: int
    id: int = 0

    def call(self, kind, *fields):
        self.id += 1
        return self.bus.request(self.hart, kind, self.id, *fields)

    def begin(self, kind, ids, *fields):
        self.id += ids - 1
        self.call(kind, *fields)

    def finish(self, patiently=True):
        return True


@dataclass
class DirectBus:
    """An arbiter over a segment, and a port for each hart. No hart counts as running: granules are tracked at once."""

    harts: int = 3
    rules: Reservations = field(default_factory=Reservations)
    log: Path | None = None
    segment: Segment | None = None

    def __post_init__(self):
        if self.segment is None:
            self.segment = Segment.create(
                Geometry(self.harts, 4 * PAGE, BASE, self.rules.reservation_set_size_exp)
            )
            self.segment.unlink()
        self.answers = {}
        self.lost = []
        self.start_arbiter()
        self.links = [DirectLink(self, hart) for hart in range(self.harts)]
        serial = policy("serial")
        self.ports = [
            serial.port(PortContext(self.segment, hart, link, self.rules))
            for hart, link in enumerate(self.links)
        ]

    def start_arbiter(self):
        """Take over the segment, as a new bus process does."""
        self.order_log = OrderLog(self.log) if self.log else None
        self.arbiter = policy("serial").arbiter(
            ArbiterContext(
                segment=self.segment,
                reservations=self.rules,
                quiescence=NobodyRuns(self.segment),
                answer=lambda hart, request_id, *values: self.answers.update(
                    {(hart, request_id): list(values)}
                ),
                refuse=lambda hart, request_id, text: self.answers.update({(hart, request_id): text}),
                reservation_lost=self.lost.append,
                log=self.order_log,
                later=lambda seconds, then: None,  # serial asks for nothing
            )
        )

    def request(self, hart, kind, request_id, *fields):
        """Send a request over the wire form; its answer's values."""
        self.arbiter.handle(hart, decode_request(encode_request(kind, request_id, *fields)))
        answer = self.answers.pop((hart, request_id))
        if isinstance(answer, str):
            raise BusError(answer)
        return answer

    @property
    def transactions(self):
        return self.segment.header[Header.BUS_TRANSACTIONS]


def cause(failure: int) -> tuple[ScFailure, int] | None:
    """An SC's answer as (cause, hart)."""
    return (ScFailure((failure & 0xFF) - 1), failure >> 8) if failure else None
