"""Stepping: a paused hart executes exactly as many instructions as asked, in every tier, and stands again."""

from __future__ import annotations

import random

import pytest
from guests import EXIT, PARK, SPIN, eventually, image, machine

from bus.layout import Hart
from coordinator.machine import MachineState
from coordinator.result import Ending
from coordinator.spec import WatchSettings

TIER = pytest.mark.parametrize("tier", ["interpreter", "auto", "t1", "t2"])


@TIER
def test_a_step_is_exactly_n_instructions(tier):
    """SPIN has two instructions, the first of which counts: pc and s1 tell how many were executed."""
    choose = random.Random(tier)
    with machine(SPIN, harts=2, tier=tier) as vm:
        vm.start()
        eventually(lambda: all(vm.progress()))
        vm.pause()
        start, other = vm._image.entry, vm.get_x(1, 9)
        for _ in range(60):
            n = choose.choice((1, 1, 2, choose.randrange(3, 100), choose.randrange(100, 100_000)))
            place = 2 * vm.get_x(0, 9) - (vm.get_pc(0) == start + 4)
            assert vm.step(0, n) == n
            assert 2 * vm.get_x(0, 9) - (vm.get_pc(0) == start + 4) == place + n
            assert vm.state is MachineState.PAUSED
        assert vm.get_x(1, 9) == other, "another hart moved"
        vm.set_x(0, 9, 100)
        assert vm.step(0, 2) == 2
        assert vm.get_x(0, 9) == 101
        assert vm.step(0, 0) == 0
        before = vm.progress()
        vm.resume()
        assert vm.state is MachineState.RUNNING
        eventually(lambda: all(now > then for now, then in zip(vm.progress(), before, strict=True)))


TRAPPING = (
    """
.option norvc
.globl _start
_start: la t0, handler
        csrw mtvec, t0
wait:   beqz s1, wait
        ecall
        addi s2, s2, 1
        wfi
        j after
handler:
        csrr t1, mepc
        addi t1, t1, 4
        csrw mepc, t1
        mret
after:  li a0, 5
"""
    + EXIT
)


@TIER
def test_traps_count_as_one_wfi_does_not_stall_and_an_exit_ends_it(tier):
    program = image(TRAPPING)
    at = lambda: program.symbolize(vm.get_pc(0))  # noqa: E731
    with machine(TRAPPING, harts=1, tier=tier) as vm:
        vm.start()
        eventually(lambda: vm.progress()[0])
        vm.pause()
        vm.set_x(0, 9, 1)
        while at() != "wait":
            vm.step(0, 1)
        assert (vm.step(0, 1), at()) == (1, "wait+0x4")
        assert (vm.step(0, 1), at()) == (0, "handler")
        assert (vm.step(0, 4), at()) == (4, "wait+0x8")
        assert (vm.step(0, 2), at()) == (2, "wait+0x10")  # over WFI
        vm.set_pc(0, program.symbols["wait"].address)
        assert (vm.step(0, 2), at()) == (1, "handler")
        vm.step(0, 100)
        assert vm.wait(20).ending is Ending.EXIT
        assert vm.wait(0).exit_code == 5
        with pytest.raises(ValueError, match="is ended"):
            vm.step(0, 1)


def test_a_waiting_hart_steps_on_behind_its_wfi():
    with machine(PARK.replace("wfi", "csrwi mie, 8\n1: wfi"), harts=1) as vm:
        vm.start()
        eventually(lambda: vm._segment.harts[0][Hart.STATUS] == 2)
        vm.pause()
        assert vm.step(0, 3) == 3
        vm.resume()
        eventually(lambda: vm._segment.harts[0][Hart.STATUS] == 2)


def test_the_limit_ends_a_hart_that_steps():
    with machine(SPIN, harts=2, tier="interpreter", max_instructions=100_000) as vm:
        vm.start()
        eventually(lambda: vm.progress()[0])
        vm.pause()
        left = 100_000 - vm._segment.harts[0][Hart.INSTRET]
        assert vm.step(0, left + 10) == left
        assert vm.step(0, 1) == 0
        vm.resume()
        assert [h.instret for h in vm.wait(20).harts] == [100_000] * 2


def test_what_cannot_be_stepped_is_named():
    with machine(SPIN, harts=2, tier="interpreter", watch=WatchSettings(silence_s=0.2)) as vm:
        with pytest.raises(ValueError, match="is created; to step a hart it must be paused"):
            vm.step(0, 1)
        vm.start()
        eventually(lambda: all(vm.progress()))
        vm.pause()
        with pytest.raises(ValueError, match="harts are 0 to 1"):
            vm.step(2, 1)
        with pytest.raises(
            TimeoutError, match=r"hart 1 executed \d+ of 1000000000 instructions within 0.2 s"
        ):
            vm.step(1, 10**9)
        assert vm.step(1, 3) == 3, "it stands again"
