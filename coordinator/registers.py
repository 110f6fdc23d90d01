"""KVM register ids: how they are made up, and what each is called.

Owns the numbers of `asm/kvm.h` (Linux 7.2; the Zicfiss CSR and the last three FWFT features are from the
cycle after it) other than the ISA extension ids, which stand in `hart.isa.extensions`. Never reads or writes
a register.

A register's name is its class, subtype and own name joined by dots: `core.pc`, `csr.aia.siselect`,
`isa_ext.zaamo`, `isa_ext.multi_en.0`. Whoever looks one up may also say its own name alone where only one register has
it (`pc`, `zaamo`), `x10` for `core.a0`, and the kernel's `KVM_RISCV_ISA_EXT_ZAAMO`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache

from hart.isa.extensions import BY_KVM_ID
from hart.isa.registers import ABI_NAMES, NUMBERS
from hart.spelling import nearest

_ARCH_SHIFT = 56
_ARCH_MASK = 0xFF << _ARCH_SHIFT
ARCH_RISCV = 0x80 << _ARCH_SHIFT
_SIZE_SHIFT = 52
_CLASS_SHIFT = 24
_SUBTYPE_SHIFT = 16
_INDEX_MASK = (1 << _SIZE_SHIFT) - 1 & ~(0xFF << _CLASS_SHIFT)
"""Bits 51:32 are part of the index, as in the kernel: non-zero ones make it one that no register has."""


class Class(IntEnum):
    """KVM_REG_RISCV_*: the class byte."""

    CONFIG = 1
    CORE = 2
    CSR = 3
    TIMER = 4
    FP_F = 5
    FP_D = 6
    ISA_EXT = 7
    SBI_EXT = 8
    VECTOR = 9
    SBI_STATE = 10


class Csr(IntEnum):
    """Subtypes of CSR."""

    GENERAL = 0
    AIA = 1
    SMSTATEEN = 2
    ZICFISS = 3


class Ext(IntEnum):
    """Subtypes of ISA_EXT and SBI_EXT."""

    SINGLE = 0
    MULTI_EN = 1
    MULTI_DIS = 2


class SbiState(IntEnum):
    """Subtypes of SBI_STATE."""

    STA = 0
    FWFT = 1


SUBTYPES: dict[int, type[IntEnum]] = {
    Class.CSR: Csr,
    Class.ISA_EXT: Ext,
    Class.SBI_EXT: Ext,
    Class.SBI_STATE: SbiState,
}
"""The classes whose bits 23:16 are a subtype; elsewhere they belong to the index."""


def _words(text: str) -> list[str]:
    return text.split()


_F_NAMES = [*(f"f{i}" for i in range(32)), "fcsr"]
SBI_EXTENSIONS = _words("V01 TIME IPI RFENCE SRST HSM PMU EXPERIMENTAL VENDOR DBCN STA SUSP FWFT MPXY")
"""By KVM_RISCV_SBI_EXT_* number."""
SBI_OFF_BY_DEFAULT = frozenset({"DBCN", "SUSP", "MPXY"})
_FWFT_FEATURES = _words("misaligned_deleg pointer_masking pte_ad_hw_updating landing_pad shadow_stack")
_VECTOR_CSRS = _words("vstart vl vtype vcsr vlenb datap")
VECTOR_DATAP = _VECTOR_CSRS.index("datap")
"""The kernel's own pointer: it has an index, and is never accessible."""
WORD_BITS = 64
_HEX_DIGITS = WORD_BITS // 4

LAYOUT: dict[tuple[int, int | None], list[str]] = {
    (Class.CONFIG, None): _words(
        "isa zicbom_block_size mvendorid marchid mimpid zicboz_block_size satp_mode zicbop_block_size"
    ),
    (Class.CORE, None): ["pc", *ABI_NAMES[1:], "mode"],
    (Class.CSR, Csr.GENERAL): _words(
        "sstatus sie stvec sscratch sepc scause stval sip satp scounteren senvcfg"
    ),
    (Class.CSR, Csr.AIA): _words("siselect iprio1 iprio2 sieh siph iprio1h iprio2h"),
    (Class.CSR, Csr.SMSTATEEN): ["sstateen0"],
    (Class.CSR, Csr.ZICFISS): ["ssp"],
    (Class.TIMER, None): _words("frequency time compare state"),
    (Class.FP_F, None): _F_NAMES,
    (Class.FP_D, None): _F_NAMES,
    (Class.VECTOR, None): [*_VECTOR_CSRS, *(f"v{i}" for i in range(32))],
    (Class.ISA_EXT, Ext.SINGLE): [BY_KVM_ID[i].dt_name for i in range(len(BY_KVM_ID))],
    (Class.ISA_EXT, Ext.MULTI_EN): ["0", "1"],
    (Class.ISA_EXT, Ext.MULTI_DIS): ["0", "1"],
    (Class.SBI_EXT, Ext.SINGLE): [name.lower() for name in SBI_EXTENSIONS],
    (Class.SBI_EXT, Ext.MULTI_EN): ["0"],
    (Class.SBI_EXT, Ext.MULTI_DIS): ["0"],
    (Class.SBI_STATE, SbiState.STA): ["shmem_lo", "shmem_hi"],
    (Class.SBI_STATE, SbiState.FWFT): [
        f"{feature}.{part}" for feature in _FWFT_FEATURES for part in ("enable", "flags", "value")
    ],
}
"""Names by index, in the order in which KVM_GET_REG_LIST gives the classes."""


@dataclass(frozen=True, slots=True)
class RegisterId:
    """A decoded id, of a register that exists or not.

    Attributes:
        kind: the class byte, a `Class` if known.
        subtype: bits 23:16 in the classes that have subtypes, else None.
        index: the remaining bits below 52.
        size: in bytes.

    """

    kind: int
    subtype: int | None
    index: int
    size: int

    def encode(self) -> int:
        """The 64-bit id."""
        subtype = 0 if self.subtype is None else self.subtype << _SUBTYPE_SHIFT
        size = (self.size.bit_length() - 1) << _SIZE_SHIFT
        return ARCH_RISCV | size | self.kind << _CLASS_SHIFT | subtype | self.index

    @property
    def name(self) -> str:
        """Its name, or the bare number where no register has this class and index."""
        names = LAYOUT.get((self.kind, self.subtype), [])
        if self.index >= len(names):
            return f"{self.encode():#018x}"
        parts = [Class(self.kind).name]
        if self.subtype is not None and (self.kind, self.subtype) not in _UNNAMED_SUBTYPES:
            parts.append(SUBTYPES[self.kind](self.subtype).name)
        return ".".join([*(p.lower() for p in parts), names[self.index]])


_UNNAMED_SUBTYPES = {(Class.CSR, Csr.GENERAL), (Class.ISA_EXT, Ext.SINGLE), (Class.SBI_EXT, Ext.SINGLE)}


class UnknownRegister(ValueError):
    """A name that no register has; the message offers the nearest."""


@lru_cache(maxsize=1024)
def decode(number: int) -> RegisterId:
    """Take an id apart as the kernel does. The architecture byte is not looked at; every number decodes."""
    kind = number >> _CLASS_SHIFT & 0xFF
    index = number & _INDEX_MASK
    subtype = None
    if kind in SUBTYPES:
        subtype = index >> _SUBTYPE_SHIFT & 0xFF
        index &= ~(0xFF << _SUBTYPE_SHIFT)
    return RegisterId(kind, subtype, index, 1 << (number >> _SIZE_SHIFT & 0xF))


def width(kind: int, index: int, vlenb: int) -> int:
    """The size in bytes of a register of this class (unsigned long is 8 on RV64)."""
    if kind == Class.FP_F or (kind == Class.FP_D and _F_NAMES[index : index + 1] == ["fcsr"]):
        return 4
    if kind == Class.VECTOR and index >= len(_VECTOR_CSRS):
        return vlenb
    return 8


def known(vlenb: int = 16) -> Iterator[RegisterId]:
    """Every register id there is, for vector registers of `vlenb` bytes."""
    for (kind, subtype), names in LAYOUT.items():
        for index in range(len(names)):
            yield RegisterId(kind, subtype, index, width(kind, index, vlenb))


def explain(number: int, vlenb: int = 16) -> str:
    """What is wrong with an id as one of a register of a VM: no such class, size and so on; empty where nothing is."""
    register = decode(number)
    if register.kind not in list(Class):
        return f"there is no class {register.kind}"
    if (register.kind, register.subtype) not in LAYOUT:
        return f"class {Class(register.kind).name} has no subtype {register.subtype}"
    last = len(LAYOUT[register.kind, register.subtype]) - 1
    if register.index > last:
        return f"index {register.index:#x} is past the last, {last:#x}"
    size = width(register.kind, register.index, vlenb)
    if register.size != size:
        return f"it says {register.size} bytes, {register.name} has {size}"
    if number & _ARCH_MASK != ARCH_RISCV:
        return f"the architecture is {number >> _ARCH_SHIFT:#x}, RISC-V is {ARCH_RISCV >> _ARCH_SHIFT:#x}"
    return ""


@cache
def _by_name(vlenb: int) -> dict[str, RegisterId]:
    return {register.name: register for register in known(vlenb)}


@cache
def _by_short_name(vlenb: int) -> dict[str, list[RegisterId]]:
    """Registers by their own name, and by their name with underscores as the kernel's constants have them."""
    found: dict[str, list[RegisterId]] = {}
    for register in known(vlenb):
        own = LAYOUT[register.kind, register.subtype][register.index]
        for name in {own, register.name.replace(".", "_")}:
            found.setdefault(name, []).append(register)
    found |= {spelling: found[ABI_NAMES[x]] for spelling, x in NUMBERS.items() if x}
    return found


def find(text: str, vlenb: int = 16) -> RegisterId:
    """The register with this name, or with this id written as a number (`0x8030000002000000`).

    Raises:
        UnknownRegister: neither, or the own name of several; the message names the nearest or those.

    """
    low = text.strip().lower()
    if low[:1].isdigit():
        return decode(_number(text, low))
    names, short = _by_name(vlenb), _by_short_name(vlenb)
    if low in names:
        return names[low]
    found = short.get(low.removeprefix("kvm_riscv_"), [])
    if len(found) > 1:
        raise UnknownRegister(f"several registers are called {text!r}: {', '.join(r.name for r in found)}")
    if not found:
        raise UnknownRegister(f"no register is called {text!r}{nearest(low, [*names, *short])}")
    return found[0]


def _number(text: str, low: str) -> int:
    try:
        number = int(low, 0)
    except ValueError:
        raise UnknownRegister(f"{text!r} is not a number; ids are written 0x8030000002000000") from None
    if number >> WORD_BITS:
        raise UnknownRegister(f"{text!r} has more than {WORD_BITS} bits")
    if low.isdigit() and len(low) == _HEX_DIGITS and int(low, 16) & _ARCH_MASK == ARCH_RISCV:
        raise UnknownRegister(f"{text!r} is a decimal number; did you mean 0x{low}?")
    return number
