"""What the machine is not: each limit that the README's table names, so that the table stays true."""

from __future__ import annotations

import pytest

from bus.access import Order
from bus.lowering import plain_load, plain_store
from hart import environments
from hart.asm import assemble
from hart.isa.decoder import Decoder
from hart.isa.extensions import implemented
from tests.local_hart import machine

ALL = Decoder(implemented())


def registers_after(source, count):
    """x10 to x17 after `count` instructions of `source`."""
    with machine(assemble(source).image) as m:
        m.hart.run(count)
        return m.hart.x[10:18]


def test_machine_mode_is_the_only_mode():
    """MPP, satp, medeleg and pmpcfg0 keep nothing that is written, and S-mode's instructions are none."""
    mstatus, satp, medeleg, pmp = registers_after(
        """
        li t0, -1
        csrc mstatus, t0
        csrr a0, mstatus
        csrw satp, t0
        csrr a1, satp
        csrw medeleg, t0
        csrr a2, medeleg
        csrw pmpcfg0, t0
        csrr a3, pmpcfg0
        """,
        9,
    )[:4]
    assert (mstatus >> 11 & 3, satp, medeleg, pmp) == (3, 0, 0, 0)
    assert ALL.decode(0x1020_0073) is None  # sret
    assert ALL.decode(0x1200_0073) is None  # sfence.vma


def test_no_floating_point_and_no_vectors():
    assert not implemented() & {"F", "D", "V", "Zfh", "Zve32x"}
    assert ALL.decode(0x02B5_7553) is None  # fadd.d fa0, fa0, fa1
    assert ALL.decode(0x0210_8157) is None  # vadd.vv v2, v1, v1


def test_no_external_interrupts():
    assert registers_after("li t0, -1\n csrw mip, t0\n csrr a0, mip", 3)[0] >> 11 & 1 == 0


def test_a_cycle_is_an_instruction_and_no_event_is_counted():
    cycles, instructions, event = registers_after(
        "csrr a0, mcycle\n csrr a1, minstret\n csrr a2, mhpmcounter3", 3
    )[:3]
    assert (cycles + 1, event) == (instructions, 0)


def test_misaligned_accesses_are_not_atomic():
    assert "Zama16b" not in implemented()


REWRITE = """
    la t0, patch
    la t1, other
    lw t1, 0(t1)
    li a0, 0
    li t2, 2
again:
patch:
    addi a0, a0, 1
    sw t1, 0(t0)
    {barrier}
    addi t2, t2, -1
    bnez t2, again
done:
    j done
other:
    addi a0, a0, 16
"""


@pytest.mark.parametrize(("barrier", "total"), [("nop", 2), ("fence.i", 17)])
def test_changed_code_may_run_stale_until_fence_i(barrier, total):
    image = assemble(f".option norvc\n{REWRITE.format(barrier=barrier)}").image
    with machine(image) as m:
        m.hart.run(30)
        assert m.hart.x[10] == total


def test_every_fence_of_the_interpreter_is_a_full_one(monkeypatch):
    fences = []
    with machine(assemble("fence r, r\n fence w, w\n fence.tso\n fence rw, rw").image) as m:
        monkeypatch.setattr(m.hart.port, "_fence", lambda: fences.append(1))
        m.hart.run(4)
    assert len(fences) == 4


class Lines:
    """Collects what a lowering emits."""

    def __init__(self):
        self.lines = []

    def value(self, text):
        self.lines.append(text)
        return "%1"

    line = value

    def pointer(self, offset):
        return offset


def test_compiled_accesses_are_never_reordered():
    """LLVM keeps volatile accesses in order, so compiled code is as weak as the host, never weaker."""
    emitted = Lines()
    plain_load(emitted, "%o", 8, Order.NONE)
    plain_store(emitted, "%o", 8, "%v", Order.NONE)
    accesses = [line for line in emitted.lines if line.startswith(("load", "store"))]
    assert len(accesses) == 2
    assert all("volatile" in line.split()[1:3] for line in accesses)


def test_bare_is_the_only_environment():
    assert environments.NAMES == ("bare",)
