"""Effects against the register listings of the manual's chapter "RVWMO"."""

from __future__ import annotations

import random

import pytest
from samples import ALL, decode, random_values

from bus.access import AmoOp, Order
from hart.isa import ROWS
from hart.isa.csrs import NUMBERS
from hart.isa.effects import Effects, MemoryEffect, Transfer, Wait, effects
from hart.isa.row import Row

NONE: frozenset[int] = frozenset()
A0, A1, A2, A3, A4, A5 = range(10, 16)


def of(text: str) -> Effects:
    return effects(decode(text))


@pytest.mark.parametrize(
    ("text", "reads", "writes", "carried"),
    [
        ("add a0, a1, a2", {A1, A2}, {A0}, {A1, A2}),
        ("xor a0, a1, a1", {A1}, {A0}, {A1}),  # syntactic: the value does not matter
        ("addi zero, a1, 1", {A1}, NONE, NONE),
        ("add a0, zero, a1", {A1}, {A0}, {A1}),
        ("lui a0, 5", NONE, {A0}, NONE),
        ("auipc a0, 5", NONE, {A0}, NONE),
        ("czero.eqz a0, a1, a2", {A1, A2}, {A0}, {A1, A2}),
        ("max a0, a1, a2", {A1, A2}, {A0}, {A1, A2}),
        ("mulhsu a0, a1, a2", {A1, A2}, {A0}, {A1, A2}),
        ("rev8 a0, a1", {A1}, {A0}, {A1}),
        ("clzw a0, a1", {A1}, {A0}, {A1}),
        ("jal ra, 16", NONE, {1}, NONE),
        ("jalr ra, 0(a0)", {A0}, {1}, NONE),
        ("c.addi a0, 1", {A0}, {A0}, {A0}),
        ("c.mv a0, a1", {A1}, {A0}, {A1}),
    ],
)
def test_registers(text: str, reads: set[int], writes: set[int], carried: set[int]) -> None:
    found = of(text)
    assert (found.reads, found.writes, found.carried) == (reads, writes, carried)
    assert found.memory is MemoryEffect.NONE


CAS, PAIR = MemoryEffect.COMPARE_AND_SWAP, {A0, A1}

# Text; kind and size; registers that feed address and data; registers read and written
ACCESSES = (
    ("ld a0, 8(a1)", (MemoryEffect.LOAD, 8), ({A1}, NONE), ({A1}, {A0})),
    ("lbu a0, 8(a1)", (MemoryEffect.LOAD, 1), ({A1}, NONE), ({A1}, {A0})),
    ("sh a0, 8(a1)", (MemoryEffect.STORE, 2), ({A1}, {A0}), ({A0, A1}, NONE)),
    ("c.ldsp a0, 8(sp)", (MemoryEffect.LOAD, 8), ({2}, NONE), ({2}, {A0})),
    ("lr.w a0, (a1)", (MemoryEffect.LOAD_RESERVED, 4), ({A1}, NONE), ({A1}, {A0})),
    ("sc.d a0, a2, (a1)", (MemoryEffect.STORE_CONDITIONAL, 8), ({A1}, {A2}), ({A1, A2}, {A0})),
    ("amoadd.b a0, a2, (a1)", (MemoryEffect.AMO, 1), ({A1}, {A2}), ({A1, A2}, {A0})),
    ("amoswap.d zero, a2, (a1)", (MemoryEffect.AMO, 8), ({A1}, {A2}), ({A1, A2}, NONE)),
    ("amocas.w a0, a2, (a1)", (CAS, 4), ({A1}, {A0, A2}), ({A0, A1, A2}, {A0})),
    ("amocas.q a0, a2, (a4)", (CAS, 16), ({A4}, {A0, A1, A2, A3}), ({A0, A1, A2, A3, A4}, PAIR)),
    ("amocas.q zero, a2, (a4)", (CAS, 16), ({A4}, {A2, A3}), ({A2, A3, A4}, NONE)),
    ("amocas.q a0, zero, (a4)", (CAS, 16), ({A4}, PAIR), ({A0, A1, A4}, PAIR)),
    ("lw.aq a0, (a1)", (MemoryEffect.LOAD, 4), ({A1}, NONE), ({A1}, {A0})),
    ("sb.rl a0, (a1)", (MemoryEffect.STORE, 1), ({A1}, {A0}), ({A0, A1}, NONE)),
)


@pytest.mark.parametrize(("text", "access", "feeding", "registers"), ACCESSES)
def test_accesses(
    text: str,
    access: tuple[MemoryEffect, int],
    feeding: tuple[set[int], set[int]],
    registers: tuple[set[int], set[int]],
) -> None:
    found = of(text)
    assert (found.memory, found.size) == access
    assert (found.address, found.data) == feeding
    assert (found.reads, found.writes) == registers
    assert found.carried == NONE  # no memory instruction carries from its sources to rd
    assert found.reads_memory == text.startswith(("l", "c.l", "amo"))
    assert found.writes_memory == text.startswith(("s", "amo"))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("lw a0, 0(a1)", Order.NONE),
        ("lr.w.aq a0, (a1)", Order.AQ),
        ("sc.w.rl a0, a2, (a1)", Order.RL),
        ("amoadd.d.aqrl a0, a2, (a1)", Order.AQRL),
        ("amocas.b.rl a0, a2, (a1)", Order.RL),
        ("lh.aqrl a0, (a1)", Order.AQRL),
        ("sd.rl a0, (a1)", Order.RL),
    ],
)
def test_order(text: str, order: Order) -> None:
    assert of(text).order is order


def test_amo_operations() -> None:
    assert of("amomaxu.h a0, a2, (a1)").amo is AmoOp.MAXU
    assert of("amocas.w a0, a2, (a1)").amo is None


def test_fences() -> None:
    fence = of("fence rw, w")
    assert (fence.memory, fence.predecessor, fence.successor) == (MemoryEffect.FENCE, 3, 1)
    assert of("fence.tso").memory is MemoryEffect.FENCE_TSO
    assert of("fence.i").memory is MemoryEffect.FENCE_I


@pytest.mark.parametrize(
    ("text", "transfer", "offset", "condition"),
    [
        ("bltu a0, a1, -16", Transfer.BRANCH, -16, {A0, A1}),
        ("bge a0, zero, 16", Transfer.BRANCH, 16, {A0}),
        ("c.beqz a0, 16", Transfer.BRANCH, 16, {A0}),
        ("jal zero, 32", Transfer.JUMP, 32, NONE),
        ("c.j -32", Transfer.JUMP, -32, NONE),
        ("jalr zero, 4(a0)", Transfer.INDIRECT, None, {A0}),
        ("c.jalr a0", Transfer.INDIRECT, None, {A0}),
        ("ecall", Transfer.TRAP, None, NONE),
        ("c.ebreak", Transfer.TRAP, None, NONE),
        ("mret", Transfer.RETURN, None, NONE),
        ("add a0, a0, a0", Transfer.NONE, None, NONE),
    ],
)
def test_control(text: str, transfer: Transfer, offset: int | None, condition: set[int]) -> None:
    found = of(text)
    assert (found.transfer, found.offset, found.condition) == (transfer, offset, condition)


def test_waits() -> None:
    texts = ("wfi", "wrs.nto", "wrs.sto", "pause", "add a0, a0, a0")
    expected = [Wait.INTERRUPT, Wait.RESERVATION, Wait.RESERVATION, Wait.PAUSE, Wait.NONE]
    assert [of(t).wait for t in texts] == expected


@pytest.mark.parametrize(
    ("text", "reads", "writes", "carried"),
    [
        ("csrrw a0, mscratch, a1", True, True, {A1}),
        ("csrrw zero, mscratch, a1", False, True, {A1}),
        ("csrrwi zero, mscratch, 0", False, True, NONE),
        ("csrrs a0, mscratch, zero", True, False, NONE),
        ("csrrs zero, mscratch, a1", True, True, {A1}),
        ("csrrc a0, mscratch, a1", True, True, {A1}),
        ("csrrsi a0, mscratch, 0", True, False, NONE),
        ("csrrci a0, mscratch, 1", True, True, NONE),
    ],
)
def test_csrs(text: str, reads: bool, writes: bool, carried: set[int]) -> None:
    found = of(text)
    number = {NUMBERS["mscratch"]}
    assert (found.csr_reads, found.csr_writes) == (number if reads else NONE, number if writes else NONE)
    assert found.csr_carried == carried
    assert found.carried == NONE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_has_effects_that_its_operands_explain(row: Row) -> None:
    rng = random.Random(row.name)
    for _ in range(10):
        decoded = ALL.decode(row.pattern.encode(random_values(row, rng)))
        assert decoded is not None
        found = effects(decoded)
        assert 0 not in found.reads | found.writes
        named = set(decoded.arguments) | {r + 1 for r in decoded.arguments}
        assert found.reads | found.writes <= named
        assert found.address | found.data | found.condition | found.carried | found.csr_carried <= found.reads
