"""The processes of a running VM, and the thread that watches them from its start to its end.

Owns the bus, hart and compiler processes and the ending: what ends a run first decides it. Judges no result.

A thread of its own, because the one that calls in may be busy or blocked: it drains consoles, sees deaths, enforces
the time limit, restarts the bus where that is allowed, and ends the run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import zmq

from bus.doorbell import Ringer
from bus.handover import Handover
from bus.layout import Doorbell, Hart, HartEnding, HartStatus, Header
from bus.link import BusError, BusLink, BusLost
from bus.messages import Kind
from bus.object_files import default_directory
from bus.policies import Reservations, policy
from bus.recording_file import DrainSpec, Facts, begin
from bus.recording_file import run as run_drainer
from bus.ring import RingReader
from bus.segment import Segment
from bus.server import BusSpec
from bus.server import run as run_bus
from coordinator.account import busy_granules, hart_ending, hart_result, hot_addresses
from coordinator.contention import failed_scs, stuck_loops
from coordinator.launch import LaunchError, Process, keeps_processes, launch, wait
from coordinator.result import Ending, VmResult
from coordinator.spec import TierName, VmSpec
from hart.environments import environment
from hart.image import Image
from hart.jit.codegen import Tier
from hart.jit.instruments import Instrument
from hart.jit.shared import ServiceSpec, SharedCompiler, run_service
from hart.process import HartSpec, profile_path
from hart.process import run as run_hart
from hart.profile import CodeTime
from hart.profile import read as read_profile

GRACE_S = 1.0
"""How long harts have to end by themselves before they are killed."""
CALL_S = 0.4
"""How long the bus has to answer the watching thread, which has other things to do."""
COMPILER_S = 0.05
"""How long the compile service has to end by itself: it may be at work."""
PATIENCE_S = 20.0
"""How long the bus has to answer the coordinator."""
RECORDING_S = 60.0
"""How long the recorder has to write what is left once the harts have ended."""

_COMPILING_POLL_S = 0.002

TIERS: dict[TierName, tuple[Tier, ...]] = {
    "auto": (Tier.T1, Tier.T2),
    "interpreter": (),
    "t1": (Tier.T1,),
    "t2": (Tier.T2,),
}
_STANDING = (HartStatus.WAITING, HartStatus.PARKED, HartStatus.PAUSED)
"""What a hart does while it passes no safepoint because it need not."""


class Monitor:
    """A running VM."""

    def __init__(
        self,
        spec: VmSpec,
        segment: Segment,
        directory: Path,
        extensions: Sequence[frozenset[str]],
        image: Image,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Start every process.

        Args:
            spec: what the VM shall be.
            segment: its memory.
            directory: its own, for sockets.
            extensions: what each hart's decoder knows.
            image: its program.
            ended: called when the run is over, from the thread that watches it.

        Raises:
            LaunchError: the fork server was killed meanwhile.

        """
        self._spec = spec
        self._segment = segment
        self._directory = str(directory)
        self._image = image
        self._ended = ended
        self._extensions = extensions
        self._extension_sets = tuple(dict.fromkeys(extensions))
        self.finished = threading.Event()
        self.result: VmResult | None = None
        """Once it is finished."""
        self._first: tuple[Ending, int | None, str] | None = None
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._console = bytearray()
        self._rings: list[tuple[memoryview, RingReader]] = []
        # ZeroMQ reserves routing ids that begin with a zero byte.
        tokens = tuple(b"t" + secrets.token_bytes(16) for _ in range(spec.harts + 2))
        self._bus_spec = BusSpec(
            segment=segment.name,
            endpoint=f"ipc://{directory / 'bus'}",
            hart_tokens=tokens[:-2],
            coordinator_tokens=tokens[-2:],
            policy=spec.policy,
            reservations=_reservations(spec),
            order_log=spec.record_order,
            handover=Handover(spec.hold_instructions, spec.handover_order, spec.seed),
        )
        self._untold: set[int] = set()
        """Harts that have ended and of which the bus has not been told."""
        self._processes: list[Process] = []
        """All that were ever started."""
        self._service: Process | None = None
        self._compiler_ended = ""
        """How it ended, if it did before the run."""
        self._compiler: SharedCompiler | None = None
        """Our own end of the compile service, once it is wanted."""
        try:
            self._bus = self._launch_bus()
            self._drainer = self._record()
            harts = [self._launch(run_hart, s, f"hart{s.hart}") for s in self._hart_specs(directory)]
            if self._tiers:
                service = ServiceSpec(
                    segment=segment.name,
                    directory=str(directory),
                    extension_sets=self._extension_sets,
                    policy=spec.policy,
                    reservations=self._bus_spec.reservations,
                    cache=self._cache,
                    program=image.digest() if image.chunks else "",
                    tiers=self._tiers,
                )
                self._service = self._launch(run_service, service, "compiler")
            # Loads LLVM: while the processes start.
            self._rings = [(area, RingReader(area)) for area in map(segment.ring, range(spec.harts))]
            for process in self._processes:
                process.started()
        except BaseException:  # Ctrl-C, too: who destroys the VM must find nothing in use
            self._release()
            raise
        self._harts: dict[int, Process] = dict(enumerate(harts))
        self._deadline = self._own_deadline = 0.0
        shared: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._link = BusLink(self._bus_spec.endpoint, tokens[-2], segment, self._is_caller_abandoned, shared)
        self._own_link = BusLink(self._bus_spec.endpoint, tokens[-1], segment, self._is_abandoned, shared)
        self._ringer = Ringer(segment, self._link)
        self._own_ringer = Ringer(segment, self._own_link)
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._watch, name=f"{spec.name}-monitor", daemon=True)
        self._thread.start()

    # For the thread that owns the VM

    def pids(self) -> tuple[int, ...]:
        """Bus, then harts."""
        return (self._bus.pid, *(p.pid for p in self._harts.values()))

    def call(self, kind: Kind, *fields: int) -> list[int]:
        """Ask the bus.

        Raises:
            BusLost: it has ended, or does not answer for PATIENCE_S, or the run has ended.

        """
        self._deadline = time.monotonic() + PATIENCE_S
        return self._link.call(kind, *fields)

    def ring(self, hart: int, bits: Doorbell) -> None:
        """Ring a hart's doorbell."""
        self._ringer.ring(hart, bits)

    def ring_all(self, bits: Doorbell) -> None:
        """Ring every hart's doorbell."""
        for hart in range(self._spec.harts):
            self.ring(hart, bits)

    def end(self, ending: Ending, hart: int | None, detail: str) -> None:
        """End the run for this reason, unless it has ended for another; any thread."""
        with self._lock:
            if self._first is None:
                self._first = (ending, hart, detail)
                with contextlib.suppress(OSError):
                    os.write(self._wake_writer, b"e")

    def close(self) -> None:
        """Let go of the bus; after the run has finished."""
        self._thread.join()
        if self._compiler is not None:
            self._compiler.close()
        self._link.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def compile_ahead(self, entries: Collection[int], patience_s: float) -> bool:
        """See `VirtualMachine.compile_ahead`."""
        if not self._tiers:
            return False
        if self._compiler is None:
            self._compiler = SharedCompiler(self._segment, self._directory, self._cache, 0)
        missing = set(entries)
        for entry in entries:
            self._compiler.request(entry, self._tiers[0], Instrument.NONE)
        deadline = time.monotonic() + patience_s
        while True:
            missing -= {region.entry for region in self._compiler.arrivals()}
            if not missing or self.finished.is_set() or time.monotonic() > deadline:
                return not missing
            time.sleep(_COMPILING_POLL_S)

    def _is_caller_abandoned(self) -> bool:
        restarts = self._spec.on_bus_death == "restart"
        return (
            self._first is not None
            or time.monotonic() > self._deadline
            or (self._bus.has_ended() and not restarts)
        )

    # Starting

    @property
    def _tiers(self) -> tuple[Tier, ...]:
        """A traced hart is interpreted: there is nothing to compile."""
        if self._spec.trace is not None or policy(self._spec.policy).lowering is None:
            return ()
        return TIERS[self._spec.tier]

    @property
    def _cache(self) -> str:
        return str(default_directory() if self._spec.cache is None else self._spec.cache)

    def _launch_bus(self) -> Process:
        """The bus, at an endpoint that is there before it runs: harts that are faster need not try again."""
        path = self._bus_spec.endpoint.removeprefix("ipc://")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
            listener.bind(path)
            listener.listen(self._spec.harts + len(self._bus_spec.coordinator_tokens))
            return self._launch(run_bus, self._bus_spec, "bus", [listener.fileno()])

    def _launch(
        self, target: Callable[..., object], spec: object, role: str, files: Sequence[int] = ()
    ) -> Process:
        process = launch(target, spec, f"{self._spec.name}-{role}", files)
        self._processes.append(process)
        return process

    def _hart_specs(self, directory: Path) -> Iterator[HartSpec]:
        spec = self._spec
        symbols = self._image.symbols
        anchors = {n: symbols[n].address for n in environment(spec.environment).anchors if n in symbols}
        for hart, token in enumerate(self._bus_spec.hart_tokens):
            yield HartSpec(
                segment=self._segment.name,
                endpoint=self._bus_spec.endpoint,
                directory=str(directory),
                token=token,
                hart=hart,
                extensions=self._extensions[hart],
                extension_set=self._extension_sets.index(self._extensions[hart]),
                policy=spec.policy,
                reservations=self._bus_spec.reservations,
                environment=spec.environment,
                symbols=anchors,
                max_instructions=spec.max_instructions,
                profile=spec.profile,
                trace=_trace_file(spec, hart),
                tiers=self._tiers,
                cache=self._cache,
                handover=self._bus_spec.handover,
            )

    def _record(self) -> Process | None:
        """The process that writes the memory events to their file, if they are recorded; before any hart starts."""
        spec = self._spec
        if spec.record_memory is None:
            return None
        facts = Facts(
            name=spec.name,
            harts=spec.harts,
            ram_base=spec.ram_base,
            ram_bytes=spec.ram_bytes,
            policy=spec.policy,
            tier=spec.tier,
            extensions=tuple(sorted(frozenset().union(*self._extensions))),
            symbols={name: symbol.address for name, symbol in self._image.symbols.items()},
        )
        try:
            begin(Path(spec.record_memory), facts, self._segment)
        except OSError as error:
            raise LaunchError(f"memory cannot be recorded: {error}") from error
        return self._launch(run_drainer, DrainSpec(self._segment.name, spec.record_memory), "recorder")

    # The thread

    def _watch(self) -> None:
        rows: list[list[int]] = []
        try:
            self._watch_until_end()
            self._stop_harts()
            rows = self._statistics()
            self._complete_recording()
            if self._service is not None and self._service.has_ended():
                self._service.join()
                self._compiler_ended = self._service.how_it_ended()
            self._dismiss()
        except BaseException as error:
            self.end(Ending.STOPPED, None, f"internal error: {error!r}")
            raise
        finally:
            self._release()
            self._own_link.close()
            self.result = self._account(rows)
            self.finished.set()
            self._ended()

    def _watch_until_end(self) -> None:
        spec = self._spec
        alive = dict(self._harts)
        time_limit = None if spec.timeout_s is None else self._start + spec.timeout_s
        while self._first is None:
            patience = spec.watch.poll_interval_s
            if time_limit is not None:
                patience = min(patience, time_limit - time.monotonic())
            watched: list[Process | int] = [self._bus, self._wake_reader, *alive.values()]
            if self._drainer is not None:
                watched.append(self._drainer)
            ended = wait(watched, patience)
            self._drain()
            if self._drainer is not None and self._drainer in ended:
                self._drainer.join()
                how = self._drainer.how_it_ended()
                self.end(Ending.RECORDER_DIED, None, f"the recorder process ended {how}")
            if self._bus in ended:
                self._bus_ended()
            for hart in [h for h, process in alive.items() if process in ended]:
                del alive[hart]
                self._hart_ended(hart)
            if self._first is None and self._untold:
                self._tell_gone()
            if self._first is None:
                self._look(set(alive), time_limit)

    def _look(self, alive: set[int], time_limit: float | None) -> None:
        pages = self._segment.harts
        if not alive:
            self.end(*self._last_ending())
        elif all(pages[h][Hart.STATUS] == HartStatus.PARKED for h in alive):
            self.end(Ending.PARKED, min(alive), "every hart waits with no interrupt enabled")
        elif time_limit is not None and time.monotonic() >= time_limit:
            where = ", ".join(self._where(h) for h in sorted(alive))
            self.end(Ending.WATCHDOG, None, f"time limit of {self._spec.timeout_s} s: {where}")

    def _where(self, hart: int) -> str:
        """Where a hart is, and whether it answers."""
        page = self._segment.harts[hart]
        text = f"hart {hart} at {self._image.symbolize(page[Hart.PC])}"
        status = page[Hart.STATUS]
        if status == HartStatus.NEW:
            return f"{text} (not started yet)"
        silent_s = (time.monotonic_ns() - page[Hart.HEARTBEAT_NS]) / 1e9
        if status not in _STANDING and silent_s > self._spec.watch.silence_s:
            text += f" (does not answer since {silent_s:.1f} s)"
        return text

    def _last_ending(self) -> tuple[Ending, int | None, str]:
        """The ending of a VM whose harts have all ended without one of them ending it."""
        endings = {h: hart_ending(self._segment, h) for h in self._harts}
        for ending in (Ending.HART_DIED, Ending.LIMIT, Ending.PARKED, Ending.STOPPED):
            for hart, seen in endings.items():
                if seen is ending:
                    return ending, hart, f"hart {hart}: {ending.value}"
        return Ending.STOPPED, None, "every hart has ended"

    def _hart_ended(self, hart: int) -> None:
        process = self._harts[hart]
        process.join()
        page = self._segment.harts[hart]
        if page[Hart.STATUS] != HartStatus.ENDED:
            page[Hart.ENDING] = HartEnding.DIED
            page[Hart.STATUS] = HartStatus.ENDED
            where = self._image.symbolize(page[Hart.PC])
            detail = f"hart {hart}'s process ended {process.how_it_ended()}, last seen at {where}"
            if self._spec.on_hart_death == "stop":
                self.end(Ending.HART_DIED, hart, detail)
            else:
                self._untold.add(hart)
        elif page[Hart.ENDING] == HartEnding.EXIT:
            by = self._segment.header[Header.EXIT_TICKET] - 1
            self.end(Ending.EXIT, by, f"exit code {self._segment.harts[by][Hart.EXIT_CODE]} by hart {by}")
        elif page[Hart.ENDING] == HartEnding.TRAP:
            self.end(Ending.TRAP, hart, f"hart {hart} took a trap with no handler set")

    def _bus_ended(self) -> None:
        self._bus.join()
        killed = (self._bus.exit_code or 0) < 0
        if self._spec.on_bus_death == "stop" or not killed:  # what fails by itself would fail again
            self.end(Ending.BUS_DIED, None, f"the bus process ended {self._bus.how_it_ended()}")
            return
        try:
            self._bus = self._launch_bus().started()
        except OSError as error:
            self.end(Ending.BUS_DIED, None, f"the bus process cannot be restarted: {error}")
            return
        self._untold |= {hart for hart, process in self._harts.items() if process.exit_code is not None}

    def _tell_gone(self) -> None:
        """Have the bus forget the harts that have ended; what it does not answer in time is said again."""
        with contextlib.suppress(BusLost, BusError):
            for hart in sorted(self._untold):
                self._own_call(Kind.HART_GONE, hart)
                self._untold.discard(hart)

    def _own_call(self, kind: Kind, *fields: int) -> list[int]:
        self._own_deadline = time.monotonic() + CALL_S
        return self._own_link.call(kind, *fields)

    def _is_abandoned(self) -> bool:
        return time.monotonic() > self._own_deadline or self._bus.has_ended()

    def _drain(self) -> None:
        for _, ring in self._rings:
            self._console += ring.read()

    def _stop_harts(self) -> None:
        for hart in self._harts:
            self._own_ringer.ring(hart, Doorbell.STOP)
        alive = [p for p in self._harts.values() if p.exit_code is None]
        deadline = time.monotonic() + GRACE_S
        while alive and (left := deadline - time.monotonic()) > 0:
            ended = wait(alive, min(left, self._spec.watch.poll_interval_s))
            self._drain()
            alive = [p for p in alive if p not in ended]

    def _complete_recording(self) -> None:
        """Have what is left of the memory events written; no hart may run any more."""
        if self._drainer is None or self._drainer.exit_code is not None:
            return
        for process in self._harts.values():
            process.kill()
            process.join()
        self._segment.header[Header.RECORD_ENDS] = 1
        if not self._drainer.join(RECORDING_S):
            self.end(Ending.RECORDER_DIED, None, f"the recorder did not finish in {RECORDING_S:g} s")

    def _statistics(self) -> list[list[int]]:
        rows: list[list[int]] = []
        with contextlib.suppress(BusLost, BusError):
            while True:
                answer = self._own_call(Kind.STATISTICS, self._spec.watch.hot_addresses, len(rows))
                total, piece = answer[0], answer[1]
                rows += piece  # type: ignore[arg-type]
                if len(rows) >= total or not piece:
                    break
        return rows

    def _dismiss(self) -> None:
        """Have the bus and the compiler end by themselves where their processes can be used again.

        No hart may run any more.
        """
        if not keeps_processes():
            return
        if self._bus.exit_code is None:
            self._own_link.post(Kind.END)
        if self._service is not None and not self._segment.header[Header.REGIONS_COMPILED]:
            compiler = SharedCompiler(self._segment, self._directory, self._cache, 0)
            compiler.end()
            self._service.join(COMPILER_S)
            compiler.close()
        self._bus.join(CALL_S)

    def _release(self) -> None:
        """End every process that is left, and let go of the rings."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
            process.close()
        self._drain()
        for area, ring in self._rings:
            ring.release()
            area.release()

    def _profile(self, hart: int) -> list[CodeTime]:
        return read_profile(profile_path(self._directory, hart)) if self._spec.profile else []

    def _account(self, rows: list[list[int]]) -> VmResult:
        assert self._first is not None
        ending, hart, detail = self._first
        code = (
            self._segment.harts[hart][Hart.EXIT_CODE] if ending is Ending.EXIT and hart is not None else None
        )
        stuck = stuck_loops(self._segment, self._image, self._extensions)
        if ending in (Ending.WATCHDOG, Ending.LIMIT):
            detail = "; ".join([detail, *map(str, stuck)])
        return VmResult(
            name=self._spec.name,
            ending=ending,
            exit_code=code,
            hart=hart,
            detail=detail,
            harts=tuple(
                hart_result(self._segment, i, self._image, self._extensions[i], self._profile(i))
                for i in self._harts
            ),
            hot=hot_addresses(rows, self._image),
            granules=busy_granules(rows, self._image),
            console=bytes(self._console),
            wall_s=time.monotonic() - self._start,
            failed_scs=failed_scs(self._segment, self._image),
            stuck=stuck,
            transactions=self._segment.header[Header.BUS_TRANSACTIONS],
            regions_compiled=self._segment.header[Header.REGIONS_COMPILED],
            regions_cached=self._segment.header[Header.REGIONS_CACHED],
            compiler_ended=self._compiler_ended,
        )


def _reservations(spec: VmSpec) -> Reservations:
    return Reservations(
        reservation_set_size_exp=spec.reservation_set_size_exp,
        require_exact_reservation_addr=spec.require_exact_reservation_addr,
        invalidate_on_same_hart_store=spec.invalidate_on_same_hart_store,
        invalidate_on_trap=spec.invalidate_on_trap,
        spurious_sc_failure=spec.spurious_sc_failure,
        seed=spec.seed,
    )


def _trace_file(spec: VmSpec, hart: int) -> str | None:
    """One file per hart: `FILE` for a VM of one hart, else `FILE.0`, `FILE.1`, ..."""
    if spec.trace is None or spec.harts == 1:
        return spec.trace
    return f"{spec.trace}.{hart}"
