"""What a run came to: how each VM and each hart ended, and what was counted. Data only.

Produced by `coordinator.vm`, judged by `coordinator.expect`, printed by the CLI.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from bus.access import AtomicKind, ScFailure


class Ending(Enum):
    """Why a hart or a VM stopped; the value is what reports print."""

    EXIT = "exit"
    """The guest asked to end (HTIF tohost)."""
    TRAP = "trap"
    """A trap that no handler of the guest's takes (mtvec was never set)."""
    PARKED = "parked"
    """Waits in WFI with no interrupt enabled: can never go on. When all harts do, the VM ends."""
    LIMIT = "instruction limit"
    """max_instructions was reached."""
    WATCHDOG = "watchdog"
    """The time limit was reached."""
    STOPPED = "stopped"
    """Stopped from outside, or because another hart ended the VM."""
    HART_DIED = "hart died"
    """The hart's process ended without leaving a result."""
    BUS_DIED = "bus died"
    """The bus process ended under the VM."""
    RECORDER_DIED = "recorder died"
    """The process that writes the recorded memory events ended under the VM."""


@dataclass(frozen=True, slots=True)
class TrapReport:
    """A trap as the guest would have seen it."""

    cause: int
    name: str
    tval: int
    pc: int
    instruction: str
    """The disassembled instruction at pc, with what it needs where the VM lacks that, or why it could not be read."""


@dataclass(frozen=True, slots=True)
class HartResult:
    """One hart at the end of a run; counts since its start. `x` holds x0-x31."""

    hart: int
    ending: Ending
    pc: int
    x: tuple[int, ...]
    instret: int
    wall_s: float
    trap: TrapReport | None = None
    traps_taken: int = 0
    atomics: dict[AtomicKind, int] = field(default_factory=dict)
    sc_failures: dict[ScFailure, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HotAddress:
    """An address that atomics touched: by hart, how often and of which kind."""

    address: int
    symbol: str
    by_hart: dict[int, dict[AtomicKind, int]]


@dataclass(frozen=True, slots=True)
class VmResult:
    """One VM at the end of a run.

    `exit_code` is the HTIF code where the ending is EXIT, else None. `hart` is the hart that brought the ending
    about, where one did.
    """

    name: str
    ending: Ending
    exit_code: int | None
    hart: int | None
    detail: str
    harts: tuple[HartResult, ...]
    hot: tuple[HotAddress, ...]
    console: bytes
    wall_s: float
