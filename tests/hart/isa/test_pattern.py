from __future__ import annotations

import pytest

from hart.isa.pattern import Pattern, PatternError


def test_scattered_immediate_as_in_the_manual() -> None:
    branch = Pattern.parse("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011")
    assert (branch.match, branch.mask, branch.length) == (0x63, 0x707F, 4)
    word = branch.encode({"imm": -2, "rs1": 10, "rs2": 11})
    assert word == 0xFEB50FE3
    assert branch.decode(word) == {"imm": -2, "rs1": 10, "rs2": 11}
    assert branch.fields["imm"].range == range(-4096, 4096, 2)


def test_compressed_registers_and_lengths() -> None:
    load = Pattern.parse("010 uimm[5:3] rs1' uimm[2|6] rd' 00")
    assert load.length == 2
    assert load.decode(load.encode({"rd": 8, "rs1": 15, "uimm": 124})) == {"rd": 8, "rs1": 15, "uimm": 124}
    assert load.fields["rd"].range == range(8, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0000000 rs2 rs1 000 rd 011001", "31 bits, not 16 or 32"),
        ("imm[12|10:5] rs2 rs1 000 imm[4:1|10] 1100011", "bits of imm are missing or given twice"),
        ("imm[12|9:5] 0 rs2 rs1 000 imm[4:1|11] 1100011", "bits of imm are missing or given twice"),
        ("imm rs1 000 rd 0010011", "field 'imm' needs its bits"),
        ("0000000 rs2 rs1 0x0 rd 0110011", "cannot read '0x0'"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=message.replace("[", r"\[")):
        Pattern.parse(text)


@pytest.mark.parametrize("value", [4096, -4098, 3])
def test_value_that_does_not_fit(value: int) -> None:
    branch = Pattern.parse("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011")
    with pytest.raises(PatternError, match=f"imm = {value} is not in the multiples of 2 in -4096..4094"):
        branch.encode({"imm": value, "rs1": 0, "rs2": 0})
