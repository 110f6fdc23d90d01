"""Constrained LR/SC loops, rule by rule of the manual's "Eventual Success of Store-Conditional Instructions"."""

from __future__ import annotations

import pytest

from hart.asm import assemble
from hart.isa.decoder import Decoder
from hart.isa.effects import MemoryEffect
from hart.isa.extensions import effective, implemented
from hart.isa.instruction import instruction_at
from hart.isa.loops import find_loop

DECODER = Decoder(effective(implemented()))
RAM = 0x8000_0000


def _loop(source: str):
    (chunk,) = assemble(f".globl _start\n_start:\n{source}").image.chunks

    def at(pc: int):
        return instruction_at(DECODER, fetch, pc)

    def fetch(pc: int) -> int | None:
        start = pc - RAM
        inside = 0 <= start < len(chunk.data)
        return int.from_bytes(chunk.data[start : start + 4], "little") if inside else None

    pcs, pc = [], RAM
    while (i := at(pc)) is not None:
        pcs += [pc] * (i.effects.memory is MemoryEffect.STORE_CONDITIONAL)
        pc = i.next
    return find_loop(at, pcs[-1])


@pytest.mark.parametrize(
    "source",
    [
        "1: lr.d t0, (a0)\n addi t0, t0, 1\n sc.d t1, t0, (a0)\n bnez t1, 1b",
        "1: lr.w t0, (a0)\n bne t0, a1, 2f\n sc.w t1, a2, (a0)\n bnez t1, 1b\n2: ret",
        "1: li t2, 3\n lr.w t0, (a0)\n xor t0, t0, t2\n sc.w t1, t0, (a0)\n beqz t1, 2f\n j 1b\n2: ret",
        "1: lr.w t0, (a0)\n" + "add t0, t0, a1\n" * 13 + "sc.w t1, t0, (a0)\n bnez t1, 1b",
    ],
)
def test_constrained(source):
    loop = _loop(source)
    assert loop.lr is not None
    assert loop.unconstrained == ""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "1: lr.w t0, (a0)\n" + "add t0, t0, a1\n" * 14 + "sc.w t1, t0, (a0)\n bnez t1, 1b",
            "17 instructions, more than 16",
        ),
        ("1: lr.d t0, (a0)\n ld t2, (a1)\n sc.d t1, t2, (a0)\n bnez t1, 1b", "a load at 0x80000004 between"),
        ("1: lr.d t0, (a0)\n sd t0, (a1)\n sc.d t1, t0, (a0)\n bnez t1, 1b", "a store at"),
        ("1: lr.d t0, (a0)\n fence\n sc.d t1, t0, (a0)\n bnez t1, 1b", "a fence at"),
        ("1: lr.d t0, (a0)\n mul t0, t0, t0\n sc.d t1, t0, (a0)\n bnez t1, 1b", "mul, which is not"),
        ("1: lr.d t0, (a0)\n csrr t2, mcycle\n sc.d t1, t2, (a0)\n bnez t1, 1b", "a system instruction at"),
        (
            "1: lr.d t0, (a0)\n2: addi t0, t0, 1\n bltz t0, 2b\n sc.d t1, t0, (a0)\n bnez t1, 1b",
            "a backward branch at",
        ),
        ("1: lr.d t0, (a0)\n jalr t2\n sc.d t1, t0, (a0)\n bnez t1, 1b", "an indirect jump at"),
        ("1: lr.d t0, (a0)\n sc.w t1, t0, (a0)\n bnez t1, 1b", "LR reads 8 bytes, SC writes 4"),
        ("1: lr.d t0, (a0)\n sc.d t1, t0, (a1)\n bnez t1, 1b", "SC's address is not shown to be LR's"),
        ("1: lr.d a0, (a0)\n sc.d t1, t0, (a0)\n bnez t1, 1b", "SC's address is not shown to be LR's"),
        ("1: lr.d t0, (a0)\n sc.d t1, t0, (a0)\n pause\n bnez t1, 1b", "a system instruction at"),
        ("1: lr.d t0, (a0)\n sc.d t1, t0, (a0)\n ret", "nothing repeats it"),
        ("1: nop\n sc.d t1, t0, (a0)\n bnez t1, 1b", "no LR precedes the SC"),
    ],
)
def test_unconstrained(source, why):
    assert _loop(".option norvc\n" + source).unconstrained.startswith(why)
