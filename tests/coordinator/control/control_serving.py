"""A control server over fake machines, in a thread."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from fake_machine import FakeMachine

from coordinator.control.access import Client, Keyring, Role
from coordinator.control.client import ControlClient
from coordinator.control.server import ControlServer, Curve
from coordinator.machine import Machine
from coordinator.spec import VmSpec


class Serving:
    """A running server and what its tests need to know."""

    def __init__(self, directory: Path) -> None:
        self.run_s = 3600.0
        self.machines: list[FakeMachine] = []
        self.endpoint = f"ipc://{directory}/private/control"
        public, secret = zmq.curve_keypair()
        self.server_key = public
        self.keys = {
            name: zmq.curve_keypair() for name in ("alice", "bob", "watcher", "driver", "root", "stranger")
        }
        roles = {"watcher": Role.OBSERVER, "driver": Role.OPERATOR, "root": Role.ADMIN}
        keyring = Keyring(
            {
                self.keys[name][0].decode(): Client(name, roles.get(name, Role.USER))
                for name in self.keys
                if name != "stranger"
            }
        )
        for port in range(20000, 60000, 2):
            self.tcp = f"tcp://127.0.0.1:{port}"
            try:
                self.server = ControlServer(self._create, self.endpoint, self.tcp, Curve(secret, keyring))
            except zmq.ZMQError as e:
                if e.errno != zmq.EADDRINUSE:
                    raise
            else:
                break

    def _create(self, spec: VmSpec) -> Machine:
        self.machines.append(FakeMachine(spec, self.run_s))
        return self.machines[-1]

    def connect(self, name: str | None = None, timeout_s: float = 5) -> ControlClient:
        """A client: local, or over tcp with the named one's key."""
        if name is None:
            return ControlClient(self.endpoint, timeout_s)
        return ControlClient(self.tcp, timeout_s, self.server_key, self.keys[name])


@contextmanager
def serving() -> Iterator[Serving]:
    with tempfile.TemporaryDirectory() as directory:
        made = Serving(Path(directory))
        thread = threading.Thread(target=made.server.serve)
        thread.start()
        try:
            yield made
        finally:
            made.server.stop()
            thread.join(10)
            made.server.close()
            assert not thread.is_alive()
            assert all(machine.destroyed for machine in made.machines)
            assert list(Path(directory, "private").iterdir()) == []


@pytest.fixture
def served() -> Iterator[Serving]:
    with serving() as made:
        yield made


@pytest.fixture
def client(served: Serving) -> Iterator[ControlClient]:
    with served.connect() as made:
        yield made
