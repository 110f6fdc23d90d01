"""Switching ISA extensions: what a vCPU starts with, which switch is allowed, and what follows from one.

Owns the rules. Holds no vCPU's state and gives no errno (`coordinator.onereg`).

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

from dataclasses import dataclass
from functools import cache

from coordinator.host import HostModel, Rules
from coordinator.spec import VmSpec
from hart.isa.extensions import REGISTRY, Extension, dependents, requirements

_SWITCHED = frozenset(row.name for row in REGISTRY.values() if row.kvm is not None)


@dataclass(frozen=True, slots=True)
class Switches:
    """The switches of one VM's vCPUs.

    Attributes:
        host: the simulated host.
        rules: the VM's rules.
        given: the host's extensions.

    """

    host: HostModel
    rules: Rules
    given: frozenset[str]

    def offers(self, row: Extension) -> bool:
        """Whether the host has what KVM looks for before it offers this extension."""
        return row.required_host in self.given

    def initial(self) -> frozenset[str]:
        """What KVM switches on when it makes a vCPU: all that the host has and may be switched on."""
        return self._settled(
            frozenset(
                row.name
                for row in REGISTRY.values()
                if row.kvm is not None and self.offers(row) and self.host.allows(row.enable)
            )
        )

    def after(self, row: Extension, on: bool, enabled: frozenset[str]) -> frozenset[str]:
        """What is on after a switch that is allowed."""
        return self._settled(enabled | {row.name} if on else enabled - {row.name})

    def why_not(self, row: Extension, on: bool, enabled: frozenset[str]) -> str:
        """Why an extension that the host offers may not be switched where `enabled` are on; empty if it may."""
        if self.rules == "kvm" or not row.implemented:
            rule = row.enable if on else row.disable
            return "" if self.host.allows(rule) else f"KVM allows it {rule.value}"
        if on:
            missing = sorted(requirements(row.name, enabled) & _SWITCHED - enabled)
            return f"it needs {', '.join(missing)}; switch that on first" if missing else ""
        if row.name == "I":
            return "every hart needs it"
        users = sorted(dependents(row.name, enabled) & _SWITCHED)
        return f"{', '.join(users)} cannot go without it; switch that off first" if users else ""

    def _settled(self, switched: frozenset[str]) -> frozenset[str]:
        """`switched` as far as they have an id, with those without one that follow."""
        followers = self.given - _SWITCHED
        settled = switched & _SWITCHED | followers
        while off := {name for name in settled & followers if not self._follows(name, settled)}:
            settled -= off
        return settled

    def _follows(self, name: str, on: frozenset[str]) -> bool:
        if not requirements(name, on) <= on:
            return False
        bringers = {e for e in self.given if name in REGISTRY[e].implies}
        return not bringers or bool(bringers & on)


def switches_of(spec: VmSpec) -> Switches:
    """The switches of a VM's vCPUs."""
    return Switches(spec.host, spec.rules, spec.host.offers(spec.reservation_set_size_exp))


@dataclass(frozen=True, slots=True)
class Reached:
    """Where the switches of `plan` lead from what KVM switches on.

    Attributes:
        enabled: what is on in the end.
        refused: the switches that are refused: extension, on or off, why.

    """

    enabled: frozenset[str]
    refused: tuple[tuple[str, bool, str], ...]


@cache
def reach(switches: Switches, wanted: frozenset[str]) -> Reached:
    """Try to get to `wanted`, as a client does that goes on after a refusal."""
    enabled = switches.initial()
    refused = []
    for row, on in plan(enabled, wanted):
        if reason := switches.why_not(row, on, enabled):
            refused.append((row.name, on, reason))
        else:
            enabled = switches.after(row, on, enabled)
    return Reached(enabled, tuple(refused))


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
