"""Judges a run against its config's `[expect]`: one check a line, what was expected and what was seen.

Pure functions over the result, a reader of guest memory and the image's symbols. Runs and prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bus.access import ScFailure
from coordinator import expression, measure
from coordinator.check import linearizability
from coordinator.check.history import EVENT_BYTES, decode
from coordinator.config.model import Expect, LinearizableExpect, Vm
from coordinator.measure import Finding, ReadMemory
from coordinator.result import Ending, HartResult, TrapReport, VmResult
from hart.causes import cause_name
from hart.image import Image
from hart.isa.registers import NUMBERS as REGISTERS
from hart.spelling import nearest


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was expected.

    Attributes:
        what: the key in `[expect]`, e.g. `symbols.amo_counter`.
        expected: for people.
        seen: for people.
        ok: whether they agree.
        where: the hart, pc and instruction that explain a failure; empty where there is none.

    """

    what: str
    expected: str
    seen: str
    ok: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check of one VM, in the order of the config."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all expectations were met."""
        return all(check.ok for check in self.checks)


def judge(vm: Vm, result: VmResult, image: Image, read: ReadMemory) -> Verdict:
    """The verdict on a VM that ran `image` as `vm` says and ended with `result`."""
    return Verdict(tuple(_Judge(vm, result, image, read).checks()))


def unknown_names(vm: Vm, image: Image) -> list[Finding]:
    """Expectations and measurements that can never have a value, because `image` lacks a symbol or its size.

    Found before the run, so that a typing error does not look like a failed run.
    """
    found = measure.unknown_names(vm, image)
    for key, place in _places(vm.expect):
        try:
            resolve(place, image)
        except LookupError as error:
            found.append((("expect", *key), str(error.args[0])))
    for symbol, value in vm.expect.symbols.items():
        if value.size is None:
            found += measure.size_problem(("expect", "symbols", symbol), symbol, image)
    if vm.expect.linearizable is not None:
        found += _history_problem(vm.expect.linearizable.history, vm.harts, image)
    return found


def _history_problem(name: str, harts: int, image: Image) -> list[Finding]:
    """Why symbol `name` is no array of events, if so."""
    key = ("expect", "linearizable", "history")
    if name not in image.symbols:
        return [(key, f"{image.name} has no symbol {name!r}{nearest(name, image.symbols)}")]
    size = image.symbols[name].size
    if size and size % (EVENT_BYTES * harts) == 0:
        return []
    return [
        (key, f"{name} is {size} bytes, not events of {EVENT_BYTES} bytes, as many for each of {harts} harts")
    ]


def _places(expect: Expect) -> Iterator[tuple[tuple[str, ...], str]]:
    """(key, place) of everything in `expect` that names a guest address."""
    for symbol in expect.symbols:
        yield ("symbols", symbol), symbol
    for place in expect.memory:
        yield ("memory", place), place
    if expect.trap is not None:
        if expect.trap.pc is not None:
            yield ("trap", "pc"), expect.trap.pc
        if expect.trap.tval is not None:
            yield ("trap", "tval"), expect.trap.tval


def resolve(place: str, image: Image) -> int:
    """The address of `place`: a number, a symbol, or `symbol + offset`.

    Raises:
        LookupError: the image has no such symbol; names the nearest.

    """
    name, plus, offset = (part.strip() for part in place.partition("+"))
    try:
        if name[:1].isdigit():
            return int(name, 0) + (int(offset, 0) if plus else 0)
        distance = int(offset, 0) if plus else 0
    except ValueError:
        raise LookupError(f"{place!r} is not a symbol, symbol+offset, or address") from None
    if name not in image.symbols:
        raise LookupError(f"{image.name} has no symbol {name!r}{nearest(name, image.symbols)}")
    return image.symbols[name].address + distance


@dataclass(frozen=True, slots=True)
class _Judge:
    vm: Vm
    result: VmResult
    image: Image
    read: ReadMemory

    def checks(self) -> Iterator[Check]:
        expect = self.vm.expect
        yield self._ending()
        if expect.expected_exit_code is not None:
            yield self._exit_code(expect.expected_exit_code)
        if expect.trap is not None:
            yield self._trap()
        for symbol, value in expect.symbols.items():
            yield self._memory(f"symbols.{symbol}", symbol, value.size, value.number)
        for place, sized in expect.memory.items():
            yield self._memory(f"memory.{place}", place, sized.size, sized.number)
        for hart, wanted in expect.registers.items():
            for register, number in wanted.items():
                yield self._register(int(hart), register, number)
        for text in expect.invariants:
            yield self._invariant(text)
        for cause, count in expect.sc_failures.items():
            total = sum(h.sc_failures.get(ScFailure[cause.upper()], 0) for h in self.result.harts)
            yield Check(f"sc_failures.{cause}", str(count), str(total), total == count)
        if expect.console is not None:
            yield from self._console()
        if expect.linearizable is not None:
            yield self._linearizable(expect.linearizable)

    def _ending(self) -> Check:
        expected, seen = self.vm.expect.expected_ending, self.result.ending
        ok = expected is seen
        return Check("ending", expected.value, seen.value, ok, "" if ok else self._where())

    def _exit_code(self, expected: int) -> Check:
        seen = self.result.exit_code
        ok = seen == expected
        text = "none" if seen is None else str(seen)
        return Check("exit_code", str(expected), text, ok, "" if ok or seen is None else self._where())

    def _where(self) -> str:
        """The hart that brought the ending about, where it stood, and why."""
        by_number = {h.hart: h for h in self.result.harts}
        if self.result.hart is None or self.result.hart not in by_number:
            return self.result.detail
        hart = by_number[self.result.hart]
        if hart.trap is not None:
            return describe_trap(hart.hart, hart.trap, self.image)
        return f"hart {hart.hart} at {self.image.symbolize(hart.pc)}" + (
            f": {self.result.detail}" if self.result.detail else ""
        )

    def _trap(self) -> Check:
        trap = self.vm.expect.trap
        assert trap is not None
        expected = cause_name(trap.cause)
        if trap.hart is not None:
            expected += f" on hart {trap.hart}"
        if trap.pc is not None:
            expected += f" at {trap.pc}"
        if trap.tval is not None:
            expected += f", tval {trap.tval}"
        trapped = [h for h in self.result.harts if h.trap is not None]
        met = [h for h in trapped if self._is_expected_trap(h)]
        told = met[:1] or trapped
        seen = "; ".join(describe_trap(h.hart, h.trap, self.image) for h in told if h.trap) or "no trap"
        return Check("trap", expected, seen, bool(met))

    def _is_expected_trap(self, hart: HartResult) -> bool:
        expected, trap = self.vm.expect.trap, hart.trap
        assert expected is not None
        assert trap is not None
        return (
            trap.cause == expected.cause
            and expected.hart in (None, hart.hart)
            and (expected.pc is None or resolve(expected.pc, self.image) == trap.pc)
            and (expected.tval is None or resolve(expected.tval, self.image) == trap.tval)
        )

    def _memory(self, what: str, place: str, size: int | None, expected: int) -> Check:
        size = size or self.image.symbols[place].size
        try:
            raw = self.read(resolve(place, self.image), size)
        except ValueError as error:
            return Check(what, str(expected), f"cannot be read: {error}", ok=False)
        seen = int.from_bytes(raw, "little", signed=expected < 0)
        return Check(what, _number(expected), _number(seen), seen == expected)

    def _register(self, hart: int, register: str, expected: int) -> Check:
        what = f"registers.{hart}.{register}"
        found = next((h for h in self.result.harts if h.hart == hart), None)
        if found is None:
            return Check(what, _number(expected), f"hart {hart} left no registers", ok=False)
        value = found.pc if register == "pc" else found.x[REGISTERS[register]]
        seen = value - (1 << 64) if expected < 0 and value >> 63 else value
        return Check(what, _number(expected), _number(seen), seen == expected)

    def _invariant(self, text: str) -> Check:
        parsed = expression.parse(text)
        constants = measure.constants(self.vm, sum(h.instret for h in self.result.harts))
        symbols = measure.symbols(self.image, self.read)
        try:
            ok = bool(parsed.evaluate(constants, symbols))
            seen = parsed.sides(constants, symbols)
        except (expression.ExpressionError, ValueError) as error:
            ok, seen = False, str(error)
        return Check("invariant", text, seen, ok)

    def _console(self) -> Iterator[Check]:
        expected = self.vm.expect.console
        assert expected is not None
        text = self.result.console.decode(errors="replace")
        seen = _shorten(text)
        if expected.equals is not None:
            yield Check("console.equals", repr(expected.equals), seen, text == expected.equals)
        if expected.contains is not None:
            yield Check("console.contains", repr(expected.contains), seen, expected.contains in text)
        if expected.matches is not None:
            found = re.search(expected.matches, text) is not None
            yield Check("console.matches", repr(expected.matches), seen, found)

    def _linearizable(self, expected: LinearizableExpect) -> Check:
        what, wanted = f"linearizable.{expected.type}", linearizability.Answer.LINEARIZABLE
        if self.result.ending is not Ending.EXIT:
            seen = f"undecided: the VM ended by {self.result.ending.value}, with operations under way"
            return Check(what, wanted.value, seen, ok=False)
        symbol = self.image.symbols[expected.history]
        try:
            operations = list(decode(self.read(symbol.address, symbol.size), self.vm.harts))
            found = linearizability.check(expected.type, operations, expected.capacity, expected.most_states)
        except ValueError as error:
            return Check(what, wanted.value, f"{expected.history}: {error}", ok=False)
        seen = f"{found.answer.value}, {len(operations)} operations"
        return Check(
            what, wanted.value, f"{seen}: {found.why}" if found.why else seen, found.answer is wanted
        )


def describe_trap(hart: int, trap: TrapReport, image: Image) -> str:
    """`hart 1: illegal instruction at worker+0x14 (amocas.w a0, a1, (a2)), tval 0x...`."""
    return f"hart {hart}: {trap.name} at {image.symbolize(trap.pc)} ({trap.instruction}), tval {trap.tval:#x}"


def _number(value: int) -> str:
    """Decimal, with hexadecimal beside it where that is easier to read."""
    return f"{value} ({value:#x})" if abs(value) >= 1 << 16 else str(value)


def _shorten(text: str, most: int = 200) -> str:
    return repr(text) if len(text) <= most else f"{text[: most // 2]!r} ... {text[-most // 2 :]!r}"
