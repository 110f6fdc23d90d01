"""The life of one VM: its segment, its bus and hart processes, from creation to removal.

Owns the processes and what is left on the host. Judges no result and reads no config.

A monitor thread watches every process of a running VM, because the thread that calls in may be busy or blocked: it
drains consoles, sees deaths, enforces the time limit, restarts the bus where that is allowed, and ends the run. What
ends a run first decides its ending.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess

from bus.access import AtomicKind, MemoryFault, ScFailure
from bus.doorbell import Ringer
from bus.layout import Doorbell, Geometry, Hart, HartEnding, HartStatus, Header
from bus.link import BusError, BusLink, BusLost
from bus.messages import Kind
from bus.policies import Reservations, policy
from bus.ring import RingReader
from bus.segment import Segment
from bus.server import BusSpec
from bus.server import run as run_bus
from coordinator.launch import launch
from coordinator.machine import MachineState
from coordinator.result import Ending, HartResult, HotAddress, TrapReport, VmResult
from coordinator.runtime import RuntimeDirectory
from coordinator.spec import TierName, VmSpec
from hart.causes import cause_name
from hart.environments import environment
from hart.image import Image
from hart.isa.decoder import Decoder
from hart.isa.disassembler import describe
from hart.isa.extensions import effective
from hart.jit.cache import default_directory
from hart.jit.codegen import Tier
from hart.jit.service import ServiceSpec
from hart.jit.service import run as run_service
from hart.process import HartSpec
from hart.process import run as run_hart

RING_BYTES = 1 << 16
GRACE_S = 1.0
"""How long processes have to end by themselves before they are killed."""
START_TIMEOUT_S = 20.0

TIERS: dict[TierName, tuple[Tier, ...]] = {
    "auto": (Tier.T1, Tier.T2),
    "interpreter": (),
    "t1": (Tier.T1,),
    "t2": (Tier.T2,),
}

_ENDINGS = {
    HartEnding.EXIT: Ending.EXIT,
    HartEnding.TRAP: Ending.TRAP,
    HartEnding.PARKED: Ending.PARKED,
    HartEnding.LIMIT: Ending.LIMIT,
    HartEnding.STOPPED: Ending.STOPPED,
}


class VirtualMachine:
    """A VM; fulfils `coordinator.machine.Machine`. Call from one thread."""

    def __init__(self, spec: VmSpec) -> None:
        """Make the segment and the socket directory; no process yet.

        Raises:
            OSError: the host has not the memory.

        """
        self.spec = spec
        self._segment = Segment.create(
            Geometry(
                harts=spec.harts,
                ram_bytes=spec.ram_bytes,
                ram_base=spec.ram_base,
                granule_exp=spec.reservation_set_size_exp,
                ring_bytes=RING_BYTES,
            )
        )
        self._runtime = RuntimeDirectory(self._segment.name)
        self._environment = environment(spec.environment)
        self._extensions = spec.host.offers(spec.reservation_set_size_exp)
        self._image = Image("no program", spec.ram_base, ())
        self._state = MachineState.CREATED
        self._monitor: _Monitor | None = None
        self._destroyed = False

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
        """The extensions switched on; all harts of a VM have the same."""
        return self._extensions

    def set_extensions(self, hart: int, extensions: frozenset[str]) -> None:
        """Replace them; before the VM is started."""
        self._extensions = extensions

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

    def load(self, image: Image) -> None:
        """Place a program and set the start registers; raises `hart.environments.LoadError`."""
        self._environment.load(self._segment, image)
        self._image = image

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

    # Running

    def start(self) -> None:
        """Start the bus and the harts."""
        self._state = MachineState.RUNNING
        self._monitor = _Monitor(
            self.spec,
            self._segment,
            self._runtime,
            effective(self._extensions),
            self._environment.name,
            self._image,
        )

    def pause(self) -> None:
        """Bring every hart to a safepoint.

        Raises:
            TimeoutError: a hart does not get there; all go on.

        """
        if self._monitor is None or self.state is not MachineState.RUNNING:
            return
        self._set_pause(1)
        deadline = time.monotonic() + self.spec.watch.silence_s
        while not all(
            page[Hart.STATUS] in (HartStatus.PAUSED, HartStatus.ENDED) for page in self._segment.harts
        ):
            if self._monitor.finished.is_set():
                return
            if time.monotonic() > deadline:
                slow = [i for i, p in enumerate(self._segment.harts) if p[Hart.STATUS] != HartStatus.PAUSED]
                self._set_pause(0)
                raise TimeoutError(f"harts {slow} reached no safepoint within {self.spec.watch.silence_s} s")
            time.sleep(0.001)
        self._state = MachineState.PAUSED

    def resume(self) -> None:
        """Go on after a pause."""
        if self.state is MachineState.PAUSED:
            self._set_pause(0)
            self._state = MachineState.RUNNING

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
        self._segment.close()
        self._segment.unlink()
        self._runtime.remove()

    def _set_pause(self, value: int) -> None:
        assert self._monitor is not None
        for page in self._segment.harts:
            page[Hart.PAUSE] = value
        self._monitor.ring_all(Doorbell.PAUSE)


class _Monitor:
    """The processes of a started VM, and the thread that watches them."""

    def __init__(
        self,
        spec: VmSpec,
        segment: Segment,
        runtime: RuntimeDirectory,
        decoder_extensions: frozenset[str],
        environment_name: str,
        image: Image,
    ) -> None:
        self._spec = spec
        self._segment = segment
        self._image = image
        self._decoder_extensions = decoder_extensions
        self.finished = threading.Event()
        self.result: VmResult | None = None
        self._first: tuple[Ending, int | None, str] | None = None
        self._lock = threading.Lock()
        self._start = time.monotonic()
        reservations = Reservations(
            reservation_set_size_exp=spec.reservation_set_size_exp,
            require_exact_reservation_addr=spec.require_exact_reservation_addr,
            invalidate_on_same_hart_store=spec.invalidate_on_same_hart_store,
            invalidate_on_trap=spec.invalidate_on_trap,
            spurious_sc_failure=spec.spurious_sc_failure,
            seed=spec.seed,
        )
        endpoint = f"ipc://{runtime.path / 'bus'}"
        tokens = tuple(secrets.token_bytes(16) for _ in range(spec.harts + 1))
        # ZeroMQ reserves routing ids that begin with a zero byte.
        tokens = tuple(b"h" + token for token in tokens)
        self._bus_spec = BusSpec(
            segment=segment.name,
            endpoint=endpoint,
            directory=str(runtime.path),
            hart_tokens=tokens[:-1],
            coordinator_token=tokens[-1],
            policy=spec.policy,
            reservations=reservations,
            order_log=spec.record_order,
        )
        self._console = bytearray()
        self._rings = [(area, RingReader(area)) for area in map(segment.ring, range(spec.harts))]
        self._bus = launch(run_bus, self._bus_spec, f"{spec.name}-bus")
        self._link_lock = threading.Lock()
        self._link_deadline = time.monotonic() + START_TIMEOUT_S
        self._link = BusLink(endpoint, tokens[-1], segment, self._bus_is_gone)
        self._ringer = Ringer(segment, self._link)
        self._dead: set[int] = set()
        self.call(Kind.PING)
        tiers = _native_tiers(spec)
        cache = str(default_directory() if spec.cache is None else spec.cache)
        self._service: BaseProcess | None = None
        if tiers:
            service = ServiceSpec(segment.name, str(runtime.path), decoder_extensions, spec.policy, cache)
            self._service = launch(run_service, service, f"{spec.name}-compiler")
        anchors = self._image.symbols
        symbols = {
            name: anchors[name].address for name in environment(environment_name).anchors if name in anchors
        }
        self._harts = [
            launch(
                run_hart,
                HartSpec(
                    segment=segment.name,
                    endpoint=endpoint,
                    directory=str(runtime.path),
                    token=tokens[i],
                    hart=i,
                    extensions=decoder_extensions,
                    policy=spec.policy,
                    reservations=reservations,
                    environment=environment_name,
                    symbols=symbols,
                    max_instructions=spec.max_instructions,
                    trace=_trace_file(spec, i),
                    tiers=tiers,
                    cache=cache,
                ),
                f"{spec.name}-hart{i}",
            )
            for i in range(spec.harts)
        ]
        self._wake_reader: Connection
        self._wake_reader, self._wake_writer = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._watch, name=f"{spec.name}-monitor", daemon=True)
        self._thread.start()

    def pids(self) -> tuple[int, ...]:
        """Bus, then harts."""
        return tuple(p.pid or 0 for p in (self._bus, *self._harts))

    def call(self, kind: Kind, *fields: int) -> list[int]:
        """Ask the bus; raises BusLost if it has ended."""
        with self._link_lock:
            self._link_deadline = time.monotonic() + START_TIMEOUT_S
            return self._link.call(kind, *fields)

    def ring_all(self, bits: Doorbell) -> None:
        """Ring every hart's doorbell."""
        with self._link_lock:
            for hart in range(self._spec.harts):
                self._ringer.ring(hart, bits)

    def end(self, ending: Ending, hart: int | None, detail: str) -> None:
        """End the run for this reason, unless it has ended for another; any thread."""
        with self._lock:
            if self._first is None:
                self._first = (ending, hart, detail)
                self._wake_writer.send_bytes(b"e")

    def _bus_is_gone(self) -> bool:
        return not self._bus.is_alive() or time.monotonic() > self._link_deadline

    # The thread

    def _watch(self) -> None:
        spec = self._spec
        alive: dict[int, BaseProcess] = dict(enumerate(self._harts))
        deadline = None if spec.timeout_s is None else self._start + spec.timeout_s
        while self._first is None:
            patience = spec.watch.poll_interval_s
            if deadline is not None:
                patience = min(patience, max(0.0, deadline - time.monotonic()))
            ready = wait(
                [self._bus.sentinel, self._wake_reader, *(p.sentinel for p in alive.values())], patience
            )
            self._drain()
            for hart in [h for h, p in alive.items() if p.sentinel in ready]:
                del alive[hart]
                self._hart_ended(hart, self._harts[hart])
            if self._bus.sentinel in ready:
                self._bus_ended()
            if self._first is None:
                self._look(alive, deadline)
        self._finish(alive)

    def _look(self, alive: dict[int, BaseProcess], deadline: float | None) -> None:
        pages = self._segment.harts
        if not alive:
            self.end(*self._last_ending())
        elif all(pages[h][Hart.STATUS] == HartStatus.PARKED for h in alive):
            self.end(Ending.PARKED, min(alive), "every hart waits with no interrupt enabled")
        elif deadline is not None and time.monotonic() >= deadline:
            where = ", ".join(
                f"hart {h} at {self._image.symbolize(pages[h][Hart.PC])}" for h in sorted(alive)
            )
            self.end(Ending.WATCHDOG, None, f"time limit of {self._spec.timeout_s} s: {where}")

    def _last_ending(self) -> tuple[Ending, int | None, str]:
        """The ending of a VM whose harts have all ended without one of them ending it."""
        endings = {h: self._hart_ending(h) for h in range(self._spec.harts)}
        for ending in (Ending.HART_DIED, Ending.LIMIT, Ending.PARKED, Ending.STOPPED):
            for hart, seen in endings.items():
                if seen is ending:
                    return ending, hart, f"hart {hart}: {ending.value}"
        return Ending.STOPPED, None, "every hart has ended"

    def _hart_ended(self, hart: int, process: BaseProcess) -> None:
        process.join()
        page = self._segment.harts[hart]
        if page[Hart.STATUS] != HartStatus.ENDED:
            self._dead.add(hart)
            code = process.exitcode or 0
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            where = self._image.symbolize(page[Hart.PC])
            detail = f"hart {hart}'s process ended {how}, last seen at {where}"
            if self._spec.on_hart_death == "stop":
                self.end(Ending.HART_DIED, hart, detail)
            else:
                with contextlib.suppress(BusLost, BusError):
                    self.call(Kind.HART_GONE, hart)
            return
        ending = page[Hart.ENDING]
        if ending == HartEnding.EXIT:
            by = self._segment.header[Header.EXIT_TICKET] - 1
            self.end(Ending.EXIT, by, f"exit code {self._segment.header[Header.EXIT_VALUE]} by hart {by}")
        elif ending == HartEnding.TRAP:
            self.end(Ending.TRAP, hart, f"hart {hart} took a trap with no handler set")

    def _bus_ended(self) -> None:
        self._bus.join()
        if self._spec.on_bus_death == "restart":
            self._bus = launch(run_bus, self._bus_spec, f"{self._spec.name}-bus")
            return
        code = self._bus.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self.end(Ending.BUS_DIED, None, f"the bus process ended {how}")

    def _drain(self) -> None:
        for _, ring in self._rings:
            self._console += ring.read()

    def _finish(self, alive: dict[int, BaseProcess]) -> None:
        self.ring_all(Doorbell.STOP)
        deadline = time.monotonic() + GRACE_S
        while alive and (left := deadline - time.monotonic()) > 0:
            ready = wait([p.sentinel for p in alive.values()], min(left, self._spec.watch.poll_interval_s))
            self._drain()
            alive = {h: p for h, p in alive.items() if p.sentinel not in ready}
        for process in alive.values():
            process.kill()
        for process in self._harts:
            process.join()
        self._drain()
        rows: list[list[int]] = []
        with contextlib.suppress(BusLost, BusError):
            rows = self._statistics()
        helpers = [self._bus] if self._service is None else [self._bus, self._service]
        for process in helpers:
            process.terminate()
        for process in helpers:
            process.join(GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._link.close(0)
        for area, ring in self._rings:
            ring.release()
            area.release()
        self.result = self._account(rows)
        for process in (*helpers, *self._harts):
            process.close()
        self.finished.set()

    def _statistics(self) -> list[list[int]]:
        rows: list[list[int]] = []
        while True:
            total, piece = self.call(Kind.STATISTICS, len(rows))
            rows += piece  # type: ignore[arg-type]
            if len(rows) >= total or not piece:
                return rows

    # The account

    def _account(self, rows: list[list[int]]) -> VmResult:
        assert self._first is not None
        ending, hart, detail = self._first
        return VmResult(
            name=self._spec.name,
            ending=ending,
            exit_code=self._segment.header[Header.EXIT_VALUE] if ending is Ending.EXIT else None,
            hart=hart,
            detail=detail,
            harts=tuple(self._hart_result(i) for i in range(self._spec.harts)),
            hot=self._hot(rows),
            console=bytes(self._console),
            wall_s=time.monotonic() - self._start,
        )

    def _hart_ending(self, hart: int) -> Ending:
        page = self._segment.harts[hart]
        if hart in self._dead:
            return Ending.HART_DIED
        return _ENDINGS.get(HartEnding(page[Hart.ENDING]), Ending.STOPPED)

    def _hart_result(self, hart: int) -> HartResult:
        page = self._segment.harts[hart]
        ending = self._hart_ending(hart)
        return HartResult(
            hart=hart,
            ending=ending,
            pc=page[Hart.PC],
            x=tuple(page[Hart.X + i] for i in range(32)),
            instret=page[Hart.INSTRET],
            wall_s=page[Hart.WALL_NS] / 1e9,
            trap=self._trap(hart) if ending is Ending.TRAP else None,
            traps_taken=page[Hart.TRAP_COUNT],
            atomics={k: page[Hart.ATOMICS + k] for k in AtomicKind if page[Hart.ATOMICS + k]},
            sc_failures={f: page[Hart.SC_FAILURES + f] for f in ScFailure if page[Hart.SC_FAILURES + f]},
        )

    def _trap(self, hart: int) -> TrapReport:
        page = self._segment.harts[hart]
        pc = page[Hart.PC]
        memory = self._segment.memory
        try:
            bits = memory.load(pc, 2)
            if bits & 3 == 3:
                bits |= memory.load(pc + 2, 2) << 16
            decoder = Decoder(self._decoder_extensions)
            text = describe(bits, pc, decoder=decoder, symbolize=self._image.symbolize)
        except MemoryFault as fault:
            text = str(fault)
        cause = page[Hart.TRAP_CAUSE]
        return TrapReport(cause, cause_name(cause), page[Hart.TRAP_TVAL], pc, text)

    def _hot(self, rows: list[list[int]]) -> tuple[HotAddress, ...]:
        by_address: dict[int, dict[int, dict[AtomicKind, int]]] = {}
        for address, hart, kind, count in rows:
            by_address.setdefault(address, {}).setdefault(hart, {})[AtomicKind(kind)] = count
        order = sorted(by_address, key=lambda a: -sum(sum(k.values()) for k in by_address[a].values()))
        return tuple(
            HotAddress(a, self._image.symbolize(a), by_address[a])
            for a in order[: self._spec.watch.hot_addresses]
        )


def _native_tiers(spec: VmSpec) -> tuple[Tier, ...]:
    """None where the VM is traced, which is the interpreter's, or where its policy has no native code."""
    if spec.trace is not None or policy(spec.policy).lowering is None:
        return ()
    return TIERS[spec.tier]


def _trace_file(spec: VmSpec, hart: int) -> str | None:
    """One file per hart: `FILE` for a VM of one hart, else `FILE.0`, `FILE.1`, ..."""
    if spec.trace is None or spec.harts == 1:
        return spec.trace
    return f"{spec.trace}.{hart}"
