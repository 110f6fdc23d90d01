"""Shrinking a failing program: the smallest one that still fails.

Owns what is smaller than a program. A failure of concurrent harts is a matter of chance, so whoever calls says by
trying whether a program fails; one that did not fail then may still be able to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from bus.access import Order
from coordinator.fuzz.judge import Failure
from coordinator.fuzz.program import Operation, Program

Attempt = Callable[[Program], Failure | None]


def shrink(failure: Failure, attempt: Attempt, limit_s: float) -> Failure:
    """A failure of the smallest program found within the time; `attempt` tries one."""
    deadline = time.monotonic() + limit_s
    shrunk = True
    while shrunk:
        shrunk = False
        for smaller in candidates(failure.program):
            if time.monotonic() > deadline:
                return failure
            found = attempt(smaller)
            if found is not None:
                failure, shrunk = found, True
                break
    return failure


def candidates(program: Program) -> Iterator[Program]:
    """Programs that are a step smaller, the boldest steps first."""
    harts = program.harts
    if len(harts) > 1:
        for n in range(len(harts)):
            yield replace(program, harts=harts[:n] + harts[n + 1 :])
    for n, operations in enumerate(harts):
        for i in range(len(operations)):
            if len(operations) > 1:
                yield _with(program, n, _without(operations, i))
    for n, operations in enumerate(harts):
        for i, operation in enumerate(operations):
            for plainer in _plainer(operation):
                yield _with(program, n, (*operations[:i], plainer, *operations[i + 1 :]))
    for n, (array, words) in enumerate(program.initial):
        if any(words):
            cleared = (array, (0,) * len(words))
            yield replace(program, initial=(*program.initial[:n], cleared, *program.initial[n + 1 :]))


def _with(program: Program, hart: int, operations: tuple[Operation, ...]) -> Program:
    return replace(program, harts=(*program.harts[:hart], operations, *program.harts[hart + 1 :]))


def _without(operations: tuple[Operation, ...], gone: int) -> tuple[Operation, ...]:
    def moved(on: int) -> int:
        return -1 if on == gone else on - 1 if on > gone else on

    return tuple(
        replace(o, address_on=moved(o.address_on), data_on=moved(o.data_on), control_on=moved(o.control_on))
        for i, o in enumerate(operations)
        if i != gone
    )


def _plainer(operation: Operation) -> Iterator[Operation]:
    for name in ("address_on", "data_on", "control_on"):
        if getattr(operation, name) >= 0:
            yield replace(operation, **{name: -1})  # type: ignore[arg-type]
    if operation.order:
        yield replace(operation, order=Order.NONE)
    if operation.writes and operation.value > 1:
        yield replace(operation, value=1)
