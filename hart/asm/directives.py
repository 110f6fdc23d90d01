"""Directives that make data, symbols and sections: one function each, in one table.

Owns all directives but those that steer the reading of lines (`hart.asm.assembler`): conditions, macros,
includes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from hart.asm.context import Context
from hart.asm.diagnostics import Problem
from hart.asm.expression import Binary, Name
from hart.asm.isa_options import changed
from hart.asm.sections import Align, Binding, Fill, Mark, Org
from hart.asm.source import split_operands, string
from hart.spelling import nearest

Directive = Callable[[Context, list[str]], None]

DEFAULT_FLAGS = (
    (".text", "ax"), (".rodata", "a"), (".srodata", "a"),
    (".data", "aw"), (".sdata", "aw"), (".bss", "aw"), (".sbss", "aw"), (".tohost", "aw"),
    (".comment", ""), (".note", ""), (".debug", ""), (".riscv.attributes", ""), (".eh_frame", ""),
)  # fmt: skip
"""Flags by the beginning of a section's name; a section without a, of which nothing is loaded, has none."""
_OTHER_FLAGS = "aw"

IGNORED = frozenset(
    {
        ".type", ".file", ".loc", ".ident", ".attribute", ".hidden", ".protected", ".internal", ".addrsig",
        ".addrsig_sym", ".variant_cc", ".print", ".warning", ".line", ".version",
    }
)  # fmt: skip
"""Directives that say nothing about the image; `.cfi_*` too."""

_LARGEST_ALIGNMENT = 1 << 16
_INTEGERS = {
    **dict.fromkeys((".byte",), 1),
    **dict.fromkeys((".half", ".short", ".2byte", ".hword"), 2),
    **dict.fromkeys((".word", ".long", ".4byte", ".int"), 4),
    **dict.fromkeys((".dword", ".quad", ".8byte"), 8),
}
_FLOATS = {".float": "<f", ".single": "<f", ".double": "<d"}


def _take(operands: list[str], least: int, most: int | None = None) -> list[str]:
    """The operands, filled up with empty ones to `most`."""
    most = least if most is None else most
    if not least <= len(operands) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise Problem(f"takes {count} operand{'' if count == '1' else 's'}, not {len(operands)}")
    return operands + [""] * (most - len(operands))


# Data


def _integers(context: Context, operands: list[str], size: int) -> None:
    for text in operands:
        context.datum(text, size)


def _floats(context: Context, operands: list[str], code: str) -> None:
    for text in operands:
        try:
            context.data(struct.pack(code, float(text)))
        except (ValueError, OverflowError):
            raise Problem(f"{text!r} is not a floating-point number that fits") from None


def _strings(context: Context, operands: list[str], end: bytes) -> None:
    for text in operands:
        context.data(string(text) + end)


def _fill(context: Context, operands: list[str]) -> None:
    count, size, value = _take(operands, 1, 3)
    width = context.constant(size) if size else 1
    if not 0 <= width <= 8:
        raise Problem(f"size {width} is not in 0..8")
    number = context.constant(value) if value else 0
    _add_fill(context, count, (number & (1 << 64) - 1).to_bytes(8, "little")[:width])


def _space(context: Context, operands: list[str]) -> None:
    count, value = _take(operands, 1, 2)
    _add_fill(context, count, bytes([(context.constant(value) if value else 0) & 0xFF]))


def _add_fill(context: Context, count: str, pattern: bytes) -> None:
    parsed = context.expression(count)
    known = context.unit.known(parsed)
    if known is not None and known < 0:
        raise Problem(f"the count {known} is negative")
    context.append(Fill(context.statement, parsed, pattern), None if known is None else known * len(pattern))


def _align(context: Context, operands: list[str], power: bool) -> None:
    amount, value, limit = _take(operands, 1, 3)
    given = context.constant(amount)
    boundary = 1 << given if power and 0 <= given < 64 else given
    if not 0 <= boundary <= _LARGEST_ALIGNMENT or boundary & (boundary - 1):
        top = _LARGEST_ALIGNMENT.bit_length() - 1
        raise Problem(
            f"{given} is not " + (f"in 0..{top}" if power else f"a power of two up to {_LARGEST_ALIGNMENT}")
        )
    if boundary <= 1:
        return
    section = context.unit.section
    section.alignment = max(section.alignment, boundary)
    pattern = bytes([context.constant(value) & 0xFF]) if value else (None if "x" in section.flags else b"\0")
    most = context.constant(limit) if limit else boundary
    at = section.offset
    padding = None if at is None else -at % boundary
    context.append(
        Align(context.statement, boundary, pattern, most),
        None if padding is None else padding if padding <= most else 0,
    )


def _org(context: Context, operands: list[str]) -> None:
    target, value = _take(operands, 1, 2)
    parsed = context.expression(target)
    if context.unit.known(parsed) is None:
        start = context.unit.fresh(Mark(context.unit.section, 0, 0, 0))
        parsed = Binary("-", parsed, Name(start))
    pattern = bytes([(context.constant(value) if value else 0) & 0xFF])
    context.append(Org(context.statement, parsed, pattern), None)


def _instruction_bytes(context: Context, operands: list[str]) -> None:
    """`.insn LENGTH, WORD` or `.insn WORD`: an encoding given as a number."""
    *size, word = _take(operands, 1, 2)[: len(operands)]
    value = context.constant(word)
    length = context.constant(size[0]) if size else 4 if value & 3 == 3 else 2
    if length not in (2, 4):
        raise Problem(f"instruction length {length} is not 2 or 4")
    context.datum(str(value), length)


# Symbols


def symbol_name(text: str) -> str:
    """An operand that must be the name of a symbol.

    Raises:
        Problem: it is not one.

    """
    if (
        not text
        or not (text[0].isalpha() or text[0] in "_.$")
        or text == "."
        or not all(c.isalnum() or c in "_.$" for c in text)
    ):
        raise Problem(f"{text!r} is not the name of a symbol")
    return text


def _binding(context: Context, operands: list[str], binding: Binding) -> None:
    if not operands:
        raise Problem("takes at least one symbol")
    for text in operands:
        context.unit.symbol(symbol_name(text)).binding = binding


def assign(context: Context, name: str, value: str, *, variable: bool = True) -> None:
    """`name = value`: `.set`, or `.equiv` if not variable.

    Raises:
        Problem: the name is a label or a constant already, or the value is no expression.

    """
    parsed = context.expression(value)
    context.unit.define(symbol_name(name), parsed, context.statement, variable=variable)


def _set(context: Context, operands: list[str], variable: bool) -> None:
    name, value = _take(operands, 2)
    assign(context, name, value, variable=variable)


def _size(context: Context, operands: list[str]) -> None:
    name, value = _take(operands, 2)
    context.unit.symbol(symbol_name(name)).size = context.expression(value)


def _common(context: Context, operands: list[str], binding: Binding) -> None:
    """Zeros under a name. `.comm` makes a weak symbol: of several files that name it, one gets it."""
    name, size, alignment = _take(operands, 2, 3)
    here = context.unit.section
    context.unit.enter(".bss", "aw", True)
    _align(context, [alignment or "8"], power=False)
    symbol = context.unit.symbol(symbol_name(name))
    context.unit.label(name, context.statement)
    symbol.binding = binding
    symbol.size = context.expression(size)
    _space(context, [size])
    context.unit.section = here


# Sections


def _default_flags(name: str) -> str:
    for stem, flags in DEFAULT_FLAGS:
        if name == stem or name.startswith(stem + ".") or (stem == ".debug" and name.startswith(stem)):
            return flags
    return _OTHER_FLAGS


def _section(context: Context, operands: list[str]) -> None:
    if not operands:
        raise Problem("takes the name of a section")
    name = operands[0].strip('"')
    exists = context.unit.sections.get(name)
    flags = string(operands[1]).decode() if len(operands) > 1 else ""
    if unknown := set(flags) - set("awxMSGTeo?R0123456789"):
        raise Problem(f"unknown section flag {min(unknown)!r}; known are a, w, x, M, S, G, T")
    kept = "".join(c for c in "awx" if c in flags) if len(operands) > 1 else None
    zeros = len(operands) > 2 and operands[2].lstrip("@%") == "nobits"
    if exists:
        context.switch(name, kept or "", exists.zeros)
        return
    bss = len(operands) <= 2 and (name in (".bss", ".sbss") or name.startswith((".bss.", ".sbss.")))
    context.switch(name, _default_flags(name) if kept is None else kept, zeros or bss)


def _subsection(context: Context, operands: list[str], name: str) -> None:
    if operands and operands != ["0"]:
        raise Problem("numbered subsections are not supported")
    _section(context, [name])


def _push_section(context: Context, operands: list[str]) -> None:
    context.saved_sections.append(context.unit.section)
    _section(context, operands)


def _pop_section(context: Context, operands: list[str]) -> None:
    if not context.saved_sections:
        raise Problem("without .pushsection")
    context.previous_section, context.unit.section = context.unit.section, context.saved_sections.pop()


def _previous(context: Context, operands: list[str]) -> None:
    if context.previous_section is None:
        raise Problem("there is no section before this one")
    context.previous_section, context.unit.section = context.unit.section, context.previous_section


# Options


def _option(context: Context, operands: list[str]) -> None:
    if not operands:
        raise Problem("takes an option")
    name, *rest = operands
    options = context.options
    match name:
        case "rvc" | "norvc":
            context.options = replace(options, compress=name == "rvc")
        case "push":
            context.saved_options.append(options)
        case "pop":
            if not context.saved_options:
                raise Problem("pop without push")
            context.options = context.saved_options.pop()
        case "arch":
            context.options = replace(options, extensions=changed(options.extensions, rest))
        case "relax" | "norelax" | "pic" | "nopic" | "csr-check" | "no-csr-check":
            pass
        case _:
            known = ("rvc", "norvc", "push", "pop", "arch", "relax", "norelax", "pic", "nopic")
            raise Problem(f"unknown option {name!r}{nearest(name, known)} (known: {', '.join(known)})")


def _error(context: Context, operands: list[str]) -> None:
    raise Problem(f".error {string(operands[0]).decode() if operands else ''}".strip())


def _rows() -> Iterator[tuple[str, Directive]]:
    for name, size in _INTEGERS.items():
        yield name, partial(_integers, size=size)
    for name, code in _FLOATS.items():
        yield name, partial(_floats, code=code)
    yield ".ascii", partial(_strings, end=b"")
    yield ".asciz", partial(_strings, end=b"\0")
    yield ".string", partial(_strings, end=b"\0")
    yield ".fill", _fill
    for name in (".zero", ".space", ".skip"):
        yield name, _space
    yield ".align", partial(_align, power=True)
    yield ".p2align", partial(_align, power=True)
    yield ".balign", partial(_align, power=False)
    yield ".org", _org
    yield ".insn", _instruction_bytes
    for name, binding in (
        (".globl", Binding.GLOBAL),
        (".global", Binding.GLOBAL),
        (".weak", Binding.WEAK),
        (".local", Binding.LOCAL),
    ):
        yield name, partial(_binding, binding=binding)
    yield ".set", partial(_set, variable=True)
    yield ".equ", partial(_set, variable=True)
    yield ".equiv", partial(_set, variable=False)
    yield ".size", _size
    yield ".comm", partial(_common, binding=Binding.WEAK)
    yield ".lcomm", partial(_common, binding=Binding.LOCAL)
    for name in (".text", ".data", ".bss", ".rodata"):
        yield name, partial(_subsection, name=name)
    yield ".section", _section
    yield ".pushsection", _push_section
    yield ".popsection", _pop_section
    yield ".previous", _previous
    yield ".option", _option
    yield ".error", _error


DIRECTIVES: dict[str, Directive] = dict(_rows())
"""Every directive of this module by name."""


def directive(context: Context, name: str, rest: str) -> bool:
    """Obey a directive; False if there is none of that name.

    Raises:
        Problem: its operands are wrong; names the directive.

    """
    if name in IGNORED or name.startswith(".cfi_"):
        return True
    obey = DIRECTIVES.get(name)
    if obey is None:
        return False
    try:
        obey(context, split_operands(rest))
    except Problem as problem:
        raise Problem(f"{name}: {problem}") from None
    return True
