"""Programs that people wrote: the shapes that bugs of coherence policies and compilers have.

Owns them as data. They are the programs of the first seeds, so every campaign begins with them.
"""

from __future__ import annotations

from bus.access import AmoOp, Order
from coordinator.fuzz.program import ARRAYS, WORDS, Does, Operation, Program

_NONE = tuple((array, (0,) * WORDS) for array in ARRAYS)
_FULL = 0x0101_0101_0101_0101
_MINUS = (1 << 64) - 1


def _store(array: str, value: int = 1, **more: object) -> Operation:
    return Operation(Does.STORE, array, value=value, **more)  # type: ignore[arg-type]


def _load(array: str, **more: object) -> Operation:
    return Operation(Does.LOAD, array, **more)  # type: ignore[arg-type]


def _amo(amo: AmoOp, value: int, **more: object) -> Operation:
    return Operation(Does.AMO, amo=amo, value=value, **more)  # type: ignore[arg-type]


def _fence(sets: str) -> Operation:
    return Operation(Does.FENCE, sets=f"fence {sets}")


def _pair(value: int, between: tuple[Operation, ...] = ()) -> tuple[Operation, ...]:
    return (Operation(Does.LR), *between, Operation(Does.SC, value=value))


_HARTS: tuple[tuple[tuple[Operation, ...], ...], ...] = (
    # Store buffering: releases and acquires, full fences, AMOs.
    (
        (_store("x", order=Order.RL), _load("y", order=Order.AQ)),
        (_store("y", order=Order.RL), _load("x", order=Order.AQ)),
    ),
    ((_store("x"), _fence("rw,rw"), _load("y")), (_store("y"), _fence("rw,rw"), _load("x"))),
    (
        (_amo(AmoOp.SWAP, 1, order=Order.AQRL), _load("y")),
        (_amo(AmoOp.SWAP, 1, array="y", order=Order.AQRL), _load("x")),
    ),
    # Message passing.
    ((_store("x"), _fence("w,w"), _store("y")), (_load("y"), _fence("r,r"), _load("x"))),
    ((_store("x"), _store("y", order=Order.RL)), (_load("y", order=Order.AQ), _load("x"))),
    # Coherence of one place.
    ((_store("x", 1), _store("x", 2), _store("x", 3)), (_load("x"), _load("x"), _load("x"), _load("x"))),
    # A doubleword in one piece, and neighbours left alone.
    ((_store("x", _FULL), _store("x", 2 * _FULL)), (_load("x"), _load("x"), _load("x"))),
    tuple(
        (
            _amo(AmoOp.ADD, 1, size=1, offset=n),
            _amo(AmoOp.ADD, 1, size=1, offset=n),
            _amo(AmoOp.ADD, 1, size=1, offset=n),
        )
        for n in range(2)
    ),
    ((_amo(AmoOp.ADD, 1, size=1),) * 3, (_store("x", 1, size=1, offset=1), _store("x", 2, size=1, offset=1))),
    # Indivisible read-modify-writes.
    ((_amo(AmoOp.ADD, 1),) * 4, (_amo(AmoOp.ADD, 1),) * 4),
    tuple((Operation(Does.CAS, value=n, expected=0),) for n in (1, 2, 3)),
    ((Operation(Does.CAS, value=5, expected=4), _load("x")), (_store("x", 3), _load("x"))),
    ((_amo(AmoOp.MIN, 1), _amo(AmoOp.MAX, _MINUS), _load("x")), (_store("x", _MINUS),)),
    ((_amo(AmoOp.MINU, 1), _amo(AmoOp.MAXU, _MINUS), _load("x")), (_store("x", _MINUS - 1),)),
    # Reservations, with and without a load between, against each kind of write.
    (_pair(1), _pair(2), _pair(3)),
    *(
        (_pair(1, (_load("y"),)), write)
        for write in (
            (_store("x", 2), _load("x")),
            (_amo(AmoOp.ADD, 2), _load("x")),
            (Operation(Does.CAS, value=2, expected=0), _load("x")),
            _pair(2, (_load("y"),)),
            _pair(2),
            (_store("x", 2), _store("x", 0), _load("x")),
        )
    ),
    # Results of narrow loads are sign-extended, also of what the hart itself has just stored.
    (
        (
            _store("x", 0x80, size=1),
            _store("y", 0x8000_0000, size=4),
            _load("x", size=1),
            _load("y", size=4),
        ),
        (_load("x", size=1), _load("y", size=4)),
    ),
)

CLASSICS = tuple(Program(seed, harts, _NONE) for seed, harts in enumerate(_HARTS))
"""By seed."""
