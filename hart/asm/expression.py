"""Expressions: GNU as operators and precedence, and those of the C preprocessor.

Owns parsing and evaluation. A value is linear in unknown addresses, so that the difference of two labels is a
constant as soon as their distance is fixed. Knows no section: names are resolved by whoever evaluates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from hart.asm.diagnostics import Problem
from hart.asm.source import CHARACTER, unescape

_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<local>\d+[fb]\b)
  | (?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)(?P<suffix>[A-Za-z_]\w*)?
  | (?P<char>{CHARACTER})
  | (?P<name>[A-Za-z_.$\x01][\w.$]*)
  | (?P<op><<|>>|<=|>=|==|!=|<>|&&|\|\||[-+*/%&|^!~<>()])
  )""",
    re.VERBOSE,
)
_C_SUFFIX = re.compile(r"[uU]?[lL]{0,2}[uU]?")


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: int


@dataclass(frozen=True, slots=True)
class Name:
    """A symbol, `.`, or a numeric local label such as `1f`."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """An operator and its operand."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator and its two operands."""

    op: str
    left: Expression
    right: Expression


Expression = Number | Name | Unary | Binary


@dataclass(frozen=True, slots=True)
class Value:
    """`constant` plus, for each base in `terms`, its unknown address times a coefficient that is not 0."""

    constant: int
    terms: Mapping[Hashable, int] = field(default_factory=dict)

    def plus(self, other: Value, sign: int) -> Value:
        """self + sign * other."""
        terms = dict(self.terms)
        for base, coefficient in other.terms.items():
            terms[base] = terms.get(base, 0) + sign * coefficient
        kept = {base: c for base, c in terms.items() if c}
        return Value(wrap(self.constant + sign * other.constant), kept)


Resolve = Callable[[str], Value]
"""The value of a name; raises Problem where it has none."""


def wrap(value: int) -> int:
    """`value` modulo 2**64 as a signed number, as GNU as computes."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _unsigned(value: int) -> int:
    return value & (1 << 64) - 1


def _quotient(a: int, b: int) -> int:
    if b == 0:
        raise Problem("division by zero")
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def _shift_left(a: int, b: int) -> int:
    return a << b if 0 <= b < 64 else 0


def _shift_right(a: int, b: int) -> int:
    return _unsigned(a) >> b if 0 <= b < 64 else 0


Operator = tuple[int, Callable[[int, int], int]]

_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "*": lambda a, b: a * b,
    "/": _quotient,
    "%": lambda a, b: a - b * _quotient(a, b),
    "<<": _shift_left,
    ">>": _shift_right,
    "|": lambda a, b: a | b,
    "&": lambda a, b: a & b,
    "^": lambda a, b: a ^ b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "&&": lambda a, b: int(bool(a and b)),
    "||": lambda a, b: int(bool(a or b)),
}
_COMPARISON: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _levels(levels: tuple[str, ...], truth: int) -> dict[str, Operator]:
    """Operators from the loosest level to the tightest; `truth` is what a comparison that holds yields."""
    table = dict(_ARITHMETIC)
    table["!"] = lambda a, b: a | ~b
    for name, test in _COMPARISON.items():
        table[name] = lambda a, b, test=test: truth if test(a, b) else 0  # type: ignore[misc]
    table["<>"] = table["!="]
    return {op: (level, table[op]) for level, ops in enumerate(levels) for op in ops.split()}


GNU = _levels(("||", "&&", "== != <> < <= > >=", "+ -", "| & ^ !", "* / % << >>"), truth=-1)
"""The GNU as manual, "Infix Operators", with the levels that gas implements: | & ^ bind tighter than + and
-."""

C = _levels(("||", "&&", "|", "^", "&", "== !=", "< <= > >=", "<< >>", "+ -", "* / %"), truth=1)
"""C, for preprocessor conditions."""

_UNARY: dict[str, Callable[[int], int]] = {
    "-": lambda a: -a,
    "+": lambda a: a,
    "~": lambda a: ~a,
    "!": lambda a: int(not a),
}


@dataclass
class _Tokens:
    """A cursor over the tokens of an expression."""

    text: str
    c_suffixes: bool
    at: int = 0

    def peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self.text, self.at)

    def operator(self) -> str | None:
        """The operator at the cursor, not consumed."""
        m = self.peek()
        return m["op"] if m else None

    def next(self) -> re.Match[str]:
        m = self.peek()
        if m is None:
            rest = self.text[self.at :].strip()
            what = f"before {rest!r}" if rest else "at the end"
            raise Problem(f"{self.text.strip()!r}: expected a number, a symbol or ( {what}")
        self.at = m.end()
        return m


def parse(text: str, operators: Mapping[str, Operator] = GNU) -> Expression:
    """Read a whole expression.

    Raises:
        Problem: empty, or not an expression.

    """
    expression, rest = parse_prefix(text, operators)
    if rest:
        raise Problem(f"{text.strip()!r}: cannot read {rest!r}")
    return expression


def parse_prefix(text: str, operators: Mapping[str, Operator] = GNU) -> tuple[Expression, str]:
    """Read the longest expression at the beginning of `text`; with it the text that follows.

    Raises:
        Problem: no expression there.

    """
    if not text.strip():
        raise Problem("expected an expression")
    tokens = _Tokens(text, operators is C)
    expression = _binary(tokens, operators, 0)
    return expression, text[tokens.at :].strip()


def _binary(tokens: _Tokens, operators: Mapping[str, Operator], level: int) -> Expression:
    left = _primary(tokens, operators)
    while (op := tokens.operator()) is not None and op in operators and operators[op][0] >= level:
        tokens.next()
        left = Binary(op, left, _binary(tokens, operators, operators[op][0] + 1))
    return left


def _primary(tokens: _Tokens, operators: Mapping[str, Operator]) -> Expression:
    m = tokens.next()
    if m["op"] == "(":
        inner = _binary(tokens, operators, 0)
        if tokens.operator() != ")":
            raise Problem(f"{tokens.text.strip()!r}: missing )")
        tokens.next()
        return inner
    if m["op"] in _UNARY:
        return Unary(m["op"], _primary(tokens, operators))
    if m["op"]:
        raise Problem(f"{tokens.text.strip()!r}: {m['op']!r} needs an operand before it")
    if m["name"] or m["local"]:
        return Name(m["name"] or m["local"])
    if m["char"]:
        return Number(int.from_bytes(unescape(m["char"][1:].removesuffix("'") or "'"), "big"))
    return Number(_number(m["number"], m["suffix"] or "", tokens.c_suffixes))


def _number(digits: str, suffix: str, c_suffixes: bool) -> int:
    if suffix and not (c_suffixes and _C_SUFFIX.fullmatch(suffix)):
        raise Problem(f"{digits + suffix!r} is not a number")
    base = 8 if re.fullmatch(r"0\d+", digits) else 0
    try:
        value = int(digits, base)
    except ValueError:
        raise Problem(f"{digits!r} is not an octal number") from None
    if value >> 64:
        raise Problem(f"{digits} does not fit in 64 bits")
    return value


def names(expression: Expression) -> Iterator[str]:
    """Every name in the expression, left to right."""
    match expression:
        case Name(name):
            yield name
        case Unary(_, operand):
            yield from names(operand)
        case Binary(_, left, right):
            yield from names(left)
            yield from names(right)


def substitute(expression: Expression, rename: Callable[[str], Expression]) -> Expression:
    """The expression with every name replaced by `rename(name)`."""
    match expression:
        case Name(name):
            return rename(name)
        case Unary(op, operand):
            return Unary(op, substitute(operand, rename))
        case Binary(op, left, right):
            return Binary(op, substitute(left, rename), substitute(right, rename))
    return expression


def evaluate(expression: Expression, resolve: Resolve, operators: Mapping[str, Operator] = GNU) -> Value:
    """The value of an expression.

    Raises:
        Problem: a name without a value, an operator that needs constants and has not got them, a division by
        zero.

    """
    match expression:
        case Number(number):
            return Value(wrap(number))
        case Name(name):
            return resolve(name)
        case Unary(op, operand):
            value = evaluate(operand, resolve, operators)
            if op == "+":
                return value
            if op == "-":
                return Value(0).plus(value, -1)
            return Value(wrap(_UNARY[op](_constant(value, op))))
        case Binary(op, left, right):
            a, b = evaluate(left, resolve, operators), evaluate(right, resolve, operators)
            if op in "+-":
                return a.plus(b, 1 if op == "+" else -1)
            if op in _COMPARISON and a.terms == b.terms:
                a, b = Value(a.constant), Value(b.constant)
            return Value(wrap(operators[op][1](_constant(a, op), _constant(b, op))))
    raise AssertionError(expression)


def _constant(value: Value, op: str) -> int:
    if value.terms:
        raise Problem(f"the operands of {op!r} must be constants known here, not addresses")
    return value.constant


def constant(expression: Expression, resolve: Resolve, operators: Mapping[str, Operator] = GNU) -> int:
    """The value of an expression that must be a constant.

    Raises:
        Problem: as `evaluate`, or the value depends on an address that is not known yet.

    """
    value = evaluate(expression, resolve, operators)
    if value.terms:
        raise Problem("the value must be a constant known here, and depends on an address")
    return value.constant
