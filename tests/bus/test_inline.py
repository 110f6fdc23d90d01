"""`inline` beyond what the conformance rows cover: writes from outside, words of the dead, code for AArch64."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest

from bus.access import AmoOp, Order, ScFailure
from bus.granule import LOCK, SUPPORT, VERSION, WRITER, support_ir
from bus.inline_lowering import InlineLowering
from bus.ir_text import FunctionText
from bus.layout import PAGE, PAGE_EXP, Geometry, Hart, PageState
from bus.lowering import hart_word
from bus.messages import Kind
from bus.parking import WAITERS
from bus.policies import ArbiterContext, PortContext, Refused, Reservations, policy
from bus.policies.inline import AGAIN_S, LOOK_S, MOST_EMPTY_LOOKS, MOST_LOOKS
from bus.segment import Segment
from tests.bus.direct_bus import NobodyRuns
from tests.local_hart import DirectLink

A = 0x8000_0000


class Safepoints(NobodyRuns):
    """Harts pass a safepoint at once, or when the test says so, if `later` is a list."""

    later = None

    def begin(self, then):
        if self.later is None:
            then()
        else:
            self.later.append(then)

    def all_pass(self):
        then, self.later = self.later, None
        for each in then:
            each()


class Bus:
    """An arbiter and the ports of two harts, all in this process."""

    def __init__(self, segment):
        self.segment = segment
        rules = Reservations()
        self.link = DirectLink(segment, rules, "inline")
        self.ports = [policy("inline").port(PortContext(segment, h, self.link, rules)) for h in range(2)]
        self.quiescence = Safepoints(segment)
        self.now = 0.0
        self.timers = []
        """When something is due, and what."""
        self.start_arbiter()
        self.done = []

    def start_arbiter(self):
        """As a bus process does that finds the segment so."""
        self.arbiter = policy("inline").arbiter(
            ArbiterContext(
                segment=self.segment,
                reservations=Reservations(),
                quiescence=self.quiescence,
                answer=lambda *_: None,
                refuse=lambda *_: None,
                reservation_lost=lambda *_: None,
                log=None,
                later=lambda seconds, then: self.timers.append((self.now + seconds, then)),
            )
        )

    def pass_time(self):
        """Up to when something is due next, and call it."""
        self.now = min(at for at, _ in self.timers)
        due = [then for at, then in self.timers if at <= self.now]
        self.timers = [(at, then) for at, then in self.timers if at > self.now]
        for then in due:
            then()

    def write(self, address, size, value):
        self.arbiter.external_write(address, size, value, lambda: self.done.append(address))


@pytest.fixture
def bus():
    segment = Segment.create(Geometry(2, 4 * PAGE))
    segment.unlink()
    made = Bus(segment)
    yield made
    made.link.close()
    made.arbiter = None
    made.ports.clear()
    segment.close()


def _cause(bus, hart=0):
    page = bus.segment.harts[hart]
    return {f for f in ScFailure if page[Hart.SC_FAILURES + f]}


# Writes from outside


def test_a_write_from_outside_ends_a_reservation(bus):
    port, _ = bus.ports
    port.load_reserved(A, 8, Order.NONE)
    bus.write(A + 56, 8, 7)
    assert bus.done == [A + 56]
    assert not port.store_conditional(A, 8, 1, Order.NONE)
    assert _cause(bus) == {ScFailure.EXTERNAL_WRITE}
    assert port.load(A + 56, 8) == 7


def test_a_write_from_outside_next_to_the_granule_ends_none(bus):
    port, _ = bus.ports
    port.load_reserved(A, 8, Order.NONE)
    bus.write(A + 64, 8, 7)
    assert port.store_conditional(A, 8, 1, Order.NONE)


def test_a_write_from_outside_fails_a_fused_pair_if_it_changes_the_value(bus):
    port, _ = bus.ports
    port.load_reserved(A, 8, Order.NONE, True)
    bus.write(A, 8, 7)
    assert not port.store_conditional(A, 8, 1, Order.NONE)
    assert port.load(A, 8) == 7


def test_a_write_from_outside_leaves_the_word_free(bus):
    port, _ = bus.ports
    port.load_reserved(A, 8, Order.NONE)
    before = bus.segment.granules[0]
    bus.write(A, 4, 7)
    assert bus.segment.granules[0] == before + VERSION


def test_a_write_from_outside_waits_without_the_word_until_the_holder_lets_go(bus):
    bus.ports[0].load_reserved(A, 8, Order.NONE)
    bus.quiescence.later = []
    bus.segment.granules[0] |= LOCK
    bus.write(A, 8, 7)
    assert not bus.segment.granules[0] & (WRITER * 0x3FFF)  # it has backed out
    assert not bus.done
    bus.segment.granules[0] += VERSION - LOCK
    bus.quiescence.all_pass()
    assert bus.done == [A]
    assert bus.ports[0].load(A, 8) == 7


@pytest.mark.parametrize(
    ("address", "size", "message"),
    [(A + 4, 8, "misaligned"), (A, 3, "size 3"), (A, 16, "size 16"), (A - 8, 8, "access fault")],
)
def test_a_write_from_outside_that_cannot_be_is_refused(bus, address, size, message):
    with pytest.raises(Refused, match=message):
        bus.write(address, size, 1)


# The dead


@pytest.mark.parametrize("held", [LOCK, WRITER, LOCK | WRITER])
def test_the_word_of_a_dead_hart_is_freed(bus, held):
    survivor = bus.ports[1]
    survivor.load_reserved(A, 8, Order.NONE)
    bus.segment.granules[0] += held + VERSION
    bus.segment.harts[0][Hart.HELD] = 1
    bus.arbiter.hart_gone(0)
    assert bus.segment.page_map[0] == PageState.TRACKED
    assert not survivor.store_conditional(A, 8, 1, Order.NONE)
    survivor.load_reserved(A, 8, Order.NONE)
    assert survivor.store_conditional(A, 8, 2, Order.NONE)


def test_a_page_is_not_left_frozen_by_a_bus_that_died_before_it_said_so(bus):
    bus.ports[1].load_reserved(A, 8, Order.NONE)
    bus.segment.page_map[0] |= PageState.FROZEN  # the words are free, HELD is cleared: all but this is done
    bus.start_arbiter()
    assert bus.segment.page_map[0] == PageState.TRACKED


def test_a_page_stays_frozen_while_another_dead_hart_holds_a_word_of_it(bus):
    bus.ports[1].load_reserved(A, 8, Order.NONE)
    bus.quiescence.later = []
    for hart in range(2):
        bus.segment.harts[hart][Hart.HELD] = 1 + hart
        bus.arbiter.hart_gone(hart)
    first, second = bus.quiescence.later
    first()
    assert bus.segment.page_map[0] & PageState.FROZEN
    second()
    assert bus.segment.page_map[0] == PageState.TRACKED


# Pages in transition


def _track_for_waiting(bus, hart=1):
    """As a hart that spins asks for it."""
    bus.arbiter.handle(hart, [Kind.TRACK, 1, A, 1])
    assert bus.segment.page_map[0] == PageState.TRACKED


def test_a_page_tracked_for_waiting_is_given_back(bus):
    _track_for_waiting(bus)
    bus.pass_time()
    assert bus.segment.page_map[0] == 0
    first, second = bus.ports
    second.store(A, 8, 5)
    assert first.load(A, 8) == 5


def _park(bus, granule=3):
    page = bus.segment.harts[1]
    page[Hart.JOINED], page[Hart.PARKED] = 1, 1 + granule


def _looks(bus):
    """How often the bus looks at the page until it gives it back."""
    begun = bus.now
    while bus.segment.page_map[0] == PageState.TRACKED:
        bus.pass_time()
    return round((bus.now - begun) / LOOK_S, 6)


def test_it_is_tracked_longer_each_time_while_harts_park_there(bus):
    _park(bus)
    looks = []
    for _ in range(12):
        _track_for_waiting(bus)
        looks.append(_looks(bus))
    assert looks[:4] == [1, 2, 4, 8]
    assert looks[-1] == MOST_LOOKS


@pytest.mark.parametrize("word", [Hart.JOINED, Hart.PARKED])
def test_it_is_given_back_after_some_looks_that_find_nobody(bus, word):
    """Some more each time that it was given back too early."""
    page = bus.segment.harts[1]
    looks = []
    for _ in range(8):
        _park(bus)
        page[word] = 0  # a dead hart, or nobody
        _track_for_waiting(bus)
        looks.append(_looks(bus))
    assert looks == [1, 2, 4, 8, 16, *[MOST_EMPTY_LOOKS] * 3]
    _track_for_waiting(bus)
    for look in range(30):
        _park(bus, 3 if look % 10 == 9 else 1 << PAGE_EXP - 6)  # else on the next page
        bus.pass_time()
        assert bus.segment.page_map[0] == PageState.TRACKED


def test_what_has_been_free_for_a_while_is_tracked_as_for_the_first_time(bus):
    _park(bus)
    for _ in range(3):
        _track_for_waiting(bus)
        looks = _looks(bus)
    assert looks == 4
    begun = bus.now
    while bus.timers:
        bus.pass_time()
    assert bus.now == pytest.approx(begun + AGAIN_S)
    _track_for_waiting(bus)
    assert _looks(bus) == 1


def test_a_transition_takes_nothing_from_the_time(bus):
    _park(bus)
    for _ in range(3):
        _track_for_waiting(bus)
        _looks(bus)
    _track_for_waiting(bus)
    bus.segment.page_map[0] |= PageState.PENDING
    bus.pass_time()
    bus.segment.page_map[0] &= ~PageState.PENDING & 0xFF
    assert _looks(bus) == 7


def test_a_page_that_an_lr_needs_stays_tracked(bus):
    _track_for_waiting(bus)
    bus.pass_time()
    bus.ports[0].load_reserved(A, 8, Order.NONE)
    while bus.timers:
        bus.pass_time()
    assert bus.segment.page_map[0] == PageState.TRACKED


def test_an_lr_that_comes_while_a_page_is_given_back_keeps_it(bus):
    _track_for_waiting(bus)
    bus.quiescence.later = []
    bus.pass_time()
    assert bus.segment.page_map[0] == PageState.TRACKED | PageState.PENDING
    bus.arbiter.handle(0, [Kind.TRACK, 2, A, 0])
    bus.quiescence.all_pass()
    assert bus.segment.page_map[0] == PageState.TRACKED


@pytest.mark.parametrize("again", [False, True])
def test_a_reservation_does_not_outlive_its_pages_tracking(bus, again):
    """The store between is one that no word has seen."""
    first, second = bus.ports
    _track_for_waiting(bus)
    first.load_reserved(A, 8, Order.NONE)
    bus.pass_time()
    second.store(A, 8, 0)
    if again:
        _track_for_waiting(bus)
    assert not bus.arbiter.holds_reservation(0)
    assert not first.store_conditional(A, 8, 1, Order.NONE)
    assert second.load(A, 8) == 0


def test_a_page_on_which_a_hart_died_is_given_back_later(bus):
    _track_for_waiting(bus)
    bus.segment.page_map[0] |= PageState.FROZEN
    bus.pass_time()
    assert bus.segment.page_map[0] == PageState.TRACKED | PageState.FROZEN
    bus.segment.page_map[0] = PageState.TRACKED
    bus.pass_time()
    assert bus.segment.page_map[0] == 0


def test_a_hart_parked_there_is_woken_when_a_page_is_given_back(bus):
    _track_for_waiting(bus)
    bus.segment.granules[3] |= WAITERS
    before = bus.segment.granules[3]
    bus.pass_time()
    assert bus.segment.granules[3] == (before & ~WAITERS) + VERSION


def test_an_sc_to_a_page_in_transition_does_not_keep_its_hart_from_the_next_safepoint(bus):
    """The bus waits for that safepoint: the SC must not wait for the bus."""
    port, _ = bus.ports
    port.load_reserved(A, 8, Order.NONE)
    bus.segment.page_map[1] = PageState.TRACKED | PageState.PENDING
    assert not port.store_conditional(A + PAGE, 8, 1, Order.NONE)
    assert _cause(bus) == {ScFailure.GRANULE_MISMATCH}


def test_an_sc_to_an_untracked_page_names_the_reservation_elsewhere(bus):
    port, _ = bus.ports
    port.load_reserved(A, 8, Order.NONE)
    assert not port.store_conditional(A + PAGE, 8, 1, Order.NONE)
    assert _cause(bus) == {ScFailure.GRANULE_MISMATCH}


def test_hot_addresses_come_from_the_harts_samples(bus):
    for _ in range(5000):
        bus.ports[0].amo(AmoOp.ADD, A + 8, 8, 1, Order.NONE)
    for _ in range(7):
        bus.ports[1].amo(AmoOp.ADD, A, 8, 1, Order.NONE)
    (hot,) = bus.arbiter.statistics(1)
    assert hot[:2] == (A + 8, 0)
    assert 4000 < hot[3] < 6000
    assert (A, 1, 2, 7) in bus.arbiter.statistics(2)


# AArch64


class _Emitter(FunctionText):
    """Collects an access; `bail` is where the interpreter would take over."""

    def interpret(self):
        return "bail"

    def counter(self, word):
        return hart_word(self, word)

    def here(self):
        pass

    def unless(self, condition):
        go = self.label()
        self.line(f"br i1 {condition}, label %bail, label %{go}")
        self.begin(go)

    def slot(self, name, bits):
        return "%slot"

    def pc(self):
        return A


def _aarch64(emit, bits=64) -> str:
    """The assembly of an access on AArch64 with LSE."""
    e = _Emitter()
    result = emit(e, InlineLowering(Reservations(), tso=False))
    text = "\n".join(
        [
            *e.included,
            "define i64 @f(ptr %page, ptr %page_map, ptr %granules, ptr %ram, ptr %support, "
            "i64 %offset, i64 %a, i64 %b) {",
            "  %slot = alloca i64",
            *e._lines,
            f"  %r = zext i{bits} {result} to i64" if bits < 64 else f"  %r = add i64 {result}, 0",
            "  ret i64 %r",
            "bail:",
            "  ret i64 -1",
            "}",
            '!0 = !{!"branch_weights", i32 2000, i32 1}',
            '!2 = !{!"branch_weights", i32 1, i32 2000}',
        ]
    )
    return _compile(text)


def _compile(text: str) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this LLVM has no AArch64")
    machine = target.create_target_machine(opt=2, features="+lse,+rcpc")
    module = llvm.parse_assembly(text.replace("@llvm.x86.sse2.pause()", "@nothing()"))
    module.verify()
    return machine.emit_assembly(module)


ACCESSES = {
    "amoadd": (lambda e, low, order: low.amo(e, AmoOp.ADD, "%offset", 8, "%a", order), 64, "ldaddal"),
    "amoswap": (lambda e, low, order: low.amo(e, AmoOp.SWAP, "%offset", 8, "%a", order), 64, "swpal"),
    "amocas": (lambda e, low, order: low.compare_and_swap(e, "%offset", 8, "%a", "%b", order), 64, "casal"),
    "sc": (
        lambda e, low, order: low.store_conditional(e, "%offset", 8, "%a", order, None),
        1,
        "bl\ttracked_sc",
    ),
    "fused sc": (lambda e, low, order: low.store_conditional(e, "%offset", 8, "%a", order, "p"), 1, "casal"),
}
FENCE = "dmb\tish"


@pytest.mark.parametrize("name", ACCESSES)
def test_with_aq_a_barrier_follows_on_aarch64(name):
    """`bus.lowering`'s table: such an operation orders only its load before a later load."""
    access, bits, instruction = ACCESSES[name]
    assembly = {order: _aarch64(lambda e, low: access(e, low, order), bits) for order in Order}  # noqa: B023
    for order, text in assembly.items():
        assert instruction in text
        after = text[text.index(instruction) :]
        assert bool(re.search(FENCE + r"\n", after)) == bool(order & Order.AQ), (name, order)


def test_a_tso_host_needs_no_such_barrier():
    e = _Emitter()
    InlineLowering(Reservations(), tso=True).amo(e, AmoOp.ADD, "%offset", 8, "%a", Order.AQRL)
    assert not any("fence" in line for line in e._lines)


def test_the_word_protocol_compiles_for_aarch64():
    support = support_ir(6, own_store_breaks=False, exact=False)
    assembly = _compile(support.replace("declare void @llvm.x86.sse2.pause()", "declare void @nothing()"))
    assert all(f"{name}:" in assembly for name in SUPPORT)
    assert "ldaddal" in assembly
