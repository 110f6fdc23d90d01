"""hwprobe: keys equal the kernel's, and the call follows its rules."""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest
from fake_machine import FakeMachine

from coordinator.host import HostModel
from coordinator.hwprobe import (
    BASE_IMA,
    KEYS,
    MISALIGNED_UNKNOWN,
    MISALIGNED_UNSUPPORTED,
    SYSCALL,
    WHICH_CPUS,
    Cpu,
    Pair,
    cpu_of,
    hwprobe,
)
from coordinator.refusal import Refusal
from coordinator.spec import VmSpec
from coordinator.vcpu import Vcpu
from hart.isa.extensions import effective

U64_MAX = (1 << 64) - 1
BIG = Cpu(
    effective({"I", "M", "A", "C", "Zacas", "Zicclsm", "Zicboz", "B"}), 1, 2, 3, 64, 0, 0, 10**7, 2**32 - 1
)
SMALL = replace(BIG, extensions=effective({"I", "M", "Zaamo", "Zicntr", "Zicsr"}), mimpid=4)
CPUS = {0: BIG, 1: SMALL}


def headers() -> Path:
    spec = util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        pytest.skip("ziglang, whose Linux headers hold the reference numbers, is not installed")
    return Path(spec.origin).parent / "lib" / "libc" / "include" / "riscv-linux-any" / "asm"


def test_numbers_equal_the_kernel_headers():
    text = (headers() / "hwprobe.h").read_text()
    keys = re.findall(r"#define RISCV_HWPROBE_KEY_(\w+)\s+(\d+)", text)
    assert {int(n): name for name, n in keys} == {n: key.name for n, key in KEYS.items()}
    value = re.search(r"#define\s+RISCV_HWPROBE_BASE_BEHAVIOR_IMA\s+\(1 << (\d+)\)", text)
    assert value is not None
    assert 1 << int(value[1]) == BASE_IMA
    for name, ours in (("UNKNOWN", MISALIGNED_UNKNOWN), ("UNSUPPORTED", MISALIGNED_UNSUPPORTED)):
        for kind in ("SCALAR", "VECTOR"):
            found = re.search(rf"#define\s+RISCV_HWPROBE_MISALIGNED_{kind}_{name}\s+(\d+)", text)
            assert found is not None
            assert int(found[1]) == ours
    which = re.search(r"#define RISCV_HWPROBE_WHICH_CPUS\s+\(1 << (\d+)\)", text)
    assert which is not None
    assert 1 << int(which[1]) == WHICH_CPUS
    arch = re.search(r"__NR_riscv_hwprobe\s+(?:\(__NR_arch_specific_syscall \+ (\d+)\)|(\d+))", _syscalls())
    assert arch is not None
    assert (244 + int(arch[1]) if arch[1] else int(arch[2])) == SYSCALL


def _syscalls() -> str:
    return "".join(path.read_text() for path in headers().glob("unistd*.h"))


def get(key: int, chosen: set[int] | None = None) -> int:
    [pair], _ = hwprobe(CPUS, [Pair(key, 99)], None if chosen is None else frozenset(chosen))
    assert pair.key == key
    return pair.value


def test_values_of_one_hart():
    assert get(0, {0}) == 1
    assert get(3, {0}) == 1
    assert get(3, {1}) == 0  # Zalrsc is missing
    assert get(4, {0}) == sum(
        1 << b for b in (1, 3, 4, 5, 6, 34, 43, 56, 57)
    )  # C Zba Zbb Zbs Zicboz Zacas Zca Za..
    assert get(6, {0}) == 64
    assert get(6, {1}) == 0
    assert get(7, {0}) == 2**32 - 1
    assert get(9, {0}) == 0
    assert get(9, {1}) == get(10, {0}) == 4
    assert get(16, {0}) == 1 << 1 | 1 << 6


def test_over_several_harts_bits_are_anded_and_differing_values_are_minus_one():
    assert get(4) == get(4, {0}) & get(4, {1}) == 1 << 56
    assert get(1) == 2
    assert get(2) == U64_MAX
    assert get(4, {0, 7}) == get(4, {0})


def test_unknown_keys():
    assert hwprobe(CPUS, [Pair(17, 5), Pair(-1, 5), Pair(0, 5)])[0] == [Pair(-1, 0), Pair(-1, 0), Pair(0, 1)]


@pytest.mark.parametrize(
    ("chosen", "flags", "message"),
    [
        (None, 2, "flags = 0x2"),
        (frozenset({0}), 3, "flags = 0x3"),
        (frozenset({5}), 0, "none of the chosen CPUs is online; online are [0, 1]"),
        (frozenset(), 0, "none of the chosen CPUs is online"),
        (None, 1, "needs a CPU set"),
    ],
)
def test_refused(chosen: frozenset[int] | None, flags: int, message: str):
    with pytest.raises(Refusal) as refused:
        hwprobe(CPUS, [], chosen, flags)
    assert refused.value.number == errno.EINVAL
    assert message in refused.value.reason


@pytest.mark.parametrize(
    ("pairs", "chosen", "left"),
    [
        ([Pair(4, 1 << 56)], set(), {0, 1}),
        ([Pair(4, 1 << 34)], set(), {0}),
        ([Pair(4, 1 << 34)], {1}, set()),
        ([Pair(2, 4)], {0, 1, 9}, {1}),
        ([Pair(2, 4), Pair(4, 1 << 34)], set(), set()),
        ([], {1}, {1}),
    ],
)
def test_which_cpus(pairs: list[Pair], chosen: set[int], left: set[int]):
    assert hwprobe(CPUS, pairs, frozenset(chosen), WHICH_CPUS) == (pairs, left)


def test_which_cpus_with_an_unknown_key_finds_none():
    pairs = [Pair(99, 7), Pair(4, 1 << 56)]
    assert hwprobe(CPUS, pairs, frozenset(), WHICH_CPUS) == ([Pair(-1, 7), Pair(4, 1 << 56)], frozenset())


def test_a_vcpu_shows_what_is_switched_on():
    spec = VmSpec(name="v", harts=1, ram_bytes=4096, host=HostModel(mvendorid=7))
    vcpu = Vcpu(FakeMachine(spec), 0)
    vcpu.reset()
    before = hwprobe({0: cpu_of(vcpu)}, [Pair(4, 0), Pair(0, 0)])[0]
    assert before[0].value >> 34 & 1
    assert before[1].value == 7
    from hart.isa.extensions import REGISTRY

    vcpu.switch(REGISTRY["Zacas"], on=False)
    assert hwprobe({0: cpu_of(vcpu)}, [Pair(4, 0)])[0][0].value == before[0].value & ~(1 << 34)
