"""Ringing a hart's doorbell so that it looks at something soon, even if it sleeps.

Owns the handshake between ringing and waiting. What the bits mean stands in `bus.layout.Doorbell`.

No wake-up is lost. The waiter writes WAITING = 1 and sends WAIT; the bus looks at the doorbell when the WAIT arrives,
and answers at once if it has rung. The ringer sets the doorbell, by an atomic operation that is also a fence, then
reads WAITING, and sends WAKE if it is set. A bell set before the bus looks is found by the bus, whether a WAKE comes
before the WAIT, after it or not at all. A bell set after the bus looked was set after WAITING was written (the WAIT
carries that order), so the ringer sees it, and its WAKE finds the WAIT. That the waiter looks at its doorbell first
only saves messages.
"""

from __future__ import annotations

from bus.layout import Doorbell, Hart
from bus.link import BusLink
from bus.messages import Kind
from bus.native import host_atomics
from bus.parking import parking
from bus.segment import Segment, Words


def ring(segment: Segment, hart: int, bits: Doorbell) -> None:
    """Set `bits` in the hart's doorbell and wake it if it is parked."""
    page = segment.harts[hart]
    host_atomics().fetch_or(page.address(Hart.DOORBELL), bits)
    parked = page[Hart.PARKED]
    if parked:
        parking().unpark(segment.granules.address(parked - 1))


class Ringer:
    """Rings the harts of a VM, for one participant."""

    def __init__(self, segment: Segment, link: BusLink) -> None:
        """`link` carries wake-ups."""
        self._segment = segment
        self._link = link

    def ring(self, hart: int, bits: Doorbell) -> None:
        """Set `bits` in the hart's doorbell and wake it if it waits."""
        ring(self._segment, hart, bits)
        if self._segment.harts[hart][Hart.WAITING]:
            self._link.post(Kind.WAKE, hart)


def wait_unless_rung(page: Words, hart: int, link: BusLink, seconds: float | None, reservation: bool) -> None:
    """Wait at the bus until rung, woken, out of time, or (if asked) without reservation."""
    page[Hart.WAITING] = 1
    if not page[Hart.DOORBELL]:
        link.wait(hart, seconds, reservation)
    page[Hart.WAITING] = 0
