"""The vCPU as ONE_REG sees it: a hart of a machine plus the registers that only a hypervisor keeps.

Owns what may be switched on and off, under which rules, and the stored registers. Decodes no register id
(`coordinator.onereg`) and runs nothing.

Two sets of rules. `kvm` is the kernel's. `simulator`, the default, departs from it in exactly these points:

| what                                 | kvm                      | simulator                            |
|--------------------------------------|--------------------------|--------------------------------------|
| switch off an implemented extension  | as in the kernel's isa.c | allowed: harts trap what is off      |
| dependencies (Zacas needs Zaamo ...) | never looked at          | a switch that breaks one is EINVAL   |
| SET timer.state to ON                | deadline 1: at once      | the deadline is timer.compare        |
| SET core.mode to other than S (1)    | stored                   | EINVAL: harts have no such mode      |

Extensions without a KVM id cannot be switched. Each is on while all it needs and brings is on, and, where the
VM was given the bundle that brings it, while that bundle is on: Zmmul goes with M, B with Zba, Zbb and Zbs.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from functools import cached_property

from coordinator.host import HostModel
from coordinator.machine import Machine
from coordinator.refusal import Refusal
from coordinator.registers import SBI_OFF_BY_DEFAULT, Class, RegisterId, SbiState
from hart.isa.extensions import REGISTRY, Extension, dependents, requirements

MASK_64 = (1 << 64) - 1


@dataclass
class Vcpu:
    """One vCPU.

    Attributes:
        machine: the VM.
        hart: which of its harts.
        stored: registers that nothing but ONE_REG reads, by (class, subtype, index); absent ones have
            defaults.
        sbi: SBI extensions switched on, by KVM name.

    """

    machine: Machine
    hart: int
    stored: dict[tuple[int, int | None, int], int] = field(default_factory=dict)
    sbi: set[str] = field(default_factory=set)

    @property
    def host(self) -> HostModel:
        """The simulated host."""
        return self.machine.spec.host

    @cached_property
    def given(self) -> frozenset[str]:
        """The host's extensions."""
        return self.host.offers(self.machine.spec.reservation_set_size_exp)

    @property
    def enabled(self) -> frozenset[str]:
        """The extensions switched on."""
        return self.machine.get_extensions(self.hart)

    @property
    def has_run(self) -> bool:
        """KVM's ran_atleast_once."""
        return self.machine.has_run(self.hart)

    def offers(self, row: Extension) -> bool:
        """Whether the host has what KVM looks for before it offers this extension."""
        return row.required_host in self.given

    def reset(self) -> None:
        """Switch on what KVM switches on when it makes a vCPU: all that the host has and may be switched
        on."""
        self._settle(
            frozenset(
                row.name
                for row in REGISTRY.values()
                if row.kvm is not None and self.offers(row) and self.host.allows(row.enable)
            )
        )
        self.sbi = set(self.host.sbi_extensions) - SBI_OFF_BY_DEFAULT
        self.stored.clear()

    def switch(self, row: Extension, on: bool) -> None:
        """Switch an extension that has a KVM id and that the host offers, whether or not the vCPU has run.

        Raises:
            Refusal: EINVAL, the rules do not allow it; says which.

        """
        reason = self._why_not(row, on)
        if reason:
            raise Refusal(errno.EINVAL, f"{row.name} cannot be switched {'on' if on else 'off'}: {reason}")
        self._settle(self.enabled | {row.name} if on else self.enabled - {row.name})

    def switch_sbi(self, name: str, on: bool) -> None:
        """Switch an available SBI extension; switching one off resets its state registers."""
        if on:
            self.sbi.add(name)
            return
        self.sbi.discard(name)
        for key in [k for k in self.stored if k[0] == Class.SBI_STATE and SbiState(k[1] or 0).name == name]:
            del self.stored[key]

    def recall(self, register: RegisterId, default: int = 0) -> int:
        """A stored register."""
        return self.stored.get((register.kind, register.subtype, register.index), default)

    def keep(self, register: RegisterId, value: int) -> None:
        """Store a register."""
        self.stored[register.kind, register.subtype, register.index] = value

    def _why_not(self, row: Extension, on: bool) -> str:
        if self.machine.spec.rules == "kvm" or not row.implemented:
            rule = row.enable if on else row.disable
            return "" if self.host.allows(rule) else f"KVM allows it {rule.value}"
        if on:
            missing = sorted(requirements(row.name, self.enabled) & _SWITCHED - self.enabled)
            return f"it needs {', '.join(missing)}; switch that on first" if missing else ""
        if row.name == "I":
            return "every hart needs it"
        users = sorted(dependents(row.name, self.enabled) & _SWITCHED)
        return f"{', '.join(users)} cannot go without it; switch that off first" if users else ""

    def _settle(self, switched: frozenset[str]) -> None:
        """Make `switched` the extensions that have an id, and let those without one follow."""
        on = switched & _SWITCHED
        followers = self.given - _SWITCHED
        settled = on | followers
        while True:
            off = {name for name in settled & followers if not self._follows(name, settled)}
            if not off:
                break
            settled -= off
        self.machine.set_extensions(self.hart, settled)

    def _follows(self, name: str, on: frozenset[str]) -> bool:
        if not requirements(name, on) <= on:
            return False
        bringers = {e for e in self.given if name in REGISTRY[e].implies}
        return not bringers or bool(bringers & on)


_SWITCHED = frozenset(row.name for row in REGISTRY.values() if row.kvm is not None)


def host_for(wanted: frozenset[str], offered: frozenset[str]) -> frozenset[str]:
    """What of `offered` a host must have for switches alone to lead to exactly `wanted`, extensions without
    id too.

    Of those without an id, only the wanted ones; and no bundle that is off but would take a wanted one with
    it.
    """
    followers = offered - _SWITCHED
    bundles = {
        name for name in offered - wanted if not {*REGISTRY[name].implies}.isdisjoint(followers & wanted)
    }
    return offered - (followers - wanted) - bundles


def plan(current: frozenset[str], wanted: frozenset[str]) -> list[tuple[Extension, bool]]:
    """The switches that lead from `current` to `wanted`, in an order in which no dependency breaks on the
    way.

    Only extensions with a KVM id appear; the others follow. Where `wanted` itself breaks a dependency, the
    switch that does so is there all the same, and will be refused.
    """
    steps: list[tuple[Extension, bool]] = []
    for on in (False, True):
        left = (wanted - current if on else current - wanted) & _SWITCHED
        while left:
            free = {
                name
                for name in left
                if not (requirements(name, wanted) if on else dependents(name, left)) & left
            }
            batch = sorted(free or left)
            steps += [(REGISTRY[name], on) for name in batch]
            left -= frozenset(batch)
    return steps
