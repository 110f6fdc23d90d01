"""What each verb does: one function per verb, from a checked request to its reply.

Owns the rules of the VM's life as clients see them (what is allowed in which state). Opens no socket; the one
verb that takes time, `wait`, is answered by the server.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bus.access import MemoryFault
from bus.policies import policy
from coordinator.control.access import LOCAL, Client, Keyring, Role, Standing
from coordinator.control.messages import (
    VERBS,
    Body,
    Capability,
    CheckExtension,
    Created,
    CreateVm,
    DeviceTree,
    Empty,
    GetMemory,
    GetOneReg,
    GetRegList,
    Grant,
    HwProbe,
    HwProbed,
    LoadImage,
    Memory,
    OnHart,
    OnVm,
    ProbePair,
    RegList,
    SetMemory,
    SetOneReg,
    Status,
    StepHart,
    Stepped,
    Topic,
    Value,
    VmList,
    VmSummary,
)
from coordinator.control.plain import Plain, is_plain_get, is_plain_set
from coordinator.control.registry import Registry, Vm
from coordinator.devicetree import device_tree, to_blob, to_source
from coordinator.host import not_simulated
from coordinator.hwprobe import Pair, cpu_of, hwprobe
from coordinator.machine import Machine, MachineState
from coordinator.onereg import get_one_reg, register_list, set_one_reg
from coordinator.refusal import Refusal
from coordinator.spec import MAX_HARTS, VmSpec
from coordinator.vcpu import MASK_64
from hart.environments import LoadError
from hart.isa.extensions import UnknownExtension
from hart.isa.extensions import find as find_extension


class TooSmall(Refusal):
    """E2BIG of get_reg_list: the room given does not do; `n` does."""

    def __init__(self, n: int) -> None:
        super().__init__(errno.E2BIG, f"there are {n} registers")
        self.n = n


@dataclass
class Hypervisor:
    """All that the verbs act on: the VMs, and how one is made."""

    create_machine: Callable[[VmSpec], Machine]
    keyring: Keyring = field(default_factory=lambda: Keyring({}))
    max_vms: int = 256
    vms: Registry = field(default_factory=Registry)


def perform(hypervisor: Hypervisor, client: Client, verb: str, body: Body) -> Body:
    """Carry out a verb (any but `wait`) for a client.

    Raises:
        Refusal: as the verb's function says, and what `Registry.find` refuses.

    """
    needs = VERBS[verb].needs
    if needs is None:
        return _GENERAL[verb](hypervisor, client, body)
    assert isinstance(body, OnVm)
    vm = hypervisor.vms.find(client, body.vm, needs)
    try:
        return _ON_VM[verb](hypervisor, vm, body)
    except TimeoutError as e:
        raise Refusal(errno.ETIMEDOUT, str(e)) from None
    except MemoryFault as e:
        raise Refusal(errno.EFAULT, f"{e}; RAM is {_ram(vm.machine.spec)}") from None


def perform_plain(hypervisor: Hypervisor, client: Client, verb: str, body: Any) -> Plain | None:
    """Carry out a plain GET_ONE_REG or SET_ONE_REG and give the answer's body; None for anything else.

    Raises:
        Refusal: as `perform`.

    """
    plain = _PLAIN.get(verb)
    if plain is None or not plain(body):
        return None
    needs = VERBS[verb].needs
    assert needs is not None
    vcpu = hypervisor.vms.find(client, body["vm"], needs).vcpu(body["hart"])
    if verb == "get_one_reg":
        value = get_one_reg(vcpu, body["id"])
        return {"value": value} if value <= MASK_64 else None
    set_one_reg(vcpu, body["id"], body["value"])
    return {}


_PLAIN: dict[str, Callable[[Any], bool]] = {"get_one_reg": is_plain_get, "set_one_reg": is_plain_set}


def status(vm: Vm) -> Status:
    """Where a VM is."""
    result = vm.machine.wait(0)
    return Status(state=vm.machine.state, instret=vm.machine.progress(), result=result)


# Verbs that concern no existing VM


def _check_extension(hypervisor: Hypervisor, client: Client, body: CheckExtension) -> Capability:
    """`max_vms`, `max_vcpus`, `nr_vcpus` (host cores), `one_reg`, `events`; or an ISA extension: 1 if
    implemented."""
    capabilities = {
        "one_reg": 1,
        "events": 1,
        "max_vms": hypervisor.max_vms,
        "max_vcpus": MAX_HARTS,
        "nr_vcpus": os.cpu_count() or 1,
    }
    if body.name in capabilities:
        return Capability(value=capabilities[body.name])
    try:
        return Capability(value=int(find_extension(body.name).implemented))
    except UnknownExtension:
        return Capability(value=0)


def _create_vm(hypervisor: Hypervisor, client: Client, body: CreateVm) -> Created:
    """EPERM the client may make none or may name no files, EEXIST it has one of that name, ENOSPC there are
    too many, EINVAL hartstorm cannot simulate the host."""
    spec = body.spec
    if not client.role.makes_vms:
        raise Refusal(errno.EPERM, f"role {client.role.value} makes no VMs")
    if client.role is not Role.ADMIN and (spec.record_order or spec.trace or spec.record_memory):
        raise Refusal(
            errno.EPERM,
            "$.spec: record_order, trace and record_memory name files of the server: only for role admin",
        )
    if hypervisor.vms.owned(client.name, spec.name):
        raise Refusal(errno.EEXIST, f"you have a VM {spec.name!r}")
    if len(hypervisor.vms) >= hypervisor.max_vms:
        raise Refusal(errno.ENOSPC, f"there are {hypervisor.max_vms} VMs, the most this server keeps")
    missing = not_simulated(spec.host, spec.reservation_set_size_exp)
    if missing:
        raise Refusal(errno.EINVAL, f"$.spec.host: {'; '.join(missing)}")
    try:
        machine = hypervisor.create_machine(spec)
    except OSError as e:
        raise Refusal(e.errno or errno.EIO, f"VM {spec.name!r} cannot be made: {e}") from e
    vm = Vm(machine, client.name)
    if body.vcpus:
        for hart in range(spec.harts):
            vm.make_vcpu(hart)
    hypervisor.vms.add(vm)
    return Created(vm=vm.id)


def _list_vms(hypervisor: Hypervisor, client: Client, body: Empty) -> VmList:
    return VmList(
        vms=[
            VmSummary(
                vm=vm.id,
                name=vm.name,
                owner=vm.owner,
                state=vm.machine.state,
                harts=vm.machine.spec.harts,
                policy=vm.machine.spec.policy,
                policy_correct=policy(vm.machine.spec.policy).correct,
                standing=vm.standing(client).name.lower(),
            )
            for vm in hypervisor.vms
            if vm.standing(client) > Standing.NONE
        ]
    )


# Verbs on a VM

_DONE = Empty()


def _create_vcpu(hypervisor: Hypervisor, vm: Vm, body: OnHart) -> Empty:
    vm.make_vcpu(body.hart)
    return Empty()


def _get_one_reg(hypervisor: Hypervisor, vm: Vm, body: GetOneReg) -> Value:
    return Value(value=get_one_reg(vm.vcpu(body.hart), body.id))


def _set_one_reg(hypervisor: Hypervisor, vm: Vm, body: SetOneReg) -> Empty:
    set_one_reg(vm.vcpu(body.hart), body.id, body.value)
    return _DONE


def _get_reg_list(hypervisor: Hypervisor, vm: Vm, body: GetRegList) -> RegList:
    ids = register_list(vm.vcpu(body.hart))
    if body.n < len(ids):
        raise TooSmall(len(ids))
    return RegList(ids=ids)


def _load_image(hypervisor: Hypervisor, vm: Vm, body: LoadImage) -> Empty:
    _require(vm, "load a program", MachineState.CREATED, MachineState.PAUSED)
    for chunk in body.image.chunks:
        _in_ram(vm, chunk.address, len(chunk.data) + chunk.zeros)
    try:
        vm.machine.load(body.image)
    except LoadError as e:
        raise Refusal(errno.ENOEXEC, str(e)) from None
    return Empty()


def _run(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Empty:
    """EINVAL a vCPU has not been made."""
    _require(vm, "run", MachineState.CREATED)
    missing = [hart for hart in range(vm.machine.spec.harts) if hart not in vm.vcpus]
    if missing:
        raise Refusal(errno.EINVAL, f"hart {missing[0]} has no vCPU yet; make it with create_vcpu")
    vm.machine.start()
    return Empty()


def _pause(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Empty:
    _require(vm, "pause", MachineState.RUNNING)
    vm.machine.pause()
    return Empty()


def _resume(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Empty:
    _require(vm, "resume", MachineState.PAUSED)
    vm.machine.resume()
    return Empty()


def _step(hypervisor: Hypervisor, vm: Vm, body: StepHart) -> Stepped:
    """ENOENT there is no such hart."""
    _require(vm, "step", MachineState.PAUSED)
    hart = vm.vcpu(body.hart).hart
    retired = vm.machine.step(hart, body.count)
    return Stepped(retired=retired, pc=vm.machine.get_pc(hart))


def _stop(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Empty:
    _require(vm, "stop", MachineState.RUNNING, MachineState.PAUSED)
    vm.machine.stop()
    return Empty()


def _get_stats(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Status:
    return status(vm)


def _get_memory(hypervisor: Hypervisor, vm: Vm, body: GetMemory) -> Memory:
    _in_ram(vm, body.address, body.size)
    return Memory(data=vm.machine.read_memory(body.address, body.size))


def _set_memory(hypervisor: Hypervisor, vm: Vm, body: SetMemory) -> Empty:
    _in_ram(vm, body.address, len(body.data))
    vm.machine.write_memory(body.address, body.data)
    return Empty()


def _hwprobe(hypervisor: Hypervisor, vm: Vm, body: HwProbe) -> HwProbed:
    cpus = {hart: cpu_of(vcpu) for hart, vcpu in vm.vcpus.items()}
    pairs, found = hwprobe(cpus, [Pair(p.key, p.value) for p in body.pairs], body.cpus, body.flags)
    return HwProbed(pairs=[ProbePair(key=p.key, value=p.value) for p in pairs], cpus=found)


def _get_device_tree(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> DeviceTree:
    """EINVAL the binding has no list for some hart's extensions."""
    try:
        tree = device_tree(vm.machine.spec, [vcpu.enabled for _, vcpu in sorted(vm.vcpus.items())])
    except ValueError as e:
        raise Refusal(errno.EINVAL, f"no device tree can say it: {e}") from None
    return DeviceTree(source=to_source(tree), blob=to_blob(tree))


def _subscribe(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Topic:
    return Topic(topic=vm.topic)


def _grant(hypervisor: Hypervisor, vm: Vm, body: Grant) -> Empty:
    """EINVAL the keyring has no such client."""
    if body.client != LOCAL.name and hypervisor.keyring.by_name(body.client) is None:
        raise Refusal(errno.EINVAL, f"$.client: no client is called {body.client!r}")
    vm.grants[body.client] = Standing[body.standing.upper()]
    return Empty()


def _destroy(hypervisor: Hypervisor, vm: Vm, body: OnVm) -> Empty:
    hypervisor.vms.remove(vm)
    vm.machine.destroy()
    return Empty()


def _require(vm: Vm, what: str, *states: MachineState) -> None:
    if vm.machine.state not in states:
        allowed = " or ".join(s.value for s in states)
        number = errno.EBUSY if vm.machine.state is MachineState.RUNNING else errno.EINVAL
        raise Refusal(number, f"VM {vm.name} is {vm.machine.state.value}; to {what} it must be {allowed}")


def _in_ram(vm: Vm, address: int, size: int) -> None:
    spec = vm.machine.spec
    if size < 0 or not spec.holds(address, size):
        raise Refusal(errno.EFAULT, f"{size} bytes from {address:#x} do not lie in RAM, {_ram(spec)}")


def _ram(spec: VmSpec) -> str:
    return f"{spec.ram_base:#x} to {spec.ram_base + spec.ram_bytes - 1:#x}"


_GENERAL: dict[str, Callable[..., Body]] = {
    "check_extension": _check_extension,
    "create_vm": _create_vm,
    "list_vms": _list_vms,
}
_ON_VM: dict[str, Callable[..., Body]] = {
    "create_vcpu": _create_vcpu,
    "get_one_reg": _get_one_reg,
    "set_one_reg": _set_one_reg,
    "get_reg_list": _get_reg_list,
    "load_image": _load_image,
    "run": _run,
    "pause": _pause,
    "resume": _resume,
    "step": _step,
    "stop": _stop,
    "get_stats": _get_stats,
    "get_memory": _get_memory,
    "set_memory": _set_memory,
    "hwprobe": _hwprobe,
    "get_device_tree": _get_device_tree,
    "subscribe": _subscribe,
    "grant": _grant,
    "destroy": _destroy,
}
