"""riscv_hwprobe (system call 258): what a guest's user space may ask about its harts.

Owns the keys and the kernel's rules of the call; the bits of extensions stand in `hart.isa.extensions`. Knows
no guest: a system-call layer, the control channel and the CLI call it.

Sources: Linux 7.2 `asm/hwprobe.h`, `Documentation/arch/riscv/hwprobe.rst`, `arch/riscv/kernel/sys_hwprobe.c`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from coordinator.refusal import Refusal
from coordinator.spec import VmSpec
from coordinator.vcpu import MASK_64, Vcpu
from hart.isa.extensions import REGISTRY, Extension, effective

SYSCALL = 258
WHICH_CPUS = 1
"""The only flag: ask which harts have the given values, not what values the given harts have."""

BASE_IMA = 1 << 0
"""BASE_BEHAVIOR: the hart has I, M and A."""
UNKNOWN_KEY = -1

MISALIGNED_UNKNOWN = 0
MISALIGNED_UNSUPPORTED = 4


@dataclass(frozen=True, slots=True)
class Cpu:
    """A hart as hwprobe sees it.

    `extensions` holds what the hart has, bundles expanded; `highest_address` is the last that user space can
    use.
    """

    extensions: frozenset[str]
    mvendorid: int
    marchid: int
    mimpid: int
    zicboz_block_size: int
    zicbom_block_size: int
    zicbop_block_size: int
    time_frequency_hz: int
    highest_address: int


def cpu_of_spec(spec: VmSpec, extensions: frozenset[str]) -> Cpu:
    """What a hart of a VM with this spec and these extensions switched on is to hwprobe."""
    host = spec.host
    return Cpu(
        extensions=effective(extensions),
        mvendorid=host.mvendorid,
        marchid=host.marchid,
        mimpid=host.mimpid,
        zicboz_block_size=host.zicboz_block_size,
        zicbom_block_size=host.zicbom_block_size,
        zicbop_block_size=host.zicbop_block_size,
        time_frequency_hz=host.timer_frequency_hz,
        highest_address=spec.ram_base + spec.ram_bytes - 1,
    )


def cpu_of(vcpu: Vcpu) -> Cpu:
    """What a vCPU is to hwprobe."""
    cpu = cpu_of_spec(vcpu.machine.spec, vcpu.enabled)
    return replace(
        cpu,
        mvendorid=vcpu.machine.get_machine_id(vcpu.hart, "mvendorid"),
        marchid=vcpu.machine.get_machine_id(vcpu.hart, "marchid"),
        mimpid=vcpu.machine.get_machine_id(vcpu.hart, "mimpid"),
    )


@dataclass(frozen=True, slots=True)
class Key:
    """A key: bits are ANDed over harts and contained in each other, values are equal or not."""

    number: int
    name: str
    is_bits: bool
    read: Callable[[Cpu], int]


def _extension_bits(key: str) -> Callable[[Cpu], int]:
    bits = {
        row.name: 1 << row.hwprobe[1] for row in REGISTRY.values() if row.hwprobe and row.hwprobe[0] == key
    }
    return lambda cpu: sum(bit for name, bit in bits.items() if name in cpu.extensions)


def bits_of(key: str, value: int) -> list[Extension]:
    """The extensions whose bits are set in the value of the key with this name."""
    rows = [row for row in REGISTRY.values() if row.hwprobe and row.hwprobe[0] == key]
    return [row for row in rows if row.hwprobe and value >> row.hwprobe[1] & 1]


def _base_behavior(cpu: Cpu) -> int:
    # The parts of A count, with or without the letter.
    return BASE_IMA if cpu.extensions >= {"I", "M", "Zaamo", "Zalrsc"} else 0


def _misaligned_scalar(cpu: Cpu) -> int:
    return MISALIGNED_UNKNOWN if "Zicclsm" in cpu.extensions else MISALIGNED_UNSUPPORTED


def _misaligned_vector(cpu: Cpu) -> int:
    return MISALIGNED_UNKNOWN if "Zve32x" in cpu.extensions else MISALIGNED_UNSUPPORTED


def _block_size(extension: str, read: Callable[[Cpu], int]) -> Callable[[Cpu], int]:
    return lambda cpu: read(cpu) if extension in cpu.extensions else 0


def _no_vendor_extensions(cpu: Cpu) -> int:
    return 0


KEYS: dict[int, Key] = {
    key.number: key
    for key in (
        Key(0, "MVENDORID", False, lambda cpu: cpu.mvendorid),
        Key(1, "MARCHID", False, lambda cpu: cpu.marchid),
        Key(2, "MIMPID", False, lambda cpu: cpu.mimpid),
        Key(3, "BASE_BEHAVIOR", True, _base_behavior),
        Key(4, "IMA_EXT_0", True, _extension_bits("IMA_EXT_0")),
        Key(5, "CPUPERF_0", True, _misaligned_scalar),
        Key(6, "ZICBOZ_BLOCK_SIZE", False, _block_size("Zicboz", lambda cpu: cpu.zicboz_block_size)),
        Key(7, "HIGHEST_VIRT_ADDRESS", False, lambda cpu: cpu.highest_address),
        Key(8, "TIME_CSR_FREQ", False, lambda cpu: cpu.time_frequency_hz),
        Key(9, "MISALIGNED_SCALAR_PERF", False, _misaligned_scalar),
        Key(10, "MISALIGNED_VECTOR_PERF", False, _misaligned_vector),
        Key(11, "VENDOR_EXT_THEAD_0", True, _no_vendor_extensions),
        Key(12, "ZICBOM_BLOCK_SIZE", False, _block_size("Zicbom", lambda cpu: cpu.zicbom_block_size)),
        Key(13, "VENDOR_EXT_SIFIVE_0", True, _no_vendor_extensions),
        Key(14, "VENDOR_EXT_MIPS_0", True, _no_vendor_extensions),
        Key(15, "ZICBOP_BLOCK_SIZE", False, _block_size("Zicbop", lambda cpu: cpu.zicbop_block_size)),
        Key(16, "IMA_EXT_1", True, _extension_bits("IMA_EXT_1")),
    )
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A key (signed) and its value (unsigned, 64 bits)."""

    key: int
    value: int


def hwprobe(
    cpus: Mapping[int, Cpu], pairs: Iterable[Pair], chosen: frozenset[int] | None = None, flags: int = 0
) -> tuple[list[Pair], frozenset[int]]:
    """The call: `chosen` is the CPU set argument, None where the caller passes none.

    Returns the pairs as the call leaves them, and the CPU set: with WHICH_CPUS those that have every value.

    Raises:
        Refusal: EINVAL an unknown flag, no online CPU chosen, or WHICH_CPUS without a set.

    """
    if flags & ~WHICH_CPUS:
        raise Refusal(errno.EINVAL, f"flags = {flags:#x}: only {WHICH_CPUS:#x} (WHICH_CPUS) is known")
    if flags & WHICH_CPUS:
        return _which(cpus, pairs, chosen)
    online = frozenset(cpus) if chosen is None else chosen & cpus.keys()
    if not online:
        raise Refusal(errno.EINVAL, f"none of the chosen CPUs is online; online are {sorted(cpus)}")
    return [_answer(pair.key, [cpus[n] for n in sorted(online)]) for pair in pairs], online


def _answer(number: int, cpus: list[Cpu]) -> Pair:
    key = KEYS.get(number)
    if key is None:
        return Pair(UNKNOWN_KEY, 0)
    values = [key.read(cpu) for cpu in cpus]
    if key.is_bits:
        common = MASK_64
        for value in values:
            common &= value
        return Pair(number, common)
    return Pair(number, values[0] if len(set(values)) == 1 else MASK_64)


def _which(
    cpus: Mapping[int, Cpu], pairs: Iterable[Pair], chosen: frozenset[int] | None
) -> tuple[list[Pair], frozenset[int]]:
    if chosen is None:
        raise Refusal(errno.EINVAL, "WHICH_CPUS needs a CPU set")
    left = frozenset(cpus) if not chosen else chosen & cpus.keys()
    answered = []
    for pair in pairs:
        key = KEYS.get(pair.key)
        if key is None:
            answered.append(Pair(UNKNOWN_KEY, pair.value))
            left = frozenset()
        else:
            answered.append(pair)
            left = frozenset(n for n in left if _has(key, cpus[n], pair.value))
    return answered, left


def _has(key: Key, cpu: Cpu, value: int) -> bool:
    return key.read(cpu) & value == value if key.is_bits else key.read(cpu) == value
