"""The recorder: native functions that note each memory access of a hart, and number the writes to each line.

Owns the line words, the functions and their table; `bus.recording` places the calls around a policy's accesses, in
native code and in the interpreter's port alike. Performs no guest access itself, and knows no policy.

How it works
============
A line is 1 << LINE_EXP bytes of RAM and has a word: `version | owner`. A write (store, AMO, AMOCAS, SC) owns the
line while the policy performs it: `enter` takes the word by compare-and-swap, and the word is given back with the
next version by a plain store once the access is done. A read takes nothing and waits for nobody: `look` reads the
word before the access and `saw` after it.

Why what is noted is the true order (x86-64)
============================================
*Writes.* One owner at a time, so the versions of a line number its writes. The next owner's compare-and-swap sees the
word given back, which the host orders after the data (TSO), so the data are in the order of the versions.

*Reads.* If both looks show the same version and no owner, the value is that version's: what an owner writes becomes
visible after its compare-and-swap, which the second look would have seen; and the version's own data were visible
before the word that the first look saw. (A hart's own words and data come out of its store buffer in order, too.)
Otherwise the event says how many later versions may have been seen; the value decides, and if two versions have the
same bytes, the checker tries both.

What recording hides
====================
- Writers of one line take turns. So a policy that is wrong only when two writes overlap (an AMO made of a load and a
  store) looks right while it is recorded: bare runs of litmus tests and of `hartstorm fuzz memory` look for that. Reads
  overlap writes as ever: a torn store is seen.
- The compare-and-swap empties the host's store buffer. So a load passes at most the one latest store of its hart,
  where unrecorded it may pass several. Loads do pass it: store buffering is seen in recorded runs.
- Accesses are slower and writes to different places of a line contend, so timing differs.

A hart that dies may leave a line owned. Whoever waits for it finds the owner's status in its page, takes the line over
and counts it (LINES_TAKEN): the dead hart's write may have been done without being noted.

AArch64 would need `look` and `saw` to be acquire loads with a load barrier between, and has not been tried.
"""

from __future__ import annotations

import ctypes
from functools import cache

from bus.events import (
    EVENT,
    LATER_MOST,
    LATER_SHIFT,
    RING_HEADER,
    EventKind,
    ring_area,
)
from bus.layout import LINE_EXP, WORD, Hart, HartStatus, Header
from bus.native import compile_module, host_atomics
from bus.segment import Segment

OWNER = 0xFFFF
"""Bits of a line word: 1 + the hart that writes to the line, or 0."""
VERSION_SHIFT = 16
VERSION = 1 << VERSION_SHIFT
SPINS = 100
"""Looks at a line that another hart owns before giving up."""

BUSY = (1 << 64) - 1
"""Not now: the ring is full or the line another's. Nothing has happened; pass a safepoint and repeat."""
SKIPPED = (1 << 64) - 2
"""The access lies outside of what is recorded."""

# Words of the table, which is private to a hart's process.
_LINES, _RING, _NEXT, _END, _WRITTEN, _READ, _OWNER, _FROM, _BYTES, _PAGE, _FUNCTIONS = range(11)

FUNCTIONS = ("look", "saw", "enter", "settle", "leave", "room", "note", "high")
"""Names of the functions, in the order of their pointers in the table."""


def _word(name: str, index: int) -> str:
    return f"""  %{name}.p = getelementptr i64, ptr %t, i64 {index}
  %{name} = load i64, ptr %{name}.p
"""


def _ir(waits: bool) -> str:
    """`waits`: an access waits until there is space for its event; else the event is lost and counted."""
    line = f"""
  %l.n = lshr i64 %offset, {LINE_EXP}
{_word("l.base", _LINES)}
  %l.all = inttoptr i64 %l.base to ptr
  %l = getelementptr i64, ptr %l.all, i64 %l.n
"""
    within = f"""
{_word("from", _FROM)}
{_word("bytes", _BYTES)}
  %w.at = sub i64 %offset, %from
  %w.in = icmp ult i64 %w.at, %bytes
  br i1 %w.in, label %within, label %skip
skip:
  ret i64 {SKIPPED - (1 << 64)}
within:
"""
    space = """
  %space = call i1 @has_space(ptr %t)
  br i1 %space, label %free, label %busy
busy:
  ret i64 -1
free:
"""
    lost = f"""
  %lost.space = call i1 @has_space(ptr %t)
  br i1 %lost.space, label %keep, label %lose
lose:
{_word("page", _PAGE)}
  %page.all = inttoptr i64 %page to ptr
  %lost.p = getelementptr i64, ptr %page.all, i64 {int(Hart.EVENTS_LOST)}
  %lost.n = load i64, ptr %lost.p
  %lost.m = add i64 %lost.n, 1
  store i64 %lost.m, ptr %lost.p
  ret void
keep:
"""
    return f"""
define internal i1 @has_space(ptr %t) alwaysinline {{
{_word("written", _WRITTEN)}
{_word("read", _READ)}
{_word("end", _END)}
  %used = sub i64 %written, %read
  %most = sub i64 %end, {2 * EVENT}
  %fits = icmp sle i64 %used, %most
  br i1 %fits, label %yes, label %look
look:
{_word("ring", _RING)}
  %ring.all = inttoptr i64 %ring to ptr
  %now.p = getelementptr i64, ptr %ring.all, i64 1
  %now = load atomic volatile i64, ptr %now.p acquire, align 8
  store i64 %now, ptr %read.p
  %used2 = sub i64 %written, %now
  %fits2 = icmp sle i64 %used2, %most
  ret i1 %fits2
yes:
  ret i1 true
}}
define internal void @append(ptr %t, i64 %what, i64 %place, i64 %read, i64 %wrote, i64 %version) noinline {{
{"" if waits else lost}
{_word("ring.b", _RING)}
{_word("next", _NEXT)}
{_word("end.a", _END)}
{_word("count", _WRITTEN)}
  %ring.b.all = inttoptr i64 %ring.b to ptr
  %data = getelementptr i8, ptr %ring.b.all, i64 {RING_HEADER}
  %e0 = getelementptr i8, ptr %data, i64 %next
  %e1 = getelementptr i64, ptr %e0, i64 1
  %e2 = getelementptr i64, ptr %e0, i64 2
  %e3 = getelementptr i64, ptr %e0, i64 3
  %e4 = getelementptr i64, ptr %e0, i64 4
  store i64 %what, ptr %e0
  store i64 %place, ptr %e1
  store i64 %read, ptr %e2
  store i64 %wrote, ptr %e3
  store i64 %version, ptr %e4
  %after = add i64 %next, {EVENT}
  %wraps = icmp eq i64 %after, %end.a
  %following = select i1 %wraps, i64 0, i64 %after
  store i64 %following, ptr %next.p
  %total = add i64 %count, {EVENT}
  store i64 %total, ptr %count.p
  store atomic volatile i64 %total, ptr %ring.b.all release, align 8
  ret void
}}
define i64 @look(ptr %t, i64 %offset) {{
{within}
{space if waits else ""}
{line}
  %v = load atomic volatile i64, ptr %l acquire, align 8
  ret i64 %v
}}
define void @saw(ptr %t, i64 %place, i64 %what, i64 %value, i64 %first) {{
  %skipped = icmp eq i64 %first, {SKIPPED - (1 << 64)}
  br i1 %skipped, label %done, label %on
done:
  ret void
on:
  fence acquire
  %offset = and i64 %place, {(1 << 56) - 1}
{line}
  %last = load atomic volatile i64, ptr %l monotonic, align 8
  %version = lshr i64 %first, {VERSION_SHIFT}
  %owner = and i64 %last, {OWNER}
  %owned = icmp ne i64 %owner, 0
  %own = zext i1 %owned to i64
  %latest0 = lshr i64 %last, {VERSION_SHIFT}
  %latest = add i64 %latest0, %own
  %more = sub i64 %latest, %version
  %few = icmp ult i64 %more, {LATER_MOST}
  %later = select i1 %few, i64 %more, i64 {LATER_MOST}
  %bits = shl i64 %later, {LATER_SHIFT}
  %all = or i64 %what, %bits
  call void @append(ptr %t, i64 %all, i64 %place, i64 %value, i64 0, i64 %version)
  ret void
}}
define i64 @enter(ptr %t, i64 %offset) {{
{within}
{space if waits else ""}
{line}
{_word("me", _OWNER)}
  br label %look
look:
  %n = phi i64 [ 0, %{"free" if waits else "within"} ], [ %m, %again ]
  %m = add i64 %n, 1
  %v = load atomic volatile i64, ptr %l monotonic, align 8
  %owner = and i64 %v, {OWNER}
  %open = icmp eq i64 %owner, 0
  br i1 %open, label %try, label %again
try:
  %mine = or i64 %v, %me
  %pair = cmpxchg volatile ptr %l, i64 %v, i64 %mine seq_cst seq_cst
  %got = extractvalue {{i64, i1}} %pair, 1
  br i1 %got, label %in, label %again
in:
  ret i64 %v
again:
  %tired = icmp ugt i64 %m, {SPINS}
  br i1 %tired, label %never, label %look
never:
  ret i64 -1
}}
define void @leave(ptr %t, i64 %offset, i64 %old) {{
  %skipped = icmp eq i64 %old, {SKIPPED - (1 << 64)}
  br i1 %skipped, label %done, label %on
done:
  ret void
on:
{line}
  store atomic volatile i64 %old, ptr %l release, align 8
  ret void
}}
define void @settle(ptr %t, i64 %place, i64 %what, i64 %read, i64 %wrote, i64 %old, i64 %did) {{
  %skipped = icmp eq i64 %old, {SKIPPED - (1 << 64)}
  br i1 %skipped, label %done, label %on
done:
  ret void
on:
  %offset = and i64 %place, {(1 << 56) - 1}
{line}
  %step = mul i64 %did, {VERSION}
  %new = add i64 %old, %step
  store atomic volatile i64 %new, ptr %l release, align 8
  %not = xor i64 %did, 1
  %kind = add i64 %what, %not
  %version = lshr i64 %new, {VERSION_SHIFT}
  call void @append(ptr %t, i64 %kind, i64 %place, i64 %read, i64 %wrote, i64 %version)
  ret void
}}
define void @high(ptr %t, i64 %read, i64 %wrote, i64 %old) {{
  %skipped = icmp eq i64 %old, {SKIPPED - (1 << 64)}
  br i1 %skipped, label %done, label %on
done:
  ret void
on:
  call void @append(ptr %t, i64 {int(EventKind.HIGH)}, i64 0, i64 %read, i64 %wrote, i64 0)
  ret void
}}
define i64 @room(ptr %t) {{
{space if waits else ""}
  ret i64 0
}}
define void @note(ptr %t, i64 %place, i64 %what) {{
  call void @append(ptr %t, i64 %what, i64 %place, i64 0, i64 0, i64 0)
  ret void
}}
"""


class RecorderFunctions:
    """The functions, compiled for this process; each takes the table's address and 64-bit words."""

    def __init__(self, waits: bool) -> None:
        self._engine = compile_module(_ir(waits))
        word = ctypes.c_uint64
        self.addresses = tuple(map(self._engine.get_function_address, FUNCTIONS))
        look, saw, enter, settle, leave, room, note, high = self.addresses
        self.look = ctypes.CFUNCTYPE(word, word, word)(look)
        """look(table, offset) -> the line's word, BUSY or SKIPPED: before a read."""
        self.saw = ctypes.CFUNCTYPE(None, *[word] * 5)(saw)
        """saw(table, place, what, value, look's answer): after a read."""
        self.enter = ctypes.CFUNCTYPE(word, word, word)(enter)
        """enter(table, offset) -> the line's word, BUSY or SKIPPED: before what may write."""
        self.settle = ctypes.CFUNCTYPE(None, *[word] * 7)(settle)
        """settle(table, place, what, read, written, enter's answer, 1 if it wrote else 0): after it."""
        self.leave = ctypes.CFUNCTYPE(None, *[word] * 3)(leave)
        """leave(table, offset, enter's answer): nothing was done."""
        self.room = ctypes.CFUNCTYPE(word, word)(room)
        """room(table) -> 0, or BUSY: before a fence."""
        self.note = ctypes.CFUNCTYPE(None, *[word] * 3)(note)
        """note(table, place, what): a fence."""
        self.high = ctypes.CFUNCTYPE(None, *[word] * 4)(high)
        """high(table, read, written, enter's answer): upper halves, after `settle`."""


@cache
def recorder_functions(waits: bool) -> RecorderFunctions:
    """This process's functions; compiled at the first call, inherited by forked children."""
    return RecorderFunctions(waits)


class Recorder:
    """A hart's recorder.

    Attributes:
        table: host address of the table that native code gets as `%record`.
        functions: the same functions for Python.
        base: guest address of RAM.

    """

    def __init__(self, segment: Segment, hart: int) -> None:
        """Note the events of `hart` in its ring, which must be there."""
        geometry = segment.geometry
        self.functions = recorder_functions(not segment.header[Header.EVENTS_MAY_BE_LOST])
        self.base = geometry.ram_base
        self._segment = segment
        start = segment.address + geometry.event_offset + hart * geometry.event_bytes
        area = segment.event_ring(hart)
        capacity = len(ring_area(area)) - RING_HEADER
        area.release()
        self._words = (ctypes.c_uint64 * (_FUNCTIONS + len(FUNCTIONS)))(
            segment.address + geometry.line_offset,
            start,
            0,
            capacity,
            0,
            0,
            1 + hart,
            segment.header[Header.RECORD_FROM],
            segment.header[Header.RECORD_BYTES],
            segment.harts[hart].address(0),
            *self.functions.addresses,
        )
        self.table = ctypes.addressof(self._words)
        self._page = segment.harts[hart]
        self._lines = segment.address + geometry.line_offset

    def take_from_the_dead(self, offset: int) -> None:
        """Free a line if the hart that owns it has ended."""
        address = self._lines + (offset >> LINE_EXP) * WORD
        word = ctypes.c_uint64.from_address(address).value
        owner = word & OWNER
        if owner and self._segment.harts[owner - 1][Hart.STATUS] == HartStatus.ENDED:
            free = (word & ~OWNER) + VERSION
            if host_atomics().compare_exchange(address, word, free) == word:
                self._page[Hart.LINES_TAKEN] += 1


def function_slot(name: str) -> int:
    """Word of the table that holds the pointer to a function."""
    return _FUNCTIONS + FUNCTIONS.index(name)
