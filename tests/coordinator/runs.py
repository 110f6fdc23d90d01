"""Makes results, images and VMs for tests that need a run without running one."""

from __future__ import annotations

from pathlib import Path

from bus.access import AtomicKind, ScFailure
from coordinator.config import loads
from coordinator.result import Ending, HartResult, HotAddress, TrapReport, VmResult
from hart.image import Chunk, Image, Symbol

BASE = 0x8000_0000
TRAP = TrapReport(2, "illegal instruction", 0xFFFFFFFF, BASE + 0x14, ".4byte 0xffffffff")


def vm(keys=""):
    """A VM of two harts with `keys` in its table; its guest is never built."""
    return loads(f'name = "t"\n[vm]\nharts = 2\nguest.source = ["a.S"]\n{keys}', "t.toml", Path(".")).run.vms[
        "vm"
    ]


def image():
    """`start` and `worker` in code; `counter`, `byte`, `table` (4 words) and `bare` (no size) from BASE + 0x1000."""
    symbols = [
        Symbol("start", BASE),
        Symbol("worker", BASE + 0x10),
        Symbol("counter", BASE + 0x1000, 8),
        Symbol("byte", BASE + 0x1008, 1),
        Symbol("table", BASE + 0x1010, 16),
        Symbol("bare", BASE + 0x1020),
    ]
    chunks = (Chunk(BASE, bytes(32)), Chunk(BASE + 0x1000, MEMORY))
    return Image("a.S", BASE, chunks, {s.name: s for s in symbols})


MEMORY = (
    (40000).to_bytes(8, "little")
    + bytes([0xFE])
    + bytes(7)
    + b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 0xFFFFFFFF))
    + (7).to_bytes(8, "little")
)


def read(address, size):
    """Guest memory as `image` sets it; nothing else exists."""
    offset = address - BASE - 0x1000
    if not 0 <= offset <= len(MEMORY) - size:
        raise ValueError(f"access fault at {address:#x}")
    return MEMORY[offset : offset + size]


def hart(number=0, **changes):
    """A hart that retired 1,000,000 instructions in 2 s and did some atomics."""
    given = {
        "hart": number,
        "ending": Ending.PARKED,
        "pc": BASE + 0x18,
        "x": tuple(range(100, 132)),
        "instret": 1_000_000,
        "wall_s": 2.0,
        "atomics": {
            AtomicKind.CAS: 0,
            AtomicKind.LR: 60,
            AtomicKind.SC: 50,
            AtomicKind.AMO: 1000 * (number + 1),
        },
        "sc_failures": {ScFailure.OTHER_SC: 4, ScFailure.OTHER_STORE: number},
    }
    return HartResult(**(given | changes))


def result(**changes):
    """A VM that exited with code 0, by hart 1."""
    given = {
        "name": "vm",
        "ending": Ending.EXIT,
        "exit_code": 0,
        "hart": 1,
        "detail": "exit code 0 by hart 1",
        "harts": (hart(0), hart(1, ending=Ending.EXIT)),
        "hot": (
            HotAddress(
                BASE + 0x1000,
                "counter",
                {0: {AtomicKind.AMO: 1000}, 1: {AtomicKind.AMO: 2000, AtomicKind.LR: 60}},
            ),
        ),
        "console": b"hello\n",
        "wall_s": 2.1,
    }
    return VmResult(**(given | changes))


def trapped():
    """A VM whose hart 1 took a trap that nobody handles."""
    harts = (hart(0, ending=Ending.STOPPED), hart(1, ending=Ending.TRAP, trap=TRAP, pc=TRAP.pc))
    return result(ending=Ending.TRAP, exit_code=None, harts=harts, detail="hart 1 took a trap")
