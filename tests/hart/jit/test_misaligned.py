"""Misaligned plain accesses in native code: the same as interpreted, wherever they lie."""

from __future__ import annotations

import random

import pytest

from bus.layout import PAGE, PageState
from bus.lowering import TSO_HOST
from hart.isa.extensions import effective, implemented
from tests.hart.jit.native_code import EVERY, native, run_to, running, state

RAM = 0x8000_0000
RAM_BYTES = 1 << 16
TIER = pytest.mark.parametrize("tiers", EVERY.values(), ids=EVERY)

# s0 holds the address; a group of loads, a group with stores, single accesses of each size.
ACCESSES = """
    .option norvc
start:
    ld a0, 0(s0)
    lw a1, 1(s0)
    lhu a2, 3(s0)
    sd a1, 8(s0)
    sw a0, 3(s0)
    sh a2, 13(s0)
    add s1, s1, a0
    xor s1, s1, a2
    ld a3, 5(s0)
    add s1, s1, a3
    addi a5, s0, 2
    sw s1, 0(a5)
    addi a6, s0, 7
    lwu a7, 0(a6)
    add s1, s1, a7
    j start
"""


def _at(machine, address: int) -> None:
    machine.hart.x[8] = address


@TIER
@pytest.mark.parametrize("policy", ["serial", "inline"])
def test_misaligned_accesses_do_as_when_interpreted(tiers, policy):
    choose = random.Random(5)
    options = {"ram_bytes": RAM_BYTES, "policy_name": policy}
    with running(ACCESSES, (), **options) as expected, running(ACCESSES, tiers, **options) as machine:
        steps = 0
        for turn in range(60):
            for m in (expected, machine):
                if turn == 40:
                    m.segment.page_map[5] |= PageState.WATCHED
            page = choose.choice((4, 5, 6)) * PAGE
            address = RAM + page + choose.choice((choose.randrange(PAGE), PAGE - choose.randrange(16)))
            for m in (expected, machine):
                _at(m, address)
            steps += 160
            run_to(expected, steps)
            run_to(machine, steps)
            assert state(machine) == state(expected)
            everything = expected.segment.memory.read(RAM, RAM_BYTES)
            assert machine.segment.memory.read(RAM, RAM_BYTES) == everything
        if TSO_HOST:
            assert native(machine) > steps / 2


@TIER
def test_they_trap_where_the_extension_is_missing(tiers):
    extensions = effective(implemented() - {"Zicclsm"})
    source = f"la t0, handler\ncsrw mtvec, t0\nli s0, {RAM + 0x4001}\n" + (
        "again: addi s1, s1, 1\nlw a0, 0(s0)\nj again\nhandler: csrr a1, mepc\naddi a1, a1, 4\ncsrw mepc, a1\nmret"
    )
    source = ".option norvc\n" + source
    with running(source, tiers, extensions=extensions) as machine:
        run_to(machine, 700)
        assert machine.hart.traps > 50
