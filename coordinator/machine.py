"""What the control plane sees of a VM: the interface that the VM's life cycle (`coordinator.vm`) fulfils.

Owns the interface only. All calls come from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from coordinator.result import VmResult
from coordinator.spec import VmSpec
from hart.image import Image
from hart.watch import Hit, Watchpoint


class MachineState(Enum):
    """Where a VM is in its life."""

    CREATED = "created"
    """Exists, has not been started; registers and memory can be set."""
    RUNNING = "running"
    PAUSED = "paused"
    """Every hart stands at a safepoint; registers and memory can be read and set."""
    ENDED = "ended"
    """The run is over; its result can be read, and registers and memory of the harts as they stopped."""


class Machine(Protocol):
    """A VM and its harts.

    Register accessors are called while the state is not RUNNING. No method but `destroy` is called after
    `destroy`.
    """

    @property
    def spec(self) -> VmSpec:
        """What it was asked to be."""

    @property
    def state(self) -> MachineState:
        """Where it is in its life."""

    def has_run(self, hart: int) -> bool:
        """Whether the hart was ever started; never becomes false again."""

    def get_extensions(self, hart: int) -> frozenset[str]:
        """The extensions switched on, by canonical name; bundles are not expanded."""

    def set_extensions(self, hart: int, extensions: frozenset[str]) -> None:
        """Replace them; instructions, misa and all else follow from `hart.isa.extensions.effective`."""

    def get_pc(self, hart: int) -> int:
        """Address of the hart's next instruction."""

    def set_pc(self, hart: int, value: int) -> None:
        """Continue at `value`."""

    def get_x(self, hart: int, register: int) -> int:
        """Integer register 1 to 31."""

    def set_x(self, hart: int, register: int, value: int) -> None:
        """Set integer register 1 to 31."""

    def get_csr(self, hart: int, name: str) -> int:
        """A trap register of the hart, under its S-mode name; see `hart.supervisor_view`."""

    def set_csr(self, hart: int, name: str, value: int) -> None:
        """Set it; the hart takes what the register's fields allow when it goes on."""

    def get_machine_id(self, hart: int, name: str) -> int:
        """What the CSR `mvendorid`, `marchid` or `mimpid` reads; in any state."""

    def set_machine_id(self, hart: int, name: str, value: int) -> None:
        """Set it, before the VM is started."""

    def get_time(self) -> int:
        """Mtime, which the time CSR reads; in any state."""

    def set_time(self, value: int) -> None:
        """Let mtime go on from `value`, for all harts; in any state."""

    def get_deadline(self, hart: int) -> int:
        """The hart's mtimecmp, all ones for none; in any state."""

    def set_deadline(self, hart: int, value: int) -> None:
        """Set it; in any state."""

    def load(self, image: Image) -> None:
        """Place a program in RAM and set every hart's pc to its entry.

        Raises:
            hart.environments.LoadError: it does not fit the VM.

        """

    def start(self) -> None:
        """Start the harts; CREATED becomes RUNNING."""

    def pause(self) -> None:
        """Bring every hart to a safepoint; RUNNING becomes PAUSED, unless the run ends first."""

    def resume(self) -> None:
        """Go on; PAUSED becomes RUNNING. Harts that stand at a watchpoint go on in either state."""

    def set_watchpoints(self, points: Sequence[Watchpoint]) -> None:
        """Replace all watchpoints; the machine is CREATED or PAUSED.

        A hart that makes an access which one of them is for stands behind that instruction until `resume` or `step`;
        the state does not change by that: `pause` stops the others, too. Accesses of all harts count, loads of code
        and of the guest environment do not.

        Raises:
            ValueError: a range outside RAM, or more watchpoints than `bus.layout.MAX_WATCHPOINTS`.

        """

    def hits(self) -> tuple[Hit, ...]:
        """What stopped the harts that stand at a watchpoint; in any state."""

    def step(self, hart: int, count: int) -> int:
        """Let one hart of a PAUSED machine execute exactly `count` instructions; it is paused again afterwards.

        An instruction that traps counts as one: the hart then stands at its trap handler. WFI and Zawrs do not stall.
        Returns how many retired: fewer than `count` only where some trapped, a watchpoint was hit or the hart ended (0
        if it had before).

        Raises:
            TimeoutError: it took too long and was called off; the hart is paused, somewhere on its way.

        """

    def stop(self) -> None:
        """End the run; the state becomes ENDED."""

    def wait(self, timeout_s: float) -> VmResult | None:
        """The result once the run is over, or None if it is not after `timeout_s`; 0 does not block."""

    def notify(self, call: Callable[[], None]) -> None:
        """Have `call` called when the run ends, from whichever thread sees it; before `start`."""

    def progress(self) -> tuple[int, ...]:
        """Instructions retired so far, per hart."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of RAM, in any state; raises bus.access.MemoryFault outside RAM."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write to RAM, ending reservations it touches; raises bus.access.MemoryFault outside RAM."""

    def destroy(self) -> None:
        """End everything and free it: processes, segment, files. Idempotent, from any state."""
