"""`[vm.isa]` and `[host]`: which ISA extensions harts have, and which their simulated host has, as data.

Whether the host and the VM's rules let a VM have what it asks for is `coordinator.config.offer`'s.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, create_model, field_validator, model_validator

from coordinator.config.table import Table
from coordinator.host import U64
from hart.isa import extensions, isa_string

SMALLEST_SET_EXP = 3
"""The smallest reservation set that a VM may have, as an exponent of 2."""


def hart_number(text: str) -> str:
    """A hart number as a key; raises ValueError."""
    if not (text.isascii() and text.isdigit() and str(int(text)) == text):
        raise ValueError("the key is a hart number: 0, 1, ...")
    return text


HartNumber = Annotated[str, AfterValidator(hart_number)]


@cache
def _extensions(
    base: str | None,
    switches: frozenset[tuple[str, bool]],
    offered: frozenset[str] | None,
    reservation_set_size_exp: int,
) -> frozenset[str]:
    possible = extensions.implemented(reservation_set_size_exp)
    default = possible if offered is None else offered
    asked = extensions.effective(name for name, on in switches if on)
    on = (default if base is None else isa_string.parse(base)) | asked
    for name in (name for name, on in switches if not on):
        gone = {name, *(set(extensions.REGISTRY[name].implies) - asked)}
        while more := {d for g in gone for d in extensions.dependents(g, on)} - gone - asked:
            gone |= more
        on -= gone
    if broken := extensions.unmet(on):
        raise ValueError("; ".join(broken))
    if missing := on - extensions.implemented(SMALLEST_SET_EXP):
        known = ", ".join(isa_string.canonical(possible))
        raise ValueError(f"hartstorm does not execute {', '.join(sorted(missing))}; it has {known}")
    if unkept := on - possible:
        names = ", ".join(sorted(unkept))
        raise ValueError(f"reservation_set_size_exp = {reservation_set_size_exp} is too large for {names}")
    return on


_extension_fields: dict[str, Any] = {
    name: (bool | None, Field(default=None, description=row.about))
    for name, row in extensions.REGISTRY.items()
}
_ExtensionKeys = create_model("_ExtensionKeys", __base__=Table, **_extension_fields)


class ExtensionSet(_ExtensionKeys):  # type: ignore[valid-type, misc] # a key per row of the registry
    """A set of ISA extensions.

    Beside `base`, every known extension is a key of its own, by its canonical name: `Zacas = true`,
    `Zabha = false`. Such a key is applied after `base`. Switching an extension off switches off what it
    stands for (`A`: `Zaamo` and `Zalrsc`) and what needs it, but for what another key asks for.
    """

    base: str | None = None
    """ISA string to start from, e.g. `rv64imac_zicsr_zifencei`. Default: all that there can be."""

    @property
    def switches(self) -> dict[str, bool]:
        """The extensions with a key of their own."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in extensions.REGISTRY}
        return {name: on for name, on in given.items() if on is not None}

    def extensions(
        self, reservation_set_size_exp: int, offered: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Every extension that is on, with all it brings; `offered` are on without `base`, by default all implemented.

        Raises:
            ValueError: an unreadable ISA string, an extension that is on without what it needs, or one that
                hartstorm does not execute.

        """
        switches = frozenset(self.switches.items())
        return _extensions(self.base, switches, offered, reservation_set_size_exp)

    @field_validator("base")
    @classmethod
    def _readable(cls, base: str | None) -> str | None:
        if base is not None:
            isa_string.parse(base)
        return base


class Isa(ExtensionSet):
    """Which ISA extensions the VM has. An instruction of one it lacks is an illegal instruction there.

    They are switched as any client of the control channel switches them, after the VM was made with what KVM would
    switch on: all that the host has.
    """

    harts: dict[HartNumber, ExtensionSet] = {}
    """Harts that differ, by number: `[vm.isa.harts.1]` is laid over `[vm.isa]` for hart 1."""

    def of(self, hart: int) -> ExtensionSet:
        """What hart `hart` is asked to have."""
        own = self.harts.get(str(hart))
        if own is None:
            return self
        keys = {"base": self.base, **self.switches}
        keys |= {key: getattr(own, key) for key in own.model_fields_set}
        laid_over: ExtensionSet = ExtensionSet.model_validate(keys)
        return laid_over

    def first_harts(self, harts: int) -> list[int]:
        """Of so many harts, the first of each kind: the ones with a table of their own, and one without."""
        own = sorted(int(hart) for hart in self.harts)
        return [*(hart for hart in range(min(harts, len(own) + 1)) if hart not in own)][:1] + own

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.extensions(SMALLEST_SET_EXP)
        for hart in self.harts:
            try:
                self.of(int(hart)).extensions(SMALLEST_SET_EXP)
            except ValueError as error:
                raise ValueError(f"harts.{hart}: {error}") from error
        return self


class HostIsa(ExtensionSet):
    """Which ISA extensions the host's harts have. A VM can have no others."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.extensions(SMALLEST_SET_EXP)
        return self


class Host(Table):
    """The simulated host: what the VM's hypervisor would find in the machine below it."""

    isa: HostIsa = HostIsa.model_construct()
    """ISA extensions. Default: all that hartstorm implements."""
    mvendorid: U64 = 0
    """What the CSR mvendorid reads. Default 0."""
    marchid: U64 = 0
    """What the CSR marchid reads. Default 0."""
    mimpid: U64 = 0
    """What the CSR mimpid reads. Default 0."""
    timer_frequency_hz: int = Field(default=10_000_000, ge=1, le=10**9)
    """Ticks per second of the time CSR and the CLINT. Default 10000000."""
