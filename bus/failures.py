"""The account of failed SCs in a hart's page: by cause, and by place, that is pc, granule and cause together.

Owns its form and the one function that keeps it, for native code and for ports alike. Decides no failure.

The places are a table with open addressing; what finds no entry is counted together. The account also holds how many
SCs have failed in a row, now and at most: the sign of starvation. Only the hart writes it, and whoever runs the hart's
instruction has noted its address in SC_PC.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_uint64
from dataclasses import dataclass
from functools import cache

from bus.access import AtomicKind, ScFailure
from bus.layout import FAILURE_SITES, SITE_WORDS, WORD, Hart
from bus.native import compile_module
from bus.segment import Words

_PROBES = 32


def _at(name: str, index: int) -> str:
    return f"  %{name} = getelementptr i8, ptr %page, i64 {index * WORD}\n"


FAILURES_IR = f"""
define void @sc_failed(ptr %page, i64 %cause, i64 %granule) cold noinline {{
{_at("causes.p", Hart.SC_FAILURES)}
{_at("attempts.p", Hart.ATOMICS + AtomicKind.SC)}
{_at("pc.p", Hart.SC_PC)}
{_at("last.p", Hart.SC_LAST_FAILED)}
{_at("row.p", Hart.SC_FAILED_IN_A_ROW)}
{_at("most.p", Hart.SC_MOST_IN_A_ROW)}
{_at("worst.p", Hart.SC_WORST_PC)}
{_at("rest.p", Hart.SC_FAILED_ELSEWHERE)}
{_at("sites", Hart.SC_SITES)}
  %cause.p = getelementptr i64, ptr %causes.p, i64 %cause
  %failures = load i64, ptr %cause.p
  %failures.n = add i64 %failures, 1
  store i64 %failures.n, ptr %cause.p
  %pc = load i64, ptr %pc.p
  %attempt = load i64, ptr %attempts.p
  %last = load i64, ptr %last.p
  %following = add i64 %last, 1
  %follows = icmp eq i64 %attempt, %following
  %row = load i64, ptr %row.p
  %before = select i1 %follows, i64 %row, i64 0
  %row.n = add i64 %before, 1
  store i64 %row.n, ptr %row.p
  store i64 %attempt, ptr %last.p
  %most = load i64, ptr %most.p
  %worse = icmp ugt i64 %row.n, %most
  br i1 %worse, label %worst, label %place
worst:
  store i64 %row.n, ptr %most.p
  store i64 %pc, ptr %worst.p
  br label %place
place:
  %key.g = shl i64 %granule, 8
  %key = or i64 %key.g, %cause
  %half = lshr i64 %pc, 1
  %mixed = mul i64 %key, 31
  %start = add i64 %half, %mixed
  br label %probe
probe:
  %n = phi i64 [ 0, %place ], [ %n.n, %other ]
  %sum = add i64 %start, %n
  %index = urem i64 %sum, {FAILURE_SITES}
  %word = mul i64 %index, {SITE_WORDS}
  %site.pc.p = getelementptr i64, ptr %sites, i64 %word
  %site.key.p = getelementptr i64, ptr %site.pc.p, i64 1
  %site.n.p = getelementptr i64, ptr %site.pc.p, i64 2
  %site.n = load i64, ptr %site.n.p
  %empty = icmp eq i64 %site.n, 0
  br i1 %empty, label %claim, label %compare
claim:
  store i64 %pc, ptr %site.pc.p
  store i64 %key, ptr %site.key.p
  br label %count
compare:
  %site.pc = load i64, ptr %site.pc.p
  %site.key = load i64, ptr %site.key.p
  %same.pc = icmp eq i64 %site.pc, %pc
  %same.key = icmp eq i64 %site.key, %key
  %same = and i1 %same.pc, %same.key
  br i1 %same, label %count, label %other
count:
  %site.n.n = add i64 %site.n, 1
  store i64 %site.n.n, ptr %site.n.p
  ret void
other:
  %n.n = add i64 %n, 1
  %more = icmp ult i64 %n.n, {_PROBES}
  br i1 %more, label %probe, label %full
full:
  %rest = load i64, ptr %rest.p
  %rest.n = add i64 %rest, 1
  store i64 %rest.n, ptr %rest.p
  ret void
}}
"""
"""`void @sc_failed(page, cause, granule)`; the attempt has been counted before."""


@cache
def compile_failures() -> tuple[object, Callable[[int, int, int], None]]:
    """The function for Python, and what holds its code; a process that will fork compiles it before."""
    engine = compile_module(FAILURES_IR, optimize=0)
    prototype = CFUNCTYPE(None, c_uint64, c_uint64, c_uint64)
    return engine, prototype(engine.get_function_address("sc_failed"))


def failed(page: Words, cause: int, granule: int) -> None:
    """Count a failed SC of the hart that owns `page`."""
    compile_failures()[1](page.address(0), cause, granule)


@dataclass(frozen=True, slots=True)
class FailureSite:
    """SCs at `pc` to `granule` that failed for `cause`: how many."""

    pc: int
    granule: int
    cause: ScFailure
    count: int


def failure_sites(page: Words) -> tuple[FailureSite, ...]:
    """The table of a hart, most frequent first."""
    table = page.view[Hart.SC_SITES : Hart.SC_SITES + FAILURE_SITES * SITE_WORDS].tolist()
    sites = [
        FailureSite(pc, key >> 8, ScFailure(key & 0xFF), count)
        for pc, key, count in zip(*(table[word::SITE_WORDS] for word in range(SITE_WORDS)), strict=True)
        if count and key & 0xFF < len(ScFailure)
    ]
    return tuple(sorted(sites, key=lambda site: -site.count))
