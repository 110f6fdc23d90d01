"""Expressions as configs and commands write them. Runs no Python code, reads no memory.

The grammar is Python's, cut down to literals, names, arithmetic, bit operations, comparisons, `and`/`or`/`not`,
`x if c else y`, and calls of `FUNCTIONS`. There are two kinds of it:

- `INTEGERS`, over guest symbols, for `[vm.expect]` and its like: all values are integers, and `READERS` read
  memory: a reader takes a symbol, and an element index if it is an array: `u32(table, 3)`;
- `VALUES`, over parameters and results, for conditions of batches: numbers and text, with `/` and `in (a, b)`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hart.spelling import nearest

_MOST_BITS = 4096
"""Results are kept below this size, so that a typing error cannot eat the machine."""


Value = int | float | str


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


def no_symbols(name: str, reader: Reader | None, index: int) -> int:
    """For expressions over constants alone: every other name is unknown."""
    raise ExpressionError(f"no value {name!r}")


def _power(a: int | float, b: int | float) -> int | float:
    if not (isinstance(a, int) and isinstance(b, int)):
        if a < 0:
            raise ExpressionError(f"{a} ** {b} is out of range")
        return float(a**b)
    if not 0 <= b <= _MOST_BITS or a.bit_length() * b > _MOST_BITS:
        raise ExpressionError(f"{a} ** {b} is out of range")
    return int(a**b)


def _shift_left(a: int, b: int) -> int:
    if not 0 <= b <= _MOST_BITS:
        raise ExpressionError(f"{a} << {b} is out of range")
    return a << b


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
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
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: lambda value: int(not value),
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MEMBERSHIP: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}
_COMPARE_TEXT: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_WANTED_INSTEAD: dict[type[ast.AST], str] = {
    ast.Div: "`/` is not an integer operation; write `//`",
}


@dataclass(frozen=True, eq=False)
class Grammar:
    """What an expression may be made of.

    Attributes:
        words: what to write, for error messages.
        literals: types of literals.
        binary: operators of two values.
        membership: operators with a list on their right.
        readers: functions that read memory.

    """

    words: str
    literals: tuple[type, ...]
    binary: Mapping[type[ast.operator], Callable[[Any, Any], Any]]
    membership: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]
    readers: Mapping[str, Reader]


INTEGERS = Grammar("integers, names and operators", (int,), _BINARY, {}, READERS)
VALUES = Grammar(
    "numbers, text, names and operators",
    (int, float, str),
    _BINARY | {ast.Div: operator.truediv},
    _MEMBERSHIP,
    {},
)
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

    def evaluate(self, constants: Mapping[str, Value], symbols: Symbols = no_symbols) -> Value:
        """The value; comparisons and `not` yield 0 or 1. Constants come before symbols of the same name.

        Raises:
            ExpressionError: a division by zero, a result out of range, an operation that the values have not,
                or what `symbols` raises.

        """
        found: Value = _Evaluation(constants, symbols).value(self._body)
        return found

    def sides(self, constants: Mapping[str, Value], symbols: Symbols) -> str:
        """What is compared, in numbers: `3998 == 4000`, `3 == 0 or not 2 < 1`; what is no comparison, as its value.

        What `evaluate` does not look at, because the parts before decide, is `...`: `3 == 3 or ...`.
        """
        return _Evaluation(constants, symbols).sides(self._body)


@lru_cache(maxsize=1024)
def parse(text: str, grammar: Grammar = INTEGERS) -> Expression:
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
    _Check(text, grammar, bare, read).node(body)
    return Expression(text, frozenset(bare | read), frozenset(bare), body)


@dataclass(frozen=True, slots=True)
class _Check:
    """Whether an expression is in the grammar; notes the names it uses."""

    text: str
    grammar: Grammar
    bare: set[str]
    read: set[str]

    def node(self, node: ast.expr) -> None:
        text, grammar = self.text, self.grammar
        match node:
            case ast.Constant(value=literal) if isinstance(literal, grammar.literals):
                pass
            case ast.Name(id=name):
                self.bare.add(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in grammar.binary:
                self.node(left)
                self.node(right)
            case ast.BinOp(op=op) if type(op) in _WANTED_INSTEAD:
                raise ExpressionError(f"{text!r}: {_WANTED_INSTEAD[type(op)]}")
            case ast.UnaryOp(operand=operand):
                self.node(operand)
            case ast.BoolOp(values=values):
                for value in values:
                    self.node(value)
            case ast.Compare(left=left, ops=ops, comparators=sides) if all(type(o) in _COMPARE for o in ops):
                for side in (left, *sides):
                    self.node(side)
            case ast.Compare(left=left, ops=[op], comparators=[ast.Tuple() | ast.List() as among]) if (
                type(op) in grammar.membership
            ):
                for side in (left, *among.elts):
                    self.node(side)
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                for part in (test, then, otherwise):
                    self.node(part)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
                self._call(function, arguments)
            case _:
                found = ast.get_source_segment(text.strip(), node) or text
                raise ExpressionError(f"{text!r}: {found!r} is not allowed; write {grammar.words}")

    def _call(self, function: str, arguments: list[ast.expr]) -> None:
        text, readers = self.text, self.grammar.readers
        if function in readers:
            if not (1 <= len(arguments) <= 2 and isinstance(arguments[0], ast.Name)):
                raise ExpressionError(f"{text!r}: {function} takes a symbol and perhaps an element index")
            self.read.add(arguments[0].id)
            arguments = arguments[1:]
        elif function not in FUNCTIONS:
            allowed = sorted([*FUNCTIONS, *readers])
            hint = nearest(function, allowed)
            raise ExpressionError(f"{text!r}: no function {function!r}{hint}; there are {', '.join(allowed)}")
        elif len(arguments) not in (arity := FUNCTIONS[function][1]):
            wanted = f"{arity.start}" if len(arity) == 1 else f"{arity.start} or more"
            raise ExpressionError(f"{text!r}: {function} takes {wanted} arguments, not {len(arguments)}")
        for argument in arguments:
            self.node(argument)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    constants: Mapping[str, Value]
    symbols: Symbols

    def sides(self, node: ast.expr) -> str:
        match node:
            case ast.BoolOp(op=op, values=values):
                both = isinstance(op, ast.And)
                parts: list[str] = []
                for operand in values:
                    parts.append(
                        f"({self.sides(operand)})" if isinstance(operand, ast.BoolOp) else self.sides(operand)
                    )
                    if operand is not values[-1] and bool(self.value(operand)) is not both:
                        parts.append("...")
                        break
                return (" and " if both else " or ").join(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.sides(operand)
                return f"not ({inner})" if isinstance(operand, ast.BoolOp) else f"not {inner}"
            case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
                type(o) in _COMPARE for o in ops
            ):
                parts = [str(self.value(left))]
                for operation, side in zip(ops, comparators, strict=True):
                    parts += [_COMPARE_TEXT[type(operation)], str(self.value(side))]
                return " ".join(parts)
        return str(self.value(node))

    def value(self, node: ast.expr) -> Any:
        try:
            return self._value(node)
        except TypeError as error:  # text where a number is wanted
            raise ExpressionError(str(error)) from error

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() as truth):
                return int(truth)
            case ast.Constant(value=int() | float() | str() as literal):
                return literal
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
            case ast.Compare(left=left, ops=[op], comparators=[ast.Tuple() | ast.List() as among]):
                return int(_MEMBERSHIP[type(op)](self.value(left), [self.value(a) for a in among.elts]))
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
    def _binary(op: ast.operator, a: Any, b: Any) -> Any:
        if isinstance(a, str) or isinstance(b, str):
            raise ExpressionError(f"no arithmetic on text ({a!r}, {b!r})")
        try:
            result = VALUES.binary[type(op)](a, b)
        except ExpressionError:
            raise
        except ZeroDivisionError:
            raise ExpressionError(f"division of {a} by zero") from None
        except OverflowError:
            raise ExpressionError("the result is out of range") from None
        except ValueError as error:  # a negative shift
            raise ExpressionError(f"{error} ({a}, {b})") from error
        if isinstance(result, int) and result.bit_length() > _MOST_BITS:
            raise ExpressionError("the result is out of range")
        return result

    def _call(self, function: str, arguments: list[ast.expr]) -> Any:
        if function in FUNCTIONS:
            return FUNCTIONS[function][0](*(self.value(a) for a in arguments))
        symbol, *index = arguments
        assert isinstance(symbol, ast.Name)
        return self.symbols(symbol.id, READERS[function], self.value(index[0]) if index else 0)
