"""The MSI directory: which harts own which granules, who waits for them, who has been asked to give them up.

Owns the ownership table of the segment, of which it is the only writer, and the harts' reservations as far as losing a
granule ends them. Touches no guest memory and sends no answers. `bus.policies.directory` argues why it is right.

For each granule either one hart's byte is MODIFIED and all others are NONE, or none is MODIFIED. A hart's byte is
written only while that hart *rests*: it has a request open at the bus, has not joined, has left or is dead, so that it
makes no access. So a hart reads its bytes without any protocol; nothing changes between its look and its access.

One want for a granule is served at a time. Serving takes the granule from owners that rest, and sends *recalls* to
those that run: a number in the owner's page and its doorbell. The owner answers at a safepoint by GIVE_UP, or rests for
a reason of its own; either way it is taken from then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from bus.access import ScFailure
from bus.handover import Handover, chooser, distance
from bus.layout import Doorbell, Hart, Ownership
from bus.native import host_atomics
from bus.segment import Segment
from bus.traffic import Traffic, TrafficCounts


class Claim(IntEnum):
    """What a hart wants a granule for; the wire encoding."""

    LOAD = 0
    """To share it."""
    STORE = 1
    AMO = 2
    SC = 3
    """Only if it still shares it: else its reservation is lost, and nobody shall lose the granule for that."""
    SECOND = 4
    """For an AMOCAS.Q on two granules, of which the hart owns the one before: that one is left to it meanwhile."""
    OUTSIDE = 5
    """For a write by someone who is no hart; never on the wire."""


_CAUSES = {
    Claim.LOAD: ScFailure.NO_RESERVATION,  # sharing takes nobody's reservation
    Claim.STORE: ScFailure.OTHER_STORE,
    Claim.AMO: ScFailure.OTHER_AMO,
    Claim.SC: ScFailure.OTHER_SC,
    Claim.SECOND: ScFailure.OTHER_AMO,
    Claim.OUTSIDE: ScFailure.EXTERNAL_WRITE,
}
_OWNED = re.compile(rb"[^\0]")
_NOBODY = -1


@dataclass(slots=True, eq=False)
class _Want:
    hart: int
    claim: Claim
    then: Callable[[], None]
    gone: bool = False
    """The hart has died meanwhile."""


@dataclass(slots=True)
class _Line:
    """What is known of a granule that was ever owned or wanted."""

    owner: int = _NOBODY
    """Whose byte is MODIFIED."""
    sharers: set[int] = field(default_factory=set)
    waiting: list[_Want] = field(default_factory=list)
    serving: _Want | None = None
    missing: set[int] = field(default_factory=set)
    """Harts that have yet to give up for the want that is served."""
    source: int = _NOBODY
    """The owner when that began."""
    last: int = _NOBODY
    """Who was given the granule last."""

    def has(self, hart: int) -> bool:
        return hart == self.owner or hart in self.sharers


class Directory:
    """The directory of one VM. Harts are numbers; the number of harts stands for someone outside."""

    def __init__(
        self,
        segment: Segment,
        handover: Handover,
        is_running: Callable[[int], bool],
        reservation_lost: Callable[[int], None],
    ) -> None:
        """Take over the ownership table as it is.

        `is_running` is false of a hart that rests; `reservation_lost` is called with one that loses its reservation,
        and may make it run.
        """
        self._segment = segment
        self._table = segment.ownership
        self._pages = tuple(hart.view for hart in segment.harts)
        self._harts = len(self._pages)
        self._is_running = is_running
        self._reservation_lost = reservation_lost
        self._ring = host_atomics().fetch_or
        self._choose = chooser(handover, self._harts)
        self._exp = segment.geometry.granule_exp
        self._base = segment.memory.base
        self.counts = TrafficCounts(self._pages, Hart.COHERENCE)
        self._lines: dict[int, _Line] = {}
        self._owned: list[set[int]] = [set() for _ in self._pages]
        """Granules by hart."""
        self._recalls: list[dict[int, int]] = [{} for _ in self._pages]
        """By hart, the numbers of the recalls that have not been done, by granule."""
        self._wanted: dict[int, int] = {}
        """The granule that a hart waits for."""
        self._kept: dict[int, int] = {}
        """The granule that a resting hart is not taken from."""

    def rebuild(self) -> None:
        """Learn from the ownership table who owns what: after the death of an earlier bus process.

        Its recalls are forgotten: the requests that they were for are repeated.
        """
        for hart, owned in enumerate(self._table):
            for found in _OWNED.finditer(owned):
                granule = found.start()
                line = self._lines.setdefault(granule, _Line())
                self._owned[hart].add(granule)
                if owned[granule] == Ownership.MODIFIED:
                    line.owner = hart
                else:
                    line.sharers.add(hart)
            self._pages[hart][Hart.RECALLS_DONE] = self._pages[hart][Hart.RECALLS]

    # Wants

    def want(self, hart: int, granule: int, claim: Claim, then: Callable[[], None]) -> None:
        """Call `then` once `hart`, which must rest, owns `granule` as `claim` asks for; see Claim.SC, too.

        For OUTSIDE: once no hart owns it, and before any does.
        """
        line = self._lines.get(granule)
        if line is None:
            line = self._lines[granule] = _Line()
        if hart < self._harts:
            shares = claim is Claim.LOAD
            self._count(hart, Traffic.GET_SHARED if shares else Traffic.GET_MODIFIED, granule)
            self._count(hart, Traffic.MESSAGE, granule)
            self._wanted[hart] = granule
        line.waiting.append(_Want(hart, claim, then))
        self._serve(granule, line)

    def keep(self, hart: int, granule: int) -> None:
        """Leave `granule` to `hart`, which is about to rest, until its next want is granted."""
        self._kept[hart] = granule

    def _serve(self, granule: int, line: _Line) -> None:
        """Serve what waits, as far as it can be without waiting for a hart."""
        while line.serving is None and line.waiting:
            choice = self._choose([want.hart for want in line.waiting], line.last)
            line.serving = line.waiting.pop(choice)
            self._free(granule, line, line.serving)
            self._grant_if_free(granule, line)

    def _free(self, granule: int, line: _Line, want: _Want) -> None:
        """Take the granule from those who must not have it, or ask them."""
        line.source = line.owner
        if want.claim is Claim.SC and not line.has(want.hart):
            return
        losers = {line.owner} - {_NOBODY}
        if want.claim is not Claim.LOAD:
            losers |= line.sharers
        for hart in losers - {want.hart}:
            if self._is_running(hart) or self._kept.get(hart) == granule:
                line.missing.add(hart)
                self._recall(hart, granule)
            elif self._take(hart, granule, line):
                self._reservation_lost(hart)

    def _grant_if_free(self, granule: int, line: _Line) -> None:
        want = line.serving
        if want is None or line.missing:
            return
        line.serving = None
        hart = want.hart
        if want.gone:
            return
        if hart < self._harts:
            if want.claim is not Claim.SC or line.has(hart):
                self._give(hart, granule, line, want.claim)
            self._kept.pop(hart, None)
            self._wanted.pop(hart, None)
            self._count(hart, Traffic.MESSAGE, granule)
        want.then()
        if hart < self._harts and self._recalls[hart]:  # for what it had been left
            self._ring_recall(hart)

    def _give(self, hart: int, granule: int, line: _Line, claim: Claim) -> None:
        if line.source not in (_NOBODY, hart):
            self._count(hart, Traffic.TRANSFER, granule)
            self._count(hart, Traffic.HOP, granule, distance(line.source, hart, self._harts))
        line.last = hart
        self._owned[hart].add(granule)
        if claim is not Claim.LOAD:
            line.sharers.discard(hart)
            line.owner = hart
            self._table[hart][granule] = Ownership.MODIFIED
        elif line.owner != hart:
            line.sharers.add(hart)
            self._table[hart][granule] = Ownership.SHARED

    # Taking

    def _recall(self, hart: int, granule: int) -> None:
        page = self._pages[hart]
        number = page[Hart.RECALLS] + 1
        self._recalls[hart][granule] = number
        page[Hart.RECALLS] = number
        self._count(hart, Traffic.RECALL, granule)
        self._count(hart, Traffic.MESSAGE, granule)
        if self._is_running(hart):
            self._ring_recall(hart)

    def _ring_recall(self, hart: int) -> None:
        self._ring(self._segment.harts[hart].address(Hart.DOORBELL), Doorbell.RECALL)

    def rested(self, hart: int) -> None:
        """The hart rests: it gives up whatever it has been asked for, but what it is left."""
        if self._recalls[hart]:
            self._do_recalls(hart, [g for g in self._recalls[hart] if self._kept.get(hart) != g])

    def given_up(self, hart: int, recalls: int) -> None:
        """The hart, which rests for this moment, gives up what its first so many recalls asked for."""
        self._pages[hart][Hart.COHERENCE + Traffic.MESSAGE] += 2
        self._do_recalls(hart, [g for g, number in self._recalls[hart].items() if number <= recalls])

    def _do_recalls(self, hart: int, granules: list[int]) -> None:
        lost = False
        for granule in granules:
            lost |= self._take(hart, granule, self._lines[granule])
        left = self._recalls[hart].values()
        self._pages[hart][Hart.RECALLS_DONE] = min(left, default=self._pages[hart][Hart.RECALLS] + 1) - 1
        if lost:
            self._reservation_lost(hart)
        for granule in granules:
            line = self._lines[granule]
            self._grant_if_free(granule, line)
            self._serve(granule, line)

    def _take(self, hart: int, granule: int, line: _Line) -> bool:
        """Let a resting hart lose the granule, or keep a share, for the want that is served; true if that ended its
        reservation."""
        want = line.serving
        assert want is not None
        line.missing.discard(hart)
        self._recalls[hart].pop(granule, None)
        if want.claim is Claim.LOAD:
            self._table[hart][granule] = Ownership.SHARED
            line.owner = _NOBODY
            line.sharers.add(hart)
            self._count(hart, Traffic.DOWNGRADE, granule)
            return False
        lost = self._end_reservation(hart, granule, _CAUSES[want.claim], want.hart)
        self._drop(hart, granule, line)
        self._count(hart, Traffic.INVALIDATION, granule)
        return lost

    def _end_reservation(self, hart: int, granule: int, cause: ScFailure, by: int) -> bool:
        """Before the granule goes: a bus process that dies in between must not leave a reservation without it."""
        page = self._pages[hart]
        if page[Hart.RESERVATION] != 1 + granule:
            return False
        page[Hart.RESERVATION_LOST] = 1 + cause | by << 8
        page[Hart.RESERVATION] = 0
        return True

    def _drop(self, hart: int, granule: int, line: _Line) -> None:
        self._table[hart][granule] = Ownership.NONE
        self._owned[hart].discard(granule)
        line.sharers.discard(hart)
        if line.owner == hart:
            line.owner = _NOBODY

    # The end of a hart

    def gone(self, hart: int) -> None:
        """Forget a hart that is dead or has left, and so rests: it owns nothing and wants nothing."""
        self._pages[hart][Hart.RESERVATION] = 0
        self._kept.pop(hart, None)
        self.rested(hart)
        for granule in tuple(self._owned[hart]):
            self._drop(hart, granule, self._lines[granule])
        wanted = self._wanted.pop(hart, None)
        if wanted is not None:
            line = self._lines[wanted]
            line.waiting = [want for want in line.waiting if want.hart != hart]
            if line.serving is not None and line.serving.hart == hart:
                line.serving.gone = True

    def _count(self, hart: int, event: Traffic, granule: int, times: int = 1) -> None:
        self.counts.count(hart, event, self._base + (granule << self._exp), times)
