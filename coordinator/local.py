"""The coordinator inside a command: a control server on a thread of its own, gone when the command ends."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.control.client import ControlClient
from coordinator.control.server import ControlServer
from coordinator.machine import Machine
from coordinator.runtime import base
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine

PATIENCE_S = 120.0
"""How long a client waits for its own coordinator, which is slow only where the host is."""


@contextmanager
def local_coordinator(create: Callable[[VmSpec], Machine] = VirtualMachine) -> Iterator[ControlClient]:
    """Gives a client of a coordinator that nobody else can reach; at the end its VMs are destroyed."""
    directory = Path(tempfile.mkdtemp(prefix="hartstorm-", dir=base("hartstorm-12345678/control.events")))
    try:
        endpoint = f"ipc://{directory / 'control'}"
        with ControlServer(create, endpoint) as server:
            thread = threading.Thread(target=server.serve, name="control-server")
            thread.start()
            try:
                with ControlClient(endpoint, PATIENCE_S) as client:
                    client.list_vms()  # now it is connected
                    shutil.rmtree(directory)  # so that nothing is left even if this process is killed
                    yield client
            finally:
                server.stop()
                thread.join()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
