"""Which addresses the atomics of native code use most: samples in the hart's page.

Owns the sampling and the table. For people, as `bus.heat`, which counts what passes through the bus.

The first few hundred atomics of each kind are all counted; later ever fewer, down to one in some hundred, at distances
that vary, each for as many as the distance to the next. So an atomic costs native code one comparison, and small runs
are exact. A table that is full forgets the coldest entry near the new one's place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ctypes import CFUNCTYPE, c_uint64
from functools import cache

from bus.access import AtomicKind
from bus.layout import HEAT_ROWS, WORD, Hart
from bus.lowering import AccessEmitter, Value, atomics_counter, hart_word
from bus.native import compile_module
from bus.segment import Words

_EXACT_EXP = 8
_SPARSEST = 1023
_PROBES = 8
_KIND_BITS = 3


def _at(name: str, index: int) -> str:
    return f"  %{name} = getelementptr i8, ptr %page, i64 {index * WORD}\n"


_HEAT = f"""(ptr %page, i64 %kind, i64 %number, i64 %offset) cold noinline {{
{_at("next.0", Hart.HEAT_NEXT)}
{_at("rows", Hart.HEAT)}
  %next.p = getelementptr i64, ptr %next.0, i64 %kind
  %scale = lshr i64 %number, {_EXACT_EXP}
  %small = icmp ult i64 %scale, {_SPARSEST}
  %bounded = select i1 %small, i64 %scale, i64 {_SPARSEST}
  %half = lshr i64 %bounded, 1
  %two = or i64 %bounded, %half
  %quarter = lshr i64 %two, 2
  %four = or i64 %two, %quarter
  %eighth = lshr i64 %four, 4
  %eight = or i64 %four, %eighth
  %rest = lshr i64 %eight, 8
  %mask = or i64 %eight, %rest
  %mixed = mul i64 %number, {0x9E3779B97F4A7C15 - (1 << 64)}
  %high = lshr i64 %mixed, 40
  %extra = and i64 %high, %mask
  %distance = add i64 %extra, 1
  %next = add i64 %number, %distance
  store i64 %next, ptr %next.p
  %shifted = shl i64 %offset, {_KIND_BITS}
  %tagged = or i64 %shifted, %kind
  %key = add i64 %tagged, 1
  %line = lshr i64 %offset, 2
  %start = add i64 %line, %kind
  br label %probe
probe:
  %n = phi i64 [ 0, %0 ], [ %n.n, %other ]
  %coldest = phi ptr [ %rows, %0 ], [ %colder, %other ]
  %least = phi i64 [ -1, %0 ], [ %lesser, %other ]
  %sum = add i64 %start, %n
  %index = urem i64 %sum, {HEAT_ROWS}
  %word = mul i64 %index, 2
  %key.p = getelementptr i64, ptr %rows, i64 %word
  %count.p = getelementptr i64, ptr %key.p, i64 1
  %seen = load i64, ptr %key.p
  %count = load i64, ptr %count.p
  %same = icmp eq i64 %seen, %key
  br i1 %same, label %add, label %look
add:
  %more = add i64 %count, %distance
  store i64 %more, ptr %count.p
  ret void
look:
  %less = icmp ult i64 %count, %least
  %colder = select i1 %less, ptr %key.p, ptr %coldest
  %lesser = select i1 %less, i64 %count, i64 %least
  br label %other
other:
  %n.n = add i64 %n, 1
  %on = icmp ult i64 %n.n, {_PROBES}
  br i1 %on, label %probe, label %replace
replace:
  %old.p = getelementptr i64, ptr %colder, i64 1
  store i64 %key, ptr %colder
  store i64 %distance, ptr %old.p
  ret void
}}
"""
HEAT_IR = f"define void @heat{_HEAT}"
"""`void @heat(page, kind, number, offset)`: the atomic of that kind with this number (from 0) is one to sample."""
_INCLUDED_IR = f"define internal void @heat{_HEAT}"


def sampled(e: AccessEmitter, kind: AtomicKind, offset: Value, heat: str | None = None) -> None:
    """Count an atomic in the hart's page, and perhaps its address; `heat` is the function, or else it is included."""
    if heat is None:
        e.include(_INCLUDED_IR)
        heat = "@heat"
    counter = atomics_counter(e, kind)
    number = e.value(f"load i64, ptr {counter}")
    e.line(f"store i64 {e.value(f'add i64 {number}, 1')}, ptr {counter}")
    next_one = e.value(f"load i64, ptr {hart_word(e, Hart.HEAT_NEXT + kind)}")
    sample, done = e.label(), e.label()
    due = e.value(f"icmp uge i64 {number}, {next_one}")
    e.line(f"br i1 {due}, label %{sample}, label %{done}, !prof !2")
    e.begin(sample)
    e.line(f"call void {heat}(ptr %page, i64 {int(kind)}, i64 {number}, i64 {offset})")
    e.line(f"br label %{done}")
    e.begin(done)


@cache
def compile_sample() -> tuple[object, Callable[[int, int, int, int], None]]:
    """The function for Python, and what holds its code; a process that will fork compiles it before."""
    engine = compile_module(HEAT_IR, optimize=0)
    prototype = CFUNCTYPE(None, *[c_uint64] * 4)
    return engine, prototype(engine.get_function_address("heat"))


def sample(page: Words, kind: AtomicKind, offset: int) -> None:
    """As `sampled`, for an access that is not native code."""
    number = page[Hart.ATOMICS + kind]
    page[Hart.ATOMICS + kind] = number + 1
    if number >= page[Hart.HEAT_NEXT + kind]:
        compile_sample()[1](page.address(0), kind, number, offset)


def samples(page: Words) -> Iterator[tuple[int, AtomicKind, int]]:
    """(offset in RAM, kind, estimated count) for each entry of a hart's table."""
    for word in range(Hart.HEAT, Hart.HEAT + 2 * HEAT_ROWS, 2):
        key, count = page[word], page[word + 1]
        kind = key - 1 & (1 << _KIND_BITS) - 1
        if key and kind < len(AtomicKind):
            yield key - 1 >> _KIND_BITS, AtomicKind(kind), count


def hottest(pages: Sequence[Words], base: int, addresses: int) -> list[tuple[int, ...]]:
    """The `addresses` most used ones, hottest first, as `Arbiter.statistics` has them; RAM is at `base`."""
    rows = [
        (base + offset, hart, int(kind), count)
        for hart, page in enumerate(pages)
        for offset, kind, count in samples(page)
    ]
    totals: Counter[int] = Counter()
    for address, _, _, count in rows:
        totals[address] += count
    place = {address: i for i, (address, _) in enumerate(totals.most_common(addresses))}
    return sorted((row for row in rows if row[0] in place), key=lambda row: place[row[0]])
