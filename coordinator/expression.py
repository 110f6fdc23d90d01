"""Integer expressions over guest symbols, as `[vm.expect]` writes them. Runs no Python code, reads no memory.

The grammar is Python's, cut down to integers: literals, names, arithmetic, bit operations, comparisons,
`and`/`or`/`not`, `x if c else y`, and the calls in `FUNCTIONS` and `READERS`. A reader takes a symbol, and an
element index if it is an array: `u32(table, 3)`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hart.spelling import nearest

_MOST_BITS = 4096
"""Results are kept below this size, so that a typing error cannot eat the machine."""


class ExpressionError(ValueError):
    """An expression outside the grammar, with a name nobody knows, or without a value (division by zero)."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How a reading function reads memory: element size in bytes, and signedness."""

    size: int
    signed: bool


READERS: dict[str, Reader] = {
    f"{letter}{8 * size}": Reader(size, letter == "i") for letter in "ui" for size in (1, 2, 4, 8)
}
"""`u8` to `i64`: read a symbol as this width, whatever size it was declared with."""

FUNCTIONS: dict[str, tuple[Callable[..., int], range]] = {
    "abs": (abs, range(1, 2)),
    "min": (min, range(2, 64)),
    "max": (max, range(2, 64)),
}
"""By name: the function, and how many arguments it takes."""

Symbols = Callable[[str, Reader | None, int], int]
"""(symbol, reader or None for its declared size, element index) -> value. Raises ExpressionError."""


def _power(a: int, b: int) -> int:
    if not 0 <= b <= _MOST_BITS or a.bit_length() * b > _MOST_BITS:
        raise ExpressionError(f"{a} ** {b} is out of range")
    return int(a**b)


def _shift_left(a: int, b: int) -> int:
    if not 0 <= b <= _MOST_BITS:
        raise ExpressionError(f"{a} << {b} is out of range")
    return a << b


_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.LShift: _shift_left,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: lambda value: int(not value),
}
_COMPARE: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPARE_TEXT: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_WANTED_INSTEAD: dict[type[ast.AST], str] = {
    ast.Div: "`/` is not an integer operation; write `//`",
}
_LONE_EQUALS = re.compile(r"(?<![=!<>])=(?!=)")


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: as the config has it.
        names: every name that needs a value: constants and symbols.
        bare_names: those of them that occur outside a reader, so that a symbol's own size decides.

    """

    text: str
    names: frozenset[str]
    bare_names: frozenset[str]
    _body: ast.expr

    def evaluate(self, constants: Mapping[str, int], symbols: Symbols) -> int:
        """The value; comparisons and `not` yield 0 or 1. Constants come before symbols of the same name.

        Raises:
            ExpressionError: a division by zero or a result out of range, or what `symbols` raises.

        """
        return _Evaluation(constants, symbols).value(self._body)

    def sides(self, constants: Mapping[str, int], symbols: Symbols) -> str:
        """What a comparison compares, in numbers: `39998 == 40000`; for any other expression its value."""
        evaluation = _Evaluation(constants, symbols)
        if not isinstance(self._body, ast.Compare):
            return str(evaluation.value(self._body))
        parts = [str(evaluation.value(self._body.left))]
        for operation, side in zip(self._body.ops, self._body.comparators, strict=True):
            parts += [_COMPARE_TEXT[type(operation)], str(evaluation.value(side))]
        return " ".join(parts)


def parse(text: str) -> Expression:
    """Parse and check `text`.

    Raises:
        ExpressionError: it is not in the grammar; says which part.

    """
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = "; write `==` to compare" if _LONE_EQUALS.search(text) else ""
        raise ExpressionError(f"{text!r} is not an expression{hint}") from error
    bare: set[str] = set()
    read: set[str] = set()
    _check(body, text, bare, read)
    return Expression(text, frozenset(bare | read), frozenset(bare), body)


def _check(node: ast.expr, text: str, bare: set[str], read: set[str]) -> None:
    match node:
        case ast.Constant(value=int()):
            pass
        case ast.Name(id=name):
            bare.add(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left, text, bare, read)
            _check(right, text, bare, read)
        case ast.BinOp(op=op) if type(op) in _WANTED_INSTEAD:
            raise ExpressionError(f"{text!r}: {_WANTED_INSTEAD[type(op)]}")
        case ast.UnaryOp(operand=operand):
            _check(operand, text, bare, read)
        case ast.BoolOp(values=values):
            for value in values:
                _check(value, text, bare, read)
        case ast.Compare(left=left, ops=ops, comparators=sides) if all(type(o) in _COMPARE for o in ops):
            for side in (left, *sides):
                _check(side, text, bare, read)
        case ast.IfExp(test=test, body=then, orelse=otherwise):
            for part in (test, then, otherwise):
                _check(part, text, bare, read)
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            _check_call(function, arguments, text, bare, read)
        case _:
            found = ast.get_source_segment(text.strip(), node) or text
            raise ExpressionError(f"{text!r}: {found!r} is not allowed; write integers, names and operators")


def _check_call(function: str, arguments: list[ast.expr], text: str, bare: set[str], read: set[str]) -> None:
    if function in READERS:
        if not (1 <= len(arguments) <= 2 and isinstance(arguments[0], ast.Name)):
            raise ExpressionError(f"{text!r}: {function} takes a symbol and perhaps an element index")
        read.add(arguments[0].id)
        arguments = arguments[1:]
    elif function not in FUNCTIONS:
        allowed = sorted([*FUNCTIONS, *READERS])
        hint = nearest(function, allowed)
        raise ExpressionError(f"{text!r}: no function {function!r}{hint}; there are {', '.join(allowed)}")
    elif len(arguments) not in (arity := FUNCTIONS[function][1]):
        wanted = f"{arity.start}" if len(arity) == 1 else f"{arity.start} or more"
        raise ExpressionError(f"{text!r}: {function} takes {wanted} arguments, not {len(arguments)}")
    for argument in arguments:
        _check(argument, text, bare, read)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    constants: Mapping[str, int]
    symbols: Symbols

    def value(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int() as number):
                return int(number)
            case ast.Name(id=name):
                return self.constants[name] if name in self.constants else self.symbols(name, None, 0)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self.value(left), self.value(right))
            case ast.UnaryOp(op=op, operand=operand):
                return _UNARY[type(op)](self.value(operand))
            case ast.BoolOp(op=ast.And(), values=values):
                return int(all(self.value(v) for v in values))
            case ast.BoolOp(values=values):
                return int(any(self.value(v) for v in values))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                sides = [self.value(side) for side in (left, *comparators)]
                pairs = zip(ops, sides, sides[1:], strict=False)
                return int(all(_COMPARE[type(op)](a, b) for op, a, b in pairs))
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                return self.value(then if self.value(test) else otherwise)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self._call(function, arguments)
        raise AssertionError(f"{node!r} passed the check")

    @staticmethod
    def _binary(op: ast.operator, a: int, b: int) -> int:
        try:
            result = _BINARY[type(op)](a, b)
        except ExpressionError:
            raise
        except ZeroDivisionError:
            raise ExpressionError(f"division of {a} by zero") from None
        except ValueError as error:  # a negative shift
            raise ExpressionError(f"{error} ({a}, {b})") from error
        if result.bit_length() > _MOST_BITS:
            raise ExpressionError("the result is out of range")
        return result

    def _call(self, function: str, arguments: list[ast.expr]) -> int:
        if function in FUNCTIONS:
            return FUNCTIONS[function][0](*(self.value(a) for a in arguments))
        symbol, *index = arguments
        assert isinstance(symbol, ast.Name)
        return self.symbols(symbol.id, READERS[function], self.value(index[0]) if index else 0)
