"""ONE_REG on running and paused VMs: what is set, guests see; what guests do, GET shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coordinator.control.client import ControlClient, RefusedByServer, RemoteVm
from coordinator.host import HostModel
from coordinator.local import local_coordinator
from coordinator.result import Ending
from coordinator.spec import VmSpec
from hart.asm import assemble

NEVER = (1 << 64) - 1
INTERRUPT = 1 << 63


@pytest.fixture(scope="module")
def client() -> Iterator[ControlClient]:
    with local_coordinator() as made:
        yield made


@contextmanager
def loaded(client: ControlClient, text: str, harts: int = 1, **settings: object) -> Iterator[RemoteVm]:
    vm = client.create_vm(VmSpec(name="live", harts=harts, ram_bytes=1 << 16, **settings))
    try:
        vm.load_image(assemble(text).image)
        yield vm
    finally:
        vm.destroy()


def until(vm: RemoteVm, register: str, reached: int, hart: int = 0) -> int:
    """Pause, read, resume until the register has at least that value; the VM is paused in the end."""
    for _ in range(2000):
        vm.pause()
        value = vm.get_one_reg(hart, register)
        if value >= reached:
            return value
        vm.resume()
        time.sleep(0.005)
    raise AssertionError(f"{register} never reached {reached:#x}")


SPIN = "spin: addi s1, s1, 1\n rdtime s2\n j spin\n"


def test_time_is_the_guests_time_for_every_hart(client: ControlClient):
    with loaded(client, SPIN, harts=2) as vm:
        before = vm.get_one_reg(0, "timer.time")
        assert vm.get_one_reg(1, "timer.time") >= before
        vm.set_one_reg(0, "timer.time", 1 << 50)
        vm.run()
        for hart in (0, 1):
            until(vm, "core.s2", 1 << 50, hart)
            vm.resume()
        vm.set_one_reg(1, "timer.time", 1 << 52)  # also while it runs
        assert until(vm, "core.s2", 1 << 52) <= vm.get_one_reg(0, "timer.time") < 1 << 53


def test_time_runs_at_the_hosts_frequency(client: ControlClient):
    for hz in (1_000, 1_000_000_000):
        with loaded(client, SPIN, host=HostModel(timer_frequency_hz=hz)) as vm:
            before, first, after = time.monotonic(), vm.get_one_reg(0, "timer.time"), time.monotonic()
            vm.run()
            guest = until(vm, "core.s2", max(1, first))
            soon, last, late = time.monotonic(), vm.get_one_reg(0, "timer.time"), time.monotonic()
            assert first <= guest <= last
            assert (soon - after) * hz - 2 < last - first < (late - before) * hz + 2
            assert f"timebase-frequency = <{hz:#x}>" in vm.get_device_tree().source
            assert vm.get_one_reg(0, "timer.frequency") == hz


SLEEPER = """
    la t0, handler
    csrw mtvec, t0
    li t0, 0x80
    csrw mie, t0
    csrsi mstatus, 8
sleep: wfi
    j sleep
    .balign 4
handler:
    csrr s3, mcause
    li t0, 0x2004000
    li t1, -1
    sd t1, 0(t0)
    addi s1, s1, 1
    mret
"""


@pytest.mark.parametrize("rules", ["kvm", "simulator"])
def test_a_deadline_that_is_set_wakes_the_guest(client: ControlClient, rules: str):
    with loaded(client, SLEEPER, rules=rules) as vm:
        assert (vm.get_one_reg(0, "timer.compare"), vm.get_one_reg(0, "timer.state")) == (NEVER, 0)
        vm.run()
        vm.pause()
        vm.set_one_reg(0, "timer.compare", vm.get_one_reg(0, "timer.time") + 10_000)
        assert vm.get_one_reg(0, "timer.state") == 0  # stored, not armed
        vm.set_one_reg(0, "timer.state", 1)
        armed = vm.get_one_reg(0, "timer.compare")
        assert (armed == 1) is (rules == "kvm")  # KVM's quirk: the value written is the deadline
        vm.resume()
        assert until(vm, "core.s1", 1) == 1
        assert vm.get_one_reg(0, "core.s3") == INTERRUPT | 7
        # The guest's handler has taken its deadline away.
        assert vm.get_one_reg(0, "timer.state") == 0
        with pytest.raises(RefusedByServer, match=r"EINVAL: timer.state: the timer is not armed"):
            vm.set_one_reg(0, "timer.state", 0)


def test_the_guests_own_deadline_is_shown_and_can_be_cancelled(client: ControlClient):
    text = SLEEPER.replace("sleep: wfi", " li t0, 0x2004000\n li t1, 1<<60\n sd t1, 0(t0)\nsleep: wfi")
    with loaded(client, text) as vm:
        vm.run()
        assert until(vm, "timer.state", 1) == 1
        assert vm.get_one_reg(0, "timer.compare") == 1 << 60
        vm.set_one_reg(0, "timer.state", 0)
        assert (vm.get_one_reg(0, "timer.state"), vm.get_one_reg(0, "timer.compare")) == (0, 1 << 60)
        vm.set_one_reg(0, "timer.state", 1)  # rule simulator: the stored deadline, so that it can be restored
        assert vm.get_one_reg(0, "timer.compare") == 1 << 60


TRAPPER = """
    la t0, handler
    csrw mtvec, t0
    li t0, 0x88
    csrw mie, t0
    ecall
    .balign 4
handler:
    addi s1, s1, 1
    j handler
"""


def test_csrs_of_a_paused_hart_are_its_own(client: ControlClient):
    with loaded(client, TRAPPER) as vm:
        handler = assemble(TRAPPER).image.symbols["handler"].address
        vm.run()
        with pytest.raises(RefusedByServer, match=r"EBUSY: csr.scause: the hart is running"):
            vm.get_one_reg(0, "csr.scause")
        until(vm, "core.s1", 1)
        shown = {name: vm.get_one_reg(0, f"csr.{name}") for name in ("scause", "stvec", "sie", "sstatus")}
        assert shown == {"scause": 9, "stvec": handler, "sie": 0x22, "sstatus": 1 << 8}
        assert 0x8000_0000 < vm.get_one_reg(0, "csr.sepc") < handler
        vm.set_one_reg(0, "csr.sscratch", 99)
        vm.set_one_reg(0, "csr.satp", 8 << 60)
        assert vm.get_one_reg(0, "csr.satp") == 8 << 60  # stored; the hart has the last word
        done = vm.get_one_reg(0, "core.s1")
        vm.resume()
        until(vm, "core.s1", done + 1)
        assert (vm.get_one_reg(0, "csr.sscratch"), vm.get_one_reg(0, "csr.satp")) == (99, 0)


IDENTITY = """
    csrr s1, mvendorid
    csrr s2, marchid
    csrr s3, mimpid
    csrr s4, mtvec
    csrr s5, mscratch
    wfi
"""


def test_what_is_set_before_the_run_is_there_from_the_first_instruction(client: ControlClient):
    with loaded(client, IDENTITY, harts=2, host=HostModel(mvendorid=0x489, marchid=3)) as vm:
        vm.set_one_reg(1, "config.marchid", 0x8000_0000_0000_0007)
        vm.set_one_reg(1, "config.mimpid", 5)
        vm.set_one_reg(1, "csr.stvec", 0x8000_0100)
        vm.set_one_reg(1, "csr.sscratch", 11)
        vm.run()
        result = vm.wait(20)
        assert result is not None
        assert result.ending is Ending.PARKED
        assert result.harts[0].x[18:23] == (3, 0, 0, 0, 0)
        assert result.harts[0].x[9] == result.harts[1].x[9] == 0x489
        assert result.harts[1].x[18:23] == (0x8000_0000_0000_0007, 5, 0x8000_0100, 11, 0)
        with pytest.raises(RefusedByServer, match="EBUSY"):
            vm.set_one_reg(1, "config.mimpid", 6)


def test_a_software_interrupt_can_be_raised(client: ControlClient):
    text = SLEEPER.replace("li t0, 0x80\n", "li t0, 8\n").replace("li t0, 0x2004000", "li t0, 0x2000000")
    with loaded(client, text.replace("sd t1, 0(t0)", "sw zero, 0(t0)")) as vm:
        vm.run()
        vm.pause()
        vm.set_one_reg(0, "csr.sip", 2)
        vm.resume()
        assert until(vm, "core.s1", 1) == 1
        assert vm.get_one_reg(0, "core.s3") == INTERRUPT | 3
        assert vm.get_one_reg(0, "csr.sip") == 0


def test_mode_is_what_the_harts_have(client: ControlClient):
    with loaded(client, SPIN) as vm:
        assert vm.get_one_reg(0, "core.mode") == 1
        vm.set_one_reg(0, "core.mode", 1)
        with pytest.raises(RefusedByServer, match=r"EINVAL: core.mode: 0x0: the harts have one mode"):
            vm.set_one_reg(0, "core.mode", 0)


def test_a_paused_hart_steps(client: ControlClient):
    with loaded(client, "spin: addi s1, s1, 1\n j spin\n", harts=2) as vm:
        with pytest.raises(RefusedByServer, match="EINVAL: VM live is created; to step it must be paused"):
            vm.step(0)
        vm.run()
        vm.pause()
        other = vm.get_one_reg(1, "core.s1")
        count, pc = vm.get_one_reg(0, "core.s1"), vm.get_one_reg(0, "core.pc")
        done = vm.step(0, 20_001)  # more than one message carries
        assert done.retired == 20_001
        assert done.pc == vm.get_one_reg(0, "core.pc") != pc
        assert vm.get_one_reg(0, "core.s1") - count in (10_000, 10_001)
        assert vm.get_one_reg(1, "core.s1") == other
        vm.set_one_reg(0, "core.s1", 5)
        vm.set_one_reg(0, "core.pc", 0x8000_0000)
        assert vm.step(0).pc == 0x8000_0004
        assert vm.get_one_reg(0, "core.s1") == 6
        with pytest.raises(RefusedByServer, match="ENOENT: VM live has no vCPU 2"):
            vm.step(2)
