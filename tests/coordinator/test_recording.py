"""Recorded runs of real harts, end to end: every policy and tier, from the rings to the verdict."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bus import recording_file
from bus.access import Order
from bus.events import EVENT, LATER_MOST, EventKind, MemoryEvent, decode, ring_area, what
from bus.layout import PAGE, Geometry, Hart, HartStatus, Header
from bus.policies import NAMES, policy
from bus.recorder import BUSY, VERSION_SHIFT, Recorder
from bus.recording_file import BlockKind, Recording, RecordingError, read
from bus.ring import RingReader
from bus.segment import Segment
from coordinator.check.checker import check
from coordinator.check.dependencies import Code
from coordinator.check.execution import Kind
from coordinator.check.models import RVWMO, TSO
from coordinator.check.recorded import build, from_recording
from coordinator.check.verdict import judge_recorded
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from tests.coordinator.guests import COUNTERS, EXIT

CORRECT = [name for name in NAMES if policy(name).correct]
CASES = [
    (name, tier)
    for name in CORRECT
    for tier in ("interpreter", "t1", "t2")
    if tier == "interpreter" or policy(name).lowering is not None
]


def recorded(tmp_path, source: str, **settings) -> Recording:
    """The recording of a run to its end."""
    file = tmp_path / "run.rec"
    vm = VirtualMachine(
        VmSpec(
            name="recorded",
            ram_bytes=1 << 20,
            record_memory=str(file),
            timeout_s=60,
            cache=str(tmp_path / "cache"),
            **settings,
        )
    )
    try:
        vm.load(assemble(source).image)
        vm.start()
        result = vm.wait(90)
        assert result is not None
        assert result.ending is Ending.EXIT, result.detail
    finally:
        vm.destroy()
    return read(file)


@pytest.mark.parametrize(("name", "tier"), CASES)
def test_a_correct_policy_is_allowed(tmp_path, name, tier):
    recording = recorded(tmp_path, COUNTERS.format(n=200), harts=2, policy=name, tier=tier)
    assert recording.complete
    assert recording.whole
    assert recording.lost == (0, 0)
    run = from_recording(recording)
    assert judge_recorded(run, RVWMO).problem is None
    assert check(run.execution, RVWMO) is None
    assert check(run.execution, TSO) is None
    kinds = [e.kind for e in run.execution.events()]
    assert kinds.count(Kind.STORE_CONDITIONAL) == 400
    assert kinds.count(Kind.AMO) == 400 + 400 + 2


@contextmanager
def recorders(harts: int = 2) -> Iterator[tuple[Segment, list[Recorder]]]:
    segment = Segment.create(Geometry(harts=harts, ram_bytes=1 << 16, event_bytes=PAGE))
    segment.unlink()
    try:
        yield segment, [Recorder(segment, hart) for hart in range(harts)]
    finally:
        segment.close()


def events_of(segment: Segment, hart: int) -> list[MemoryEvent]:
    return list(decode(taken(segment, hart)))


def taken(segment: Segment, hart: int) -> bytes:
    area = segment.event_ring(hart)
    cut = ring_area(area)
    ring = RingReader(cut)
    try:
        return ring.read()
    finally:
        for view in (ring, cut, area):
            view.release()


@pytest.mark.parametrize("most", [recording_file.RAW_MOST, 0])
def test_a_ring_that_fills_is_written_as_it_is_and_reads_back_the_same(tmp_path, monkeypatch, most):
    monkeypatch.setattr(recording_file, "RAW_MOST", most)
    file = tmp_path / "run.rec"
    facts = recording_file.Facts("vm", 2, 0x8000_0000, 1 << 16, "inline", "t2", ("I",))
    segment = Segment.create(Geometry(harts=2, ram_bytes=1 << 16, event_bytes=16 * PAGE))
    try:
        recorders = [Recorder(segment, hart) for hart in range(2)]
        recording_file.begin(file, facts, segment)
        segment.header[Header.RECORD_ENDS] = 1
        noted = [16 * PAGE // EVENT // 2, 3]
        for recorder, count in zip(recorders, noted, strict=True):
            for i in range(count):
                recorder.functions.note(recorder.table, i, what(EventKind.FENCE, 1, Order.NONE, 4 * i))
        recording_file.run(recording_file.DrainSpec(segment.name, str(file)))
    finally:
        segment.unlink()
        segment.close()
    raw = BlockKind.RAW_EVENTS if most else BlockKind.EVENTS
    kinds = {
        (kind, hart) for kind, hart, *_ in recording_file.blocks(file) if kind in (BlockKind.EVENTS, raw)
    }
    assert kinds == {(raw, 0), (BlockKind.EVENTS, 1)}
    for stream, count in zip(read(file).events, noted, strict=True):
        assert [(e.offset, e.pc) for e in decode(stream)] == [(i, 4 * i) for i in range(count)]


def test_a_recorded_line_has_one_writer_at_a_time():
    with recorders() as (_, (one, other)):
        old = one.functions.enter(one.table, 64)
        assert old == 0
        assert other.functions.enter(other.table, 64 + 56) == BUSY
        assert other.functions.enter(other.table, 128) == 0
        one.functions.settle(one.table, 64, what(EventKind.STORE, 8, Order.NONE, 0), 0, 5, old, 1)
        assert other.functions.enter(other.table, 64) >> VERSION_SHIFT == 1


def test_a_read_waits_for_nobody_and_says_what_it_may_have_seen():
    with recorders() as (segment, (one, other)):
        kind = what(EventKind.LOAD, 4, Order.AQ, 12)
        old = one.functions.enter(one.table, 64)
        first = other.functions.look(other.table, 68)
        other.functions.saw(other.table, 68, kind, 7, first)
        one.functions.settle(one.table, 64, what(EventKind.STORE, 8, Order.NONE, 0), 0, 5, old, 1)
        first = other.functions.look(other.table, 68)
        other.functions.saw(other.table, 68, kind, 9, first)
        seen = events_of(segment, 1)
        assert [(e.version, e.later, e.read) for e in seen] == [(0, 1, 7), (1, 0, 9)]
        assert seen[0][:6] == (EventKind.LOAD, 4, Order.AQ, 1, 12, 68)
        (wrote,) = events_of(segment, 0)
        assert (wrote.kind, wrote.version, wrote.written) == (EventKind.STORE, 1, 5)


@pytest.mark.parametrize(("returned", "problems"), [(LATER_MOST + 72, 0), (LATER_MOST + 400, 1)])
def test_a_read_that_took_long_may_have_seen_any_later_version(returned, problems):
    """The hart was preempted between its looks: the count of later versions that an event can say is not enough."""
    with recorders() as (segment, (one, other)):
        first = other.functions.look(other.table, 64)
        streams = [b"", b""]
        for version in range(1, LATER_MOST + 300):
            old = one.functions.enter(one.table, 64)
            one.functions.settle(one.table, 64, what(EventKind.STORE, 4, Order.NONE, 0), 0, version, old, 1)
            if version % 50 == 0:
                streams[0] += taken(segment, 0)
        streams[0] += taken(segment, 0)
        other.functions.saw(other.table, 64, what(EventKind.LOAD, 4, Order.NONE, 4), returned, first)
        streams[1] = taken(segment, 1)
    code = assemble("sw a0, 0(a1)\nlw a2, 0(a1)\n", base=0).image
    words = {4 * i: int.from_bytes(code.chunks[0].data[4 * i : 4 * i + 4], "little") for i in range(2)}
    run = build(streams, 0, Code(words.get, frozenset({"I"})), lambda _, size: bytes(size), {})
    assert len(run.problems) == problems
    if not problems:
        assert run.execution.source[-1] == returned - 1
        assert judge_recorded(run, RVWMO).violation is None


def test_a_full_ring_makes_the_hart_wait():
    with recorders(1) as (segment, (one,)):
        noted = 0
        while one.functions.room(one.table) != BUSY:
            one.functions.note(one.table, 0x33, what(EventKind.FENCE, 1, Order.NONE, 0))
            noted += 1
        assert one.functions.look(one.table, 0) == one.functions.enter(one.table, 0) == BUSY
        assert len(events_of(segment, 0)) == noted
        assert one.functions.room(one.table) == 0


def test_lost_events_are_counted():
    segment = Segment.create(Geometry(harts=1, ram_bytes=1 << 16, event_bytes=PAGE))
    segment.unlink()
    try:
        segment.header[Header.EVENTS_MAY_BE_LOST] = 1
        recorder = Recorder(segment, 0)
        for _ in range(200):
            recorder.functions.note(recorder.table, 0, what(EventKind.FENCE, 1, Order.NONE, 0))
        lost = segment.harts[0][Hart.EVENTS_LOST]
        assert lost
        assert lost + len(events_of(segment, 0)) == 200
    finally:
        segment.close()


def test_a_dead_owner_s_line_is_taken_over():
    with recorders() as (segment, (one, other)):
        one.functions.enter(one.table, 64)
        other.take_from_the_dead(64)
        assert other.functions.enter(other.table, 64) == BUSY
        segment.harts[0][Hart.STATUS] = HartStatus.ENDED
        other.take_from_the_dead(64)
        assert other.functions.enter(other.table, 64) >> VERSION_SHIFT == 1
        assert segment.harts[1][Hart.LINES_TAKEN] == 1


DEPENDENT = (
    """
.globl _start
_start: la s0, x
        ld t0, (s0)             # 0
        xor t1, t0, t0
        add t1, t1, s0
        ld t2, 8(t1)            # 1: address from 0
        call id
        sd a0, 16(s0)           # 2: data from 1, through a call
        beqz t2, 1f
        addi t3, zero, 1
1:      fence rw, w             # 3
        sd t3, 24(s0)           # 4: control from 1 before the fence
        fence.tso               # 5
        sw t3, 3(s0)            # 6 to 9: misaligned, byte by byte
        li a0, 0
        j exit
id:     mv a0, t2
        ret
.data
.balign 64
x: .dword 0, 5, 0, 0
.text
"""
    + EXIT
)


@pytest.mark.parametrize("tier", ["interpreter", "t1"])
def test_dependencies_follow_from_the_code(tmp_path, tier):
    run = from_recording(recorded(tmp_path, DEPENDENT, harts=1, policy="inline", tier=tier))
    (events,) = run.execution.harts
    assert [e.kind for e in events[:6]] == [
        Kind.LOAD, Kind.LOAD, Kind.STORE, Kind.FENCE, Kind.STORE, Kind.FENCE_TSO,
    ]  # fmt: skip
    assert events[1].address_from == (0,)
    assert events[2].data_from == (1,)
    assert events[3].control_from == (1,)
    assert (events[3].predecessor, events[3].successor) == (3, 1)
    assert [e.size for e in events[6:10]] == [1, 1, 1, 1]
    assert events[4].data_from == ()


def test_a_value_that_nobody_wrote_is_a_problem():
    def event(kind, read, written, version, offset=64):
        return struct.pack("<5Q", what(kind, 8, Order.NONE, 0), offset, read, written, version)

    def judged(*harts):
        code = Code(lambda pc: None, frozenset({"I"}))
        return build(harts, 0x8000_0000, code, lambda offset, size: bytes(size), {})

    wrote = event(EventKind.STORE, 0, 5, 1)
    assert judged(wrote, event(EventKind.LOAD, 5, 0, 1)).problems == ()
    (problem,) = judged(wrote, event(EventKind.LOAD, 6, 0, 1)).problems
    assert "it read 0x6" in problem.text
    assert judged(event(EventKind.STORE, 0, 5, 2), event(EventKind.LOAD, 6, 0, 2, 72)).unknown == 1


def test_a_file_that_is_cut_off_says_so(tmp_path):
    recorded(tmp_path, COUNTERS.format(n=5), harts=2, policy="inline", tier="interpreter")
    file = tmp_path / "run.rec"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 40])
    assert not read(file).complete
    file.write_bytes(b"hartstorm memory 0\n" + whole[20:])
    with pytest.raises(RecordingError, match="not a recording"):
        read(file)
    at = whole.index(b"x", len(whole) // 2)
    file.write_bytes(whole[:at] + bytes(30) + whole[at + 30 :])
    with pytest.raises(RecordingError, match="damaged"):
        read(file)
