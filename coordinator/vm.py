"""The life of one VM: its segment and its runtime directory, its configuration, its run, its removal.

Owns the state and what is left on the host. Starts no process itself (`coordinator.monitor` does), judges no result
and reads no config.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from bus.events import ring_area
from bus.layout import LINE_EXP, PAGE_EXP, Doorbell, Geometry, Hart, HartStatus, Header, PageState
from bus.messages import Kind
from bus.policies import policy
from bus.recorder import VERSION_SHIFT
from bus.ring import RingReader
from bus.segment import Segment, Words, new_name, unlink
from coordinator.account import messages_so_far
from coordinator.launch import drop, hold
from coordinator.machine import MachineState
from coordinator.monitor import Monitor
from coordinator.result import Ending, VmResult
from coordinator.runtime import RuntimeDirectory, new_path
from coordinator.spec import VmSpec
from hart.clint import read_mtime, write_mtime
from hart.environments import environment
from hart.image import Image
from hart.isa.extensions import effective
from hart.supervisor_view import WORDS
from hart.watch import Hit, Watchpoint, store_watchpoints, stored_hit

RING_BYTES = 1 << 16
EVENT_BYTES = 4 << 20
"""Memory-event ring per hart: some 100,000 events."""


class VirtualMachine:
    """A VM; fulfils `coordinator.machine.Machine`. Call from one thread."""

    def __init__(self, spec: VmSpec) -> None:
        """Make the segment and the socket directory; no process yet.

        Raises:
            OSError: the host has not the memory.

        """
        self.spec = spec
        geometry = Geometry(
            harts=spec.harts,
            ram_bytes=spec.ram_bytes,
            ram_base=spec.ram_base,
            granule_exp=spec.reservation_set_size_exp,
            ring_bytes=RING_BYTES,
            event_bytes=EVENT_BYTES if spec.record_memory is not None or spec.memory_events else 0,
            owned=policy(spec.policy).owned,
        )
        name = new_name()
        self._held = (name, str(new_path(name)))
        hold(*self._held)
        try:
            self._segment = Segment.create(geometry, name)
            header = self._segment.header
            header[Header.EVENTS_MAY_BE_LOST] = spec.events_when_full == "lose"
            if spec.recorded_bytes is not None:
                header[Header.RECORD_FROM], header[Header.RECORD_BYTES] = spec.recorded_bytes
            self._runtime = RuntimeDirectory(name)
        except OSError:
            unlink(name)
            drop(*self._held)
            raise
        self._segment.header[Header.TIMER_FREQUENCY_HZ] = spec.host.timer_frequency_hz
        for page in self._segment.harts:
            page[Hart.MVENDORID] = spec.host.mvendorid
            page[Hart.MARCHID] = spec.host.marchid
            page[Hart.MIMPID] = spec.host.mimpid
        self._environment = environment(spec.environment)
        self._extensions = [spec.host.offers(spec.reservation_set_size_exp)] * spec.harts
        self._image = Image("no program", spec.ram_base, ())
        self._state = MachineState.CREATED
        self._monitor: Monitor | None = None
        self._pauses = 0
        self._watched_pages: set[int] = set()
        """Guest addresses of pages that are watched for watchpoints alone."""
        self._destroyed = False
        self._events: list[RingReader] = []
        self._ended: Callable[[], None] = lambda: None

    @property
    def state(self) -> MachineState:
        """Where it is in its life."""
        if self._monitor is not None and self._monitor.finished.is_set():
            self._state = MachineState.ENDED
        return self._state

    # Configuration

    def has_run(self, hart: int) -> bool:
        """Whether the hart was ever started."""
        return self._state is not MachineState.CREATED

    def get_extensions(self, hart: int) -> frozenset[str]:
        """The extensions switched on."""
        return self._extensions[hart]

    def set_extensions(self, hart: int, extensions: frozenset[str]) -> None:
        """Replace them; before the VM is started."""
        self._extensions[hart] = extensions

    def get_pc(self, hart: int) -> int:
        """Address of the hart's next instruction."""
        return self._segment.harts[hart][Hart.PC]

    def set_pc(self, hart: int, value: int) -> None:
        """Continue at `value`."""
        self._segment.harts[hart][Hart.PC] = value

    def get_x(self, hart: int, register: int) -> int:
        """Integer register 1 to 31."""
        return self._segment.harts[hart][Hart.X + register]

    def set_x(self, hart: int, register: int, value: int) -> None:
        """Set integer register 1 to 31."""
        self._segment.harts[hart][Hart.X + register] = value

    def get_csr(self, hart: int, name: str) -> int:
        """A trap register, by its S-mode name."""
        return self._segment.harts[hart][WORDS[name]]

    def set_csr(self, hart: int, name: str, value: int) -> None:
        """Set a trap register; the hart takes it when it goes on."""
        self._segment.harts[hart][WORDS[name]] = value

    def get_machine_id(self, hart: int, name: str) -> int:
        """What the CSR `mvendorid`, `marchid` or `mimpid` reads."""
        return self._segment.harts[hart][Hart[name.upper()]]

    def set_machine_id(self, hart: int, name: str, value: int) -> None:
        """Set it, before the VM is started."""
        self._segment.harts[hart][Hart[name.upper()]] = value

    def get_time(self) -> int:
        """Mtime."""
        return read_mtime(self._segment.header)

    def set_time(self, value: int) -> None:
        """Let mtime go on from `value`."""
        write_mtime(self._segment.header, value)
        self._timer_changed()

    def get_deadline(self, hart: int) -> int:
        """The hart's mtimecmp."""
        return self._segment.harts[hart][Hart.MTIMECMP]

    def set_deadline(self, hart: int, value: int) -> None:
        """Set the hart's mtimecmp."""
        self._segment.harts[hart][Hart.MTIMECMP] = value
        self._timer_changed()

    def _timer_changed(self) -> None:
        if self._monitor is not None and self.state is not MachineState.ENDED:
            self._monitor.ring_all(Doorbell.INTERRUPT)

    def load(self, image: Image) -> None:
        """Place a program and set the start registers; raises `hart.environments.LoadError`."""
        watched = set(self._watched_pages)
        self._watch_pages(set())
        self._environment.load(self._segment, image)
        self._image = image
        self._watch_pages(watched)

    def set_watchpoints(self, points: Sequence[Watchpoint]) -> None:
        """See `Machine.set_watchpoints`."""
        if self.state not in (MachineState.CREATED, MachineState.PAUSED):
            raise ValueError(f"VM {self.spec.name} is {self.state.value}; to watch memory it must be paused")
        for point in points:
            if not self.spec.holds(point.address, point.size):
                raise ValueError(f"watchpoint: {point.size} bytes at {point.address:#x} do not lie in RAM")
        store_watchpoints(self._segment, points)
        self._watch_pages({page for point in points for page in point.pages()})

    def hits(self) -> tuple[Hit, ...]:
        """See `Machine.hits`."""
        return tuple(hit for page in self._segment.harts if (hit := stored_hit(page)) is not None)

    def _watch_pages(self, wanted: set[int]) -> None:
        """Have harts see accesses to these pages, and to no others but those that the environment watches."""
        for address in sorted(wanted ^ self._watched_pages):
            page = (address - self.spec.ram_base) >> PAGE_EXP
            if address in wanted and self._segment.page_map[page] & PageState.WATCHED:
                continue  # the environment's
            if self._monitor is not None:
                self._monitor.call(Kind.WATCH, address, int(address in wanted))
            else:
                self._segment.page_map[page] ^= PageState.WATCHED
            self._watched_pages ^= {address}

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of RAM; raises MemoryFault outside RAM."""
        return self._segment.memory.read(address, size)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write to RAM, ending reservations it touches; raises MemoryFault outside RAM."""
        self._segment.memory.offset(address, len(data))
        if self._monitor is None or self.state is MachineState.ENDED:
            self._segment.memory.write(address, data)
            return
        at = 0
        while at < len(data):
            size = next(s for s in (8, 4, 2, 1) if not (address + at) % s and at + s <= len(data))
            value = int.from_bytes(data[at : at + size], "little")
            self._monitor.call(Kind.EXTERNAL_WRITE, address + at, size, value)
            at += size

    # What harts note, for whoever made the VM with `memory_events`

    @property
    def decoder_extensions(self) -> frozenset[str]:
        """What the harts' decoders know, all together."""
        return effective(frozenset().union(*self._extensions))

    def write_paused(self, address: int, data: bytes) -> None:
        """Write to RAM while no hart runs, past the policy: no reservation ends, nothing is noted.

        Raises:
            MemoryFault: outside RAM.

        """
        assert self.state is not MachineState.RUNNING, "a running VM's memory is its harts'"
        self._segment.memory.write(address, data)

    def regions_ready(self) -> int:
        """How many regions of native code the compiler has made ready."""
        return self._segment.header[Header.CODE_GENERATION]

    @property
    def messages(self) -> int:
        """How many messages there have been so far, as `VmResult.messages` counts them."""
        return messages_so_far(self._segment)

    def compile_ahead(self, entries: Collection[int], patience_s: float) -> bool:
        """Have native code made that begins at these addresses, of the first tier that harts would ask for.

        Harts load it at their next safepoint, and need not run there in T0 until they find it hot.

        Returns:
            Whether all of it was ready within `patience_s`; false where nothing is compiled.

        """
        return self._monitor is not None and self._monitor.compile_ahead(entries, patience_s)

    def take_events(self) -> tuple[bytes, ...]:
        """Each hart's memory events since the last call, as `bus.events` has them."""
        if not self._events:
            for hart in range(self.spec.harts):
                area = self._segment.event_ring(hart)
                self._events.append(RingReader(ring_area(area)))
                area.release()
        return tuple(ring.read() for ring in self._events)

    def line_versions(self, offset: int, size: int) -> tuple[int, ...]:
        """The version of each line of these bytes of RAM, by offset; while no hart runs."""
        lines = self._segment.lines(offset >> LINE_EXP, -(-size >> LINE_EXP))
        return tuple(word >> VERSION_SHIFT for word in lines)

    def hart_page(self, hart: int) -> Words:
        """What a hart says of itself (`bus.layout.Hart`), for measurements."""
        return self._segment.harts[hart]

    # Running

    def start(self) -> None:
        """Start the bus and the harts.

        Raises:
            coordinator.launch.LaunchError: the fork server was killed meanwhile.

        """
        self._monitor = Monitor(
            self.spec,
            self._segment,
            self._runtime.path,
            list(map(effective, self._extensions)),
            self._image,
            self._ended,
        )
        self._state = MachineState.RUNNING

    def pause(self) -> None:
        """Bring every hart to a safepoint.

        Raises:
            TimeoutError: a hart does not get there; all go on.

        """
        if self._monitor is None or self.state is not MachineState.RUNNING:
            return
        self._pauses += 1
        self._set_pause(self._pauses)
        if not self._await(lambda: all(map(self._stands, self._segment.harts))):
            late = [i for i, page in enumerate(self._segment.harts) if not self._stands(page)]
            self._set_pause(0)
            raise TimeoutError(f"harts {late} reached no safepoint within {self.spec.watch.silence_s} s")
        if not self._monitor.finished.is_set():
            self._state = MachineState.PAUSED

    def _stands(self, page: Words) -> bool:
        return page[Hart.PAUSED] == self._pauses or page[Hart.STATUS] == HartStatus.ENDED

    def resume(self) -> None:
        """Go on after a pause, and behind watchpoints that were hit."""
        if self.state in (MachineState.PAUSED, MachineState.RUNNING):
            for page in self._segment.harts:
                page[Hart.HIT] = 0
            self._set_pause(0)
            self._state = MachineState.RUNNING

    def step(self, hart: int, count: int) -> int:
        """See `Machine.step`; too long is longer than `WatchSettings.silence_s`.

        Raises:
            TimeoutError: the step took too long, or the hart does not answer at all.
            ValueError: the VM is not paused, or there is no such hart or no such number of instructions.

        """
        if self._monitor is None or self.state is not MachineState.PAUSED:
            raise ValueError(f"VM {self.spec.name} is {self.state.value}; to step a hart it must be paused")
        if not 0 <= hart < self.spec.harts or not 0 <= count < 1 << 64:
            raise ValueError(f"hart {hart}, {count} instructions: harts are 0 to {self.spec.harts - 1}")
        page = self._segment.harts[hart]
        if not count or page[Hart.STATUS] == HartStatus.ENDED:
            return 0
        retired, steps = page[Hart.INSTRET], page[Hart.STEPPED]

        def done() -> bool:
            return page[Hart.STEPPED] != steps or page[Hart.STATUS] == HartStatus.ENDED

        page[Hart.HIT] = 0
        page[Hart.STEPS] = count
        self._monitor.ring(hart, Doorbell.PAUSE)
        if not self._await(done):
            page[Hart.STEPS] = 0
            patience = f"within {self.spec.watch.silence_s} s"
            if not self._await(done):
                raise TimeoutError(f"hart {hart} reached no safepoint {patience}")
            raise TimeoutError(
                f"hart {hart} executed {page[Hart.INSTRET] - retired} of {count} instructions {patience}"
            )
        return page[Hart.INSTRET] - retired

    def _await(self, reached: Callable[[], bool]) -> bool:
        """Wait until that is so or the run is over; false if neither comes within the patience of the spec."""
        assert self._monitor is not None
        deadline = time.monotonic() + self.spec.watch.silence_s
        pause_s = 20e-6
        while not reached():
            if self._monitor.finished.wait(pause_s):
                return True
            if time.monotonic() > deadline:
                return False
            pause_s = min(2 * pause_s, 1e-3)
        return True

    def stop(self) -> None:
        """End the run and wait for its end."""
        if self._monitor is not None:
            self._monitor.end(Ending.STOPPED, None, "stopped from outside")
            self._monitor.finished.wait()

    def wait(self, timeout_s: float) -> VmResult | None:
        """The result once the run is over, or None if it is not after `timeout_s`."""
        if self._monitor is None or not self._monitor.finished.wait(timeout_s):
            return None
        return self._monitor.result

    def notify(self, call: Callable[[], None]) -> None:
        """Have `call` called when the run ends, from the thread that watches it; before `start`."""
        self._ended = call

    def progress(self) -> tuple[int, ...]:
        """Instructions retired so far, per hart, some milliseconds old."""
        return tuple(page[Hart.INSTRET] for page in self._segment.harts)

    def processes(self) -> tuple[int, ...]:
        """Process ids of a started VM: the bus, then each hart."""
        return self._monitor.pids() if self._monitor is not None else ()

    def destroy(self) -> None:
        """End everything and free it; idempotent."""
        if self._destroyed:
            return
        self._destroyed = True
        self.stop()
        if self._monitor is not None:
            self._monitor.close()
        for ring in self._events:
            ring.release()
        self._segment.close()
        self._segment.unlink()
        self._runtime.remove()
        drop(*self._held)

    def _set_pause(self, value: int) -> None:
        assert self._monitor is not None
        for page in self._segment.harts:
            page[Hart.PAUSE] = value
        self._monitor.ring_all(Doorbell.PAUSE)
