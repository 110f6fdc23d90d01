"""What the values of registers stand for, in words, where a number alone says little. Reads no register."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordinator.onereg.state import MODE_S
from coordinator.onereg.timer import ON
from coordinator.registers import SBI_EXTENSIONS, WORD_BITS, decode
from hart.causes import cause_name
from hart.isa.extensions import BY_KVM_ID

_INTERRUPTS = {1: "software", 5: "timer", 9: "external"}
"""S-mode's interrupts by their bit of sie and sip."""


def meaning(number: int, value: int) -> str:
    """What a value of the register with this id stands for; empty where nothing is to be added."""
    found = _MEANINGS.get(decode(number).name)
    return found(value) if found else ""


def _names(of_bit: Iterable[tuple[int, str]]) -> Callable[[int], str]:
    pairs = tuple(of_bit)
    return lambda value: " ".join(name for bit, name in pairs if value >> bit & 1)


def _extensions(word: int) -> list[tuple[int, str]]:
    rows = [(i - WORD_BITS * word, row.name) for i, row in sorted(BY_KVM_ID.items())]
    return [(bit, name) for bit, name in rows if 0 <= bit < WORD_BITS]


_MEANINGS: dict[str, Callable[[int], str]] = {
    "config.isa": _names((i, chr(ord("A") + i)) for i in range(26)),
    "core.mode": lambda value: "S" if value == MODE_S else "U",
    "csr.scause": lambda value: cause_name(value) if value else "",
    "csr.sie": _names(_INTERRUPTS.items()),
    "csr.sip": _names(_INTERRUPTS.items()),
    "timer.state": lambda value: "on" if value == ON else "off",
    "isa_ext.multi_en.0": _names(_extensions(0)),
    "isa_ext.multi_en.1": _names(_extensions(1)),
    "sbi_ext.multi_en.0": _names(enumerate(SBI_EXTENSIONS)),
}
