"""Watchpoints: every access of every kind is seen in every tier under every policy, and no other."""

from __future__ import annotations

import pytest

from bus import policies
from bus.layout import PAGE_EXP, PageState
from hart.interpreter import WatchpointHit
from hart.watch import Access, Watchpoint
from tests.hart.jit.native_code import EVERY, limit_regions, native, run_to, running

R, W, RW = Access.READ, Access.WRITE, Access.READ | Access.WRITE
WIDTHS = {"b": 1, "h": 2, "w": 4, "d": 8}
TIERS = {"interpreter": (), **EVERY}
TURNS = 60
EVERYWHERE = pytest.mark.parametrize(
    ("tiers", "policy_name"),
    [
        pytest.param(tiers, name, id=f"{tier}-{name}")
        for tier, tiers in TIERS.items()
        for name in policies.NAMES
        if policies.policy(name).lowering is not None or not tiers
    ],
)
# What is executed, its size, and what it does: at an address in a1, with a2 = 1, a4 and a6 scratch.
ACCESSES = [
    *((f"l{w} a4, 0(a1)", s, R) for w, s in WIDTHS.items()),
    *((f"l{w}u a4, 0(a1)", s, R) for w, s in WIDTHS.items() if w != "d"),
    *((f"s{w} a2, 0(a1)", s, W) for w, s in WIDTHS.items()),
    *((f"l{w}.aq a4, (a1)", s, R) for w, s in WIDTHS.items()),
    *((f"s{w}.rl a2, (a1)", s, W) for w, s in WIDTHS.items()),
    *((f"amoadd.{w} a4, a2, (a1)", s, RW) for w, s in WIDTHS.items()),
    *((f"amomaxu.{w}.aqrl a4, a2, (a1)", s, RW) for w, s in WIDTHS.items()),
    *((f"lr.{w} a4, (a1)", WIDTHS[w], R) for w in "wd"),
    *((f"amocas.{w} zero, a2, (a1)", s, None) for w, s in WIDTHS.items()),
    ("amocas.q zero, a2, (a1)", 16, None),
]
# Each turn makes each access once at `seen` and once at `other`, which lies beside it in the same page.
PROGRAM = """
    .option norvc
    li s0, 0
turn:
    li a2, 1
    la a1, seen
    {accesses}
    la a1, other
    {accesses}
    addi s0, s0, 1
    j turn
    .balign 4096
other: .zero 64
seen: .zero 64
    .balign 4096
"""


def _watch(machine, address: int, size: int, access: Access) -> None:
    """As a VM does: the page, then the hart, which stands."""
    page = (address - machine.segment.memory.base) >> PAGE_EXP
    machine.segment.page_map[page] |= PageState.WATCHED
    machine.hart.watch((Watchpoint(address, size, access),))


def _unwatch(machine) -> None:
    page_map = machine.segment.page_map
    for page, byte in enumerate(page_map):
        page_map[page] = byte & ~PageState.WATCHED
    machine.hart.watch(())


def _hits(machine, instructions: int):
    """Every hit until so many instructions have retired."""
    hart = machine.hart
    end = hart.instret + instructions
    while hart.instret < end:
        try:
            hart.run(end - hart.instret)
        except WatchpointHit as hit:
            yield hit


def _symbols(machine_source: str):
    from tests.hart.jit.native_code import image_of

    return {name: symbol.address for name, symbol in image_of(machine_source).symbols.items()}


@EVERYWHERE
@pytest.mark.parametrize("watched", [R, W, RW], ids=["read", "write", "access"])
def test_every_kind_of_access_is_seen_once_a_turn(tiers, policy_name, watched, monkeypatch):
    limit_regions(monkeypatch, 6)
    source = PROGRAM.replace("{accesses}", "\n".join(text for text, _, _ in ACCESSES))
    symbols = _symbols(source)
    turn = 2 * len(ACCESSES) + 7  # la is two instructions
    with running(source, tiers, policy_name=policy_name, warm_after=2) as machine:
        run_to(machine, 1 + turn * TURNS)
        assert (native(machine) > 0) if tiers else True
        _watch(machine, symbols["seen"], 64, watched)
        hits = list(_hits(machine, turn * TURNS))
        expected = []
        for place, (_, size, access) in enumerate(ACCESSES):
            if access is None:
                # It compares with 0: by now there is 1, or with .q a pair.
                access = R
            if access & watched:
                expected.append((symbols["turn"] + 4 * (3 + place), size, access))
        found = [(h.pc, h.access.size, h.access.access) for h in hits]
        assert found == expected * TURNS
        assert {h.access.address for h in hits} == {symbols["seen"]}
        assert machine.hart.x[8] == 2 * TURNS
        _unwatch(machine)
        assert not list(_hits(machine, turn * TURNS))
        if tiers:
            before = native(machine)
            assert not list(_hits(machine, turn * TURNS))
            assert native(machine) > before


@EVERYWHERE
def test_values_are_what_was_read_and_written(tiers, policy_name):
    source = """
    la a1, seen
    li a2, 5
    sd a2, 0(a1)
    lhu a3, 0(a1)
    amoadd.d a3, a2, (a1)
    sb a2, 1(a1)
    li a4, 0x50a
    amocas.d a4, a2, (a1)
    amocas.d a4, a2, (a1)
    lr.d a3, (a1)
    sc.d a3, x0, (a1)
    sc.d a3, a2, (a1)
    li a4, 0
    li a5, 0
    li a2, 1
    li a3, 2
    amocas.q a4, a2, (a1)
    j .
    .balign 4096
    seen: .dword 0, 0
    """
    address = _symbols(source)["seen"]
    with running(source, tiers, policy_name=policy_name) as machine:
        _watch(machine, address, 16, RW)
        hits = [h.access for h in _hits(machine, 40)]
    assert [(h.address - address, h.size, h.access, h.read, h.written) for h in hits] == [
        (0, 8, W, 0, 5),
        (0, 2, R, 5, 0),
        (0, 8, RW, 5, 10),
        (1, 1, W, 0, 5),
        (0, 8, RW, 0x50A, 5),
        (0, 8, R, 5, 0),
        (0, 8, R, 5, 0),
        (0, 8, W, 0, 0),
        (0, 16, RW, 0, 2 << 64 | 1),
    ]


@EVERYWHERE
@pytest.mark.parametrize(
    ("start", "size", "hits"), [(7, 1, 1), (8, 1, 0), (-1, 1, 0), (-1, 2, 1), (3, 2, 1), (-4096, 8192, 1)]
)
def test_one_byte_in_common_is_enough(tiers, policy_name, start, size, hits):
    source = "la a1, seen\n 1: ld a2, 0(a1)\n j 1b\n .balign 4096\n .zero 4096\n seen: .zero 8192"
    address = _symbols(source)["seen"]
    with running(source, tiers, policy_name=policy_name) as machine:
        _watch(machine, address, 8, R)  # its page
        machine.hart.watch((Watchpoint(address + start, size, R),))
        run_to_hits = list(_hits(machine, 2 + 2 * 10))
        assert len(run_to_hits) == 10 * hits


@EVERYWHERE
def test_a_reservation_outlives_a_stop(tiers, policy_name):
    """LR/SC loops go on where a watchpoint stops them at the LR, at the SC, and at both."""
    source = """
    la a1, seen
    1: lr.d a2, (a1)
    addi a2, a2, 1
    sc.d a3, a2, (a1)
    bnez a3, 1b
    addi a4, a4, 1
    j 1b
    .balign 4096
    seen: .dword 0
    """
    address = _symbols(source)["seen"]
    for watched in (R, W, RW):
        with running(source, tiers, policy_name=policy_name, warm_after=2) as machine:
            run_to(machine, 2 + 6 * 50)
            _watch(machine, address, 8, watched)
            hits = list(_hits(machine, 6 * 100))
            assert machine.hart.x[14] == machine.segment.memory.load(address, 8) == 150
            assert len(hits) == (200 if watched == RW else 100)


def test_what_cannot_be_watched_is_named():
    with pytest.raises(ValueError, match="0 bytes at 0x10"):
        Watchpoint(16, 0)
    with pytest.raises(ValueError, match="no kind of access"):
        Watchpoint(16, 1, Access(0))
