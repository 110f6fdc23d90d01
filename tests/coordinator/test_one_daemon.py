"""Two owners' VMs with opposite extensions in one daemon: each traps what it lacks; neither can touch the other's."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from coordinator.control.access import Client, Keyring, Role
from coordinator.control.client import ControlClient, RefusedByServer, RemoteVm
from coordinator.control.server import ControlServer, Curve
from coordinator.host import HostModel
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from hart.image import Image
from hart.isa.extensions import implemented

SWITCHABLE = ("zaamo", "zacas", "zabha", "zba", "zicond", "zawrs")
INSTRUCTIONS = {
    "zaamo": "amoadd.d zero, t0, (s0)",
    "zacas": "amocas.d t3, t4, (s0)",
    "zabha": "amoadd.b zero, t0, (s0)",
    "zba": "sh1add t3, t4, t5",
    "zicond": "czero.eqz t3, t4, t5",
    "zawrs": "wrs.sto",
}
BODY = "\n".join(f"    li s1, {bit}\n    {text}" for bit, text in enumerate(INSTRUCTIONS.values()))
PROGRAM = f"""
    la t0, handler
    csrw mtvec, t0
    la s0, word
again:
{BODY}
    li s1, 63
    addi s3, s3, 1
    j again
    .balign 4
handler:                        # s2: a bit for each instruction that trapped
    li t1, 1
    sll t1, t1, s1
    or s2, s2, t1
    csrr t1, mepc
    addi t1, t1, 4
    csrw mepc, t1
    mret
    .data
    .balign 64
word: .dword 0
"""


@pytest.fixture
def owners() -> Iterator[tuple[ControlClient, ControlClient]]:
    server_public, server_secret = zmq.curve_keypair()
    keys = {name: zmq.curve_keypair() for name in ("alice", "bob")}
    keyring = Keyring({public.decode(): Client(name, Role.USER) for name, (public, _) in keys.items()})
    with tempfile.TemporaryDirectory() as directory:
        local = f"ipc://{directory}/private/control"
        for port in range(30000, 60000, 2):
            tcp = f"tcp://127.0.0.1:{port}"
            try:
                server = ControlServer(VirtualMachine, local, tcp, Curve(server_secret, keyring))
                break
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE:
                    raise
        with server:
            thread = threading.Thread(target=server.serve)
            thread.start()
            try:
                with (
                    ControlClient(tcp, 20, server_public, keys["alice"]) as alice,
                    ControlClient(tcp, 20, server_public, keys["bob"]) as bob,
                ):
                    yield alice, bob
            finally:
                server.stop()
                thread.join()
        assert list(Path(directory, "private").iterdir()) == []


def program() -> Image:
    return assemble(PROGRAM, extensions=implemented()).image


def make(client: ControlClient, off: set[str]) -> RemoteVm:
    vm = client.create_vm(VmSpec(name="vm", harts=2, ram_bytes=1 << 16))
    for hart in range(2):
        wanted = {name for name in vm.get_extensions(hart) if name.lower() not in off}
        vm.set_extensions(hart, frozenset(wanted))
    vm.load_image(program())
    return vm


def trapped(vm: RemoteVm, hart: int) -> set[str]:
    """What trapped in a hart, once it has gone round twice; the VM goes on."""
    while True:
        vm.pause()
        rounds, bits = (vm.get_one_reg(hart, register) for register in ("core.s3", "core.s2"))
        vm.resume()
        if rounds >= 2:
            return {name for bit, name in enumerate(INSTRUCTIONS) if bits >> bit & 1}
        time.sleep(0.05)


def test_opposite_extensions_side_by_side(owners: tuple[ControlClient, ControlClient]):
    alice, bob = owners
    lacks = {"zaamo", "zacas", "zabha", "a"}
    opposite = {"zba", "b", "zicond", "zawrs"}
    first, second = make(alice, lacks), make(bob, opposite)
    first.run()
    second.run()
    for hart in range(2):
        assert trapped(first, hart) == lacks & INSTRUCTIONS.keys()
        assert trapped(second, hart) == opposite & INSTRUCTIONS.keys()
    for stranger, theirs in ((bob, first), (alice, second)):
        hidden = stranger.vm(theirs.id)
        for attempt in (
            lambda vm=hidden: vm.get_one_reg(0, "core.pc"),
            lambda vm=hidden: vm.set_one_reg(0, "isa_ext.zba", 1),
            lambda vm=hidden: vm.get_memory(0x8000_0000, 4),
            lambda vm=hidden: vm.step(0),
            hidden.pause,
            hidden.destroy,
        ):
            with pytest.raises(RefusedByServer, match="ENOENT: no VM"):
                attempt()
        assert len(stranger.list_vms()) == 1
    assert trapped(first, 0) == lacks & INSTRUCTIONS.keys()  # nothing of that changed it


def test_zaamo_off_and_on_between_runs(owners: tuple[ControlClient, ControlClient]):
    """A vCPU that has run keeps its extensions, as in KVM; the next run is another VM."""
    client, _ = owners
    for off in ({"zaamo", "a", "zacas", "zabha"}, set(), {"zaamo", "a", "zacas", "zabha"}):
        vm = make(client, off)
        vm.run()
        assert ("zaamo" in trapped(vm, 0)) is bool(off)
        with pytest.raises(RefusedByServer, match=r"EBUSY: isa_ext.zaamo: cannot be set once"):
            vm.set_one_reg(0, "isa_ext.zaamo", int(bool(off)))
        vm.stop()
        result = vm.wait(10)
        assert result is not None
        assert result.ending is Ending.STOPPED
        vm.destroy()


# KVM_GET_REG_LIST over the channel, for every vCPU that hartstorm can offer


def _settings() -> Iterator[tuple[str, HostModel]]:
    for rules in ("kvm", "simulator"):
        yield rules, HostModel()
        yield rules, HostModel(mvendorid=0x489, marchid=7, mimpid=9, timer_frequency_hz=1_000_000)
    for name in sorted(implemented()):
        yield "simulator", HostModel(extensions=frozenset({"I"}) | _needed(name))


def _needed(name: str) -> frozenset[str]:
    from hart.isa.extensions import requirements

    on = frozenset({"I", name})
    while more := frozenset().union(*(requirements(n, on) for n in on)) - on:
        on |= more
    return on


def test_the_register_list_of_every_vcpu_on_offer(owners: tuple[ControlClient, ControlClient]):
    """On real VMs: every host, and on the full one every extension that can be, off; see facts of get-reg-list."""
    client, _ = owners
    for number, (rules, host) in enumerate(_settings()):
        spec = VmSpec(name=f"vm{number}", harts=1, ram_bytes=4096, rules=rules, host=host)
        vm = client.create_vm(spec)
        _as_the_selftest_has_it(vm, host.offers(spec.reservation_set_size_exp))
        vm.destroy()
    for name in sorted(implemented()):
        vm = client.create_vm(VmSpec(name="less", harts=1, ram_bytes=4096))
        off = {n for n in vm.get_extensions(0) if name in _needed(n)}
        if "I" not in off:
            before = vm.get_reg_list(0)
            vm.set_extensions(0, vm.get_extensions(0) - off)
            assert vm.get_reg_list(0) == before  # what is switched off stays listed
            _as_the_selftest_has_it(vm, implemented())
        vm.destroy()


def _as_the_selftest_has_it(vm: RemoteVm, offered: frozenset[str]) -> None:
    from coordinator.registers import Class, decode, known
    from hart.isa.extensions import BY_KVM_ID

    with pytest.raises(RefusedByServer, match="E2BIG") as small:
        vm._reg_list(0, 0)
    ids = vm.get_reg_list(0)
    assert small.value.n == len(ids) == len(set(ids))
    with pytest.raises(RefusedByServer, match="E2BIG"):
        vm._reg_list(0, len(ids) - 1)
    base = {
        r.encode()
        for r in known()
        if r.kind in (Class.CONFIG, Class.CORE, Class.TIMER) or (r.kind == Class.CSR and r.subtype == 0)
    }
    assert len(base) == 56
    assert base <= set(ids)
    of_host = {0x8030_0000_0700_0000 | kvm for kvm, row in BY_KVM_ID.items() if row.name in offered}
    assert set(ids) == base | of_host  # nothing hartstorm offers brings any other register
    for register in ids:
        value = vm.get_one_reg(0, register)
        if decode(register).name != "timer.state":  # the selftest skips it: OFF on an idle timer is EINVAL
            vm.set_one_reg(0, register, value)
