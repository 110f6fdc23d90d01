"""What a run came to: how each VM and each hart ended, and what was counted. Data only.

Produced by `coordinator.vm`, judged by `coordinator.expect`, printed by the CLI.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from bus.access import AtomicKind, ScFailure
from bus.traffic import Traffic


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
class CodeProfile:
    """What a piece of guest code took on one hart.

    Attributes:
        function: symbol that covers its start, or the bare address; for no code, what it was, in brackets.
        start: guest address of its first instruction; 0 for no code.
        end: guest address after its last.
        tier: `interpreter`, `t1` or `t2`; `-` for no code.
        instructions: how many it retired.
        seconds: how long it ran.

    """

    function: str
    start: int
    end: int
    tier: str
    instructions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HartResult:
    """One hart at the end of a run; counts since its start. `x` holds x0-x31, `profile` is empty unless asked for."""

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
    sc_failures_in_a_row: int = 0
    """The longest run of SCs that failed one after the other."""
    traffic: dict[Traffic, int] = field(default_factory=dict)
    profile: tuple[CodeProfile, ...] = ()


@dataclass(frozen=True, slots=True)
class HotAddress:
    """An address that atomics touched: by hart, how often and of which kind."""

    address: int
    symbol: str
    by_hart: dict[int, dict[AtomicKind, int]]


@dataclass(frozen=True, slots=True)
class FailedScs:
    """SCs at `pc` to one granule that failed for one cause: by hart, how many.

    `symbol` names pc, `place` the granule, which begins at `granule`.
    """

    pc: int
    symbol: str
    granule: int
    place: str
    cause: ScFailure
    by_hart: dict[int, int]


@dataclass(frozen=True, slots=True)
class StuckLoop:
    """An LR/SC loop in which harts were stuck when the run ended; see `coordinator.contention`.

    Attributes:
        verdict: "livelock" if no hart went on, "starvation" if others did.
        harts: who was stuck in it.
        in_a_row: how many SCs had failed in a row, by each of them at least.
        start: address of the LR, or of the SC if it has none; `symbol` names it.
        sc: address of the SC.
        unconstrained: why this is no constrained loop, which is promised success; empty if it is one.
        causes: why the SC failed there, since the harts' start.

    """

    verdict: str
    harts: tuple[int, ...]
    in_a_row: int
    start: int
    sc: int
    symbol: str
    unconstrained: str
    causes: dict[ScFailure, int]

    def __str__(self) -> str:
        """One line for people."""
        who = ", ".join(map(str, self.harts))
        kind = f"not constrained: {self.unconstrained}" if self.unconstrained else "constrained"
        causes = ", ".join(
            f"{cause.name.lower().replace('_', ' ')} {count:,}"
            for cause, count in sorted(self.causes.items(), key=lambda item: -item[1])
        )
        return (
            f"{self.verdict}: hart{'s' if len(self.harts) > 1 else ''} {who} in the LR/SC loop at {self.symbol} "
            f"({self.start:#x}, SC at {self.sc:#x}; {kind}): {self.in_a_row:,} SCs failed in a row ({causes})"
        )


@dataclass(frozen=True, slots=True)
class BusyGranule:
    """A granule that harts passed to and fro: by hart, what that cost. `address` is its first byte's."""

    address: int
    symbol: str
    by_hart: dict[int, dict[Traffic, int]]


@dataclass(frozen=True, slots=True)
class VmResult:
    """One VM at the end of a run.

    `exit_code` is the HTIF code where the ending is EXIT, else None. `hart` is the hart that brought the ending
    about, where one did. `transactions` is how many the bus executed. `regions_compiled` and `regions_cached` are how
    many pieces of guest code were compiled, each once for all harts, and how many came from the cache of earlier runs.
    `compiler_ended` is how the compiler's process ended, if it did before the VM, else empty: from then on no code was
    compiled.
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
    granules: tuple[BusyGranule, ...] = ()
    transactions: int = 0
    failed_scs: tuple[FailedScs, ...] = ()
    stuck: tuple[StuckLoop, ...] = ()
    regions_compiled: int = 0
    regions_cached: int = 0
    compiler_ended: str = ""

    @property
    def messages(self) -> int:
        """See `messages`."""
        return messages(self.transactions, (hart.traffic.get(Traffic.MESSAGE, 0) for hart in self.harts))


def messages(transactions: int, by_directory: Iterable[int]) -> int:
    """Messages between harts and bus for the sake of memory: request and answer of each transaction, and the traffic
    that `directory` counts itself, for each hart."""
    return 2 * transactions + sum(by_directory)
