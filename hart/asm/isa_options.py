"""The enabled extensions as sources see and set them: `.option arch`, the compiler's macros, the name in messages.

Owns these three spellings. What an extension is and brings, `hart.isa.extensions` knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from hart.asm.diagnostics import Problem
from hart.isa.extensions import REGISTRY, UnknownExtension, effective, find
from hart.isa.isa_string import canonical

_BUNDLES = ("A", "B", "C")
"""Letters that are on when all they bring is."""

_OLD_MACROS = {"A": ("atomic",), "C": ("compressed",), "M": ("mul", "div", "muldiv")}


def _with_bundles(extensions: Iterable[str]) -> frozenset[str]:
    on = effective(extensions)
    return on.union(b for b in _BUNDLES if on.issuperset(REGISTRY[b].implies))


def short_isa(extensions: Iterable[str]) -> str:
    """The shortest ISA string, e.g. `rv64imac_zacas`: without what others bring, or a plain `i` does."""
    on = _with_bundles(extensions) - {"I", "Zicsr", "Zifencei", "Zicntr", "Zihpm"}
    order = canonical(e for e in on if not any(e in REGISTRY[other].implies for other in on))
    letters = "".join(e.lower() for e in order if len(e) == 1)
    return "_".join([f"rv64i{letters}", *(e.lower() for e in order if len(e) > 1)])


def predefined(extensions: Iterable[str]) -> dict[str, str]:
    """What a RISC-V compiler defines for assembly sources (RISC-V C API, "Preprocessor Definitions")."""
    found = {"__ASSEMBLER__": "1", "__riscv": "1", "__riscv_xlen": "64"}
    for extension in _with_bundles(extensions):
        for name in (extension.lower(), *_OLD_MACROS.get(extension, ())):
            found[f"__riscv_{name}"] = "1"
    return found


def changed(extensions: frozenset[str], changes: Iterable[str]) -> frozenset[str]:
    """The extensions after `.option arch, +x, -y`.

    Raises:
        Problem: a change that is not `+extension` or `-extension`.

    """
    for change in changes:
        try:
            named = find(change[1:])
        except UnknownExtension as error:
            raise Problem(str(error)) from None
        if change[0] == "+":
            extensions = effective({*extensions, named.name})
        elif change[0] == "-":
            extensions -= effective([named.name])
        else:
            raise Problem(f"cannot read {change!r}; write +extension or -extension")
    return extensions
