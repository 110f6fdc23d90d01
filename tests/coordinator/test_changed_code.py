"""Code that another hart process changes: after FENCE.I a hart executes what was written, whatever it had compiled."""

from __future__ import annotations

import pytest
from guests import EXIT, machine

from bus import policies
from coordinator.result import Ending

ROUNDS = 40
CALLS = 2000
# Hart 1 waits until hart 0 has called `function` CALLS times in this round, gives it another immediate and says so.
# Hart 0 goes on calling until it hears of that; then it fetches afresh and must get the new result.
SOURCE = f"""
.option norvc
.globl _start
_start: la s0, shared
        li s1, 1                 # round, and what `function` is to return
        csrr t0, mhartid
        bnez t0, writer

caller: li s2, 0
1:      call function
        addi t0, s1, -1
        beq a0, t0, 2f           # before FENCE.I the old code is right,
        bne a0, s1, wrong        # and so is the new
2:      addi s2, s2, 1
        sd s2, 0(s0)
        ld t1, 8(s0)
        bne t1, s1, 1b
        fence r, rw
        fence.i
        call function
        bne a0, s1, wrong
        sd zero, 0(s0)
        fence w, w
        sd s1, 16(s0)
        addi s1, s1, 1
        li t0, {ROUNDS}
        ble s1, t0, caller
        li a0, 0
        j exit
wrong:  li a0, 3
        j exit

writer: li t2, {CALLS}
1:      ld t0, 0(s0)
        blt t0, t2, 1b
        lla t3, function
        slli t0, s1, 20
        li t1, 0x00000513        # addi a0, zero, 0
        or t0, t0, t1
        sw t0, (t3)
        fence w, w
        sd s1, 8(s0)
2:      ld t0, 16(s0)
        bne t0, s1, 2b
        addi s1, s1, 1
        j writer

        .balign 4096
function: addi a0, zero, 0
        ret
        .balign 4096
shared: .dword 0                 # calls in this round
        .dword 0                 # the round whose code is there
        .dword 0                 # the round that hart 0 is done with
{EXIT}
"""


@pytest.mark.parametrize("tier", ["interpreter", "t1", "t2", "auto"])
@pytest.mark.parametrize("policy", policies.NAMES)
def test_after_fence_i_the_new_code_runs(policy, tier):
    calls = 20 if tier == "interpreter" else CALLS
    with machine(
        SOURCE.replace(f"li t2, {CALLS}", f"li t2, {calls}"), harts=2, tier=tier, policy=policy
    ) as vm:
        vm.start()
        result = vm.wait(60)
    assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail
