"""Native code stops after exactly as many instructions as it was given, and soon when it shall stop."""

from __future__ import annotations

import random

import pytest

from bus.layout import Hart
from hart.interpreter import Interpreter
from hart.tiers import LOOKING_STRIDES, SETTLED_STRIDES, SHORTEST_STRIDE, STRIDE_NS
from tests.hart.jit.native_code import EVERY, native, run_to, running, state

TIER = pytest.mark.parametrize("tiers", EVERY.values(), ids=EVERY)

NESTED = """
    la sp, stack
    li s0, 1
again:
    mv a0, s0
    call work
    xor s1, s1, a0
    addi s0, s0, 1
    la t0, again2
    jr t0
again2:
    j again
work:
    addi sp, sp, -16
    sd ra, 8(sp)
    li a1, 7
1:  andi a2, a0, 1
    beqz a2, 2f
    slli a3, a0, 1
    add a0, a0, a3
    addi a0, a0, 1
    j 3f
2:  srli a0, a0, 1
3:  addi a1, a1, -1
    bnez a1, 1b
    call leaf
    ld ra, 8(sp)
    addi sp, sp, 16
    ret
leaf:
    addi s2, s2, 3
    ret
    .balign 16
    .zero 256
stack:
"""
TIGHT = "1: j 1b"

COMPUTED = """
    .option norvc
again:
    addi s0, s0, 1
    andi t1, s0, 1
    bnez t1, far
    auipc t0, 0
    addi t0, t0, 200
    jr -120(t0)  # to `far`, which region discovery does not see
    .rept 17
    nop
    .endr
far:
    .rept 20
    addi s1, s1, 1
    .endr
    j again
"""
COPYING = """
    la s0, from
again:
    addi s1, s1, 1
    andi a0, s1, 15
    addi a0, a0, 1
    mv a1, s0
1:  lbu a2, 0(a1)      # a loop of one block: 1 to 16 rounds
    sb a2, 16(a1)
    addi a1, a1, 1
    addi a0, a0, -1
    bnez a0, 1b
    j again
from:
    .zero 48
"""
COUNTING = "li a0, 1\n1: addi a0, a0, 1\n bnez a0, 1b"


@TIER
@pytest.mark.parametrize(
    "source",
    [NESTED, TIGHT, COUNTING, COMPUTED, COPYING],
    ids=["nested", "tight", "counting", "computed", "copying"],
)
def test_stops_after_exactly_n_instructions(source, tiers):
    """1,000 stops at random places (of five programs in three tiers), each where T0 stands after as many."""
    choose = random.Random(source)
    with running(source, ()) as expected, running(source, tiers, warm_after=3) as machine:
        assert type(expected.hart) is Interpreter
        at = 0
        for _ in range(84):
            at += choose.randrange(1, choose.choice((3, 60, 400)))
            run_to(expected, at)
            run_to(machine, at)
            assert state(machine) == state(expected)
        assert native(machine) > at / 4


@TIER
def test_a_run_never_executes_more_than_it_was_given(tiers):
    choose = random.Random(2)
    with running(NESTED, tiers, warm_after=2) as machine:
        hart = machine.hart
        for _ in range(300):
            count = choose.randrange(1, 500)
            before = hart.instret
            hart.run(count)
            assert before < hart.instret <= before + count


@pytest.mark.parametrize(
    ("ns_per_instruction", "stride"), [(0.1, 1_000_000), (1, 100_000), (100, SHORTEST_STRIDE)]
)
def test_strides_become_as_long_as_intended(monkeypatch, ns_per_instruction, stride):
    """The doorbell is looked at between strides: their length is what a stop request waits for."""
    with running(TIGHT, EVERY["t1"]) as machine:
        hart = machine.hart
        now = [0]

        def clock() -> int:
            # The second look of a run comes behind its native code.
            now[0] += int(hart.slice * ns_per_instruction)
            return now[0]

        monkeypatch.setattr("hart.tiers.time.monotonic_ns", clock)
        hart.run(1000)
        for _ in range(40):
            hart.run(hart.slice)
        assert hart.stride == pytest.approx(stride, rel=0.02)
        assert hart.slice == SETTLED_STRIDES * hart.stride
        hart.csrs.mie = 1 << 7  # the timer interrupt: time itself has to be looked at
        hart.run(hart.slice)
        assert hart.slice == LOOKING_STRIDES * hart.stride


def test_native_code_stops_when_the_bell_rings():
    """Within a stride, whatever it was given; and goes on where it was."""
    with running(TIGHT, EVERY["t1"]) as machine:
        hart, page = machine.hart, machine.segment.harts[0]
        hart.run(1000)
        page[Hart.DOORBELL] = 1
        before, stride = hart.instret, hart.stride  # which adapts itself to how long it takes
        hart.run(1 << 40)
        assert 0 < hart.instret - before <= stride
        page[Hart.DOORBELL] = 0
        before, stride = hart.instret, hart.stride
        hart.run(100 * stride + 7)
        assert hart.instret - before > 99 * stride


def test_a_run_that_is_slow_ends_early(monkeypatch):
    """A slice that was made for native code must not be interpreted to its end before the doorbell is seen."""
    with running("1: csrr a0, mscratch\n csrr a1, mscratch\n j 1b", EVERY["auto"]) as machine:
        hart = machine.hart
        now = [0]

        def clock() -> int:
            now[0] += STRIDE_NS * LOOKING_STRIDES // 4
            return now[0]

        monkeypatch.setattr("hart.tiers.time.monotonic_ns", clock)
        hart.run(1_000_000)
        assert 0 < hart.instret < 1000
