"""Propositions about final states: read from tokens, written as herd7 writes them, compiled to tests of a state.

Owns precedence (tightest first: not, =>, /\\, \\/) and nothing about how states come about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coordinator.litmus.test import (
    Address,
    And,
    Atom,
    CodeLabel,
    Constant,
    Implies,
    Location,
    Memory,
    Not,
    Or,
    Proposition,
    Register,
    Type,
    Value,
    shown_name,
)
from coordinator.litmus.text import Tokens
from hart.isa.registers import NUMBERS as REGISTERS
from hart.spelling import nearest

# Reading


def read_register(tokens: Tokens, thread: int) -> Register:
    """The register name after `P:`."""
    position = tokens.position
    name = tokens.name("a register")
    number = REGISTERS.get(name)
    if number is None:
        tokens.fail(f"{name!r} is not an integer register{nearest(name, REGISTERS)}", position)
    return Register(thread, number, name)


def read_memory(tokens: Tokens, what: str = "a location") -> Memory:
    """`x` or `a[1]`."""
    name = tokens.name(what)
    if tokens.take("["):
        index = tokens.number("an array index")
        tokens.expect("]")
        return Memory(name, index)
    return Memory(name)


def thread_number(text: str) -> int | None:
    """The thread that `3` or `P3` names."""
    digits = text.removeprefix("P")
    return int(digits) if digits.isdigit() else None


def read_location(tokens: Tokens) -> Location:
    """`0:x5`, `P0:x5`, `x`, `[x]`, `a[1]`, `[a[1]]` or `*p`, which is read as `p`."""
    tokens.take("*")
    if tokens.take("["):
        memory = read_memory(tokens)
        tokens.expect("]")
        return memory
    if tokens.kind == "number":
        thread = tokens.number("a thread")
        tokens.expect(":")
        return read_register(tokens, thread)
    memory = read_memory(tokens, "a location")
    thread_of_name = thread_number(memory.name)
    if thread_of_name is not None and tokens.take(":"):
        return read_register(tokens, thread_of_name)
    return memory


def read_value(tokens: Tokens) -> Value:
    """A number, the address of a location (`x`, `&x`, `a[1]`), or a label (`P1:L0`, `1:L0`)."""
    if tokens.kind == "number":
        number = tokens.number("a value")
        return CodeLabel(number, tokens.name("a label")) if tokens.take(":") else number
    tokens.take("&")
    memory = read_memory(tokens, "a value")
    thread = thread_number(memory.name)
    if thread is not None and tokens.take(":"):
        return CodeLabel(thread, tokens.name("a label"))
    return Address(memory)


def _read_right(tokens: Tokens) -> Location | Value:
    """What stands after `=`: a value, or a location (a register, or memory in brackets)."""
    if tokens.text == "[":
        return read_location(tokens)
    value = read_value(tokens)
    if isinstance(value, CodeLabel) and value.label in REGISTERS:
        return Register(value.thread, REGISTERS[value.label], value.label)
    return value


_STARTS_ATOM = frozenset({"[", "*"})


def _read_primary(tokens: Tokens) -> Proposition:
    if tokens.take("("):
        inner = read_proposition(tokens)
        tokens.expect(")")
        return inner
    if tokens.take("~") or tokens.take("not"):
        return Not(_read_primary(tokens))
    if tokens.take("true"):
        return Constant(True)
    if tokens.take("false"):
        return Constant(False)
    if tokens.kind not in ("number", "name") and tokens.text not in _STARTS_ATOM:
        tokens.fail("expected a proposition such as 0:x5=1 or x=1")
    left = read_location(tokens)
    if tokens.take("=") or tokens.take("=="):
        return Atom(left, _read_right(tokens))
    if tokens.take("!=") or tokens.take("<>"):
        return Not(Atom(left, _read_right(tokens)))
    tokens.fail("expected =, ==, != or <>")


def _read_implication(tokens: Tokens) -> Proposition:
    left = _read_primary(tokens)
    return Implies(left, _read_implication(tokens)) if tokens.take("=>") else left


def _read_conjunction(tokens: Tokens) -> Proposition:
    operands = [_read_implication(tokens)]
    while tokens.take("/\\"):
        operands.append(_read_implication(tokens))
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def read_proposition(tokens: Tokens) -> Proposition:
    """A proposition, as far as it goes."""
    operands = [_read_conjunction(tokens)]
    while tokens.take("\\/"):
        operands.append(_read_conjunction(tokens))
    return operands[0] if len(operands) == 1 else Or(tuple(operands))


# Writing

_TIGHT, _IMPLICATION, _CONJUNCTION, _DISJUNCTION = range(4)


def proposition_text(
    proposition: Proposition, name: Callable[[Location], str] = shown_name, level: int = _DISJUNCTION
) -> str:
    """The proposition, in parentheses if it binds less tightly than `level`; without outer ones by default.

    `name` writes the locations: as logs show them by default.
    """

    def text(p: Proposition, inner: int) -> str:
        return proposition_text(p, name, inner)

    match proposition:
        case Constant(value):
            return "true" if value else "false"
        case Atom(left, right):
            bracketed = f"[{right}]" if isinstance(right, Memory) else None
            return f"{name(left)}={bracketed or (name(right) if isinstance(right, Register) else right)}"
        case Not(Atom() as operand):
            return f"not ({text(operand, _DISJUNCTION)})"
        case Not(operand):
            return f"not {text(operand, _TIGHT)}"
        case And(operands):
            made = _CONJUNCTION, " /\\ ".join(text(o, _IMPLICATION) for o in operands)
        case Or(operands):
            made = _DISJUNCTION, " \\/ ".join(text(o, _CONJUNCTION) for o in operands)
        case Implies(left, right):
            made = _IMPLICATION, f"{text(left, _TIGHT)} => {text(right, _IMPLICATION)}"
    binding, made_text = made
    return f"({made_text})" if binding > level else made_text


# Testing a state

State = Mapping[Location, int]
"""Final values by location, each as its type shows it."""


def compile_proposition(
    proposition: Proposition, types: Mapping[Location, Type], resolve: Callable[[Value], int]
) -> Callable[[State], bool]:
    """A function that tells whether a state has the property.

    Args:
        proposition: the property.
        types: types of the locations; numbers compare as values of that type.
        resolve: gives the number that a value (an address, a label) stands for.

    """

    def build(p: Proposition) -> Callable[[State], bool]:
        match p:
            case Constant(value):
                return lambda state: value
            case Atom(location, Register() | Memory() as other):
                return lambda state: state[location] == state[other]
            case Atom(location, wanted):
                assert not isinstance(wanted, Register | Memory)
                number = types[location].convert(resolve(wanted))
                return lambda state: state[location] == number
            case Not(operand):
                inner = build(operand)
                return lambda state: not inner(state)
            case And(operands):
                every = [build(o) for o in operands]
                return lambda state: all(f(state) for f in every)
            case Or(operands):
                some = [build(o) for o in operands]
                return lambda state: any(f(state) for f in some)
            case Implies(left, right):
                premise, conclusion = build(left), build(right)
                return lambda state: conclusion(state) if premise(state) else True

    return build(proposition)
