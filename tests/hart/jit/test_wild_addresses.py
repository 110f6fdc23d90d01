"""Whatever address a guest tries, native code traps as T0 does, and touches nothing outside RAM."""

from __future__ import annotations

import pytest

from bus import policies
from bus.layout import HART_BYTES, PAGE, PAGE_EXP, Header
from tests.hart.jit.native_code import ALL, EVERY, limit_regions, native, run_to, running

RAM = 0x8000_0000
RAM_BYTES = 1 << 16
END = RAM + RAM_BYTES
WIDTHS = {"b": 1, "h": 2, "w": 4, "d": 8}
ACCESSES = [
    *((f"l{w} a4, 0(a1)", s) for w, s in WIDTHS.items()),
    *((f"l{w}u a4, 0(a1)", s) for w, s in WIDTHS.items() if w != "d"),
    *((f"s{w} a2, 0(a1)", s) for w, s in WIDTHS.items()),
    *((f"l{w}.aq a4, (a1)", s) for w, s in WIDTHS.items()),
    *((f"s{w}.rl a2, (a1)", s) for w, s in WIDTHS.items()),
    *((f"amoadd.{w} a4, a2, (a1)", s) for w, s in WIDTHS.items()),
    *((f"amoswap.{w}.aqrl a4, a2, (a1)", s) for w, s in WIDTHS.items()),
    *((f"amomaxu.{w} a4, a2, (a1)", s) for w, s in WIDTHS.items()),
    *((f"amocas.{w} a4, a2, (a1)", s) for w, s in WIDTHS.items()),
    ("amocas.q a4, a2, (a1)", 16),
    *((f"lr.{w} a4, (a1)", WIDTHS[w]) for w in "wd"),
    *((f"sc.{w} a4, a2, (a1)", WIDTHS[w]) for w in "wd"),
]


def _addresses(size: int) -> list[int]:
    """Around both ends of RAM, of the signed and unsigned ranges, and where sums wrap."""
    around = [RAM, END, 0, 1 << 63, 1 << 32, RAM + (1 << 32), END + (1 << 63), (1 << 64) - RAM, 2 * RAM]
    found = {
        (a + d) & (1 << 64) - 1 for a in around for d in (-16, -size, -size + 1, -1, 0, 1, size - 1, size)
    }
    inside = RAM + 0x8000  # keeps the program itself from being overwritten
    return [*sorted(a for a in found if not RAM <= a < inside), inside, inside + 1]


def _program() -> str:
    """Tries each access at each address; the handler sums up what it sees."""
    lines = [
        "la t0, handler",
        "csrw mtvec, t0",
        "li s0, 0",
        "la s1, tables",
        "li s10, 2",
        "turn:",
        "la s1, tables",
    ]
    for number, (text, size) in enumerate(ACCESSES):
        lines += [
            f"li s2, {len(_addresses(size))}",
            f"try{number}:",
            "ld a1, 0(s1)",
            "li a2, -1",
            "li a4, 5",
            "li a5, 6",
            text,
            "mv t0, a4",
            "call mix",
            "addi s1, s1, 8",
            "addi s2, s2, -1",
            f"bnez s2, try{number}",
        ]
    lines += ["addi s10, s10, -1", "bnez s10, turn", "end: j end"]
    lines += [
        "mix: slli t1, s0, 7", "srli s0, s0, 57", "or s0, s0, t1", "add s0, s0, t0", "ret",
        ".balign 4", "handler:", "csrr t0, mcause", "call mix", "csrr t0, mtval", "call mix",
        "csrr t0, mepc", "call mix", "csrr t0, mepc", "addi t0, t0, 4", "csrw mepc, t0", "mret",
        ".balign 8", "tables:",
    ]  # fmt: skip
    for _, size in ACCESSES:
        lines += [f".dword {address:#x}" for address in _addresses(size)]
    return "\n".join([".option norvc", *lines])


EVERYWHERE = pytest.mark.parametrize(
    ("tiers", "policy_name"),
    [
        pytest.param(tiers, name, id=f"{tier}-{name}")
        for tier, tiers in {"interpreter": (), **EVERY}.items()
        for name in policies.NAMES
        if policies.policy(name).lowering is not None or not tiers
    ],
)


@EVERYWHERE
def test_traps_are_the_manuals_and_nothing_outside_ram_changes(tiers, policy_name, monkeypatch):
    """Against T0 under `serial`, of which `tests/differential/test_traps.py` compares each trap with the manual's."""
    limit_regions(monkeypatch, 16)
    source = _program()
    extensions = ALL - {"Zicclsm"}
    total = 2 * 60 * sum(len(_addresses(size)) for _, size in ACCESSES)
    options = {"extensions": extensions, "ram_bytes": RAM_BYTES, "harts": 2}
    with (
        running(source, (), **options) as expected,
        running(source, tiers, warm_after=1, policy_name=policy_name, **options) as machine,
    ):
        assert expected.segment.geometry.ram_base == RAM
        run_to(expected, total)
        before = _outside(machine.segment, paint=True)
        run_to(machine, total)
        assert expected.hart.x[26] == 0, "the program has not come to its end"
        assert expected.hart.traps > 1000
        assert machine.hart.traps == expected.hart.traps
        assert hex(machine.hart.x[8]) == hex(expected.hart.x[8])
        assert list(machine.hart.x) == list(expected.hart.x)
        if tiers:
            assert native(machine) > total / 10
        size = expected.segment.memory.size
        assert machine.segment.memory.read(RAM, size) == expected.segment.memory.read(RAM, size)
        after = _outside(machine.segment, paint=False)
        changed = [i for i in range(0, len(before), 8) if before[i : i + 8] != after[i : i + 8]]
        assert [hex(i) for i in changed if i not in _allowed(machine.segment)] == []


def _outside(segment, *, paint: bool) -> bytes:
    """All of the segment but RAM; with `paint`, what nobody uses is filled before."""
    geometry = segment.geometry
    whole = segment._buffer
    if paint:
        used_header, used_page = 8 * 256, 8 * 408
        page = geometry.hart_offset + HART_BYTES  # hart 1's, which never runs
        unused = [(used_header, PAGE), (page + used_page, page + HART_BYTES)]
        unused += [
            (geometry.page_map_offset + RAM_BYTES // PAGE, geometry.granule_offset),
            (geometry.granule_offset + 16 * (RAM_BYTES >> geometry.granule_exp), geometry.ram_offset),
            (geometry.ring_offset, geometry.ownership_offset),
        ]
        for start, end in unused:
            whole[start:end] = b"\xa5" * (end - start)
    ram = bytes(geometry.ram_bytes)  # compared elsewhere
    return (
        bytes(whole[: geometry.ram_offset]) + ram + bytes(whole[geometry.ring_offset : geometry.total_bytes])
    )


def _allowed(segment) -> set[int]:
    """Words outside RAM that legal accesses change: counters, hart 0's own pages, what belongs to granules in RAM."""
    geometry = segment.geometry
    header = (Header.BUS_TRANSACTIONS, Header.QUIESCE_EPOCH)
    allowed = {8 * word for word in header}
    allowed |= {geometry.hart_offset + 8 * word for word in range(HART_BYTES // 8)}
    # The program's own code and data have owners, too.
    granules = RAM_BYTES >> geometry.granule_exp if geometry.owned else 0
    allowed |= set(range(geometry.ownership_offset, geometry.ownership_offset + granules, 8))
    tried = {a + i for size in (1, 2, 4, 8, 16) for a in _addresses(size) for i in range(size)}
    places = {a - RAM for a in tried if RAM <= a < END}
    for place in places:
        allowed.add((geometry.page_map_offset + (place >> PAGE_EXP)) & ~7)
        for word in range(2):
            allowed.add(geometry.granule_offset + 16 * (place >> geometry.granule_exp) + 8 * word)
    return allowed
