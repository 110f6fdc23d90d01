"""Extension lists of device trees (`riscv,isa-base` and `riscv,isa-extensions`): to extension sets and back.

Owns the binding's rules (Linux `Documentation/devicetree/bindings/riscv/extensions.yaml`). Knows no other property of a
device tree and no VM.

A list is literal: it brings only what bundles bring. Where this reader departs from the kernel's, it is stricter: what
the binding's schema would refuse, unknown and mis-cased names and missing dependencies are errors, where the kernel
ignores or drops them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from hart.isa.extensions import REGISTRY, UnknownExtension, effective, find
from hart.isa.isa_string import IsaError, add_brought, canonical, require_sound

ISA_BASE = "rv64i"
"""The only value of `riscv,isa-base` that hartstorm knows."""


@dataclass(frozen=True, slots=True)
class ListRule:
    """Where one of `where` (with `all`, every one) is listed, the list must hold as many of `of` as `count` says."""

    where: tuple[str, ...]
    count: str
    of: tuple[str, ...]
    all: bool = False

    def broken_by(self, listed: frozenset[str]) -> str:
        """The rule in words where the list breaks it, else nothing."""
        found = [name for name in self.where if name in listed]
        if not found or (self.all and len(found) < len(self.where)):
            return ""
        have = sum(name in listed for name in self.of)
        if {"all of": have == len(self.of), "exactly one of": have == 1, "none of": have == 0}[self.count]:
            return ""
        return f"{', '.join(found)}: the list must hold {self.count} {', '.join(self.of)}"


LIST_RULES = (
    ListRule(("zacas",), "all of", ("zaamo",)),  # the string itself: a does not do
    ListRule(("za64rs",), "exactly one of", ("zalrsc", "a")),
    ListRule(("ziccrse",), "exactly one of", ("zalrsc", "a")),
    ListRule(("ziccamoa",), "exactly one of", ("zaamo", "a")),
    ListRule(("d",), "all of", ("f",)),
    ListRule(("b",), "all of", ("zba", "zbb", "zbs")),
    ListRule(("zba", "zbb", "zbs"), "all of", ("b",), all=True),
    ListRule(("zcb",), "all of", ("zca",)),
    ListRule(("zcmop",), "all of", ("zca",)),
    ListRule(("zcd",), "all of", ("zca", "d")),
    ListRule(("zcf",), "all of", ("zca", "f")),
    ListRule(("zfbfmin",), "all of", ("f",)),
    ListRule(("zclsd",), "all of", ("zilsd", "zca")),
    ListRule((ISA_BASE,), "none of", ("zcf", "zilsd", "zclsd")),
)
"""The binding's rules. The name of the base stands in the list for them, so that rules may ask for it."""


def broken_rules(listed: Iterable[str]) -> list[str]:
    """The rules that a `riscv,isa-extensions` list breaks beside `riscv,isa-base = "rv64i"`."""
    names = frozenset(listed) | {ISA_BASE}
    return [said for rule in LIST_RULES if (said := rule.broken_by(names))]


def parse_extension_list(base: str, names: Iterable[str]) -> frozenset[str]:
    """The extensions that `riscv,isa-base` and `riscv,isa-extensions` stand for, with all they bring.

    Raises:
        IsaError: base is not rv64i, an unknown or mis-cased name, a broken rule of the binding or a broken dependency.

    """
    return frozenset(explain_extension_list(base, names))


def explain_extension_list(base: str, names: Iterable[str]) -> dict[str, str]:
    """The extensions of `parse_extension_list` in canonical order, each with why it is on: `listed`, or `with A`.

    Raises:
        IsaError: as `parse_extension_list`.

    """
    if base != ISA_BASE:
        raise IsaError(f"riscv,isa-base = {base!r}: only {ISA_BASE!r} is known")
    listed = list(names)
    reasons: dict[str, str] = {}
    for at, name in enumerate(listed):
        try:
            row = find(name)
        except UnknownExtension as e:
            raise IsaError(f"riscv,isa-extensions[{at}]: {e}") from None
        if row.dt_name != name:
            raise IsaError(f"riscv,isa-extensions[{at}]: {name!r} must be written {row.dt_name!r}")
        reasons[row.name] = "listed"
    text = ", ".join(listed)
    if broken := broken_rules(listed):
        raise IsaError(f"{text!r}: {'; '.join(broken)}")
    add_brought(reasons)
    require_sound(text, reasons)
    return {name: reasons[name] for name in canonical(reasons)}


def extension_list(extensions: frozenset[str]) -> list[str]:
    """The `riscv,isa-extensions` of a hart: everything spelled out, but for what the binding forbids.

    It forbids some pairs of a bundle and its part (`a` beside `zalrsc` where `ziccrse` is listed). Then the
    shortest omission that obeys is taken; what is left out is brought by what is listed, or only names what
    is.

    Raises:
        ValueError: no list obeys; says which rule.

    """
    on = effective(extensions)
    if on >= {"Zba", "Zbb", "Zbs"}:
        on |= {"B"}
    everything = [REGISTRY[name].dt_name for name in canonical(on)]
    may_go = [name for name in ("zalrsc", "zaamo", "a") if name in everything and "a" in everything]
    for count in range(len(may_go) + 1):
        for gone in itertools.combinations(may_go, count):
            kept = [name for name in everything if name not in gone]
            if not broken_rules(kept) and effective(find(name).name for name in kept) | {"A"} >= on:
                return kept
    raise ValueError("; ".join(broken_rules(everything)))
