"""Three harts of one VM in one process, which execute one instruction each when the test says so, in a given tier.

Owns the guest code for each kind of access, one *slot* each, and running a hart through it. Judges nothing.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bus.access import AmoOp
from bus.doorbell import Ringer
from bus.layout import RAM_BASE, Geometry, Hart
from bus.policies import PortContext, Reservations, policy
from bus.segment import Segment
from hart.asm import assemble
from hart.causes import Cause
from hart.clint import Clint
from hart.interpreter import Interpreter, UnhandledTrap, WaitingOnReservation
from hart.isa.extensions import effective, implemented
from hart.jit.cache import CompiledRegion
from hart.jit.codegen import Tier
from hart.jit.instruments import Instrument
from hart.jit.service import region_compiler
from hart.tiers import LocalCompiler, TieredInterpreter
from tests.local_hart import DirectLink

HARTS = 3
RAM_BYTES = 1 << 16
A = RAM_BASE + 0x4000
"""In a granule of its own, whatever the granule's size."""
FAR = RAM_BASE + 0x6000
"""In another granule, and on another page."""
FAULT = "fault"
STALLED, WENT_ON = "stalled", "went on"
PATIENCE_S = 0.02
MTVEC = 0x305
_SUFFIX = {1: "b", 2: "h", 4: "w", 8: "d", 16: "q"}
_OPS = {op: f"amo{op.name.lower()}" for op in AmoOp}
_ORDERS = ("", ".aq", ".rl", ".aqrl")
_TOUCHED = range(A - 64, FAR + 0x1000)


def _slots() -> dict[str, str]:
    """Code by slot: address in a1, operands from a2 on, results in a0, or in a2 and a3 for compare-and-swap."""
    slots: dict[str, str] = {"ecall": "ecall", "wrs.nto": "wrs.nto", "wrs.sto": "wrs.sto", "fence": "fence"}
    for size, suffix in _SUFFIX.items():
        if size < 16:
            slots[f"load{size}"] = f"l{suffix} a0, 0(a1)"
            slots[f"store{size}"] = f"s{suffix} a2, 0(a1)"
            for op, name in _OPS.items():
                slots[f"amo{int(op)}.{size}"] = f"{name}.{suffix} a0, a2, (a1)"
        if size in (4, 8):
            for order in _ORDERS:
                slots[f"lr{size}{order}"] = f"lr.{suffix}{order} a0, (a1)"
                slots[f"sc{size}{order}"] = f"sc.{suffix}{order} a0, a2, (a1)"
            slots[f"fused lr{size}"] = f"lr.{suffix} a0, (a1)\n sc.{suffix} a0, a2, (a1)"
        for order in _ORDERS:
            slots[f"cas{size}{order}"] = f"amocas.{suffix}{order} a2, a4, (a1)"
    # Pairs: registers as numbers in the encoding, for the assembler refuses the reserved ones.
    for name, rd, rs2 in (("odd rd", 13, 14), ("odd rs2", 12, 15), ("rd x0", 0, 14), ("rs2 x0", 12, 0)):
        slots[f"cas16 {name}"] = f".word {0b00101 << 27 | rs2 << 20 | 11 << 15 | 4 << 12 | rd << 7 | 0x2F:#x}"
    return slots


def _guest(slots: dict[str, str]) -> str:
    """The program: each slot goes on at `done`."""
    lines = ["_start: j done", "done: j done"]
    for number, text in enumerate(slots.values()):
        lines += [f"slot{number}:", f" {text}", " j done"]
    return "\n".join(lines)


class Harts:
    """The harts; a step is (hart, operation, operands...), and `do` gives what it answered."""

    def __init__(
        self, name: str, rules: Reservations, tier: Tier | None = None, programs: dict[str, str] | None = None
    ) -> None:
        """`programs` are further slots, by name."""
        self._name, self._rules, self._tier = name, rules, tier
        slots = _slots() | (programs or {})
        image = assemble(_guest(slots)).image
        self._symbols = {name: image.symbols[f"slot{i}"].address for i, name in enumerate(slots)}
        self.done = image.symbols["done"].address
        exp = rules.reservation_set_size_exp
        self.segment = Segment.create(Geometry(HARTS, RAM_BYTES, granule_exp=exp, owned=policy(name).owned))
        self.segment.unlink()
        for chunk in image.chunks:
            self.segment.memory.write(chunk.address, chunk.data)
        self.link = DirectLink(self.segment, rules, name)
        self._extensions = effective(implemented())
        self._regions: dict[tuple[int, Tier], CompiledRegion] = {}
        self.harts = [self._hart(number) for number in range(HARTS)]

    def _hart(self, number: int) -> Interpreter:
        port = self._port(number)
        clint = Clint(self.segment, Ringer(self.segment, self.link))  # type: ignore[arg-type]
        if self._tier is None:
            return Interpreter(number, self._extensions, port, self.segment.harts[number], clint)
        compiler = region_compiler(self.segment, self._extensions, self._name, self._rules, None)

        def compiled(entry: int, tier: Tier, instruments: Instrument) -> CompiledRegion:
            if (entry, tier) not in self._regions:
                self._regions[entry, tier] = compiler.compile(entry, tier, time.monotonic, instruments)[1]
            return self._regions[entry, tier]

        return TieredInterpreter(
            number,
            self._extensions,
            port,
            self.segment,
            clint,
            LocalCompiler(compiled),
            (self._tier,),
            1 << 60,
        )

    def _port(self, number: int):
        return policy(self._name).port(PortContext(self.segment, number, self.link, self._rules))  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of everything but the segment, to which cycles of interpreters and their code refer: see `release`."""
        self.link.close()
        self.harts.clear()

    def reset(self) -> None:
        """Everything as it was at the beginning, but for compiled code."""
        segment = self.segment
        segment.memory.write(_TOUCHED.start, bytes(len(_TOUCHED)))
        segment.page_map[:] = bytes(len(segment.page_map))
        granules = slice(segment.geometry.granule_offset, segment.geometry.ram_offset)
        for table in (segment._buffer[granules], *segment.ownership):
            table[:] = bytes(table.nbytes)
        for page in segment.harts:
            for word in (
                *range(Hart.TXN_PHASE, Hart.JOINED),
                *range(Hart.ATOMICS, Hart.NUMBER),
                *range(97, 400),
            ):
                page[word] = 0
        self.link.restart()
        for number, hart in enumerate(self.harts):
            hart.port = self._port(number)
            hart.csrs.mtvec_written = False
            hart.csrs.mie = segment.harts[number][Hart.MSIP] = 0

    def native(self, hart: int) -> int:
        """Instructions that the hart has executed natively."""
        return getattr(self.harts[hart], "native_instructions", 0)

    def start(self, hart: int, slot: str) -> Interpreter:
        """Put the hart at a slot, in native code if there is a tier."""
        machine = self.harts[hart]
        machine.at = self._symbols[slot]
        self.link.hart = hart
        if isinstance(machine, TieredInterpreter) and machine.at not in machine.engine.entries:
            machine._request(machine.at, self._tier)
        return machine

    def run(self, hart: int, slot: str, count: int | None = None) -> Interpreter:
        """Execute the slot's first instruction. In native code a jump or two after it do no harm."""
        machine = self.start(hart, slot)
        machine.run(count or (1 if self._tier is None else 3))
        machine.port.settle()
        return machine

    def go_on(self, hart: int, count: int) -> bool:
        """Execute so many instructions from where the hart is; whether it has come to the end of its slot."""
        self.link.hart = hart
        machine = self.harts[hart]
        until = machine.instret + count
        machine.port.settle(patiently=False)
        while machine.instret < until:
            machine.run(until - machine.instret)
        return machine.at == self.done

    def do(self, hart: int, operation: str, *operands: int | AmoOp) -> object:
        """One step."""
        x = self.harts[hart].x
        try:
            match operation.split(".", 1)[0], operands:
                case "lr" | "fused lr" | "load", (address, size):
                    x[11] = address
                    kind, _, order = operation.partition(".")
                    once = 1 if kind == "fused lr" else None
                    return self.run(hart, f"{kind}{size}{'.' + order if order else ''}", once).x[10]
                case "sc" | "sc rd", (address, size, value):
                    x[11], x[12] = address, value
                    kind, _, order = operation.partition(".")
                    rd = self.run(hart, f"sc{size}{'.' + order if order else ''}").x[10]
                    return rd if kind == "sc rd" else not rd
                case "store", (address, size, value):
                    x[11], x[12] = address, value
                    self.run(hart, f"store{size}")
                    return None
                case "amo", (op, address, size, operand):
                    x[11], x[12] = address, operand
                    return self.run(hart, f"amo{int(op)}.{size}").x[10]
                case "cas", (address, size, expected, desired):
                    return self._swap(hart, f"cas{size}{operation[3:]}", address, size, expected, desired)
                case "cas odd rd" | "cas odd rs2" | "cas rd x0" | "cas rs2 x0", (address, expected, desired):
                    return self._swap(hart, f"cas16{operation[3:]}", address, 16, expected, desired)
                case "wrs", ():
                    return self._stalls(hart, operation)
                case "trap", ():
                    machine = self.harts[hart]
                    machine.csrs.write(MTVEC, self.done)
                    self.run(hart, "ecall")
                    machine.csrs.mtvec_written = False
                    return None
                case "interrupt", ():
                    machine = self.harts[hart]
                    machine.csrs.mie = 1 << 3  # pending and enabled, though not taken: mstatus.MIE is 0
                    self.segment.harts[hart][Hart.MSIP] = 1
                    return None
                case "fence", ():
                    self.run(hart, "fence")
                    return None
                case "device store", (address, size, value):
                    self.link.arbiter.external_write(address, size, value, lambda: None)
                    return None
        except UnhandledTrap as trap:
            return FAULT, Cause(trap.cause).name
        raise AssertionError(f"no operation {operation} {operands}")

    def _swap(self, hart: int, slot: str, address: int, size: int, expected: int, desired: int) -> int:
        x = self.harts[hart].x
        mask = (1 << 64) - 1
        x[11], x[12], x[13] = address, expected & mask, expected >> 64
        x[14], x[15] = desired & mask, desired >> 64
        machine = self.run(hart, slot)
        return machine.x[12] | machine.x[13] << 64 if size == 16 else machine.x[12]

    def _stalls(self, hart: int, slot: str) -> str:
        try:
            self.run(hart, slot)
        except WaitingOnReservation:
            start = time.monotonic()
            self.harts[hart].port.wait_on_reservation(PATIENCE_S)
            return STALLED if time.monotonic() - start >= PATIENCE_S else WENT_ON
        return WENT_ON


def release(*many: Harts) -> None:
    """Close harts and their segments."""
    segments = [harts.segment for harts in many]
    for harts in many:
        harts.close()
    gc.collect()
    for segment in segments:
        segment.close()


@contextmanager
def forced_harts(
    name: str, rules: Reservations, tier: Tier | None = None, programs: dict[str, str] | None = None
) -> Iterator[Harts]:
    """Harts for one test."""
    harts = Harts(name, rules, tier, programs)
    try:
        yield harts
    finally:
        release(harts)
