"""Many harts on few processors: contended loops come to their end, whichever way they wait, and lose no count."""

from __future__ import annotations

import pytest

from bus.layout import PAGE_EXP, Header, PageState
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from tests.coordinator import guests

HARTS = 16
FRAME = """
# a0 = hart. All wait for all; then each adds 1 to `counter` so many times.
.globl _start
_start: la   s0, word
        la   s1, counter
        la   s2, nodes
        slli t0, a0, 6
        add  s2, s2, t0
        li   s5, 1
        la   t0, arrived
        amoadd.d.aqrl zero, s5, (t0)
1:      ld   t1, (t0)
        bltu t1, a1, 1b
        fence r, rw
        li   a2, {rounds}
again:
{work}
        addi a2, a2, -1
        bnez a2, again
2:      wfi
        j    2b
.data
.balign 4096
word: .dword 0
.balign 64
counter: .dword 0
.balign 4096
arrived: .dword 0
.balign 4096
nodes: .zero 4096
"""
COUNT = """
        ld   t0, (s1)
        addi t0, t0, 1
        sd   t0, (s1)
"""
LRSC = """
1:      lr.d t0, (s1)
        addi t0, t0, 1
        sc.d t1, t0, (s1)
        bnez t1, 1b
"""
UNFUSED = """
1:      lr.d t0, (s1)
        ld   t2, (s0)
        addi t0, t0, 1
        sc.d t1, t0, (s1)
        bnez t1, 1b
"""
TTAS = f"""
1:      pause
2:      ld   t0, (s0)
        bnez t0, 1b
        amoswap.d.aq t0, s5, (s0)
        bnez t0, 2b
{COUNT}
        amoswap.d.rl zero, zero, (s0)
"""
MCS = f"""
        sd   zero, (s2)         # node: next, then whether it waits
        sd   s5, 8(s2)
        amoswap.d.aqrl t0, s2, (s0)
        beqz t0, 3f
        fence rw, w
        sd   s2, (t0)
2:      ld   t1, 8(s2)
        bnez t1, 2b
        fence r, rw
3:{COUNT}
        ld   t0, (s2)
        bnez t0, 5f
        mv   t1, s2
        amocas.d.aqrl t1, zero, (s0)
        beq  t1, s2, 6f
4:      ld   t0, (s2)
        beqz t0, 4b
5:      fence rw, w
        sd   zero, 8(t0)
6:
"""
# A lock whose waiters wait on their reservation.
WRS = f"""
1:      lr.d.aq t0, (s0)
        bnez t0, 2f
        sc.d t1, s5, (s0)
        bnez t1, 1b
        j    3f
2:      wrs.nto
        j    1b
3:{COUNT}
        fence rw, w
        sd   zero, (s0)
"""


@pytest.mark.parametrize(
    ("work", "rounds"),
    [(LRSC, 20_000), (UNFUSED, 5_000), (TTAS, 5_000), (MCS, 200), (WRS, 200)],
    ids=["lrsc", "unfused", "ttas", "mcs", "wrs"],
)
def test_all_harts_finish(work, rounds):
    source = FRAME.replace("{work}", work).replace("{rounds}", str(rounds))
    result, values = guests.run(source, harts=HARTS, policy="inline", timeout_s=60)
    assert result.ending is Ending.PARKED, result.detail
    assert values["counter"] == HARTS * rounds


# Hart 1 waits for what never comes; hart 0 sleeps.
IN_VAIN = """
.globl _start
_start: la   s0, flag
        beqz a0, 2f
1:      ld   t0, (s0)
        beqz t0, 1b
2:      wfi
        j    2b
.data
.balign 4096
flag: .dword 0
"""


def test_a_page_is_tracked_for_a_waiting_hart_and_given_back_from_time_to_time():
    image = guests.image(IN_VAIN)
    vm = VirtualMachine(VmSpec(name="t", harts=2, policy="inline"))
    try:
        vm.load(image)
        vm.start()
        segment = vm._segment
        page = image.symbols["flag"].address - segment.memory.base >> PAGE_EXP
        assert guests.eventually(lambda: segment.page_map[page] == PageState.TRACKED, 60)
        # Tracked, given back, tracked again, and so on: each time all harts pass a safepoint.
        assert guests.eventually(lambda: segment.header[Header.QUIESCE_EPOCH] >= 4, 60)
    finally:
        vm.destroy()
