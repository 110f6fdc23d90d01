"""The hart process: runs one hart of a VM from start to end.

Owns the loop of running, looking at the doorbell, waiting and leaving, and the hart's account of itself in its page.
Executes no instruction itself.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import zmq

from bus.doorbell import Ringer, wait_unless_rung
from bus.handover import DEFAULT as DEFAULT_HANDOVER
from bus.handover import Handover
from bus.layout import Doorbell, Hart, HartEnding, HartStatus, Header
from bus.link import BusLink, BusLost
from bus.messages import Kind
from bus.native import host_atomics
from bus.policies import PortContext, Reservations, policy
from bus.port import NotNow
from bus.recorder import Recorder
from bus.recording import RecordingPort
from bus.ring import RingWriter
from bus.segment import Segment
from hart import profile
from hart.clint import Clint
from hart.environments import environment
from hart.interpreter import (
    GuestExit,
    HostEvent,
    Interpreter,
    Spinning,
    UnhandledTrap,
    Waiting,
    WaitingOnReservation,
    WatchpointHit,
)
from hart.jit.codegen import Tier
from hart.jit.context import Word
from hart.jit.shared import SharedCompiler
from hart.profile import ProfiledInterpreter, ProfiledTieredInterpreter
from hart.supervisor_view import SupervisorView
from hart.tiers import TieredInterpreter
from hart.trace import TracedInterpreter
from hart.watch import Hit, store_hit, stored_watchpoints

_MASK = (1 << 64) - 1
HEARTBEAT_NS = 20_000_000
STO_TIMEOUT_S = 50e-6
"""How long WRS.STO stalls at most: some tens of cache misses (manual, "Zawrs")."""


@dataclass(frozen=True, slots=True)
class HartSpec:
    """What a hart process needs to know.

    Attributes:
        segment: name of the VM's segment.
        endpoint: address of the bus; `directory` holds its socket.
        token: this hart's routing id.
        hart: its number.
        extensions: what the decoder knows (`hart.isa.extensions.effective`).
        policy: name of the coherence policy, with `reservations`.
        environment: name of the guest environment, with the image's `symbols` that it asked for.
        max_instructions: end after so many, or None.
        profile: store a profile in `directory` at the end (`profile_path`); not while tracing.
        trace: file to write this hart's trace to, or None; tracing is the interpreter's.
        extension_set: which set of the compile service's that is, where `tiers` are used.
        tiers: tiers of native code to use, lowest first; empty for the interpreter alone.
        cache: directory of the object cache, where `tiers` are used.
        handover: how harts pass granules on, where the policy lets them own any.

    """

    segment: str
    endpoint: str
    directory: str
    token: bytes
    hart: int
    extensions: frozenset[str]
    policy: str
    reservations: Reservations
    environment: str
    symbols: dict[str, int]
    max_instructions: int | None = None
    profile: bool = False
    trace: str | None = None
    extension_set: int = 0
    tiers: tuple[Tier, ...] = ()
    cache: str = ""
    handover: Handover = DEFAULT_HANDOVER


def profile_path(directory: str, hart: int) -> Path:
    """Where a hart's profile is at its end."""
    return Path(directory) / f"profile-{hart}"


class _Stopped(Exception):
    """The hart shall end."""

    def __init__(self, ending: HartEnding) -> None:
        self.ending = ending


class HartRunner:
    """One hart: its machine and its page, from JOIN to LEAVE."""

    def __init__(self, spec: HartSpec, segment: Segment, link: BusLink, stack: ExitStack) -> None:
        """Take the hart's registers from its page. `link` must have joined."""
        self._spec = spec
        self._link = link
        self._header = segment.header
        self._page = segment.harts[spec.hart]
        self._bell = self._page.address(Hart.DOORBELL)
        self._exchange = host_atomics().exchange
        self._compare_exchange = host_atomics().compare_exchange
        clint = Clint(segment, Ringer(segment, link))
        context = PortContext(segment, spec.hart, link, spec.reservations, spec.handover)
        port = policy(spec.policy).port(context)
        recording: RecordingPort | None = None
        if segment.geometry.event_bytes:
            recorder = Recorder(segment, spec.hart)
            port = recording = RecordingPort(port, recorder, segment.geometry.ram_bytes)
        self.machine: Interpreter
        if spec.trace is not None:
            file = stack.enter_context(Path(spec.trace).open("w"))  # noqa: SIM115 - the stack closes it
            self.machine = TracedInterpreter(spec.hart, spec.extensions, port, self._page, clint, file)
        elif spec.tiers:
            compiler = SharedCompiler(segment, spec.directory, spec.cache, spec.extension_set)
            stack.callback(compiler.close)
            kind = ProfiledTieredInterpreter if spec.profile else TieredInterpreter
            tiered = kind(spec.hart, spec.extensions, port, segment, clint, compiler, spec.tiers)
            if recording is not None:
                tiered.engine.context[Word.RECORD] = recorder.table
            self.machine = tiered
        else:
            plain = ProfiledInterpreter if spec.profile else Interpreter
            self.machine = plain(spec.hart, spec.extensions, port, self._page, clint)
        self._clint = clint
        self._console: RingWriter | None = None
        if segment.geometry.ring_bytes:
            area = segment.ring(spec.hart)
            self._console = RingWriter(area)
            stack.callback(area.release)
            stack.callback(self._console.release)
        environment(spec.environment).attach(self.machine, segment, spec.symbols, self._print)
        if recording is not None:
            recording.set_pc(self.machine.pc)
            self.machine.on_jump = recording.jump  # type: ignore[method-assign]
            self.machine.on_trap = recording.trap  # type: ignore[method-assign]
            self.machine.on_tohost = recording.in_place(self.machine.on_tohost)  # type: ignore[method-assign]
        csrs = self.machine.csrs
        csrs.mvendorid, csrs.marchid, csrs.mimpid = (
            self._page[word] for word in (Hart.MVENDORID, Hart.MARCHID, Hart.MIMPID)
        )
        self._view = SupervisorView(csrs, self._page)
        self._segment = segment
        self._watch_generation = 0
        self._load_registers()
        self._parked = False
        self._recalled = False
        """Whether the port may have recalls to answer."""

    def run(self) -> HartEnding:
        """Run until the hart ends; its page then says how and where."""
        page = self._page
        page[Hart.PID] = os.getpid()
        page[Hart.STARTED] = 1
        page[Hart.STATUS] = HartStatus.RUNNING
        start = time.monotonic_ns()
        try:
            self._loop()
        except _Stopped as stopped:
            ending = stopped.ending
        except UnhandledTrap as trap:
            page[Hart.TRAP_CAUSE] = trap.cause
            page[Hart.TRAP_TVAL] = trap.tval & (1 << 64) - 1
            ending = HartEnding.TRAP
        except BusLost:  # it was waiting when the run was stopped
            ending = self._when_stopped()
        self._save()
        page[Hart.WALL_NS] = time.monotonic_ns() - start
        if isinstance(self.machine, ProfiledInterpreter):
            profile.write(profile_path(self._spec.directory, self._spec.hart), self.machine.profile())
        page[Hart.ENDING] = ending
        page[Hart.STATUS] = HartStatus.ENDED
        return ending

    def _loop(self) -> None:
        machine = self.machine
        bell = self._page.view
        beat = looked = 0
        while True:
            if bell[Hart.TIMED]:
                before, looked = looked, time.thread_time_ns()
                if bell[Hart.DOORBELL]:
                    bell[Hart.BELL_PROCESSOR_NS] = time.thread_time_ns() - before
            if bell[Hart.DOORBELL]:
                self._answer_bell()
            machine.take_interrupt()
            now = time.monotonic_ns()
            if now - beat > HEARTBEAT_NS:
                beat = now
                self._heartbeat(now)
            machine.port.settle(patiently=False)
            steps = self._allowed(machine.slice)
            if self._recalled:
                hold = machine.port.answer_recalls(machine.instret)
                self._recalled = hold > 0
                steps = min(steps, hold or steps)
            try:
                machine.run(steps)
            except Waiting:
                self._wait_for_interrupt()
            except WaitingOnReservation as wait:
                self._page[Hart.STATUS] = HartStatus.WAITING
                machine.port.wait_on_reservation(STO_TIMEOUT_S if wait.bounded else self._until_timer())
                self._page[Hart.STATUS] = HartStatus.RUNNING
            except Spinning:
                os.sched_yield()
            except NotNow:
                self._make_way()
            except WatchpointHit as hit:
                self._note(hit)
                self._pause()
            except GuestExit as end:
                self._exit(end.code)

    def _make_way(self) -> None:
        """Let others go on whom this hart may wait for: give up what they want, however short it was held."""
        instret = self.machine.instret
        while hold := self.machine.port.answer_recalls(instret):
            instret += hold
        os.sched_yield()

    def _note(self, hit: WatchpointHit) -> None:
        access = hit.access
        number = self._spec.hart
        store_hit(
            self._page,
            Hit(number, hit.pc, access.address, access.size, access.access, access.read, access.written),
        )

    def _allowed(self, steps: int) -> int:
        """How many of `steps` instructions the limit leaves, at least 1; raises _Stopped if none."""
        limit = self._spec.max_instructions
        if limit is None:
            return steps
        if limit <= self.machine.instret:
            raise _Stopped(HartEnding.LIMIT)
        return min(steps, limit - self.machine.instret)

    def _exit(self, code: int) -> NoReturn:
        """The guest has asked to end the VM."""
        self._page[Hart.EXIT_CODE] = code & _MASK
        self._compare_exchange(self._header.address(Header.EXIT_TICKET), 0, 1 + self._spec.hart)
        raise _Stopped(HartEnding.EXIT) from None

    def _answer_bell(self) -> bool:
        """Do what the doorbell asks for; true if the hart was paused."""
        bits = self._exchange(self._bell, 0)
        self._page[Hart.BELL_NS] = time.monotonic_ns()
        if bits & Doorbell.QUIESCE:
            self._link.post(Kind.QUIESCENT, self._header[Header.QUIESCE_EPOCH])
        if bits & Doorbell.RECALL:
            self._recalled = True
        if bits & Doorbell.STOP:
            raise _Stopped(self._when_stopped())
        if not self._page[Hart.PAUSE] or self._page[Hart.STATUS] == HartStatus.PAUSED:
            return False
        self._pause()
        return True

    def _when_stopped(self) -> HartEnding:
        return HartEnding.PARKED if self._parked else HartEnding.STOPPED

    def _pause(self) -> None:
        """Stand at this safepoint; the registers in the page count, for they may be changed meanwhile."""
        page = self._page
        self._save()
        page[Hart.STATUS] = HartStatus.PAUSED
        try:
            while (number := page[Hart.PAUSE]) or page[Hart.HIT]:
                page[Hart.PAUSED] = number
                if page[Hart.STEPS]:
                    self._step(page[Hart.STEPS])
                    page[Hart.STEPS] = 0
                    page[Hart.STEPPED] += 1
                wait_unless_rung(page, self._spec.hart, self._link, None, reservation=False)
                self._answer_bell()
        finally:
            self._load_registers()
            page[Hart.STATUS] = HartStatus.RUNNING

    def _step(self, count: int) -> None:
        """Execute exactly `count` instructions, from the page and back to it; fewer if a watchpoint is hit or the step
        is called off.

        As the debug specification has it (dcsr.step): an instruction that traps counts, its handler is entered and not
        begun; instructions that would stall do not. An interrupt that is due is taken first and does not count.
        """
        page, machine = self._page, self.machine
        self._load_registers()
        try:
            while count > 0 and page[Hart.STEPS]:
                if page[Hart.DOORBELL]:
                    self._answer_bell()
                machine.take_interrupt()
                before = machine.instret + machine.traps
                try:
                    machine.run(self._allowed(min(count, machine.slice)))
                except WatchpointHit as hit:
                    self._note(hit)
                    return
                except GuestExit as end:
                    self._exit(end.code)
                except HostEvent:
                    pass
                count -= machine.instret + machine.traps - before
        finally:
            self._save()

    def _load_registers(self) -> None:
        """Take up what was set while the hart did not run: registers, watchpoints."""
        generation = self._header[Header.WATCH_GENERATION]
        if generation != self._watch_generation:
            self._watch_generation = generation
            self.machine.watch(stored_watchpoints(self._segment))
        self.machine.at = self._page[Hart.PC]
        for i in range(1, 32):
            self.machine.x[i] = self._page[Hart.X + i]
        self._view.take()

    def _save(self) -> None:
        page, machine = self._page, self.machine
        with suppress(BusLost):  # when the run was stopped, and the bus as well
            machine.port.settle()
        page[Hart.PC] = machine.at
        page[Hart.INSTRET] = machine.instret
        page[Hart.TRAP_COUNT] = machine.traps
        for i, value in enumerate(machine.x):
            page[Hart.X + i] = value
        self._view.show()

    def _heartbeat(self, now: int) -> None:
        self._page[Hart.HEARTBEAT_NS] = now
        self._page[Hart.PC] = self.machine.at
        self._page[Hart.INSTRET] = self.machine.instret

    def _until_timer(self) -> float | None:
        """Seconds until the timer interrupt, if one can come; None if not."""
        csrs = self.machine.csrs
        compare = self._page[Hart.MTIMECMP]
        if not csrs.mie & 1 << 7 or compare == (1 << 64) - 1:
            return None
        return self._clint.seconds_until(compare)

    def _wait_for_interrupt(self) -> None:
        page = self._page
        self._save()
        self._parked = not self.machine.csrs.mie
        page[Hart.STATUS] = HartStatus.PARKED if self._parked else HartStatus.WAITING
        while not self.machine.interrupt_wanted():
            wait_unless_rung(page, self._spec.hart, self._link, self._until_timer(), reservation=False)
            if self._answer_bell():
                break  # WFI may end for any reason; the registers may have been changed
        self._parked = False
        page[Hart.STATUS] = HartStatus.RUNNING

    def _print(self, data: bytes) -> None:
        if self._console is not None:
            self._console.write(data, self._output_is_lost)

    def _output_is_lost(self) -> bool:
        return bool(self._page[Hart.DOORBELL] & Doorbell.STOP)


def run(spec: HartSpec) -> bool:
    """The hart process's main function.

    Returns:
        Whether nothing is left in the process of what it was, so that it may be used again: never after native code.

    """
    segment = Segment.attach(spec.segment)
    page = segment.harts[spec.hart]
    shared: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    link = BusLink(
        spec.endpoint, spec.token, segment, lambda: bool(page[Hart.DOORBELL] & Doorbell.STOP), shared
    )
    try:
        link.join()
        with ExitStack() as stack:
            compiled = _ran_native_code(spec, segment, link, stack)
        link.call(Kind.LEAVE)
    except BusLost:
        return False  # the run is over
    finally:
        link.close()
    return not compiled and segment.let_go()


def _ran_native_code(spec: HartSpec, segment: Segment, link: BusLink, stack: ExitStack) -> bool:
    """Be the hart; whether it has loaded native code."""
    runner = HartRunner(spec, segment, link, stack)
    runner.run()
    return isinstance(runner.machine, TieredInterpreter) and runner.machine.engine.used
