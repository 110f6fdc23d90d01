"""A hart's trap registers as KVM shows those of a guest: under the names that they have in S-mode.

Owns which register is shown as which, and the words of the hart page they lie in while the hart stands. Knows no
register ids.

KVM's guest believes that its most privileged mode is S, and the hypervisor shows it VS-mode's registers as sstatus,
sepc and so on. A bare hart's only mode is M, so what is shown here is M-mode's, translated as hardware translates
between the two: interrupt numbers and their bits move down by 2 (M-mode's software interrupt 3 is S-mode's 1), mstatus
shows MIE and MPIE as SIE and SPIE, an environment call from M is one from S.

What is written lies in the page as it is, unchecked, until the hart goes on; then the registers take what their fields
allow, and the next look shows that. The kernel does the same: SET stores, hardware has the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bus.layout import Hart
from bus.segment import Words
from hart.causes import INTERRUPT, Cause
from hart.csr import MIP_MSIP, MSTATUS_MIE, MSTATUS_MPIE, CsrFile
from hart.isa.csrs import NUMBERS

_MASK = (1 << 64) - 1
_SHIFT = 2
"""From S-mode's interrupt numbers, and from the places of its status bits, to M-mode's."""
_SPP = 1 << 8
_ECALL_FROM_S = 9


def _status_shown(mstatus: int) -> int:
    return (mstatus & (MSTATUS_MIE | MSTATUS_MPIE)) >> _SHIFT | _SPP


def _bits_shown(value: int) -> int:
    return value >> _SHIFT


def _bits_taken(value: int) -> int:
    return value << _SHIFT & _MASK


def _cause_shown(mcause: int) -> int:
    if mcause & INTERRUPT:
        return INTERRUPT | (mcause & ~INTERRUPT) - _SHIFT if mcause & ~INTERRUPT >= _SHIFT else mcause
    return _ECALL_FROM_S if mcause == Cause.ECALL_FROM_M else mcause


def _cause_taken(scause: int) -> int:
    if scause & INTERRUPT:
        return (INTERRUPT | (scause & ~INTERRUPT) + _SHIFT) & _MASK
    return int(Cause.ECALL_FROM_M) if scause == _ECALL_FROM_S else scause


def _same(value: int) -> int:
    return value


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    register: str
    shown: Callable[[int], int] = _same
    taken: Callable[[int], int] = _same


_ROWS = (
    _Row("sstatus", "mstatus", _status_shown, _bits_taken),
    _Row("sie", "mie", _bits_shown, _bits_taken),
    _Row("stvec", "mtvec"),
    _Row("sscratch", "mscratch"),
    _Row("sepc", "mepc"),
    _Row("scause", "mcause", _cause_shown, _cause_taken),
    _Row("stval", "mtval"),
    _Row("sip", "mip", _bits_shown, _bits_taken),
    _Row("satp", "satp"),
    _Row("scounteren", "mcounteren"),
    _Row("senvcfg", "menvcfg"),
)

WORDS = {row.name: Hart.SUPERVISOR + i for i, row in enumerate(_ROWS)}
"""Where in the hart page each lies."""


class SupervisorView:
    """The view of one hart, kept by its process."""

    def __init__(self, csrs: CsrFile, page: Words) -> None:
        """`page` may already hold values that were set before the hart started."""
        self._csrs = csrs
        self._page = page
        self._last = [0] * len(_ROWS)

    def show(self) -> None:
        """Write the registers to the page: the hart stands."""
        for i, row in enumerate(_ROWS):
            value = row.shown(self._csrs.read(NUMBERS[row.register]))
            self._last[i] = self._page[Hart.SUPERVISOR + i] = value

    def take(self) -> None:
        """Take the values that were changed in the page: the hart goes on."""
        for i, row in enumerate(_ROWS):
            value = self._page[Hart.SUPERVISOR + i]
            if value == self._last[i]:
                continue
            self._last[i] = value
            if row.register == "mip":  # its lines are elsewhere; of those that can be set there is one
                self._page[Hart.MSIP] = int(bool(row.taken(value) & MIP_MSIP))
            else:
                self._csrs.write(NUMBERS[row.register], row.taken(value))
