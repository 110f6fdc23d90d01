"""CSRs: what can be written reads back as the privileged manual allows, and what does not exist is refused."""

from __future__ import annotations

import pytest

from hart.asm import assemble
from hart.csr import CsrFile, NoSuchCsr
from hart.isa.csrs import NUMBERS
from hart.isa.extensions import effective, implemented
from tests.local_hart import machine

ONES = (1 << 64) - 1
ALL = effective(implemented())


class Hardware:
    """Counters and interrupt lines as the file sees them."""

    instret = 1000

    def now(self):
        return 123456

    def interrupts_pending(self):
        return 1 << 3 | 1 << 7


@pytest.fixture
def csrs():
    return CsrFile(5, ALL, Hardware())


def write(csrs, name, value):
    csrs.write(NUMBERS[name], value)
    return csrs.read(NUMBERS[name])


@pytest.mark.parametrize(
    ("name", "after_ones", "after_zero"),
    [
        # MPP has one legal value in a machine with M-mode only; MIE and MPIE are all else there is.
        ("mstatus", 0x1888, 0x1800),
        ("mie", 0x888, 0),
        ("mscratch", ONES, 0),
        ("mcause", ONES, 0),
        ("mtval", ONES, 0),
        ("mepc", ONES - 1, 0),
        ("mip", 0x88, 0x88),
    ],
)
def test_fields_that_can_be_written(csrs, name, after_ones, after_zero):
    assert write(csrs, name, ONES) == after_ones
    assert write(csrs, name, 0) == after_zero


@pytest.mark.parametrize(
    "value", [0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, 0x0123_4567_89AB_CDEF, ONES, 0]
)
@pytest.mark.parametrize(
    "name", ["mstatus", "mie", "mip", "mscratch", "mcause", "mtval", "mepc", "mtvec", "misa"]
)
def test_a_value_read_is_legal(csrs, name, value):
    """WARL: whatever was written, what is read can be written and read again."""
    legal = write(csrs, name, value)
    assert write(csrs, name, legal) == legal


def test_mepc_is_aligned_to_instructions():
    without_compressed = CsrFile(0, effective({"I"}), Hardware())
    assert write(without_compressed, "mepc", ONES) == ONES - 3


@pytest.mark.parametrize("mode", [0, 1])
def test_mtvec_holds_both_modes(csrs, mode):
    assert write(csrs, "mtvec", 0x8000_1230 | mode) == 0x8000_1230 | mode


@pytest.mark.parametrize("mode", [2, 3])
def test_mtvec_never_holds_a_reserved_mode(csrs, mode):
    assert write(csrs, "mtvec", 0x8000_1230 | mode) == 0x8000_1230


def test_mtvec_remembers_that_it_was_written(csrs):
    assert not csrs.mtvec_written
    write(csrs, "mtvec", 0)
    assert csrs.mtvec_written


@pytest.mark.parametrize("name", [n for n in NUMBERS if NUMBERS[n] >> 10 == 3])
def test_read_only_numbers_cannot_be_written(csrs, name):
    before = csrs.read(NUMBERS[name])
    with pytest.raises(NoSuchCsr):
        csrs.write(NUMBERS[name], ~before & ONES)
    assert csrs.read(NUMBERS[name]) == before


@pytest.mark.parametrize(
    "name", ["medeleg", "mideleg", "mcounteren", "satp", "pmpcfg0", "pmpaddr63", "mhpmevent3"]
)
def test_registers_of_what_the_machine_lacks_read_as_zero(csrs, name):
    assert write(csrs, name, ONES) == 0


@pytest.mark.parametrize(
    "number",
    [NUMBERS["sstatus"], NUMBERS["stvec"], NUMBERS["fcsr"], NUMBERS["tselect"], 0x5C0, 0x3A1, 0xFFF, 0xB01],
)
def test_other_numbers_do_not_exist(csrs, number):
    with pytest.raises(NoSuchCsr):
        csrs.read(number)
    with pytest.raises(NoSuchCsr):
        csrs.write(number, 0)


def test_identity(csrs):
    assert csrs.read(NUMBERS["mhartid"]) == 5
    assert [csrs.read(NUMBERS[n]) for n in ("mvendorid", "marchid", "mimpid", "mconfigptr")] == [0] * 4


def test_misa_names_the_extensions_and_cannot_change_them(csrs):
    letters = {chr(ord("A") + i) for i in range(26) if csrs.read(NUMBERS["misa"]) >> i & 1}
    assert letters == set("ABCIM")
    assert csrs.read(NUMBERS["misa"]) >> 62 == 2
    before = csrs.read(NUMBERS["misa"])
    assert write(csrs, "misa", 0) == before


def test_counters_of_an_extension_that_is_off_do_not_exist():
    bare = CsrFile(0, effective({"I", "Zicsr"}), Hardware())
    for name in ("cycle", "time", "instret", "hpmcounter3", "hpmcounter31"):
        with pytest.raises(NoSuchCsr):
            bare.read(NUMBERS[name])
    assert bare.read(NUMBERS["minstret"]) == 1000
    counting = CsrFile(0, effective({"I", "Zicsr", "Zicntr"}), Hardware())
    assert [counting.read(NUMBERS[n]) for n in ("cycle", "time", "instret")] == [1000, 123456, 1000]


def test_a_written_counter_holds_the_value_at_the_next_instruction():
    source = """
        nop
        li t0, 100
        csrw minstret, t0
        csrr a0, minstret
        csrr a1, instret
        csrw mcycle, x0
        csrr a2, cycle
        li t0, -1
        csrrw a3, minstret, t0
        csrr a4, minstret
        csrr a5, minstret
    """
    with machine(assemble(source).image) as m:
        m.hart.run(11)
        assert m.hart.x[10:16] == [100, 101, 0, 105, ONES, 0]


def test_set_and_clear_do_not_write_without_bits():
    """csrrs and csrrc with x0 only read, so they may name a read-only register."""
    source = (
        "csrrs a0, mhartid, x0\n csrrci a1, misa, 0\n csrrsi a2, cycle, 0\n li a3, 5\n csrrc a4, mhartid, a3"
    )
    with machine(assemble(source).image) as m:
        m.hart.csrs.write(NUMBERS["mtvec"], 0x8000_0100)
        m.hart.run(5)
        assert (m.hart.x[10], m.hart.x[12], m.hart.x[13]) == (0, 2, 5)
        assert (m.hart.csrs.mcause, m.hart.csrs.mepc) == (2, 0x8000_0010)


def test_set_and_clear_change_the_bits_given():
    source = """
        li t0, 0xf0
        csrw mscratch, t0
        csrrsi a0, mscratch, 0x11
        csrrci a1, mscratch, 0x10
        li t0, 0xc0
        csrrc a2, mscratch, t0
        csrrs a3, mscratch, t0
        csrrwi a4, mscratch, 31
        csrr a5, mscratch
    """
    with machine(assemble(source).image) as m:
        m.hart.run(9)
        assert m.hart.x[10:16] == [0xF0, 0xF1, 0xE1, 0x21, 0xE1, 31]
