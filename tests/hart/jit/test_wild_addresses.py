"""Whatever address a guest tries, native code traps as T0 does, and touches nothing outside RAM."""

from __future__ import annotations

import pytest

from tests.hart.jit.native_code import ALL, EVERY, native, run_to, running

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
TIER = pytest.mark.parametrize("tiers", EVERY.values(), ids=EVERY)


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


@TIER
def test_traps_are_t0s_and_nothing_outside_ram_changes(tiers):
    source = _program()
    extensions = ALL - {"Zicclsm"}
    total = 2 * 60 * sum(len(_addresses(size)) for _, size in ACCESSES)
    with (
        running(source, (), extensions=extensions, ram_bytes=RAM_BYTES) as expected,
        running(source, tiers, extensions=extensions, ram_bytes=RAM_BYTES, warm_after=1) as machine,
    ):
        assert expected.segment.geometry.ram_base == RAM
        canaries = _paint(machine.segment)
        run_to(expected, total)
        run_to(machine, total)
        assert expected.hart.x[26] == 0, "the program has not come to its end"
        assert expected.hart.traps > 1000
        assert machine.hart.traps == expected.hart.traps
        assert hex(machine.hart.x[8]) == hex(expected.hart.x[8])
        assert list(machine.hart.x) == list(expected.hart.x)
        assert native(machine) > total / 10
        size = expected.segment.memory.size
        assert machine.segment.memory.read(RAM, size) == expected.segment.memory.read(RAM, size)
        for view, before in canaries:
            assert bytes(view) == before
            view.release()


def _paint(segment) -> list[tuple[memoryview, bytes]]:
    """Fill what lies behind RAM, and remember what lies before it."""
    geometry = segment.geometry
    behind = segment.ring(0)
    behind[:] = bytes([0xA5]) * len(behind)
    assert geometry.ring_offset == geometry.ram_offset + geometry.ram_bytes
    return [(behind, bytes(behind))]
