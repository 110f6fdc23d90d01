"""The interpreter (T0): the algebra over Python integers, on one hart's registers and its memory port.

Owns registers, pc, traps and the instruction loop. Knows nothing of processes: the loop runs a given number of
instructions and says why it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bus.access import AmoOp, Fault, MemoryFault, Order
from bus.layout import Hart
from bus.port import MemoryPort
from bus.segment import Words
from hart.causes import INTERRUPT, Cause
from hart.clint import BASE as CLINT_BASE
from hart.clint import SIZE as CLINT_SIZE
from hart.clint import Clint
from hart.csr import (
    MIP_MSIP,
    MIP_MTIP,
    MSTATUS_MIE,
    MSTATUS_MPIE,
    MSTATUS_MPP_M,
    CsrFile,
    NoSuchCsr,
)
from hart.isa.decoder import Decoded, Decoder
from hart.isa.effects import MemoryEffect, effects
from hart.isa.instruction import Instruction, instruction_at
from hart.isa.integers import IntegerArithmetic
from hart.isa.window import fused_sc
from hart.watch import Watched, WatchingPort, Watchpoint

_MASK = (1 << 64) - 1
_AMOS = frozenset({"Zaamo", "Zabha"})
Entry = tuple[Callable[[], None], int]
"""A decoded instruction: what it does, bound to the machine and its operands, and the address that follows it."""

_INTERRUPTS = (
    Cause.MACHINE_EXTERNAL_INTERRUPT,
    Cause.MACHINE_SOFTWARE_INTERRUPT,
    Cause.MACHINE_TIMER_INTERRUPT,
)
"""In the order in which they are taken (privileged manual, "Interpreter Interrupt Registers")."""


class Trap(Exception):
    """A synchronous exception of the current instruction."""

    def __init__(self, cause: int, tval: int) -> None:
        super().__init__(f"{cause:#x} at {tval:#x}")
        self.cause = cause
        self.tval = tval


class UnhandledTrap(Exception):
    """A trap with no handler: mtvec was never written. The machine stands at the instruction that trapped."""

    def __init__(self, cause: int, tval: int) -> None:
        super().__init__(f"{cause:#x} at {tval:#x}")
        self.cause = cause
        self.tval = tval


class HostEvent(Exception):
    """Raised by an instruction to leave the loop once it has retired."""


class Waiting(HostEvent):
    """WFI with no enabled interrupt pending."""


class WaitingOnReservation(HostEvent):
    """Zawrs with no enabled interrupt pending; `bounded` for WRS.STO."""

    def __init__(self, bounded: bool) -> None:
        super().__init__(bounded)
        self.bounded = bounded


class Spinning(HostEvent):
    """PAUSE."""


class GuestExit(HostEvent):
    """The guest asked to end the VM with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class WatchpointHit(HostEvent):
    """An access that a watchpoint is for has been made, by the instruction at `pc`."""

    def __init__(self, pc: int, access: Watched) -> None:
        super().__init__(pc, access)
        self.pc = pc
        self.access = access


class Interpreter(IntegerArithmetic):
    """One hart's state, and the state half of the algebra on it.

    Attributes:
        x: integer registers; x[0] is always 0.
        at: address of the next instruction to execute.
        instret: instructions retired.
        traps: traps taken.
        tohost: guest address whose write calls `on_tohost`, or -1.
        slice: instructions that `run` should be given between two looks at the doorbell.

    """

    def __init__(
        self, hart: int, extensions: frozenset[str], port: MemoryPort, page: Words, clint: Clint
    ) -> None:
        """`extensions` are decoder names, bundles resolved (`hart.isa.extensions.effective`)."""
        self._use_registers([0] * 32)
        self.at = 0
        self.instret = 0
        self.traps = 0
        self.tohost = -1
        self.slice = 64
        self.port = port
        self._own_port = port
        self._watching: WatchingPort | None = None
        self.clint = clint
        self._page = page
        self._decoder = Decoder(extensions)
        self._decoded: dict[int, Entry] = {}
        self._windows: dict[int, range] = {}
        """By LR's address: the addresses behind it up to its SC, if the two can be fused, or none."""
        self._alignment = 2 if "Zca" in extensions else 4
        self._misaligned_traps = "Zicclsm" not in extensions
        self.csrs = CsrFile(hart, extensions, self)
        self._discarding = False
        """Whether the current instruction has no use for what it reads."""
        self._here = 0
        self._following = 0

    def on_tohost(self, size: int, value: int) -> None:
        """Called after a store to `tohost` of the low `size` bytes of `value`; an environment overrides it.

        It is told what was stored, for another hart may store there meanwhile.
        """

    def on_jump(self, target: int) -> None:
        """Called before a jump whose target is no constant of the code; a recorder overrides it, and may raise."""

    def on_trap(self, handler: int) -> None:
        """Called when a trap or an interrupt is taken; a recorder overrides it."""

    def watch(self, points: tuple[Watchpoint, ...]) -> None:
        """Raise WatchpointHit at accesses that one of `points` is for, from now on."""
        self._watching = WatchingPort(self._own_port, points) if points else None
        self.port = self._watching or self._own_port
        self._decoded.clear()

    # The loop

    def run(self, count: int) -> None:
        """Execute at most `count` instructions; fewer if one traps.

        Raises:
            UnhandledTrap: `at` is the instruction's address.
            HostEvent: its instruction has retired.

        """
        entries = self._decoded
        pc = self.at
        try:
            for _ in range(count):
                self._here = pc
                execute, self._following = entries.get(pc) or self._decode(pc)
                execute()
                pc = self._following
                self.instret += 1
            self.at = pc
        except Trap as trap:
            self.at = self._here
            self._enter(trap.cause, trap.tval)
        except HostEvent:
            self.at = self._following
            self.instret += 1
            raise
        except Exception:
            self.at = self._here  # the port gave up: the instruction has not retired
            raise

    def instruction_bits(self, address: int) -> int:
        """The 16 or 32 bits at `address`; raises Trap as a fetch does."""
        try:
            low = self.port.fetch(address, 2)
            if low & 3 != 3:
                return low
        except MemoryFault:
            raise Trap(Cause.INSTRUCTION_ACCESS_FAULT, address) from None
        try:
            return low | self.port.fetch(address + 2, 2) << 16
        except MemoryFault:
            raise Trap(Cause.INSTRUCTION_ACCESS_FAULT, address + 2) from None

    def _decode(self, pc: int) -> Entry:
        bits = self.instruction_bits(pc)
        decoded = self._decoder.decode(bits)
        if decoded is None:
            raise Trap(Cause.ILLEGAL_INSTRUCTION, bits)
        execute = partial(decoded.row.meaning, self, *decoded.arguments)
        if _discards(decoded):
            execute = partial(self._execute_discarding, execute)
        if self._watching is not None:
            execute = partial(self._execute_watched, self._watching, execute)
        entry = (execute, pc + decoded.length & _MASK)
        self._decoded[pc] = entry
        return entry

    def _execute_discarding(self, execute: Callable[[], None]) -> None:
        """An AMO with rd = x0."""
        self._discarding = True
        try:
            execute()
        finally:
            self._discarding = False

    def _execute_watched(self, port: WatchingPort, execute: Callable[[], None]) -> None:
        port.seen = None
        execute()
        if port.seen is not None:
            raise WatchpointHit(self._here, port.seen)

    # Traps

    def _enter(self, cause: int, tval: int) -> None:
        csrs = self.csrs
        if not csrs.mtvec_written:
            raise UnhandledTrap(cause, tval)
        self.traps += 1
        self.port.end_reservation(trap=True)
        csrs.mcause = cause
        csrs.mepc = self.at & csrs.epc_mask
        csrs.mtval = tval & _MASK
        enabled = csrs.mstatus & MSTATUS_MIE
        csrs.mstatus = MSTATUS_MPP_M | (MSTATUS_MPIE if enabled else 0)
        base = csrs.mtvec & ~3
        vectored = csrs.mtvec & 1 and cause & INTERRUPT
        self.at = base + 4 * (cause & ~INTERRUPT) if vectored else base
        self.on_trap(self.at)

    def interrupts_pending(self) -> int:
        """The interrupt lines, as bits of mip."""
        lines = MIP_MSIP if self._page[Hart.MSIP] else 0
        if self.clint.now() >= self._page[Hart.MTIMECMP]:
            lines |= MIP_MTIP
        return lines

    def interrupt_wanted(self) -> bool:
        """Whether an interrupt is pending that mie enables: what ends WFI, whatever mstatus says."""
        return bool(self.csrs.mie and self.interrupts_pending() & self.csrs.mie)

    def take_interrupt(self) -> None:
        """Enter the handler of a pending interrupt, if one is enabled; between instructions.

        Raises:
            UnhandledTrap: no handler is set.

        """
        csrs = self.csrs
        if csrs.mie and csrs.mstatus & MSTATUS_MIE:
            pending = self.interrupts_pending() & csrs.mie
            if pending:
                cause = next(c for c in _INTERRUPTS if pending >> (c & ~INTERRUPT) & 1)
                self._enter(cause, 0)

    def now(self) -> int:
        """Mtime."""
        return self.clint.now()

    # Registers and pc

    def _use_registers(self, x: list[int] | memoryview) -> None:
        """Keep the registers in `x`."""
        self.x = x
        self.get: Callable[[int], int] = x.__getitem__
        """See `Algebra.get`."""

    def set(self, register: int, value: int) -> None:
        """See `Algebra.set`."""
        if register:
            self.x[register] = value

    def pc(self) -> int:
        """See `Algebra.pc`."""
        return self._here

    def next_pc(self) -> int:
        """See `Algebra.next_pc`; valid before a jump as after it."""
        return self._decoded[self._here][1]

    # Memory

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """See `Algebra.load`."""
        if self._misaligned_traps and address & (size - 1):
            raise Trap(Cause.LOAD_MISALIGNED, address)
        try:
            return self.port.load(address, size, order)
        except MemoryFault as fault:
            if not order and _is_clint(address):
                try:
                    return self.clint.load(address, size)
                except MemoryFault:
                    pass
            raise _load_trap(fault) from None

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """See `Algebra.store`."""
        if self._misaligned_traps and address & (size - 1):
            raise Trap(Cause.STORE_MISALIGNED, address)
        try:
            self.port.store(address, size, value, order)
        except MemoryFault as fault:
            if not order and _is_clint(address):
                try:
                    self.clint.store(address, size, value)
                    return
                except MemoryFault:
                    pass
            raise _store_trap(fault) from None
        if address == self.tohost:
            self.on_tohost(size, value)

    def load_reserved(self, address: int, size: int, order: Order) -> int:
        """See `Algebra.load_reserved`."""
        try:
            return self.port.load_reserved(address, size, order, bool(self._window()))
        except MemoryFault as fault:
            raise _load_trap(fault) from None

    def _window(self) -> range:
        """Where the current LR reaches its SC by register arithmetic alone; see `_windows`."""
        known = self._windows.get(self._here)
        if known is None:
            lr = self._instruction(self._here)
            sc = None if lr is None else fused_sc(self._instruction, lr)
            known = self._windows[self._here] = range(self._here + 1, (sc or 0) + 1)
        return known

    def _instruction(self, pc: int) -> Instruction | None:
        return instruction_at(self._decoder, self._code, pc)

    def _code(self, pc: int) -> int | None:
        try:
            return self.instruction_bits(pc)
        except Trap:
            return None

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> int:
        """See `Algebra.store_conditional`."""
        self._page[Hart.SC_PC] = self._here
        try:
            return 0 if self.port.store_conditional(address, size, value, order) else 1
        except MemoryFault as fault:
            raise _store_trap(fault) from None

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """See `Algebra.amo`."""
        try:
            if self._discarding:
                self.port.post_amo(op, address, size, operand, order)
                return 0
            return self.port.amo(op, address, size, operand, order)
        except MemoryFault as fault:
            raise _store_trap(fault) from None

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """See `Algebra.compare_and_swap`."""
        try:
            return self.port.compare_and_swap(address, size, expected, desired, order)
        except MemoryFault as fault:
            raise _store_trap(fault) from None

    def compare_and_swap_pair(
        self, address: int, expected: tuple[int, int], desired: tuple[int, int], order: Order
    ) -> tuple[int, int]:
        """See `Algebra.compare_and_swap_pair`."""
        old = self.compare_and_swap(
            address, 16, expected[0] | expected[1] << 64, desired[0] | desired[1] << 64, order
        )
        return old & _MASK, old >> 64

    def fence(self, predecessor: int, successor: int) -> None:
        """See `Algebra.fence`."""
        self.port.fence(predecessor, successor)

    def fence_tso(self) -> None:
        """See `Algebra.fence_tso`; made stronger."""
        self.port.fence(3, 3)

    def fence_i(self) -> None:
        """See `Algebra.fence_i`."""
        self.port.fence(0xF, 0xF)  # stores that were put off may be to code
        self._decoded.clear()
        self._windows.clear()

    # Control transfer

    def jump(self, offset: int) -> None:
        """See `Algebra.jump`."""
        self._go(self._here + offset & _MASK)

    def jump_to(self, target: int) -> None:
        """See `Algebra.jump_to`."""
        self.on_jump(target & ~1)
        self._go(target & ~1)

    def branch(self, condition: int, offset: int) -> None:
        """See `Algebra.branch`."""
        if condition:
            self._go(self._here + offset & _MASK)

    def _go(self, target: int) -> None:
        if target & (self._alignment - 1):
            raise Trap(Cause.INSTRUCTION_MISALIGNED, target)
        self._following = target

    # System

    def illegal(self) -> None:
        """See `Algebra.illegal`."""
        raise Trap(Cause.ILLEGAL_INSTRUCTION, self.instruction_bits(self._here))

    def ecall(self) -> None:
        """See `Algebra.ecall`."""
        raise Trap(Cause.ECALL_FROM_M, 0)

    def ebreak(self) -> None:
        """See `Algebra.ebreak`."""
        raise Trap(Cause.BREAKPOINT, self._here)

    def mret(self) -> None:
        """See `Algebra.mret`."""
        csrs = self.csrs
        self.on_jump(csrs.mepc)
        enabled = csrs.mstatus & MSTATUS_MPIE
        csrs.mstatus = MSTATUS_MPP_M | MSTATUS_MPIE | (MSTATUS_MIE if enabled else 0)
        self._following = csrs.mepc

    def wfi(self) -> None:
        """See `Algebra.wfi`."""
        if not self.interrupt_wanted():
            raise Waiting

    def wait_on_reservation(self, bounded: bool) -> None:
        """See `Algebra.wait_on_reservation`."""
        if not self.interrupt_wanted():
            raise WaitingOnReservation(bounded)

    def pause(self) -> None:
        """See `Algebra.pause`."""
        raise Spinning

    def csr_read(self, number: int) -> int:
        """See `Algebra.csr_read`."""
        try:
            return self.csrs.read(number)
        except NoSuchCsr:
            self.illegal()
            raise

    def csr_write(self, number: int, value: int) -> None:
        """See `Algebra.csr_write`."""
        try:
            self.csrs.write(number, value)
        except NoSuchCsr:
            self.illegal()


def _discards(decoded: Decoded) -> bool:
    """Whether it is an AMO that writes no register."""
    if _AMOS.isdisjoint(decoded.row.extensions):
        return False
    found = effects(decoded)
    return found.memory is MemoryEffect.AMO and not found.writes


def _is_clint(address: int) -> bool:
    return CLINT_BASE <= address < CLINT_BASE + CLINT_SIZE


def _load_trap(fault: MemoryFault) -> Trap:
    misaligned = fault.fault is Fault.MISALIGNED
    return Trap(Cause.LOAD_MISALIGNED if misaligned else Cause.LOAD_ACCESS_FAULT, fault.address)


def _store_trap(fault: MemoryFault) -> Trap:
    misaligned = fault.fault is Fault.MISALIGNED
    return Trap(Cause.STORE_MISALIGNED if misaligned else Cause.STORE_ACCESS_FAULT, fault.address)
