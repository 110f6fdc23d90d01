from __future__ import annotations

import random

import pytest
from samples import ALL, encode, number, random_values

from hart.isa import BY_MNEMONIC, BY_NAME, ROWS
from hart.isa.csrs import NAMES, NUMBERS
from hart.isa.disassembler import describe, disassemble
from hart.isa.row import Row
from hart.isa.syntax import OperandError, format_operands, mnemonic, parse_operands, spellings


def split(operands: str) -> list[str]:
    return operands.split(", ") if operands else []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_text_reads_back(row: Row) -> None:
    rng = random.Random(row.name)
    for _ in range(20):
        values = random_values(row, rng)
        word = row.pattern.encode(values)
        assert row.pattern.decode(word) == values
        for pc in (None, 0, 0x8000_0000, (1 << 64) - 4):
            text = disassemble(word, pc)
            name, _, operands = text.partition(" ")
            found, given = BY_MNEMONIC[name]
            assert found is row or (found.refines == row.name)
            if found is row:
                assert parse_operands(row, split(operands), number, pc or 0, given) == values
        assert spellings(row)[mnemonic(row, values)] == {k: v for k, v in values.items() if k == "order"}


def test_random_words_keep_all_their_bits() -> None:
    rng = random.Random(3)
    opcodes = sorted({row.pattern.match & 0x7F for row in ROWS if row.pattern.length == 4})
    legal = 0
    for _ in range(20_000):
        word = rng.getrandbits(25) << 7 | rng.choice(opcodes)
        text = disassemble(word)
        if text.startswith("."):
            assert int(text.split()[1], 16) == word
        else:
            legal += 1
            assert encode(text) == word, text
    assert legal > 5_000


@pytest.mark.parametrize(
    ("word", "pc", "text"),
    [
        (0x02A5_8513, None, "addi a0, a1, 42"),
        (0xFFFF_F537, None, "lui a0, 1048575"),
        (0xFE00_0EE3, None, "beq zero, zero, . - 4"),
        (0xFE00_0EE3, 0x8000_0010, "beq zero, zero, 0x8000000c"),
        (0x0FF0_000F, None, "fence iorw, iorw"),
        (0x0100_000F, None, "pause"),
        (0x8330_000F, None, "fence.tso"),
        (0x8330_800F, None, ".4byte 0x8330800f  # fence.tso, ignored fields set"),
        (0x0000_100F, None, "fence.i"),
        (0x3000_25F3, None, "csrrs a1, mstatus, zero"),
        (0x7C0F_D073, None, "csrrwi zero, 0x7c0, 31"),
        (0x06C5_A52F, None, "amoadd.w.aqrl a0, a2, (a1)"),
        (0x1005_A52F, None, "lr.w a0, (a1)"),
        (0x3605_B52F, None, "ld.aqrl a0, (a1)"),
        (0x0001, None, "c.nop"),
        (0x0011, None, "c.nop 4"),
        (0x4512, None, "c.lwsp a0, 4(sp)"),
        (0x0000, None, ".2byte 0x0000"),
        (0xFFFF_FFFF, None, ".4byte 0xffffffff"),
    ],
)
def test_disassembly(word: int, pc: int | None, text: str) -> None:
    assert disassemble(word, pc) == text


def test_symbols() -> None:
    text = disassemble(
        0xFE00_0EE3, 0x8000_0010, symbolize=lambda address: f"start+{address - 0x8000_0000:#x}"
    )
    assert text == "beq zero, zero, start+0xc"


def test_a_decoder_decides_what_is_legal() -> None:
    without = type(ALL)(ALL.extensions - {"Zaamo"})
    assert disassemble(0x06C5_A52F, decoder=without) == ".4byte 0x06c5a52f"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("addi x10, fp, 0x2a", "addi a0, s0, 42"),
        ("lw a0, (sp)", "lw a0, 0(sp)"),
        ("lr.w a0, 0(a1)", "lr.w a0, (a1)"),
        ("csrrw a0, 0x300, a1", "csrrw a0, mstatus, a1"),
        ("c.addi16sp x2, 16", "c.addi16sp sp, 16"),
    ],
)
def test_other_spellings(text: str, same: str) -> None:
    assert encode(text) == encode(same)


def test_offset_that_is_an_expression_with_parentheses() -> None:
    seen: list[str] = []

    def evaluate(text: str) -> int:
        seen.append(text)
        return 8

    values = parse_operands(BY_NAME["lw"], ["a0", "%lo(x + (4))(a1)"], evaluate)
    assert (values["imm"], values["rs1"], seen) == (8, 11, ["%lo(x + (4))"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("addi a0, a1", "addi takes 3 operands (rd, rs1, imm), not 2"),
        ("ecall a0", "ecall takes 0 operands, not 1"),
        ("c.nop 1, 2", "c.nop takes 0 to 1 operands ([imm]), not 2"),
        ("c.jr a0, a1", "c.jr takes 1 operand (rs1), not 2"),
        ("addi a0, b1, 1", "addi: 'b1' is not an integer register (x0 to x31 or an ABI name)"),
        ("addi a0, zeros, 1", "did you mean 'zero'?"),
        ("addi a0, a1, 2048", "addi: imm = 2048 is not in -2048..2047"),
        ("addi a0, a1, 0x800", "addi: '0x800': imm = 2048 is not in -2048..2047"),
        ("slli a0, a1, 64", "slli: uimm = 64 is not in 0..63"),
        ("slli a0, a1, -1", "slli: uimm = -1 is not in 0..63"),
        ("lui a0, 0x100000", "lui: upper = 0x100000 is not in 0..0xfffff"),
        ("lui a0, -1", "lui: upper = -1 is not in 0..0xfffff"),
        ("c.lui a0, 0x20", "c.lui: upper = 0x20 is not in 0..0x1f and 0xfffe0..0xfffff"),
        ("c.lui a0, 0", "c.lui: upper = 0x0 is reserved or another instruction's"),
        ("c.lui sp, 1", "c.lui: rd = sp is reserved or another instruction's"),
        (
            "beq a0, a1, 4096",
            "beq: '4096': target = this instruction + 4096 is not in the multiples of 2 in -4096..4094",
        ),
        ("jal ra, -3", "jal: '-3': target = this instruction - 3 is not in the multiples of 2"),
        ("lw a0, 8", "lw: '8' should have the form imm(rs1)"),
        ("lr.w a0, 8(a1)", "lr.w: '8(a1)' has an offset, which lr.w cannot encode"),
        ("lr.w a0, a1", "lr.w: 'a1' should have the form (rs1)"),
        ("fence wr, rw", "fence: 'wr' is not a fence set: some of the letters iorw in this order, or 0"),
        ("csrrw a0, mstatsu, a1", "csrrw: 'mstatsu' is not a CSR by name or number; did you mean 'mstatus'?"),
        ("csrrw a0, 4096, a1", "csrrw: csr = 4096 is not in 0..4095"),
        ("amocas.q a0, a1, (a2)", "amocas.q: rs2 = a1 is reserved or another instruction's"),
        ("c.lw t0, 4(a0)", "c.lw: rd = t0 is not in s0..a5 (x8..x15)"),
        ("c.lwsp a0, 4(s0)", "c.lwsp: 's0' must be sp"),
        ("c.lw a0, 2(a0)", "c.lw: uimm = 2 is not in the multiples of 4 in 0..124"),
    ],
)
def test_errors_name_the_place_the_value_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(OperandError) as error:
        encode(text)
    assert message in str(error.value)


def test_errors_of_the_evaluator_pass_through() -> None:
    def fail(text: str) -> int:
        raise LookupError(text)

    with pytest.raises(LookupError):
        parse_operands(BY_NAME["addi"], ["a0", "a1", "nowhere"], fail)
    with pytest.raises(LookupError):
        parse_operands(BY_NAME["csrrw"], ["a0", "nowhere", "a1"], fail)


def test_format_needs_no_pc() -> None:
    assert format_operands(BY_NAME["jal"], {"rd": 1, "imm": 16}) == "ra, . + 16"


def test_csr_table() -> None:
    assert len(NAMES) == len(NUMBERS)
    known = {"mstatus": 0x300, "mhartid": 0xF14, "pmpcfg14": 0x3AE, "pmpaddr63": 0x3EF, "mhpmevent31": 0x33F,
             "mhpmcounter3": 0xB03, "hpmcounter31": 0xC1F, "mnstatus": 0x744, "tdata3": 0x7A3}  # fmt: skip
    assert {name: NUMBERS[name] for name in known} == known
    assert "pmpcfg1" not in NUMBERS


@pytest.mark.parametrize(
    ("word", "missing", "text"),
    [
        (0x06C5A52F, {"Zaamo"}, "amoadd.w.aqrl a0, a2, (a1): needs Zaamo"),
        (0x28B6_052F, {"Zabha", "Zacas"}, "amocas.b a0, a1, (a2): needs Zabha and Zacas"),
        (0x28B6_052F, {"Zabha"}, "amocas.b a0, a1, (a2): needs Zabha"),
        (0x28B6_052F, set(), "amocas.b a0, a1, (a2)"),
        (0xFFFF_FFFF, {"Zabha"}, ".4byte 0xffffffff"),
    ],
)
def test_reports_say_what_an_instruction_needs(word: int, missing: set[str], text: str) -> None:
    assert describe(word, 0, decoder=type(ALL)(ALL.extensions - missing)) == text
