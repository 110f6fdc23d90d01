"""The granule-word protocol in LLVM IR: tracked stores, AMOs, LR and SC as native functions.

Owns the bits of the word and the functions; `bus.policies.inline` argues why they are right and when they are used.
They are compiled once in a process; compiled guest code finds them in a table of function pointers, in SUPPORT order.
LR and SC that do not fuse are the hot path of the code that has them: it includes their text instead.

Parameters ("place"): `%page` the hart's page, `%granules` the granule table, `%ram`, and `%offset` of the access in
RAM. Functions that may have to give up return i1 `ok` beside their value; when they give up they have changed nothing
but versions.
"""

from __future__ import annotations

from functools import cache

from bus.access import AmoOp, AtomicKind, ScFailure
from bus.failures import FAILURES_IR
from bus.layout import WORD, Hart
from bus.lowering import AMO_INSTRUCTION, DECLARE_PAUSE, PAUSE, granule_word
from bus.native_heat import HEAT_IR
from bus.parking import PARKING_IR, PATIENCE_NS, SPINNING, WAITERS

LOCK = 1
"""An SC is between its check and its release."""
WRITER = 4
"""One shared writer; the field has 14 bits. The bit between is `bus.parking.WAITERS`."""
WRITERS = 0xFFFC
VERSION = 1 << 16
"""One write, or an attempt at one."""
YIELDS = 256
"""How often a hart that spins gives way before it has the page tracked, so that it can park."""
TRACKED_YIELDS = 16
"""How often it gives way, where a page is tracked, before it parks: a lock of few harts finds its next owner sooner by
that than by waking it, and where all others sleep giving way costs little."""
SPINS = 200
"""Looks at a word that is held before giving up: some microseconds, longer than any holder that runs needs."""

LOOKS = 20
"""An LR's looks at such a word before it gives up. It pauses longer after each: who looks takes the word's cache line
from the SC that holds it."""
RETREAT = 16
"""Pauses after an SC that another hart broke: on x86-64 some tenths of a microsecond, in which who got through can go
on. Without them two harts take the cache lines of word and data from each other for every attempt, and are 3 times as
slow."""


def _word(name: str, index: int) -> str:
    return f"  %{name} = getelementptr i8, ptr %page, i64 {index * WORD}\n"


def _locate(exp: int) -> str:
    return f"""
{_word("held.p", Hart.HELD)}
  %g = lshr i64 %offset, {exp}
  %held = add i64 %g, 1
  %word = {granule_word("%g")}
  %last = getelementptr i64, ptr %word, i64 1
"""


def _enter(cause: ScFailure, suffix: str = "") -> str:
    operands = ", ".join(
        f"{t} %{n}{suffix}" for t, n in (("ptr", "held.p"), ("ptr", "word"), ("ptr", "last"), ("i64", "held"))
    )
    return f"  %in{suffix} = call i1 @granule_enter(ptr %page, {operands}, i64 {cause})\n"


def _wake_if_waiting(word: str, changed: str | None = None) -> str:
    """`changed` points to the function's pointer where it is no function of the module."""
    wake = f"%wake.f = load ptr, ptr {changed}\n  call void %wake.f" if changed else "call void @changed"
    return f"""%waiters = and i64 {word}, {WAITERS}
  %alone = icmp eq i64 %waiters, 0
  br i1 %alone, label %quiet, label %wake
wake:
  {wake}(ptr %word)
  br label %quiet
quiet:"""


_LEAVE = "  call void @granule_leave(ptr %held.p, ptr %word)\n"


_PLACE = "ptr %page, ptr %granules, ptr %ram, i64 %offset"


CALLED = ("define", "noinline")
"""Linkage and attribute of a function of the table."""
INLINED = ("define internal", "alwaysinline")
"""Likewise of one that is included in the code that calls it."""


def enter(own_store_breaks: bool) -> str:
    """`enter`: become a shared writer of a granule; `leave`: stop being one."""
    own = (
        f"""
{_word("lost.p", Hart.RESERVATION_LOST)}
  store i64 {1 + ScFailure.OWN_STORE}, ptr %lost.p
  store i64 0, ptr %r.p
  ret i1 true
"""
        if own_store_breaks
        else f"""
{_word("v.p", Hart.RESERVATION_VERSION)}
  %v = load i64, ptr %v.p
  %bare = and i64 %old, {~WAITERS}
  %unbroken = icmp eq i64 %v, %bare
  br i1 %unbroken, label %follow, label %in
follow:
  %next = add i64 %bare, {VERSION}
  store i64 %next, ptr %v.p
  br label %in
"""
    )
    return f"""
{DECLARE_PAUSE}
define internal i1 @granule_enter(ptr %page, ptr %held.p, ptr %word, ptr %last, i64 %held, i64 %kind) noinline {{
{_word("number.p", Hart.NUMBER)}
{_word("r.p", Hart.RESERVATION)}
  store volatile i64 %held, ptr %held.p
  %number = load i64, ptr %number.p
  %hart = shl i64 %number, 8
  %who = or i64 %hart, %kind
  %old = atomicrmw volatile add ptr %word, i64 {VERSION + WRITER} seq_cst
  store atomic volatile i64 %who, ptr %last monotonic, align 8
  %lock = and i64 %old, {LOCK}
  %free = icmp eq i64 %lock, 0
  br i1 %free, label %entered, label %spin
spin:
  %n = phi i64 [ 0, %0 ], [ %m, %again ]
  %m = add i64 %n, 1
  %now = load atomic volatile i64, ptr %word acquire, align 8
  %now.lock = and i64 %now, {LOCK}
  %now.free = icmp eq i64 %now.lock, 0
  br i1 %now.free, label %entered, label %wait
wait:
  {PAUSE}
  %tired = icmp ugt i64 %m, {SPINS}
  br i1 %tired, label %back, label %again
again:
  br label %spin
back:
  %undone = atomicrmw volatile sub ptr %word, i64 {WRITER} seq_cst
  store volatile i64 0, ptr %held.p
  ret i1 false
entered:
  %r = load i64, ptr %r.p
  %mine = icmp eq i64 %r, %held
  br i1 %mine, label %own, label %in
own:
{own}
in:
  ret i1 true
}}
define internal void @granule_leave(ptr %held.p, ptr %word) {{
  %old = atomicrmw volatile sub ptr %word, i64 {WRITER} seq_cst
  {_wake_if_waiting("%old")}
  store volatile i64 0, ptr %held.p
  ret void
}}
"""


def tracked_store(size: int, exp: int) -> str:
    """`i1 @tracked_store_N(place, value)`."""
    bits = 8 * size
    return f"""
define i1 @tracked_store_{bits}({_PLACE}, i{bits} %value) cold noinline {{
{_locate(exp)}
{_enter(ScFailure.OTHER_STORE)}
  br i1 %in, label %act, label %no
act:
  %p = getelementptr i8, ptr %ram, i64 %offset
  store atomic volatile i{bits} %value, ptr %p release, align {size}
{_LEAVE}
  ret i1 true
no:
  ret i1 false
}}
"""


def tracked_amo(op: AmoOp, size: int, exp: int) -> str:
    """`{iN, i1} @tracked_<op>_N(place, operand)`."""
    bits = 8 * size
    return f"""
define {{i{bits}, i1}} @tracked_{op.name.lower()}_{bits}({_PLACE}, i{bits} %value) cold noinline {{
{_locate(exp)}
{_enter(ScFailure.OTHER_AMO)}
  br i1 %in, label %act, label %no
act:
  %p = getelementptr i8, ptr %ram, i64 %offset
  %old = atomicrmw volatile {AMO_INSTRUCTION[op]} ptr %p, i{bits} %value seq_cst, align {size}
{_LEAVE}
{_give(bits, "%old")}
no:
  ret {{i{bits}, i1}} zeroinitializer
}}
"""


def tracked_cas(size: int, exp: int) -> str:
    """`{iN, i1} @tracked_cas_N(place, expected, desired)`.

    One that sees at a glance that it will not match is a load, and ends no reservation (16 bytes have no glance).
    """
    bits = 8 * size
    glance = f"""
  %q = getelementptr i8, ptr %ram, i64 %offset
  %seen = load atomic volatile i{bits}, ptr %q seq_cst, align {size}
  %hopeless = icmp ne i{bits} %seen, %expected
  br i1 %hopeless, label %other, label %enter
other:
{_give(bits, "%seen", ".o")}
enter:
"""
    spans = size > 1 << exp
    second = f"""
second:
{_word("held.p2", Hart.HELD_TOO)}
  %g2 = add i64 %g, 1
  %held2 = add i64 %held, 1
  %word2 = {granule_word("%g2")}
  %last2 = getelementptr i64, ptr %word2, i64 1
{_enter(ScFailure.OTHER_AMO, "2")}
  br i1 %in2, label %act, label %undo
undo:
{_LEAVE}
  br label %no
"""
    return f"""
define {{i{bits}, i1}} @tracked_cas_{bits}({_PLACE}, i{bits} %expected, i{bits} %desired) cold noinline {{
{_locate(exp)}
{glance if size < 16 else ""}
{_enter(ScFailure.OTHER_AMO)}
  br i1 %in, label %{"second" if spans else "act"}, label %no
{second if spans else ""}
act:
  %p = getelementptr i8, ptr %ram, i64 %offset
  %pair = cmpxchg volatile ptr %p, i{bits} %expected, i{bits} %desired seq_cst seq_cst, align {size}
  %old = extractvalue {{i{bits}, i1}} %pair, 0
{"  call void @granule_leave(ptr %held.p2, ptr %word2)" if spans else ""}
{_LEAVE}
{_give(bits, "%old")}
no:
  ret {{i{bits}, i1}} zeroinitializer
}}
"""


def _give(bits: int, value: str, suffix: str = "") -> str:
    return f"""
  %give{suffix} = insertvalue {{i{bits}, i1}} {{i{bits} poison, i1 true}}, i{bits} {value}, 0
  ret {{i{bits}, i1}} %give{suffix}
"""


def tracked_lr(size: int, exp: int, exact: bool, how: tuple[str, str] = CALLED) -> str:
    """`{iN, i1} @tracked_lr_N(place)`: reads between two looks at a free word that has not changed."""
    bits = 8 * size
    place = f"""
{_word("a.p", Hart.RESERVATION_ADDRESS)}
{_word("s.p", Hart.RESERVATION_SIZE)}
  store i64 %offset, ptr %a.p
  store i64 {size}, ptr %s.p
"""
    return f"""
{how[0]} {{i{bits}, i1}} @tracked_lr_{bits}({_PLACE}) {how[1]} {{
{_locate(exp)}
{_word("r.p", Hart.RESERVATION)}
{_word("v.p", Hart.RESERVATION_VERSION)}
{_word("lost.p", Hart.RESERVATION_LOST)}
  %p = getelementptr i8, ptr %ram, i64 %offset
  br label %look
look:
  %n = phi i64 [ 0, %0 ], [ %m, %again ]
  %m = add i64 %n, 1
  %w = load atomic volatile i64, ptr %word acquire, align 8
  %busy = and i64 %w, {LOCK | WRITERS}
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %read, label %wait
read:
  %data = load atomic volatile i{bits}, ptr %p acquire, align {size}
  %w2 = load atomic volatile i64, ptr %word acquire, align 8
  %bare = and i64 %w, {~WAITERS}
  %bare2 = and i64 %w2, {~WAITERS}
  %same = icmp eq i64 %bare, %bare2
  br i1 %same, label %done, label %wait
wait:
  %tired = icmp ugt i64 %m, {LOOKS}
  br i1 %tired, label %no, label %rest
rest:
  %left = phi i64 [ %m, %wait ], [ %less, %rest ]
  {PAUSE}
  %less = sub i64 %left, 1
  %rested = icmp eq i64 %less, 0
  br i1 %rested, label %again, label %rest
again:
  br label %look
done:
  %lost = load i64, ptr %lost.p
  %told = icmp eq i64 %lost, 0
  br i1 %told, label %reserve, label %forget
forget:
  store i64 0, ptr %lost.p
  br label %reserve
reserve:
{place if exact else ""}
  store i64 %bare, ptr %v.p
  store i64 %held, ptr %r.p
{_give(bits, "%data")}
no:
  ret {{i{bits}, i1}} zeroinitializer
}}
"""


def tracked_sc(size: int, exp: int, exact: bool, how: tuple[str, str] = CALLED) -> str:
    """`i1 @tracked_sc_N(place, value, none, support, attempt, pc)`: whether it failed.

    `none` is the cause if nothing is reserved; `support` is the table, for it may be included where the table's
    functions are not; `attempt` says how many SCs the hart has executed with this one, `pc` where it is, or 0 if the
    hart's page says so.
    """
    bits = 8 * size
    exactly = f"""
{_word("a.p", Hart.RESERVATION_ADDRESS)}
{_word("s.p", Hart.RESERVATION_SIZE)}
  %a = load i64, ptr %a.p
  %s = load i64, ptr %s.p
  %a.same = icmp eq i64 %a, %offset
  %s.same = icmp eq i64 %s, {size}
  %exact = and i1 %a.same, %s.same
  br i1 %exact, label %try, label %fail
"""
    return f"""
{how[0]} i1 @tracked_sc_{bits}({_PLACE}, i{bits} %value, i64 %none, ptr %support, i64 %attempt, i64 %pc) {
        how[1]
    } {{
{_locate(exp)}
{_word("r.p", Hart.RESERVATION)}
{_word("v.p", Hart.RESERVATION_VERSION)}
{_word("number.p", Hart.NUMBER)}
{_word("lost.p", Hart.RESERVATION_LOST)}
{_word("attempts.p", Hart.ATOMICS + AtomicKind.SC)}
{_word("pc.p", Hart.SC_PC)}
  %r = load i64, ptr %r.p
  store i64 0, ptr %r.p
  %any = icmp ne i64 %r, 0
  br i1 %any, label %reserved, label %nothing
nothing:
  %lost = load i64, ptr %lost.p
  store i64 0, ptr %lost.p
  %known = icmp ne i64 %lost, 0
  %lost.cause = sub i64 %lost, 1
  %cause0 = select i1 %known, i64 %lost.cause, i64 %none
  br label %fail
reserved:
  %here = icmp eq i64 %r, %held
  br i1 %here, label %{"check" if exact else "try"}, label %fail
{"check:" + exactly if exact else ""}
try:
  %v = load i64, ptr %v.p
  store volatile i64 %held, ptr %held.p
  br label %lock
lock:
  %from = phi i64 [ %v, %try ], [ %waited, %changed ]
  %locked = or i64 %from, {LOCK}
  %pair = cmpxchg volatile ptr %word, i64 %from, i64 %locked seq_cst seq_cst
  %got = extractvalue {{i64, i1}} %pair, 1
  br i1 %got, label %write, label %changed
changed:
  %waited = extractvalue {{i64, i1}} %pair, 0
  %bare = and i64 %waited, {~WAITERS}
  %unbroken = icmp eq i64 %bare, %v
  br i1 %unbroken, label %lock, label %broken
broken:
  store volatile i64 0, ptr %held.p
  %who = load atomic volatile i64, ptr %last monotonic, align 8
  %cause1 = and i64 %who, 255
  br label %rest
rest:
  %rested = phi i64 [ 0, %broken ], [ %more, %rest ]
  {PAUSE}
  %more = add i64 %rested, 1
  %long = icmp uge i64 %more, {RETREAT}
  br i1 %long, label %fail, label %rest
fail:
  %cause = phi i64 [ %cause0, %nothing ], [ {ScFailure.GRANULE_MISMATCH}, %reserved ], [ %cause1, %rest ]{
        f", [ {ScFailure.ADDRESS_MISMATCH}, %check ]" if exact else ""
    }
  store i64 %attempt, ptr %attempts.p
  %there = icmp eq i64 %pc, 0
  br i1 %there, label %account, label %note
note:
  store i64 %pc, ptr %pc.p
  br label %account
account:
  %sc_failed.p = getelementptr ptr, ptr %support, i64 {SUPPORT.index("sc_failed")}
  %sc_failed = load ptr, ptr %sc_failed.p
  call void %sc_failed(ptr %page, i64 %cause, i64 %g)
  ret i1 true
write:
  %p = getelementptr i8, ptr %ram, i64 %offset
  %number = load i64, ptr %number.p
  %hart = shl i64 %number, 8
  %me = or i64 %hart, {ScFailure.OTHER_SC}
  %was = load atomic volatile i64, ptr %last monotonic, align 8
  %mine = icmp eq i64 %was, %me
  br i1 %mine, label %store, label %sign
sign:
  store atomic volatile i64 %me, ptr %last monotonic, align 8
  br label %store
store:
  store atomic volatile i{bits} %value, ptr %p release, align {size}
  %release = atomicrmw volatile add ptr %word, i64 {VERSION - LOCK} seq_cst
  %changed.p = getelementptr ptr, ptr %support, i64 {SUPPORT.index("changed")}
  {_wake_if_waiting("%release", "%changed.p")}
  store volatile i64 0, ptr %held.p
  ret i1 false
}}
"""


def spin(exp: int) -> str:
    """`i1 @spin(place)`: a hart spins on these bytes of a tracked page; whether it shall leave native code.

    First it notes the word and lets the hart look at its bytes again; if it comes back and the word is still the
    same, what it looks for was not there after the note was made, and it gives way; if TRACKED_YIELDS times did not
    change the word, it parks. If the word has changed and the last change was an AMO of its own, it spins at a
    test-and-set lock, where it would never see the word at rest: it gives way each time, as `inline`'s port does.
    """
    return f"""
define i1 @spin({_PLACE}) cold noinline {{
{_locate(exp)}
{_word("on.p", Hart.SPUN_ON)}
{_word("seen.p", Hart.SPUN_SEEN)}
{_word("bell.p", Hart.DOORBELL)}
{_word("baton.p", Hart.BATON)}
{_word("number.p", Hart.NUMBER)}
{_word("yields.p", Hart.SPUN_YIELDS)}
  %baton = load i64, ptr %baton.p
  %has = icmp ne i64 %baton, 0
  br i1 %has, label %pass, label %look
pass:
  call void @pass_on(ptr %page, ptr %granules)
  br label %look
look:
  %w = load atomic volatile i64, ptr %word seq_cst, align 8
  %now = and i64 %w, {~WAITERS}
  %on = load i64, ptr %on.p
  %seen = load i64, ptr %seen.p
  %here = icmp eq i64 %on, %held
  %same = icmp eq i64 %seen, %now
  %again = and i1 %here, %same
  br i1 %again, label %wait, label %note
note:
  store i64 0, ptr %yields.p
  store i64 %held, ptr %on.p
  store i64 %now, ptr %seen.p
  %who = load atomic volatile i64, ptr %last monotonic, align 8
  %number = load i64, ptr %number.p
  %hart = shl i64 %number, 8
  %me = or i64 %hart, {ScFailure.OTHER_AMO}
  %mine = icmp eq i64 %who, %me
  br i1 %mine, label %yield, label %ask
yield:
  %yielded = call i32 @sched_yield()
  br label %ask
ask:
  %bell = load atomic volatile i64, ptr %bell.p monotonic, align 8
  %rang = icmp ne i64 %bell, 0
  ret i1 %rang
wait:
  %yields = load i64, ptr %yields.p
  %more = add i64 %yields, 1
  store i64 %more, ptr %yields.p
  %long = icmp uge i64 %yields, {TRACKED_YIELDS}
  br i1 %long, label %sleep, label %yield
sleep:
  store i64 0, ptr %yields.p
  %until = call i64 @deadline(i64 {PATIENCE_NS})
  %left = call i64 @park(ptr %page, ptr %word, i64 %held, i64 %seen, i64 %until, i64 {SPINNING})
  %after = load atomic volatile i64, ptr %word seq_cst, align 8
  %bare = and i64 %after, {~WAITERS}
  store i64 %bare, ptr %seen.p
  %called = icmp ne i64 %left, 0
  ret i1 %called
}}
"""


GIVE_WAY_IR = f"""
define i1 @give_way(ptr %page, i64 %waits) cold noinline {{
{_word("bell.p", Hart.DOORBELL)}
  %yielded = call i32 @sched_yield()
  %long = icmp uge i64 %waits, {YIELDS}
  %bell = load atomic volatile i64, ptr %bell.p monotonic, align 8
  %rang = icmp ne i64 %bell, 0
  %leave = or i1 %long, %rang
  ret i1 %leave
}}
"""
"""`i1 @give_way(page, waits)`: a hart spins where no page is tracked, and has waited so often before; whether it shall
leave native code."""


SUPPORT: tuple[str, ...] = (
    *(f"tracked_store_{8 * size}" for size in (1, 2, 4, 8)),
    *(f"tracked_{op.name.lower()}_{8 * size}" for op in AmoOp for size in (1, 2, 4, 8)),
    *(f"tracked_cas_{8 * size}" for size in (1, 2, 4, 8, 16)),
    *(f"tracked_lr_{8 * size}" for size in (4, 8)),
    *(f"tracked_sc_{8 * size}" for size in (4, 8)),
    "sc_failed",
    "heat",
    "spin",
    "give_way",
    "changed",
)
"""The functions, in the order of the table."""


def support_ir(exp: int, *, own_store_breaks: bool, exact: bool) -> str:
    """A module's text with all of SUPPORT, for granules of 2**exp bytes."""
    plain, reservable = (1, 2, 4, 8), (4, 8)
    return "\n".join(
        [
            PARKING_IR,
            enter(own_store_breaks),
            FAILURES_IR,
            HEAT_IR,
            spin(exp),
            GIVE_WAY_IR,
            *(tracked_store(size, exp) for size in plain),
            *(tracked_amo(op, size, exp) for op in AmoOp for size in plain),
            *(tracked_cas(size, exp) for size in (*plain, 16)),
            *(tracked_lr(size, exp, exact) for size in reservable),
            *(tracked_sc(size, exp, exact) for size in reservable),
        ]
    )


@cache
def reservation_ir(exp: int, *, exact: bool) -> str:
    """LR and SC for the module of code that has them in its hot path; it needs DECLARE_PAUSE."""
    return "\n".join(
        [
            *(tracked_lr(size, exp, exact, INLINED) for size in (4, 8)),
            *(tracked_sc(size, exp, exact, INLINED) for size in (4, 8)),
        ]
    )
