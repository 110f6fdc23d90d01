"""Quiescence: knowing that every hart has passed a safepoint since a moment.

Owns the count of who has not yet. Used by the arbiter before it relies on something that harts check before each
store (whether a granule is tracked). Never touches guest memory.

Why it is right. A hart's store is a check of the granule word followed by a write; between the two there is no
safepoint and no request. (One check may serve many writes: `hart.jit.engine`.) Say the arbiter has set the word and
calls `begin`. A hart is *quiescent* from then on as soon as one of these holds:

- it has a request open at the bus. It sent the request after its last write, so that write is done (the message
  orders them), and it makes no access until the answer, which is sent after the word was set;
- a request of it arrives: the same, from then on;
- it acknowledged an epoch not older than this one. It read the epoch at a safepoint, hence after the arbiter wrote
  it, which is after the word was set: its earlier writes are done and its later checks see the word;
- it has not joined, has left, or is dead: it makes no accesses. (Joining is a request.)

So when `begin`'s callback runs, no write is in flight that was decided before the word was set, and there will be
none. Epoch and word are written by one process and read by another in program order; the fence between makes this
hold on AArch64 as well: the hart's exchange of its doorbell and the message are the other half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bus.doorbell import ring
from bus.layout import Doorbell, Header
from bus.native import host_atomics
from bus.segment import Segment


@dataclass(slots=True)
class _Pending:
    epoch: int
    missing: set[int]
    then: Callable[[], None]


class Quiescence:
    """The arbiter's view of which harts run.

    Attributes:
        pending: whether somebody waits for quiescence: then each request must be `heard`.
        rested: called with a hart when it rests.

    """

    def __init__(self, segment: Segment) -> None:
        """No hart runs yet."""
        self._segment = segment
        self._fence = host_atomics().fence
        self._running: set[int] = set()
        self._waiting: list[_Pending] = []
        self.pending = False
        self.rested: Callable[[int], None] = lambda hart: None

    def is_running(self, hart: int) -> bool:
        """Whether the hart may be accessing memory."""
        return hart in self._running

    def begin(self, then: Callable[[], None]) -> None:
        """Call `then` once every hart is quiescent; at once if none runs."""
        header = self._segment.header
        epoch = header[Header.QUIESCE_EPOCH] + 1
        self._fence()
        header[Header.QUIESCE_EPOCH] = epoch
        if not self._running:
            then()
            return
        self._waiting.append(_Pending(epoch, set(self._running), then))
        self.pending = True
        for hart in self._running:
            ring(self._segment, hart, Doorbell.QUIESCE)

    def runs(self, hart: int) -> None:
        """The hart may access memory from now on: call it before an answer that it waited for is sent."""
        self._running.add(hart)

    def rests(self, hart: int) -> None:
        """The hart has a request open that is answered later, or makes no accesses any more."""
        self._running.discard(hart)
        self.heard(hart)
        self.rested(hart)

    def heard(self, hart: int) -> None:
        """A request of the hart has arrived."""
        if self.pending:
            self._passed(hart, self._waiting[-1].epoch)

    def acknowledged(self, hart: int, epoch: int) -> None:
        """The hart passed a safepoint after `epoch` was announced."""
        self._passed(hart, epoch)

    def _passed(self, hart: int, epoch: int) -> None:
        for waiting in self._waiting:
            if waiting.epoch <= epoch:
                waiting.missing.discard(hart)
        ready = [w for w in self._waiting if not w.missing]
        if ready:
            self._waiting = [w for w in self._waiting if w.missing]
            self.pending = bool(self._waiting)
            for complete in ready:
                complete.then()
