"""Effect summaries: what an instruction reads, writes and orders, and which register feeds what.

Owns the third instantiation of the algebra: a value is the set of its sources, and running a row's meaning
over such values records its effects, so nothing is said twice. Knows no memory model; the dependencies are
those that RVWMO calls syntactic (unprivileged manual, "Syntactic Dependencies" and "Source and Destination
Register Listings").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bus.access import AmoOp, Order
from hart.isa.algebra import Algebra
from hart.isa.decoder import Decoded


class MemoryEffect(Enum):
    """What an instruction does to memory or to its order."""

    NONE = "none"
    LOAD = "load"
    STORE = "store"
    LOAD_RESERVED = "lr"
    STORE_CONDITIONAL = "sc"
    AMO = "amo"
    COMPARE_AND_SWAP = "cas"
    FENCE = "fence"
    FENCE_TSO = "fence.tso"
    FENCE_I = "fence.i"


class Transfer(Enum):
    """Where control may go other than to the next instruction; faulting accesses and CSRs aside."""

    NONE = "none"
    BRANCH = "branch"
    JUMP = "jump"
    INDIRECT = "indirect"
    TRAP = "trap"
    RETURN = "return"


class Wait(Enum):
    """What an instruction may make the hart wait for."""

    NONE = "none"
    INTERRUPT = "interrupt"
    RESERVATION = "reservation"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of one instruction. Register sets hold numbers and never x0, which carries nothing.

    Attributes:
        reads: registers read.
        writes: registers written; by an SC only if it succeeds, in the terms of RVWMO.
        csr_reads: CSRs read.
        csr_writes: CSRs written.
        memory: its memory operation or fence.
        size: bytes accessed, 0 without an access.
        order: its aq and rl bits.
        amo: which operation an AMO makes.
        predecessor: for a FENCE the set ordered before it (I=8, O=4, R=2, W=1).
        successor: for a FENCE the set ordered after it.
        transfer: its control transfer.
        offset: from its pc to the target of a BRANCH or JUMP, in bytes.
        wait: what it may wait for.
        address: registers that feed the address accessed.
        data: registers that feed the data stored; for AMOCAS also those compared.
        condition: registers that feed a BRANCH's condition or an INDIRECT's target, for control dependencies.
        carried: registers from which a dependency is carried to `writes`. Empty where the result comes from
            memory: loads, LR, SC and AMO are not carriers.
        csr_carried: registers from which a dependency is carried to `csr_writes`. What `csr_reads` names is
            always carried to `writes`.

    """

    reads: frozenset[int]
    writes: frozenset[int]
    csr_reads: frozenset[int]
    csr_writes: frozenset[int]
    memory: MemoryEffect
    size: int
    order: Order
    amo: AmoOp | None
    predecessor: int
    successor: int
    transfer: Transfer
    offset: int | None
    wait: Wait
    address: frozenset[int]
    data: frozenset[int]
    condition: frozenset[int]
    carried: frozenset[int]
    csr_carried: frozenset[int]

    @property
    def reads_memory(self) -> bool:
        """Whether it loads, LR and AMO included."""
        return self.memory in _READERS

    @property
    def writes_memory(self) -> bool:
        """Whether it may store, SC and AMO included."""
        return self.memory in _WRITERS


_READERS = frozenset(
    {MemoryEffect.LOAD, MemoryEffect.LOAD_RESERVED, MemoryEffect.AMO, MemoryEffect.COMPARE_AND_SWAP}
)
_WRITERS = frozenset(
    {MemoryEffect.STORE, MemoryEffect.STORE_CONDITIONAL, MemoryEffect.AMO, MemoryEffect.COMPARE_AND_SWAP}
)


def effects(decoded: Decoded) -> Effects:
    """The effects of an instruction, found by running its meaning once."""
    recorder = _Recorder()
    algebra: Algebra[Sources] = recorder
    decoded.row.meaning(algebra, *decoded.arguments)
    return recorder.summary()


Sources = frozenset[int]
"""A value: the registers it was computed from. What comes from memory, CSRs, pc and constants has none."""

_NONE: Sources = frozenset()


class _Recorder:
    """The algebra over sources. Each operation notes its effect; each value is the union of its operands."""

    def __init__(self) -> None:
        self._reads = self._writes = self._carried = _NONE
        self._csr_reads = self._csr_writes = self._csr_carried = _NONE
        self._address = self._data = self._condition = _NONE
        self._memory, self._size, self._order = MemoryEffect.NONE, 0, Order.NONE
        self._amo: AmoOp | None = None
        self._fence = (0, 0)
        self._transfer = Transfer.NONE
        self._offset: int | None = None
        self._wait = Wait.NONE

    def summary(self) -> Effects:
        """What was recorded."""
        return Effects(
            reads=self._reads,
            writes=self._writes,
            csr_reads=self._csr_reads,
            csr_writes=self._csr_writes,
            memory=self._memory,
            size=self._size,
            order=self._order,
            amo=self._amo,
            predecessor=self._fence[0],
            successor=self._fence[1],
            transfer=self._transfer,
            offset=self._offset,
            wait=self._wait,
            address=self._address,
            data=self._data,
            condition=self._condition,
            carried=self._carried,
            csr_carried=self._csr_carried,
        )

    # Values

    def const(self, value: int) -> Sources:
        return _NONE

    def pc(self) -> Sources:
        return _NONE

    def next_pc(self) -> Sources:
        return _NONE

    def _unary(self, a: Sources) -> Sources:
        return a

    bswap = orc_b = _unary

    def _resized(self, a: Sources, bits: int) -> Sources:
        return a

    sext = zext = clz = ctz = cpop = _resized

    def _binary(self, a: Sources, b: Sources) -> Sources:
        return a | b

    add = sub = mul = mulh = mulhu = mulhsu = div = divu = rem = remu = _binary
    and_ = or_ = xor = sll = srl = sra = eq = ne = lt = ltu = _binary

    def select(self, condition: Sources, then: Sources, otherwise: Sources) -> Sources:
        return condition | then | otherwise

    # Registers

    def get(self, register: int) -> Sources:
        if register == 0:
            return _NONE
        self._reads |= {register}
        return frozenset({register})

    def set(self, register: int, value: Sources) -> None:
        if register != 0:
            self._writes |= {register}
            self._carried |= value

    def csr_read(self, number: int) -> Sources:
        self._csr_reads |= {number}
        return _NONE

    def csr_write(self, number: int, value: Sources) -> None:
        self._csr_writes |= {number}
        self._csr_carried |= value

    # Memory

    def _access(
        self, effect: MemoryEffect, address: Sources, size: int, order: Order, data: Sources = _NONE
    ) -> Sources:
        self._memory, self._size, self._order = effect, size, order
        self._address, self._data = address, data
        return _NONE

    def load(self, address: Sources, size: int, order: Order = Order.NONE) -> Sources:
        return self._access(MemoryEffect.LOAD, address, size, order)

    def store(self, address: Sources, size: int, value: Sources, order: Order = Order.NONE) -> None:
        self._access(MemoryEffect.STORE, address, size, order, value)

    def load_reserved(self, address: Sources, size: int, order: Order) -> Sources:
        return self._access(MemoryEffect.LOAD_RESERVED, address, size, order)

    def store_conditional(self, address: Sources, size: int, value: Sources, order: Order) -> Sources:
        return self._access(MemoryEffect.STORE_CONDITIONAL, address, size, order, value)

    def amo(self, op: AmoOp, address: Sources, size: int, operand: Sources, order: Order) -> Sources:
        self._amo = op
        return self._access(MemoryEffect.AMO, address, size, order, operand)

    def compare_and_swap(
        self, address: Sources, size: int, expected: Sources, desired: Sources, order: Order
    ) -> Sources:
        return self._access(MemoryEffect.COMPARE_AND_SWAP, address, size, order, expected | desired)

    def compare_and_swap_pair(
        self,
        address: Sources,
        expected: tuple[Sources, Sources],
        desired: tuple[Sources, Sources],
        order: Order,
    ) -> tuple[Sources, Sources]:
        old = self.compare_and_swap(address, 16, _NONE.union(*expected), _NONE.union(*desired), order)
        return old, old

    def fence(self, predecessor: int, successor: int) -> None:
        self._memory, self._fence = MemoryEffect.FENCE, (predecessor, successor)

    def fence_tso(self) -> None:
        self._memory = MemoryEffect.FENCE_TSO

    def fence_i(self) -> None:
        self._memory = MemoryEffect.FENCE_I

    # Control

    def jump(self, offset: int) -> None:
        self._transfer, self._offset = Transfer.JUMP, offset

    def jump_to(self, target: Sources) -> None:
        self._transfer, self._condition = Transfer.INDIRECT, target

    def branch(self, condition: Sources, offset: int) -> None:
        self._transfer, self._condition, self._offset = Transfer.BRANCH, condition, offset

    def _trap(self) -> None:
        self._transfer = Transfer.TRAP

    illegal = ecall = ebreak = _trap

    def mret(self) -> None:
        self._transfer = Transfer.RETURN

    def wfi(self) -> None:
        self._wait = Wait.INTERRUPT

    def wait_on_reservation(self, bounded: bool) -> None:
        self._wait = Wait.RESERVATION

    def pause(self) -> None:
        self._wait = Wait.PAUSE
