"""Where everything lies in the guest memory of a harness VM: addresses, words and records that code and host share.

Owns numbers only. The guest's code takes them from `defines`, so that none is written down twice.

    code of the kernel | control | schedule | hart blocks | tables of outcomes | tests | teams

A *team* is as many harts as a test has threads; several teams run copies of a test beside each other. Each has its own
memory: barriers, results, and twice room for locations, for pages on which LR/SC has run stay slower for stores.
"""

from __future__ import annotations

from enum import IntEnum, unique

WORD = 8
RAM_BASE = 0x4000_0000
"""Below 2**31, so that an address stays what it is when a test keeps it in 32 bits."""

MAX_LOCATIONS = 8
MAX_THREADS = 8
MAX_SHOWN = 15
"""Values of an outcome: registers and memory that the condition and the filter look at."""
MAX_REGISTERS = 8
"""Of one thread, in an outcome."""
ROOM = 64
"""Bytes of a location: one granule of the default size. No two locations share one."""
MAX_INITIAL = MAX_LOCATIONS * ROOM // WORD
TABLE_SLOTS = 1024
MAX_INSTANCES = 1 << 13
"""Instances of a test that a round runs."""
SCHEDULE_ROWS = 64

CONTROL = RAM_BASE + 0x1_0000
SCHEDULE = RAM_BASE + 0x2_0000
HART_BLOCKS = RAM_BASE + 0x10_0000
HART_BLOCK_BYTES = 0x1000
TABLES = RAM_BASE + 0x100_0000
TABLE_BYTES = TABLE_SLOTS * (1 + MAX_SHOWN) * WORD
TESTS = RAM_BASE + 0x200_0000
TESTS_BYTES = 0x200_0000
TEAMS = TESTS + TESTS_BYTES
MAX_HARTS = (TESTS - TABLES) // TABLE_BYTES

COMMAND_TEST_BITS = 20
"""A command is a sequence number above the number of a test."""


class Control(IntEnum):
    """Words of the control page, written by the host."""

    COMMAND = 0
    """What to run; a new one begins when it changes."""
    STOP = 8
    """The command to end after the round that it is in. Another line than COMMAND's: it is read every round."""


class Team(IntEnum):
    """Byte offsets in a team's memory."""

    FLAGS = 0
    """A line for each hart: the barrier that it has come to."""
    DECISION = 0x1000
    """The command that the team's first hart has seen to be stopped."""
    CELLS = 0x2000
    """A line for each iteration: the round in which one hart lets the others go."""
    RESULTS = CELLS + MAX_INSTANCES * 64
    """Registers, a line for each instance, thread by thread."""
    RESULTS_OF_THREAD = MAX_INSTANCES * 64
    PLAIN = 0x100_0000
    """Locations of tests without LR."""
    TRACKED = 0x200_0000
    """Locations of tests with LR."""
    AREA_BYTES = 0x100_0000
    BYTES = 0x300_0000


@unique
class Block(IntEnum):
    """Words of a hart's block; the host reads SEEN, DONE, ROUNDS, OUTCOMES and LOST."""

    HART = 0
    HARTS = 1
    SEEN = 2
    """The command that the hart is at, or was at last."""
    DONE = 3
    """The last command that it has ended."""
    ROUNDS = 4
    """Rounds of this command."""
    OUTCOMES = 5
    """Outcomes that this hart has counted."""
    LOST = 6
    """Outcomes for which its table had no room."""
    TABLE = 7
    RANDOM = 8
    """State of a linear congruential generator modulo 2**64."""
    FACTOR = 9
    TEAM = 10
    ROLE = 11
    THREADS = 12
    TEST = 13
    EPOCH = 14
    """Barriers passed, above the command's number: what flags and cells hold."""
    INCREMENT = 15
    """Odd: instances come in the order of the generator 5 x + INCREMENT."""
    MASK = 16
    COUNT = 17
    FIRST = 18
    SYNC_MASK = 19
    """Iterations whose number has none of these bits begin together."""
    DELAY_MASK = 20
    SKEW = 21
    STRIDE = 22
    """Bytes from an instance of a location to the next."""
    CELLS = 23
    RESULTS = 24
    TURN = 25
    """How many synchronisations until this hart is the one that lets the others go."""
    RETURN = 26
    SHARE = 27
    PAIRS = 28
    INITIAL_END = 29
    SHOWN_END = 30
    PATIENCE = 31
    BASES = 32
    """Address of each location's instance 0."""
    VALUES = 48
    SHOWN = 64
    """For each value of an outcome: address for instance 0, mask of what moves it, shift left, shift right."""
    INITIAL = 128
    """For each initial word: address and value for instance 0, mask of what is added to the value."""
    END = 512


assert Team.PLAIN + Team.AREA_BYTES == Team.TRACKED
assert Team.RESULTS + MAX_THREADS * Team.RESULTS_OF_THREAD <= Team.PLAIN
assert Block.SHOWN + 4 * (MAX_SHOWN + 1) <= Block.INITIAL
assert Block.INITIAL + 3 * MAX_INITIAL <= Block.END
assert Block.VALUES + MAX_SHOWN < Block.SHOWN


@unique
class Record(IntEnum):
    """Words of a test's record."""

    THREADS = 0
    LOCATIONS = 1
    AREA = 2
    """Offset of its locations in the team's memory."""
    SLOT_EXP = 3
    """log2 of the bytes of a table's slot."""
    INITIAL_COUNT = 4
    INITIAL = 5
    """Address of its initial words: location, offset, value, 1 + location whose address is added."""
    SHOWN_COUNT = 6
    SHOWN = 7
    """Address of what an outcome holds: 1 + location or 0 for a result, offset, shift left, shift right."""
    ENTRY = 8
    """Code of each thread."""
    END = ENTRY + MAX_THREADS


@unique
class Row(IntEnum):
    """Words of a row of the schedule: how a round is run."""

    MASK = 0
    """Instances less 1; a power of two less 1."""
    INCREMENT = 1
    FIRST = 2
    SYNC_MASK = 3
    DELAY_MASK = 4
    SKEW_MASK = 5
    STRIDE = 6
    SHARE = 7
    """Rotates which hart writes initial values and counts outcomes of which instances."""
    PATIENCE = 8
    """How often in all a hart looks whether it is let go, before it goes by itself: the other may have no processor."""
    BASES = 9
    """Offset of each location's instance 0."""
    END = BASES + MAX_LOCATIONS


MODEL_BASE = 0x5A00_0000
MODEL_STEP_EXP = 16


def ram_bytes(teams: int) -> int:
    """How much RAM a VM with so many teams needs."""
    return TEAMS - RAM_BASE + teams * Team.BYTES


def defines() -> dict[str, str]:
    """All of this, as the kernel's source names it: `BLOCK_ROUNDS` is a byte offset, `TEAM_FLAGS` too."""
    words = {
        f"{owner.__name__.upper()}_{member.name}": member.value * WORD
        for owner in (Control, Block, Record, Row)
        for member in owner
    }
    places = {f"TEAM_{member.name}": member.value for member in Team}
    here = {
        name: globals()[name]
        for name in (
            "RAM_BASE", "CONTROL", "SCHEDULE", "HART_BLOCKS", "TESTS", "TEAMS", "TABLE_SLOTS", "MAX_LOCATIONS",
            "SCHEDULE_ROWS", "COMMAND_TEST_BITS", "ROOM", "MODEL_BASE", "MODEL_STEP_EXP",
        )
    }  # fmt: skip
    return {name: str(value) for name, value in (words | places | here).items()}
