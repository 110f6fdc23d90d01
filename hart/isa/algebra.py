"""The algebra: the machine operations in which every instruction's meaning is written.

Owns the interface only. Instantiated with Python integers it is the interpreter (`hart.interpreter`), with
sets of sources it is the effect summary (`hart.isa.effects`), with an LLVM IR builder it is the compiler. A
meaning is straight-line: it never tests a value with Python's `if`, only operand fields, which are plain
integers at decode time; conditions on values go through `select` and `branch`. So one body serves all.

Values are 64-bit and carry no sign: operations that care come in signed and unsigned forms. A comparison
yields 0 or 1.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from bus.access import AmoOp, Order

V = TypeVar("V")


class Algebra(Protocol[V]):
    """Operations on values `V` and on one hart's state; register numbers, sizes and offsets are ints."""

    # Constants, registers, pc

    def const(self, value: int) -> V:
        """A constant; negative values wrap to 64 bits."""

    def get(self, register: int) -> V:
        """Read integer register `register`; x0 reads as 0."""

    def set(self, register: int, value: V) -> None:
        """Write integer register `register`; a write to x0 is dropped."""

    def pc(self) -> V:
        """Address of this instruction."""

    def next_pc(self) -> V:
        """Address of the instruction that follows in memory: the link address."""

    # Arithmetic modulo 2**64

    def add(self, a: V, b: V) -> V:
        """a + b."""

    def sub(self, a: V, b: V) -> V:
        """a - b."""

    def mul(self, a: V, b: V) -> V:
        """Low 64 bits of a * b."""

    def mulh(self, a: V, b: V) -> V:
        """High 64 bits of signed a * signed b."""

    def mulhu(self, a: V, b: V) -> V:
        """High 64 bits of unsigned a * unsigned b."""

    def mulhsu(self, a: V, b: V) -> V:
        """High 64 bits of signed a * unsigned b."""

    def div(self, a: V, b: V) -> V:
        """Signed quotient toward zero; all ones for b = 0; a for the overflow -2**63 / -1 (manual, M)."""

    def divu(self, a: V, b: V) -> V:
        """Unsigned quotient; all ones for b = 0."""

    def rem(self, a: V, b: V) -> V:
        """Signed remainder with the sign of a; a for b = 0; 0 for the overflow."""

    def remu(self, a: V, b: V) -> V:
        """Unsigned remainder; a for b = 0."""

    # Bits

    def and_(self, a: V, b: V) -> V:
        """a & b."""

    def or_(self, a: V, b: V) -> V:
        """a | b."""

    def xor(self, a: V, b: V) -> V:
        """a ^ b."""

    def sll(self, a: V, amount: V) -> V:
        """a shifted left by `amount` modulo 64."""

    def srl(self, a: V, amount: V) -> V:
        """a shifted right by `amount` modulo 64, zeros enter."""

    def sra(self, a: V, amount: V) -> V:
        """a shifted right by `amount` modulo 64, the sign enters."""

    def sext(self, a: V, bits: int) -> V:
        """The low `bits` of a, sign-extended to 64."""

    def zext(self, a: V, bits: int) -> V:
        """The low `bits` of a, zero-extended to 64."""

    def clz(self, a: V, bits: int) -> V:
        """Number of leading zeros in the low `bits` of a; `bits` if they are all zero."""

    def ctz(self, a: V, bits: int) -> V:
        """Number of trailing zeros in the low `bits` of a; `bits` if they are all zero."""

    def cpop(self, a: V, bits: int) -> V:
        """Number of ones in the low `bits` of a."""

    def bswap(self, a: V) -> V:
        """The eight bytes of a in reverse order."""

    def orc_b(self, a: V) -> V:
        """Each byte becomes 0xff if any of its bits is set, else 0."""

    # Comparison and choice

    def eq(self, a: V, b: V) -> V:
        """1 if a == b else 0."""

    def ne(self, a: V, b: V) -> V:
        """1 if a != b else 0."""

    def lt(self, a: V, b: V) -> V:
        """1 if signed a < signed b else 0."""

    def ltu(self, a: V, b: V) -> V:
        """1 if unsigned a < unsigned b else 0."""

    def select(self, condition: V, then: V, otherwise: V) -> V:
        """`then` if condition is not 0, else `otherwise`; both are evaluated."""

    # Memory: sizes in bytes; values read are zero-extended, of values written the low bytes count

    def load(self, address: V, size: int, order: Order = Order.NONE) -> V:
        """Load; with an order it is a Zalasr load."""

    def store(self, address: V, size: int, value: V, order: Order = Order.NONE) -> None:
        """Store; with an order it is a Zalasr store."""

    def load_reserved(self, address: V, size: int, order: Order) -> V:
        """LR."""

    def store_conditional(self, address: V, size: int, value: V, order: Order) -> V:
        """SC: 0 if it wrote, 1 if it failed."""

    def amo(self, op: AmoOp, address: V, size: int, operand: V, order: Order) -> V:
        """Zaamo/Zabha read-modify-write; the old value."""

    def compare_and_swap(self, address: V, size: int, expected: V, desired: V, order: Order) -> V:
        """AMOCAS of 1, 2, 4 or 8 bytes; the old value."""

    def compare_and_swap_pair(
        self, address: V, expected: tuple[V, V], desired: tuple[V, V], order: Order
    ) -> tuple[V, V]:
        """AMOCAS.Q: pairs are (low, high) doublewords; the old pair."""

    def fence(self, predecessor: int, successor: int) -> None:
        """FENCE with 4-bit sets (I=8, O=4, R=2, W=1)."""

    def fence_tso(self) -> None:
        """FENCE.TSO: all but store-to-load order."""

    def fence_i(self) -> None:
        """FENCE.I: this hart's later fetches see its earlier stores."""

    # Control transfer. Call these before the destination register is written: a target that is not aligned
    # for the VM's instruction set traps on the jump itself, which then writes nothing.

    def jump(self, offset: int) -> None:
        """Go to pc + offset."""

    def jump_to(self, target: V) -> None:
        """Go to a computed address; its lowest bit is ignored."""

    def branch(self, condition: V, offset: int) -> None:
        """Go to pc + offset if condition is not 0."""

    # System

    def illegal(self) -> None:
        """Raise illegal-instruction for this instruction."""

    def ecall(self) -> None:
        """Raise environment-call from the current mode."""

    def ebreak(self) -> None:
        """Raise breakpoint at this pc."""

    def mret(self) -> None:
        """Return from an M-mode trap."""

    def wfi(self) -> None:
        """Wait for an interrupt."""

    def wait_on_reservation(self, bounded: bool) -> None:
        """Zawrs: WRS.STO if bounded, else WRS.NTO."""

    def pause(self) -> None:
        """Zihintpause: this hart is spinning."""

    def csr_read(self, number: int) -> V:
        """Read a CSR; illegal instruction if it does not exist or the mode may not."""

    def csr_write(self, number: int, value: V) -> None:
        """Write a CSR as its WARL fields allow; illegal instruction if read-only, missing or not permitted.

        In a meaning that reads and writes the same CSR the read comes first.
        """
