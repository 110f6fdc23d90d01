"""A machine that lives in memory and executes nothing: what control-plane tests drive."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bus.access import Fault, MemoryFault
from coordinator.machine import MachineState
from coordinator.result import Ending, HartResult, VmResult
from coordinator.spec import VmSpec
from hart.image import Image


@dataclass
class FakeMachine:
    """Keeps what it is told. Ends `run_s` seconds after its start, and counts instructions by the clock."""

    spec: VmSpec
    run_s: float = 0.0
    state: MachineState = MachineState.CREATED
    destroyed: bool = False
    started: float | None = None
    result: VmResult | None = None
    ram: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.ram = bytearray(self.spec.ram_bytes)
        self.x = [[0] * 32 for _ in range(self.spec.harts)]
        self.pc = [0] * self.spec.harts
        self.csrs: list[dict[str, int]] = [{} for _ in range(self.spec.harts)]
        self.ids: list[dict[str, int]] = [{} for _ in range(self.spec.harts)]
        self.deadlines = [(1 << 64) - 1] * self.spec.harts
        self.time = 100 * self.spec.host.timer_frequency_hz
        """Stands still."""
        self.extensions: list[frozenset[str]] = [frozenset()] * self.spec.harts

    def has_run(self, hart: int) -> bool:
        return self.started is not None

    def get_extensions(self, hart: int) -> frozenset[str]:
        return self.extensions[hart]

    def set_extensions(self, hart: int, extensions: frozenset[str]) -> None:
        self.extensions[hart] = extensions

    def get_pc(self, hart: int) -> int:
        return self.pc[hart]

    def set_pc(self, hart: int, value: int) -> None:
        self.pc[hart] = value

    def get_x(self, hart: int, register: int) -> int:
        return self.x[hart][register]

    def set_x(self, hart: int, register: int, value: int) -> None:
        self.x[hart][register] = value

    def get_csr(self, hart: int, name: str) -> int:
        return self.csrs[hart].get(name, 0)

    def set_csr(self, hart: int, name: str, value: int) -> None:
        self.csrs[hart][name] = value

    def get_machine_id(self, hart: int, name: str) -> int:
        return self.ids[hart].get(name, getattr(self.spec.host, name))

    def set_machine_id(self, hart: int, name: str, value: int) -> None:
        self.ids[hart][name] = value

    def get_time(self) -> int:
        return self.time

    def set_time(self, value: int) -> None:
        self.time = value

    def get_deadline(self, hart: int) -> int:
        return self.deadlines[hart]

    def set_deadline(self, hart: int, value: int) -> None:
        self.deadlines[hart] = value

    def load(self, image: Image) -> None:
        for chunk in image.chunks:
            self.write_memory(chunk.address, chunk.data + bytes(chunk.zeros))
        self.pc = [image.entry] * self.spec.harts

    def notify(self, call: object) -> None:
        """Its end is a matter of the clock."""

    def start(self) -> None:
        self.started = time.monotonic()
        self.state = MachineState.RUNNING

    def pause(self) -> None:
        self.state = MachineState.PAUSED

    def resume(self) -> None:
        self.state = MachineState.RUNNING

    def step(self, hart: int, count: int) -> int:
        self.pc[hart] += 4 * count
        return count

    def stop(self) -> None:
        self._end(Ending.STOPPED)

    def wait(self, timeout_s: float) -> VmResult | None:
        running = self.state is MachineState.RUNNING and self.started is not None
        if running and time.monotonic() - (self.started or 0) >= self.run_s:
            self._end(Ending.EXIT)
        return self.result

    def progress(self) -> tuple[int, ...]:
        elapsed = 0.0 if self.started is None else time.monotonic() - self.started
        return (int(elapsed * 1e6),) * self.spec.harts

    def read_memory(self, address: int, size: int) -> bytes:
        at = self._offset(address, size)
        return bytes(self.ram[at : at + size])

    def write_memory(self, address: int, data: bytes) -> None:
        at = self._offset(address, len(data))
        self.ram[at : at + len(data)] = data

    def destroy(self) -> None:
        self.destroyed = True

    def _offset(self, address: int, size: int) -> int:
        if not self.spec.holds(address, size):
            raise MemoryFault(Fault.ACCESS, address)
        return address - self.spec.ram_base

    def _end(self, ending: Ending) -> None:
        self.state = MachineState.ENDED
        harts = tuple(
            HartResult(hart, ending, self.pc[hart], tuple(self.x[hart]), 0, 0.0)
            for hart in range(self.spec.harts)
        )
        code = 0 if ending is Ending.EXIT else None
        self.result = VmResult(self.spec.name, ending, code, 0, "", harts, (), b"\xff", 0.0)
