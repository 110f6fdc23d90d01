"""Guests: assembled, compiled, read; and what is said when that fails."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from coordinator import guest
from coordinator.config import ConfigError, loads
from coordinator.guest import build_all, compiler_arguments
from hart.elf import write_elf
from hart.isa import EXTENSIONS
from hart.isa.decoder import Decoder, instruction_length

SOURCE = """
    .globl _start, other
_start:
    li a0, N
other:
    nop
    .data
    .balign 8
word: .dword 3
    .size word, 8
"""
MAIN = "#include <hartstorm.h>\nint main(int hart, int harts) { return hart == harts; }\n"

needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")


def build(tmp_path, vm):
    config = loads(f'name = "t"\n[vm]\nmemory = "64KiB"\n{vm}', "t.toml", tmp_path)
    return build_all(config)["vm"]


def problem(tmp_path, vm):
    with pytest.raises(ConfigError) as caught:
        build(tmp_path, vm)
    return str(caught.value).replace(str(tmp_path), "TMP")


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "a.S").write_text(SOURCE)
    (tmp_path / "a.c").write_text(MAIN)
    return tmp_path


def test_assembly(sources):
    image = build(sources, 'guest.source = ["a.S"]\nguest.defines.N = 5')
    assert (image.entry, image.symbols["word"].size) == (0x8000_0000, 8)


def test_entry(sources):
    image = build(sources, 'guest.source = ["a.S"]\nguest.defines.N = 5\nguest.entry = "other"')
    assert image.entry == image.symbols["other"].address > 0x8000_0000


def test_elf_and_raw(sources):
    image = build(sources, 'guest.source = ["a.S"]\nguest.defines.N = 5')
    (sources / "a.elf").write_bytes(write_elf(image))
    again = build(sources, 'guest.elf = "a.elf"')
    assert (again.entry, again.symbols["word"]) == (image.entry, image.symbols["word"])
    (sources / "a.bin").write_bytes(b"\x73\0\x10\0")
    raw = build(sources, 'guest.raw = "a.bin"\nguest.address = 0x80001000')
    assert (raw.entry, raw.chunks[0].data) == (0x8000_1000, b"\x73\0\x10\0")


@pytest.mark.parametrize(
    ("vm", "message"),
    [
        ('guest.source = ["a.S", "b.S"]', 't.toml:4: vm.guest.source[1] = "b.S": there is no file TMP/b.S'),
        ('guest.elf = "b"', 't.toml:4: vm.guest.elf = "b": there is no file TMP/b'),
        ('guest.elf = "a.c"', "TMP/a.c is not a valid ELF file"),
        ('guest.source = ["a.S"]', "'N' is not defined"),
        (
            'guest.source = ["a.S"]\nguest.defines.N = 1\nguest.entry = "strat"',
            "t.toml:6: vm.guest.entry = \"strat\": TMP/a.S has no symbol 'strat'; did you mean '_start'?",
        ),
        (
            'guest.source = ["a.S"]\nguest.defines.N = 1\nexpect.symbols.wrd = 1',
            "t.toml:6: vm.expect.symbols.wrd: TMP/a.S has no symbol 'wrd'; did you mean 'word'?",
        ),
        (
            'guest.raw = "a.S"\nguest.address = 0x8000fff0',
            "t.toml:3: vm.memory = 65536: TMP/a.S needs 0x8000fff0 to 0x80010067, but memory is ",
        ),
    ],
)
def test_problems(sources, vm, message):
    assert message in problem(sources, vm)


def test_problems_of_several_vms_come_together(sources):
    text = 'name = "t"\n[vm]\nguest.elf = "a"\n[vms.one]\n[vms.two]\nguest.elf = "b"\n'
    with pytest.raises(ConfigError) as caught:
        build_all(loads(text, "t.toml", sources))
    assert [p.line for p in caught.value.problems] == [3, 6]


def test_without_zig_the_message_says_what_to_install(sources, monkeypatch):
    monkeypatch.setattr(guest.importlib.util, "find_spec", lambda name: None)
    assert problem(sources, 'guest.c = ["a.c"]') == (
        't.toml:4: vm.guest.c = ["a.c"]: C guests are built by zig, which is not installed: '
        "pip install 'hartstorm[c]'"
    )


def test_the_compiler_is_told_the_vm_s_isa():
    vm = loads('name = "t"\n[vm]\nguest.c = ["a"]\nisa.base = "rv64i2p1m_zaamo"', "t", Path(".")).run.vms[
        "vm"
    ]
    assert "-mcpu=generic_rv64+m+zmmul+zaamo" in compiler_arguments(vm, [Path("a")])


@pytest.mark.outside
@needs_zig
@pytest.mark.parametrize(
    "isa", ["", 'base = "rv64i"', 'base = "rv64ima"', 'base = "rv64imac_zacas_zabha"', "A = false"]
)
def test_c_uses_only_what_the_vm_has(sources, isa):
    (sources / "a.c").write_text(MAIN + '_Atomic int x; void f(void) { hs_print("x"); }\n')
    image = build(sources, f'guest.c = ["a.c"]\nisa = {{ {isa} }}')
    extensions = (
        loads(f'name="t"\nvm.guest.elf="a"\nvm.isa={{ {isa} }}', "t", sources).run.vms["vm"].extensions
    )
    everything, allowed = Decoder(EXTENSIONS), Decoder(extensions)
    code, at = image.chunks[0].data, 0
    assert len(code) > 50
    while at < len(code):
        word = int.from_bytes(code[at : at + 4], "little")
        if everything.decode(word) is not None:
            assert allowed.decode(word) is not None, hex(image.chunks[0].address + at)
        at += instruction_length(word)


@pytest.mark.outside
@needs_zig
def test_c_errors_are_the_compiler_s(sources):
    (sources / "a.c").write_text("int main(void) { return x; }\n")
    assert "TMP/a.c:1:25: error: use of undeclared identifier 'x'" in problem(sources, 'guest.c = ["a.c"]')


@pytest.mark.outside
@needs_zig
def test_c_that_does_not_fit(sources):
    (sources / "a.c").write_text("char big[1 << 20];\n" + MAIN.replace("hart == harts", "big[hart]"))
    assert "do not fit into guest memory" in problem(sources, 'guest.c = ["a.c"]')
