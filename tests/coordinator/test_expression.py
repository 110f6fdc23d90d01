"""The expression language of invariants."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.expression import ExpressionError, parse

CONSTANTS = {"harts": 4, "N": 1000}
MEMORY = {"counter": 4000, "table": 7}


def symbol(name, reader, index):
    if name not in MEMORY:
        raise ExpressionError(f"no symbol {name}")
    return MEMORY[name] + index - (1000 if reader and reader.signed else 0)


def value(text):
    return parse(text).evaluate(CONSTANTS, symbol)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("counter == harts * N", 1),
        ("counter != 4000", 0),
        ("0 < harts <= 4 < N", 1),
        ("0 < harts <= 3 < N", 0),
        ("not counter", 0),
        ("harts and N", 1),
        ("0 or 0", 0),
        ("-7 // 2", -4),
        ("7 % 4 + 2 ** 10 - (1 << 3 | 1) ^ 0xff & ~1", 3 + 1024 - 9 ^ 0xFF & ~1),
        ("min(harts, N, 3) + max(1, 2) + abs(-5)", 10),
        ("u32(table, 3)", 10),
        ("i8(table)", -993),
        ("1 if counter > N else 2", 1),
        ("256 >> 4", 16),
    ],
)
def test_values(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1", "'a = 1' is not an expression; write `==` to compare"),
        ("a ==", "'a ==' is not an expression"),
        ("a / 2", "'a / 2': `/` is not an integer operation; write `//`"),
        ("a.b", "'a.b': 'a.b' is not allowed; write integers, names and operators"),
        ("a[0]", "'a[0]': 'a[0]' is not allowed; write integers, names and operators"),
        ("1.5", "'1.5': '1.5' is not allowed; write integers, names and operators"),
        ("'x'", "\"'x'\": \"'x'\" is not allowed; write integers, names and operators"),
        (
            "[x for x in y]",
            "'[x for x in y]': '[x for x in y]' is not allowed; write integers, names and operators",
        ),
        ("a in b", "'a in b': 'a in b' is not allowed; write integers, names and operators"),
        (
            "__import__('os')",
            "no function '__import__'; there are abs, i16, i32, i64, i8, max, min, u16, u32, u64, u8",
        ),
        ("u63(a)", "no function 'u63'; did you mean"),
        ("u8(1)", "'u8(1)': u8 takes a symbol and perhaps an element index"),
        ("abs(1, 2)", "'abs(1, 2)': abs takes 1 arguments, not 2"),
        ("min(1)", "'min(1)': min takes 2 or more arguments, not 1"),
        ("(lambda: 1)()", "is not allowed"),
    ],
)
def test_what_is_outside_the_grammar(text, message):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["1 // 0", "1 % 0", "9 ** 9 ** 9", "2 ** -1", "1 << 99999", "1 << -1", "1 >> -1"]
)
def test_what_has_no_value(text):
    with pytest.raises(ExpressionError):
        value(text)


def test_names():
    parsed = parse("counter == u64(table, N) + harts")
    assert parsed.names == {"counter", "table", "N", "harts"}
    assert parsed.bare_names == {"counter", "N", "harts"}


def test_sides_end_where_the_value_is_decided():
    assert parse("counter == 4000 or 1 // (harts - harts)").sides(CONSTANTS, symbol) == "4000 == 4000 or ..."
    assert parse("counter == 1 and 1 // (harts - harts)").sides(CONSTANTS, symbol) == "4000 == 1 and ..."
    assert parse("counter == 1 or counter == 2").sides(CONSTANTS, symbol) == "4000 == 1 or 4000 == 2"


def test_sides_show_numbers():
    assert parse("counter == harts * N - 2").sides(CONSTANTS, symbol) == "4000 == 3998"
    assert parse("harts * N").sides(CONSTANTS, symbol) == str(CONSTANTS["harts"] * CONSTANTS["N"])
    assert (
        parse("counter == 1 or (N == 1000 and not harts < 1)").sides(CONSTANTS, symbol)
        == f"4000 == 1 or ({CONSTANTS['N']} == 1000 and not {CONSTANTS['harts']} < 1)"
    )
    assert (
        parse("not (N == 1 or N)").sides(CONSTANTS, symbol)
        == f"not ({CONSTANTS['N']} == 1 or {CONSTANTS['N']})"
    )


@given(st.text(alphabet="abN()+-*/%<>=!&|^~ ,.[]0123456789'\"\n:", max_size=30))
def test_no_text_gets_past_the_grammar(text):
    try:
        parsed = parse(text)
    except ExpressionError:
        return
    with suppress(ExpressionError):
        parsed.evaluate(dict.fromkeys(parsed.names, 3), symbol)
