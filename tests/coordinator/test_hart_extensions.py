"""Harts of one VM with different extensions: each traps what it lacks, in every tier, and is described as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coordinator.control.client import ControlClient
from coordinator.hwprobe import WHICH_CPUS, Pair
from coordinator.local import local_coordinator
from coordinator.result import Ending
from coordinator.spec import TierName, VmSpec
from hart.asm import assemble
from hart.isa.extensions import REGISTRY

ROUNDS = 3000
HOT = f"""
    la t0, handler
    csrw mtvec, t0
    csrr s5, misa
    li s1, {ROUNDS}
    la s4, words
loop:
    sh1add s2, s1, s1           # Zba
    amoadd.d zero, s1, (s4)     # Zaamo
    xnor s3, s2, s1             # Zbb
    addi s1, s1, -1
    bnez s1, loop
    wfi
    .balign 4
handler:
    addi s6, s6, 1
    csrr t1, mtval
    xor s7, s7, t1
    csrr t1, mepc
    addi t1, t1, 4
    csrw mepc, t1
    mret
    .data
    .balign 64
words: .dword 0
"""
TOTAL = ROUNDS * (ROUNDS + 1) // 2


@pytest.fixture(scope="module")
def client() -> Iterator[ControlClient]:
    with local_coordinator() as made:
        yield made


@pytest.mark.parametrize(
    ("tier", "policy"), [("interpreter", "serial"), ("t1", "inline"), ("t2", "inline"), ("auto", "serial")]
)
def test_each_hart_traps_what_it_lacks(client: ControlClient, tier: TierName, policy: str):
    image = assemble(HOT).image
    vm = client.create_vm(VmSpec(name="mixed", harts=4, ram_bytes=1 << 16, tier=tier, policy=policy))
    try:
        everything = vm.get_extensions(0)
        without = [frozenset(), {"Zba"}, {"A", "Zaamo", "Zacas", "Zabha"}, {"Zba"}]
        for hart, lacking in enumerate(without):
            vm.set_extensions(hart, everything - lacking)
        vm.load_image(image)
        vm.run()
        result = vm.wait(60)
        assert result is not None
        assert result.ending is Ending.PARKED
        # The handler counted one trap a round where one instruction of the loop is missing.
        assert [h.x[22] for h in result.harts] == [0, ROUNDS, ROUNDS, ROUNDS]
        assert [h.traps_taken for h in result.harts] == [0, ROUNDS, ROUNDS, ROUNDS]
        assert [h.x[21] & 1 for h in result.harts] == [1, 1, 0, 1]  # misa.A
        words = int.from_bytes(vm.get_memory(image.symbols["words"].address, 8), "little")
        assert words == 3 * TOTAL
    finally:
        vm.destroy()


def test_each_hart_is_described_as_it_is(client: ControlClient):
    vm = client.create_vm(VmSpec(name="mixed", harts=3, ram_bytes=1 << 16))
    try:
        everything = vm.get_extensions(0)
        vm.set_extensions(1, everything - {"Zba"})
        assert [name in vm.get_extensions(hart) for hart in range(3) for name in ["Zba"]] == [
            True,
            False,
            True,
        ]
        cpus = vm.get_device_tree().source.split("cpu@")[1:]
        assert ['"zba"' in cpu for cpu in cpus] == [True, False, True]
        bit = 1 << (REGISTRY["Zba"].hwprobe or ("", 0))[1]
        together = vm.hwprobe([Pair(4, 0)])[0][0].value
        alone = [vm.hwprobe([Pair(4, 0)], frozenset({hart}))[0][0].value for hart in range(3)]
        assert together == alone[0] & alone[1] & alone[2]
        assert [bool(value & bit) for value in (together, *alone)] == [False, True, False, True]
        assert vm.hwprobe([Pair(4, bit)], frozenset(), WHICH_CPUS)[1] == {0, 2}
    finally:
        vm.destroy()
