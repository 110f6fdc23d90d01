"""A bus server on a thread of the test, over a real socket, and participants that speak to it."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager

import msgpack
import zmq

from bus.layout import PAGE, Geometry
from bus.link import BusLink
from bus.messages import encode_request
from bus.policies import PortContext, Reservations, policy
from bus.segment import Segment
from bus.server import BusServer, BusSpec

BASE = 0x8000_0000


class LiveBus:
    """A segment, its bus, and links of its harts; harts join when first asked for."""

    def __init__(self, directory, harts=3):
        self.segment = Segment.create(Geometry(harts, 4 * PAGE, BASE))
        self.segment.unlink()
        tokens = tuple(b"t" + secrets.token_bytes(16) for _ in range(harts + 1))
        self.spec = BusSpec(
            self.segment.name, f"ipc://{directory}/bus", tokens[:-1], tokens[-1:], "serial", Reservations()
        )
        self._links = {}
        self.start()
        self.coordinator = self._link(tokens[-1])

    def start(self):
        self.server = BusServer(self.spec, self.segment)
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()

    def stop(self):
        self.server.stop()
        self._thread.join()

    def _link(self, token):
        return self._links.setdefault(token, BusLink(self.spec.endpoint, token, self.segment))

    def link(self, hart):
        token = self.spec.hart_tokens[hart]
        if token not in self._links:
            self._link(token).join()
        return self._links[token]

    def port(self, hart):
        return policy("serial").port(PortContext(self.segment, hart, self.link(hart), Reservations()))

    def close(self):
        for link in self._links.values():
            link.close()
        self.stop()

    @property
    def serving(self):
        return self._thread.is_alive()

    @contextmanager
    def raw(self, routing_id):
        """A bare socket with that routing id."""
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.routing_id = routing_id
        socket.linger = 0
        socket.rcvtimeo = 5000
        socket.connect(self.spec.endpoint)
        try:
            yield socket
        finally:
            context.destroy(0)


def ask(socket, kind, request_id, *fields):
    """Send a request on a bare socket; the whole answer."""
    socket.send(encode_request(kind, request_id, *fields))
    return msgpack.unpackb(socket.recv())
