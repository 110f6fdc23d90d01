"""The device tree: what it says, and both forms through dtc."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from coordinator.devicetree import device_tree, to_blob, to_source
from coordinator.host import HostModel
from coordinator.spec import VmSpec
from hart.isa.extensions import implemented

SPEC = VmSpec(name="demo", harts=3, ram_bytes=1 << 20, host=HostModel(zicbom_block_size=64))
HARTS = [implemented(), frozenset({"I", "Zicsr", "Zicbom"}), frozenset({"I", "M", "A"})]


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
