"""Traces in the format of axe: reading and writing.

Owns that format: one operation a line, `T: M[A] := V`, `T: M[A] == V`, `T: { M[A] == V; M[A] := W }`, `T: sync`, an
optional ` @ begin:end`, `final M[A] == V`, `check` between traces, `#` comments. It knows no partial fences, orders or
dependencies, and wants every store to write a new value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coordinator.check.cells import Cells
from coordinator.check.execution import FENCES, Event, Kind
from coordinator.litmus.text import Source

SIZE = 8
"""Bytes of an axe location; location A has the address A * SIZE."""

_LINE = re.compile(
    r"""(?P<thread>\d+)\s*:\s*(?:
      (?P<sync>sync)
    | M\[(?P<at>\d+)\]\s*(?P<how>:=|==)\s*(?P<value>\d+)
    | \{\s*M\[(?P<rat>\d+)\]\s*==\s*(?P<old>\d+)\s*;\s*M\[(?P<wat>\d+)\]\s*:=\s*(?P<new>\d+)\s*\}
    )\s*(?:@\s*\d*\s*:\s*\d*)?""",
    re.VERBOSE,
)
_FINAL = re.compile(r"final\s+M\[(\d+)\]\s*==\s*(\d+)")
_FULL = 3


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace: each thread's events in program order, and final values by location where given."""

    harts: tuple[tuple[Event, ...], ...]
    final: dict[int, int]


class Unwritable(ValueError):
    """An execution that has no trace."""


def read_traces(text: str, name: str = "<axe>") -> Iterator[Trace]:
    """The traces of a file.

    Raises:
        LitmusError: a line that is not of the format; says where.

    """
    source = Source(name, text)
    threads: dict[int, list[Event]] = {}
    final: dict[int, int] = {}
    position = 0
    for raw in text.splitlines(keepends=True):
        line = raw.partition("#")[0].strip()
        if line == "check":
            yield _trace(threads, final)
            threads, final = {}, {}
        elif match := _FINAL.fullmatch(line):
            final[int(match[1])] = int(match[2])
        elif match := _LINE.fullmatch(line):
            if match["rat"] != match["wat"]:
                raise source.error(position, "an atomic operation has one location")
            threads.setdefault(int(match["thread"]), []).append(_event(match))
        elif line:
            raise source.error(position, f"{line!r} is not an operation of a trace")
        position += len(raw)
    if threads:
        yield _trace(threads, final)


def _trace(threads: dict[int, list[Event]], final: dict[int, int]) -> Trace:
    return Trace(tuple(tuple(threads[t]) for t in sorted(threads)), final)


def _event(match: re.Match[str]) -> Event:
    if match["sync"]:
        return Event(Kind.FENCE, predecessor=_FULL, successor=_FULL)
    if match["rat"] is not None:
        address = int(match["rat"]) * SIZE
        return Event(Kind.AMO, address, SIZE, read=int(match["old"]), written=int(match["new"]))
    address, value = int(match["at"]) * SIZE, int(match["value"])
    if match["how"] == ":=":
        return Event(Kind.STORE, address, SIZE, written=value)
    return Event(Kind.LOAD, address, SIZE, read=value)


@dataclass(frozen=True, slots=True)
class Written:
    """A trace as text, and how often it leaves something out that the format cannot say, by what that is."""

    text: str
    left_out: Counter[str]


def write_trace(harts: Sequence[Sequence[Event]], initial: Mapping[int, int] | None = None) -> Written:
    """An execution as a trace, with `check` at its end. Addresses and values become small numbers, initial values 0.

    An LR and the SC it is paired with become one atomic operation, if nothing but register instructions stood between.
    What orders events and has no form in a trace is left out: the trace allows more than the execution, so that axe's
    NO holds for both, and its OK for the trace alone.

    Args:
        harts: each hart's events.
        initial: of each address, the value before the run where it is not 0.

    Raises:
        Unwritable: accesses overlap in part, a value is not known, or a store writes a value that was stored there
            before or is the initial one.

    """
    cells = Cells((e.address, e.size) for events in harts for e in events if e.size)
    locations: dict[int, int] = {}
    values: dict[int, dict[int, int]] = {}
    lines: list[str] = []
    written: set[tuple[int, int]] = set()
    left_out: Counter[str] = Counter()
    before = initial or {}

    def location(event: Event) -> int:
        return locations.setdefault(event.address, len(locations))

    def value(event: Event, number: int | None) -> int:
        if number is None:
            raise Unwritable(f"{event.text or event.kind.name}: its value is not known")
        known = values.setdefault(event.address, {before.get(event.address, 0): 0})
        return known.setdefault(number, len(known))

    for thread, events in enumerate(harts):
        absorbed: set[int] = set()
        for position, event in enumerate(events):
            if position in absorbed:
                continue
            conditional = _conditional_after(events, position)
            left_out.update(_unsayable(event))
            if conditional is not None:
                absorbed.add(position + 1)
                left_out.update(_unsayable(conditional._replace(kind=Kind.AMO)))
                event = conditional._replace(kind=Kind.AMO, read=event.read)
            if event.kind in FENCES:
                if _is_full(event):
                    lines.append(f"{thread}: sync")
                continue
            if len(cells.covering(event)) > 1:
                raise Unwritable(f"{event.text or event.kind.name}: axe has no accesses that overlap in part")
            place, new = f"M[{location(event)}]", event.written
            if new is not None:
                if new == before.get(event.address, 0) or (event.address, new) in written:
                    raise Unwritable(
                        f"{event.text or event.kind.name}: axe wants every store to write a new value; "
                        f"{new:#x} was there before"
                    )
                written.add((event.address, new))
            if event.kind is Kind.AMO:
                lines.append(
                    f"{thread}: {{ {place} == {value(event, event.read)}; {place} := {value(event, new)} }}"
                )
            elif event.kind in (Kind.STORE, Kind.STORE_CONDITIONAL):
                lines.append(f"{thread}: {place} := {value(event, new)}")
            else:
                lines.append(f"{thread}: {place} == {value(event, event.read)}")
    return Written("\n".join([*lines, "check", ""]), left_out)


def _conditional_after(events: Sequence[Event], position: int) -> Event | None:
    following = events[position + 1] if position + 1 < len(events) else None
    return following if following is not None and following.pair == position else None


def _is_full(fence: Event) -> bool:
    sets = fence.predecessor & _FULL, fence.successor & _FULL
    return fence.kind is Kind.FENCE and sets == (_FULL, _FULL)


def _unsayable(event: Event) -> Iterator[str]:
    """What of an event has no form in a trace."""
    lost = {
        "partial fence": event.kind in FENCES and not _is_full(event),
        "aq or rl": bool(event.order),
        "address dependency": bool(event.address_from),
        "data dependency": bool(event.data_from),
        "control dependency": bool(event.control_from),
        "atomicity of an SC that is not next to its LR": event.kind is Kind.STORE_CONDITIONAL,
    }
    return (what for what, is_lost in lost.items() if is_lost)
