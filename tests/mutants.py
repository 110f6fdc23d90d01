"""Planted bugs: what may go wrong in a policy or in the compiler, put into a VM's processes by replacing functions.

Nothing of the product knows of them: the coordinator is made to start `processes` instead of its own, and they change
the modules of the process that they run in. This module is imported by each of them, so it imports no coordinator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import bus.server
import hart.jit.service
import hart.process
from bus import inline_lowering
from bus.access import AmoOp, Order
from bus.granule import AMO_INSTRUCTION, VERSION, WRITER
from bus.lowering import plain_load, plain_store
from bus.policies import inline, serial
from hart.interpreter import Interpreter
from hart.jit import lowering
from hart.jit.engine import Engine
from hart.tiers import TieredInterpreter

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(plant: Callable[[], None]) -> Callable[[], None]:
    """Register a function that plants a bug."""
    MUTANTS[plant.__name__] = plant
    return plant


def _process(name: str, run: Callable[..., object], spec: object, *files: int) -> None:
    MUTANTS[name]()
    inline._functions.cache_clear()
    run(spec, *files)


def processes(name: str) -> dict[str, Callable[[object], None]]:
    """What runs instead of a VM's processes, by the name under which `coordinator.monitor` knows them."""
    return {
        "run_hart": partial(_process, name, hart.process.run),
        "run_bus": partial(_process, name, bus.server.run),
        "run_service": partial(_process, name, hart.jit.service.run),
    }


Lowering = inline.InlineLowering


def _support(old: str, new: str, added: str = "") -> None:
    """Replace text in the granule functions, and add to modules where that was done.

    LR and SC have two copies: one that is called, and one that is included in the code that has them in its hot path.
    """

    def changing(original: Callable[..., str]) -> Callable[..., str]:
        def changed(*args, **kwargs) -> str:
            text = original(*args, **kwargs)
            return text.replace(old, new) + added if old in text else text

        return changed

    assert old in inline.support_ir(6, own_store_breaks=False, exact=False), old
    inline.support_ir = changing(inline.support_ir)
    inline_lowering.reservation_ir = changing(inline_lowering.reservation_ir)


# Order


@mutant
def release_store_without_its_fence() -> None:
    original = Lowering.store
    Lowering.store = lambda self, e, offset, size, value, order: original(
        self, e, offset, size, value, Order.NONE
    )


@mutant
def full_fence_dropped_by_the_compiler() -> None:
    lowering._Function.fence = lambda self, p, s: self._note_fence(p, s)


@mutant
def stores_change_places_across_a_fence() -> None:
    original = inline.InlinePort.store

    def store(self, address, size, value, order=Order.NONE):
        held = getattr(self, "held", None)
        if held is None and not order and address & 0x7F < 16 and 0x8010_0000 <= address < 0x8040_0000:
            self.held = (address, size, value)
            return
        original(self, address, size, value, order)
        if held is not None:
            self.held = None
            original(self, *held)

    inline.InlinePort.store = store


@mutant
def loads_return_what_they_saw_before() -> None:
    original = inline.InlinePort.load

    def load(self, address, size, order=Order.NONE):
        value = original(self, address, size, order)
        if not 0x8010_0000 <= address < 0x8040_0000:
            return value
        seen = self.__dict__.setdefault("seen", {})
        turn = self.__dict__.setdefault("turn", itertools.count())
        if next(turn) % 3 == 2 and (address, size) in seen:
            return seen.pop((address, size))
        seen.setdefault((address, size), value)
        return value

    inline.InlinePort.load = load


# Single-copy atomicity


@mutant
def doubleword_store_in_two_halves() -> None:
    original = Lowering.store

    def store(self, e, offset, size, value, order):
        if size != 8:
            return original(self, e, offset, size, value, order)
        first = e.pointer(offset)
        second = e.value(f"getelementptr i8, ptr {first}, i64 4")
        low = e.value(f"trunc i64 {value} to i32")
        high = e.value(f"trunc i64 {e.value(f'lshr i64 {value}, 32')} to i32")
        e.line(f"store atomic volatile i32 {low}, ptr {first} monotonic, align 4")
        e.line("fence seq_cst")  # time for others to look
        e.line(f"store atomic volatile i32 {high}, ptr {second} monotonic, align 4")
        return True

    Lowering.store = store


# Read-modify-writes


@mutant
def add_is_a_load_and_a_store() -> None:
    original = Lowering.amo

    def amo(self, e, op, offset, size, operand, order):
        if op is not AmoOp.ADD:
            return original(self, e, op, offset, size, operand, order)
        old = plain_load(e, offset, size, Order.NONE)
        plain_store(e, offset, size, e.value(f"add i{8 * size} {old}, {operand}"), Order.NONE)
        return old

    Lowering.amo = amo


@mutant
def signed_minimum_compares_unsigned() -> None:
    AMO_INSTRUCTION[AmoOp.MIN] = AMO_INSTRUCTION[AmoOp.MINU]


@mutant
def unsigned_maximum_compares_signed() -> None:
    AMO_INSTRUCTION[AmoOp.MAXU] = AMO_INSTRUCTION[AmoOp.MAX]


@mutant
def amocas_writes_when_it_fails() -> None:
    def compare_and_swap(self, e, offset, size, expected, desired, order):
        pointer = e.value(f"getelementptr i8, ptr %ram, i64 {offset}")
        return e.value(f"atomicrmw volatile xchg ptr {pointer}, i{8 * size} {desired} seq_cst, align {size}")

    original = Lowering.compare_and_swap
    Lowering.compare_and_swap = lambda self, e, offset, size, *rest: (
        original(self, e, offset, size, *rest)
        if size == 16
        else compare_and_swap(self, e, offset, size, *rest)
    )


@mutant
def byte_amo_writes_its_neighbours_back() -> None:
    original = Lowering.amo

    def amo(self, e, op, offset, size, operand, order):
        if size != 1:
            return original(self, e, op, offset, size, operand, order)
        address = e.value(f"ptrtoint ptr {e.pointer(offset)} to i64")
        word = e.value(f"inttoptr i64 {e.value(f'and i64 {address}, -4')} to ptr")
        before = e.value(f"load atomic volatile i32, ptr {word} monotonic, align 4")
        old = original(self, e, op, offset, size, operand, order)
        lane = e.value(f"and i64 {address}, 3")
        shift = e.value(f"trunc i64 {e.value(f'shl i64 {lane}, 3')} to i32")
        mask = e.value(f"shl i32 255, {shift}")
        now = e.value(f"load atomic volatile i32, ptr {word} monotonic, align 4")
        mine = e.value(f"and i32 {now}, {mask}")
        others = e.value(f"and i32 {before}, {e.value(f'xor i32 {mask}, -1')}")
        both = e.value(f"or i32 {mine}, {others}")
        e.line(f"store atomic volatile i32 {both}, ptr {word} monotonic, align 4")
        return old

    Lowering.amo = amo


# Reservations


@mutant
def writers_leave_the_version_alone() -> None:
    _support(f"i64 {VERSION + WRITER} seq_cst", f"i64 {WRITER} seq_cst")


@mutant
def sc_looks_at_no_version() -> None:
    _support(
        "  %v = load i64, ptr %v.p\n  store volatile",
        "  %v = load atomic volatile i64, ptr %word monotonic, align 8\n  store volatile",
    )


@mutant
def lr_takes_the_version_after_the_value() -> None:
    _support(
        "  store i64 %bare, ptr %v.p\n  store i64 %held, ptr %r.p",
        "  call void @sleep_a_little()\n"
        "  %late = load atomic volatile i64, ptr %word acquire, align 8\n"
        "  store i64 %late, ptr %v.p\n  store i64 %held, ptr %r.p",
        "\ndefine internal void @sleep_a_little() {\n  br label %l\nl:\n  %n = phi i64 [ 0, %0 ], [ %m, %l ]\n"
        '  %m = add i64 %n, 1\n  call void asm sideeffect "", ""()\n  %d = icmp ugt i64 %m, 30000\n'
        "  br i1 %d, label %e, label %l\ne:\n  ret void\n}\n",
    )


@mutant
def amos_of_tracked_pages_take_the_fast_path() -> None:
    def either(self, e, offset, bits, untracked, name, arguments):
        return untracked()

    Lowering._either = either


@mutant
def failed_sc_says_it_succeeded() -> None:
    original = Lowering.store_conditional

    def store_conditional(self, *args):
        failed = original(self, *args)
        return None if failed is None else args[0].value("and i1 false, false")

    Lowering.store_conditional = store_conditional


@mutant
def serial_amo_ends_no_reservation() -> None:
    original = serial.SerialArbiter._break

    def broken(self, offset, size, cause, writer):
        if cause is not serial.ScFailure.OTHER_AMO:
            original(self, offset, size, cause, writer)

    serial.SerialArbiter._break = broken


@mutant
def serial_store_goes_past_the_bus() -> None:
    original = serial.SerialPort.store

    def store(self, address, size, value, order=Order.NONE):
        offset = address - self._base
        if 0 <= offset < self._memory.size - 8:
            self._memory.store(address, size, value)
        else:
            original(self, address, size, value, order)

    serial.SerialPort.store = store


# The compiler


@mutant
def word_load_zero_extends() -> None:
    original = lowering._Function.sext

    def sext(self, a, bits):
        return self.zext(a, bits) if bits == 32 and not isinstance(a, int) else original(self, a, bits)

    lowering._Function.sext = sext


@mutant
def fence_i_keeps_stale_code() -> None:
    Interpreter.fence_i = lambda self: None
    Engine.forget_changed = lambda self: []
    TieredInterpreter.fence_i = lambda self: None
