"""The memory half of the algebra as LLVM IR: bounds checks, and the policy's accesses behind them.

Owns which accesses compiled code may make by itself, and how they are checked against guest RAM. What an access does
beyond that is the policy's (`bus.lowering`). Knows neither registers nor control flow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bus.access import AmoOp, Order
from bus.layout import PAGE, PageState
from bus.lowering import TSO_HOST, Lowering, Value, page_byte
from bus.recording import RecordingLowering
from hart.isa.instruction import Instruction
from hart.jit.accesses import AccessGroup, Extent, access_groups
from hart.jit.arithmetic import IrArithmetic
from hart.jit.instruments import Instrument
from hart.jit.place import ram_in_place
from hart.jit.region import Block


@dataclass(frozen=True, slots=True)
class Geometry:
    """What compiled code assumes about the VM; part of what identifies it.

    Attributes:
        ram_base: guest address of RAM.
        ram_bytes: its size.
        granule_exp: log2 of the granule size.
        alignment: of instructions, 2 or 4.
        misaligned: plain accesses may be misaligned (Zicclsm); else they trap.

    """

    ram_base: int
    ram_bytes: int
    granule_exp: int
    alignment: int
    misaligned: bool


class NotCompiled(Exception):
    """The current instruction is the interpreter's."""


class IrMemory(IrArithmetic, ABC):
    """The part of `hart.isa.algebra.Algebra` that looks at memory; also, with its subclass, the policy's emitter
    (`bus.lowering.AccessEmitter`).
    """

    _at: Instruction
    """The instruction at hand."""
    _executed: int
    """Its place in the block."""

    def __init__(
        self, geometry: Geometry, policy: Lowering, instruments: Instrument, pairs: Mapping[int, str]
    ) -> None:
        """`pairs` are the region's LR/SC pairs that can be fused: name of the pair by either address."""
        super().__init__()
        self._geometry = geometry
        self._policy = policy
        self._instruments = instruments
        self._pairs = pairs
        self._in_place = ram_in_place(geometry.ram_base, geometry.ram_bytes)
        # A misaligned load may reach into a second page, which nobody looks at.
        looked_at = instruments & Instrument.WATCHED
        self._misaligned = geometry.misaligned and TSO_HOST and not looked_at
        self._finds_free = policy.stores_freely and not looked_at
        self._addresses: dict[str, Value] = {}
        """Guest addresses by the offsets that policies were given."""
        self._groups: dict[int, AccessGroup] = {}
        self._checks: dict[AccessGroup, str | None] = {}
        """Groups of the block that have been checked, and an i1 where it says that they lie in the free stretch."""

    def _begin_accesses(self, block: Block) -> None:
        """What follows is the code of a block."""
        self._groups = access_groups(block)
        self._checks.clear()

    @abstractmethod
    def _look(self, offset: Value) -> Value:
        """The offset of an access that will be made."""

    # AccessEmitter, what is not here

    @abstractmethod
    def interpret(self) -> str:
        """See `AccessEmitter.interpret`."""

    @abstractmethod
    def unless(self, condition: str, otherwise: str | None = None) -> None:
        """See `AccessEmitter.unless`; to go on at the label `otherwise` is also possible."""

    @abstractmethod
    def counter(self, word: int) -> str:
        """See `AccessEmitter.counter`."""

    @abstractmethod
    def here(self) -> None:
        """See `AccessEmitter.here`."""

    @abstractmethod
    def slot(self, name: str, bits: int) -> str:
        """See `AccessEmitter.slot`."""

    @abstractmethod
    def pc(self) -> Value:
        """See `Algebra.pc`."""

    # AccessEmitter

    def pointer(self, offset: Value) -> str:
        """See `AccessEmitter.pointer`."""
        if not self._in_place:
            return super().pointer(offset)
        if isinstance(offset, int):
            address: Value = offset + self._geometry.ram_base
        else:
            address = self._addresses[offset]
        return self.value(f"inttoptr i64 {address} to ptr")

    def free(self, offset: Value) -> str | None:
        """See `AccessEmitter.free`."""
        if not self._finds_free:
            return None
        if isinstance(offset, int):
            size = self._at.effects.size
            return self._is_free(offset + self._geometry.ram_base, Extent(0, size, 1))
        group = self._groups.get(self._executed)
        return None if group is None else self._checks[group]

    # Bounds

    def _checked(self, address: Value, size: int, *, plain: bool = False) -> Value:
        """Offset of an access of any kind that compiled code may make; any other is the interpreter's."""
        offset = self._in_ram(address, size, plain)
        if self._instruments & Instrument.WATCHED:
            watched = self.value(f"and i8 {page_byte(self, offset)}, {int(PageState.WATCHED)}")
            self.unless(self.value(f"icmp ne i8 {watched}, 0"))
        return offset

    def _in_ram(self, address: Value, size: int, plain: bool) -> Value:
        """Offset of an access that lies in RAM and is aligned, as far as it must be; any other is the interpreter's.

        Plain accesses of a block that share a base register are checked together, at the first of them: where that
        check fails, the interpreter finds out which of them is to blame.
        """
        base, ram = self._geometry.ram_base, self._geometry.ram_bytes
        if isinstance(address, int):
            offset = address - base
            if offset % size or not 0 <= offset <= ram - size:
                raise NotCompiled
            return self._look(offset)
        group = self._groups.get(self._executed) if plain else None
        if group is None:
            self._check(address, Extent(0, size, size))
        elif group not in self._checks:
            extent = group.extent.moved(-group.offsets[self._executed])
            if group.stores and self._finds_free:
                self._checks[group] = self._check_free(address, extent)
            else:
                self._checks[group] = None
                self._check_group(address, extent, stores=group.stores)
        result = self.value(f"sub i64 {address}, {base}")
        self._addresses[result] = address
        return self._look(result)

    def _check(self, address: Value, extent: Extent, otherwise: str | None = None) -> None:
        """Go on if the extent around `address` lies in RAM and has its alignment; else at `otherwise`.

        Rotating the offset right by log2 of the alignment makes a misaligned one huge and an aligned one its index, so
        that one unsigned comparison finds misalignment, both ends of RAM and wrap-around.
        """
        base, ram = self._geometry.ram_base, self._geometry.ram_bytes
        if extent.end - extent.start > ram:
            raise NotCompiled
        index = self.value(f"add i64 {address}, {extent.start - base}")
        if extent.alignment > 1:
            shift = extent.alignment.bit_length() - 1
            index = self.value(f"call i64 @llvm.fshr.i64(i64 {index}, i64 {index}, i64 {shift})")
        limit = (ram - (extent.end - extent.start)) // extent.alignment
        self.unless(self.value(f"icmp ugt i64 {index}, {limit}"), otherwise)

    def _check_group(self, address: Value, extent: Extent, *, stores: bool) -> None:
        if not self._misaligned:
            self._check(address, extent)
        elif stores:
            self._check_stores(address, extent)
        else:
            self._check(address, replace(extent, alignment=1))

    def _check_free(self, address: Value, extent: Extent) -> str:
        """`_check_group` for stores, which first looks whether the extent lies in the hart's free stretch, and if so
        at nothing else; an i1 that says so. Neither the look nor the i1 costs more than the bounds check alone would:
        the stretch does not change within the code, and LLVM follows the i1 to where it is used."""
        hot, cold, last, good = (self.label() for _ in range(4))
        inside = self._is_free(address, replace(extent, alignment=1) if self._misaligned else extent)
        self.line(f"br i1 {inside}, label %{hot}, label %{cold}, !prof !0")
        self.begin(cold)
        self._check_group(address, extent, stores=True)
        self.line(f"br label %{last}")
        self.begin(last)
        self.line(f"br label %{good}")
        self.begin(hot)
        self.line(f"br label %{good}")
        self.begin(good)
        return self.value(f"phi i1 [ true, %{hot} ], [ false, %{last} ]")

    def _is_free(self, address: Value, extent: Extent) -> str:
        """An i1: whether the extent around `address` lies in the free stretch and has its alignment; as `_check`."""
        start = self.value(f"add i64 {address}, {extent.start}")
        index = self.value(f"sub i64 {start}, %free.base")
        # So many places of the extent are there in the stretch, which has no bytes or a multiple of the alignment.
        room = self.value(f"add i64 %free.bytes, {extent.alignment}")
        places = self.value(f"call i64 @llvm.usub.sat.i64(i64 {room}, i64 {extent.end - extent.start})")
        if extent.alignment > 1:
            shift = extent.alignment.bit_length() - 1
            index = self.value(f"call i64 @llvm.fshr.i64(i64 {index}, i64 {index}, i64 {shift})")
            places = self.value(f"lshr i64 {places}, {shift}")
        return self.value(f"icmp ult i64 {index}, {places}")

    def _check_stores(self, address: Value, extent: Extent) -> None:
        """Go on if the extent around `address` lies in RAM and is aligned, or lies in one page that is free to write.

        Misaligned stores into two pages or into one that the policy cares for are the interpreter's.
        """
        unaligned, good = self.label(), self.label()
        self._check(address, extent, unaligned)
        self.line(f"br label %{good}")
        self.begin(unaligned)
        size = extent.end - extent.start
        self._check(address, replace(extent, alignment=1))
        start = self.value(f"add i64 {address}, {extent.start - self._geometry.ram_base}")
        within = self.value(f"and i64 {start}, {PAGE - 1}")
        self.unless(self.value(f"icmp ugt i64 {within}, {PAGE - size}"))
        self.unless(self.value(f"icmp ne i8 {page_byte(self, start)}, 0"))
        self.line(f"br label %{good}")
        self.begin(good)

    def _narrow(self, value: Value, size: int) -> str:
        if isinstance(value, int):
            return str(value & (1 << 8 * size) - 1)
        return value if size == 8 else self.value(f"trunc i64 {value} to i{8 * size}")

    def _widen(self, value: str | None, size: int) -> Value:
        if value is None:
            raise NotCompiled
        return value if size == 8 else self.value(f"zext i{8 * size} {value} to i64")

    # The algebra

    def load(self, address: Value, size: int, order: Order = Order.NONE) -> Value:
        """See `Algebra.load`."""
        offset = self._checked(address, size, plain=not order)
        return self._widen(self._policy.load(self, offset, size, order), size)

    def store(self, address: Value, size: int, value: Value, order: Order = Order.NONE) -> None:
        """See `Algebra.store`."""
        offset = self._checked(address, size, plain=not order)
        if not self._policy.store(self, offset, size, self._narrow(value, size), order):
            raise NotCompiled

    def load_reserved(self, address: Value, size: int, order: Order) -> Value:
        """See `Algebra.load_reserved`."""
        offset = self._checked(address, size)
        return self._widen(
            self._policy.load_reserved(self, offset, size, order, self._pairs.get(self._at.pc)), size
        )

    def store_conditional(self, address: Value, size: int, value: Value, order: Order) -> Value:
        """See `Algebra.store_conditional`."""
        offset = self._checked(address, size)
        failed = self._policy.store_conditional(
            self, offset, size, self._narrow(value, size), order, self._pairs.get(self._at.pc)
        )
        if failed is None:
            raise NotCompiled
        result = self.value(f"zext i1 {failed} to i64")
        self._flags[result] = failed
        return result

    def amo(self, op: AmoOp, address: Value, size: int, operand: Value, order: Order) -> Value:
        """See `Algebra.amo`."""
        offset = self._checked(address, size)
        old = self._policy.amo(self, op, offset, size, self._narrow(operand, size), order)
        return self._widen(old, size)

    def compare_and_swap(
        self, address: Value, size: int, expected: Value, desired: Value, order: Order
    ) -> Value:
        """See `Algebra.compare_and_swap`."""
        offset = self._checked(address, size)
        old = self._policy.compare_and_swap(
            self, offset, size, self._narrow(expected, size), self._narrow(desired, size), order
        )
        return self._widen(old, size)

    def compare_and_swap_pair(
        self, address: Value, expected: tuple[Value, Value], desired: tuple[Value, Value], order: Order
    ) -> tuple[Value, Value]:
        """See `Algebra.compare_and_swap_pair`."""
        offset = self._checked(address, 16)
        old = self._policy.compare_and_swap(
            self, offset, 16, self._join(expected), self._join(desired), order
        )
        if old is None:
            raise NotCompiled
        low = self.value(f"trunc i128 {old} to i64")
        shifted = self.value(f"lshr i128 {old}, 64")
        return low, self.value(f"trunc i128 {shifted} to i64")

    def _join(self, pair: tuple[Value, Value]) -> str:
        low, high = (self.value(f"zext i64 {v} to i128") for v in pair)
        return self.value(f"or i128 {low}, {self.value(f'shl i128 {high}, 64')}")

    def fence(self, predecessor: int, successor: int) -> None:
        """See `Algebra.fence`."""
        self._note_fence(predecessor, successor)
        # I and O order like R and W: devices are the interpreter's, which is a full barrier anyway.
        if predecessor and successor:
            self._policy.fence(self, bool(predecessor & 0b0101 and successor & 0b1010))

    def fence_tso(self) -> None:
        """See `Algebra.fence_tso`."""
        self._note_fence(3, 3)
        self._policy.fence(self, False)

    def _note_fence(self, predecessor: int, successor: int) -> None:
        if isinstance(self._policy, RecordingLowering):
            self._policy.note_fence(self, predecessor, successor)
