"""The vCPU as ONE_REG sees it: a hart of a machine plus the registers that only a hypervisor keeps.

Owns the stored registers and what is switched on. Decodes no register id (`coordinator.onereg`), knows no rule of
switching (`coordinator.switching`) and runs nothing.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from functools import cached_property

from coordinator.host import HostModel
from coordinator.machine import Machine
from coordinator.refusal import Refusal
from coordinator.registers import SBI_OFF_BY_DEFAULT, Class, RegisterId, SbiState
from coordinator.switching import Switches, switches_of
from hart.isa.extensions import Extension

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
    def switches(self) -> Switches:
        """What may be switched here."""
        return switches_of(self.machine.spec)

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
        return self.switches.offers(row)

    def reset(self) -> None:
        """Switch on what KVM switches on when it makes a vCPU: all that the host has and may be switched
        on."""
        self.machine.set_extensions(self.hart, self.switches.initial())
        self.sbi = set(self.host.sbi_extensions) - SBI_OFF_BY_DEFAULT
        self.stored.clear()

    def switch(self, row: Extension, on: bool) -> None:
        """Switch an extension that has a KVM id and that the host offers, whether or not the vCPU has run.

        Raises:
            Refusal: EINVAL, the rules do not allow it; says which.

        """
        reason = self.switches.why_not(row, on, self.enabled)
        if reason:
            raise Refusal(errno.EINVAL, f"{row.name} cannot be switched {'on' if on else 'off'}: {reason}")
        self.machine.set_extensions(self.hart, self.switches.after(row, on, self.enabled))

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
