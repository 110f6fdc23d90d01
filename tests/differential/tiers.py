"""One program in every tier: what the hart and memory hold at the end, or where each was when it stopped.

Owns the comparison of T0 with native code. Regions are compiled at once, from the first jump on, so that a short
program runs natively, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from bus.layout import Hart
from bus.policies import Reservations
from hart.environments.bare import attach
from hart.image import Image
from hart.interpreter import GuestExit, Spinning, UnhandledTrap, WaitingOnReservation
from hart.jit.codegen import Tier
from hart.tiers import TieredInterpreter
from tests import local_hart
from tests.differential.generator import RAM_BYTES, Model, Program

TIERS: dict[str, tuple[Tier, ...]] = {
    "t1": (Tier.T1,),
    "t2": (Tier.T2,),
    "auto": (Tier.T1, Tier.T2),
}
LIMIT = 100_000
_CSRS = ("mstatus", "mepc", "mcause", "mtval", "mscratch", "mie", "mtvec")


@dataclass(frozen=True, slots=True)
class State:
    """A hart and its memory, as far as a program can see them."""

    end: str
    pc: int
    instret: int
    traps: int
    x: tuple[int, ...]
    csrs: tuple[int, ...]
    memory: str
    native: int = field(compare=False, default=0)

    def __str__(self) -> str:
        return "\n".join(f"  {f.name} {_text(getattr(self, f.name))}" for f in fields(self))


def _text(value: object) -> str:
    return " ".join(map(hex, value)) if isinstance(value, tuple) else str(value)


def final_state(
    image: Image,
    extensions: frozenset[str],
    tiers: tuple[Tier, ...],
    *,
    slices: Sequence[int] = (LIMIT,),
    reservations: Reservations | None = None,
    policy: str = "serial",
    warm_after: int = 1,
    ahead: bool = False,
) -> State:
    """Run to the end, or LIMIT instructions, in slices of these lengths in turn.

    With `ahead`, what native code can begin with is compiled before: for programs that go everywhere once.
    """
    with local_hart.machine(
        image,
        extensions=extensions,
        reservations=reservations,
        ram_bytes=RAM_BYTES,
        tiers=tiers,
        warm_after=warm_after,
        policy_name=policy,
    ) as machine:
        hart, segment = machine.hart, machine.segment
        symbols = {n: image.symbols[n].address for n in ("tohost", "fromhost") if n in image.symbols}
        attach(hart, segment, symbols, lambda data: None)
        if ahead and isinstance(hart, TieredInterpreter):
            _compile_ahead(hart)
        end = "limit"
        turn = 0
        try:
            while hart.instret < LIMIT:
                turn += 1
                # Taken at each safepoint, as by the runner: no native code is loaded while it rings.
                segment.harts[0][Hart.DOORBELL] = 0
                try:
                    hart.run(min(slices[turn % len(slices)], LIMIT - hart.instret))
                except WaitingOnReservation:
                    hart.port.wait_on_reservation(0.0)
                except Spinning:
                    pass
        except GuestExit as event:
            end = f"exit {event.code}"
        except UnhandledTrap as trap:
            end = f"trap {trap}"
        memory = segment.memory.read(segment.memory.base, segment.memory.size)
        return State(
            end,
            hart.at,
            hart.instret,
            hart.traps,
            tuple(hart.x),
            tuple(getattr(hart.csrs, name) for name in _CSRS),
            hashlib.sha256(memory).hexdigest(),
            hart.native_instructions if isinstance(hart, TieredInterpreter) else 0,
        )


def _compile_ahead(hart: TieredInterpreter) -> None:
    """Ask for regions at the start and behind each instruction that is the interpreter's."""
    native = False
    pc = hart.at
    while (instruction := hart._instruction(pc)) is not None:
        if instruction.native and not native:
            hart._request(pc, hart._warm[-1])
        native = instruction.native
        pc = instruction.next


@dataclass(frozen=True, slots=True)
class TierDifference:
    """T0 and another tier, and where they ended."""

    tier: str
    expected: State
    found: State

    def __str__(self) -> str:
        lines = [f"{self.tier} differs from T0"]
        for f in fields(State):
            a, b = getattr(self.expected, f.name), getattr(self.found, f.name)
            if a == b or not f.compare:
                continue
            if isinstance(a, tuple):
                lines += [
                    f"  {f.name}[{i}] {p:#x}, {self.tier} {q:#x}"
                    for i, (p, q) in enumerate(zip(a, b, strict=True))
                    if p != q
                ]
            else:
                lines.append(f"  {f.name} {_text(a)}, {self.tier} {_text(b)}")
        return "\n".join(lines)


def reservations_of(model: Model) -> Reservations:
    """As Spike has them."""
    return Reservations(require_exact_reservation_addr=model.exact_reservations, invalidate_on_trap=True)


def tier_states(made: Program, names: Sequence[str], policy: str = "serial") -> dict[str, State]:
    """The end of `made` in T0 (named t0) and in the tiers of these names."""
    image = made.image()
    arguments = {"reservations": reservations_of(made.model), "policy": policy}
    return {
        name: final_state(image, made.model.extensions, tiers, **arguments)  # type: ignore[arg-type]
        for name, tiers in (("t0", ()), *((n, TIERS[n]) for n in names))
    }


def tier_difference(
    made: Program, names: Sequence[str] = tuple(TIERS), policy: str = "serial"
) -> TierDifference | None:
    """The first of these tiers that ends otherwise than T0."""
    states = tier_states(made, names, policy)
    for name in names:
        if states[name] != states["t0"]:
            return TierDifference(name, states["t0"], states[name])
    return None
