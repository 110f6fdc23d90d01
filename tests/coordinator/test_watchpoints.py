"""Watchpoints of a running VM: set before and between, on every hart, in every tier; hits stop who makes them."""

from __future__ import annotations

import pytest
from guests import EXIT, SPIN, eventually, image, machine

from bus.layout import PAGE_EXP, PageState
from coordinator.machine import MachineState
from coordinator.result import Ending
from hart.watch import Access, Hit, Watchpoint

EVERYWHERE = pytest.mark.parametrize(
    ("tier", "policy"), [(t, p) for t in ("interpreter", "auto", "t1", "t2") for p in ("serial", "inline")]
)
SOURCE = """
.option norvc
.globl _start
_start: la s1, cell
        slli t0, a0, 3
        add s1, s1, t0
        la s2, seen
loop:   ld t1, 0(s1)
        addi t1, t1, 1
        sd t1, 0(s1)
        ld t2, 0(s2)
        bnez s3, stop
        j loop
stop:   sd t1, 0(s2)
        mv a0, s4
""" + EXIT.replace(
    "stay: j stay", "stay: j stay\n.data\n.balign 64\ncell: .dword 0, 0\nseen: .dword 7\n.text"
)
R, W = Access.READ, Access.WRITE


@EVERYWHERE
def test_hits_of_running_harts(tier, policy):
    program = image(SOURCE)
    at = {name: symbol.address for name, symbol in program.symbols.items()}
    with machine(SOURCE, harts=2, tier=tier, policy=policy) as vm:
        vm.set_watchpoints([Watchpoint(at["seen"], 8, W)])
        vm.start()
        eventually(lambda: all(n > 1000 for n in vm.progress()))
        assert vm.hits() == ()
        vm.pause()
        vm.set_watchpoints([Watchpoint(at["cell"] + 12, 1, W), Watchpoint(at["seen"], 8, W)])
        vm.resume()
        counted = 0
        for turn in range(3):
            (hit,) = eventually(vm.hits)
            counted = hit.written if not turn else counted + 1
            assert hit == Hit(1, at["loop"] + 8, at["cell"] + 8, 8, W, 0, counted)
            assert vm.get_pc(1) == at["loop"] + 12
            assert vm.state is MachineState.RUNNING
            before = vm.progress()[0]
            eventually(lambda b=before: vm.progress()[0] > b)  # the other goes on
            if turn < 2:
                vm.resume()
        vm.pause()
        assert vm.hits() == (hit,)
        assert vm.step(1, 1) == 1
        assert vm.hits() == ()
        assert vm.step(1, 10) == 5, "the store is the fifth from there"
        assert vm.hits()[0].written == counted + 1
        vm.set_watchpoints([Watchpoint(at["seen"], 8, R)])
        vm.resume()
        eventually(lambda: len(vm.hits()) == 2)
        assert {(h.hart, h.pc, h.address, h.access, h.read) for h in vm.hits()} == {
            (hart, at["loop"] + 12, at["seen"], R, 7) for hart in range(2)
        }
        vm.pause()
        vm.set_watchpoints([Watchpoint(at["seen"], 1, W)])
        vm.set_x(0, 19, 1)
        vm.set_x(0, 20, 3)
        vm.resume()
        (hit,) = eventually(vm.hits)
        assert (hit.hart, hit.pc, hit.access) == (0, at["stop"], W)
        vm.resume()
        result = vm.wait(20)
        assert (result.ending, result.exit_code, result.hart) == (Ending.EXIT, 3, 0)


def test_the_environments_pages_stay_watched():
    with machine(SOURCE, harts=1, tier="interpreter") as vm:
        program = image(SOURCE)
        tohost = (program.symbols["tohost"].address - vm.spec.ram_base) >> PAGE_EXP
        watched = lambda: {i for i, b in enumerate(vm._segment.page_map) if b & PageState.WATCHED}  # noqa: E731
        assert watched() == {tohost}
        near = Watchpoint(program.symbols["tohost"].address + 8, 1)
        for points in ([near], [], [near, Watchpoint(vm.spec.ram_base, 4097)], [near], []):
            vm.set_watchpoints(points)
            assert watched() == {tohost, *((0, 1) if len(points) == 2 else ())}
        vm.set_watchpoints([Watchpoint(vm.spec.ram_base, 1 << 16)])
        vm.load(program)
        assert watched() == {*range(16), tohost}
        vm.start()
        vm.pause()
        vm.set_watchpoints([])
        assert watched() == {tohost}


def test_what_cannot_be_watched_is_named():
    with machine(SPIN, harts=1, tier="interpreter") as vm:
        end = vm.spec.ram_base + vm.spec.ram_bytes
        with pytest.raises(ValueError, match=f"2 bytes at {end - 1:#x} do not lie in RAM"):
            vm.set_watchpoints([Watchpoint(end - 1, 2)])
        with pytest.raises(ValueError, match="17 watchpoints; a VM has at most 16"):
            vm.set_watchpoints([Watchpoint(end - 1, 1)] * 17)
        vm.start()
        with pytest.raises(ValueError, match="is running; to watch memory it must be paused"):
            vm.set_watchpoints([])
