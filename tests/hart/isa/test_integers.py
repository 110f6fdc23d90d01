"""Integer arithmetic against the manual's definitions in other forms: bit strings, bytes, fractions."""

from __future__ import annotations

from fractions import Fraction
from math import trunc

from hypothesis import given
from hypothesis import strategies as st

from hart.isa.integers import IntegerArithmetic

M = IntegerArithmetic()
EDGES = [0, 1, 2, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
values = st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << 64) - 1))
widths = st.sampled_from([8, 16, 32, 64])


def signed(v: int) -> int:
    return int.from_bytes(v.to_bytes(8, "little"), "little", signed=True)


def wrapped(v: int) -> int:
    return int(f"{v % (1 << 128):0128b}"[64:], 2)


def bits(v: int) -> str:
    return f"{v:064b}"


def number(text: str) -> int:
    assert len(text) == 64
    return int(text, 2)


@given(values, values)
def test_arithmetic(a: int, b: int) -> None:
    assert M.add(a, b) == wrapped(a + b)
    assert M.sub(a, b) == wrapped(a - b)
    assert M.mul(a, b) == wrapped(signed(a) * signed(b))
    assert M.mulh(a, b) == wrapped(signed(a) * signed(b) // (1 << 64))
    assert M.mulhu(a, b) == a * b // (1 << 64)
    assert M.mulhsu(a, b) == wrapped(signed(a) * b // (1 << 64))


@given(st.integers(-(1 << 64), (1 << 64) - 1))
def test_constants_wrap(v: int) -> None:
    assert M.const(v) == wrapped(v)


@given(values, values)
def test_division(a: int, b: int) -> None:
    if b == 0:
        assert (M.div(a, b), M.divu(a, b), M.rem(a, b), M.remu(a, b)) == ((1 << 64) - 1, (1 << 64) - 1, a, a)
        return
    quotient = trunc(Fraction(signed(a), signed(b)))
    assert M.div(a, b) == wrapped(quotient)
    assert M.rem(a, b) == wrapped(signed(a) - signed(b) * quotient)
    assert (M.divu(a, b), M.remu(a, b)) == divmod(a, b)


def test_the_overflow_of_division() -> None:
    assert M.div(1 << 63, (1 << 64) - 1) == 1 << 63
    assert M.rem(1 << 63, (1 << 64) - 1) == 0


@given(values, values)
def test_logic_and_shifts(a: int, b: int) -> None:
    pairs = list(zip(bits(a), bits(b), strict=True))
    assert bits(M.and_(a, b)) == "".join("1" if p == ("1", "1") else "0" for p in pairs)
    assert bits(M.or_(a, b)) == "".join("0" if p == ("0", "0") else "1" for p in pairs)
    assert bits(M.xor(a, b)) == "".join("1" if x != y else "0" for x, y in pairs)
    n = int(bits(b)[-6:], 2)
    assert M.sll(a, b) == number((bits(a) + "0" * n)[-64:])
    assert M.srl(a, b) == number(("0" * n + bits(a))[:64])
    assert M.sra(a, b) == number((bits(a)[0] * n + bits(a))[:64])


@given(values, st.sampled_from([1, 5, 8, 16, 31, 32, 63, 64]))
def test_widths(a: int, n: int) -> None:
    low = bits(a)[64 - n :]
    assert M.zext(a, n) == number(low.rjust(64, "0"))
    assert M.sext(a, n) == number(low.rjust(64, low[0]))


@given(values, widths)
def test_counts(a: int, n: int) -> None:
    low = bits(a)[64 - n :]
    assert M.clz(a, n) == len(low) - len(low.lstrip("0"))
    assert M.ctz(a, n) == len(low) - len(low.rstrip("0"))
    assert M.cpop(a, n) == low.count("1")


@given(values)
def test_bytes(a: int) -> None:
    data = a.to_bytes(8, "little")
    assert M.bswap(a).to_bytes(8, "little") == data[::-1]
    assert M.orc_b(a).to_bytes(8, "little") == bytes(0xFF if b else 0 for b in data)


@given(st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), min_size=8, max_size=8))
def test_orc_b_does_not_carry_between_bytes(data: list[int]) -> None:
    a = int.from_bytes(bytes(data), "little")
    assert M.orc_b(a).to_bytes(8, "little") == bytes(0xFF if b else 0 for b in data)


@given(values, values)
def test_comparison_and_choice(a: int, b: int) -> None:
    assert (M.eq(a, b), M.ne(a, b)) == ((1, 0) if bits(a) == bits(b) else (0, 1))
    assert (M.eq(a, a), M.ne(a, a)) == (1, 0)
    assert M.lt(a, b) == int(signed(a) < signed(b))
    assert M.ltu(a, b) == int(bits(a) < bits(b))
    assert M.select(a, 1, 2) == (2 if a == 0 else 1)
    assert all(type(r) is int for r in (M.eq(a, b), M.ne(a, b), M.lt(a, b), M.ltu(a, b)))
