"""The CLINT's register map: what each access reads and writes, whom it rings, what is refused."""

from __future__ import annotations

import pytest

from bus.access import Fault, MemoryFault
from bus.layout import Doorbell, Hart, Header
from hart.asm import assemble
from hart.clint import BASE, MTIME, MTIMECMP, Clint
from tests.local_hart import machine, segment_with

NEVER = (1 << 64) - 1
HARTS = 3


class Bells:
    """Stands for `bus.doorbell.Ringer`."""

    def __init__(self):
        self.rung = []

    def ring(self, hart, bits):
        self.rung.append((hart, bits))


@pytest.fixture
def segment():
    with segment_with(None, HARTS) as opened:
        yield opened


@pytest.fixture
def bells():
    return Bells()


@pytest.fixture
def clint(segment, bells):
    return Clint(segment, bells)


def test_msip_is_one_bit_per_hart(clint, segment, bells):
    clint.store(BASE + 4, 4, 0xFFFF_FFFF)
    assert [clint.load(BASE + 4 * h, 4) for h in range(HARTS)] == [0, 1, 0]
    assert [page[Hart.MSIP] for page in segment.harts] == [0, 1, 0]
    assert bells.rung == [(1, Doorbell.INTERRUPT)]
    clint.store(BASE + 4, 4, 2)
    assert clint.load(BASE + 4, 4) == 0


def test_mtimecmp_is_never_at_first(clint):
    assert [clint.load(BASE + MTIMECMP + 8 * h, 8) for h in range(HARTS)] == [NEVER] * HARTS


def test_mtimecmp_is_written_whole_or_by_halves(clint, bells):
    address = BASE + MTIMECMP + 16
    clint.store(address, 8, 0x1122334455667788)
    assert clint.load(address, 8) == 0x1122334455667788
    clint.store(address, 4, 0xAAAAAAAA)
    clint.store(address + 4, 4, 0xBBBBBBBB)
    assert clint.load(address, 8) == 0xBBBBBBBBAAAAAAAA
    assert (clint.load(address, 4), clint.load(address + 4, 4)) == (0xAAAAAAAA, 0xBBBBBBBB)
    assert bells.rung == [(2, Doorbell.INTERRUPT)] * 3


def test_mtime_runs_and_can_be_set_for_every_hart(clint, segment, bells):
    first = clint.load(BASE + MTIME, 8)
    assert clint.load(BASE + MTIME, 8) >= first
    clint.store(BASE + MTIME, 8, 1 << 40)
    assert 1 << 40 <= clint.load(BASE + MTIME, 8) < (1 << 40) + 10_000_000
    assert clint.load(BASE + MTIME + 4, 4) == 1 << 8
    assert [hart for hart, _ in bells.rung] == list(range(HARTS))
    assert Clint(segment, bells).now() >= 1 << 40


def test_mtime_counts_from_the_vms_start(clint, segment, monkeypatch):
    origin = segment.header[Header.TIME_ORIGIN_NS]
    monkeypatch.setattr("hart.clint.time.monotonic_ns", lambda: origin + 12_345)
    assert clint.now() == 123  # ticks of 100 ns
    assert clint.seconds_until(1123) == pytest.approx(1e-4)
    assert clint.seconds_until(100) == 0


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (4 * HARTS, 4), (0, 8), (0, 1), (0, 2), (1, 4),  # msip: words of the harts that there are
        (MTIMECMP + 8 * HARTS, 8), (MTIMECMP, 1), (MTIMECMP + 4, 8), (MTIMECMP + 2, 4),
        (MTIMECMP - 8, 8), (MTIME + 8, 4), (MTIME, 2), (0xFFFC, 4),
    ],
)  # fmt: skip
def test_what_is_no_register_is_an_access_fault(clint, bells, offset, size):
    for access in (lambda: clint.load(BASE + offset, size), lambda: clint.store(BASE + offset, size, 1)):
        with pytest.raises(MemoryFault) as caught:
            access()
        assert (caught.value.fault, caught.value.address) == (Fault.ACCESS, BASE + offset)
    assert not bells.rung


def test_mip_shows_the_lines():
    source = """
        li t0, 0x2000000
        li t1, 1
        sw t1, 0(t0)
        csrr a0, mip
        sw x0, 0(t0)
        csrr a1, mip
        li t0, 0x2004000
        sd x0, 0(t0)
        csrr a2, mip
    """
    image = assemble(source).image
    with machine(image) as m:
        m.hart.run(len(image.chunks[0].data) // 4)
        assert m.hart.x[10:13] == [1 << 3, 0, 1 << 7]


@pytest.mark.parametrize(
    "code", ["amoadd.w a0, a1, (t0)", "lr.w a0, (t0)", "sc.w a0, a1, (t0)", "lw.aq a0, (t0)"]
)
def test_atomics_do_not_reach_devices(code):
    with machine(assemble(f"li t0, {BASE}\n {code}").image) as m:
        m.hart.csrs.mtvec_written = True
        m.hart.run(2)
        assert m.hart.csrs.mcause in (5, 7)
        assert m.hart.csrs.mtval == BASE
