"""ISA strings: text to extension sets and back.

Owns the naming rules (unprivileged manual, "ISA Extension Naming Conventions") as the Linux kernel reads them
(`arch/riscv/kernel/cpufeature.c`), with its leniency turned into errors. Knows nothing of VMs. Extension lists of
device trees are `hart.isa.extension_list`'s.

Where this reader departs from the kernel's, it is stricter: unknown names, vendor (X) extensions and missing
dependencies are errors here, where the kernel ignores or drops them.

The plain `i` of an ISA string stands for version 2.0 of the base, which held the CSR instructions, FENCE.I
and the counters: as for the kernel, `rv64i` brings Zicsr, Zifencei, Zicntr and Zihpm. `rv64i2p1` brings none.
A profile's name stands for its mandatory extensions, as for compilers (`-march=rva22u64_zacas`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hart.isa.extensions import REGISTRY, UnknownExtension, effective, find, unmet
from hart.isa.profiles import PROFILES
from hart.spelling import nearest

_BASE_2_0 = ("Zicsr", "Zifencei", "Zicntr", "Zihpm")
_G = ("I", "M", "A", "F", "D", "Zicsr", "Zifencei")
_LETTER_ORDER = "iemafdqlcbkjtpvnhsu"
"""The privilege modes come last: an s with another letter than u after it would begin a long name."""

_LETTER = re.compile(r"([a-z])(?:(\d+)(?:p(\d+))?)?")
_LETTERS_FROM_S = re.compile(r"su?h?(?:_|$)")
_VERSION = re.compile(r"\d+(?:p\d+)?$")


class IsaError(ValueError):
    """An ISA string or extension list that cannot be read or breaks a rule; says which and where."""


def parse(text: str) -> frozenset[str]:
    """The extensions that an ISA string such as `rv64imac_zacas` or `rva22u64_zacas` stands for, with all they bring.

    Case does not matter, version suffixes are accepted, the order is free. The result may hold extensions
    that hartstorm does not execute: see `hart.isa.extensions.implemented`.

    Raises:
        IsaError: not RV64, an unknown name (with its position and the nearest known), or a broken dependency.

    """
    return frozenset(explain(text))


def explain(text: str) -> dict[str, str]:
    """The extensions of `parse(text)` in canonical order, each with why it is on: `named`, or `with A`.

    Raises:
        IsaError: as `parse`.

    """
    low = text.strip().lower()
    profile = low.partition("_")[0]
    if profile in PROFILES:
        reasons = dict.fromkeys(explain(PROFILES[profile]), f"with {profile.upper()}")
        reasons |= dict.fromkeys(_names(text, len(profile)), "named")
    else:
        reasons = _with_base(_names(text, _base_end(text)))
    add_brought(reasons)
    require_sound(text, reasons)
    return {name: reasons[name] for name in canonical(reasons)}


def _with_base(named: dict[str, tuple[int, int] | None]) -> dict[str, str]:
    """What stands in an ISA string, and what a plain I or G in it stands for."""
    reasons = dict.fromkeys(named, "named")
    if "I" in named and named["I"] is None:
        reasons |= {name: "with I (version 2.0)" for name in _BASE_2_0 if name not in reasons}
    if "G" in named:
        reasons = dict.fromkeys((*_G, *_BASE_2_0), "with G") | reasons
        del reasons["G"]
    return reasons


def format_isa(extensions: Iterable[str]) -> str:
    """The canonical ISA string, every extension spelled out; `parse` gives the same set back.

    The base is written `rv64i2p1` where the set lacks something that a plain `i` would bring.
    """
    order = canonical(extensions)
    letters = "".join(name.lower() for name in order if len(name) == 1 and name != "I")
    base = "i" if set(_BASE_2_0) <= set(order) else "i2p1"
    return "_".join([f"rv64{base}{letters}", *(name.lower() for name in order if len(name) > 1)])


def canonical(extensions: Iterable[str]) -> list[str]:
    """Extension names in the manual's canonical order."""
    return sorted(extensions, key=_canonical_key)


def _canonical_key(name: str) -> tuple[int, int, str]:
    low = name.lower()
    if len(low) == 1:
        return 0, _LETTER_ORDER.index(low), low
    if low[0] == "z":
        return 1, _LETTER_ORDER.index(low[1]), low
    return (3 if low.startswith("sm") else 2), 0, low


def _base_end(text: str) -> int:
    """Where the names begin: behind `rv64`."""
    low = text.strip().lower()
    if low.startswith("rv32"):
        raise IsaError(f"{text!r}: hartstorm's harts are RV64; begin with rv64")
    if not low.startswith("rv64") or low[4:5] not in ("i", "g"):
        hint = nearest(low.partition("_")[0], PROFILES) if low[:2] == "rv" and low[2:3].isalpha() else ""
        raise IsaError(
            f"{text!r}: an ISA string begins with rv64i or rv64g, or with a profile: {', '.join(PROFILES)}{hint}"
        )
    return 4


def _names(text: str, at: int) -> dict[str, tuple[int, int] | None]:
    """Names in the string from `at` on, with the version written after them; `G` stays `G`."""
    low = text.strip().lower()
    found: dict[str, tuple[int, int] | None] = {}
    while at < len(low):
        if low[at] == "_":
            at += 1
        elif _begins_long_name(low, at):
            end = low.find("_", at)
            end = len(low) if end < 0 else end
            found[_long_name(text, low[at:end], at)] = None
            at = end
        else:
            letter = _LETTER.match(low, at)
            if letter is None or (letter[1].upper() not in REGISTRY and letter[1] != "g"):
                raise IsaError(f"{text!r}: unknown extension {text.strip()[at]!r} at character {at + 1}")
            version = (int(letter[2]), int(letter[3] or 0)) if letter[2] else None
            # version 2.0 of the base is the plain one
            found[letter[1].upper()] = None if version == (2, 0) else version
            at = letter.end()
    return found


def _begins_long_name(low: str, at: int) -> bool:
    # "su" and "suh" are letters, as old device trees write them; any other s before a letter begins a long name.
    if low[at] == "s":
        return low[at + 1 : at + 2].isalpha() and _LETTERS_FROM_S.match(low, at) is None
    return low[at] in "zx"


def _long_name(text: str, name: str, at: int) -> str:
    for spelling in (name, _VERSION.sub("", name)):
        try:
            return find(spelling).name
        except UnknownExtension:
            continue
    if name.startswith("x"):
        raise IsaError(f"{text!r}: vendor extension {name!r} at character {at + 1}: hartstorm has none")
    raise IsaError(f"{text!r}: unknown extension {name!r} at character {at + 1}{nearest(name, REGISTRY)}")


def add_brought(reasons: dict[str, str]) -> None:
    """Add to extensions and why each is on what they bring, with the bringer as the reason."""
    for name in canonical(effective(reasons)):
        if name not in reasons:
            bringer = next(e for e in canonical(effective(reasons)) if name in _brings(e))
            reasons[name] = f"with {bringer}"


def _brings(name: str) -> Sequence[str]:
    row = REGISTRY[name]
    return (*row.implies, *(brought for _, brought in row.implies_with))


def require_sound(text: str, names: Iterable[str]) -> None:
    """Raises IsaError if the extensions break a dependency; `text` is what stood for them."""
    broken = unmet(names)
    if broken:
        raise IsaError(f"{text!r}: {'; '.join(broken)}")
