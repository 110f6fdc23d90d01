"""Why each ISA extension of a configured VM is on or off, in words. Decides none: `coordinator.config.model` does."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.config.model import Isa
from hart.isa.extensions import REGISTRY, implemented, requirements
from hart.isa.isa_string import canonical, explain


@dataclass(frozen=True, slots=True)
class Decision:
    """One extension: on or off, and why."""

    name: str
    on: bool
    why: str


def decisions(isa: Isa, reservation_set_size_exp: int) -> list[Decision]:
    """Every extension of the registry, in canonical order.

    Raises:
        ValueError: as `Isa.extensions`.

    """
    on = isa.extensions(reservation_set_size_exp)
    default = implemented(reservation_set_size_exp)
    base = dict.fromkeys(default, "by default") if isa.base is None else explain(isa.base)
    said = "" if isa.base is None else "isa.base: "
    made = []
    for name in canonical(REGISTRY):
        if name in on:
            why = _why_on(name, on, isa, {e: said + reason for e, reason in base.items()})
        else:
            why = _why_off(name, on, isa, default, frozenset(base))
        made.append(Decision(name, name in on, why))
    return made


def _why_on(name: str, on: frozenset[str], isa: Isa, base: dict[str, str]) -> str:
    if isa.switches.get(name):
        return f"isa.{name} = true"
    if name in base:
        return base[name]
    return f"with {next(e for e in canonical(on) if name in requirements(e, on))}"


def _why_off(name: str, on: frozenset[str], isa: Isa, default: frozenset[str], base: frozenset[str]) -> str:
    if isa.switches.get(name) is False:
        return f"isa.{name} = false"
    if not REGISTRY[name].implemented:
        return "hartstorm does not implement it"
    if name not in default:
        return "the reservation set is too large"
    if name not in base:
        return "not in isa.base"
    missing = sorted(requirements(name, on) - on)
    return f"needs {', '.join(missing)}" if missing else "its bundle is off"
