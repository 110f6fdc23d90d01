"""Control and status registers of an M-mode hart: which exist, what they hold, what may be written.

Owns the registers' state and their WARL rules, one row per register. Decides nothing about traps; reads the time
and the interrupt lines through callbacks.

The machine has M-mode only. Registers of modes and features that it lacks, but that start-up code writes without
asking, are there and read as zero (WARL); any other number is an illegal instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hart.isa.csrs import NUMBERS
from hart.isa.extensions import misa

MSTATUS_MIE = 1 << 3
MSTATUS_MPIE = 1 << 7
MSTATUS_MPP_M = 3 << 11
MIP_MSIP = 1 << 3
MIP_MTIP = 1 << 7
MIP_MEIP = 1 << 11
_ALL = (1 << 64) - 1


class Counters(Protocol):
    """What counter registers read."""

    instret: int
    """Instructions retired before the current one."""

    def now(self) -> int:
        """Mtime."""

    def interrupts_pending(self) -> int:
        """The interrupt lines, as bits of mip."""


class NoSuchCsr(Exception):
    """The register does not exist, or is read-only and was written."""


class CsrFile:
    """The CSRs of one hart. Values are unsigned 64-bit."""

    def __init__(self, hart: int, extensions: frozenset[str], counters: Counters) -> None:
        """`extensions`, bundles resolved, shape misa and mepc and say which counters there are."""
        self.mstatus = MSTATUS_MPP_M
        self.mtvec = 0
        self.mtvec_written = False
        """Whether the guest ever set a trap vector."""
        self.mie = 0
        self.mepc = 0
        self.mcause = 0
        self.mtval = 0
        self.mscratch = 0
        self.mcycle_offset = 0
        self.minstret_offset = 0
        self.mvendorid = self.marchid = self.mimpid = 0
        self.mhartid = hart
        self.misa = misa(extensions)
        self.epc_mask = _ALL & ~(1 if "Zca" in extensions else 3)
        self.counters = counters
        self._rows = {n: row for n, row in _ROWS.items() if n not in _OWNERS or _OWNERS[n] in extensions}

    def read(self, number: int) -> int:
        """Value of register `number`; raises NoSuchCsr."""
        row = self._rows.get(number)
        if row is None:
            raise NoSuchCsr(number)
        return row.read(self)

    def write(self, number: int, value: int) -> None:
        """Write what the register's fields allow; raises NoSuchCsr, also for read-only numbers."""
        row = self._rows.get(number)
        if row is None or number >> 10 == 3:
            raise NoSuchCsr(number)
        row.write(self, value)


@dataclass(frozen=True, slots=True)
class _Register:
    read: Callable[[CsrFile], int]
    write: Callable[[CsrFile, int], None]


def _ignore(csr: CsrFile, value: int) -> None:
    """WARL: nothing in the register can change."""


def _zero(csr: CsrFile) -> int:
    return 0


def _stored(name: str, mask: int = _ALL, always: int = 0) -> _Register:
    """Bits of `mask` are writable, bits of `always` are ones."""

    def write(csr: CsrFile, value: int) -> None:
        setattr(csr, name, value & mask | always)

    return _Register(lambda csr: int(getattr(csr, name)), write)


def _write_mtvec(csr: CsrFile, value: int) -> None:
    mode = value & 3
    csr.mtvec = value & ~3 & _ALL | (mode if mode < 2 else csr.mtvec & 3)
    csr.mtvec_written = True


def _write_mepc(csr: CsrFile, value: int) -> None:
    csr.mepc = value & csr.epc_mask


# A counter that is written holds the value from the next instruction on, hence the 1 (manual, "Zicntr").


def _write_mcycle(csr: CsrFile, value: int) -> None:
    csr.mcycle_offset = value - csr.counters.instret - 1


def _write_minstret(csr: CsrFile, value: int) -> None:
    csr.minstret_offset = value - csr.counters.instret - 1


def _cycle(csr: CsrFile) -> int:
    """One cycle per instruction: a functional model has no other clock of its own."""
    return csr.counters.instret + csr.mcycle_offset & _ALL


def _instret(csr: CsrFile) -> int:
    return csr.counters.instret + csr.minstret_offset & _ALL


_TABLE: dict[str, _Register] = {
    "mvendorid": _Register(lambda csr: csr.mvendorid, _ignore),
    "marchid": _Register(lambda csr: csr.marchid, _ignore),
    "mimpid": _Register(lambda csr: csr.mimpid, _ignore),
    "mconfigptr": _Register(_zero, _ignore),
    "mhartid": _Register(lambda csr: csr.mhartid, _ignore),
    "misa": _Register(lambda csr: csr.misa, _ignore),
    "mstatus": _stored("mstatus", MSTATUS_MIE | MSTATUS_MPIE, always=MSTATUS_MPP_M),
    "mtvec": _Register(lambda csr: csr.mtvec, _write_mtvec),
    "mie": _stored("mie", MIP_MSIP | MIP_MTIP | MIP_MEIP),
    "mip": _Register(lambda csr: csr.counters.interrupts_pending(), _ignore),
    "mscratch": _stored("mscratch"),
    "mepc": _Register(lambda csr: csr.mepc, _write_mepc),
    "mcause": _stored("mcause"),
    "mtval": _stored("mtval"),
    "mcycle": _Register(_cycle, _write_mcycle),
    "minstret": _Register(_instret, _write_minstret),
    "cycle": _Register(_cycle, _ignore),
    "instret": _Register(_instret, _ignore),
    "time": _Register(lambda csr: csr.counters.now(), _ignore),
}
_READ_AS_ZERO = (
    "medeleg", "mideleg", "mcounteren", "menvcfg", "mcountinhibit", "satp",
    *(f"pmpcfg{i}" for i in range(0, 16, 2)),
    *(f"pmpaddr{i}" for i in range(64)),
    *(f"mhpmcounter{i}" for i in range(3, 32)),
    *(f"mhpmevent{i}" for i in range(3, 32)),
    *(f"hpmcounter{i}" for i in range(3, 32)),
)  # fmt: skip
_ROWS: dict[int, _Register] = {
    NUMBERS[name]: row
    for name, row in (*_TABLE.items(), *((name, _Register(_zero, _ignore)) for name in _READ_AS_ZERO))
}

_OWNERS: dict[int, str] = {
    **{NUMBERS[name]: "Zicntr" for name in ("cycle", "time", "instret")},
    **{NUMBERS[f"hpmcounter{i}"]: "Zihpm" for i in range(3, 32)},
}
"""Registers that exist with an extension only."""
