"""What one access to guest memory is: its order bits, the AMO operations, and how it can fail.

Owns the vocabulary that harts and policies share. Never touches memory itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum, IntFlag


class Order(IntFlag):
    """The aq and rl bits of an access (unprivileged manual, "Specifying Ordering of Atomic Instructions")."""

    NONE = 0
    RL = 1
    AQ = 2
    AQRL = 3


class AmoOp(IntEnum):
    """The read-modify-write operations of Zaamo and Zabha; the value is the wire and trace encoding."""

    SWAP = 0
    ADD = 1
    XOR = 2
    AND = 3
    OR = 4
    MIN = 5
    MAX = 6
    MINU = 7
    MAXU = 8


def _signed(value: int, size: int) -> int:
    bits = 8 * size
    return value - (1 << bits) if value >> (bits - 1) else value


_COMBINE: dict[AmoOp, Callable[[int, int, int], int]] = {
    AmoOp.SWAP: lambda old, new, size: new,
    AmoOp.ADD: lambda old, new, size: old + new,
    AmoOp.XOR: lambda old, new, size: old ^ new,
    AmoOp.AND: lambda old, new, size: old & new,
    AmoOp.OR: lambda old, new, size: old | new,
    AmoOp.MIN: lambda old, new, size: min(old, new, key=lambda v: _signed(v, size)),
    AmoOp.MAX: lambda old, new, size: max(old, new, key=lambda v: _signed(v, size)),
    AmoOp.MINU: lambda old, new, size: min(old, new),
    AmoOp.MAXU: lambda old, new, size: max(old, new),
}


def combine(op: AmoOp, old: int, operand: int, size: int) -> int:
    """The value an AMO of `size` bytes (1, 2, 4, 8) stores.

    `old` and `operand` are unsigned; bits of `operand` above the width are ignored, as the manual says.
    """
    mask = (1 << 8 * size) - 1
    return _COMBINE[op](old, operand & mask, size) & mask


class Fault(Enum):
    """Why guest memory refused an access."""

    MISALIGNED = "address misaligned"
    ACCESS = "access fault"


class MemoryFault(Exception):
    """A refused access; the hart turns it into the exception that the kind of access calls for.

    `address` is the guest address reported in mtval.
    """

    def __init__(self, fault: Fault, address: int) -> None:
        super().__init__(f"{fault.value} at {address:#x}")
        self.fault = fault
        self.address = address


class ScFailure(IntEnum):
    """Why an SC failed: a closed list; the value indexes the hart page's counters (architecture rule 7)."""

    NO_RESERVATION = 0
    """No LR since reset, or since the last SC."""
    OTHER_STORE = 1
    """A plain store by another hart to the granule."""
    OTHER_SC = 2
    """A successful SC by another hart to the granule."""
    OTHER_AMO = 3
    """An AMO or a writing AMOCAS by another hart to the granule."""
    OWN_STORE = 4
    """A store or AMO of this hart to the granule, where the configuration lets that break it."""
    GRANULE_MISMATCH = 5
    """The SC's bytes do not lie in the reserved granule."""
    ADDRESS_MISMATCH = 6
    """Same granule, other address or size, where the configuration asks for the exact one."""
    TRAP = 7
    """A trap, where the configuration lets traps end reservations."""
    EXTERNAL_WRITE = 8
    """A write from outside the harts: a device, a debugger, the coordinator."""
    PAGE_TRANSITION = 9
    """The page began to be tracked, or its tracking was rebuilt, between LR and SC."""
    BUS_RESTART = 10
    """The arbiter was restarted and its reservations with it."""
    INJECTED = 11
    """Spurious failure asked for by the configuration."""
    VALUE_CHANGED = 12
    """A fused LR/SC found another value: some other hart has written. See `bus.policies.inline`."""
    TIER_CHANGE = 13
    """Compiled code began between the LR and the SC of a fused pair that the interpreter had begun."""


class AtomicKind(IntEnum):
    """The kinds of atomic access that are counted per hart; the value indexes the hart page's counters."""

    LR = 0
    SC = 1
    AMO = 2
    CAS = 3
    LOAD_ACQUIRE = 4
    STORE_RELEASE = 5
