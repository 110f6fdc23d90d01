"""Client and server together, over fake machines: every verb, life cycle, rights, events."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import zmq
from control_serving import Serving

from coordinator.control.client import ControlClient, NoAnswer, NotLetIn, RefusedByServer
from coordinator.control.messages import ErrorBody, Status
from coordinator.control.server import ControlServer
from coordinator.host import HostModel
from coordinator.hwprobe import WHICH_CPUS, Pair
from coordinator.machine import MachineState
from coordinator.refusal import Refusal
from coordinator.result import Ending
from coordinator.spec import VmSpec
from hart.image import Chunk, Image
from hart.isa.extensions import BY_KVM_ID, REGISTRY, implemented

SPEC = VmSpec(name="vm", harts=2, ram_bytes=1 << 16)
BASE = SPEC.ram_base
IMAGE = Image("demo", BASE + 4, (Chunk(BASE, b"code", 4),))


def refused(number: int):
    return pytest.raises(RefusedByServer, match=errno.errorcode[number])


def test_a_vm_from_creation_to_destruction(served: Serving, client: ControlClient):
    vm = client.create_vm(SPEC)
    assert vm.get_stats() == Status(state=MachineState.CREATED, instret=(0, 0))
    vm.load_image(IMAGE)
    assert vm.get_memory(BASE, 8) == b"code\0\0\0\0"
    vm.set_memory(BASE + 8, b"data")
    vm.set_one_reg(1, "core.a0", 2**64 - 1)
    assert (vm.get_one_reg(1, "core.a0"), vm.get_one_reg(0, "core.pc")) == (2**64 - 1, BASE + 4)
    vm.run()
    assert vm.get_stats().state is MachineState.RUNNING
    with refused(errno.EBUSY):
        vm.get_one_reg(0, "core.pc")
    vm.pause()
    assert vm.wait(0.01) is None
    served.machines[0].run_s = 0
    vm.resume()
    result = vm.wait(5)
    assert result is not None
    assert (result.ending, result.harts[1].x[10], result.console) == (Ending.EXIT, 2**64 - 1, b"\xff")
    assert vm.get_stats().result == result
    vm.destroy()
    assert served.machines[0].destroyed
    with refused(errno.ENOENT):
        vm.get_stats()


def test_extensions_are_set_through_one_reg(served: Serving, client: ControlClient):
    vm = client.create_vm(SPEC)
    with_id = {row.name for row in BY_KVM_ID.values()}
    assert vm.get_extensions(0) == implemented() & with_id
    lacking = vm.get_extensions(0) - {"A", "Zaamo", "Zacas", "Zabha"}
    vm.set_extensions(1, lacking)
    assert vm.get_extensions(1) == lacking
    assert vm.get_extensions(0) == implemented() & with_id
    assert served.machines[0].extensions[1] & with_id == lacking
    with refused(errno.EINVAL):
        vm.set_extensions(0, vm.get_extensions(0) - {"Zalrsc"})


def test_get_reg_list(client: ControlClient):
    vm = client.create_vm(SPEC)
    with pytest.raises(RefusedByServer) as small:
        vm._reg_list(0, 0)
    ids = vm.get_reg_list(0)
    assert small.value.n == len(ids) > 56
    for number in ids:
        vm.get_one_reg(0, number)


def test_a_guest_would_see_what_is_switched(client: ControlClient):
    vm = client.create_vm(SPEC)
    zacas = REGISTRY["Zacas"].hwprobe
    assert zacas is not None
    key, bit = 4, 1 << zacas[1]
    assert vm.hwprobe([Pair(key, bit)], frozenset(), WHICH_CPUS) == ([Pair(key, bit)], {0, 1})
    assert '"zacas"' in vm.get_device_tree().source
    vm.set_extensions(1, vm.get_extensions(1) - {"Zacas"})
    assert vm.hwprobe([Pair(key, bit)], frozenset(), WHICH_CPUS) == ([Pair(key, bit)], {0})
    assert vm.hwprobe([Pair(key, 0), Pair(99, 1)])[0] == [
        Pair(key, vm.hwprobe([Pair(key, 0)], frozenset({1}))[0][0].value),
        Pair(-1, 0),
    ]
    tree = vm.get_device_tree()
    assert tree.source.count('"zacas"') == 1
    assert tree.blob.startswith(b"\xd0\x0d\xfe\xed")
    with refused(errno.EINVAL):
        vm.hwprobe([], flags=2)


def test_a_vm_whose_harts_do_not_come_to_rest(served: Serving, client: ControlClient):
    vm = client.create_vm(SPEC)
    vm.run()

    def fail() -> None:
        raise TimeoutError("hart 1 reached no safepoint")

    served.machines[0].pause = fail
    with pytest.raises(RefusedByServer, match="ETIMEDOUT: hart 1"):
        vm.pause()


def test_vcpus_one_by_one(client: ControlClient):
    vm = client.create_vm(SPEC, vcpus=False)
    with refused(errno.ENOENT):
        vm.get_one_reg(0, "core.pc")
    vm.create_vcpu(0)
    with refused(errno.EEXIST):
        vm.create_vcpu(0)
    with refused(errno.EINVAL):
        vm.create_vcpu(2)
    with pytest.raises(RefusedByServer, match="hart 1 has no vCPU yet"):
        vm.run()
    vm.create_vcpu(1)
    vm.run()


@pytest.mark.parametrize(
    ("name", "least"),
    [("one_reg", 1), ("max_vcpus", 64), ("nr_vcpus", 1), ("zacas", 1), ("V", 0), ("nonsense", 0)],
)
def test_check_extension(client: ControlClient, name: str, least: int):
    value = client.check_extension(name)
    assert value == 0 if least == 0 else value >= least


def test_what_the_state_does_not_allow(client: ControlClient):
    vm = client.create_vm(SPEC)
    for verb in (vm.pause, vm.resume, vm.stop):
        with pytest.raises(RefusedByServer, match="EINVAL: VM vm is created; to"):
            verb()
    vm.run()
    for verb in (vm.run, vm.resume, lambda: vm.load_image(IMAGE)):
        with pytest.raises(RefusedByServer, match="EBUSY: VM vm is running; to"):
            verb()
    vm.stop()
    with refused(errno.EINVAL):
        vm.run()


@pytest.mark.parametrize(("address", "size"), [(0, 1), (BASE - 1, 2), (BASE, (1 << 16) + 1), (2**64 - 1, 4)])
def test_memory_outside_ram(client: ControlClient, address: int, size: int):
    vm = client.create_vm(SPEC)
    with pytest.raises(RefusedByServer, match=r"EFAULT.*RAM, 0x80000000 to 0x8000ffff"):
        vm.get_memory(address, size)
    with refused(errno.EFAULT):
        vm.set_memory(address, bytes(size))
    with refused(errno.EFAULT):
        vm.load_image(Image("i", 0, (Chunk(address, b"", size),)))


@pytest.mark.parametrize(
    ("spec", "number", "message"),
    [
        (
            VmSpec(name="x", harts=1, host=HostModel(extensions=frozenset({"I", "V"}))),
            errno.EINVAL,
            "implement V",
        ),
        (
            VmSpec(name="x", harts=1, host=HostModel(extensions=frozenset({"I", "Zacas"}))),
            errno.EINVAL,
            "needs Zaamo",
        ),
        (
            VmSpec(name="x", harts=1, host=HostModel(extensions=frozenset({"I", "Zak"}))),
            errno.EINVAL,
            "'Zak'",
        ),
        (
            VmSpec(
                name="x",
                harts=1,
                reservation_set_size_exp=7,
                host=HostModel(extensions=frozenset({"I", "Zalrsc", "Za64rs", "Za128rs"})),
            ),
            errno.EINVAL,
            "implement Za64rs",
        ),
        (VmSpec(name="x", harts=1, host=HostModel(satp_mode=8)), errno.EINVAL, "satp_mode = 8: harts do not"),
        (
            VmSpec(name="x", harts=1, host=HostModel(zicboz_block_size=64)),
            errno.EINVAL,
            "zicboz_block_size = 64: hartstorm does not implement Zicboz; it must be 0",
        ),
        (SPEC, errno.EEXIST, "you have a VM 'vm'"),
    ],
)
def test_vms_that_are_not_made(client: ControlClient, spec: VmSpec, number: int, message: str):
    client.create_vm(SPEC)
    with pytest.raises(RefusedByServer, match=message) as raised:
        client.create_vm(spec)
    assert raised.value.number == number


def test_large_memory_travels_in_pieces(client: ControlClient):
    vm = client.create_vm(VmSpec(name="big", harts=1, ram_bytes=4 << 20))
    data = bytes(range(256)) * (3 << 12)
    vm.set_memory(BASE + 3, data)
    assert vm.get_memory(BASE + 3, len(data)) == data


def test_events(served: Serving, client: ControlClient):
    served.run_s = 0.2
    vm = client.create_vm(SPEC)
    with vm.events() as events:
        time.sleep(0.1)  # a subscription takes a moment to arrive
        vm.run()
        states = []
        while len(states) < 2:
            event = events.next(5)
            assert event is not None
            assert isinstance(event[1], Status)
            states.append(event[1].state)
        assert states == [MachineState.RUNNING, MachineState.ENDED]


def test_events_are_heard_only_by_topic(served: Serving, client: ControlClient):
    with client.subscription(b"") as everything:
        time.sleep(0.1)
        vm = client.create_vm(SPEC)
        vm.run()
        vm.stop()
        assert not everything.poll(200)


def test_a_failing_machine_costs_only_its_vm(served: Serving, client: ControlClient):
    healthy, broken = client.create_vm(SPEC), client.create_vm(VmSpec(name="broken", harts=1))

    def fail(timeout_s: float) -> None:
        raise RuntimeError("planted")

    with broken.events() as events:
        time.sleep(0.1)
        broken.run()
        served.machines[1].wait = fail
        while (event := events.next(5)) is not None and event[0] != "gone":
            pass
        assert event is not None
        assert isinstance(event[1], ErrorBody)
    assert served.machines[1].destroyed
    assert healthy.get_stats().state is MachineState.CREATED


def test_a_bug_costs_only_its_request(served: Serving, client: ControlClient):
    vm = client.create_vm(SPEC)

    def fail() -> None:
        raise RuntimeError("planted")

    served.machines[0].start = fail
    with pytest.raises(RefusedByServer, match="EIO: internal error"):
        vm.run()
    assert vm.get_stats().state is MachineState.CREATED


def test_waiting_for_a_vm_that_is_destroyed(served: Serving, client: ControlClient):
    from threading import Thread

    vm = client.create_vm(SPEC)
    seen: list[Refusal] = []

    def wait() -> None:
        with served.connect() as other, pytest.raises(RefusedByServer) as raised:
            other.vm("vm").wait(10)
        seen.append(raised.value)

    thread = Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    vm.destroy()
    thread.join(5)
    assert [e.number for e in seen] == [errno.ENODEV]


def test_no_server():
    with ControlClient("ipc:///nonexistent/control", 0.05) as client, pytest.raises(NoAnswer):
        client.list_vms()


# Rights


def test_a_vm_that_a_client_does_not_know_is_like_none(served: Serving):
    with served.connect("alice") as alice, served.connect("bob") as bob:
        vm = alice.create_vm(SPEC)
        for text in (vm.id, "vm"):
            with pytest.raises(RefusedByServer) as hidden:
                bob.vm(text).get_stats()
            with pytest.raises(RefusedByServer) as absent:
                bob.vm(text[:-1] + "?").get_stats()
            assert str(hidden.value) == str(absent.value).replace(text[:-1] + "?", text)
        assert bob.list_vms() == []
        # the name is free for bob, and means bob's own VM from then on
        own = bob.create_vm(SPEC)
        assert bob.list_vms()[0].vm == own.id != vm.id
        bob.vm("vm").set_one_reg(0, "core.a0", 9)
        assert alice.vm("vm").get_one_reg(0, "core.a0") == 0


@pytest.mark.parametrize(
    ("who", "rights"),
    [
        ("watcher", {"observe"}),
        ("driver", {"observe", "operate"}),
        ("root", {"observe", "operate", "own", "create"}),
    ],
)
def test_roles(served: Serving, who: str, rights: set[str]):
    with served.connect("alice") as alice, served.connect(who) as other:
        vm = other.vm(alice.create_vm(SPEC).id)

        attempts = [
            ("observe", lambda: vm.get_one_reg(0, "core.pc")),
            ("observe", lambda: vm.get_memory(BASE, 4)),
            ("own", lambda: vm.set_one_reg(0, "core.pc", 4)),
            ("own", lambda: vm.set_memory(BASE, b"x")),
            ("own", lambda: vm.load_image(IMAGE)),
            ("own", lambda: vm.grant("bob", "owner")),
            ("operate", vm.run),
            ("operate", vm.pause),
            ("operate", lambda: vm.step(0)),
            ("operate", vm.stop),
            ("own", vm.destroy),
            ("create", lambda: other.create_vm(VmSpec(name="mine", harts=1))),
        ]
        for right, attempt in attempts:
            with nullcontext() if right in rights else refused(errno.EPERM):
                attempt()


def test_grants_give_and_take(served: Serving):
    with served.connect("alice") as alice, served.connect("bob") as bob:
        vm = alice.create_vm(SPEC)
        vm.grant("bob", "observer")
        assert [(s.name, s.standing) for s in bob.list_vms()] == [("vm", "observer")]
        with pytest.raises(RefusedByServer, match="EPERM: VM vm: takes an operator, you are observer"):
            bob.vm("vm").run()
        vm.grant("bob", "operator")
        bob.vm("vm").run()
        vm.grant("bob", "none")
        with refused(errno.ENOENT):
            bob.vm("vm").pause()
        with pytest.raises(RefusedByServer, match="no client is called 'carol'"):
            vm.grant("carol", "owner")


def test_only_an_administrator_names_files_of_the_server(served: Serving):
    spec = VmSpec(name="t", harts=1, trace="trace.txt")
    with served.connect("alice") as alice, served.connect("root") as root:
        with pytest.raises(RefusedByServer, match=r"EPERM: .*trace"):
            alice.create_vm(spec)
        root.create_vm(spec)


@pytest.mark.parametrize("who", ["stranger", None])
def test_without_a_known_key_nobody_answers(served: Serving, who: str | None):
    keys = served.keys[who] if who else None
    with (
        ControlClient(served.tcp, 0.3, served.server_key if who else None, keys) as client,
        pytest.raises(NoAnswer),
    ):
        client.list_vms()
    with served.connect("alice") as alice:
        assert alice.list_vms() == []


def test_who_was_not_let_in_does_not_wait_for_ever(served: Serving):
    """Then there is no connection any more, on which ZeroMQ could send."""
    with ControlClient(served.tcp, 0.3, served.server_key, served.keys["stranger"]) as client:
        with pytest.raises(NotLetIn):
            client.await_handshake()
        with pytest.raises(NoAnswer):
            client.list_vms()


def test_events_over_curve(served: Serving):
    with served.connect("alice") as alice:
        vm = alice.create_vm(SPEC)
        with vm.events() as events:
            time.sleep(0.2)
            vm.run()
            assert events.next(5) is not None


# Endpoints


def test_tcp_takes_keys():
    with pytest.raises(ValueError, match="needs CURVE keys"):
        ControlServer(lambda spec: None, tcp_endpoint="tcp://127.0.0.1:5999")


def test_the_directory_of_an_ipc_endpoint_is_private(tmp_path: Path):
    open_directory = tmp_path / "open"
    open_directory.mkdir(mode=0o755)
    with pytest.raises(ValueError, match="must belong to you and have mode 0700"):
        ControlServer(lambda spec: None, f"ipc://{open_directory}/control")
    with ControlServer(lambda spec: None, f"ipc://{tmp_path}/new/control"):
        assert os.stat(tmp_path / "new").st_mode & 0o777 == 0o700
        with pytest.raises(ValueError, match="another server serves here"):
            ControlServer(lambda spec: None, f"ipc://{tmp_path}/new/control")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_req_socket_is_served_too(served: Serving):
    import msgpack

    context = zmq.Context()
    with context.socket(zmq.REQ) as socket:
        socket.connect(served.endpoint)
        socket.send(msgpack.packb([1, 3, "list_vms", {}]))
        assert socket.poll(5000)
        assert msgpack.unpackb(socket.recv()) == [1, 3, 0, {"vms": []}]
    context.term()


def test_a_stop_whose_wake_up_is_lost(tmp_path: Path):
    """A signal's handler may run late: see `serve`; nothing else happens in the meantime."""
    with ControlServer(lambda spec: None, f"ipc://{tmp_path}/private/control") as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        server._stopping = True
        thread.join(5)
        ended = not thread.is_alive()
        server.stop()
        thread.join()
    assert ended
