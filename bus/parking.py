"""Parking: waiting in the host's kernel until a granule's word changes.

Owns the handshake between one that parks on a word and those that change it or ring the doorbell. Decides neither when
to park nor what a change means (`bus.granule`, `bus.policies.inline`). The kernel's queue is futex(2)'s: first come,
first woken, and it forgets a member that dies.

How it works: who parks has seen a word; it sets the word's WAITERS bit by a compare-and-swap from exactly what it saw,
and sleeps if the word is still that. Whoever has changed the word looks at the bit afterwards, drops it and wakes:
every waiter on the reservation, for each has lost it, and of those that spin the one that came first, for a lock has
one next owner. That one sets the bit again for those behind it, and has the *baton*: if it spins on, or goes elsewhere,
and the word is still what it was when it ran, then the change was not, or not only, for it, and it wakes the next one,
which then has the baton (`pass_on`). So a ticket lock's turn finds its owner, wherever in the queue it sleeps, and a
flag that many wait for wakes them all, one by one.

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

- One that waits on a reservation misses none: its set is woken as a whole. Of those that spin one is woken by a
  change; say it is W, and runs when the word is v. Changes until then may have found the bit down: the others have
  not seen v. If the word changes from v, that change finds the bit, which W has set, and wakes the next. If not, W
  passes the baton, and the next runs at v. So they are woken one after the other until each has run at v or later:
  the kernel's queue is first come, first served, and who parks again stands behind. Who has passed the baton at v
  does not do it again at v: when it is woken there a second time, all that slept when it passed it have been woken,
  and those that came later looked at memory after the word was v. So nothing goes round for ever where the owner of a
  lock does not run.

What is left to chance is when the baton is passed: W does so when it next spins too long, or enters native code, at the
latest after a slice. If W is killed or ends before, those behind it sleep until their time is up (PATIENCE_NS).
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_uint64
from functools import cache

from bus.layout import WORD, Hart
from bus.lowering import granule_word
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
declare i32 @sched_yield()
define void @pass_on(ptr %page, ptr %granules) cold noinline {{
{_word("baton.p", Hart.BATON)}
{_word("at.p", Hart.BATON_AT)}
{_word("passed.p", Hart.PASSED)}
{_word("passed_at.p", Hart.PASSED_AT)}
  %baton = load i64, ptr %baton.p
  %at = load i64, ptr %at.p
  store i64 0, ptr %baton.p
  %g = sub i64 %baton, 1
  %word = {granule_word("%g")}
  %w = load atomic volatile i64, ptr %word seq_cst, align 8
  %bare = and i64 %w, {~WAITERS}
  %passed = load i64, ptr %passed.p
  %passed_at = load i64, ptr %passed_at.p
  %there = icmp eq i64 %passed, %baton
  %then = icmp eq i64 %passed_at, %at
  %twice = and i1 %there, %then
  %changed = icmp ne i64 %bare, %at
  %needless = or i1 %twice, %changed
  br i1 %needless, label %done, label %next
next:
  store i64 %baton, ptr %passed.p
  store i64 %at, ptr %passed_at.p
  call void @wake(ptr %word, i64 1, i64 {SPINNING})
  br label %done
done:
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
{_word("baton.p", Hart.BATON)}
{_word("at.p", Hart.BATON_AT)}
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
  %o.bare = and i64 %o, {~WAITERS}
  store i64 %held, ptr %baton.p
  store i64 %o.bare, ptr %at.p
  br label %awake
awake:
  store atomic volatile i64 0, ptr %parked.p seq_cst, align 8
  %rang = load atomic volatile i64, ptr %bell.p seq_cst, align 8
  ret i64 %rang
}}
"""
"""`changed(word)` after a change that found WAITERS; `unpark(word)`; `pass_on(page, granules)` where BATON is not 0,
with the granule table; `deadline(ns)`: CLOCK_MONOTONIC plus so much;
`park(page, word, held, seen, deadline, set)`: 0, or the doorbell if it has rung. `held` is 1 + granule; `seen` the word
without WAITERS; `deadline` absolute, 0 for none; `set` is ON_RESERVATION or SPINNING."""


class Parking:
    """The functions for Python. Get it from `parking`."""

    unpark: Callable[[int], None]
    """unpark(address of a granule's word): wake all that are parked on it."""
    pass_on: Callable[[int, int], None]
    """See PARKING_IR; host addresses."""
    park: Callable[[int, int, int, int, int, int], int]
    """See PARKING_IR; the first two are host addresses."""

    def __init__(self) -> None:
        self._engine = compile_module(PARKING_IR)
        address = self._engine.get_function_address
        self.unpark = CFUNCTYPE(None, c_uint64)(address("unpark"))
        self.pass_on = CFUNCTYPE(None, c_uint64, c_uint64)(address("pass_on"))
        self.park = CFUNCTYPE(*[c_uint64] * 7)(address("park"))


@cache
def parking() -> Parking:
    """The process's functions; compiled at the first call, inherited by forked children."""
    return Parking()
