"""The extension registry: one row per RISC-V extension, with every name and number it has anywhere.

Owns what an extension is called, what it brings and needs, its KVM id and its hwprobe bit, and which of them
hartstorm executes. Never reads an ISA string (`hart.isa.isa_string`) and knows no VM.

Sources of the numbers: Linux 7.2 `asm/kvm.h` and `asm/hwprobe.h`; ids 78 and 79 and the IMA_EXT_1 bits from 1
up are from the kernel's cycle after it. Switch rules: `arch/riscv/kvm/isa.c`. What an extension brings and
needs: the unprivileged and privileged manuals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache

from hart.spelling import nearest


class Switch(Enum):
    """When KVM lets a vCPU's extension be switched on or off."""

    ALWAYS = "always"
    NEVER = "never"
    IF_USER_VECTOR = "if the host lets user space use vectors"
    IF_HOST_SSAIA = "if the host has Ssaia"
    IF_HOST_SMSTATEEN = "if the host has Smstateen"
    IF_HARDWARE_AD = "if the host updates A and D bits in hardware"


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension.

    Attributes:
        name: as the manual writes it, e.g. `Zaamo`; the single letters in upper case.
        about: what it is, in a few words.
        kvm: the number in KVM_RISCV_ISA_EXT_*, or None where KVM has no id for it.
        hwprobe: (key, bit) of riscv_hwprobe, e.g. ("IMA_EXT_0", 56), or None.
        implies: extensions that come with it, e.g. A brings Zaamo and Zalrsc.
        implies_with: (other, brought): brought too where `other` is on, e.g. C brings Zcd where D is on.
        depends: extensions that must be on; an ISA string has to name them, or name what brings them.
        enable: when KVM allows switching it on.
        disable: when KVM allows switching it off.
        host_check: the host extension that KVM looks for before it offers this one, where it is another.
        implemented: whether harts execute it (or, for a guarantee, keep it).
        granule_exp: the largest `reservation_set_size_exp` with which hartstorm keeps it, or None for any.
        rv32_only: never found on an RV64 hart.

    """

    name: str
    about: str
    kvm: int | None = None
    hwprobe: tuple[str, int] | None = None
    implies: tuple[str, ...] = ()
    implies_with: tuple[tuple[str, str], ...] = ()
    depends: tuple[str, ...] = ()
    enable: Switch = Switch.ALWAYS
    disable: Switch = Switch.NEVER
    host_check: str | None = None
    implemented: bool = False
    granule_exp: int | None = None
    rv32_only: bool = False

    @property
    def dt_name(self) -> str:
        """The string in `riscv,isa-extensions`."""
        return self.name.lower()

    @property
    def required_host(self) -> str:
        """The extension that a host must have for KVM to offer this one."""
        return self.host_check or self.name


class UnknownExtension(ValueError):
    """A name that no row has; the message offers the nearest."""


_E0, _E1 = "IMA_EXT_0", "IMA_EXT_1"
_X = Extension

# fmt: off
_ROWS = (
    # Base and single letters
    _X("I", "base integer instructions", 5, implemented=True),
    _X("M", "integer multiplication and division", 6, implies=("Zmmul",), implemented=True),
    _X("A", "atomic instructions", 0, implies=("Zaamo", "Zalrsc"), implemented=True),
    _X("F", "single-precision floating point", 3, depends=("Zicsr",), disable=Switch.ALWAYS),
    _X("D", "double-precision floating point", 2, (_E0, 0), depends=("F",), disable=Switch.ALWAYS),
    _X("C", "compressed instructions", 1, (_E0, 1), implies=("Zca",), implies_with=(("D", "Zcd"),),
       implemented=True),
    _X("B", "bit manipulation", hwprobe=(_E1, 6), implies=("Zba", "Zbb", "Zbs"), implemented=True),
    _X("V", "vectors", 15, (_E0, 2), implies=("Zve64d",), depends=("D",),
       enable=Switch.IF_USER_VECTOR, disable=Switch.ALWAYS),
    _X("S", "supervisor mode", depends=("U",)),
    _X("U", "user mode"),
    _X("H", "hypervisor", 4, enable=Switch.NEVER, disable=Switch.ALWAYS),
    # Zi: integer, CSRs, memory guarantees, hints, control flow
    _X("Zicsr", "control and status register instructions", 20, implemented=True),
    _X("Zifencei", "instruction-fetch fence", 21, implemented=True),
    _X("Zicntr", "base counters and timers", 19, (_E0, 50), depends=("Zicsr",), implemented=True),
    _X("Zihpm", "hardware performance counters (none counts: reads give 0)", 22, (_E0, 51),
       depends=("Zicsr",), implemented=True),
    _X("Zihintpause", "pause hint", 10, (_E0, 36), implemented=True),
    _X("Zihintntl", "non-temporal locality hints", 48, (_E0, 29)),
    _X("Zicond", "conditional zero", 24, (_E0, 35), implemented=True),
    _X("Zimop", "may-be-operations", 55, (_E0, 42)),
    _X("Zilsd", "load and store pairs", 76, (_E0, 61), disable=Switch.ALWAYS, rv32_only=True),
    _X("Zicbom", "cache-block management", 11, (_E0, 55), disable=Switch.ALWAYS),
    _X("Zicbop", "cache-block prefetch hints", 71, (_E0, 60)),
    _X("Zicboz", "cache-block zero", 12, (_E0, 6), disable=Switch.ALWAYS),
    _X("Zic64b", "64-byte cache blocks", hwprobe=(_E1, 7)),
    _X("Zicfilp", "landing pads", 78, (_E0, 63), depends=("Zicsr",), disable=Switch.ALWAYS),
    _X("Zicfiss", "shadow stack", 79, (_E1, 0), depends=("Zicsr", "Zimop"), disable=Switch.ALWAYS),
    _X("Ziccamoa", "main memory supports AMOArithmetic", hwprobe=(_E1, 2), depends=("Zaamo",),
       implemented=True),
    _X("Ziccamoc", "main memory supports AMOCASQ", depends=("Zacas",), implemented=True),
    _X("Ziccif", "main memory supports atomic instruction fetch", hwprobe=(_E1, 3)),
    _X("Ziccid", "main memory supports instruction and data coherence", depends=("Ziccif",)),
    _X("Zicclsm", "main memory supports misaligned loads and stores", hwprobe=(_E1, 1), implemented=True),
    _X("Ziccrse", "main memory supports RsrvEventual", 68, (_E1, 4), depends=("Zalrsc",),
       implemented=True),
    # Zm, Za: multiplication, atomics
    _X("Zmmul", "multiplication without division", implemented=True),
    _X("Zaamo", "atomic memory operations", 69, (_E0, 56), implemented=True),
    _X("Zalrsc", "load-reserved and store-conditional", 70, (_E0, 57), implemented=True),
    _X("Zacas", "atomic compare-and-swap", 53, (_E0, 34), depends=("Zaamo",), implemented=True),
    _X("Zabha", "byte and halfword AMOs", 67, (_E0, 58), depends=("Zaamo",), implemented=True),
    _X("Zalasr", "load-acquire and store-release", 77, (_E0, 59), implemented=True),
    _X("Zawrs", "wait on reservation set", 61, (_E0, 48), depends=("Zalrsc",), implemented=True),
    _X("Za64rs", "reservation sets of at most 64 bytes", hwprobe=(_E1, 5), implies=("Za128rs",),
       depends=("Zalrsc",), implemented=True, granule_exp=6),
    _X("Za128rs", "reservation sets of at most 128 bytes", depends=("Zalrsc",), implemented=True,
       granule_exp=7),
    _X("Zama16b", "misaligned accesses within 16 bytes are atomic"),
    # Zf: scalar floating point
    _X("Zfa", "additional floating-point instructions", 51, (_E0, 32), depends=("F",)),
    _X("Zfh", "half-precision floating point", 46, (_E0, 27), implies=("Zfhmin",), depends=("F",)),
    _X("Zfhmin", "half-precision conversions", 47, (_E0, 28), depends=("F",)),
    _X("Zfbfmin", "BF16 conversions", 72, (_E0, 52), depends=("F",)),
    # Zc: compressed
    _X("Zca", "compressed instructions without floating point", 56, (_E0, 43), implemented=True),
    _X("Zcb", "more simple compressed instructions", 57, (_E0, 44), depends=("Zca",)),
    _X("Zcd", "compressed double-precision loads and stores", 58, (_E0, 45), depends=("Zca", "D")),
    _X("Zcf", "compressed single-precision loads and stores", 59, (_E0, 46), depends=("Zca", "F"),
       rv32_only=True),
    _X("Zclsd", "compressed load and store pairs", 75, (_E0, 62), depends=("Zilsd", "Zca"),
       disable=Switch.ALWAYS, rv32_only=True),
    _X("Zcmop", "compressed may-be-operations", 60, (_E0, 47), depends=("Zca",)),
    # Zb, Zk: bit manipulation, scalar cryptography
    _X("Zba", "address generation", 17, (_E0, 3), implemented=True),
    _X("Zbb", "basic bit manipulation", 13, (_E0, 4), implemented=True),
    _X("Zbc", "carry-less multiplication", 25, (_E0, 7)),
    _X("Zbs", "single-bit instructions", 18, (_E0, 5), implemented=True),
    _X("Zbkb", "bit manipulation for cryptography", 26, (_E0, 8)),
    _X("Zbkc", "carry-less multiplication for cryptography", 27, (_E0, 9)),
    _X("Zbkx", "crossbar permutations", 28, (_E0, 10)),
    _X("Zknd", "AES decryption", 29, (_E0, 11)),
    _X("Zkne", "AES encryption", 30, (_E0, 12)),
    _X("Zknh", "SHA-2", 31, (_E0, 13)),
    _X("Zkr", "entropy source", 32, depends=("Zicsr",)),
    _X("Zksed", "SM4", 33, (_E0, 14)),
    _X("Zksh", "SM3", 34, (_E0, 15)),
    _X("Zkt", "data-independent execution latency", 35, (_E0, 16)),
    _X("Ztso", "total store order", 52, (_E0, 33)),
    # Zv: vectors
    _X("Zve32x", "vectors of 32-bit integers", hwprobe=(_E0, 37), depends=("Zicsr",)),
    _X("Zve32f", "Zve32x and floats", hwprobe=(_E0, 38), implies=("Zve32x",), depends=("F",)),
    _X("Zve64x", "vectors of 64-bit integers", hwprobe=(_E0, 39), implies=("Zve32x",)),
    _X("Zve64f", "Zve64x and Zve32f", hwprobe=(_E0, 40), implies=("Zve32f", "Zve64x")),
    _X("Zve64d", "Zve64f and doubles", hwprobe=(_E0, 41), implies=("Zve64f",), depends=("D",)),
    _X("Zvfh", "vector half precision", 49, (_E0, 30), implies=("Zvfhmin",),
       depends=("Zve32f", "Zfhmin")),
    _X("Zvfhmin", "vector half-precision conversions", 50, (_E0, 31), depends=("Zve32f",)),
    _X("Zvfbfmin", "vector BF16 conversions", 73, (_E0, 53), depends=("Zve32f",)),
    _X("Zvfbfwma", "vector BF16 widening multiply-add", 74, (_E0, 54), depends=("Zvfbfmin", "Zfbfmin")),
    _X("Zvbb", "vector bit manipulation", 36, (_E0, 17), implies=("Zvkb",), depends=("Zve32x",)),
    _X("Zvbc", "vector carry-less multiplication", 37, (_E0, 18), depends=("Zve64x",)),
    _X("Zvkb", "vector bit manipulation for cryptography", 38, (_E0, 19), depends=("Zve32x",)),
    _X("Zvkg", "vector GCM and GMAC", 39, (_E0, 20), depends=("Zve32x",)),
    _X("Zvkned", "vector AES", 40, (_E0, 21), depends=("Zve32x",)),
    _X("Zvknha", "vector SHA-256", 41, (_E0, 22), depends=("Zve32x",)),
    _X("Zvknhb", "vector SHA-2", 42, (_E0, 23), depends=("Zve64x",)),
    _X("Zvksed", "vector SM4", 43, (_E0, 24), depends=("Zve32x",)),
    _X("Zvksh", "vector SM3", 44, (_E0, 25), depends=("Zve32x",)),
    _X("Zvkt", "vector data-independent execution latency", 45, (_E0, 26)),
    # Ss, Sv, Su, Sm: privileged
    _X("Smnpm", "pointer masking for the next lower mode, from M", 62, disable=Switch.ALWAYS,
       host_check="Ssnpm"),
    _X("Smstateen", "state enable", 23, disable=Switch.ALWAYS),
    _X("Ssaia", "supervisor advanced interrupts", 14, disable=Switch.IF_HOST_SMSTATEEN),
    _X("Sscofpmf", "counter overflow and mode filtering", 54, enable=Switch.IF_HOST_SSAIA),
    _X("Ssnpm", "pointer masking for the next lower mode, from S", 63),
    _X("Sstc", "supervisor timer compare", 8),
    _X("Supm", "pointer masking in user mode", hwprobe=(_E0, 49)),
    _X("Svade", "exceptions on A and D bit updates", 64, disable=Switch.IF_HARDWARE_AD),
    _X("Svadu", "hardware A and D bit updates", 65, enable=Switch.IF_HARDWARE_AD, disable=Switch.ALWAYS),
    _X("Svinval", "fine-grained TLB invalidation", 9),
    _X("Svnapot", "NAPOT translations", 16),
    _X("Svpbmt", "page-based memory types", 7, disable=Switch.ALWAYS),
    _X("Svvptc", "valid PTEs become visible in bounded time", 66),
)
# fmt: on

REGISTRY: dict[str, Extension] = {row.name: row for row in _ROWS}
"""Every row by its name."""

BY_KVM_ID: dict[int, Extension] = {row.kvm: row for row in _ROWS if row.kvm is not None}
"""Rows by KVM id."""

_BY_LOWER = {row.dt_name: row for row in _ROWS}

MISA_MXL_64 = 2 << 62
"""misa.MXL for RV64 (privileged manual, "Machine ISA Register")."""


_BUNDLES = frozenset({"A", "B", "C"})
"""The letters that are nothing but their parts (M is more than Zmmul, V more than Zve64d)."""


def find(name: str) -> Extension:
    """The row with this name, in any case.

    Raises:
        UnknownExtension: none has it; the message names the nearest.

    """
    row = _BY_LOWER.get(name.lower())
    if row is None:
        raise UnknownExtension(f"unknown extension {name!r}{nearest(name, REGISTRY)}")
    return row


def effective(enabled: Iterable[str]) -> frozenset[str]:
    """`enabled` and all it brings: what decides whether an instruction is legal. Names must be known."""
    on = set(enabled)
    while True:
        brought = {b for name in on for b in REGISTRY[name].implies}
        brought |= {b for name in on for other, b in REGISTRY[name].implies_with if other in on}
        if brought <= on:
            return frozenset(on)
        on |= brought


def unmet(enabled: Iterable[str]) -> list[str]:
    """Each broken rule among what is on, in words, e.g. `Zacas needs Zaamo`; empty where the set is sound."""
    on = effective(enabled)
    broken = [f"{e} needs {need}" for e in sorted(on) for need in REGISTRY[e].depends if need not in on]
    broken += [f"{e} exists on RV32 only" for e in sorted(on) if REGISTRY[e].rv32_only]
    if "I" not in on:
        broken.insert(0, "every hart needs the base instruction set I")
    return broken


def dependents(name: str, enabled: Iterable[str]) -> frozenset[str]:
    """Those of `enabled` that cannot stay on without `name`: they bring it or need it."""
    on = frozenset(enabled)
    return frozenset(e for e in on - {name} if name in (*_brought_by(e, on), *REGISTRY[e].depends))


def requirements(name: str, enabled: Iterable[str]) -> frozenset[str]:
    """What must be on for `name` to be on beside `enabled`: all it brings and all it needs."""
    return frozenset((*_brought_by(name, frozenset(enabled)), *REGISTRY[name].depends))


def _brought_by(name: str, on: frozenset[str]) -> tuple[str, ...]:
    row = REGISTRY[name]
    return row.implies + tuple(brought for other, brought in row.implies_with if other in on)


@cache
def implemented(reservation_set_size_exp: int = 6) -> frozenset[str]:
    """All that harts execute or keep, with granules of 2**reservation_set_size_exp: the default ISA."""
    return frozenset(
        row.name
        for row in _ROWS
        if row.implemented and (row.granule_exp is None or reservation_set_size_exp <= row.granule_exp)
    )


def misa(extensions: Iterable[str]) -> int:
    """The misa CSR of an RV64 hart with these extensions.

    A letter that names a bundle is set exactly when all its parts are on, whether or not the letter itself
    was listed: A for Zaamo and Zalrsc, B for Zba, Zbb and Zbs, C for Zca, and Zcd where D is on.
    """
    on = effective(extensions)
    value = MISA_MXL_64
    for row in _ROWS:
        if len(row.name) == 1 and (
            row.name in on or (row.name in _BUNDLES and on.issuperset(_brought_by(row.name, on)))
        ):
            value |= 1 << (ord(row.name) - ord("A"))
    return value
