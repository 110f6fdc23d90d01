"""The shared segment's layout: which word lies where, one row per word.

Owns offsets and meanings. Never opens a segment. All words are unsigned 64-bit, aligned, native byte order.

    header | hart pages | page map | granule table | guest RAM | rings | ownership table | lines |
    event rings

Every area starts on a 4 KiB boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag, unique

from bus.access import AtomicKind, ScFailure
from bus.traffic import Traffic

MAGIC = 0x6D726F7473747268  # "hrtstorm"
VERSION = 2
PAGE_EXP = 12
PAGE = 1 << PAGE_EXP
WORD = 8
GRANULE_BYTES = 2 * WORD
"""Of the granule table, for each granule."""

LINE_EXP = 6
"""log2 of the bytes of a line: the unit in which recorded writes are numbered."""

RAM_BASE = 0x8000_0000
MAX_WATCHPOINTS = 16
TIMER_FREQUENCY_HZ = 10_000_000
"""Unless the maker of the segment sets another."""


class Header(IntEnum):
    """Word indices in the header."""

    MAGIC = 0
    VERSION = 1
    RAM_BASE = 2
    """Guest physical address of RAM."""
    RAM_BYTES = 3
    GRANULE_EXP = 4
    """log2 of the granule size in bytes."""
    HARTS = 5
    RING_BYTES = 6
    """Bytes of console ring per hart."""
    TIME_ORIGIN_NS = 7
    """Host CLOCK_MONOTONIC at which mtime was 0."""
    BUS_GENERATION = 8
    """How many bus processes have served this VM; a hart that sees it change repeats its open request."""
    EXIT_TICKET = 9
    """0, or 1 + the hart whose exit request ended the VM: taken once, by compare-exchange."""
    BUS_TRANSACTIONS = 10
    """Transactions that the bus has executed; written by it."""
    TIME_OFFSET = 11
    """Added to mtime (written through the CLINT), modulo 2**64."""
    QUIESCE_EPOCH = 12
    """Written by the bus: number of the latest quiescence it asked for; see `bus.quiescence`."""
    OWNED = 13
    """1 if there is an ownership table."""
    CODE_GENERATION = 14
    """Written by the compile service: how many regions it has made ready."""
    REGIONS_COMPILED = 15
    """Written by the compile service: regions compiled for this VM."""
    REGIONS_CACHED = 16
    """Written by the compile service: regions found in the cache."""
    EVENT_BYTES = 23
    """Bytes of memory-event ring per hart; 0 if memory is not recorded."""
    RECORD_FROM = 18
    """Offset in RAM of the first byte whose accesses are recorded."""
    RECORD_BYTES = 19
    """How many bytes from there are recorded."""
    EVENTS_MAY_BE_LOST = 21
    """1 if a hart whose event ring is full goes on without noting, instead of waiting for space."""
    EXTERNAL_WRITES = 22
    """Written by the bus: writes from outside that it has let through."""
    RECORD_ENDS = 20
    """Written by the coordinator: 1 once no hart runs any more, so that the recording can be completed."""
    TIMER_FREQUENCY_HZ = 17
    """Ticks of mtime per second; written once, before a hart starts."""
    WATCH_GENERATION = 24
    """Written by the coordinator: goes up when watchpoints change, while no hart runs."""
    WATCHPOINTS = 25
    """How many there are."""
    WATCHPOINT = 32
    """Address, bytes and `hart.watch.Access` of each."""


@unique
class Hart(IntEnum):
    """Word indices in a hart page; the hart writes it unless the comment says otherwise."""

    DOORBELL = 0
    """Pending Doorbell bits: set by anyone (fetch_or), taken by the hart (exchange)."""
    STATUS = 1
    """A HartStatus."""
    PID = 2
    HEARTBEAT_NS = 3
    """Host CLOCK_MONOTONIC of a recent safepoint."""
    MSIP = 4
    """CLINT software-interrupt bit; written by any hart."""
    MTIMECMP = 5
    """CLINT timer compare; written by any hart."""
    WAITING = 6
    """1 while the hart is about to wait or waits at the bus: whoever rings must then wake it."""
    PC = 7
    INSTRET = 8
    ENDING = 9
    """A HartEnding, once STATUS is ENDED."""
    TRAP_CAUSE = 10
    TRAP_TVAL = 11
    TRAP_COUNT = 12
    WALL_NS = 13
    """Time from start to end."""
    STARTED = 14
    """1 once the hart has ever run: KVM's has-run flag."""
    EXIT_CODE = 15
    """What it asked the VM to end with, once it takes the exit ticket."""

    TXN_PHASE = 16
    """Written by the bus, as all TXN words: a TransactionPhase."""
    TXN_ID = 17
    """Id of the hart's last executed request."""
    TXN_KIND = 18
    """Its `bus.messages.Kind`."""
    TXN_ADDRESS = 19
    TXN_SIZE = 20
    """Bytes that it writes; 0 if none."""
    TXN_LOW = 21
    """The value that it writes, low half; for an LR the bytes read."""
    TXN_HIGH = 22
    TXN_RESULT = 23
    """Its answer, low half."""
    TXN_RESULT_HIGH = 24
    RESERVATION = 25
    """Written by the arbiter: 1 + reserved granule, or 0 if there is no reservation."""
    RESERVATION_ADDRESS = 26
    """What the LR read; valid while RESERVATION is not 0."""
    RESERVATION_SIZE = 27
    RESERVATION_LOST = 28
    """Written by the arbiter: why there is no reservation, 1 + ScFailure | hart << 8; 0 before the first LR."""

    JOINED = 29
    """Written by the bus: 1 from JOIN to LEAVE."""
    PAUSE = 30
    """Written by the coordinator: 0, or the number of the pause in which the hart shall stay at a safepoint."""
    PAUSED = 31
    """The pause in which the hart stands, or stood last: then its registers are in the page."""

    X = 32
    """x0-x31."""
    ATOMICS = 64
    """Counts by AtomicKind."""
    SC_FAILURES = 80
    """Counts by ScFailure."""
    NUMBER = 96
    """The hart's number."""
    HELD = 97
    """Under `inline`: 1 + the granule whose word the hart may hold, or 0; read after its death."""
    HELD_TOO = 98
    """Likewise a second one: AMOCAS.Q with 8-byte granules touches two."""
    RESERVATION_VERSION = 99
    """Under `inline`: the granule word that the LR saw."""
    EVENTS_LOST = 181
    """Memory events for which there was no space, where losing them is allowed."""
    LINES_TAKEN = 182
    """Lines that this hart took from a dead one, whose last write there may not have been recorded."""
    STEPS = 100
    """Written by the coordinator: how many instructions the paused hart shall execute; 0 calls a step off."""
    STEPPED = 101
    """How many steps the hart has done; it stands, registers in the page, once this has gone up."""
    HIT = 102
    """A `hart.watch.Access`: the hart stands behind an access that a watchpoint is for. The coordinator writes 0 and
    rings to let it go on."""
    HIT_PC = 103
    HIT_ADDRESS = 104
    HIT_SIZE = 105
    HIT_READ = 106
    """What it read, two words."""
    HIT_WRITTEN = 108
    """What it wrote, two words."""
    RESERVATION_VALUE = 110
    """Under `cas`: the value that the LR read, zero-extended."""
    PARKED = 111
    """1 + the granule on whose word the hart sleeps or is about to, or 0; see `bus.parking`."""
    SPUN_ON = 112
    """Under `inline`: 1 + the granule that the hart spins on, or 0, and in the next word what its word was."""
    SPUN_SEEN = 113
    BATON = 150
    """Under `inline`: 1 + the granule on whose word the hart was woken while it span, or 0; what the word was then; and
    the same two for the last one that it passed on. See `bus.parking`."""
    BATON_AT = 151
    PASSED = 152
    PASSED_AT = 153
    SPUN_YIELDS = 154
    """How often the hart has given way since it noted SPUN_SEEN."""
    SC_PC = 114
    """Address of the SC at hand; for `bus.failures`, as the next five."""
    SC_LAST_FAILED = 115
    """Which SC of the hart failed last."""
    SC_FAILED_IN_A_ROW = 116
    """How many had failed in a row by then."""
    SC_MOST_IN_A_ROW = 117
    SC_WORST_PC = 118
    """Where most had failed in a row."""
    SC_FAILED_ELSEWHERE = 119
    """Failures for which SC_SITES had no room."""
    HEAT_NEXT = 120
    """By AtomicKind: the number of the atomic that is sampled next; see `bus.native_heat`."""
    COHERENCE = 160
    """Under `directory`, written by the bus: counts by Traffic."""
    RECALLS = 176
    """Under `directory`, written by the bus: how many recalls the hart has been sent."""
    RECALLS_DONE = 177
    """Under `directory`, written by the bus: every recall up to this number has been done."""
    ANSWERED = 178
    """Written by the bus: id of the last request that it answered without a value; see `bus.server`."""
    BELL_NS = 140
    """Host CLOCK_MONOTONIC when the hart last took its doorbell."""
    BELL_PROCESSOR_NS = 141
    """Processor time that it used from its look before, which found no bell, to the one that did; where TIMED."""
    TIMED = 142
    """Written by the coordinator: 1 to have that measured."""
    POSTED = 179
    """Under `serial`: 1 while AMOs of the hart may not have been executed yet that it does not wait for."""
    POSTED_DONE = 180
    """Written by the bus: id of the last of those that it has executed; counts while TXN_PHASE is EMPTY, too."""
    MVENDORID = 400
    """What the CSR of that name reads; written by the coordinator, as the next two, before the hart starts."""
    MARCHID = 401
    MIMPID = 402
    SUPERVISOR = 404
    """CSRs of a hart that stands or has not started, as `hart.supervisor_view` orders and shows them."""
    SC_SITES = 512
    """FAILURE_SITES times pc, granule << 8 | ScFailure, count; see `bus.failures`."""
    HEAT = 896
    """HEAT_ROWS times key, count; see `bus.native_heat`."""
    END = 1024


FAILURE_SITES = 128
SITE_WORDS = 3
HEAT_ROWS = 64
HART_BYTES = Hart.END * WORD

assert Header.WATCHPOINT + 3 * MAX_WATCHPOINTS <= PAGE // WORD
assert Hart.COHERENCE + len(Traffic) <= Hart.RECALLS
assert Hart.ATOMICS + len(AtomicKind) <= Hart.SC_FAILURES
assert Hart.SC_FAILURES + len(ScFailure) <= Hart.NUMBER
assert Hart.HEAT_NEXT + len(AtomicKind) <= 128
assert Hart.SC_SITES + FAILURE_SITES * SITE_WORDS <= Hart.HEAT
assert Hart.HEAT + 2 * HEAT_ROWS <= Hart.END
assert HART_BYTES % PAGE == 0


class HartStatus(IntEnum):
    """What a hart is doing, as it says in its page."""

    NEW = 0
    """No process yet, or not joined."""
    RUNNING = 1
    WAITING = 2
    """In WFI or Zawrs, at the bus."""
    PAUSED = 3
    """At a safepoint, registers in the page, until resumed."""
    PARKED = 4
    """In WFI with no interrupt enabled: only a stop ends it."""
    ENDED = 5


class HartEnding(IntEnum):
    """Why a hart ended, as it says in its page."""

    NONE = 0
    EXIT = 1
    """It wrote an exit request to tohost."""
    TRAP = 2
    """A trap with no handler set."""
    PARKED = 3
    """WFI with no interrupt enabled."""
    LIMIT = 4
    STOPPED = 5
    DIED = 6
    """Its process ended without a word; written by the coordinator."""


class Doorbell(IntFlag):
    """What a hart is asked to look at, at its next safepoint."""

    STOP = 1
    """End, with the registers in the page."""
    PAUSE = 2
    """PAUSE, STEPS or HIT in the page changed."""
    QUIESCE = 4
    """Acknowledge QUIESCE_EPOCH to the bus."""
    INTERRUPT = 8
    """MSIP, MTIMECMP or the time changed."""
    RECALL = 16
    """Under `directory`: other harts want granules of this one."""


class TransactionPhase(IntEnum):
    """How far the bus got with a hart's last request; see `bus.policies.serial`."""

    EMPTY = 0
    """The words beside are not valid."""
    INTENT = 1
    """They are valid; memory may or may not be written yet."""
    DONE = 2


class PageState(IntFlag):
    """Bits of a page-map byte; while it is 0, native code stores to the page without asking."""

    TRACKED = 1
    """Some granule of the page is, or is about to be, tracked."""
    PENDING = 2
    """Under `inline`: some hart may still store as if the page were not tracked; an LR asks the bus."""
    FROZEN = 4
    """Under `inline`: a hart died on this page; nobody touches its granule words until the bus says so."""
    WATCHED = 0x80
    """The environment wants to see each store, or a watchpoint lies here: only the interpreter stores and makes atomic
    accesses (`hart.watch`)."""


class GranuleState(IntEnum):
    """Low bits of a granule word under `serial`."""

    UNTRACKED = 0
    """Harts write it directly."""
    PENDING = 1
    """Harts send their stores to the bus; some hart may still have a direct store in flight."""
    TRACKED = 2
    """Only the bus writes it."""


class Ownership(IntEnum):
    """What a hart may do with a granule under `directory`: a byte of the ownership table, the I, S, M of MSI."""

    NONE = 0
    SHARED = 1
    """Load; nobody else may do more."""
    MODIFIED = 2
    """Load and store; nobody else may do either."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes that fix a segment's layout.

    Attributes:
        harts: number of harts, at least 1.
        ram_bytes: guest RAM, a multiple of 4096.
        ram_base: guest physical address of RAM, a multiple of 4096.
        granule_exp: log2 of the granule size, 3 to 12.
        ring_bytes: console ring bytes per hart, a multiple of 4096; 0 for none.
        event_bytes: memory-event ring bytes per hart, a multiple of 4096; 0 if memory is not recorded.
        owned: whether there is an ownership table: a byte per hart and granule.

    Raises:
        ValueError: a value out of range; names it.

    """

    harts: int
    ram_bytes: int
    ram_base: int = RAM_BASE
    granule_exp: int = 6
    ring_bytes: int = 0
    event_bytes: int = 0
    owned: bool = False

    def __post_init__(self) -> None:
        if self.harts < 1:
            raise ValueError(f"harts = {self.harts}: at least 1")
        for name in ("ram_bytes", "ram_base", "ring_bytes", "event_bytes"):
            if getattr(self, name) % PAGE:
                raise ValueError(f"{name} = {getattr(self, name):#x}: must be a multiple of {PAGE}")
        if self.ram_bytes <= 0 or self.ram_base < 0 or self.ram_base + self.ram_bytes > 1 << 56:
            raise ValueError(f"ram_bytes = {self.ram_bytes:#x} at {self.ram_base:#x}: must lie below 2**56")
        if not 3 <= self.granule_exp <= 12:
            raise ValueError(f"reservation_set_size_exp = {self.granule_exp}: 3 to 12")

    @property
    def hart_offset(self) -> int:
        """Byte offset of hart 0's page."""
        return PAGE

    @property
    def page_map_offset(self) -> int:
        """Byte offset of the page map: one byte per 4 KiB of RAM."""
        return self.hart_offset + self.harts * HART_BYTES

    @property
    def granule_offset(self) -> int:
        """Byte offset of the granule table: two words per granule of RAM, its state and who wrote it last (for
        reports); side by side, for they are written together."""
        return self.page_map_offset + _round_up(self.ram_bytes // PAGE)

    @property
    def ram_offset(self) -> int:
        """Byte offset of guest RAM."""
        return self.granule_offset + _round_up((self.ram_bytes >> self.granule_exp) * GRANULE_BYTES)

    @property
    def ring_offset(self) -> int:
        """Byte offset of hart 0's ring."""
        return self.ram_offset + self.ram_bytes

    @property
    def line_offset(self) -> int:
        """Byte offset of the line table: one word per line of RAM, if memory is recorded; see `bus.recorder`."""
        return self.ownership_offset + self.harts * self.ownership_bytes

    @property
    def event_offset(self) -> int:
        """Byte offset of hart 0's memory-event ring."""
        return self.line_offset + (_round_up((self.ram_bytes >> LINE_EXP) * WORD) if self.event_bytes else 0)

    @property
    def ownership_offset(self) -> int:
        """Byte offset of hart 0's part of the ownership table."""
        return self.ring_offset + self.harts * self.ring_bytes

    @property
    def ownership_bytes(self) -> int:
        """Size of each hart's part: a byte per granule of RAM; 0 if there is no such table."""
        return _round_up(self.ram_bytes >> self.granule_exp) if self.owned else 0

    @property
    def total_bytes(self) -> int:
        """Size of the segment."""
        return self.event_offset + self.harts * self.event_bytes


def _round_up(size: int) -> int:
    return -(-size // PAGE) * PAGE
