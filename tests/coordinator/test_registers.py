"""Register ids equal the kernel's, and names and ids convert both ways."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

import pytest

from coordinator.onereg.state import MODE_S
from coordinator.onereg.timer import OFF, ON
from coordinator.registers import (
    ARCH_RISCV,
    SBI_EXTENSIONS,
    WORD_BITS,
    Class,
    Csr,
    Ext,
    SbiState,
    UnknownRegister,
    decode,
    explain,
    find,
    known,
)


def kvm_header(name: str = "riscv-linux-any/asm/kvm.h") -> str:
    spec = util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        pytest.skip("ziglang, whose Linux headers hold the reference numbers, is not installed")
    root = Path(spec.origin).parent / "lib" / "libc" / "include"
    return (root / name).read_text()


@pytest.mark.parametrize("kind", Class)
def test_class_numbers(kind: Class):
    found = re.search(
        rf"#define KVM_REG_RISCV_{kind.name}\s+\((0x[0-9a-f]+) << KVM_REG_RISCV_TYPE_SHIFT", kvm_header()
    )
    assert found is not None
    assert int(found[1], 16) == kind


@pytest.mark.parametrize(
    ("prefix", "subtypes"), [("CSR", Csr), ("ISA", Ext), ("SBI", Ext), ("SBI", SbiState)]
)
def test_subtype_numbers(prefix: str, subtypes: type):
    for member in subtypes:
        found = re.search(
            rf"#define KVM_REG_RISCV_{prefix}_{member.name}\s+\((0x[0-9a-f]+) << KVM_REG_RISCV_SUBTYPE_SHIFT",
            kvm_header(),
        )
        if found is None:
            assert member is Csr.ZICFISS, f"{member!r} is not in the header"  # newer than Linux 7.2
            continue
        assert int(found[1], 16) == member


def test_sbi_extension_numbers():
    body = re.search(r"enum KVM_RISCV_SBI_EXT_ID \{(.*?)\}", kvm_header(), re.S)
    assert body is not None
    assert re.findall(r"KVM_RISCV_SBI_EXT_(\w+)", body[1]) == [*SBI_EXTENSIONS, "MAX"]


@pytest.mark.parametrize(
    ("struct", "prefix"),
    [
        ("kvm_riscv_config", "config"),
        ("kvm_riscv_csr", "csr"),
        ("kvm_riscv_aia_csr", "csr.aia"),
        ("kvm_riscv_smstateen_csr", "csr.smstateen"),
        ("kvm_riscv_timer", "timer"),
        ("kvm_riscv_sbi_sta", "sbi_state.sta"),
    ],
)
def test_indices_follow_the_structs(struct: str, prefix: str):
    body = re.search(rf"struct {struct} \{{(.*?)\}}", kvm_header(), re.S)
    assert body is not None
    fields = re.findall(r"(?:unsigned long|__u64)\s+(\w+);", body[1])
    assert fields
    assert [find(f"{prefix}.{f}").index for f in fields] == list(range(len(fields)))


def test_features_of_fwft_follow_the_structs():
    parts = re.search(r"struct kvm_riscv_sbi_fwft_feature \{(.*?)\}", kvm_header(), re.S)
    features = re.search(r"struct kvm_riscv_sbi_fwft \{(.*?)\}", kvm_header(), re.S)
    assert parts is not None
    assert features is not None
    names = [
        f"sbi_state.fwft.{feature}.{part}"
        for feature in re.findall(r"fwft_feature (\w+);", features[1])
        for part in re.findall(r"unsigned long (\w+);", parts[1])
    ]
    assert len(names) >= 6
    assert [find(name).index for name in names] == list(range(len(names)))


@pytest.mark.parametrize("kind", ["f", "d", "v"])
def test_floats_and_vectors_follow_the_structs(kind: str):
    ptrace = kvm_header("riscv-linux-any/asm/ptrace.h")
    body = re.search(rf"struct __riscv_{kind}_ext_state \{{(.*?)\}}", ptrace, re.S)
    assert body is not None
    fields = re.findall(r"(__u32|__u64|unsigned long|void \*)\s*(\w+)(?:\[(\d+)\])?;", body[1])
    names = [f"{name}{n}" for _, name, count in fields for n in (range(int(count)) if count else [""])]
    prefix = {"f": "fp_f", "d": "fp_d", "v": "vector"}[kind]
    assert [find(f"{prefix}.{name}").index for name in names] == list(range(len(names)))
    assert find("vector.v0").index == 6  # VECTOR_REG(0): the size of __riscv_v_ext_state in longs


def test_sizes_architecture_and_values():
    generic = kvm_header("any-linux-any/linux/kvm.h")
    sizes = dict(re.findall(r"#define KVM_REG_SIZE_U(\d+)\s+(0x[0-9a-f]+)ULL", generic))
    assert len(sizes) == 9
    for bits, number in sizes.items():
        assert decode(int(number, 16)).size == int(bits) // 8
    riscv = re.search(r"#define KVM_REG_RISCV\s+(0x[0-9a-f]+)ULL", generic)
    assert riscv is not None
    assert int(riscv[1], 16) == ARCH_RISCV
    values = dict(re.findall(r"#define KVM_RISCV_(\w+)\s+(\d+)", kvm_header()))
    assert {"MODE_S": MODE_S, "TIMER_STATE_OFF": OFF, "TIMER_STATE_ON": ON}.items() <= {
        name: int(value) for name, value in values.items()
    }.items()
    assert WORD_BITS == 64  # __BITS_PER_LONG of RV64, by which MULTI registers are divided


def test_core_follows_user_regs_struct():
    names = (
        "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
    )
    assert [find(f"core.{n}").index for n in names.split()] == list(range(32))
    assert find("core.mode").encode() == 0x8030_0000_0200_0020


def test_ids_from_the_kernel():
    for name, number in {
        "config.isa": 0x8030000001000000,
        "csr.zicfiss.ssp": 0x8030000003030000,
        "fp_f.fcsr": 0x8020000005000020,
        "fp_d.f0": 0x8030000006000000,
        "fp_d.fcsr": 0x8020000006000020,
        "isa_ext.zicfiss": 0x803000000700004F,
        "isa_ext.multi_dis.1": 0x8030000007020001,
        "vector.v0": 0x8040000009000006,
        "sbi_state.fwft.misaligned_deleg.flags": 0x803000000A010001,
    }.items():
        assert find(name).encode() == number
        assert find(hex(number)).name == name


def test_names_and_ids_convert_both_ways():
    everything = list(known())
    assert len({r.encode() for r in everything}) == len({r.name for r in everything}) == len(everything)
    for register in everything:
        assert register.encode() & ARCH_RISCV
        assert decode(register.encode()) == register == find(register.name) == find(hex(register.encode()))


@pytest.mark.parametrize("number", [0, (1 << 64) - 1, 0x8030_0000_0BFF_FFFF, 0x8030_0000_07FF_0000])
def test_every_number_decodes(number: int):
    assert decode(number).name.startswith("0x")


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("pc", "core.pc"),
        ("A0", "core.a0"),
        ("x10", "core.a0"),
        ("fp", "core.s0"),
        ("zaamo", "isa_ext.zaamo"),
        ("KVM_RISCV_ISA_EXT_ZAAMO", "isa_ext.zaamo"),
        ("KVM_RISCV_SBI_EXT_TIME", "sbi_ext.time"),
        ("sstatus", "csr.sstatus"),
        ("compare", "timer.compare"),
        ("misaligned_deleg.flags", "sbi_state.fwft.misaligned_deleg.flags"),
    ],
)
def test_other_spellings(spelling: str, name: str):
    assert find(spelling).name == name


def test_ids_that_are_no_registers_say_why():
    for register in known():
        assert explain(register.encode()) == ""
    for number, why in {
        0x8030_0000_0700_0050: "index 0x50 is past the last, 0x4f",
        0x8030_0000_0703_0000: "class ISA_EXT has no subtype 3",
        0x8030_0000_0B00_0000: "there is no class 11",
        0x8020_0000_0200_0000: "it says 4 bytes, core.pc has 8",
        0x8030_0001_0200_0000: "index 0x100000000 is past the last, 0x20",
        0x0030_0000_0200_0000: "the architecture is 0x0, RISC-V is 0x80",
    }.items():
        assert explain(number) == why


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time", "several registers are called 'time': timer.time, sbi_ext.time"),
        ("zakas", r"no register is called 'zakas'; did you mean 'zacas'\?"),
        ("x0", "no register is called 'x0'"),
        ("8030000002000000", r"is a decimal number; did you mean 0x8030000002000000\?"),
        ("core.ax", r"no register is called 'core.ax'; did you mean 'core\.ra'\?"),
        ("0x1_0000_0000_0000_0000", "more than 64 bits"),
        ("12moose", "'12moose' is not a number"),
    ],
)
def test_unknown_names(text: str, message: str):
    with pytest.raises(UnknownRegister, match=message):
        find(text)
