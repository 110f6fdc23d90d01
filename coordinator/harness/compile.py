"""A litmus test as code and data of the harness: each thread in a loop over the instances, and the test's record.

Owns the code around a thread's instructions and what of a test the harness cannot run. What the kernel does with it is
in `kernel.S`; where things lie, in `coordinator.harness.memory`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from coordinator.check.layout import Layout
from coordinator.harness import memory
from coordinator.harness.memory import Block, Record, Team
from coordinator.litmus.code import INSTRUCTION_BYTES, Program, assemble
from coordinator.litmus.test import (
    Address,
    CodeLabel,
    Initial,
    Line,
    LitmusTest,
    Location,
    Memory,
    Register,
    Value,
    location_order,
    locations,
)
from hart.isa.registers import NUMBERS as REGISTERS
from hart.isa.syntax import split_base


class Unsupported(Exception):
    """A test that the harness cannot run; says why."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A test, placed.

    Attributes:
        test: the test.
        layout: where the model has its locations and code, in whose terms outcomes are counted.
        observed: what an outcome holds: the shown locations and the filter's.
        record: address of the test's record.
        bodies: address and bytes of each thread's own instructions.
        loops: address of each thread's loop over the instances: all that is worth native code.
        data: record and code, from `record` on.

    """

    test: LitmusTest
    layout: Layout
    observed: tuple[Location, ...]
    record: int
    bodies: tuple[tuple[int, int], ...]
    loops: tuple[int, ...]
    data: bytes


def observed_locations(test: LitmusTest) -> tuple[Location, ...]:
    """What the condition, `locations` and the filter look at, sorted."""
    filtered = locations(test.filter) if test.filter is not None else ()
    return tuple(sorted({*test.shown_locations(), *filtered}, key=location_order))


def compile_test(test: LitmusTest, record: int) -> Compiled:
    """Place a test's record at `record`, a multiple of 8, and its code behind.

    Raises:
        Unsupported: the harness cannot run it; says why.
        LitmusError: the code cannot be assembled.

    """
    layout = Layout(test)
    observed = observed_locations(test)
    _check_sizes(test, layout, observed)
    initial = tuple(_initial_words(test, layout))
    shown = tuple(_shown_words(observed, layout))
    places = record + memory.WORD * Record.END
    after_initial = places + 4 * memory.WORD * len(initial)
    code = after_initial + 4 * memory.WORD * len(shown)
    threads = [_Thread(test, number, layout, observed) for number in range(len(test.threads))]
    bases: dict[int, int] = {}
    for number, length in enumerate(_lengths(test, threads)):
        bases[number] = code
        code += length
    programs = _assemble(test, threads, bases)
    words = [0] * Record.END
    words[Record.THREADS] = len(threads)
    words[Record.LOCATIONS] = len(layout.bases)
    words[Record.AREA] = Team.TRACKED if _reserves(programs) else Team.PLAIN
    words[Record.SLOT_EXP] = (memory.WORD * (1 + len(observed)) - 1).bit_length()
    words[Record.INITIAL_COUNT], words[Record.INITIAL] = len(initial), places
    words[Record.SHOWN_COUNT], words[Record.SHOWN] = len(shown), after_initial
    words[Record.ENTRY : Record.ENTRY + len(threads)] = bases.values()
    flat = [w & (1 << 64) - 1 for row in (words, *initial, *shown) for w in row]
    instructions = [i.word for program in programs for i in program.instructions]
    data = struct.pack(f"<{len(flat)}Q{len(instructions)}I", *flat, *instructions)
    bodies = tuple(
        (program.labels[_BEGIN], program.labels[_END] - program.labels[_BEGIN]) for program in programs
    )
    loops = tuple(program.labels[_LOOP] for program in programs)
    return Compiled(test, layout, observed, record, bodies, loops, data)


def _check_sizes(test: LitmusTest, layout: Layout, observed: tuple[Location, ...]) -> None:
    for what, number, most in (
        ("threads", len(test.threads), memory.MAX_THREADS),
        ("locations", len(layout.bases), memory.MAX_LOCATIONS),
        ("values in an outcome", len(observed), memory.MAX_SHOWN),
    ):
        if number > most:
            raise Unsupported(f"{number} {what}; the harness takes {most}")
    for name in layout.bases:
        if layout.room_of(name) > memory.ROOM:
            raise Unsupported(f"{name} has {layout.size_of(name)} bytes; the harness takes {memory.ROOM}")
    for location in (*observed, *(item.location for item in test.initial)):
        if isinstance(location, Register) and location.thread >= len(test.threads):
            raise Unsupported(f"{location}: there is no thread {location.thread}")


def _reserves(programs: Iterable[Program]) -> bool:
    return any(i.row.name.startswith("lr.") for program in programs for i in program.instructions)


# The record


def _initial_words(test: LitmusTest, layout: Layout) -> Iterator[tuple[int, int, int, int]]:
    """Every word of every location, with where it begins; see `Record.INITIAL`."""
    names = list(layout.bases)
    for number, name in enumerate(names):
        words = [0] * (layout.room_of(name) // memory.WORD)
        added = [0] * len(words)
        for offset, size, value in _elements(test.initial, layout, name):
            word, shift = offset // memory.WORD, 8 * (offset % memory.WORD)
            if isinstance(value, Address):
                if size < 4 or shift:
                    raise Unsupported(f"{name}: the address of {value} in {size} bytes at offset {offset}")
                if added[word]:
                    raise Unsupported(f"{name}: two addresses in one word")
                added[word] = 1 + names.index(value.of.name)
                words[word] += (value.of.index or 0) * layout.type_of(value.of).size
            elif isinstance(value, CodeLabel):
                raise Unsupported(f"{name}: the address of code ({value}) in memory")
            else:
                words[word] |= (value & (1 << 8 * size) - 1) << shift
        yield from (
            (number, memory.WORD * n, value, relocation)
            for n, (value, relocation) in enumerate(zip(words, added, strict=True))
        )


def _elements(initial: Iterable[Initial], layout: Layout, name: str) -> Iterator[tuple[int, int, Value]]:
    """Offset, size and value of each element that is given one."""
    size = layout.type_of(Memory(name, 0)).size
    for item in initial:
        if isinstance(item.location, Memory) and item.location.name == name and item.value is not None:
            values = item.value if isinstance(item.value, tuple) else (item.value,)
            first = item.location.index or 0
            yield from ((size * (first + n), size, value) for n, value in enumerate(values))


def _shown_words(observed: tuple[Location, ...], layout: Layout) -> Iterator[tuple[int, int, int, int]]:
    """See `Record.SHOWN`."""
    names = list(layout.bases)
    slots: dict[int, int] = {}
    for location in observed:
        if isinstance(location, Register):
            slot = slots[location.thread] = slots.get(location.thread, -1) + 1
            offset = Team.RESULTS + location.thread * Team.RESULTS_OF_THREAD + slot * memory.WORD
            yield 0, offset, 0, 0
        else:
            size = layout.type_of(location).size
            offset = (location.index or 0) * size
            byte = offset % memory.WORD
            left, right = 64 - 8 * (byte + size), 64 - 8 * size
            yield 1 + names.index(location.name), offset - byte, left, right


# The code

_LOOP, _BEGIN, _END = "harness.loop", "harness.begin", "harness.end"
_AT_ENTRY = frozenset({6, 10})
"""t1 and a0: the kernel leaves the entry's address and the hart's block there."""
_LINKS = frozenset({0, 1, 5})
"""Jumps through ra and t0 are taken for returns, which the compiler treats otherwise."""


class _Thread:
    """A thread's loop. `lines` makes its text; the registers of the harness are ones that the thread does not use."""

    def __init__(self, test: LitmusTest, number: int, layout: Layout, observed: tuple[Location, ...]) -> None:
        self._test, self._number, self._layout = test, number, layout
        self._body = test.threads[number]
        self._threads = len(test.threads)
        self.results = [x.number for x in observed if isinstance(x, Register) and x.thread == number]
        if len(self.results) > memory.MAX_REGISTERS:
            raise Unsupported(
                f"{len(self.results)} registers of thread {number} in an outcome; "
                f"the harness takes {memory.MAX_REGISTERS}"
            )
        self._initial: dict[int, Value] = {
            i.location.number: i.value
            for i in test.initial
            if isinstance(i.location, Register)
            and i.location.thread == number
            and i.value is not None
            and not isinstance(i.value, tuple)
        }
        self._check_names()
        used = {r for line in self._body for o in line.operands for r in _registers(o)}
        self._used = sorted({*used, *self.results, *self._initial} - {0})
        free = [f"x{r}" for r in range(31, 0, -1) if r not in self._used and r not in _LINKS | _AT_ENTRY]
        if len(free) < _OWN_REGISTERS:
            raise Unsupported(
                f"thread {number} uses {len(self._used)} registers and leaves {len(free)} of those that the harness "
                f"could use; it needs {_OWN_REGISTERS}"
            )
        self._own = free[:_OWN_REGISTERS]

    def _check_names(self) -> None:
        for line in self._body:
            for operand in line.operands:
                if operand in self._layout.bases and operand not in REGISTERS:
                    raise Unsupported(
                        f"`{line.instruction}`: each instance has another address for {operand}"
                    )

    def lines(self, labels: dict[CodeLabel, int]) -> tuple[Line, ...]:
        """The loop; `labels` are the addresses of code that registers begin with."""
        before = (*self._before(labels), f"{_BEGIN}:")
        after = (f"{_END}:", *self._after())
        return (*map(_line, before), *self._body, *map(_line, after))

    def _before(self, labels: dict[CodeLabel, int]) -> Iterator[str]:
        block, k, index, moved, a, b, _ = self._own
        yield from (
            f"addi {block},x10,0",
            f"addi {k},x0,0",
            f"ld {index},{_at(Block.FIRST)}({block})",
            "addi x6,x6,20",
            "jalr x0,0(x6)",
            f"{_LOOP}:",
            # The next instance, and how far it lies from the first
            f"slli {a},{index},2",
            f"add {index},{index},{a}",
            f"ld {a},{_at(Block.INCREMENT)}({block})",
            f"add {index},{index},{a}",
            f"ld {a},{_at(Block.MASK)}({block})",
            f"and {index},{index},{a}",
            f"ld {a},{_at(Block.STRIDE)}({block})",
            f"mul {moved},{index},{a}",
        )
        for register in self._used:
            yield from self._initialise(register, labels)
        yield from (
            f"ld {a},{_at(Block.SYNC_MASK)}({block})",
            f"and {a},{a},{k}",
            f"beq {a},x0,harness.sync",
            "harness.delay:",
            f"ld {a},{_at(Block.RANDOM)}({block})",
            f"ld {b},{_at(Block.FACTOR)}({block})",
            f"mul {a},{a},{b}",
            f"addi {a},{a},1",
            f"sd {a},{_at(Block.RANDOM)}({block})",
            f"srli {a},{a},40",
            f"ld {b},{_at(Block.DELAY_MASK)}({block})",
            f"and {a},{a},{b}",
            f"ld {b},{_at(Block.SKEW)}({block})",
            f"add {a},{a},{b}",
            f"bne {a},x0,harness.later",
        )

    def _initialise(self, register: int, labels: dict[CodeLabel, int]) -> Iterator[str]:
        block, moved = self._own[0], self._own[3]
        value = self._initial.get(register, 0)
        if isinstance(value, Address):
            number = list(self._layout.bases).index(value.of.name)
            offset = (value.of.index or 0) * self._layout.type_of(value.of).size
            yield f"ld x{register},{_at(Block.BASES + number)}({block})"
            yield f"add x{register},x{register},{moved}"
            if offset:
                yield f"addi x{register},x{register},{offset}"
        elif isinstance(value, CodeLabel):
            address = labels.get(value, 0)
            low = (address & 0xFFF ^ 0x800) - 0x800
            yield f"lui x{register},{address - low >> 12}"
            yield f"addi x{register},x{register},{low}"
        else:
            yield f"li x{register},{_signed(value)}"

    def _after(self) -> Iterator[str]:
        block, k, index, moved, a, b, c = self._own
        if self.results:
            yield f"slli {a},{index},6"
            yield f"ld {b},{_at(Block.RESULTS)}({block})"
            yield f"add {a},{a},{b}"
        yield from (f"sd x{r},{_at(slot)}({a})" for slot, r in enumerate(self.results))
        yield from (
            f"addi {k},{k},1",
            f"ld {a},{_at(Block.COUNT)}({block})",
            f"bne {k},{a},{_LOOP}",
            f"ld {a},{_at(Block.RETURN)}({block})",
            f"addi x10,{block},0",
            f"jalr x0,0({a})",
            # What the first rounds of a test do not come to stands apart: to the engine, each place that control jumps
            # to is one where native code may begin, and the loop is enough.
            # One hart lets the others go, each in its turn
            "harness.sync:",
            f"ld {b},{_at(Block.CELLS)}({block})",
            f"slli {a},{k},6",
            f"add {b},{b},{a}",
            f"ld {c},{_at(Block.EPOCH)}({block})",
            f"ld {a},{_at(Block.TURN)}({block})",
            f"addi {a},{a},-1",
            f"sd {a},{_at(Block.TURN)}({block})",
            f"bne {a},x0,harness.wait",
            f"addi {a},x0,{self._threads}",
            f"sd {a},{_at(Block.TURN)}({block})",
            f"sd {c},0({b})",
            "j harness.delay",
            "harness.wait:",
            f"ld {moved},{_at(Block.PATIENCE)}({block})",
            "harness.look:",
            f"ld {a},0({b})",
            f"beq {a},{c},harness.go",
            f"addi {moved},{moved},-1",
            f"bne {moved},x0,harness.look",
            f"addi {moved},x0,1",
            "harness.go:",
            f"sd {moved},{_at(Block.PATIENCE)}({block})",
            "j harness.delay",
            "harness.later:",
            f"ld {b},{_at(Block.RANDOM)}({block})",
            f"addi {a},{a},-1",
            f"bne {a},x0,harness.later",
            f"j {_BEGIN}",
        )


_OWN_REGISTERS = 7


def _at(word: int) -> int:
    return memory.WORD * word


def _signed(value: int) -> int:
    return (value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)


def _registers(operand: str) -> Iterator[int]:
    """Numbers of the registers in an operand."""
    for name in (operand, split_base(operand)[1]):
        if name in REGISTERS:
            yield REGISTERS[name]


def _line(text: str) -> Line:
    if text.endswith(":"):
        return Line((text[:-1],), "", ())
    mnemonic, operands = text.split()
    return Line((), mnemonic, tuple(operands.split(",")))


def _wrapped(test: LitmusTest, threads: list[_Thread], labels: dict[CodeLabel, int]) -> LitmusTest:
    return replace(test, threads=tuple(thread.lines(labels) for thread in threads))


def _lengths(test: LitmusTest, threads: list[_Thread]) -> list[int]:
    """Bytes of each thread's code, rounded up to a word."""
    programs = assemble(_wrapped(test, threads, {}), dict.fromkeys(range(len(threads)), memory.TESTS), {})
    return [INSTRUCTION_BYTES * len(p.instructions) for p in programs]


def _assemble(test: LitmusTest, threads: list[_Thread], bases: dict[int, int]) -> tuple[Program, ...]:
    programs = assemble(_wrapped(test, threads, {}), bases, {})
    labels = {CodeLabel(n, label): at for n, p in enumerate(programs) for label, at in p.labels.items()}
    if not any(isinstance(i.value, CodeLabel) for i in test.initial):
        return programs
    return assemble(_wrapped(test, threads, labels), bases, {})
