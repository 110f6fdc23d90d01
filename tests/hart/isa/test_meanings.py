"""What the rows do, on a machine that is a dictionary of registers and a log."""

from __future__ import annotations

from typing import Any

import pytest
from samples import decode

from bus.access import AmoOp, Order
from hart.isa.csrs import NUMBERS
from hart.isa.integers import IntegerArithmetic

MINUS_1 = (1 << 64) - 1
MIN_32 = 0xFFFF_FFFF_8000_0000
"""-2**31."""
MIN_16 = 0xFFFF_FFFF_FFFF_8000
A0, A1, A2 = 10, 11, 12


class Bench(IntegerArithmetic):
    """Registers, one memory value that every access finds, and the accesses made, in order."""

    def __init__(self, registers: dict[int, int], found: int = 0) -> None:
        self.x = dict.fromkeys(range(32), 0) | registers
        self.found = found
        self.log: list[tuple[Any, ...]] = []
        self.csr = 0

    def get(self, register: int) -> int:
        return self.x[register]

    def set(self, register: int, value: int) -> None:
        assert 0 <= value < 1 << 64
        if register:
            self.x[register] = value

    def next_pc(self) -> int:
        return 0x1004

    def pc(self) -> int:
        return 0x1000

    def jump_to(self, target: int) -> None:
        self.log.append(("jump_to", target))

    def branch(self, condition: int, offset: int) -> None:
        self.log.append(("branch", condition, offset))

    def load(self, address: int, size: int, order: Order = Order.NONE) -> int:
        self.log.append(("load", address, size, order))
        return self.found

    def store(self, address: int, size: int, value: int, order: Order = Order.NONE) -> None:
        self.log.append(("store", address, size, value, order))

    def load_reserved(self, address: int, size: int, order: Order) -> int:
        self.log.append(("lr", address, size, order))
        return self.found

    def store_conditional(self, address: int, size: int, value: int, order: Order) -> int:
        self.log.append(("sc", address, size, value, order))
        return self.found

    def amo(self, op: AmoOp, address: int, size: int, operand: int, order: Order) -> int:
        self.log.append(("amo", op, address, size, operand, order))
        return self.found

    def compare_and_swap(self, address: int, size: int, expected: int, desired: int, order: Order) -> int:
        self.log.append(("cas", address, size, expected, desired, order))
        return self.found

    def compare_and_swap_pair(
        self, address: int, expected: tuple[int, int], desired: tuple[int, int], order: Order
    ) -> tuple[int, int]:
        self.log.append(("cas", address, 16, expected, desired, order))
        return 0x1111, 0x2222

    def csr_read(self, number: int) -> int:
        self.log.append(("read", number))
        return self.csr

    def csr_write(self, number: int, value: int) -> None:
        self.log.append(("write", number))
        self.csr = value


def run(text: str, registers: dict[int, int] | None = None, found: int = 0, csr: int = 0) -> Bench:
    bench = Bench(registers or {}, found)
    bench.csr = csr
    decoded = decode(text)
    decoded.row.meaning(bench, *decoded.arguments)
    return bench


@pytest.mark.parametrize(
    ("mnemonic", "a", "b", "result"),
    [
        ("addw", 0x7FFF_FFFF, 1, MIN_32),
        ("subw", 0, 1, MINUS_1),
        ("sllw", 1, 63, MIN_32),
        ("srlw", MIN_32, 32, MIN_32),
        ("sraw", 0x8000_0000, 31, MINUS_1),
        ("slt", MINUS_1, 0, 1),
        ("sltu", MINUS_1, 0, 0),
        ("mulw", 0x1_0000_0003, 0x4000_0000, 0xFFFF_FFFF_C000_0000),
        ("divw", 0x8000_0000, 0xFFFF_FFFF, MIN_32),
        ("divw", 5, 1 << 32, MINUS_1),
        ("divuw", 0xFFFF_FFFF_FFFF_FFFF, 1, MINUS_1),
        ("divuw", 5, 1 << 32, MINUS_1),
        ("remw", 0x8000_0000, 0xFFFF_FFFF, 0),
        ("remw", 0xFFFF_FFFF_FFFF_FFF9, 2, MINUS_1),
        ("remuw", 0x8000_0000, 0, MIN_32),
        ("czero.eqz", 7, 0, 0),
        ("czero.eqz", 7, 1 << 63, 7),
        ("czero.nez", 7, 0, 7),
        ("czero.nez", 7, 1 << 63, 0),
        ("sh1add", 1 << 63, 5, 5),
        ("sh3add", 2, 5, 21),
        ("sh2add.uw", 0xFFFF_FFFF_0000_0003, 5, 17),
        ("add.uw", MINUS_1, 1, 1 << 32),
        ("andn", 0b1100, 0b1010, 0b0100),
        ("orn", 0, MINUS_1 - 1, 1),
        ("xnor", 5, 5, MINUS_1),
        ("min", MINUS_1, 1, MINUS_1),
        ("minu", MINUS_1, 1, 1),
        ("max", MINUS_1, 1, 1),
        ("maxu", MINUS_1, 1, MINUS_1),
        ("rol", 0x8000_0000_0000_0001, 1, 3),
        ("rol", 5, 64, 5),
        ("ror", 3, 1, 0x8000_0000_0000_0001),
        ("rolw", 0x4000_0000, 1, MIN_32),
        ("rolw", 0xFFFF_FFFF_0000_0001, 32, 1),
        ("rorw", 1, 1, MIN_32),
        ("bclr", MINUS_1, 64, MINUS_1 - 1),
        ("bext", 1 << 63, 63, 1),
        ("binv", 0, 63, 1 << 63),
        ("bset", 0, 65, 2),
    ],
)
def test_register_operations(mnemonic: str, a: int, b: int, result: int) -> None:
    assert run(f"{mnemonic} a0, a1, a2", {A1: a, A2: b}).x[A0] == result


@pytest.mark.parametrize(
    ("text", "a", "result"),
    [
        ("addiw a0, a1, -1", 0x8000_0000, 0x7FFF_FFFF),
        ("slli.uw a0, a1, 32", MINUS_1, 0xFFFF_FFFF_0000_0000),
        ("slliw a0, a1, 31", 1, MIN_32),
        ("roriw a0, a1, 4", 0x18, 0xFFFF_FFFF_8000_0001),
        ("rori a0, a1, 0", 0x18, 0x18),
        ("sltiu a0, a1, -1", MINUS_1 - 1, 1),
        ("lui a0, 0x80000", 0, MIN_32),
        ("auipc a0, 0xfffff", 0, 0),
        ("clzw a0, a1", 0xFFFF_FFFF_0000_0001, 31),
        ("ctzw a0, a1", 1 << 32, 32),
        ("cpopw a0, a1", MINUS_1, 32),
        ("clz a0, a1", 0, 64),
        ("sext.b a0, a1", 0x180, MINUS_1 - 0x7F),
        ("sext.h a0, a1", 0x18000, MINUS_1 - 0x7FFF),
        ("zext.h a0, a1", MINUS_1, 0xFFFF),
        ("rev8 a0, a1", 0x01, 0x0100_0000_0000_0000),
        ("orc.b a0, a1", 0x0100_8000_0000_0002, 0xFF00_FF00_0000_00FF),
    ],
)
def test_one_register(text: str, a: int, result: int) -> None:
    assert run(text, {A1: a}).x[A0] == result


@pytest.mark.parametrize(
    ("text", "found", "access", "result"),
    [
        ("lb a0, -1(a1)", 0x80, ("load", 0xFFF, 1, Order.NONE), MINUS_1 - 0x7F),
        ("lbu a0, -1(a1)", 0x80, ("load", 0xFFF, 1, Order.NONE), 0x80),
        ("lw a0, 4(a1)", 1 << 31, ("load", 0x1004, 4, Order.NONE), MIN_32),
        ("lwu a0, 4(a1)", 1 << 31, ("load", 0x1004, 4, Order.NONE), 1 << 31),
        ("ld a0, 0(a1)", 1 << 63, ("load", 0x1000, 8, Order.NONE), 1 << 63),
        ("lr.w.rl a0, (a1)", 1 << 31, ("lr", 0x1000, 4, Order.RL), MIN_32),
        ("lr.d.aq a0, (a1)", 1 << 63, ("lr", 0x1000, 8, Order.AQ), 1 << 63),
        ("sc.w.aq a0, a2, (a1)", 1, ("sc", 0x1000, 4, 5, Order.AQ), 1),
        ("amominu.w a0, a2, (a1)", 1 << 31, ("amo", AmoOp.MINU, 0x1000, 4, 5, Order.NONE), MIN_32),
        ("amoand.h.aqrl a0, a2, (a1)", 0x8000, ("amo", AmoOp.AND, 0x1000, 2, 5, Order.AQRL), MIN_16),
        ("amoswap.b a0, a2, (a1)", 0xFF, ("amo", AmoOp.SWAP, 0x1000, 1, 5, Order.NONE), MINUS_1),
        ("amoxor.d.rl a0, a2, (a1)", 1 << 63, ("amo", AmoOp.XOR, 0x1000, 8, 5, Order.RL), 1 << 63),
        ("amocas.w.aq a0, a2, (a1)", 1 << 31, ("cas", 0x1000, 4, 9, 5, Order.AQ), MIN_32),
        ("amocas.b a0, a2, (a1)", 0x80, ("cas", 0x1000, 1, 9, 5, Order.NONE), MINUS_1 - 0x7F),
        ("lb.aq a0, (a1)", 0x80, ("load", 0x1000, 1, Order.AQ), MINUS_1 - 0x7F),
        ("ld.aqrl a0, (a1)", 7, ("load", 0x1000, 8, Order.AQRL), 7),
        ("sd.aqrl a2, (a1)", 0, ("store", 0x1000, 8, 5, Order.AQRL), 9),
        ("sh a2, 2(a1)", 0, ("store", 0x1002, 2, 5, Order.NONE), 9),
    ],
)  # fmt: skip
def test_memory(text: str, found: int, access: tuple[object, ...], result: int) -> None:
    bench = run(text, {A0: 9, A1: 0x1000, A2: 5}, found)
    assert bench.log == [access]
    assert bench.x[A0] == result


def test_amocas_q_and_register_pairs() -> None:
    registers = {1: 77, A0: 1, A1: 2, A2: 3, 13: 4, 14: 0x1000}
    bench = run("amocas.q.aqrl a0, a2, (a4)", registers)
    assert bench.log == [("cas", 0x1000, 16, (1, 2), (3, 4), Order.AQRL)]
    assert (bench.x[A0], bench.x[A1]) == (0x1111, 0x2222)
    bench = run("amocas.q zero, zero, (a4)", registers)
    assert bench.log == [("cas", 0x1000, 16, (0, 0), (0, 0), Order.NONE)]
    assert bench.x[1] == 77


MSCRATCH = NUMBERS["mscratch"]
READ, WRITE = ("read", MSCRATCH), ("write", MSCRATCH)


@pytest.mark.parametrize(
    ("text", "log", "rd", "csr"),
    [
        ("csrrw a0, mscratch, a1", [READ, WRITE], 0b1100, 0b1010),
        ("csrrw zero, mscratch, a1", [WRITE], 9, 0b1010),
        ("csrrs a0, mscratch, a1", [READ, WRITE], 0b1100, 0b1110),
        ("csrrs a0, mscratch, zero", [READ], 0b1100, 0b1100),
        ("csrrs zero, mscratch, a1", [READ, WRITE], 9, 0b1110),
        ("csrrc a0, mscratch, a1", [READ, WRITE], 0b1100, 0b0100),
        ("csrrc a0, mscratch, zero", [READ], 0b1100, 0b1100),
        ("csrrwi a0, mscratch, 0", [READ, WRITE], 0b1100, 0),
        ("csrrwi zero, mscratch, 31", [WRITE], 9, 31),
        ("csrrsi a0, mscratch, 3", [READ, WRITE], 0b1100, 0b1111),
        ("csrrsi a0, mscratch, 0", [READ], 0b1100, 0b1100),
        ("csrrci a0, mscratch, 4", [READ, WRITE], 0b1100, 0b1000),
        ("csrrci a0, mscratch, 0", [READ], 0b1100, 0b1100),
    ],
)
def test_csr_side_effects(text: str, log: list[tuple[str, int]], rd: int, csr: int) -> None:
    bench = run(text, {A0: 9, A1: 0b1010}, csr=0b1100)
    assert (bench.log, bench.x[A0], bench.csr) == (log, rd, csr)


def test_csrrw_with_one_register_for_both() -> None:
    bench = run("csrrw a0, mscratch, a0", {A0: 5}, csr=6)
    assert (bench.x[A0], bench.csr) == (6, 5)


def test_jalr_reads_its_base_before_it_links() -> None:
    bench = run("jalr a0, 4(a0)", {A0: 0x2000})
    assert bench.log == [("jump_to", 0x2004)]
    assert bench.x[A0] == 0x1004


@pytest.mark.parametrize(
    ("mnemonic", "taken"),
    [
        ("beq", (0, 1, 0)),
        ("bne", (1, 0, 1)),
        ("blt", (1, 0, 0)),
        ("bge", (0, 1, 1)),
        ("bltu", (0, 0, 1)),
        ("bgeu", (1, 1, 0)),
    ],
)
def test_branches(mnemonic: str, taken: tuple[int, int, int]) -> None:
    pairs = ((MINUS_1, 0), (5, 5), (0, MINUS_1))
    found = tuple(run(f"{mnemonic} a0, a1, 8", {A0: a, A1: b}).log[0][1] for a, b in pairs)
    assert found == taken
