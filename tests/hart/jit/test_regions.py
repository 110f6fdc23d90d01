"""Regions at their limits: their size, the end of RAM, code that is none, code that changes."""

from __future__ import annotations

import pytest

from hart.causes import Cause
from hart.interpreter import UnhandledTrap
from hart.isa.decoder import Decoder
from hart.jit import engine
from hart.jit.region import discover
from hart.jit.retries import retry_loops
from hart.tiers import TieredInterpreter
from tests.hart.jit.native_code import (
    ALL,
    EVERY,
    T1,
    T2,
    image_of,
    limit_regions,
    native,
    run_to,
    running,
    state,
)

RAM = 0x8000_0000
TIER = pytest.mark.parametrize("tiers", EVERY.values(), ids=EVERY)
NO_C = ALL - {"Zca"}


def _discover(source: str, limit: int = 1000, *, follow_calls: bool = False, entry: int = RAM):
    (chunk,) = image_of(source).chunks

    def fetch(pc: int) -> int | None:
        at = pc - RAM
        return int.from_bytes(chunk.data[at : at + 4], "little") if 0 <= at < len(chunk.data) else None

    return discover(Decoder(ALL), fetch, entry, limit, follow_calls=follow_calls), chunk.data


def _agree(source: str, tiers, instructions: int, **options) -> None:
    with running(source, (), **options) as expected, running(source, tiers, **options) as machine:
        for at in range(instructions // 10, instructions + 1, instructions // 10):
            run_to(expected, at)
            run_to(machine, at)
            assert state(machine) == state(expected)
        assert native(machine) > 0


# What a region is


def test_a_branch_into_a_block_splits_it():
    region, _ = _discover(".option norvc\nnop\n1: nop\nnop\nbnez a0, 1b\nj .")
    assert [(b.pc - RAM, len(b.instructions)) for b in sorted(region.blocks.values(), key=lambda b: b.pc)] == [
        (0, 1), (4, 3), (16, 1),
    ]  # fmt: skip
    assert region.reach() == 5


def test_reach_is_the_longest_way_between_checks():
    source = ".option norvc\nbeqz a0, 1f\n.rept 10\nnop\n.endr\n1: .rept 5\nnop\n.endr\nj 1b"
    assert _discover(source)[0].reach() == 1 + 10 + 6


@pytest.mark.parametrize(("nops", "copies"), [(1, 8), (6, 4), (14, 2), (15, 2), (16, 1)])
def test_a_loop_of_one_block_is_laid_out_several_times(nops, copies):
    region, _ = _discover(f".option norvc\n1: .rept {nops}\nnop\n.endr\nbnez a0, 1b\nj .")
    assert region.copies() == ({RAM: copies} if copies > 1 else {})
    assert region.reach(region.copies()) == (nops + 1) * copies + 1


@pytest.mark.parametrize("atomic", ["lr.w a0, (a1)\nsc.w a0, a0, (a1)", "amoadd.w a0, a2, (a1)", "fence.i"])
def test_a_loop_around_an_atomic_is_laid_out_once(atomic):
    region, _ = _discover(f"1: {atomic}\nbnez a0, 1b")
    assert not region.copies()


def test_a_limit_cuts_what_is_farthest():
    region, _ = _discover(".rept 500\nnop\n.endr\nj .", 100)
    assert region.instructions == 100
    assert region.reach() == 100


def test_calls_are_followed_and_their_returns_known():
    region, _ = _discover(".option norvc\njal f\nnop\nj .\nf: ret", follow_calls=True)
    assert [r - RAM for r in region.returns] == [4]
    assert region.instructions == 4


def test_far_calls_are_followed():
    source = ".option norvc\n1: auipc ra, 0\njalr ra, 16(ra)\nnop\nj .\nf: ret"
    region, _ = _discover(source, follow_calls=True)
    assert [r - RAM for r in region.returns] == [8]
    assert RAM + 16 in region.blocks
    assert _discover(source)[0].instructions == 2


@pytest.mark.parametrize("base", ["lw ra, 0(x0)", "mv ra, a0", "csrr ra, mhartid"])
def test_a_call_through_what_memory_or_a_register_says_is_not(base):
    region, _ = _discover(f".option norvc\n{base}\njalr ra, 12(ra)\nj .\nf: ret", follow_calls=True)
    assert set(region.blocks) <= {RAM, RAM + 4}


def test_code_of_overlapping_instructions_is_kept():
    """A jump into the middle of an instruction, which is another instruction there."""
    source = "lui a0, 0x00010\nj . - 2"
    region, data = _discover(source)
    assert region.stretches()[0][0] == RAM
    assert data.startswith(region.code()[:4])


@pytest.mark.parametrize("source", [".4byte 0xffffffff", ".2byte 0", "ecall", "csrr a0, mhartid", "fence.i"])
def test_what_cannot_be_compiled_is_remembered_as_that(source):
    with running(source, T1) as machine:
        hart = machine.hart
        compiled = hart._compiler._compile(RAM, T1[0])
        assert compiled.object == b""


@pytest.mark.parametrize("address", [RAM + 1, RAM + 2, RAM - 4, RAM + (1 << 16), (1 << 64) - 2])
def test_entries_where_no_code_can_be(address):
    with running(".option norvc\n1: j 1b", T1, extensions=NO_C) as machine:
        assert machine.hart._compiler._compile(address, T1[0]).object == b""


# How they run


@TIER
def test_more_code_than_a_region_holds(tiers, monkeypatch):
    limit_regions(monkeypatch, 20)
    body = "\n".join(f"addi a{i % 8}, a{(i + 3) % 8}, {i}\nbltz a{i % 8}, 2f" for i in range(60))
    _agree(f"1: {body}\n2: addi a1, a1, 3\nj 1b", tiers, 2000)


@TIER
@pytest.mark.parametrize(
    "source",
    ["1: j 1b", "li a0, 1\n1: bnez a0, 1b", "1: beq x0, x0, 1b", "1: la t0, 1b\njr t0", "la t0, 1f\n1: jr t0",
     "la x0, 0\n1: addi x0, x0, 5\nadd a0, a0, x0\nsub x0, a0, a1\nj 1b", "1: jal x0, 1b", "1: jal t0, 1b"],
)  # fmt: skip
def test_loops_of_a_few_instructions(tiers, source):
    _agree(source, tiers, 300)


@TIER
def test_fences_of_every_kind(tiers):
    fences = "\n".join(f"fence {p}, {s}" for p in ("r", "w", "rw", "iorw") for s in ("r", "w", "rw", "io"))
    _agree(f"la a0, data\n1: {fences}\nfence.tso\n.4byte 0x0000000f\nsd a1, 0(a0)\naddi a1, a1, 1\nj 1b\n"
           ".balign 4096\ndata: .dword 0", tiers, 600)  # fmt: skip


@TIER
def test_misaligned_targets_trap_without_compressed_instructions(tiers):
    source = """
    .option norvc
    la t0, handler
    csrw mtvec, t0
    1: la a0, 1b + 2
    .4byte 0x00050067 # jr a0
    .4byte 0x0060006f # j . + 6
    .4byte 0x00000363 # beq x0, x0, . + 6
    .4byte 0x00001363 # bne x0, x0, . + 6
    addi a1, a1, 1
    j 1b
    .balign 4
    handler:
    csrr t1, mtval
    add s0, s0, t1
    csrr t1, mepc
    addi t1, t1, 4
    csrw mepc, t1
    mret
    """
    _agree(source, tiers, 2000, extensions=NO_C)


@TIER
def test_code_that_runs_off_ram(tiers):
    """The last instruction of RAM falls through, into a fetch fault; also half an instruction at the end."""
    size = 1 << 13
    for tail in ("c.addi a0, 1", ".4byte 0x00150513\n.2byte 0x0513"):
        source = f"""
        li a1, 3
        la t0, handler
        csrw mtvec, t0
        1: la t1, tail
        jr t1
        .balign 4
        handler:
        csrr t0, mtval
        add s0, s0, t0
        addi a2, a2, 1
        j 1b
        .org {size} - {2 if tail.startswith("c.") else 6}
        tail: {tail}
        """
        _agree(source, tiers, 400, ram_bytes=size)


@TIER
def test_a_trap_in_the_middle_of_native_code_is_precise(tiers):
    source = """
    la a0, data
    li a3, 100
    1: addi a1, a1, 1
    slli a2, a1, 3
    andi a2, a2, 2047
    add a4, a0, a2
    sd a1, 0(a4)
    addi a5, a5, 1
    addi a3, a3, -1
    bnez a3, 1b
    li a4, 0x40000000
    addi a6, a6, 1
    ld a7, 8(a4)
    addi a6, a6, 1
    .balign 4096
    data: .zero 2048
    """
    with running(source, ()) as expected, running(source, tiers) as machine:
        for m in (expected, machine):
            with pytest.raises(UnhandledTrap) as trap:
                run_to(m, 100_000)
            assert (trap.value.cause, trap.value.tval) == (Cause.LOAD_ACCESS_FAULT, 0x40000008)
        assert state(machine) == state(expected)
        assert native(machine) > 500


# Code that changes

MODIFYING = """
    .option norvc
    la a0, slot
    la s0, other
    li a3, 40
    lw a1, 0(a0)
    lw a2, 0(s0)
again:
    li a4, 30
1:  call work
    addi a4, a4, -1
    bnez a4, 1b
    # swap the two instructions
    sw a2, 0(a0)
    mv a5, a1
    mv a1, a2
    mv a2, a5
    fence.i
    addi a3, a3, -1
    bnez a3, again
done: j done
work:
slot: addi a6, a6, 1
    ret
other: slli a6, a6, 1
"""


@TIER
def test_self_modifying_code(tiers):
    _agree(MODIFYING, tiers, 6000)


@TIER
def test_code_that_another_party_changes_is_seen_after_fence_i(tiers):
    source = (
        ".option norvc\n1: li a1, 50\n2: slot: addi a0, a0, 1\naddi a1, a1, -1\nbnez a1, 2b\nfence.i\nj 1b"
    )
    image = image_of(source)
    slot = image.symbols["slot"].address
    with running(source, ()) as expected, running(source, tiers) as machine:
        turn = 1 + 3 * 50 + 2
        for step in range(1, 8):
            for m in (expected, machine):
                m.segment.memory.store(slot, 4, step << 20 | 0x50513)
                run_to(m, m.hart.instret + turn)
                m.hart.x[10] = 0  # until its FENCE.I a hart may execute the old code or the new
                run_to(m, m.hart.instret + turn)
                assert m.hart.x[10] == 50 * step
            assert state(machine) == state(expected)
        assert native(machine) > 0


def test_a_region_of_code_that_has_changed_meanwhile_is_not_loaded():
    source = ".option norvc\n1: addi a0, a0, 1\nj 1b"
    with running(source, T2) as machine:
        hart, memory = machine.hart, machine.segment.memory
        assert isinstance(hart, TieredInterpreter)
        compiled = hart._compiler._compile(RAM, T2[0])
        memory.store(RAM, 4, 2 << 20 | 0x50513)
        assert not hart.engine.add(RAM, compiled.name, compiled.stretches, compiled.code, compiled.object)
        run_to(machine, 100)
        assert hart.x[10] == 100  # fifty turns


def test_changed_code_does_not_pile_up(monkeypatch):
    """LLVM frees objects all at once: after some have become useless, the engine starts anew."""
    monkeypatch.setattr(engine, "USELESS_OBJECTS", 3)
    with running(MODIFYING, ()) as expected, running(MODIFYING, T1) as machine:
        for at in range(500, 6001, 500):
            run_to(expected, at)
            run_to(machine, at)
            assert machine.hart.engine.useless <= 5
            assert state(machine) == state(expected)
        assert native(machine) > 3000


@pytest.mark.parametrize(
    ("looks", "only_loads"),
    [
        ("ld a1, (a0)", True),
        ("lr.d a1, (a0)", True),
        ("amoswap.d a1, a2, (a0)", False),
        ("li a1, 0\namocas.d a1, a2, (a0)", False),
        ("ld a1, (a0)\namoor.d a1, a2, (a0)", False),
        ("lr.d a1, (a0)\nsc.d a1, a2, (a0)", False),
    ],
)
def test_retry_loops_that_only_load_are_known(looks, only_loads):
    region, _ = _discover(f"1: {looks}\npause\nbnez a1, 1b\nj .")
    assert [loop.only_loads for loop in retry_loops(region)] == [only_loads]
