"""`bare`: where an image goes, how harts start, and the host-target interface."""

from __future__ import annotations

import pytest

from bus.layout import Hart, HartEnding
from hart.asm import assemble
from hart.environments import LoadError, environment
from hart.image import Chunk, Image
from hart.interpreter import GuestExit
from tests import local_hart
from tests.local_hart import segment_with

BASE = 0x8000_0000

FRAME = """
    .globl _start, tohost, fromhost
_start:
    la s0, tohost
    la s1, fromhost
{}
    la t0, exit
    ld t0, 0(t0)
    sd t0, 0(s0)
    j .
    .data
    .balign 64
exit: .dword 1
tohost: .dword 0
fromhost: .dword 0x77
block: .dword {}
text: .ascii "hello\\n"
"""


def run(code, *block):
    return local_hart.run(assemble(FRAME.format(code, ", ".join(map(str, block)) or "0")).image)


# Loading


def test_load_places_bytes_and_zeros():
    image = Image("test", BASE + 4, (Chunk(BASE, b"\x01\x02"), Chunk(BASE + 0x100, b"\xff", zeros=3)))
    with segment_with(None) as segment:
        segment.memory.write(BASE + 0x100, bytes([9] * 8))
        environment("bare").load(segment, image)
        assert segment.memory.read(BASE, 3) == b"\x01\x02\x00"
        assert segment.memory.read(BASE + 0x100, 8) == bytes([0xFF, 0, 0, 0, 9, 9, 9, 9])


def test_load_sets_every_harts_start_registers():
    with segment_with(None, harts=3) as segment:
        segment.harts[1][Hart.X + 7] = 99
        environment("bare").load(segment, Image("test", BASE + 4, ()))
        for number, page in enumerate(segment.harts):
            expected = [0] * 32
            expected[10], expected[11] = number, 3
            assert [page[Hart.X + i] for i in range(32)] == expected
            assert page[Hart.PC] == BASE + 4


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(BASE - 1, b"\0"),
        Chunk(BASE + (1 << 20), b"\0"),
        Chunk(BASE + (1 << 20) - 1, b"\0\0"),
        Chunk(BASE + (1 << 20) - 4, b"\0", zeros=4),
        Chunk(0, b"\0"),
        Chunk((1 << 64) - 1, b"\0\0"),
    ],
)
def test_an_image_outside_ram_is_refused_with_the_place(chunk):
    size = len(chunk.data) + chunk.zeros
    with segment_with(None) as segment, pytest.raises(LoadError) as caught:
        environment("bare").load(segment, Image("guest.elf", BASE, (chunk,)))
    assert str(caught.value) == (
        f"guest.elf: {size} bytes at {chunk.address:#x} do not lie in RAM, 0x80000000 to 0x80100000"
    )


# HTIF


@pytest.mark.parametrize("code", [0, 1, 2, 127, 255, 1 << 20])
def test_exit_code_is_the_payload_without_its_lowest_bit(code):
    outcome = run(f"li t0, {code << 1 | 1}\n la t1, exit\n sd t0, 0(t1)")
    assert (outcome.ending, outcome.exit_code) == (HartEnding.EXIT, code)


def test_the_low_word_is_enough():
    outcome = run("li t0, 9\n sw t0, 0(s0)")
    assert (outcome.ending, outcome.exit_code) == (HartEnding.EXIT, 4)


@pytest.mark.parametrize(("store", "code"), [("sd", 102), ("sw", 102), ("sb", 102)])
def test_what_counts_is_what_this_hart_stored(store, code):
    """Another hart stores its own request before this one's is looked at."""
    image = assemble(
        f".globl _start, tohost\n_start: la t0, tohost\nli t1, 205\n{store} t1, (t0)\ntohost: .dword 0"
    ).image
    with local_hart.machine(image) as machine:
        environment("bare").attach(
            machine.hart, machine.segment, {"tohost": image.symbols["tohost"].address}, print
        )
        store_alone = machine.hart.port.store

        def then_another(address, size, *rest):
            store_alone(address, size, *rest)
            store_alone(address, size, 201)

        machine.hart.port.store = then_another
        with pytest.raises(GuestExit) as exit_:
            machine.hart.run(10)
    assert exit_.value.code == code


def test_console_device_prints_bytes_and_answers():
    source = """
        li t1, 0x0101 << 48
        ori t0, t1, 'h'
        sd t0, 0(s0)
        ld a2, 0(s0)
        ld a3, 0(s1)
        ori t0, t1, 'i'
        sd t0, 0(s0)
    """
    outcome = run(source)
    assert outcome.console == b"hi"
    assert (outcome.x[12], outcome.x[13]) == (0, 0x0101 << 48)


def test_system_call_write():
    source = """
        la a0, block
        la t0, text
        sd t0, 16(a0)
        sd a0, 0(s0)
        ld a2, 0(a0)
        ld a3, 0(s1)
        ld a4, 0(s0)
    """
    outcome = run(source, 64, 1, 0, 6)
    assert outcome.console == b"hello\n"
    assert outcome.x[12:15] == (6, 1, 0)


@pytest.mark.parametrize(
    ("block", "result"),
    [
        ((64, 2, 0x8000_0000, 0), 0),
        ((64, 1, 0x4000_0000, 1), -14),
        ((64, 1, 0x800F_FFFF, 2), -14),
        ((64, 0, 0x8000_0000, 1), -9),
        ((64, 7, 0x8000_0000, 1), -9),
        ((63, 0, 0x8000_0000, 1), -38),
    ],
)
def test_system_call_that_prints_nothing(block, result):
    outcome = run("la a0, block\n sd a0, 0(s0)\n ld a2, 0(a0)", *block)
    assert outcome.x[12] == result & (1 << 64) - 1
    assert outcome.console == b""
    assert outcome.exit_code == 0


def test_system_call_exit():
    outcome = run("la a0, block\n sd a0, 0(s0)", 93, 33, 0, 0)
    assert (outcome.ending, outcome.exit_code) == (HartEnding.EXIT, 33)


def test_a_block_outside_ram_is_answered():
    outcome = run(f"li a0, {0x4000_0000}\n sd a0, 0(s0)\n ld a2, 0(s0)\n ld a3, 0(s1)")
    assert outcome.x[12:14] == (0, 1)
    assert outcome.exit_code == 0


def test_an_unknown_device_is_answered():
    outcome = run("li t0, 5 << 56 | 1\n sd t0, 0(s0)\n ld a2, 0(s0)\n ld a3, 0(s1)")
    assert outcome.x[12:14] == (0, 0)
    assert outcome.exit_code == 0


def test_zero_asks_for_nothing():
    outcome = run("sd x0, 0(s0)\n ld a3, 0(s1)")
    assert (outcome.x[13], outcome.exit_code) == (0x77, 0)


def test_without_tohost_it_is_memory_like_any_other():
    outcome = local_hart.run(
        assemble(
            "la a1, here\n li a0, 1\n sd a0, 0(a1)\n ld a2, 0(a1)\n .2byte 0\n .balign 8\nhere: .dword 0"
        ).image
    )
    assert (outcome.ending, outcome.cause, outcome.x[12]) == (HartEnding.TRAP, 2, 1)


def test_without_fromhost_the_answer_is_tohost_alone():
    source = FRAME.format("li t0, 0x0101 << 48 | 'x'\n sd t0, 0(s0)\n ld a2, 0(s0)", 0)
    outcome = local_hart.run(assemble(source.replace("fromhost", "elsewhere")).image)
    assert (outcome.console, outcome.x[12], outcome.exit_code) == (b"x", 0, 0)


def test_long_output_arrives_whole():
    outcome = run("""
        li s2, 3000
        li t1, 0x0101 << 48
    1:  andi t0, s2, 63
        addi t0, t0, 32
        or t0, t0, t1
        sd t0, 0(s0)
        addi s2, s2, -1
        bnez s2, 1b
    """)
    assert outcome.console == bytes(32 + (i & 63) for i in range(3000, 0, -1))
