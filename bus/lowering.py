"""How a policy's accesses become native code: the interface between a policy and the compiler.

Owns the vocabulary only. The compiler (`hart.jit`) provides an emitter for one access and calls the policy's
lowering; the lowering emits LLVM IR text for it, or leaves the access to the interpreter.

What an emitter offers besides emitting lines:

- `%record`: the recorder's table (`bus.recorder`), where memory is recorded.
- `%support`: what the policy's port gives (`MemoryPort.support`), a table of its own functions for example.
- `%ram`, `%page_map`, `%granules`, `%page`: host pointers to guest RAM, the page map, the granule table, the hart's
  page; RAM offsets are values of type i64.
- metadata `!0` and `!2`: branch weights for a condition that is likely, or unlikely, true.
- bounds and alignment have been checked: an offset names `size` bytes of RAM and is a multiple of `size`. Where the
  guest may make misaligned plain accesses and the host is TSO, those without order may also name bytes that are not
  aligned; a store's lie in one page then, or where `free` holds.
- every line is placed at the access's point in program order.

Order
=====
Accesses are `volatile`. LLVM neither drops, repeats nor reorders volatile operations among each other (LangRef,
"Volatile Memory Accesses"), nor moves them across fences and atomic read-modify-writes; its code generator chains
them likewise (`MachineInstr::hasOrderedMemoryRef`). So host accesses are issued in guest program order, and only the
host can reorder them. `atomic` forbids tearing. Plain accesses on x86-64 do without: a volatile access of up to 8 bytes
is one instruction there (LangRef: platforms may rely on that for natively supported widths; clang compiles C's
`volatile` that way), which reads or writes aligned bytes at once, and a volatile access that races has no undefined
result. They are the stronger thing in effect, monotonic or better, but may be part of the instruction that uses the
value (`movsxd`, `add` from memory), and need not be aligned, which `atomic` ones must be.

  | guest                       | LLVM                                    | x86-64           | AArch64                 |
  |-----------------------------|-----------------------------------------|------------------|-------------------------|
  | load, store                 | volatile (AArch64: atomic acq/rel too)  | mov              | ldapr or ldar, stlr     |
  | load.aq / store.rl (RCsc)   | volatile seq_cst                        | mov / xchg       | ldar / stlr             |
  | AMO, AMOCAS without aq      | volatile seq_cst read-modify-write      | lock-prefixed    | LSE al forms            |
  | AMO, AMOCAS with aq         | the same; AArch64: then fence seq_cst   | lock-prefixed    | LSE al forms; dmb ish   |
  | FENCE with W before R       | fence seq_cst                           | lock or / mfence | dmb ish                 |
  | other FENCE, FENCE.TSO      | fence acq_rel                           | (compiler only)  | dmb ish                 |

x86-64 is TSO: it orders all pairs but store before load, so of preserved program order (unprivileged manual, "Preserved
Program Order") only rules that name such a pair need anything: a FENCE that has W before R gets the barrier; store.rl
before load.aq (both RCsc) gets it from the xchg; AMO and SC before a load are lock-prefixed, which are full barriers.
Syntactic dependencies, which LLVM may optimise away, start at loads, and TSO keeps loads before all that follows.

On AArch64 every load is acquire and every store release, which orders the same pairs: a load before all that follows,
all that precedes before a store. Store before load is open there too, and closed for RCsc pairs by stlr before ldar.
A read-modify-write is one operation to RVWMO, but a load and a store to AArch64: `ldaddal` orders only its load before
a later ldapr. In a store-buffering test `amoswap.aq x; ld y` that shows, hence the barrier after those with aq. (With
LR/SC the same holds for an SC with aq.)
"""

from __future__ import annotations

import platform
from typing import Protocol

from bus.access import AmoOp, AtomicKind, Order, ScFailure
from bus.layout import GRANULE_BYTES, WORD, Hart

TSO_HOST = platform.machine() in ("x86_64", "AMD64")

AMO_INSTRUCTION = {
    AmoOp.SWAP: "xchg",
    AmoOp.ADD: "add",
    AmoOp.XOR: "xor",
    AmoOp.AND: "and",
    AmoOp.OR: "or",
    AmoOp.MIN: "min",
    AmoOp.MAX: "max",
    AmoOp.MINU: "umin",
    AmoOp.MAXU: "umax",
}
"""The operations as LLVM's `atomicrmw` names them."""

Value = str | int
"""An LLVM i64: a name such as `%7`, or a constant."""


class AccessEmitter(Protocol):
    """What a lowering emits through. Labels and names are unique in the function."""

    def value(self, text: str) -> str:
        """Emit `%n = text` and return `%n`."""

    def pointer(self, offset: Value) -> str:
        """Host pointer to RAM at an offset that was given."""

    def line(self, text: str) -> None:
        """Emit an instruction without result."""

    def label(self) -> str:
        """A new block's label, without `%`."""

    def begin(self, label: str) -> None:
        """Begin that block; the previous one must have ended in a terminator."""

    def interpret(self) -> str:
        """Label of code that leaves this instruction, from its beginning, to the interpreter."""

    def unless(self, condition: str) -> None:
        """Go on if the i1 `condition` is false; else leave the instruction to the interpreter. Expected false."""

    def counter(self, word: int) -> str:
        """Pointer to that word of the hart's page, which nobody else writes, nor reads while the code runs: it may be
        kept in a register until the code is left."""

    def here(self) -> None:
        """Note the instruction's address in the hart's page, as SC_PC."""

    def free(self, offset: Value) -> str | None:
        """An i1 that is true only where the page-map bytes of the plain store at hand are 0, or were 0 when the hart
        passed its last safepoint (`bus.quiescence` says why that is enough); None where nothing is known. Only for
        lowerings with `stores_freely`."""

    def slot(self, name: str, bits: int) -> str:
        """Pointer to a variable of the function that holds an integer of `bits`."""

    def pc(self) -> Value:
        """Guest address of the instruction that makes the access."""

    def include(self, text: str) -> None:
        """Have module text once beside the function: internal functions that it calls, which LLVM then can inline."""


class Lowering(Protocol):
    """A policy's accesses as IR. A method that returns None leaves the access to the interpreter.

    Attributes:
        stores_freely: plain stores to a page whose page-map byte is 0 are plain host stores whatever else is the case,
            and the policy asks for quiescence after it has set one: then compiled code finds out about all stores of a
            group at once, together with their bounds, and `store` asks the emitter.

    """

    stores_freely: bool

    def load(self, e: AccessEmitter, offset: Value, size: int, order: Order) -> str | None:
        """The loaded value as i8, i16, i32 or i64."""

    def store(self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> bool:
        """`value` has the type of `size`; false leaves the access to the interpreter."""

    def amo(
        self, e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str, order: Order
    ) -> str | None:
        """The old value, of the type of `size`."""

    def compare_and_swap(
        self, e: AccessEmitter, offset: Value, size: int, expected: str, desired: str, order: Order
    ) -> str | None:
        """The old value, of the type of `size` (16: i128)."""

    def load_reserved(
        self, e: AccessEmitter, offset: Value, size: int, order: Order, fused: str | None
    ) -> str | None:
        """The loaded value. `fused` names the pair if this LR is always followed by the SC of the same name, with
        nothing but register arithmetic and forward exits between, at the same address and size."""

    def store_conditional(
        self, e: AccessEmitter, offset: Value, size: int, value: str, order: Order, fused: str | None
    ) -> str | None:
        """An i1: whether it failed. `fused` names the pair if only that LR leads here."""

    def fence(self, e: AccessEmitter, full: bool) -> None:
        """Order all accesses before against all after; earlier stores against later loads only if `full`."""

    def spin(self, e: AccessEmitter, offset: Value, waits: str) -> str | None:
        """The hart has spun for a while on what is at `offset`: wait in its place. An i1: whether it shall leave native
        code for `MemoryPort.spin`; None if it always shall. `waits` is an i64: how often it has waited before, in the
        same loop, in vain."""


PAUSE = "call void @llvm.x86.sse2.pause()" if TSO_HOST else "call void @llvm.aarch64.hint(i32 1)"
"""The host's hint that a loop waits: it leaves memory to others for a moment."""
DECLARE_PAUSE = "declare void @llvm.x86.sse2.pause()" if TSO_HOST else "declare void @llvm.aarch64.hint(i32)"


def host_pause(e: AccessEmitter) -> None:
    """The host's PAUSE."""
    e.include(DECLARE_PAUSE)
    e.line(PAUSE)


def host_fence(e: AccessEmitter, full: bool) -> None:
    """The host's fence: see the table."""
    e.line("fence seq_cst" if full else "fence acq_rel")


def full_fence(e: AccessEmitter) -> None:
    """Order everything before against everything after."""
    e.line("fence seq_cst")


def count(e: AccessEmitter, kind: AtomicKind) -> None:
    """Count an atomic in the hart's page."""
    pointer = atomics_counter(e, kind)
    old = e.value(f"load i64, ptr {pointer}")
    e.line(f"store i64 {e.value(f'add i64 {old}, 1')}, ptr {pointer}")


def atomics_counter(e: AccessEmitter, kind: AtomicKind) -> str:
    """Pointer to a count of atomics."""
    return e.counter(Hart.ATOMICS + kind)


def attempts(e: AccessEmitter) -> str:
    """How many SCs the hart has executed, the one at hand included."""
    return e.value(f"load i64, ptr {atomics_counter(e, AtomicKind.SC)}")


def count_failure(e: AccessEmitter, function: str, cause: ScFailure, offset: Value, exp: int) -> None:
    """Count a failed SC, by `function`, which is `sc_failed` of `bus.failures`; granules have 2**exp bytes."""
    e.here()
    e.line(f"store i64 {attempts(e)}, ptr {hart_word(e, Hart.ATOMICS + AtomicKind.SC)}")
    granule = e.value(f"lshr i64 {offset}, {exp}")
    e.line(f"call void {function}(ptr %page, i64 {int(cause)}, i64 {granule})")


def support(e: AccessEmitter, slot: int) -> str:
    """A function of the policy's own, by its place in the table."""
    return e.value(f"load ptr, ptr {e.value(f'getelementptr ptr, ptr %support, i64 {slot}')}")


def granule_word(granule: Value) -> str:
    """Instruction that computes the pointer to a granule's word; its last writer is the word behind."""
    return f"getelementptr [{GRANULE_BYTES // WORD} x i64], ptr %granules, i64 {granule}"


def hart_word(e: AccessEmitter, word: int) -> str:
    """Pointer to a word of the hart's page."""
    return e.value(f"getelementptr i64, ptr %page, i64 {int(word)}")


def plain_load(e: AccessEmitter, offset: Value, size: int, order: Order) -> str:
    """A load of RAM that no policy takes part in."""
    if order & Order.RL:
        full_fence(e)  # a release orders earlier stores before this load; TSO alone does not
    pointer = e.pointer(offset)
    if TSO_HOST and not order:
        return e.value(f"load volatile i{8 * size}, ptr {pointer}, align 1")
    ordering = "seq_cst" if order else "acquire"
    return e.value(f"load atomic volatile i{8 * size}, ptr {pointer} {ordering}, align {size}")


def plain_store(e: AccessEmitter, offset: Value, size: int, value: str, order: Order) -> None:
    """A store to RAM that no policy takes part in."""
    pointer = e.pointer(offset)
    if TSO_HOST and not order:
        e.line(f"store volatile i{8 * size} {value}, ptr {pointer}, align 1")
        return
    ordering = "seq_cst" if order else "release"
    e.line(f"store atomic volatile i{8 * size} {value}, ptr {pointer} {ordering}, align {size}")


def plain_amo(e: AccessEmitter, op: AmoOp, offset: Value, size: int, operand: str) -> str:
    """One host atomic; the old value."""
    pointer = e.value(f"getelementptr i8, ptr %ram, i64 {offset}")
    return e.value(
        f"atomicrmw volatile {AMO_INSTRUCTION[op]} ptr {pointer}, i{8 * size} {operand} seq_cst, align {size}"
    )


def plain_swap(e: AccessEmitter, offset: Value, size: int, expected: str, desired: str) -> str:
    """One host compare-and-swap: the pair of old value and success, of type `{iN, i1}`."""
    bits = 8 * size
    pointer = e.value(f"getelementptr i8, ptr %ram, i64 {offset}")
    return e.value(
        f"cmpxchg volatile ptr {pointer}, i{bits} {expected}, i{bits} {desired} seq_cst seq_cst, align {size}"
    )


def unless_misaligned(e: AccessEmitter, offset: Value, size: int) -> None:
    """Leave a misaligned access to the interpreter, where a granule's word counts: it may touch two granules."""
    if size > 1:
        low = e.value(f"and i64 {offset}, {size - 1}")
        e.unless(e.value(f"icmp ne i64 {low}, 0"))


def page_byte(e: AccessEmitter, offset: Value) -> str:
    """The page-map byte for an offset, i8."""
    page = offset >> 12 if isinstance(offset, int) else e.value(f"lshr i64 {offset}, 12")
    pointer = e.value(f"getelementptr i8, ptr %page_map, i64 {page}")
    return e.value(f"load volatile i8, ptr {pointer}, align 1")
