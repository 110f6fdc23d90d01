"""Trap causes: the mcause values of the machine and their names. Owns numbers and names; raises no trap.

Source: privileged manual, "Machine Cause (mcause) Register", table of mcause values after trap.
"""

from __future__ import annotations

from enum import IntEnum

INTERRUPT = 1 << 63
"""The bit of mcause that tells an interrupt from an exception."""


class Cause(IntEnum):
    """mcause values of RV64; interrupts have the INTERRUPT bit set."""

    INSTRUCTION_MISALIGNED = 0
    INSTRUCTION_ACCESS_FAULT = 1
    ILLEGAL_INSTRUCTION = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS_FAULT = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS_FAULT = 7
    ECALL_FROM_U = 8
    ECALL_FROM_S = 9
    ECALL_FROM_M = 11
    INSTRUCTION_PAGE_FAULT = 12
    LOAD_PAGE_FAULT = 13
    STORE_PAGE_FAULT = 15
    SUPERVISOR_SOFTWARE_INTERRUPT = INTERRUPT | 1
    MACHINE_SOFTWARE_INTERRUPT = INTERRUPT | 3
    SUPERVISOR_TIMER_INTERRUPT = INTERRUPT | 5
    MACHINE_TIMER_INTERRUPT = INTERRUPT | 7
    SUPERVISOR_EXTERNAL_INTERRUPT = INTERRUPT | 9
    MACHINE_EXTERNAL_INTERRUPT = INTERRUPT | 11


NAMES: dict[int, str] = {
    Cause.INSTRUCTION_MISALIGNED: "instruction address misaligned",
    Cause.INSTRUCTION_ACCESS_FAULT: "instruction access fault",
    Cause.ILLEGAL_INSTRUCTION: "illegal instruction",
    Cause.BREAKPOINT: "breakpoint",
    Cause.LOAD_MISALIGNED: "load address misaligned",
    Cause.LOAD_ACCESS_FAULT: "load access fault",
    Cause.STORE_MISALIGNED: "store/AMO address misaligned",
    Cause.STORE_ACCESS_FAULT: "store/AMO access fault",
    Cause.ECALL_FROM_U: "environment call from U-mode",
    Cause.ECALL_FROM_S: "environment call from S-mode",
    Cause.ECALL_FROM_M: "environment call from M-mode",
    Cause.INSTRUCTION_PAGE_FAULT: "instruction page fault",
    Cause.LOAD_PAGE_FAULT: "load page fault",
    Cause.STORE_PAGE_FAULT: "store/AMO page fault",
    Cause.SUPERVISOR_SOFTWARE_INTERRUPT: "supervisor software interrupt",
    Cause.MACHINE_SOFTWARE_INTERRUPT: "machine software interrupt",
    Cause.SUPERVISOR_TIMER_INTERRUPT: "supervisor timer interrupt",
    Cause.MACHINE_TIMER_INTERRUPT: "machine timer interrupt",
    Cause.SUPERVISOR_EXTERNAL_INTERRUPT: "supervisor external interrupt",
    Cause.MACHINE_EXTERNAL_INTERRUPT: "machine external interrupt",
}
"""The manual's name of each cause, as reports print it and configs spell it."""


def cause_name(cause: int) -> str:
    """The manual's name of an mcause value; the number itself for a reserved or custom one."""
    return NAMES.get(cause, f"cause {cause:#x}")
