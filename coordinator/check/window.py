"""A failing window of an execution as a litmus test: the events of a cycle and what they need, with an `exists` clause.

Owns the choice of events and their rendering as code. Values are renamed: every store of the test writes one of its
own, so that the clause names the cycle and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from bus.access import Order
from coordinator.check.execution import FENCES, INITIAL, READS, WRITES, Event, Execution, Kind
from coordinator.check.models import Violation
from hart.isa.syntax import ORDER_SUFFIXES

_TYPES = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
_WIDTHS = {1: "b", 2: "h", 4: "w", 8: "d"}
_NEVER_STORED = 99


class Unwritable(ValueError):
    """A window that a litmus test cannot say."""


def window_test(execution: Execution, violation: Violation, name: str) -> str:
    """The text of a litmus test whose `exists` clause asks for the violation's cycle.

    Raises:
        Unwritable: accesses of different sizes overlap, or the window needs more registers than there are.

    """
    chosen = sorted(_chosen(execution, violation))
    return _Writer(execution, chosen).text(name)


def _chosen(execution: Execution, violation: Violation) -> set[int]:
    """The ids of the cycle's events, of fences and links between them, and of the stores that they read."""
    starts, events = execution.starts, list(execution.events())
    hart_of = [h for h, hart in enumerate(execution.harts) for _ in hart]
    chosen = {step.before for step in violation.cycle}
    for step in violation.cycle:
        a, b = step.before, step.after
        if hart_of[a] == hart_of[b] and a < b:
            start = starts[hart_of[a]]
            for m in range(a + 1, b):
                event = events[m]
                linked = a - start in (*event.address_from, *event.data_from)
                if event.kind in FENCES or linked:
                    chosen.add(m)
    pending = list(chosen)
    while pending:
        identity = pending.pop()
        event, start = events[identity], starts[hart_of[identity]]
        needed = []
        if event.kind in READS:
            needed += [s for s in execution.byte_sources(identity, event) if s != INITIAL]
        if event.pair >= 0:
            needed.append(start + event.pair)
        fresh = set(needed) - chosen
        chosen |= fresh
        pending += fresh
    return chosen


class _Writer:
    def __init__(self, execution: Execution, chosen: list[int]) -> None:
        self._execution = execution
        self._events = list(execution.events())
        self._starts = execution.starts
        self._chosen = chosen
        self._locations: dict[int, tuple[str, int]] = {}
        self._values: dict[int, int] = {}
        self._name_locations()
        self._initial: list[str] = []
        self._condition: list[str] = []

    def _name_locations(self) -> None:
        taken: set[str] = set()
        for identity in self._chosen:
            event = self._events[identity]
            if event.kind in FENCES:
                continue
            if event.size not in _TYPES:
                raise Unwritable(f"{event.size} bytes at {event.address:#x}: litmus tests have at most eight")
            for address, (_, size) in self._locations.items():
                if (address, size) != (event.address, event.size) and (
                    address < event.address + event.size and event.address < address + size
                ):
                    raise Unwritable(f"accesses of different sizes overlap at {event.address:#x}")
            if event.address not in self._locations:
                symbol = self._execution.symbols.get(event.address, "")
                name = symbol if symbol.isidentifier() and symbol not in taken else f"m{len(taken)}"
                taken.add(name)
                self._locations[event.address] = name, event.size
            if event.kind in WRITES:
                written = sum(1 for i in self._values if self._events[i].address == event.address)
                self._values[identity] = written + 1

    def text(self, name: str) -> str:
        """The whole test."""
        columns: list[list[str]] = []
        for hart, start in enumerate(self._starts[:-1]):
            mine = [i for i in self._chosen if start <= i < self._starts[hart + 1]]
            if mine:
                columns.append(self._thread(len(columns), start, mine))
        declared = [f"{_TYPES[size]} {location};" for location, size in self._locations.values()]
        for address in self._locations:
            columns += self._coherence(address, len(columns))
        rows = [" | ".join(f"P{n}" for n in range(len(columns)))]
        height = max(map(len, columns))
        rows += [" | ".join(c[i] if i < len(c) else "" for c in columns) for i in range(height)]
        code = "".join(f" {row} ;\n" for row in rows)
        proposition = " /\\ ".join(self._condition) or "true"
        return f"RISCV {name}\n{{\n{' '.join(declared)}\n{' '.join(self._initial)}\n}}\n{code}exists ({proposition})\n"

    def _coherence(self, address: int, number: int) -> list[list[str]]:
        """Ask for the coherence order of a location: its final value, and where that is not enough an observer."""
        location, size = self._locations[address]
        stores = {i for i in self._values if self._events[i].address == address}
        if len(stores) < 2:
            return []
        order = next(
            found
            for s in self._execution.coherence
            if len(found := [i for i in s if i in stores]) == len(stores)
        )
        self._condition.append(f"{location}={self._values[order[-1]]}")
        if len(order) == 2:
            return []
        self._initial.append(f"{number}:x4={location};")
        lines = []
        for register, store in enumerate(order[:-1], 5):
            lines.append(f"l{_WIDTHS[size]} x{register},0(x4)")
            self._initial.append(f"{_TYPES[size]} {number}:x{register};")
            self._condition.append(f"{number}:x{register}={self._values[store]}")
        return [lines]

    def _thread(self, number: int, start: int, mine: list[int]) -> list[str]:
        free = iter(range(5, 32))
        lines: list[str] = []
        results: dict[int, str] = {}
        bases: dict[str, str] = {}

        def register() -> str:
            try:
                return f"x{next(free)}"
            except StopIteration:
                raise Unwritable(f"P{number} needs more registers than there are") from None

        def preset(value: str | int) -> str:
            made = register()
            self._initial.append(f"{number}:{made}={value};")
            return made

        def depend(on: Iterable[int], base: str) -> str:
            """`base` with a dependency on the results of events."""
            for position in on:
                if start + position in results:
                    made = register()
                    lines.append(f"xor {made},{results[start + position]},{results[start + position]}")
                    lines.append(f"add {made},{base},{made}")
                    base = made
            return base

        control: set[int] = set()
        seen = start
        for identity in mine:
            for event in self._events[seen : identity + 1]:
                control.update(event.control_from)
            seen = identity + 1
            event = self._events[identity]
            for position in sorted(control):
                if start + position in results:
                    label = f"L{number}{len(lines)}"
                    lines += [f"bne {results[start + position]},x0,{label}", f"{label}:"]
            control.clear()
            if event.kind in FENCES:
                lines.append(_fence(event))
                continue
            location, size = self._locations[event.address]
            if location not in bases:
                bases[location] = preset(location)
            address = depend(event.address_from, bases[location])
            data = ""
            if identity in self._values:
                data = depend(event.data_from, preset(self._values[identity]))
            target = ""
            if event.kind is not Kind.STORE:
                # An AMOCAS that must fail expects what nobody stores.
                expected = _NEVER_STORED if event.kind is Kind.CAS_FAILED else 0
                target = results[identity] = register()
                self._initial.append(f"{_TYPES[size]} {number}:{target}={expected};")
                self._condition.append(f"{number}:{target}={self._returned(identity, event)}")
            lines.append(_instruction(event, target, data, address))
        return lines

    def _returned(self, identity: int, event: Event) -> int:
        if event.kind is Kind.STORE_CONDITIONAL:
            return 0
        sources = set(self._execution.byte_sources(identity, event))
        if len(sources) > 1:
            raise Unwritable(f"a read at {event.address:#x} returns bytes of several stores")
        source = sources.pop()
        return 0 if source == INITIAL else self._values[source]


def _fence(event: Event) -> str:
    if event.kind is Kind.FENCE_TSO:
        return "fence.tso"
    sets = ("r" * bool(s & 2) + "w" * bool(s & 1) for s in (event.predecessor, event.successor))
    return f"fence {','.join(s or '0' for s in sets)}"


def _instruction(event: Event, target: str, data: str, address: str) -> str:
    suffix = _WIDTHS[event.size] + ORDER_SUFFIXES[Order(event.order)]
    match event.kind:
        case Kind.LOAD:
            return f"l{suffix} {target},0({address})"
        case Kind.STORE:
            return f"s{suffix} {data},0({address})"
        case Kind.LOAD_RESERVED:
            return f"lr.{suffix} {target},({address})"
        case Kind.STORE_CONDITIONAL:
            return f"sc.{suffix} {target},{data},({address})"
        case Kind.AMO:
            return f"amoswap.{suffix} {target},{data},({address})"
        case _:
            return f"amocas.{suffix} {target},x0,({address})"
