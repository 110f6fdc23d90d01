"""Which loops do nothing until somebody else writes."""

from __future__ import annotations

import pytest

from hart.asm import assemble
from hart.isa.decoder import Decoder
from hart.isa.extensions import effective, implemented
from hart.isa.instruction import instruction_at
from hart.isa.retry import is_retry
from hart.jit.region import discover
from hart.jit.retries import retry_loops

DECODER = Decoder(effective(implemented()))
RAM = 0x8000_0000


def _fetch(source: str):
    (chunk,) = assemble(f".globl _start\n_start:\n{source}").image.chunks

    def fetch(pc: int) -> int | None:
        at = pc - RAM
        return int.from_bytes(chunk.data[at : at + 4], "little") if 0 <= at < len(chunk.data) else None

    return fetch, len(chunk.data)


def _body(source: str):
    fetch, size = _fetch(source)
    at = RAM
    while at < RAM + size:
        instruction = instruction_at(DECODER, fetch, at)
        yield instruction
        at = instruction.next


@pytest.mark.parametrize(
    "source",
    [
        "1: ld t0, 8(a0)\n bnez t0, 1b",
        "1: pause\n lw t0, (a0)\n bnez t0, 1b",
        "1: amoswap.w.aq t0, a1, (a0)\n bnez t0, 1b",
        "1: lr.d t0, (a0)\n addi t0, t0, 1\n sc.d t1, t0, (a0)\n bnez t1, 1b",
        "1: mv t0, zero\n amocas.d t0, a2, (a0)\n bnez t0, 1b",
        "1: amoor.w t0, a1, (a0)\n fence r, rw\n bltz t0, 1b",
    ],
)
def test_waits(source):
    assert is_retry([list(_body(source))], [()], 0)


@pytest.mark.parametrize(
    "source",
    [
        "1: addi t0, t0, -1\n bnez t0, 1b",
        "1: ld t0, (a0)\n add a0, a0, t0\n bnez t0, 1b",
        "1: amoadd.d t0, a1, (a0)\n bltu t0, a2, 1b",
        "1: sd a1, (a0)\n ld t0, (a2)\n bnez t0, 1b",
        "1: csrr t0, cycle\n ld t1, (a0)\n bltu t0, t1, 1b",
        "1: mv t0, a1\n bnez t0, 1b",
        "1: wrs.nto\n ld t0, (a0)\n bnez t0, 1b",
    ],
)
def test_does_more_than_wait(source):
    assert not is_retry([list(_body(source))], [()], 0)


def _loops(source: str):
    region = discover(DECODER, _fetch(source)[0], RAM, 200, follow_calls=False)
    return [(loop.first - RAM, len(loop.blocks)) for loop in retry_loops(region)]


def test_a_chain_of_blocks():
    assert _loops(".option norvc\n1: ld t0, (a0)\n beqz t0, 2f\n pause\n j 1b\n2: ret") == [(0, 2)]


def test_loops_with_one_beginning():
    ttas = ".option norvc\nnop\n1: ld t0, (a0)\n bnez t0, 1b\n amoswap.d t0, a1, (a0)\n bnez t0, 1b\n ret"
    assert _loops(ttas) == [(4, 1), (4, 2)]


def test_ways_that_part_and_meet():
    assert _loops(".option norvc\n1: ld t0, (a0)\n beqz t0, 2f\n nop\n2: bnez t0, 1b\n ret") == [(0, 3)]
    lock = "1: lr.w.aq t0, (a0)\n bnez t0, 2f\n sc.w t0, a1, (a0)\n bnez t0, 1b\n2: beqz t0, 3f\n pause\n j 1b\n3: ret"
    assert _loops(f".option norvc\n{lock}") == [(0, 2), (0, 3)]  # it fails to store, or finds the lock taken


def test_a_register_that_one_way_writes_carries():
    assert _loops(".option norvc\n1: ld t0, (a0)\n beqz t0, 2f\n mv t1, t0\n2: bnez t1, 1b\n ret") == []


def test_loops_in_loops():
    both = ".option norvc\n1: ld t0, (a0)\n2: ld t1, (a1)\n bnez t1, 2b\n bnez t0, 1b\n ret"
    assert _loops(both) == [(4, 1), (0, 3)]
    with_pause = (
        "1: pause\n2: lr.w t0, (a0)\n bnez t0, 3f\n sc.w t0, a1, (a0)\n bnez t0, 2b\n3: bnez t0, 1b\n ret"
    )
    assert _loops(f".option norvc\n{with_pause}") == [(4, 2), (0, 4)]
    back_off = "1: li t1, 9\n2: addi t1, t1, -1\n bnez t1, 2b\n ld t0, (a0)\n bnez t0, 1b\n ret"
    assert _loops(f".option norvc\n{back_off}") == [(0, 3)]


WORK = {
    "counts to a limit": "1: lr.d t0, (a0)\n addi t0, t0, 1\n sc.d t1, t0, (a0)\n bnez t1, 1b\n blt t0, a1, 1b\n ret",
    "counts for ever": "1: lr.d t0, (a0)\n addi t0, t0, 1\n sc.d t1, t0, (a0)\n bnez t1, 1b\n j 1b",
    "takes all": "1: lr.d t0, (a0)\n beqz t0, 2f\n ld t1, (t0)\n sc.d t1, t1, (a0)\n bnez t1, 1b\n j 1b\n2: ret",
    "takes all by AMOCAS": "1: ld t0, (a0)\n beqz t0, 2f\n ld t1, (t0)\n mv t2, t0\n amocas.d t2, t1, (a0)\n"
    " bne t2, t0, 1b\n j 1b\n2: ret",
}


@pytest.mark.parametrize("name", WORK)
def test_work_that_goes_on_after_success_is_no_waiting(name):
    """Only the loop in it that tries again is."""
    region = discover(DECODER, _fetch(f".option norvc\n{WORK[name]}")[0], RAM, 200, follow_calls=False)
    ends = [
        [i.decoded.row.name for pc in sorted(loop.blocks) for i in region.blocks[pc].instructions][-2:]
        for loop in retry_loops(region)
    ]
    assert all(end in (["sc.d", "bne"], ["amocas.d", "bne"]) for end in ends)


def test_every_way_must_look():
    assert _loops("1: beqz a1, 2f\n ld t0, (a0)\n bnez t0, 3f\n2: pause\n j 1b\n3: ret") == []


def test_delays_in_a_loop_that_waits():
    """A ticket lock with a pause as long as the queue."""
    delay = "2: pause\n addi t0, t0, -1\n bnez t0, 2b\n"
    source = f".option norvc\n1: ld t0, (a0)\n sub t0, a1, t0\n beqz t0, 3f\n{delay} j 1b\n3: ret"
    region = discover(DECODER, _fetch(source)[0], RAM, 200, follow_calls=False)
    (loop,) = retry_loops(region)
    assert (loop.first, loop.delays) == (RAM, {RAM + 12})


def test_a_loop_in_a_loop_that_carries():
    """t1 goes on counting from round to round."""
    counts = "1: nop\n2: addi t1, t1, -1\n bnez t1, 2b\n ld t0, (a0)\n bnez t0, 1b\n ret"
    assert _loops(f".option norvc\n{counts}") == []


def test_loops_that_are_entered_in_the_middle():
    middle = ".option norvc\n j 2f\n1: pause\n2: ld t0, (a0)\n bnez t0, 1b\n ret"
    assert _loops(middle) == [(4, 2)]
    carries = (
        ".option norvc\n li t1, 1\n j 2f\n1: ld t1, (a1)\n2: ld t0, (a0)\n and t0, t0, t1\n bnez t0, 1b\n ret"
    )
    assert _loops(carries) == []
