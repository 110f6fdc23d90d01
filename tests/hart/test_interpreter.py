"""Traps, interrupts, waits and the instruction loop of the interpreter, on one hart in this process."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from bus.layout import Hart, HartEnding
from hart.asm import assemble
from hart.causes import INTERRUPT, Cause
from hart.csr import MIP_MEIP, MIP_MSIP, MIP_MTIP, MSTATUS_MIE, MSTATUS_MPIE, MSTATUS_MPP_M
from hart.interpreter import Spinning, UnhandledTrap, Waiting, WaitingOnReservation
from hart.isa.extensions import implemented
from tests import local_hart
from tests.local_hart import machine

BASE = 0x8000_0000
HANDLER = BASE + 0x400


@pytest.fixture
def at():
    """`at(source, ...)` is a machine about to execute it; closed after the test."""
    stack = ExitStack()

    def make(source, *, handler=True, mstatus=MSTATUS_MIE, **options):
        m = stack.enter_context(machine(assemble(source).image, **options))
        m.hart.csrs.mstatus = MSTATUS_MPP_M | mstatus
        if handler:
            m.hart.csrs.mtvec, m.hart.csrs.mtvec_written = HANDLER, True
        return m

    with stack:
        yield make


# Traps


def test_trap_enters_the_handler_and_stacks_the_interrupt_enable(at):
    m = at("nop\n ecall")
    m.hart.run(10)
    csrs = m.hart.csrs
    assert m.hart.at == HANDLER
    assert (csrs.mcause, csrs.mepc, csrs.mtval) == (Cause.ECALL_FROM_M, BASE + 4, 0)
    assert csrs.mstatus == MSTATUS_MPP_M | MSTATUS_MPIE
    assert (m.hart.instret, m.hart.traps) == (1, 1)


def test_trap_in_a_handler_forgets_the_enable(at):
    m = at("ecall", mstatus=MSTATUS_MPIE)
    m.hart.run(1)
    assert m.hart.csrs.mstatus == MSTATUS_MPP_M


@pytest.mark.parametrize("mpie", [0, MSTATUS_MPIE])
def test_mret_restores_the_enable_and_sets_mpie(at, mpie):
    m = at("mret", mstatus=mpie)
    m.hart.csrs.mepc = BASE + 0x20
    m.hart.run(1)
    assert m.hart.at == BASE + 0x20
    assert m.hart.csrs.mstatus == MSTATUS_MPP_M | MSTATUS_MPIE | (MSTATUS_MIE if mpie else 0)


def test_trap_without_a_handler_stops_at_the_instruction(at):
    m = at("nop\n .2byte 0", handler=False)
    with pytest.raises(UnhandledTrap) as caught:
        m.hart.run(5)
    assert (caught.value.cause, caught.value.tval) == (Cause.ILLEGAL_INSTRUCTION, 0)
    assert (m.hart.at, m.hart.instret, m.hart.traps) == (BASE + 4, 1, 0)


@pytest.mark.parametrize(
    "code",
    [
        "ld a0, 0(a1)", "lr.w a0, (a1)", "sc.w a0, a2, (a1)", "amoadd.w a0, a2, (a1)", "amocas.d a0, a2, (a1)",
        "amocas.q a0, a2, (a4)", "csrrw a0, mhartid, a1", "csrrs a0, 0x5c0, a1", "lw.aq a0, (a1)",
    ],
)  # fmt: skip
def test_a_trapping_instruction_writes_no_register(at, code):
    m = at(code)
    m.hart.x[10], m.hart.x[11], m.hart.x[13], m.hart.x[14] = 7, 0x4000_0000, 9, 0x4000_0000
    before = list(m.hart.x)
    m.hart.run(1)
    assert m.hart.at == HANDLER
    assert m.hart.x == before


def test_a_jump_to_a_misaligned_target_does_not_link(at):
    m = at(".option norvc\n jalr ra, 2(a1)", extensions=implemented() - {"C", "Zca"})
    m.hart.x[1], m.hart.x[11] = 99, BASE
    m.hart.run(1)
    assert (m.hart.x[1], m.hart.csrs.mcause, m.hart.csrs.mtval) == (
        99,
        Cause.INSTRUCTION_MISALIGNED,
        BASE + 2,
    )


def test_jalr_reads_its_source_before_it_links(at):
    m = at("jalr ra, 8(ra)")
    m.hart.x[1] = BASE + 0x11
    m.hart.run(1)
    assert (m.hart.at, m.hart.x[1]) == (BASE + 0x18, BASE + 4)


def test_x0_stays_zero_and_the_access_happens(at):
    m = at(f"li a1, {BASE + 0x800}\n amoadd.d x0, a2, (a1)\n lw x0, 0(a1)\n addi x0, a2, 1")
    m.hart.x[12] = 5
    m.hart.run(100)
    assert m.hart.x[0] == 0
    assert m.segment.memory.load(BASE + 0x800, 8) == 5


# Interrupts


@pytest.mark.parametrize("vectored", [0, 1])
def test_vectored_mode_is_for_interrupts_only(at, vectored):
    m = at("ecall")
    m.hart.csrs.mtvec = HANDLER | vectored
    m.hart.run(1)
    assert m.hart.at == HANDLER
    m.hart.csrs.mstatus |= MSTATUS_MIE
    m.hart.csrs.mie = MIP_MSIP
    m.segment.harts[0][Hart.MSIP] = 1
    m.hart.take_interrupt()
    assert m.hart.at == HANDLER + (12 if vectored else 0)
    assert m.hart.csrs.mcause == INTERRUPT | 3
    assert m.hart.csrs.mepc == HANDLER
    assert m.hart.csrs.mtval == 0


@pytest.mark.parametrize(
    ("mie", "mstatus", "taken"),
    [
        (MIP_MSIP, MSTATUS_MIE, True),
        (MIP_MSIP, 0, False),
        (MIP_MTIP, MSTATUS_MIE, False),
        (0, MSTATUS_MIE, False),
    ],
)
def test_an_interrupt_needs_both_enables(at, mie, mstatus, taken):
    m = at("nop", mstatus=mstatus)
    m.hart.csrs.mie = mie
    m.segment.harts[0][Hart.MSIP] = 1
    m.hart.take_interrupt()
    assert (m.hart.at == HANDLER) is taken


def test_software_comes_before_timer(at):
    m = at("nop")
    m.hart.csrs.mie = MIP_MSIP | MIP_MTIP | MIP_MEIP
    m.segment.harts[0][Hart.MSIP] = 1
    m.segment.harts[0][Hart.MTIMECMP] = 0
    m.hart.take_interrupt()
    assert m.hart.csrs.mcause == Cause.MACHINE_SOFTWARE_INTERRUPT
    m.hart.csrs.mstatus |= MSTATUS_MIE
    m.segment.harts[0][Hart.MSIP] = 0
    m.hart.take_interrupt()
    assert m.hart.csrs.mcause == Cause.MACHINE_TIMER_INTERRUPT


# Waiting


def test_wfi_waits_and_has_retired(at):
    m = at("wfi\n nop")
    with pytest.raises(Waiting):
        m.hart.run(10)
    assert (m.hart.at, m.hart.instret) == (BASE + 4, 1)


def test_wfi_goes_on_when_an_enabled_interrupt_is_pending_even_if_it_is_not_taken(at):
    m = at("wfi\n nop", mstatus=0)
    m.hart.csrs.mie = MIP_MSIP
    m.segment.harts[0][Hart.MSIP] = 1
    m.hart.run(2)
    assert m.hart.at == BASE + 8


@pytest.mark.parametrize(("code", "bounded"), [("wrs.nto", False), ("wrs.sto", True)])
def test_zawrs_leaves_the_loop(at, code, bounded):
    m = at(code)
    with pytest.raises(WaitingOnReservation) as caught:
        m.hart.run(10)
    assert caught.value.bounded is bounded
    assert m.hart.at == BASE + 4


def test_pause_leaves_the_loop(at):
    m = at("pause")
    with pytest.raises(Spinning):
        m.hart.run(10)
    assert (m.hart.at, m.hart.instret) == (BASE + 4, 1)


def test_pause_without_zihintpause_is_a_fence(at):
    m = at("pause\n nop", extensions=implemented() - {"Zihintpause"})
    m.hart.run(2)
    assert m.hart.at == BASE + 8


# The loop


def test_run_executes_exactly_so_many(at):
    m = at(".rept 100\n addi a0, a0, 1\n .endr")
    m.hart.run(64)
    m.hart.run(3)
    assert (m.hart.x[10], m.hart.instret, m.hart.at) == (67, 67, BASE + 4 * 67)


def test_run_ends_at_a_trap(at):
    m = at("addi a0, a0, 1\n ecall\n addi a0, a0, 1")
    m.hart.run(3)
    assert (m.hart.x[10], m.hart.at) == (1, HANDLER)


def test_fence_i_makes_new_code_visible(at):
    m = at("""
        .option norvc
        la t0, patched
        lw t1, new
        call patched
        sw t1, 0(t0)
        fence.i
        call patched
        j .
    patched:
        addi a0, a0, 1
        ret
    new: addi a0, a0, 16
    """)
    m.hart.run(20)
    assert m.hart.x[10] == 17


def test_a_16_bit_instruction_may_end_ram(at):
    m = at("nop")
    end = BASE + m.segment.memory.size
    m.segment.memory.store(end - 2, 2, 0x0505)  # c.addi a0, 1
    m.hart.at = end - 2
    m.hart.run(1)
    assert (m.hart.x[10], m.hart.at) == (1, end)
    m.hart.run(1)
    assert (m.hart.csrs.mcause, m.hart.csrs.mtval) == (Cause.INSTRUCTION_ACCESS_FAULT, end)


def test_an_instruction_of_an_extension_that_is_off_is_illegal(at):
    m = at("amocas.w a0, a1, (a2)", extensions=implemented() - {"Zacas"})
    m.hart.run(1)
    assert (m.hart.csrs.mcause, m.hart.csrs.mtval) == (Cause.ILLEGAL_INSTRUCTION, 0x28B6252F)


def test_interrupts_reach_a_waiting_program():
    """A timer interrupt ends WFI, the vectored handler ends the run."""
    outcome = local_hart.run(
        assemble("""
        .globl _start, tohost
    _start:
        la t0, vector
        ori t0, t0, 1
        csrw mtvec, t0
        li t0, 0x200bff8
        ld t1, 0(t0)
        addi t1, t1, 100
        li t0, 0x2004000
        sd t1, 0(t0)
        li t0, 0x80
        csrw mie, t0
        csrsi mstatus, 8
        wfi
        j .
        .balign 64
    vector:
        .option norvc
        .rept 7
        j unexpected
        .endr
        li a0, 77 << 1 | 1
        j end
    unexpected:
        li a0, 3
    end:
        la t0, tohost
        sd a0, 0(t0)
        j .
        .data
    tohost: .dword 0
    """).image
    )
    assert (outcome.ending, outcome.exit_code) == (HartEnding.EXIT, 77)
    assert outcome.traps == 1
