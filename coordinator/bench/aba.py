"""The A -> B -> A specimen: a Treiber stack whose nodes are popped and pushed back at once, until it breaks.

Owns who is tried and for how long. The guest is the `treiber` workload of `configs/guests/contention`; it ends at the
first sign of corruption: a node popped while another hart has it, or a stack that has run empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bus.policies import label, policy
from coordinator.bench.coherence import Bench
from coordinator.bench.contention import Plan, Trial
from coordinator.bench.kernels import QEMU

BATCH = 64


@dataclass(frozen=True, slots=True)
class Endurance:
    """What became of the stack somewhere.

    Attributes:
        who: the policy, or qemu-riscv64.
        correct: whether the policy claims to be right; None of qemu.
        operations: pops, each with its push, that were done in `seconds`.
        right: whether the stack was still whole.

    """

    who: str
    correct: bool | None
    harts: int
    operations: int
    seconds: float
    right: bool


def endure(
    bench: Bench,
    policies: Sequence[str],
    *,
    harts: int,
    operations: int,
    limit_s: float,
    report: Callable[[str], None] = lambda text: None,
) -> list[Endurance]:
    """Try each policy, then qemu-riscv64 if there is one, for so many operations and so long at most.

    Raises:
        BenchError: a program does not end well.

    """
    plan = Plan(("treiber",), 0, limit_s, BATCH, operations, stop_when_wrong=True)
    found = []
    for name in policies:
        report(label(name))
        (trial,) = bench.guest(harts, plan, name)
        found.append(_endurance(label(name), policy(name).correct, trial))
    report(QEMU)
    if trials := bench.qemu(harts, plan):
        found.append(_endurance(QEMU, None, trials[0]))
    return found


def _endurance(who: str, correct: bool | None, trial: Trial) -> Endurance:
    return Endurance(who, correct, trial.workers, trial.operations, trial.seconds, trial.right)
