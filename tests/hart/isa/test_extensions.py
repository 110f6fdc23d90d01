"""The registry is consistent, and its numbers are those of the Linux headers that ziglang ships."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

import pytest

from hart.isa.extensions import (
    BY_KVM_ID,
    REGISTRY,
    UnknownExtension,
    dependents,
    effective,
    find,
    implemented,
    misa,
    unmet,
)

HWPROBE_IRREGULAR = {"D": "IMA_FD", "C": "IMA_C", "V": "IMA_V"}


def header(name: str) -> str:
    spec = util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        pytest.skip("ziglang, whose Linux headers hold the reference numbers, is not installed")
    include = Path(spec.origin).parent / "lib" / "libc" / "include" / "riscv-linux-any" / "asm"
    return (include / name).read_text()


def test_every_reference_names_a_row():
    for row in REGISTRY.values():
        for name in (*row.implies, *row.depends, row.required_host, *sum(row.implies_with, ())):
            assert name in REGISTRY, f"{row.name} refers to {name}"


def test_no_number_stands_twice():
    assert sorted(BY_KVM_ID) == list(range(80))
    bits = [row.hwprobe for row in REGISTRY.values() if row.hwprobe]
    assert len(bits) == len(set(bits))
    assert sorted(b for k, b in bits if k == "IMA_EXT_0") == list(range(64))


def test_kvm_ids_equal_the_kernel_header():
    body = re.search(r"enum KVM_RISCV_ISA_EXT_ID \{(.*?)\}", header("kvm.h"), re.S)
    assert body is not None
    names = re.findall(r"KVM_RISCV_ISA_EXT_(\w+)", body[1])
    assert names.pop() == "MAX"
    assert len(names) >= 78
    assert names == [BY_KVM_ID[i].name.upper() for i in range(len(names))]


def test_hwprobe_bits_equal_the_kernel_header():
    text = header("hwprobe.h")
    ours = {
        ("IMA_" if HWPROBE_IRREGULAR.get(row.name) else "EXT_")
        + HWPROBE_IRREGULAR.get(row.name, row.name.upper()).removeprefix("IMA_"): row.hwprobe
        for row in REGISTRY.values()
        if row.hwprobe
    }
    key, checked = "", 0
    for name, value in re.findall(r"#define\s+RISCV_HWPROBE_(\w+)\s+(.+)", text):
        if name.startswith("KEY_"):
            key = name.removeprefix("KEY_")
        bit = re.fullmatch(
            r"\(?(?:\(__u64\)\s*)?1(?:ULL|UL)?\s*<<\s*(\d+)\)?|_BITULL\((\d+)\)", value.strip()
        )
        if bit and key.startswith("IMA_EXT") and name != "WHICH_CPUS":
            assert ours[name] == (key, int(bit[1] or bit[2])), name
            checked += 1
    assert checked >= 65


@pytest.mark.parametrize(
    ("enabled", "expected"),
    [
        ({"A"}, {"A", "Zaamo", "Zalrsc"}),
        ({"C"}, {"C", "Zca"}),
        ({"C", "D"}, {"C", "D", "Zca", "Zcd"}),
        ({"B"}, {"B", "Zba", "Zbb", "Zbs"}),
        ({"Za64rs"}, {"Za64rs", "Za128rs"}),
        ({"Zaamo", "Zalrsc"}, {"Zaamo", "Zalrsc"}),
    ],
)
def test_effective_expands_bundles_and_never_builds_them(enabled: set[str], expected: set[str]):
    assert effective(enabled) == expected


def test_unmet_names_each_broken_rule():
    assert unmet({"I", "Zacas", "Zawrs"}) == ["Zacas needs Zaamo", "Zawrs needs Zalrsc"]
    assert unmet({"I", "A", "Zacas", "Zawrs"}) == []
    assert unmet({"Zba"}) == ["every hart needs the base instruction set I"]
    assert unmet({"I", "Zilsd"}) == ["Zilsd exists on RV32 only"]


def test_default_isa_is_sound_and_follows_the_granule():
    assert unmet(implemented()) == []
    assert {"Zacas", "Zabha", "Zawrs", "Zalasr", "Za64rs", "Ziccamoc"} <= implemented(6)
    assert implemented(6) - implemented(7) == {"Za64rs"}
    assert implemented(7) - implemented(12) == {"Za128rs"}


def test_dependents_are_those_that_bring_or_need():
    assert dependents("Zaamo", {"A", "Zaamo", "Zalrsc", "Zacas", "Zabha"}) == {"A", "Zacas", "Zabha"}
    assert dependents("Zca", {"I", "C", "Zca"}) == {"C"}


@pytest.mark.parametrize(
    ("extensions", "letters"),
    [
        ({"I"}, "I"),
        ({"I", "M", "A", "C", "B"}, "ABCIM"),
        ({"I", "Zaamo"}, "I"),
        ({"I", "Zaamo", "Zalrsc"}, "AI"),
        ({"I", "Zba", "Zbb", "Zbs"}, "BI"),
        ({"I", "Zmmul"}, "I"),
        ({"I", "F", "D", "Zca"}, "DFI"),
        ({"I", "F", "D", "C"}, "CDFI"),
    ],
)
def test_misa_shows_a_bundle_when_all_its_parts_are_on(extensions: set[str], letters: str):
    assert misa(extensions) == 2 << 62 | sum(1 << ord(c) - ord("A") for c in letters)


def test_find_offers_the_nearest_name():
    assert find("ZAAMO").name == "Zaamo"
    with pytest.raises(UnknownExtension, match=r"unknown extension 'zakas'; did you mean 'Zacas'\?"):
        find("zakas")
