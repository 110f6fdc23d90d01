"""Parking: waiting in the host's kernel until a granule's word changes.

Owns the handshake between one that parks on a word and those that change it or ring the doorbell. Decides neither when
to park nor what a change means (`bus.granule`, `bus.policies.inline`). The kernel's queue is futex(2)'s: first come,
first woken, and it forgets a member that dies.

How it works: who parks has seen a word; it sets the word's WAITERS bit by a compare-and-swap from exactly what it saw,
and sleeps if the word is still that. Whoever has changed the word looks at the bit afterwards, drops it and wakes:
every waiter on the reservation, for each has lost it, and of those that spin the one that came first, for a lock has
one next owner. That one sets the bit again for those behind it.

No wake-up is lost. Let C be a change of the word, by a read-modify-write, and P a parking that saw the word before C.

- C before P's compare-and-swap (or before P finds the bit set by another): the word differs, P does not sleep.
- C after it: C finds the bit and wakes. It drops the bit first: if P is asleep by then it is woken; if P gets to the
  kernel later, the kernel finds a word without the bit, and P does not sleep. (The kernel compares and enqueues in
  one step with respect to wake-ups. It compares the word's low half: the bit, and 16 bits of the version. Those
  repeat after 65536 writes, and then the bit is only there if someone parked again, whom the next write wakes.)
- A doorbell: P writes PARKED, then looks at its doorbell; the ringer sets the doorbell, then looks at PARKED (all
  sequentially consistent). If P did not see the bell, the ringer sees PARKED and acts as if the word had changed, by
  `unpark`: it drops the bit, then wakes all. As above, P does not sleep or is woken.
- A changer that dies between its change and the wake-up has HELD set; who frees its word calls `unpark`.

One that spins may miss a change while the bit is down, that is between the wake-up of the waiter before it and the
moment when that one runs. So its sleep has a limit (PATIENCE_NS); spinning is all that the guest asked for. One that
waits on a reservation misses none: its set is woken as a whole.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_uint64
from functools import cache

from bus.layout import WORD, Hart
from bus.native import compile_module

WAITERS = 2
"""The bit of a granule's word that says: after a change, wake."""
ON_RESERVATION = 1
"""Waits until its reservation is lost."""
SPINNING = 2
"""Waits in place of spinning."""
PATIENCE_NS = 16_000_000
"""How long a spinning hart sleeps at most."""

_FUTEX = 202 if platform.machine() in ("x86_64", "AMD64") else 98
_CALL = f"call i64 (i64, ...) @syscall(i64 {_FUTEX}"
_WAIT_BITSET, _WAKE_BITSET = 9, 10
_MONOTONIC = 1
_ALL = (1 << 31) - 1


def _word(name: str, index: int) -> str:
    return f"  %{name} = getelementptr i8, ptr %page, i64 {index * WORD}\n"


PARKING_IR = f"""
declare i64 @syscall(i64, ...)
declare i32 @clock_gettime(i32, ptr)
define internal void @wake(ptr %word, i64 %count, i64 %set) {{
  %r = {_CALL}, ptr %word, i64 {_WAKE_BITSET}, i64 %count, ptr null, ptr null, i64 %set)
  ret void
}}
define void @changed(ptr %word) cold noinline {{
  %old = atomicrmw volatile and ptr %word, i64 {~WAITERS} seq_cst
  call void @wake(ptr %word, i64 {_ALL}, i64 {ON_RESERVATION})
  call void @wake(ptr %word, i64 1, i64 {SPINNING})
  ret void
}}
define void @unpark(ptr %word) cold noinline {{
  %old = atomicrmw volatile and ptr %word, i64 {~WAITERS} seq_cst
  call void @wake(ptr %word, i64 {_ALL}, i64 {ON_RESERVATION | SPINNING})
  ret void
}}
define i64 @deadline(i64 %ns) cold noinline {{
  %t = alloca [2 x i64]
  %r = call i32 @clock_gettime(i32 {_MONOTONIC}, ptr %t)
  %n.p = getelementptr i64, ptr %t, i64 1
  %s = load i64, ptr %t
  %n = load i64, ptr %n.p
  %whole = mul i64 %s, 1000000000
  %now = add i64 %whole, %n
  %then = add i64 %now, %ns
  ret i64 %then
}}
define i64 @park(ptr %page, ptr %word, i64 %held, i64 %seen, i64 %deadline, i64 %set) cold noinline {{
{_word("parked.p", Hart.PARKED)}
{_word("bell.p", Hart.DOORBELL)}
  %t = alloca [2 x i64]
  %n.p = getelementptr i64, ptr %t, i64 1
  %s = udiv i64 %deadline, 1000000000
  %n = urem i64 %deadline, 1000000000
  store i64 %s, ptr %t
  store i64 %n, ptr %n.p
  %forever = icmp eq i64 %deadline, 0
  %until = select i1 %forever, ptr null, ptr %t
  store atomic volatile i64 %held, ptr %parked.p seq_cst, align 8
  %bell = load atomic volatile i64, ptr %bell.p seq_cst, align 8
  %quiet = icmp eq i64 %bell, 0
  br i1 %quiet, label %look, label %awake
look:
  %w = load atomic volatile i64, ptr %word seq_cst, align 8
  %bare = and i64 %w, {~WAITERS}
  %same = icmp eq i64 %bare, %seen
  br i1 %same, label %announce, label %awake
announce:
  %announced = or i64 %w, {WAITERS}
  %pair = cmpxchg volatile ptr %word, i64 %w, i64 %announced seq_cst seq_cst
  %got = extractvalue {{i64, i1}} %pair, 1
  br i1 %got, label %sleep, label %look
sleep:
  %low = and i64 %announced, 4294967295
  %slept = {_CALL}, ptr %word, i64 {_WAIT_BITSET}, i64 %low, ptr %until, ptr null, i64 %set)
  %woken = icmp eq i64 %slept, 0
  %spins = icmp eq i64 %set, {SPINNING}
  %more = and i1 %woken, %spins
  br i1 %more, label %behind, label %awake
behind:
  %o = atomicrmw volatile or ptr %word, i64 {WAITERS} seq_cst
  br label %awake
awake:
  store atomic volatile i64 0, ptr %parked.p seq_cst, align 8
  %rang = load atomic volatile i64, ptr %bell.p seq_cst, align 8
  ret i64 %rang
}}
"""
"""`changed(word)` after a change that found WAITERS; `unpark(word)`; `deadline(ns)`: CLOCK_MONOTONIC plus so much;
`park(page, word, held, seen, deadline, set)`: 0, or the doorbell if it has rung. `held` is 1 + granule; `seen` the word
without WAITERS; `deadline` absolute, 0 for none; `set` is ON_RESERVATION or SPINNING."""


class Parking:
    """The functions for Python. Get it from `parking`."""

    unpark: Callable[[int], None]
    """unpark(address of a granule's word): wake all that are parked on it."""
    park: Callable[[int, int, int, int, int, int], int]
    """See PARKING_IR; the first two are host addresses."""

    def __init__(self) -> None:
        self._engine = compile_module(PARKING_IR)
        address = self._engine.get_function_address
        self.unpark = CFUNCTYPE(None, c_uint64)(address("unpark"))
        self.park = CFUNCTYPE(*[c_uint64] * 7)(address("park"))


@cache
def parking() -> Parking:
    """The process's functions; compiled at the first call, inherited by forked children."""
    return Parking()
