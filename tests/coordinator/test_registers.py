"""Register ids equal the kernel's, and names and ids convert both ways."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

import pytest

from coordinator.registers import (
    ARCH_RISCV,
    SBI_EXTENSIONS,
    Class,
    Csr,
    Ext,
    SbiState,
    UnknownRegister,
    decode,
    find,
    known,
)


def kvm_header() -> str:
    spec = util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        pytest.skip("ziglang, whose Linux headers hold the reference numbers, is not installed")
    root = Path(spec.origin).parent / "lib" / "libc" / "include"
    return (root / "riscv-linux-any" / "asm" / "kvm.h").read_text()


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
    ("text", "message"),
    [
        ("core.ax", r"no register is called 'core.ax'; did you mean 'core\.ra'\?"),
        ("0x1_0000_0000_0000_0000", "more than 64 bits"),
        ("12moose", "'12moose' is not a number"),
    ],
)
def test_unknown_names(text: str, message: str):
    with pytest.raises(UnknownRegister, match=message):
        find(text)
