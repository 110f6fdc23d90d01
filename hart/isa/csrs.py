"""Control and status registers by number and name.

Owns the names and numbers (privileged manual, "CSR Listing"; Smrnmi; debug triggers). Says nothing of what a
register holds or who may access it.
"""

from __future__ import annotations

from collections.abc import Iterator

_SINGLE = {
    0x001: "fflags", 0x002: "frm", 0x003: "fcsr",
    0x100: "sstatus", 0x104: "sie", 0x105: "stvec", 0x106: "scounteren", 0x10A: "senvcfg",
    0x140: "sscratch", 0x141: "sepc", 0x142: "scause", 0x143: "stval", 0x144: "sip", 0x180: "satp",
    0x300: "mstatus", 0x301: "misa", 0x302: "medeleg", 0x303: "mideleg", 0x304: "mie", 0x305: "mtvec",
    0x306: "mcounteren", 0x30A: "menvcfg", 0x320: "mcountinhibit",
    0x340: "mscratch", 0x341: "mepc", 0x342: "mcause", 0x343: "mtval", 0x344: "mip",
    0x740: "mnscratch", 0x741: "mnepc", 0x742: "mncause", 0x744: "mnstatus",
    0x7A0: "tselect", 0x7A1: "tdata1", 0x7A2: "tdata2", 0x7A3: "tdata3",
    0xB00: "mcycle", 0xB02: "minstret",
    0xC00: "cycle", 0xC01: "time", 0xC02: "instret",
    0xF11: "mvendorid", 0xF12: "marchid", 0xF13: "mimpid", 0xF14: "mhartid", 0xF15: "mconfigptr",
}  # fmt: skip

_NUMBERED = (
    ("mhpmevent", 0x320, range(3, 32)),
    ("pmpcfg", 0x3A0, range(0, 16, 2)),  # RV64 has the even ones only
    ("pmpaddr", 0x3B0, range(64)),
    ("mhpmcounter", 0xB00, range(3, 32)),
    ("hpmcounter", 0xC00, range(3, 32)),
)


def _entries() -> Iterator[tuple[int, str]]:
    yield from _SINGLE.items()
    for stem, base, indices in _NUMBERED:
        for i in indices:
            yield base + i, f"{stem}{i}"


NAMES: dict[int, str] = dict(sorted(_entries()))
"""Name by number, in ascending order of numbers."""

NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}
"""Number by name."""
