"""From harts' memory events to an execution: values, reads-from, coherence and dependencies of a recorded run.

Owns what the events mean (`bus.events`, `bus.recorder`), and what they alone show to be wrong: a value that no write
put there. Judges no order: that is `coordinator.check.checker`'s.

- *Coherence* is the order of the versions of each line.
- *Reads-from*: the writes that had made the bytes of the version that a read saw. A read that overlapped writes may
  have seen several versions; those whose bytes are the value read are its candidates.
- An LR with nothing but register instructions to its SC may be fused with it: the policy then compares values, and
  the LR counts as reading at the instant of the SC (`bus.policies.inline`). So an LR whose value is still there when
  its own SC writes, with no other event between, reads from the writes before the SC.
- A failed SC is no memory operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bus.access import AmoOp, combine
from bus.events import LATER_MOST, EventKind, MemoryEvent, decode
from bus.layout import LINE_EXP, PAGE
from bus.recording_file import Recording
from coordinator.check.dependencies import Code, Feeds, Positions
from coordinator.check.execution import INITIAL, PER_BYTE, Event, Execution, Kind
from hart.isa.effects import MemoryEffect
from hart.isa.instruction import Instruction

LINE = 1 << LINE_EXP
_UNKNOWN = -3
"""As the writer of a byte: a write that was not noted."""

_KINDS = {
    EventKind.LOAD: Kind.LOAD,
    EventKind.STORE: Kind.STORE,
    EventKind.LR: Kind.LOAD_RESERVED,
    EventKind.SC: Kind.STORE_CONDITIONAL,
    EventKind.AMO: Kind.AMO,
    EventKind.CAS: Kind.AMO,
    EventKind.CAS_FAILED: Kind.CAS_FAILED,
}
_EFFECTS = {
    EventKind.LOAD: MemoryEffect.LOAD,
    EventKind.STORE: MemoryEffect.STORE,
    EventKind.LR: MemoryEffect.LOAD_RESERVED,
    EventKind.SC: MemoryEffect.STORE_CONDITIONAL,
    EventKind.SC_FAILED: MemoryEffect.STORE_CONDITIONAL,
    EventKind.AMO: MemoryEffect.AMO,
    EventKind.CAS: MemoryEffect.COMPARE_AND_SWAP,
    EventKind.CAS_FAILED: MemoryEffect.COMPARE_AND_SWAP,
}
_WRITES = frozenset({EventKind.STORE, EventKind.SC, EventKind.AMO, EventKind.CAS})
_INERT = Event(Kind.FENCE)
"""Stands for a read of which nothing is known: a fence that orders nothing."""
_OPERATIONS = tuple(AmoOp)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that no order of the events can explain: at the event `identity`, or -1 for the end of the run."""

    identity: int
    text: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded run as an execution.

    Attributes:
        execution: what happened.
        problems: what is wrong with it whatever the order; any makes the run forbidden.
        choices: reads that may have seen several versions with the same bytes: the sources of each byte, by event. The
            first is the execution's.
        unknown: reads of bytes that some write that was not noted may have written; they are left out.

    """

    execution: Execution
    problems: tuple[Problem, ...] = ()
    choices: Mapping[int, tuple[Positions, ...]] = field(default_factory=dict)
    unknown: int = 0

    def with_source(self, identity: int, sources: Positions) -> Recorded:
        """The same run with another choice for a read."""
        execution = self.execution
        source, bytewise = list(execution.source), dict(execution.bytewise)
        source[identity], single = _source(sources)
        bytewise.pop(identity, None)
        if not single:
            bytewise[identity] = sources
        return replace(self, execution=replace(execution, source=source, bytewise=bytewise))


def _source(sources: Positions) -> tuple[int, bool]:
    if sources.count(sources[0]) == len(sources):
        return sources[0], True
    return PER_BYTE, False


_Candidates = list[tuple[int, Positions]]
"""Versions that a read may have seen, with the sources of its bytes, the oldest first."""


@dataclass(slots=True)
class _Line:
    """What happened to one line: (version, event) of each write, (version, later versions, event) of each read."""

    writes: list[tuple[int, int]] = field(default_factory=list)
    reads: list[tuple[int, int, int]] = field(default_factory=list)


class _Builder:
    def __init__(self, base: int, code: Code, memory: Callable[[int, int], bytes]) -> None:
        self._base = base
        self._code = code
        self._memory = memory
        self._lines: dict[int, _Line] = {}
        self._events: list[Event] = []
        self._harts: list[list[Event]] = []
        self.problems: list[Problem] = []
        self._fused: dict[int, int] = {}
        """LRs that may count as reading when their SC writes, by that SC."""
        self._source: list[int] = []
        self._bytewise: dict[int, Positions] = {}
        self._choices: dict[int, tuple[Positions, ...]] = {}
        self._unknown: set[int] = set()
        self._settled: set[int] = set()
        """LRs that count as reading when their SC wrote."""
        self._coherence: list[list[int]] = []

    # Each hart

    def add_hart(self, stream: bytes) -> None:
        """The events of the next hart."""
        events: list[Event] = []
        first = len(self._events)
        feeds = Feeds(self._code)
        reserved = -1
        here = -1
        for e in decode(stream):
            pc = self._base + e.pc
            if e.kind is EventKind.TRAP:
                feeds.forget()
                feeds.go_on(self._base + e.offset)
                here = -1
                continue
            # A misaligned access is noted byte by byte.
            i = self._code.at(pc) if pc == here and e.size == 1 else feeds.come_to(pc)
            here = pc
            if e.kind is EventKind.JUMP:
                if i is not None:
                    feeds.depend_on_jump(i.effects.condition)
                    feeds.set(i.effects.writes, ())
                feeds.go_on(self._base + e.offset)
                here = -1
                continue
            if i is not None:
                feeds.go_on(i.next)
            position = len(events)
            if e.kind is EventKind.FENCE:
                tso = i is not None and i.effects.memory is MemoryEffect.FENCE_TSO
                kind = Kind.FENCE_TSO if tso else Kind.FENCE
                text = self._code.text(pc)
                events.append(
                    Event(
                        kind, 0, 0, 0, None, None, (), (), feeds.take_control(), -1,
                        e.offset >> 4, e.offset & 15, pc, text,
                    )
                )  # fmt: skip
                continue
            known = i is not None and i.effects.memory is _EFFECTS[e.kind]
            address_from: Positions = ()
            data_from: Positions = ()
            if known:
                assert i is not None
                address_from, data_from = feeds.of(i.effects.address), feeds.of(i.effects.data)
                if e.kind is not EventKind.STORE:
                    feeds.set(i.effects.writes, () if e.kind is EventKind.SC_FAILED else (position,))
            if e.kind is EventKind.SC_FAILED:
                reserved = -1
                continue
            pair = -1
            identity = first + position
            if e.kind is EventKind.SC:
                pair, reserved = reserved, -1
                if pair < 0:
                    self.problems.append(Problem(identity, "an SC succeeded without a reservation"))
                elif pair == position - 1:
                    self._fused[identity] = first + pair
            elif e.kind is EventKind.LR:
                reserved = position
            events.append(self._event(e, i, pc, address_from, data_from, feeds.take_control(), pair))
            self._note(e, identity)
        self._harts.append(events)
        self._events += events

    def _event(
        self,
        e: MemoryEvent,
        i: Instruction | None,
        pc: int,
        address_from: Positions,
        data_from: Positions,
        control_from: Positions,
        pair: int,
    ) -> Event:
        read = None if e.kind in (EventKind.STORE, EventKind.SC) else e.read
        written = e.written if e.kind in _WRITES else None
        if e.kind is EventKind.AMO:
            written = combine(_OPERATIONS[e.op], e.read, e.written, e.size)
        return Event(
            _KINDS[e.kind], self._base + e.offset, e.size, e.order, read, written,
            address_from, data_from, control_from, pair, 0, 0, pc, self._code.text(pc),
        )  # fmt: skip

    def _note(self, e: MemoryEvent, identity: int) -> None:
        line = self._lines.get(e.offset >> LINE_EXP)
        if line is None:
            line = self._lines[e.offset >> LINE_EXP] = _Line()
        if e.kind in _WRITES:
            line.writes.append((e.version, identity))
        else:
            line.reads.append((e.version, e.later, identity))

    # Each line

    def resolve(self, version_of: Callable[[int], int]) -> dict[int, bytes]:
        """Find each read's source and each line's order; what each line holds in the end, by line, None if unknown."""
        self._source = [INITIAL] * len(self._events)
        ends: dict[int, bytes] = {}
        for number, line in self._lines.items():
            held = _LineState(self._base + number * LINE, self._memory(number * LINE, LINE))
            self._replay(line, held, version_of(number))
            if _UNKNOWN not in held.writers:
                ends[number] = bytes(held.data)
        return ends

    def _replay(self, line: _Line, held: _LineState, version: int) -> None:
        line.writes.sort()
        line.reads.sort()
        reads, at = line.reads, 0
        open_reads: list[tuple[int, int, _Candidates]] = []
        unsure: dict[int, _Candidates] = {}
        order = [identity for _, identity in line.writes]
        if len(order) > 1:
            self._coherence.append(order)
        for step in range(len(order) + 1):
            while at < len(reads) and reads[at][0] <= version:
                _, later, identity = reads[at]
                at += 1
                if later:
                    candidates: _Candidates = []
                    unsure[identity] = candidates
                    last = reads[at - 1][0] + later
                    # That many or more: the hart was preempted between its looks.
                    if later == LATER_MOST and line.writes:
                        last = max(last, line.writes[-1][0])
                    open_reads.append((last, identity, candidates))
                else:
                    self._read_exactly(identity, held, version)
            if open_reads:
                still = []
                for last, identity, found in open_reads:
                    event = self._events[identity]
                    sources = held.sources_if(event)
                    if sources is not None and (not found or found[-1][1] != sources):
                        found.append((version, sources))
                    if last > version:
                        still.append((last, identity, found))
                    elif not found and _UNKNOWN in held.sources(event):
                        self._leave_out(identity)
                open_reads = still
            if step == len(order):
                break
            following, identity = line.writes[step]
            if following != version + 1:
                held.forget()
            version = following
            self._write(identity, held)
        if unsure:
            self._choose(line, unsure)
        for _, _, identity in reads[at:]:
            self._leave_out(identity)  # of a version whose write was not noted

    def _read_exactly(self, identity: int, held: _LineState, version: int) -> None:
        event = self._events[identity]
        sources = held.sources(event)
        if _UNKNOWN in sources:
            self._leave_out(identity)
            return
        value = held.value(event)
        if value != event.read:
            self.problems.append(
                Problem(
                    identity,
                    f"it read {event.read:#x}; what had been written there was {value:#x} (version {version})",
                )
            )
        self._set_source(identity, sources)

    def _write(self, identity: int, held: _LineState) -> None:
        event = self._events[identity]
        if event.read is not None:
            self._read_exactly(identity, held, -1)
        load = self._fused.get(identity)
        if load is not None:
            sources = held.sources_if(self._events[load])
            if sources is not None:
                self._set_source(load, sources)
                self._choices.pop(load, None)
                self._settled.add(load)
        held.write(identity, event)

    def _choose(self, line: _Line, unsure: Mapping[int, _Candidates]) -> None:
        """Give each read that may have seen several versions the first that is not older than what its hart had seen.

        What a hart sees of a byte never gets older (coherence), so this leaves out nothing that could be right.
        """
        seen = {identity: version for version, identity in line.writes}
        seen.update({i: version for version, later, i in line.reads if not later})
        newest: dict[tuple[int, int], int] = {}
        hart, end = -1, 0
        for identity in sorted({*seen, *unsure}):
            while identity >= end:
                hart += 1
                end += len(self._harts[hart])
            event = self._events[identity]
            touched = [(hart, event.address + i) for i in range(event.size)]
            if identity in unsure and identity not in self._settled and identity not in self._unknown:
                found = unsure[identity]
                if not found:
                    text = f"it read {event.read:#x}, which no write had put there as a whole at that time"
                    self.problems.append(Problem(identity, text))
                    continue
                oldest = max(newest.get(byte, -1) for byte in touched)
                usable = [c for c in found if c[0] >= oldest] or found[-1:]
                seen[identity] = usable[0][0]
                self._set_source(identity, usable[0][1])
                if len(usable) > 1:
                    self._choices[identity] = tuple(sources for _, sources in usable)
            if identity in seen:
                for byte in touched:
                    newest[byte] = max(newest.get(byte, -1), seen[identity])

    def _leave_out(self, identity: int) -> None:
        self._unknown.add(identity)

    def _set_source(self, identity: int, sources: Positions) -> None:
        if identity in self._settled:
            return
        source, single = _source(sources)
        self._source[identity] = source
        if single:
            self._bytewise.pop(identity, None)
        else:
            self._bytewise[identity] = sources

    def finished(self, initial: Mapping[int, int], symbols: Mapping[int, str]) -> Recorded:
        """The execution; after `resolve`."""
        harts = self._harts
        if self._unknown:
            start = 0
            for number, events in enumerate(harts):
                harts[number] = [
                    _INERT if start + p in self._unknown and e.written is None else e
                    for p, e in enumerate(events)
                ]
                start += len(events)
        execution = Execution(tuple(harts), self._source, self._coherence, self._bytewise, initial, symbols)
        return Recorded(execution, tuple(self.problems), self._choices, len(self._unknown))


class _LineState:
    """A line as its writes go by: its bytes, and who wrote each."""

    __slots__ = ("_start", "data", "writers")

    def __init__(self, start: int, data: bytes) -> None:
        self._start = start
        self.data = bytearray(data)
        self.writers = [INITIAL] * LINE

    def write(self, identity: int, event: Event) -> None:
        at, size = event.address - self._start, event.size
        assert event.written is not None
        self.data[at : at + size] = event.written.to_bytes(size, "little")
        self.writers[at : at + size] = [identity] * size

    def sources(self, event: Event) -> Positions:
        at = event.address - self._start
        return tuple(self.writers[at : at + event.size])

    def value(self, event: Event) -> int:
        at = event.address - self._start
        return int.from_bytes(self.data[at : at + event.size], "little")

    def sources_if(self, event: Event) -> Positions | None:
        """The sources of a read if its value is what is there now."""
        if self.value(event) != event.read:
            return None
        sources = self.sources(event)
        return None if _UNKNOWN in sources else sources

    def forget(self) -> None:
        """A write that was not noted may have changed any byte."""
        self.writers = [_UNKNOWN] * LINE


def build(
    streams: Sequence[bytes],
    base: int,
    code: Code,
    memory: Callable[[int, int], bytes],
    symbols: Mapping[int, str],
    final: Callable[[int, int], bytes] | None = None,
    version_of: Callable[[int], int] = lambda line: 0,
) -> Recorded:
    """An execution from each hart's events.

    Args:
        streams: each hart's events.
        base: guest address of RAM.
        code: the program.
        memory: bytes of RAM before the run, by offset and size.
        symbols: names by address.
        final: likewise after the run, where it holds nothing that was not noted.
        version_of: the version of a line, by its number in RAM, that `memory` shows.

    """
    builder = _Builder(base, code, memory)
    for stream in streams:
        builder.add_hart(stream)
    ends = builder.resolve(version_of)
    if final is not None:
        for number, data in sorted(ends.items()):
            now = final(number * LINE, LINE)
            if now != data:
                at = next(i for i in range(LINE) if now[i] != data[i])
                builder.problems.append(
                    Problem(
                        -1,
                        f"memory at {base + number * LINE + at:#x} holds {now[at]:#04x} in the end; "
                        f"the last write there made it {data[at]:#04x}",
                    )
                )
    return builder.finished({}, symbols)


def from_recording(recording: Recording) -> Recorded:
    """The execution that a recording tells of."""
    facts = recording.facts
    before = recording.pages
    after = {**before, **recording.final}

    def memory(pages: Mapping[int, bytes], offset: int, size: int) -> bytes:
        page = pages.get(offset // PAGE)
        return bytes(size) if page is None else page[offset % PAGE : offset % PAGE + size]

    changed = _changed_lines(before, recording.final)

    def fetch(pc: int) -> int | None:
        offset = pc - facts.ram_base
        if not 0 <= offset < facts.ram_bytes - 2 or offset >> LINE_EXP in changed:
            return None
        low = int.from_bytes(memory(before, offset, 2), "little")
        if low & 3 != 3:
            return low
        return low | int.from_bytes(memory(before, offset + 2, 2), "little") << 16

    certain = recording.complete and recording.whole and not recording.outside and not recording.taken
    return build(
        recording.events,
        facts.ram_base,
        Code(fetch, frozenset(facts.extensions)),
        lambda offset, size: memory(before, offset, size),
        {address: name for name, address in facts.symbols.items()},
        (lambda offset, size: memory(after, offset, size)) if certain and not any(recording.lost) else None,
    )


def _changed_lines(before: Mapping[int, bytes], final: Mapping[int, bytes]) -> frozenset[int]:
    """Lines that the run changed: their instructions may have been others."""
    changed = set()
    for number, page in final.items():
        old = before.get(number, bytes(PAGE))
        for at in range(0, PAGE, LINE):
            if old[at : at + LINE] != page[at : at + LINE]:
                changed.add((number * PAGE + at) >> LINE_EXP)
    return frozenset(changed)
