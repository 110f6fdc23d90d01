"""Random control flow around random instructions: loops, calls, jump tables, traps, code that changes itself.

Owns the shapes. What stands inside them comes from `generator`; like its items, shapes do not depend on where they
stand or on each other. A shape ends whatever its contents leave in the registers: its counter lies in memory, where
no item writes, and it reloads what it uses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.differential.comparison import shrink
from tests.differential.generator import DATA, Generator, Item, Model, Program, constant, encode, program

COUNTERS = DATA + 0x8000
"""Where loops count: one doubleword for each depth of nesting."""
DEPTH = 3
_A, _B = 30, 31
"""What the shapes use; the trap handler overwrites them, too."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Items with control flow around them. `wrap(code)` adds it."""

    row: str | None
    wrap: Callable[[list[bytes]], bytes]
    items: tuple[Item | Shape, ...]

    @property
    def code(self) -> bytes:
        """All of it."""
        return self.wrap([item.code for item in self.items])


def _jump(over: int, link: int = 0) -> bytes:
    """To `over` bytes behind the jump."""
    return encode("jal", rd=link, imm=over + 4)


def _here(register: int, offset: int) -> bytes:
    """`register` = the address `offset` bytes behind these two instructions."""
    return encode("auipc", rd=register, imm=0) + encode("addi", rd=register, rs1=register, imm=8 + offset)


def loop(depth: int, turns: int) -> Callable[[list[bytes]], bytes]:
    """Executes its contents `turns` times."""
    place = constant(_A, COUNTERS + 8 * depth)

    def wrap(parts: list[bytes]) -> bytes:
        body = b"".join(parts)
        start = place + encode("addi", rd=_B, rs1=0, imm=turns) + encode("sd", rs1=_A, rs2=_B)
        end = place + encode("ld", rd=_B, rs1=_A) + encode("addi", rd=_B, rs1=_B, imm=-1)
        end += encode("sd", rs1=_A, rs2=_B)
        end += encode("beq", rs1=_B, rs2=0, imm=8)
        back = len(body) + len(end)
        return start + body + end + encode("jal", rd=0, imm=-back)

    return wrap


def call(link: int, tail: bool) -> Callable[[list[bytes]], bytes]:
    """A function and calls to it, direct and indirect. The return address waits in memory meanwhile."""
    place = constant(_A, COUNTERS + 8 * DEPTH + 8 * link)

    def wrap(parts: list[bytes]) -> bytes:
        body = place + encode("sd", rs1=_A, rs2=link) + b"".join(parts)
        body += place + encode("ld", rd=link, rs1=_A) + encode("jalr", rd=0, rs1=link)
        direct = encode("jal", rd=link, imm=-len(body))
        if tail:
            # jr to a trampoline that jumps on
            indirect = _here(_A, 8) + encode("jalr", rd=link, rs1=_A) + _jump(4)
            indirect += encode("jal", rd=0, imm=-len(body) - len(direct) - len(indirect) - 4 + 4)
        else:
            indirect = _here(_A, -len(body) - len(direct) - 8) + encode("jalr", rd=link, rs1=_A)
        return _jump(len(body)) + body + direct + indirect

    return wrap


def table(selector: int) -> Callable[[list[bytes]], bytes]:
    """Jumps to one of its contents, as a register's low bits say, and out behind it."""

    def wrap(parts: list[bytes]) -> bytes:
        cases = []
        after = b""
        for part in reversed(parts):
            case = part + _jump(len(after))
            cases.append(case)
            after = case + after
        cases.reverse()
        count = 1 << (len(cases) - 1).bit_length()
        entries = []
        for i in range(count):
            inside = sum(len(c) for c in cases[: i % len(cases)])
            entries.append(_jump(4 * (count - 1 - i) + inside))
        pick = encode("andi", rd=_B, rs1=selector, imm=count - 1) + encode("slli", rd=_B, rs1=_B, uimm=2)
        go = encode("add", rd=_A, rs1=_A, rs2=_B) + encode("jalr", rd=0, rs1=_A)
        return pick + _here(_A, len(go)) + go + b"".join(entries) + after

    return wrap


def patched(register: int, step: int) -> Callable[[list[bytes]], bytes]:
    """An instruction that changes with every turn: the immediate of an ADDI grows."""

    def wrap(parts: list[bytes]) -> bytes:
        add = constant(_B, step << 20) + encode("add", rd=29, rs1=29, rs2=_B)
        tail = encode("sw", rs1=_A, rs2=29) + encode("fence.i")
        take = encode("lw", rd=29, rs1=_A)
        slot = encode("addi", rd=register, rs1=register, imm=1)
        return _here(_A, len(take) + len(add) + len(tail)) + take + add + tail + slot + b"".join(parts)

    return wrap


def skip(a: int, b: int, kind: str) -> Callable[[list[bytes]], bytes]:
    """A branch over its contents, in the long form."""

    def wrap(parts: list[bytes]) -> bytes:
        body = b"".join(parts)
        return encode(kind, rs1=a, rs2=b, imm=8) + _jump(len(body)) + body

    return wrap


class Shapes:
    """An endless stream of shapes for one model."""

    def __init__(self, model: Model, seed: str, turns: int) -> None:
        self._random = random.Random(f"{seed}/shapes")
        self._items = Generator(model, seed)
        self._turns = turns

    def stream(self, items: int) -> list[Item | Shape]:
        """Shapes with about so many items in them."""
        made: list[Item | Shape] = []
        while items > 0:
            size = min(items, self._random.randrange(4, 24))
            made.append(self._shape(size, 0, loop_first=True))
            items -= size
        return made

    def _contents(self, size: int, depth: int) -> tuple[Item | Shape, ...]:
        made: list[Item | Shape] = []
        while size > 0:
            if depth < DEPTH and size > 2 and self._random.random() < 0.5:
                part = self._random.randrange(2, size)
                made.append(self._shape(part, depth, loop_first=False))
                size -= part
            else:
                made.extend(self._items.items(1))
                size -= 1
        return tuple(made)

    def _shape(self, size: int, depth: int, *, loop_first: bool) -> Shape:
        choose = self._random
        register = lambda: choose.randrange(1, 29)  # noqa: E731
        kind = "loop" if loop_first else choose.choice(("loop", "call", "table", "patched", "skip", "skip"))
        inner = self._contents(size, depth + 1)
        if kind == "loop":
            turns = choose.randrange(self._turns // 4, self._turns) if depth == 0 else choose.randrange(1, 4)
            return Shape(None, loop(depth, turns), inner)
        if kind == "call":
            # Functions nest at most DEPTH deep, each level with a link register of its own.
            return Shape(None, call((1, 5, 28)[depth % 3], choose.random() < 0.3), inner)
        if kind == "table":
            return Shape(None, table(register()), inner)
        if kind == "patched":
            return Shape(None, patched(register(), choose.randrange(1, 9)), inner)
        branch = choose.choice(("beq", "bne", "blt", "bge", "bltu", "bgeu"))
        return Shape(None, skip(register(), register(), branch), inner)


def flow_program(model: Model, seed: str, items: int, turns: int) -> Program:
    """A random program of `items` items within shapes; its outer loops turn less than `turns` times."""
    made = tuple(Shapes(model, seed, turns).stream(items))
    return replace(program(model, seed, 0), items=made)  # type: ignore[arg-type]


def shrink_all(made: Program, fails: Callable[[Program], bool]) -> Program:
    """As `shrink`, then inside the shapes that are left; a shape gives way to its contents where that still fails."""
    made = shrink(made, fails)
    at = 0
    while at < len(made.items):
        item = made.items[at]
        if not isinstance(item, Shape):
            at += 1
            continue

        def with_items(parts: Sequence[Item | Shape], at: int = at, made: Program = made) -> Program:
            return replace(made, items=(*made.items[:at], *parts, *made.items[at + 1 :]))  # type: ignore[arg-type]

        if fails(with_items(item.items)):
            made = shrink(with_items(item.items), fails)
            at = 0
            continue
        inner = replace(made, items=item.items)
        smaller = shrink(
            inner,
            lambda p, w=with_items, s=item: fails(w([replace(s, items=p.items)])),  # type: ignore[misc,arg-type]
        )
        made = with_items([replace(item, items=smaller.items)])  # type: ignore[arg-type]
        at += 1
    return made
