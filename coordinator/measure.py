"""What a config reads of a VM in numbers: the values of expressions over its symbols, its metrics, its outcome.

Pure functions over the result, a reader of guest memory and the image's symbols. Judges nothing (`coordinator.expect`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coordinator import expression
from coordinator.config.model import Vm
from coordinator.expression import ExpressionError, Reader, Value
from coordinator.result import HartResult, VmResult
from hart.image import Image
from hart.isa.registers import NUMBERS as REGISTERS
from hart.spelling import nearest

ReadMemory = Callable[[int, int], bytes]
"""(guest address, size in bytes) -> bytes. Raises ValueError outside guest RAM."""

Key = tuple[str | int, ...]
Finding = tuple[Key, str]
"""A key of `[vm]`, as a path, and what is wrong with it."""

OPERATIONS = "operations"
"""The metric that counts what the guest did; rates and budgets are about it."""
OPERATIONS_NS, OPERATIONS_INSTRET = "operations_ns", "operations_instret"
"""The metrics that say how long it took for them, and how many instructions of all harts. Without them it is the time
of the hart that ran longest, and all instructions, with what harts did before and after."""

_SCALAR_SIZES = (1, 2, 4, 8)
_RUN_CONSTANTS = ("harts", "instret")
_HART = "hart"
"""Name of a hart's own number in `[vm.hart_metrics]`."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What a config declares, in numbers.

    Attributes:
        metrics: `[vm.metrics]`.
        by_hart: `[vm.hart_metrics]`, by hart number.
        outcome: `[vm.outcome]`: registers, then symbols, in the order of the config.
        problems: (key, expression, why) of what has no value.

    """

    metrics: Mapping[str, int] = field(default_factory=dict)
    by_hart: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    outcome: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[tuple[str, str, str], ...] = ()


def constants(vm: Vm, instret: int) -> dict[str, Value]:
    """Names in expressions that are no symbols: defines, `harts`, `instret` (all harts together)."""
    run = dict(zip(_RUN_CONSTANTS, (vm.harts, instret), strict=True))
    return {**vm.guest.defines, **run}


def symbols(image: Image, read: ReadMemory) -> expression.Symbols:
    """Reads symbols of `image`; raises what `read` does."""

    def value(name: str, reader: Reader | None, index: int) -> int:
        symbol = image.symbols[name]
        size = reader.size if reader else symbol.size
        raw = read(symbol.address + index * size, size)
        return int.from_bytes(raw, "little", signed=reader is not None and reader.signed)

    return value


def measure(vm: Vm, result: VmResult, image: Image, read: ReadMemory) -> Measurements:
    """All that `vm` declares of a VM that ran `image` and ended with `result`."""
    problems: list[tuple[str, str, str]] = []
    known = constants(vm, sum(h.instret for h in result.harts))
    of_symbols = symbols(image, read)

    def values(
        key: str, texts: Iterable[tuple[str, str]], more: Mapping[str, Value]
    ) -> Iterator[tuple[str, int]]:
        for name, text in texts:
            try:
                yield name, int(expression.parse(text).evaluate(known | dict(more), of_symbols))
            except (ExpressionError, ValueError) as error:
                problems.append((f"{key}.{name}", text, str(error)))

    by_hart = {
        h.hart: dict(values("hart_metrics", vm.hart_metrics.items(), {_HART: h.hart})) for h in result.harts
    }
    outcome = dict(_registers(vm.outcome.registers, result.harts))
    outcome |= values("outcome", ((text, text) for text in vm.outcome.symbols), {})
    metrics = dict(values("metrics", vm.metrics.items(), {}))
    return Measurements(metrics, by_hart, outcome, tuple(problems))


def operations(vm: Vm, instret: int, image: Image, read: ReadMemory) -> int:
    """The metric `operations` of a VM that may be running; 0 where it declares none or has no value yet."""
    if OPERATIONS not in vm.metrics:
        return 0
    try:
        return int(
            expression.parse(vm.metrics[OPERATIONS]).evaluate(constants(vm, instret), symbols(image, read))
        )
    except (ExpressionError, ValueError):
        return 0


def _registers(names: Sequence[str], harts: Sequence[HartResult]) -> Iterator[tuple[str, int]]:
    by_number = {h.hart: h for h in harts}
    for name in names:
        hart, _, register = name.partition(":")
        if int(hart) in by_number:
            yield name, by_number[int(hart)].x[REGISTERS[register]]


def unknown_names(vm: Vm, image: Image) -> list[Finding]:
    """Expressions of `vm` that can never have a value, because `image` lacks a symbol or its size.

    Found before the run, so that a typing error does not look like a failed run.
    """
    texts: list[tuple[Key, str, tuple[str, ...]]] = []
    texts += [(("expect", "invariants", n), text, ()) for n, text in enumerate(vm.expect.invariants)]
    texts += [(("metrics", name), text, ()) for name, text in vm.metrics.items()]
    texts += [(("hart_metrics", name), text, (_HART,)) for name, text in vm.hart_metrics.items()]
    texts += [(("outcome", "symbols", n), text, ()) for n, text in enumerate(vm.outcome.symbols)]
    return [finding for key, text, more in texts for finding in _unknown(vm, image, key, text, more)]


def _unknown(vm: Vm, image: Image, key: Key, text: str, more: tuple[str, ...]) -> Iterator[Finding]:
    parsed = expression.parse(text)
    known = {*vm.guest.defines, *_RUN_CONSTANTS, *more}
    for used in sorted(parsed.names - known):
        if used not in image.symbols:
            yield key, f"no symbol or constant {used!r}{nearest(used, [*known, *image.symbols])}"
        elif used in parsed.bare_names:
            yield from size_problem(key, used, image)


def size_problem(key: Key, symbol: str, image: Image) -> list[Finding]:
    """Why a symbol cannot be read at its own size, if so."""
    known = image.symbols.get(symbol)
    if known is None or known.size in _SCALAR_SIZES:
        return []
    has = f"is {known.size} bytes" if known.size else "has no size"
    return [(key, f"{symbol} {has}, so say how to read it: u8, u16, u32 or u64")]
