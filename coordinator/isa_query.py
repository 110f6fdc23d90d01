"""Why each ISA extension of a configured VM is on or off, in words. Decides none: `coordinator.config` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.config.isa import SMALLEST_SET_EXP, ExtensionSet
from coordinator.config.model import Vm
from hart.isa.extensions import REGISTRY, implemented, requirements
from hart.isa.isa_string import canonical, explain


@dataclass(frozen=True, slots=True)
class Decision:
    """One extension: on or off, and why."""

    name: str
    on: bool
    why: str


def decisions(vm: Vm, hart: int) -> list[Decision]:
    """Every extension of the registry, in canonical order, as it is in a hart of the VM."""
    set_exp = vm.reservation.reservation_set_size_exp
    host = _of_host(vm)
    has = vm.host_extensions
    lacks = {name: f"the host lacks it: {why}" for name, why in host.items() if name not in has}
    return _decisions(vm.isa.of(hart), vm.extensions_of(hart), has, "isa", lacks, set_exp)


def _of_host(vm: Vm) -> dict[str, str]:
    """Why each extension is in the host or is not."""
    can = implemented(SMALLEST_SET_EXP)
    isa = vm.host.isa
    made = _decisions(isa, isa.extensions(SMALLEST_SET_EXP), can, "host.isa", {}, SMALLEST_SET_EXP)
    return {decision.name: decision.why for decision in made}


def _decisions(
    isa: ExtensionSet,
    on: frozenset[str],
    default: frozenset[str],
    table: str,
    absent: Mapping[str, str],
    reservation_set_size_exp: int,
) -> list[Decision]:
    """Why each extension is in `on`, which is what `isa` makes of `default`; `absent` says why some cannot be."""
    base = dict.fromkeys(default, "by default") if isa.base is None else explain(isa.base)
    said = "" if isa.base is None else f"{table}.base: "
    reasons = {name: said + reason for name, reason in base.items()}
    can = implemented(reservation_set_size_exp)

    def why_on(name: str) -> str:
        if isa.switches.get(name):
            return f"{table}.{name} = true"
        if name in reasons:
            return reasons[name]
        return f"with {next(e for e in canonical(on) if name in requirements(e, on))}"

    def why_off(name: str) -> str:
        if isa.switches.get(name) is False:
            return f"{table}.{name} = false"
        if not REGISTRY[name].implemented:
            return "hartstorm does not implement it"
        if name not in can:
            return "the reservation set is too large"
        if name in absent:
            return absent[name]
        if name not in base:
            return f"not in {table}.base"
        missing = sorted(requirements(name, on) - on)
        return f"needs {', '.join(missing)}" if missing else "its bundle is off"

    return [
        Decision(name, name in on, why_on(name) if name in on else why_off(name))
        for name in canonical(REGISTRY)
    ]
