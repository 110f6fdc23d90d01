"""A hart's trap registers, shown as a guest's of KVM."""

from __future__ import annotations

import pytest

from bus.layout import Hart
from coordinator.registers import LAYOUT, Class, Csr
from hart.asm import assemble
from hart.causes import INTERRUPT
from hart.supervisor_view import WORDS, SupervisorView
from tests.local_hart import machine

PROGRAM = assemble("nop").image


def test_every_general_csr_of_kvm_has_its_word_in_kvms_order():
    assert list(WORDS) == LAYOUT[Class.CSR, Csr.GENERAL]
    assert max(WORDS.values()) < Hart.END


@pytest.mark.parametrize(
    ("shown", "value", "register", "holds", "read_back"),
    [
        ("sstatus", 1 << 1 | 1 << 5, "mstatus", 1 << 3 | 1 << 7 | 3 << 11, 1 << 1 | 1 << 5 | 1 << 8),
        ("sie", 1 << 1 | 1 << 5 | 1 << 9, "mie", 1 << 3 | 1 << 7 | 1 << 11, 1 << 1 | 1 << 5 | 1 << 9),
        ("stvec", 0x8000_0102, "mtvec", 0x8000_0100, 0x8000_0100),
        ("sepc", 0x8000_0003, "mepc", 0x8000_0002, 0x8000_0002),
        ("scause", INTERRUPT | 5, "mcause", INTERRUPT | 7, INTERRUPT | 5),
        ("scause", 9, "mcause", 11, 9),
        ("scause", 2, "mcause", 2, 2),
        ("stval", 2**64 - 1, "mtval", 2**64 - 1, 2**64 - 1),
        ("sscratch", 7, "mscratch", 7, 7),
        ("satp", 8 << 60, "satp", 0, 0),
        ("scounteren", 7, "mcounteren", 0, 0),
        ("senvcfg", 1, "menvcfg", 0, 0),
        ("sip", 1 << 1 | 1 << 9, "mip", 1 << 3, 1 << 1),  # no external interrupts
    ],
)
def test_what_is_set_is_taken_as_far_as_the_register_allows(
    shown: str, value: int, register: str, holds: int, read_back: int
):
    from hart.isa.csrs import NUMBERS

    with machine(PROGRAM) as m:
        page = m.segment.harts[0]
        view = SupervisorView(m.hart.csrs, page)
        page[WORDS[shown]] = value
        view.take()
        assert m.hart.csrs.read(NUMBERS[register]) == holds
        view.show()
        assert page[WORDS[shown]] == read_back


def test_what_nobody_set_stays_as_it_was():
    with machine(PROGRAM) as m:
        page = m.segment.harts[0]
        view = SupervisorView(m.hart.csrs, page)
        view.take()
        assert not m.hart.csrs.mtvec_written
        view.show()
        page[Hart.MSIP] = 1  # another hart's doing, after this one stood
        view.take()
        assert page[Hart.MSIP] == 1
