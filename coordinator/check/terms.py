"""Symbolic values: what an instruction computes from reads whose values are not known yet.

Owns the value half of `hart.isa.algebra.Algebra` over such values. A value has a term, which evaluates to an integer
once the reads are known, and sources: the events on which it depends syntactically. The two differ on purpose:
`xor a0, a1, a1` is the constant 0 and still depends on whatever a1 came from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bus.access import AmoOp, combine
from hart.isa.integers import MASK, IntegerArithmetic

Term = int | tuple[Any, ...]
"""A constant, `("read", position)`, or an operation's name followed by its operands, terms and plain integers."""

_ARITHMETIC = IntegerArithmetic()

_NAMES = (
    "add", "sub", "mul", "mulh", "mulhu", "mulhsu", "div", "divu", "rem", "remu",
    "and_", "or_", "xor", "sll", "srl", "sra", "eq", "ne", "lt", "ltu",
    "sext", "zext", "clz", "ctz", "cpop", "bswap", "orc_b", "select",
)  # fmt: skip


def _amo(op: int, size: int, old: int, operand: int) -> int:
    return combine(AmoOp(op), old, operand, size)


OPERATIONS: dict[str, Callable[..., int]] = {
    **{name: getattr(_ARITHMETIC, name) for name in _NAMES},
    "amo": _amo,
    "high": lambda pair: pair >> 64,
    "pair": lambda low, high: low | high << 64,
    "low_bytes": lambda value, size: value & ((1 << 8 * size) - 1),
}
"""What the operations of terms do with integers; `pair` and `high` make and split the 128 bits of AMOCAS.Q."""


class CyclicValue(Exception):
    """A value that depends on itself: out of thin air."""


def apply(name: str, *operands: Term) -> Term:
    """The term for an operation, computed at once where its operands are constants or make it one."""
    for operand in operands:
        if type(operand) is tuple:
            break
    else:
        return OPERATIONS[name](*operands)
    if len(operands) == 2:
        a, b = operands
        if a == b and name in _SAME:
            return _SAME[name]
        if name == "and_" and (a == 0 or b == 0):
            return 0
        if b == 0 and name in _RIGHT_ZERO:
            return a
        if a == 0 and name in ("add", "or_", "xor"):
            return b
    return (name, *operands)


_SAME = {"xor": 0, "sub": 0, "eq": 1, "ne": 0, "lt": 0, "ltu": 0}
_RIGHT_ZERO = frozenset({"add", "sub", "or_", "xor", "sll", "srl", "sra"})


def evaluate(term: Term, read: Callable[[int], int]) -> int:
    """The term's value; `read` gives the value that the event at a position read."""
    if type(term) is int:
        return term
    assert type(term) is tuple
    if term[0] == "read":
        return read(term[1])
    return OPERATIONS[term[0]](*[evaluate(o, read) if type(o) is tuple else o for o in term[1:]])


def reads_of(term: Term) -> frozenset[int]:
    """Positions of the events whose values the term needs."""
    if type(term) is int:
        return frozenset()
    assert type(term) is tuple
    if term[0] == "read":
        return frozenset({term[1]})
    return frozenset[int]().union(*(reads_of(o) for o in term[1:]))


class Value(NamedTuple):
    """A value of the algebra: its term, and as a bit mask the positions of the events it depends on."""

    term: Term
    sources: int


ZERO = Value(0, 0)


def _unary(name: str) -> Callable[..., Value]:
    def operation(self: object, a: Value) -> Value:
        return Value(apply(name, a.term), a.sources)

    return operation


def _resized(name: str) -> Callable[..., Value]:
    def operation(self: object, a: Value, bits: int) -> Value:
        return Value(apply(name, a.term, bits), a.sources)

    return operation


def _binary(name: str) -> Callable[..., Value]:
    def operation(self: object, a: Value, b: Value) -> Value:
        return Value(apply(name, a.term, b.term), a.sources | b.sources)

    return operation


class SymbolicArithmetic:
    """Constants, arithmetic, bits, comparison and choice on symbolic values. See `hart.isa.algebra.Algebra`."""

    __slots__ = ()

    def const(self, value: int) -> Value:
        """See `Algebra.const`."""
        return Value(value & MASK, 0)

    bswap, orc_b = (_unary(n) for n in ("bswap", "orc_b"))
    sext, zext, clz, ctz, cpop = (_resized(n) for n in ("sext", "zext", "clz", "ctz", "cpop"))
    add, sub, mul, mulh, mulhu, mulhsu = (
        _binary(n) for n in ("add", "sub", "mul", "mulh", "mulhu", "mulhsu")
    )
    div, divu, rem, remu = (_binary(n) for n in ("div", "divu", "rem", "remu"))
    and_, or_, xor, sll, srl, sra = (_binary(n) for n in ("and_", "or_", "xor", "sll", "srl", "sra"))
    eq, ne, lt, ltu = (_binary(n) for n in ("eq", "ne", "lt", "ltu"))

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """See `Algebra.select`."""
        sources = condition.sources | then.sources | otherwise.sources
        if type(condition.term) is int:
            return Value((then if condition.term else otherwise).term, sources)
        return Value(apply("select", condition.term, then.term, otherwise.term), sources)
