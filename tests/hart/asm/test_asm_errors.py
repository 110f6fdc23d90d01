"""Errors: all of them, each with file:line, the offending text, the way there, and the nearest spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.asm import AssemblyError, assemble
from hart.asm.diagnostics import LIMIT
from hart.isa.isa_string import parse


def errors(text: str, isa: str = "rv64imac_zacas") -> list[str]:
    with pytest.raises(AssemblyError) as caught:
        assemble(text, extensions=parse(isa))
    return [str(d) for d in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amoswp.w a0, a1, (a2)", "unknown instruction 'amoswp.w'; did you mean 'amoswap.w'?"),
        ("amoadd.w.aqlr a0, a1, (a2)", "did you mean 'amoadd.w.aqrl'?"),
        (".wrod 1", "unknown directive '.wrod'; did you mean '.word'?"),
        ("add a0, a1, t9", "add: 't9' is not"),
        ("beq a0, a1, a2", "'a2' is a register, where a number or a symbol should be"),
        ("mv a0, b1", "mv: 'b1' is not an integer register"),
        ("mv a0", "mv does not take 'a0'; write mv rd, rs1"),
        ("addi a0, a0, 2048", "addi: imm = 2048 is not in -2048..2047"),
        ("lw a0, 4096(a0)", "4096 is not in -2048..2047"),
        ("lw a0, %low(x)(a0)", "unknown operator '%low'; did you mean '%lo'?"),
        ("lui a0, 0x100000", "0..0xfffff"),
        ("csrr a0, mhartd", "did you mean 'mhartid'?"),
        ("fence rx, w", "'rx' is not a fence set"),
        ("amoadd.w a0, a1, 4(a2)", "offset"),
        ("c.addi a0, 40", "c.addi: imm"),
        ("c.lw a0, 0(t0)", "c.lw: "),
        ("li a0, later\n.equ later, 1", "li: 'later' is not defined before this line"),
        ("li a0, 1 +", "'1 +': expected a number, a symbol or ( at the end"),
        ("li a0, 1 / 0", "division by zero"),
        ("li a0, 0x10000000000000000", "does not fit in 64 bits"),
        ("li a0, 09", "'09' is not an octal number"),
        ("li a0, 5x", "'5x' is not a number"),
        ("j nowhere", "'nowhere' is not defined"),
        ("loop: j lop", "'lop' is not defined; did you mean 'loop'?"),
        ("j 1b", "no label 1: before this line for 1b"),
        ("j 1f", "'1f' is not defined"),
        ("a: nop\na: nop", "'a' is already defined in <text>:1"),
        (".equiv a, 1\n.equiv a, 2", "'a' is already defined in <text>:1"),
        (".equ a, b\n.equ b, a\n.word a", "depends on itself"),
        (".byte 256", ".byte: 0x100 does not fit in 1 bytes"),
        (".half later\n.equ later, 0x10000", "does not fit in 2 bytes"),
        (".ascii abc", "expected a string in double quotes, not abc"),
        ('.ascii "\\q"', r"unknown escape \q"),
        (".align 20", ".align: 20 is not in 0..16"),
        (".balign 3", ".balign: 3 is not a power of two"),
        (".space -1", ".space: the count -1 is negative"),
        (".word 1\n.word 2\n.org 4", ".org cannot go back from offset 0x8 to 0x4"),
        (".popsection", ".popsection: without .pushsection"),
        (".option pop", ".option: pop without push"),
        (".option rvv", "unknown option 'rvv'; did you mean 'rvc'?"),
        (".option arch, +zaacs", "unknown extension 'zaacs'"),
        (".bss\n.word 1", ".bss holds no data, only zeros"),
        (".if 1", "this .if has no .endif"),
        (".endif", ".endif without .if"),
        (".if 1\n.else\n.else\n.endif", ".else after .else"),
        (".if undefined\n.endif", ".if: 'undefined' is not defined"),
        (".if a - b\n.endif\na: beq a0, a0, a\nb:", "is not defined before this line"),
        ("a: beq a0, a0, a\nb:\n.if b - a == 4\n.endif", "must be constants known here, not addresses"),
        (".macro m\nnop", ".macro has no .endm"),
        (".endm", ".endm without .macro"),
        (".endr", ".endr without .rept or .irp or .irpc"),
        (".rept 3", ".rept has no .endr"),
        (".rept -1\n.endr", ".rept: -1 times"),
        (".purgem m", ".purgem: no macro 'm'"),
        (".exitm", ".exitm outside a macro"),
        (".macro m a\n.endm\nm 1, 2", "macro m takes at most 1 arguments; '2' is one more"),
        (".macro m a:req\n.endm\nm", "macro m needs a value for a"),
        (".macro m\nm\n.endm\nm", "expansions nested deeper than"),
        (".macro m\n.endm\n.macro m\n.endm", "macro m is already defined"),
        ('.include "none.S"', "cannot find 'none.S'"),
        ('#include "none.h"', "cannot find 'none.h'"),
        ("#if 1", "this #if has no #endif"),
        ("#endif", "#endif without #if"),
        ("#error broken here", "#error broken here"),
        ("#define F(x) x\nF(1, 2)", "macro F takes 1 arguments, not 2"),
        ("#define F(x) x\nF(1", "the macro call has no closing )"),
        ("/* no end", "the comment that begins in line 1 has no end"),
        ("1: auipc a0, %pcrel_hi(1b)\naddi a0, a0, %pcrel_lo(2f)\n2: nop", "%pcrel_lo needs the label of an"),
        ("lui a0, %hi(far)\nfar:", "%hi: lui cannot make 0x80000004; use la"),
        ("la a0, far\n.set far, 0x123456789abc\nnop", "is more than 2 GiB from"),
        ("j far\n.space 0x200000\nfar:", "jal: 'far': target = this instruction + 2097156 is not in"),
        (".error \"stop\"", ".error stop"),
        ("lw a0, (a1", "'(a1': missing )"),
        (".globl 1x", "'1x' is not the name of a symbol"),
    ],
)  # fmt: skip
def test_message(text: str, message: str) -> None:
    found = errors(text)
    assert any(message in e for e in found), found
    assert all(e.startswith("<text>:") for e in found)


def test_place_text_and_trail(tmp_path: Path) -> None:
    included = tmp_path / "inner.S"
    included.write_text("nop\n  bad1 a0\n")
    main = tmp_path / "main.S"
    main.write_text(
        "#define CPP(x) addi a0, x, 5000\n"
        ".macro inner r\n"
        "  addi \\r, \\r, 5000\n"
        ".endm\n"
        ".macro outer\n"
        "  inner a3\n"
        ".endm\n"
        "  outer\n"
        '.include "inner.S"\n'
        "CPP(a1)  # here\n"
    )
    with pytest.raises(AssemblyError) as caught:
        assemble([main])
    inner, bad, cpp = caught.value.diagnostics
    assert (inner.place.line, inner.text) == (3, "addi a3, a3, 5000")
    assert list(inner.place.trail()) == [
        f"macro inner, called at {main}:6",
        f"macro outer, called at {main}:8",
    ]
    assert (bad.place.file, bad.place.line, bad.text) == (str(included), 2, "bad1 a0")
    assert list(bad.place.trail()) == [f"the file included at {main}:9"]
    assert (cpp.place.line, cpp.text, cpp.origin) == (10, "addi a0, a1, 5000", "CPP(a1) # here")
    assert str(caught.value).startswith(f"{main}:3: addi: ")


def test_all_errors_up_to_the_limit() -> None:
    assert len(errors("bad a0\n" * 5 + "j nowhere\nadd a0\n")) == 7
    assert len(errors("bad a0\n" * 100)) == LIMIT


def test_extension_that_is_off() -> None:
    assert errors("amocas.w a0, a1, (a2)", "rv64imac")[0].startswith(
        "<text>:1: amocas.w needs Zacas; the ISA is rv64imac\n"
    )
    assert "needs Zabha; the ISA is rv64imac_zacas" in errors("amocas.b a0, a1, (a2)")[0]
    assert "c.nop needs Zca; the ISA is rv64im_zaamo" in errors("c.nop", "rv64im_zaamo")[0]


def test_duplicate_global_names_both_places(tmp_path: Path) -> None:
    for name in ("a.S", "b.S"):
        (tmp_path / name).write_text(".globl f\n\nf: nop\n")
    with pytest.raises(AssemblyError, match=r"b\.S:3: global 'f' is already defined in .*a\.S:3"):
        assemble([tmp_path / "a.S", tmp_path / "b.S"])


def test_unreadable_source(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="cannot read"):
        assemble([tmp_path / "none.S"])
