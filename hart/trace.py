"""Tracing: a machine that writes each retired instruction and each trap to a file, as Spike's commit log does.

Owns the trace format. Changes nothing about execution.

A line is `core   0: 3 0x0000000080000000 (0x00000297) x5  0x0000000080000000 mem 0xADDRESS 0xVALUE`: hart,
privilege (3 = M), pc, encoding, the registers written, then the memory accessed (a value only where it was written).
"""

from __future__ import annotations

from typing import TextIO

from bus.access import AmoOp, Order, combine
from bus.port import MemoryPort
from bus.segment import Words
from hart.causes import cause_name
from hart.clint import Clint
from hart.interpreter import Entry, HostEvent, Interpreter


class TracedInterpreter(Interpreter):
    """An `Interpreter` that writes a line to `file` for each instruction."""

    def __init__(
        self, hart: int, extensions: frozenset[str], port: MemoryPort, page: Words, clint: Clint, file: TextIO
    ) -> None:
        """As `Interpreter`."""
        super().__init__(hart, extensions, port, page, clint)
        self._number = hart
        self._file = file
        self._words: dict[int, int] = {}
        """What was decoded at each pc: memory may have changed since."""
        self._registers: dict[int, int] = {}
        self._accesses: list[str] = []

    def run(self, count: int) -> None:
        """See `Interpreter.run`."""
        for _ in range(count):
            pc, retired, traps = self.at, self.instret, self.traps
            self._registers.clear()
            self._accesses.clear()
            try:
                super().run(1)
            except HostEvent:
                self._write(pc)
                raise
            if self.instret > retired:
                self._write(pc)
            if self.traps > traps:
                csrs = self.csrs
                self._file.write(
                    f"core{self._number:4d}: trap {cause_name(csrs.mcause)}, epc {pc:#018x}, "
                    f"tval {csrs.mtval:#018x}\n"
                )
                return

    def _decode(self, pc: int) -> Entry:
        entry = super()._decode(pc)
        self._words[pc] = self.instruction_bits(pc)
        return entry

    def _write(self, pc: int) -> None:
        bits = self._words[pc]
        word = f"{bits:#010x}" if bits & 3 == 3 else f"{bits:#06x}"
        registers = "".join(f" x{r:<2d} {value:#018x}" for r, value in sorted(self._registers.items()))
        self._file.write(
            f"core{self._number:4d}: 3 {pc:#018x} ({word}){registers}{''.join(self._accesses)}\n"
        )

    def _accessed(self, address: int) -> None:
        self._accesses.append(f" mem {address:#018x}")

    def _stored(self, address: int, size: int, value: int) -> None:
        if size == 16:  # Spike writes the halves of a pair one by one
            self._stored(address, 8, value)
            self._stored(address + 8, 8, value >> 64)
            return
        self._accesses.append(f" mem {address:#018x} {value & (1 << 8 * size) - 1:#0{2 + 2 * size}x}")

    def set(self, register: int, value: int) -> None:
        """See `Algebra.set`."""
        super().set(register, value)
        if register:
            self._registers[register] = value

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """See `Algebra.load`."""
        value = super().load(address, size, order)
        self._accessed(address)
        return value

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """See `Algebra.store`."""
        self._stored(address, size, value)
        super().store(address, size, value, order)

    def load_reserved(self, address: int, size: int, order: Order) -> int:
        """See `Algebra.load_reserved`."""
        value = super().load_reserved(address, size, order)
        self._accessed(address)
        return value

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> int:
        """See `Algebra.store_conditional`."""
        failed = super().store_conditional(address, size, value, order)
        if not failed:
            self._stored(address, size, value)
        return failed

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """See `Algebra.amo`; the line shows what was written, so even an AMO with rd = x0 is waited for."""
        self._discarding = False
        old = super().amo(op, address, size, operand, order)
        self._accessed(address)
        self._stored(address, size, combine(op, old, operand, size))
        return old

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """See `Algebra.compare_and_swap`."""
        old = super().compare_and_swap(address, size, expected, desired, order)
        self._accessed(address)
        if old == expected & (1 << 8 * size) - 1:
            self._stored(address, size, desired)
        return old
