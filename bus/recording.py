"""Recording around a policy: a memory port and a lowering that have another one's accesses noted by the recorder.

Owns where the recorder's calls (`bus.recorder`) stand around an access. What the access does is the policy's, which
knows nothing of this: any policy, in any tier, is recorded alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec

from bus.access import AmoOp, Order
from bus.events import OP_SHIFT, EventKind, place, what
from bus.lowering import AccessEmitter, Lowering, Value
from bus.port import MemoryPort, NotNow
from bus.recorder import BUSY, Recorder, function_slot

_P = ParamSpec("_P")
_MASK = (1 << 64) - 1
_OFFSETS = (1 << OP_SHIFT) - 1
_PATIENCE_S = 2.0
"""How long what has begun and cannot be repeated waits in place for the rest of its accesses."""


class RecordingPort:
    """A memory port that notes what another one does; see `bus.port.MemoryPort`."""

    def __init__(self, port: MemoryPort, recorder: Recorder, ram_bytes: int) -> None:
        """`set_pc` must be called before the first access."""
        self._port = port
        self._recorder = recorder
        self.support = port.support
        self._base = recorder.base
        self._limit = ram_bytes
        self._table = recorder.table
        functions = recorder.functions
        self._look, self._saw = functions.look, functions.saw
        self._enter, self._settle, self._leave = functions.enter, functions.settle, functions.leave
        self._room, self._note, self._high = functions.room, functions.note, functions.high
        self._pc: Callable[[], int] = lambda: recorder.base
        self._in_place = False
        # Accesses that are never noted, and what is no access, are the port's own.
        self.fetch = port.fetch
        self.wait_on_reservation = port.wait_on_reservation
        self.forget_fused = port.forget_fused
        self.end_reservation = port.end_reservation
        self.settle, self.spin, self.answer_recalls = port.settle, port.spin, port.answer_recalls

    def set_pc(self, pc: Callable[[], int]) -> None:
        """Where the port learns which instruction makes an access."""
        self._pc = pc

    def in_place(self, action: Callable[_P, None]) -> Callable[_P, None]:
        """The same action with accesses that wait where they are: it makes several and cannot be repeated."""

        def acting(*args: _P.args, **kwargs: _P.kwargs) -> None:
            before, self._in_place = self._in_place, True
            try:
                action(*args, **kwargs)
            finally:
                self._in_place = before

        return acting

    def _what(self, kind: EventKind, size: int, order: Order) -> int:
        return what(kind, size, order, self._pc() - self._base)

    def _outside(self, offset: int, size: int) -> bool:
        """Whether the port will refuse the access: bounds and alignment are its to judge."""
        return bool(offset & (size - 1)) or not 0 <= offset <= self._limit - size

    def _begun(self, function: Callable[[int, int], int], offset: int) -> int:
        """What `look` or `enter` answers, once it is not BUSY."""
        word = function(self._table, offset)
        if word == BUSY:
            deadline = time.monotonic() + _PATIENCE_S
            while word == BUSY:
                self._recorder.take_from_the_dead(offset)
                if not self._in_place or time.monotonic() > deadline:
                    raise NotNow
                time.sleep(0)
                word = function(self._table, offset)
        return word

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        """See `MemoryPort.load`; a misaligned one is noted byte by byte."""
        offset = address - self._base
        if self._outside(offset, size):
            if order or not 0 <= offset <= self._limit - size:
                return self._port.load(address, size, order)
            return sum(self.load(address + i, 1) << 8 * i for i in range(size))
        first = self._begun(self._look, offset)
        value = self._port.load(address, size, order)
        self._saw(self._table, offset, self._what(EventKind.LOAD, size, order), value, first)
        return value

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        """See `MemoryPort.store`; a misaligned one is noted byte by byte."""
        offset = address - self._base
        if self._outside(offset, size):
            if order or not 0 <= offset <= self._limit - size:
                self._port.store(address, size, value, order)
                return
            self.store(address, 1, value & 0xFF)
            self.in_place(lambda: self._store_bytes(address + 1, size - 1, value >> 8))()
            return
        old = self._begun(self._enter, offset)
        try:
            self._port.store(address, size, value, order)
        except BaseException:
            self._leave(self._table, offset, old)
            raise
        kind = self._what(EventKind.STORE, size, order)
        self._settle(self._table, offset, kind, 0, value & (1 << 8 * size) - 1, old, 1)

    def _store_bytes(self, address: int, count: int, value: int) -> None:
        for i in range(count):
            self.store(address + i, 1, value >> 8 * i & 0xFF)

    def load_reserved(self, address: int, size: int, order: Order, fusable: bool = False) -> int:
        """See `MemoryPort.load_reserved`."""
        offset = address - self._base
        if self._outside(offset, size):
            return self._port.load_reserved(address, size, order, fusable)
        first = self._begun(self._look, offset)
        value = self._port.load_reserved(address, size, order, fusable)
        self._saw(self._table, offset, self._what(EventKind.LR, size, order), value, first)
        return value

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> bool:
        """See `MemoryPort.store_conditional`."""
        offset = address - self._base
        if self._outside(offset, size):
            return self._port.store_conditional(address, size, value, order)
        old = self._begun(self._enter, offset)
        try:
            wrote = self._port.store_conditional(address, size, value, order)
        except BaseException:
            self._leave(self._table, offset, old)
            raise
        kind = self._what(EventKind.SC, size, order)
        self._settle(self._table, offset, kind, 0, value & (1 << 8 * size) - 1, old, wrote)
        return wrote

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        """See `MemoryPort.amo`."""
        offset = address - self._base
        if self._outside(offset, size):
            return self._port.amo(op, address, size, operand, order)
        old = self._begun(self._enter, offset)
        try:
            value = self._port.amo(op, address, size, operand, order)
        except BaseException:
            self._leave(self._table, offset, old)
            raise
        kind = self._what(EventKind.AMO, size, order)
        operand &= (1 << 8 * size) - 1
        self._settle(self._table, place(offset, op), kind, value, operand, old, 1)
        return value

    def post_amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> None:
        """See `MemoryPort.post_amo`: nothing is put off, for what is noted has happened."""
        self.amo(op, address, size, operand, order)

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        """See `MemoryPort.compare_and_swap`."""
        offset = address - self._base
        if self._outside(offset, size):
            return self._port.compare_and_swap(address, size, expected, desired, order)
        old = self._begun(self._enter, offset)
        try:
            value = self._port.compare_and_swap(address, size, expected, desired, order)
        except BaseException:
            self._leave(self._table, offset, old)
            raise
        mask = (1 << 8 * size) - 1
        kind, desired = self._what(EventKind.CAS, size, order), desired & mask
        wrote = value == expected & mask
        self._settle(self._table, offset, kind, value & _MASK, desired & _MASK, old, wrote)
        if size == 16:
            self._high(self._table, value >> 64, desired >> 64, old)
        return value

    def fence(self, predecessor: int, successor: int) -> None:
        """See `MemoryPort.fence`."""
        self._begun(lambda table, _: self._room(table), 0)
        self._port.fence(predecessor, successor)
        kind = self._what(EventKind.FENCE, 1, Order.NONE)
        self._note(self._table, predecessor << 4 | successor, kind)

    def jump(self, target: int) -> None:
        """Note an indirect jump; may raise NotNow, as an access."""
        self._go(EventKind.JUMP, target)

    def trap(self, handler: int) -> None:
        """Note that a trap is taken."""
        self.in_place(lambda: self._go(EventKind.TRAP, handler))()

    def _go(self, kind: EventKind, target: int) -> None:
        self._begun(lambda table, _: self._room(table), 0)
        self._note(self._table, target - self._base & _OFFSETS, self._what(kind, 1, Order.NONE))


class _Guarded:
    """An emitter for accesses made while the line is owned: leaving for the interpreter gives it back first."""

    def __init__(self, e: AccessEmitter) -> None:
        self._e = e
        self.exit: str | None = None
        """Label of the code that gives the line back, if anything goes there."""
        self.value, self.line, self.label = e.value, e.line, e.label
        self.begin, self.slot, self.pc = e.begin, e.slot, e.pc
        self.pointer, self.counter, self.here, self.include = e.pointer, e.counter, e.here, e.include
        self.free = e.free

    def interpret(self) -> str:
        """See `AccessEmitter.interpret`."""
        if self.exit is None:
            self.exit = self._e.label()
        return self.exit

    def unless(self, condition: str) -> None:
        """See `AccessEmitter.unless`."""
        go = self._e.label()
        self._e.line(f"br i1 {condition}, label %{self.interpret()}, label %{go}, !prof !2")
        self._e.begin(go)


class RecordingLowering:
    """A lowering that notes what another one does; see `bus.lowering.Lowering`."""

    stores_freely = False

    def __init__(self, lowering: Lowering, ram_base: int) -> None:
        self._lowering = lowering
        self._base = ram_base

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """See `Lowering.load`."""
        first = self._begin(e, "look", offset)
        value = self._lowering.load(e, offset, size, order)
        if value is not None:
            self._note_read(e, EventKind.LOAD, offset, size, order, value, first)
        return value

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """See `Lowering.store`."""
        old = self._begin(e, "enter", offset)
        guarded = _Guarded(e)
        done = self._lowering.store(guarded, offset, size, value, order)
        self._finish(e, guarded, offset, old, done)
        if done:
            self._settle(e, EventKind.STORE, offset, size, order, 0, self._wide(e, value, size), old, 1)
        return done

    def amo(
        self, e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str, order: Order
    ) -> str | None:
        """See `Lowering.amo`."""
        old = self._begin(e, "enter", offset)
        guarded = _Guarded(e)
        value = self._lowering.amo(guarded, op, offset, size, operand, order)
        self._finish(e, guarded, offset, old, value is not None)
        if value is not None:
            where = e.value(f"or i64 {offset}, {op << OP_SHIFT}") if op else offset
            read, operand = self._wide(e, value, size), self._wide(e, operand, size)
            self._settle(e, EventKind.AMO, where, size, order, read, operand, old, 1)
        return value

    def compare_and_swap(
        self, e: AccessEmitter, offset: Value, size: int, expected: str, desired: str, order: Order
    ) -> str | None:
        """See `Lowering.compare_and_swap`."""
        old = self._begin(e, "enter", offset)
        guarded = _Guarded(e)
        value = self._lowering.compare_and_swap(guarded, offset, size, expected, desired, order)
        self._finish(e, guarded, offset, old, value is not None)
        if value is not None:
            bits = 8 * size
            did = e.value(f"zext i1 {e.value(f'icmp eq i{bits} {value}, {expected}')} to i64")
            read, wrote = self._wide(e, value, size), self._wide(e, desired, size)
            self._settle(e, EventKind.CAS, offset, size, order, read, wrote, old, did)
            if size == 16:
                read, wrote = self._upper(e, value), self._upper(e, desired)
                self._call(e, "void", "high", f"i64 {read}, i64 {wrote}, i64 {old}")
        return value

    def load_reserved(
        self, e: AccessEmitter, offset: Value, size: int, order: Order, fused: str | None
    ) -> str | None:
        """See `Lowering.load_reserved`."""
        first = self._begin(e, "look", offset)
        value = self._lowering.load_reserved(e, offset, size, order, fused)
        if value is not None:
            self._note_read(e, EventKind.LR, offset, size, order, value, first)
        return value

    def store_conditional(
        self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order, fused: str | None
    ) -> str | None:
        """See `Lowering.store_conditional`."""
        old = self._begin(e, "enter", offset)
        guarded = _Guarded(e)
        failed = self._lowering.store_conditional(guarded, offset, size, value, order, fused)
        self._finish(e, guarded, offset, old, failed is not None)
        if failed is not None:
            did = e.value(f"zext i1 {e.value(f'xor i1 {failed}, true')} to i64")
            self._settle(e, EventKind.SC, offset, size, order, 0, self._wide(e, value, size), old, did)
        return failed

    def fence(self, e: AccessEmitter, full: bool) -> None:
        """See `Lowering.fence`; `note_fence` notes it."""
        self._lowering.fence(e, full)

    def spin(self, e: AccessEmitter, offset: Value, waits: str) -> str | None:
        """See `Lowering.spin`."""
        return self._lowering.spin(e, offset, waits)

    def note_fence(self, e: AccessEmitter, predecessor: int, successor: int) -> None:
        """Note a fence; before it is emitted."""
        full = self._call(e, "i64", "room", "")
        e.unless(e.value(f"icmp ne i64 {full}, 0"))
        kind = self._what(e, EventKind.FENCE, 1, Order.NONE)
        self._call(e, "void", "note", f"i64 {predecessor << 4 | successor}, i64 {kind}")

    def jump(self, e: AccessEmitter, target: Value) -> None:
        """Note an indirect jump."""
        full = self._call(e, "i64", "room", "")
        e.unless(e.value(f"icmp ne i64 {full}, 0"))
        offset = e.value(f"and i64 {e.value(f'sub i64 {target}, {self._base}')}, {_OFFSETS}")
        self._call(e, "void", "note", f"i64 {offset}, i64 {self._what(e, EventKind.JUMP, 1, Order.NONE)}")

    # Pieces

    def _what(self, e: AccessEmitter, kind: EventKind, size: int, order: Order) -> int:
        pc = e.pc()
        assert isinstance(pc, int), "the address of an instruction is known when it is compiled"
        return what(kind, size, order, pc - self._base)

    def _call(self, e: AccessEmitter, result: str, function: str, arguments: str) -> str:
        slot = e.value(f"getelementptr ptr, ptr %record, i64 {function_slot(function)}")
        pointer = e.value(f"load ptr, ptr {slot}")
        text = f"call {result} {pointer}(ptr %record{', ' if arguments else ''}{arguments})"
        if result == "void":
            e.line(text)
            return ""
        return e.value(text)

    def _begin(self, e: AccessEmitter, function: str, offset: Value) -> str:
        """The line's word, or leave for the interpreter."""
        word = self._call(e, "i64", function, f"i64 {offset}")
        e.unless(e.value(f"icmp eq i64 {word}, -1"))
        return word

    def _finish(self, e: AccessEmitter, guarded: _Guarded, offset: Value, old: str, done: bool) -> None:
        """Give the line back wherever the access was not made."""
        give_back = f"i64 {offset}, i64 {old}"
        if not done:
            self._call(e, "void", "leave", give_back)
            return
        if guarded.exit is None:
            return
        after = e.label()
        e.line(f"br label %{after}")
        e.begin(guarded.exit)
        self._call(e, "void", "leave", give_back)
        e.line(f"br label %{e.interpret()}")
        e.begin(after)

    def _note_read(
        self,
        e: AccessEmitter,
        kind: EventKind,
        offset: Value,
        size: int,
        order: Order,
        value: str,
        first: str,
    ) -> None:
        whole, noted = self._wide(e, value, size), self._what(e, kind, size, order)
        self._call(e, "void", "saw", f"i64 {offset}, i64 {noted}, i64 {whole}, i64 {first}")

    def _settle(
        self,
        e: AccessEmitter,
        kind: EventKind,
        where: Value,
        size: int,
        order: Order,
        read: Value,
        wrote: Value,
        old: str,
        did: Value,
    ) -> None:
        noted = self._what(e, kind, size, order)
        arguments = (where, noted, read, wrote, old, did)
        self._call(e, "void", "settle", ", ".join(f"i64 {a}" for a in arguments))

    def _wide(self, e: AccessEmitter, value: str, size: int) -> str:
        if size == 8:
            return value
        return e.value(f"{'trunc' if size == 16 else 'zext'} i{8 * size} {value} to i64")

    def _upper(self, e: AccessEmitter, value: str) -> str:
        return e.value(f"trunc i128 {e.value(f'lshr i128 {value}, 64')} to i64")
