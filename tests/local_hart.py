"""A hart of a VM run by the test's own process: real hart runner, interpreter and policy, no process and no socket.

Owns the direct link between a hart and its arbiter. Starts nothing, so that thousands of programs can run in a test.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from bus.doorbell import Ringer
from bus.layout import Geometry, Hart, HartEnding
from bus.messages import Kind
from bus.policies import Arbiter, ArbiterContext, PortContext, Reservations, policy
from bus.quiescence import Quiescence
from bus.ring import RingReader
from bus.segment import Segment
from hart.clint import Clint
from hart.environments import environment
from hart.image import Image
from hart.interpreter import Interpreter
from hart.isa.extensions import effective, implemented
from hart.jit.codegen import Tier
from hart.jit.instruments import Instrument
from hart.jit.service import region_compiler
from hart.process import HartRunner, HartSpec
from hart.tiers import LocalCompiler, TieredInterpreter

RING_BYTES = 1 << 16


class Refused(Exception):
    """The arbiter refused a request: a hart must never cause that."""


class _NobodyRuns(Quiescence):
    """No hart runs while the arbiter works, so every hart is always quiescent."""

    def runs(self, hart: int) -> None:
        """It does not: see above."""


class DirectLink:
    """Stands for `bus.link.BusLink`: each call is executed by the arbiter at once."""

    def __init__(self, segment: Segment, reservations: Reservations, policy_name: str = "serial") -> None:
        """Make the arbiter."""
        self._make = partial(self._arbiter_over, segment, reservations, policy_name)
        self._answer: list[int] = []
        self._id = 0
        self._arbiter: Arbiter | None = self._make()
        self.hart = 0
        """Whose requests the next calls are."""

    def _arbiter_over(self, segment: Segment, reservations: Reservations, policy_name: str) -> Arbiter:
        return policy(policy_name).arbiter(
            ArbiterContext(
                segment=segment,
                reservations=reservations,
                quiescence=_NobodyRuns(segment),
                answer=self._answered,
                refuse=self._refused,
                reservation_lost=lambda hart: None,
                log=None,
                later=lambda seconds, then: None,  # no time passes between instructions
            )
        )

    @property
    def arbiter(self) -> Arbiter:
        """The bus's half of the policy."""
        assert self._arbiter is not None
        return self._arbiter

    def restart(self) -> None:
        """A new arbiter over the segment as it is."""
        self._arbiter = self._make()

    def close(self) -> None:
        """Let the arbiter, and with it its views of the segment, go."""
        self._arbiter = None

    def call(self, kind: Kind, *fields: int) -> list[int]:
        """See `BusLink.call`."""
        self._id += 1
        self.arbiter.handle(self.hart, [kind, self._id, *fields])
        return self._answer

    def begin(self, kind: Kind, ids: int, *fields: int) -> None:
        """See `BusLink.begin`: answered at once."""
        self._id += ids - 1
        self.call(kind, *fields)

    def finish(self, patiently: bool = True) -> bool:
        """See `BusLink.finish`."""
        return True

    def post(self, kind: Kind, *fields: int) -> None:
        """See `BusLink.post`: nobody waits."""

    def wait(self, hart: int, seconds: float | None, reservation: bool) -> None:
        """See `BusLink.wait`; only time can pass."""
        assert seconds is not None, "the hart waits for somebody to wake it, and there is nobody"
        time.sleep(seconds)

    def _answered(self, hart: int, request_id: int, *values: int) -> None:
        self._answer = list(values)

    def _refused(self, hart: int, request_id: int, text: str) -> None:
        raise Refused(text)


@contextmanager
def segment_with(
    image: Image | None,
    harts: int = 1,
    ram_bytes: int = 1 << 20,
    owned: bool = False,
    granule_exp: int = 6,
) -> Iterator[Segment]:
    """A segment with the image placed by `bare`; unlinked from the start."""
    segment = Segment.create(
        Geometry(
            harts=harts, ram_bytes=ram_bytes, granule_exp=granule_exp, ring_bytes=RING_BYTES, owned=owned
        )
    )
    segment.unlink()
    try:
        if image is not None:
            environment("bare").load(segment, image)
        yield segment
    finally:
        gc.collect()  # an interpreter and what it has decoded refer to each other, and to views of the segment
        segment.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended and what the hart held."""

    ending: HartEnding
    exit_code: int
    pc: int
    x: tuple[int, ...]
    instret: int
    cause: int
    tval: int
    traps: int
    console: bytes


def run(
    image: Image,
    *,
    extensions: frozenset[str] | None = None,
    max_instructions: int | None = 1_000_000,
    ram_bytes: int = 1 << 20,
    reservations: Reservations | None = None,
    trace: str | None = None,
) -> Outcome:
    """Run `image` on one hart in the environment `bare` to its end."""
    reservations = reservations or Reservations()
    with segment_with(image, ram_bytes=ram_bytes) as segment, ExitStack() as stack:
        area = segment.ring(0)
        stack.callback(area.release)
        ring = RingReader(area)
        stack.callback(ring.release)
        spec = HartSpec(
            segment=segment.name,
            endpoint="",
            directory="",
            token=b"",
            hart=0,
            extensions=effective(implemented() if extensions is None else extensions),
            policy="serial",
            reservations=reservations,
            environment="bare",
            symbols={n: image.symbols[n].address for n in ("tohost", "fromhost") if n in image.symbols},
            max_instructions=max_instructions,
            trace=trace,
        )
        link = DirectLink(segment, reservations)
        stack.callback(link.close)
        ending = HartRunner(spec, segment, link, stack).run()  # type: ignore[arg-type]
        page = segment.harts[0]
        return Outcome(
            ending=ending,
            exit_code=page[Hart.EXIT_CODE],
            pc=page[Hart.PC],
            x=tuple(page[Hart.X + i] for i in range(32)),
            instret=page[Hart.INSTRET],
            cause=page[Hart.TRAP_CAUSE],
            tval=page[Hart.TRAP_TVAL],
            traps=page[Hart.TRAP_COUNT],
            console=ring.read(),
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """Hart 0 of a VM, to be stepped by a test."""

    segment: Segment
    hart: Interpreter


@contextmanager
def machine(
    image: Image | None = None,
    *,
    extensions: frozenset[str] | None = None,
    reservations: Reservations | None = None,
    ram_bytes: int = 1 << 16,
    harts: int = 1,
    tiers: tuple[Tier, ...] = (),
    warm_after: int = 1,
    policy_name: str = "serial",
) -> Iterator[Machine]:
    """A machine at the image's entry; `bare` is not attached. With `tiers`, regions are compiled at once."""
    reservations = reservations or Reservations()
    with segment_with(
        image, harts, ram_bytes, policy(policy_name).owned, reservations.reservation_set_size_exp
    ) as segment:
        link = DirectLink(segment, reservations, policy_name)
        context = PortContext(segment, 0, link, reservations)  # type: ignore[arg-type]
        decoded = effective(implemented() if extensions is None else extensions)
        port = policy(policy_name).port(context)
        clint = Clint(segment, Ringer(segment, link))  # type: ignore[arg-type]
        if tiers:
            compiler = region_compiler(segment, decoded, policy_name, reservations, None)
            local = LocalCompiler(
                lambda entry, tier, i=Instrument.NONE: compiler.compile(entry, tier, time.monotonic, i)[1]
            )
            hart: Interpreter = TieredInterpreter(0, decoded, port, segment, clint, local, tiers, warm_after)
        else:
            hart = Interpreter(0, decoded, port, segment.harts[0], clint)
        hart.at = segment.harts[0][Hart.PC] or segment.memory.base
        try:
            yield Machine(segment, hart)
        finally:
            link.close()
