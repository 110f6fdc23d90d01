"""The atomics' encodings against the manual's figures, and the reserved words around them."""

from __future__ import annotations

from itertools import product

import pytest
from samples import ALL, encode

from hart.isa import BY_NAME, EXTENSIONS
from hart.isa.decoder import Decoder

# Mnemonic, owners, match, mask: the opcode listing of the unprivileged manual.
ENCODINGS = (
    ("lr.w", "Zalrsc", 0x1000202F, 0xF9F0707F),
    ("sc.w", "Zalrsc", 0x1800202F, 0xF800707F),
    ("amoswap.w", "Zaamo", 0x0800202F, 0xF800707F),
    ("amoadd.w", "Zaamo", 0x0000202F, 0xF800707F),
    ("amoxor.w", "Zaamo", 0x2000202F, 0xF800707F),
    ("amoand.w", "Zaamo", 0x6000202F, 0xF800707F),
    ("amoor.w", "Zaamo", 0x4000202F, 0xF800707F),
    ("amomin.w", "Zaamo", 0x8000202F, 0xF800707F),
    ("amomax.w", "Zaamo", 0xA000202F, 0xF800707F),
    ("amominu.w", "Zaamo", 0xC000202F, 0xF800707F),
    ("amomaxu.w", "Zaamo", 0xE000202F, 0xF800707F),
    ("lr.d", "Zalrsc", 0x1000302F, 0xF9F0707F),
    ("sc.d", "Zalrsc", 0x1800302F, 0xF800707F),
    ("amoswap.d", "Zaamo", 0x0800302F, 0xF800707F),
    ("amoadd.d", "Zaamo", 0x0000302F, 0xF800707F),
    ("amoxor.d", "Zaamo", 0x2000302F, 0xF800707F),
    ("amoand.d", "Zaamo", 0x6000302F, 0xF800707F),
    ("amoor.d", "Zaamo", 0x4000302F, 0xF800707F),
    ("amomin.d", "Zaamo", 0x8000302F, 0xF800707F),
    ("amomax.d", "Zaamo", 0xA000302F, 0xF800707F),
    ("amominu.d", "Zaamo", 0xC000302F, 0xF800707F),
    ("amomaxu.d", "Zaamo", 0xE000302F, 0xF800707F),
    ("amocas.w", "Zacas", 0x2800202F, 0xF800707F),
    ("amocas.d", "Zacas", 0x2800302F, 0xF800707F),
    ("amocas.q", "Zacas", 0x2800402F, 0xF800707F),
    ("amoswap.b", "Zabha", 0x0800002F, 0xF800707F),
    ("amoadd.b", "Zabha", 0x0000002F, 0xF800707F),
    ("amoxor.b", "Zabha", 0x2000002F, 0xF800707F),
    ("amoand.b", "Zabha", 0x6000002F, 0xF800707F),
    ("amoor.b", "Zabha", 0x4000002F, 0xF800707F),
    ("amomin.b", "Zabha", 0x8000002F, 0xF800707F),
    ("amomax.b", "Zabha", 0xA000002F, 0xF800707F),
    ("amominu.b", "Zabha", 0xC000002F, 0xF800707F),
    ("amomaxu.b", "Zabha", 0xE000002F, 0xF800707F),
    ("amoswap.h", "Zabha", 0x0800102F, 0xF800707F),
    ("amoadd.h", "Zabha", 0x0000102F, 0xF800707F),
    ("amoxor.h", "Zabha", 0x2000102F, 0xF800707F),
    ("amoand.h", "Zabha", 0x6000102F, 0xF800707F),
    ("amoor.h", "Zabha", 0x4000102F, 0xF800707F),
    ("amomin.h", "Zabha", 0x8000102F, 0xF800707F),
    ("amomax.h", "Zabha", 0xA000102F, 0xF800707F),
    ("amominu.h", "Zabha", 0xC000102F, 0xF800707F),
    ("amomaxu.h", "Zabha", 0xE000102F, 0xF800707F),
    ("amocas.b", "Zabha+Zacas", 0x2800002F, 0xF800707F),
    ("amocas.h", "Zabha+Zacas", 0x2800102F, 0xF800707F),
    ("wrs.nto", "Zawrs", 0x00D00073, 0xFFFFFFFF),
    ("wrs.sto", "Zawrs", 0x01D00073, 0xFFFFFFFF),
)


@pytest.mark.parametrize(("name", "owners", "match", "mask"), ENCODINGS)
def test_match_and_mask(name: str, owners: str, match: int, mask: int) -> None:
    row = BY_NAME[name]
    assert (row.pattern.match, row.pattern.mask) == (match, mask)
    assert set(row.extensions) == set(owners.split("+"))


ZALASR = (
    ("lb", 0x3400002F), ("lh", 0x3400102F), ("lw", 0x3400202F), ("ld", 0x3400302F),
    ("sb", 0x3A00002F), ("sh", 0x3A00102F), ("sw", 0x3A00202F), ("sd", 0x3A00302F),
)  # fmt: skip
LOAD_MASK, STORE_MASK = 0xFDF0707F, 0xFA007FFF
AQ, RL = 1 << 26, 1 << 25


@pytest.mark.parametrize(("stem", "match"), ZALASR)
def test_zalasr_has_one_row_for_each_order(stem: str, match: int) -> None:
    mask, own, other = (LOAD_MASK, "aq", RL) if stem[0] == "l" else (STORE_MASK, "rl", AQ)
    one, both = BY_NAME[f"{stem}.{own}"].pattern, BY_NAME[f"{stem}.aqrl"].pattern
    assert (one.match, one.mask) == (match, mask | other)
    assert (both.match, both.mask) == (match | other, mask | other)
    assert f"{stem}.{'rl' if own == 'aq' else 'aq'}" not in BY_NAME


OPCODE = 0x2F
# funct5 values that Zaamo, Zabha, Zacas, Zalrsc and Zalasr use
AMO = {0b00001, 0b00000, 0b00100, 0b01100, 0b01000, 0b10000, 0b10100, 0b11000, 0b11100}
CAS, LR, SC, LOAD, STORE = 0b00101, 0b00010, 0b00011, 0b00110, 0b00111


def legal(funct5: int, order: int, rs2: int, funct3: int, rd: int) -> bool:
    """Whether a word of the AMO opcode is an instruction: the manual's tables, written a second time."""
    if funct5 in AMO:
        return funct3 <= 3
    if funct5 == CAS:
        return funct3 <= 3 or (funct3 == 4 and rs2 % 2 == 0 and rd % 2 == 0)
    if funct5 == LR:
        return funct3 in (2, 3) and rs2 == 0
    if funct5 == SC:
        return funct3 in (2, 3)
    if funct5 == LOAD:
        return funct3 <= 3 and rs2 == 0 and order >= 2
    if funct5 == STORE:
        return funct3 <= 3 and rd == 0 and order % 2 == 1
    return False


def test_every_word_of_the_amo_opcode() -> None:
    registers = (0, 1, 2, 31)
    for funct5, order, funct3, rs2, rd in product(range(32), range(4), range(8), registers, registers):
        word = funct5 << 27 | order << 25 | rs2 << 20 | 10 << 15 | funct3 << 12 | rd << 7 | OPCODE
        assert (ALL.decode(word) is not None) == legal(funct5, order, rs2, funct3, rd), f"{word:#010x}"


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("Zabha", "amocas.b a0, a1, (a2)"),
        ("Zacas", "amocas.b a0, a1, (a2)"),
        ("Zacas", "amocas.d a0, a1, (a2)"),
        ("Zacas", "amocas.q a0, a2, (a4)"),
        ("Zabha", "amoadd.h a0, a1, (a2)"),
        ("Zaamo", "amoadd.w a0, a1, (a2)"),
        ("Zalrsc", "lr.w.aqrl a0, (a2)"),
        ("Zalrsc", "sc.d a0, a1, (a2)"),
        ("Zalasr", "lw.aq a0, (a2)"),
        ("Zawrs", "wrs.sto"),
        ("Zmmul", "mulw a0, a1, a2"),
        ("M", "remuw a0, a1, a2"),
        ("Zca", "c.li a0, 1"),
    ],
)
def test_words_of_a_missing_extension_are_illegal(missing: str, text: str) -> None:
    word = encode(text)
    assert ALL.decode(word) is not None
    assert Decoder(EXTENSIONS - {missing}).decode(word) is None


def test_pause_is_a_fence_where_its_extension_is_missing() -> None:
    decoded = Decoder(frozenset({"I"})).decode(encode("pause"))
    assert decoded is not None
    assert decoded.row.name == "fence"
    assert (decoded.fields["pred"], decoded.fields["succ"]) == (1, 0)


def test_privileged_rows_are_always_there() -> None:
    decoder = Decoder(frozenset())
    assert decoder.decode(encode("mret")) is not None
    assert decoder.decode(encode("wfi")) is not None
    assert decoder.decode(encode("addi a0, a0, 1")) is None
