"""All 65,536 halfwords: at most one row each, reserved ones illegal, hints without effect."""

from __future__ import annotations

import pytest
from samples import ALL, decode, encode

from hart.isa import ROWS
from hart.isa.effects import MemoryEffect, Transfer, effects

COMPRESSED = [row for row in ROWS if row.pattern.length == 2]
HALFWORDS = [h for h in range(1 << 16) if h & 3 != 3]


def bits(halfword: int, high: int, low: int) -> int:
    return halfword >> low & ((1 << (high - low + 1)) - 1)


def legal(h: int) -> bool:
    """Whether RV64 with Zca alone defines a halfword: the figures of chapter "C", written a second time."""
    quadrant, funct3 = h & 3, h >> 13
    rd, rs2 = bits(h, 11, 7), bits(h, 6, 2)
    if quadrant == 0:
        return {0: bits(h, 12, 5) != 0, 2: True, 3: True, 6: True, 7: True}.get(funct3, False)
    if quadrant == 1:
        if funct3 == 1:
            return rd != 0
        if funct3 == 3:
            return bits(h, 12, 12) << 5 | rs2 != 0
        if funct3 == 4:
            return not (bits(h, 12, 10) == 7 and bits(h, 6, 6) == 1)  # Zcb's place
        return True
    if funct3 in (1, 5):
        return False  # Zcd
    if funct3 in (2, 3):
        return rd != 0
    if funct3 == 4:
        return h != 0x8002
    return True


def test_each_halfword_is_one_row_or_illegal() -> None:
    for halfword in HALFWORDS:
        matching = [row.name for row in COMPRESSED if row.matches(halfword)]
        assert len(matching) == legal(halfword), f"{halfword:#06x}: {matching}"
        decoded = ALL.decode(halfword)
        assert ([decoded.row.name] if decoded else []) == matching


def test_bits_above_a_halfword_do_not_count() -> None:
    assert ALL.decode(0xFFFF_0000 | encode("c.li a0, 1")) is ALL.decode(encode("c.li a0, 1"))


@pytest.mark.parametrize(
    ("compressed", "base"),
    [
        ("c.addi4spn a0, sp, 1020", "addi a0, sp, 1020"),
        ("c.lw a0, 124(s1)", "lw a0, 124(s1)"),
        ("c.ld a5, 248(s0)", "ld a5, 248(s0)"),
        ("c.sw a0, 4(s1)", "sw a0, 4(s1)"),
        ("c.sd a0, 8(s1)", "sd a0, 8(s1)"),
        ("c.addi a0, -32", "addi a0, a0, -32"),
        ("c.addiw a0, 31", "addiw a0, a0, 31"),
        ("c.li t6, -1", "addi t6, zero, -1"),
        ("c.addi16sp sp, -512", "addi sp, sp, -512"),
        ("c.lui t0, 0xfffe0", "lui t0, 0xfffe0"),
        ("c.srli s0, 63", "srli s0, s0, 63"),
        ("c.srai s0, 1", "srai s0, s0, 1"),
        ("c.andi s0, -1", "andi s0, s0, -1"),
        ("c.sub s0, a5", "sub s0, s0, a5"),
        ("c.xor s0, a5", "xor s0, s0, a5"),
        ("c.or s0, a5", "or s0, s0, a5"),
        ("c.and s0, a5", "and s0, s0, a5"),
        ("c.subw s0, a5", "subw s0, s0, a5"),
        ("c.addw s0, a5", "addw s0, s0, a5"),
        ("c.j -2048", "jal zero, -2048"),
        ("c.beqz a0, 254", "beq a0, zero, 254"),
        ("c.bnez a0, -256", "bne a0, zero, -256"),
        ("c.slli t0, 33", "slli t0, t0, 33"),
        ("c.lwsp t0, 252(sp)", "lw t0, 252(sp)"),
        ("c.ldsp t0, 504(sp)", "ld t0, 504(sp)"),
        ("c.jr t0", "jalr zero, 0(t0)"),
        ("c.mv t0, t1", "add t0, zero, t1"),
        ("c.ebreak", "ebreak"),
        ("c.jalr t0", "jalr ra, 0(t0)"),
        ("c.add t0, t1", "add t0, t0, t1"),
        ("c.swsp t0, 252(sp)", "sw t0, 252(sp)"),
        ("c.sdsp t0, 504(sp)", "sd t0, 504(sp)"),
        ("c.nop", "addi zero, zero, 0"),
    ],
)
def test_expands(compressed: str, base: str) -> None:
    short, long = decode(compressed), decode(base)
    assert (short.row.meaning, short.arguments) == (long.row.meaning, long.arguments)
    assert (short.length, long.length) == (2, 4)


HINTS = ("c.nop 4", "c.addi t0, 0", "c.li zero, 5", "c.lui zero, 3", "c.mv zero, t0", "c.add zero, t0",
         "c.slli zero, 3", "c.slli t0, 0", "c.srli s0, 0", "c.srai s0, 0")  # fmt: skip


@pytest.mark.parametrize("text", HINTS)
def test_hints_are_legal_and_change_nothing(text: str) -> None:
    decoded = decode(text)
    found = effects(decoded)
    assert found.memory is MemoryEffect.NONE
    assert found.transfer is Transfer.NONE
    if found.writes:  # a register written with its own value: adding or shifting by 0
        assert found.writes == found.reads
        assert decoded.arguments[0] == decoded.arguments[1]
        assert decoded.arguments[2] == 0


@pytest.mark.parametrize(
    "halfword",
    [
        0x0000,  # all zeros
        0x0004,  # c.addi4spn a0... with nzuimm = 0
        0x2000, 0xA000, 0x2002, 0xA002,  # c.fld, c.fsd, c.fldsp, c.fsdsp
        0x8000,  # quadrant 0, funct3 4: Zcb
        0x2005,  # c.addiw zero, 1
        0x6101, 0x6081, 0x6001,  # c.addi16sp and c.lui with an immediate of 0
        0x4002, 0x6002,  # c.lwsp and c.ldsp to x0
        0x8002,  # c.jr x0
        0x9C41, 0x9C61,  # quadrant 1, 100 1 11 .. 10 and 11: Zcb
    ],
)  # fmt: skip
def test_reserved_halfwords(halfword: int) -> None:
    assert ALL.decode(halfword) is None
