"""Random concurrent programs: what one is, how a seed makes one, and its two texts, litmus test and assembly.

Owns the choice of instructions. Runs nothing, judges nothing.

Every hart has a few operations on two arrays of two doublewords, `x` and `y`, each in a line of its own; operations
overlap in all sizes. Registers: x5 and x6 the arrays' addresses, x7 an address with a dependency, x8 and up what the
operations return, x18 and up what they write (and what an AMOCAS expects), set before the code runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from bus.access import AmoOp, Order
from hart.isa.syntax import ORDER_SUFFIXES

ARRAYS = ("x", "y")
WORDS = 2
"""Doublewords of each array."""
FIRST_RESULT = 8
FIRST_VALUE = 18
MOST_OPERATIONS = 5
_WIDTHS = {1: "b", 2: "h", 4: "w", 8: "d"}
_BASES = {"x": "x5", "y": "x6"}


class Does(Enum):
    """What an operation is."""

    LOAD = "load"
    STORE = "store"
    LR = "lr"
    SC = "sc"
    AMO = "amo"
    CAS = "amocas"
    FENCE = "fence"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a hart.

    Attributes:
        does: its kind.
        array: the array it touches, with the `offset` of its lowest byte.
        size: in bytes.
        order: aq and rl.
        amo: which AMO.
        value: what it writes; AMOCAS: in its low bits the desired value.
        expected: what an AMOCAS expects.
        address_on: number of the earlier operation on whose result the address depends, or -1.
        data_on: likewise the value.
        control_on: likewise a branch before it.
        sets: a fence's instruction, e.g. `fence rw,w`.

    """

    does: Does
    array: str = "x"
    offset: int = 0
    size: int = 8
    order: Order = Order.NONE
    amo: AmoOp = AmoOp.SWAP
    value: int = 0
    expected: int = 0
    address_on: int = -1
    data_on: int = -1
    control_on: int = -1
    sets: str = ""

    @property
    def returns(self) -> bool:
        """Whether it has a result."""
        return self.does not in (Does.STORE, Does.FENCE)

    @property
    def writes(self) -> bool:
        """Whether it takes a value to write."""
        return self.does not in (Does.LOAD, Does.LR, Does.FENCE)


@dataclass(frozen=True, slots=True)
class Program:
    """A program: each hart's operations, and what memory holds before (doublewords by array)."""

    seed: int
    harts: tuple[tuple[Operation, ...], ...]
    initial: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        """How many operations it has."""
        return sum(map(len, self.harts))

    def kinds(self) -> Iterator[str]:
        """What it covers, one word for each operation and each feature."""
        for operation in (o for hart in self.harts for o in hart):
            if operation.does is Does.FENCE:
                yield operation.sets
                continue
            name = f"amo{operation.amo.name.lower()}" if operation.does is Does.AMO else operation.does.value
            yield f"{name}.{_WIDTHS[operation.size]}{ORDER_SUFFIXES[operation.order]}"
            for feature in ("address_on", "data_on", "control_on"):
                if getattr(operation, feature) >= 0:
                    yield feature.removesuffix("_on") + " dependency"


# Making


_SHAPES: tuple[tuple[Does, int], ...] = (
    (Does.LOAD, 30), (Does.STORE, 26), (Does.AMO, 16), (Does.CAS, 8), (Does.LR, 10), (Does.FENCE, 8),
)  # fmt: skip
_FENCES = (
    "fence rw,rw",
    "fence r,rw",
    "fence rw,w",
    "fence w,w",
    "fence r,r",
    "fence w,r",
    "fence r,w",
    "fence.tso",
)
_ORDERS = (Order.NONE,) * 5 + (Order.AQ, Order.RL, Order.AQRL)


def make(seed: int, harts: int | None = None) -> Program:
    """The program of a seed; of `harts` harts, or two to four."""
    chance = random.Random(seed)
    count = harts or chance.choice((2, 2, 2, 3, 3, 4))
    # Few places make harts meet; the fewer harts, the more operations the model can still enumerate.
    places = [
        (chance.choice(ARRAYS), 8 * chance.randrange(WORDS)) for _ in range(chance.choice((1, 2, 2, 3)))
    ]
    plain = chance.random() < 0.3
    most = MOST_OPERATIONS if count == 2 else 4 if count == 3 else 3
    made = tuple(_hart(chance, places, chance.randint(2, most), plain) for _ in range(count))
    initial = tuple(
        (a, tuple(chance.choice((0, 0, 0, _pattern(chance))) for _ in range(WORDS))) for a in ARRAYS
    )
    return Program(seed, made, initial)


def _pattern(chance: random.Random) -> int:
    """A value whose bytes are alike or telling, so that a torn or a wrongly extended one shows."""
    byte = chance.choice((1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))
    return chance.choice(
        (byte, byte * 0x0101_0101_0101_0101, chance.randrange(1 << 64), (1 << 64) - byte, byte << 32 | byte)
    )


def _hart(
    chance: random.Random, places: list[tuple[str, int]], count: int, plain: bool
) -> tuple[Operation, ...]:
    made: list[Operation] = []
    reserved: Operation | None = None
    while len(made) < count:
        does = chance.choices([d for d, _ in _SHAPES], [w for _, w in _SHAPES])[0]
        if plain and does not in (Does.LOAD, Does.STORE, Does.FENCE):
            does = chance.choice((Does.LOAD, Does.STORE))
        if reserved is not None and chance.random() < 0.6:
            does = Does.SC
        if does is Does.FENCE:
            made.append(Operation(does, sets=chance.choice(_FENCES)))
            continue
        operation = _operation(chance, does, places)
        if does is Does.SC and reserved is not None:
            if chance.random() < 0.9:
                operation = replace(
                    operation, array=reserved.array, offset=reserved.offset, size=reserved.size
                )
            reserved = None
        elif does is Does.LR:
            reserved = operation
        made.append(_dependent(chance, operation, made))
    return tuple(made)


def _operation(chance: random.Random, does: Does, places: list[tuple[str, int]]) -> Operation:
    array, offset = chance.choice(places)
    wide = does in (Does.LR, Does.SC)
    size = chance.choice((4, 8, 8) if wide else (1, 2, 4, 4, 8, 8, 8))
    offset += chance.randrange(8 // size) * size if chance.random() < 0.5 else 0
    value = _pattern(chance)
    return Operation(
        does, array, offset, size, chance.choice(_ORDERS), chance.choice(tuple(AmoOp)), value,
        chance.choice((0, 0, value, _pattern(chance))),
    )  # fmt: skip


def _dependent(chance: random.Random, operation: Operation, before: list[Operation]) -> Operation:
    results = [n for n, o in enumerate(before) if o.returns and o.does is not Does.SC]
    if not results or chance.random() < 0.6:
        return operation
    which = chance.choice(("address_on", "control_on", "data_on"))
    if which == "data_on" and not operation.writes:
        which = "address_on"
    on = chance.choice(results)
    if which == "address_on":
        return replace(operation, address_on=on)
    return replace(operation, data_on=on) if which == "data_on" else replace(operation, control_on=on)


# Code


def registers(operations: tuple[Operation, ...]) -> tuple[dict[int, int], dict[int, int]]:
    """The result register of each operation that has one, and the value register of each that writes."""
    results = {n: FIRST_RESULT + i for i, n in enumerate(n for n, o in enumerate(operations) if o.returns)}
    values = {n: FIRST_VALUE + i for i, n in enumerate(n for n, o in enumerate(operations) if o.writes)}
    return results, values


def presets(operations: tuple[Operation, ...]) -> dict[int, int]:
    """What registers hold before the code, but for the arrays' addresses: values by register."""
    results, values = registers(operations)
    held = {values[n]: o.value for n, o in enumerate(operations) if o.writes}
    held.update({results[n]: o.expected for n, o in enumerate(operations) if o.does is Does.CAS})
    return held


def code(operations: tuple[Operation, ...], hart: int) -> list[str]:
    """A hart's instructions, one a line, labels on lines of their own."""
    results, values = registers(operations)
    lines: list[str] = []
    for number, o in enumerate(operations):
        if o.control_on >= 0:
            label = f"L{hart}{number}"
            lines += [f"bne x{results[o.control_on]},x0,{label}", f"{label}:"]
        if o.does is Does.FENCE:
            lines.append(o.sets)
            continue
        base, offset = _BASES[o.array], o.offset
        if o.address_on >= 0:
            on = results[o.address_on]
            lines += [f"xor x7,x{on},x{on}", f"add x7,x7,{base}"]
            base = "x7"
        plain = o.does in (Does.LOAD, Does.STORE) and not o.order
        if offset and not plain:
            lines.append(f"addi x7,{base},{offset}")
            base, offset = "x7", 0
        if o.data_on >= 0:
            on, value = results[o.data_on], values[number]
            lines += [f"xor x28,x{on},x{on}", f"add x{value},x{value},x28"]
        suffix = _WIDTHS[o.size] + ORDER_SUFFIXES[o.order]
        match o.does:
            case Does.LOAD:
                # A release load is no instruction of Zalasr unless it acquires too; likewise for stores.
                lines.append(f"l{_acquire(suffix, o)} x{results[number]},{offset}({base})")
            case Does.STORE:
                lines.append(f"s{_release(suffix, o)} x{values[number]},{offset}({base})")
            case Does.LR:
                lines.append(f"lr.{suffix} x{results[number]},({base})")
            case Does.SC:
                lines.append(f"sc.{suffix} x{results[number]},x{values[number]},({base})")
            case Does.AMO:
                name = o.amo.name.lower()
                lines.append(f"amo{name}.{suffix} x{results[number]},x{values[number]},({base})")
            case Does.CAS:
                lines.append(f"amocas.{suffix} x{results[number]},x{values[number]},({base})")
    return lines


def _acquire(suffix: str, o: Operation) -> str:
    return _WIDTHS[o.size] + ".aq" if o.order is Order.RL else suffix


def _release(suffix: str, o: Operation) -> str:
    return _WIDTHS[o.size] + ".rl" if o.order is Order.AQ else suffix


def litmus(program: Program, condition: str = "forall (true)") -> str:
    """The program as a litmus test that shows every result and all of memory."""
    initial: list[str] = []
    shown: list[str] = []
    columns: list[list[str]] = []
    for array, words in program.initial:
        initial.append(f"uint64_t {array}[{WORDS}]={{{','.join(map(str, words))}}};")
    for hart, operations in enumerate(program.harts):
        initial += [f"{hart}:{_BASES[a]}={a};" for a in ARRAYS]
        held = presets(operations)
        results, _ = registers(operations)
        for register in sorted({*held, *results.values()}):
            initial.append(f"uint64_t {hart}:x{register}={held.get(register, 0)};")
        shown += [f"{hart}:x{r};" for r in results.values()]
        columns.append(code(operations, hart))
    shown += [f"{a}[{i}];" for a in ARRAYS for i in range(WORDS)]
    rows = [" | ".join(f"P{n}" for n in range(len(columns)))]
    height = max(map(len, columns))
    rows += [" | ".join(c[i] if i < len(c) else "" for c in columns) for i in range(height)]
    text = "".join(f" {row} ;\n" for row in rows)
    return (
        f"RISCV fuzz{program.seed}\n{{\n" + "\n".join(initial) + f"\n}}\n{text}"
        f"locations [{' '.join(shown)}]\n{condition}\n"
    )
