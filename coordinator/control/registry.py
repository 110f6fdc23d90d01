"""The VMs of one server: who owns each, who else may do what, and finding them by name or id.

Owns ownership. A VM that a client does not know and a VM that does not exist give the same error, word for
word. Carries out no verb (`coordinator.control.verbs`).
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from coordinator.control.access import Client, Standing
from coordinator.machine import Machine
from coordinator.refusal import Refusal
from coordinator.vcpu import Vcpu


@dataclass
class Vm:
    """A VM as the control plane keeps it.

    Attributes:
        id: unique among all VMs of all servers.
        topic: of its events; whoever knows it may hear them.
        owner: the name of the client that made it.
        grants: standings of other clients, by name.
        vcpus: those made so far, by hart.

    """

    machine: Machine
    owner: str
    id: str = field(default_factory=lambda: f"vm-{secrets.token_hex(8)}")
    topic: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    grants: dict[str, Standing] = field(default_factory=dict)
    vcpus: dict[int, Vcpu] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its owner calls it."""
        return self.machine.spec.name

    def standing(self, client: Client) -> Standing:
        """What the client may do with it."""
        if client.name == self.owner:
            return Standing.OWNER
        return max(client.role.standing, self.grants.get(client.name, Standing.NONE))

    def make_vcpu(self, hart: int) -> None:
        """Make the vCPU of a hart.

        Raises:
            Refusal: EINVAL no such hart, EEXIST made already.

        """
        if hart >= self.machine.spec.harts:
            raise Refusal(errno.EINVAL, f"hart {hart}: VM {self.name} has {self.machine.spec.harts}, from 0")
        if hart in self.vcpus:
            raise Refusal(errno.EEXIST, f"the vCPU of hart {hart} exists")
        vcpu = Vcpu(self.machine, hart)
        vcpu.reset()
        self.vcpus[hart] = vcpu

    def vcpu(self, hart: int) -> Vcpu:
        """The vCPU of a hart; ENOENT if there is none."""
        if hart not in self.vcpus:
            raise Refusal(errno.ENOENT, f"VM {self.name} has no vCPU {hart}; it has {_ranges(self.vcpus)}")
        return self.vcpus[hart]


def _ranges(harts: dict[int, Vcpu]) -> str:
    return f"{min(harts)} to {max(harts)}" if harts else "none"


class Registry:
    """Every VM of a server."""

    def __init__(self) -> None:
        self._vms: dict[str, Vm] = {}

    def __iter__(self) -> Iterator[Vm]:
        return iter(list(self._vms.values()))

    def __len__(self) -> int:
        return len(self._vms)

    def add(self, vm: Vm) -> None:
        """Take a VM in."""
        self._vms[vm.id] = vm

    def remove(self, vm: Vm) -> None:
        """Let a VM go."""
        self._vms.pop(vm.id, None)

    def holds(self, vm: Vm) -> bool:
        """Whether it is still here."""
        return vm.id in self._vms

    def owned(self, owner: str, name: str) -> Vm | None:
        """The client's own VM of that name."""
        return next((vm for vm in self if vm.owner == owner and vm.name == name), None)

    def find(self, client: Client, text: str, needs: Standing) -> Vm:
        """The VM that the client means by an id or else a name; its own come before those of others.

        Raises:
            Refusal: ENOENT it knows none, EINVAL several of others bear the name, EPERM its standing is too
                low.

        """
        vm = self._vms.get(text)
        standing = Standing.NONE if vm is None else vm.standing(client)
        if vm is None or standing is Standing.NONE:
            vm = self._named(client, text)
            standing = vm.standing(client)
        if standing < needs:
            have, need = standing.name.lower(), needs.name.lower()
            raise Refusal(errno.EPERM, f"VM {vm.name}: takes an {need}, you are {have}")
        return vm

    def _named(self, client: Client, name: str) -> Vm:
        known = [vm for vm in self if vm.name == name and vm.standing(client) > Standing.NONE]
        found = [vm for vm in known if vm.owner == client.name] or known
        if not found:
            raise Refusal(errno.ENOENT, f"no VM {name!r}")
        if len(found) > 1:
            raise Refusal(
                errno.EINVAL, f"several VMs are called {name!r}: {', '.join(vm.id for vm in found)}"
            )
        return found[0]
