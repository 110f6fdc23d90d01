"""The device tree: the binding's rules, and both forms through dtc."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.devicetree import broken_rules, device_tree, extension_list, to_blob, to_source
from coordinator.host import HostModel
from coordinator.spec import VmSpec
from hart.isa.extensions import effective, implemented, requirements
from hart.isa.isa_string import parse_extension_list

SPEC = VmSpec(name="demo", harts=3, ram_bytes=1 << 20, host=HostModel(zicbom_block_size=64))
HARTS = [implemented(), frozenset({"I", "Zicsr", "Zicbom"}), frozenset({"I", "M", "A"})]


@pytest.mark.parametrize(
    ("listed", "broken"),
    [
        ("i a zacas", ["zacas: the list must hold all of zaamo"]),
        ("i zaamo zacas", []),
        ("i a zaamo zacas", []),
        ("i a za64rs", []),
        ("i zalrsc ziccrse", []),
        ("i a zalrsc ziccrse", ["ziccrse: the list must hold exactly one of zalrsc, a"]),
        ("i a zaamo ziccamoa", ["ziccamoa: the list must hold exactly one of zaamo, a"]),
        ("i ziccamoa", ["ziccamoa: the list must hold exactly one of zaamo, a"]),
        ("i d", ["d: the list must hold all of f"]),
        ("i b zba zbb", ["b: the list must hold all of zba, zbb, zbs"]),
        ("i zba zbb", []),
        ("i zba zbb zbs", ["zba, zbb, zbs: the list must hold all of b"]),
        ("i zcb", ["zcb: the list must hold all of zca"]),
        ("i zcmop zca", []),
        ("i zca zcd", ["zcd: the list must hold all of zca, d"]),
        ("i f zca zcf", ["rv64i: the list must hold none of zcf, zilsd, zclsd"]),
        ("i zilsd", ["rv64i: the list must hold none of zcf, zilsd, zclsd"]),
        ("i zfbfmin", ["zfbfmin: the list must hold all of f"]),
    ],
)
def test_the_rules_of_the_binding(listed: str, broken: list[str]):
    assert broken_rules(listed.split()) == broken


@pytest.mark.parametrize(
    ("extensions", "listed"),
    [
        ({"I", "A"}, ["i", "a", "zaamo", "zalrsc"]),
        ({"I", "A", "Ziccrse"}, ["i", "a", "ziccrse", "zaamo"]),
        ({"I", "A", "Zacas", "Ziccamoa"}, ["i", "ziccamoa", "zaamo", "zacas", "zalrsc"]),
        ({"I", "Zba", "Zbb", "Zbs"}, ["i", "b", "zba", "zbb", "zbs"]),
    ],
)
def test_lists_obey(extensions: set[str], listed: list[str]):
    assert extension_list(frozenset(extensions)) == listed


@given(st.frozensets(st.sampled_from(sorted(implemented()))))
def test_a_guest_that_reads_the_list_finds_the_same_instructions(some: frozenset[str]):
    on = some | {"I"}
    while more := frozenset().union(*(requirements(name, on) for name in on)) - on:
        on |= more
    listed = extension_list(on)
    assert broken_rules(listed) == []
    assert parse_extension_list("rv64i", listed) - {"A", "B"} == effective(on) - {"A", "B"}


def test_a_set_that_no_list_can_say():
    with pytest.raises(ValueError, match="d: the list must hold all of f"):
        extension_list(frozenset({"I", "D"}))


@pytest.fixture
def dtc() -> str:
    found = shutil.which("dtc")
    if found is None:
        pytest.skip("dtc is not installed")
    return found


def run(dtc: str, source_form: str, form: str, data: bytes) -> tuple[bytes, str]:
    done = subprocess.run(
        [dtc, "-s", "-I", source_form, "-O", form], input=data, capture_output=True, check=True
    )
    return done.stdout, done.stderr.decode()


@pytest.mark.outside
def test_dtc_accepts_both_forms_and_finds_them_equal(dtc: str):
    tree = device_tree(SPEC, HARTS)
    from_source, complaints = run(dtc, "dts", "dtb", to_source(tree).encode())
    assert complaints == ""
    from_blob, complaints = run(dtc, "dtb", "dtb", to_blob(tree))
    assert complaints == ""
    assert from_source == from_blob


def test_what_the_guest_is_told():
    source = to_source(device_tree(SPEC, HARTS))
    assert "memory@80000000" in source
    assert "reg = <0x0 0x80000000 0x0 0x100000>;" in source
    assert "timebase-frequency = <0x989680>;" in source
    assert source.count('riscv,isa-base = "rv64i";') == 3
    assert source.count("riscv,cbom-block-size = <0x40>;") == 1
    assert 'riscv,isa-extensions = "i", "m", "a", "zmmul", "zaamo", "zalrsc";' in source
    assert (
        "interrupts-extended = <&cpu0_intc 0x3 &cpu0_intc 0x7 &cpu1_intc 0x3 &cpu1_intc 0x7 &cpu2_intc"
        in source
    )
