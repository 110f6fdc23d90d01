"""The bodies of GET_ONE_REG and SET_ONE_REG, which clients send by the thousand, told without the cost of models.

Owns which of them are plain: those that fit their model just as they are. Plain ones are taken as they came; any other
goes the way of all messages, through its model, which also says what is wrong with it. Says no to nothing itself.
"""

from __future__ import annotations

from typing import Any

Plain = dict[str, Any]
"""A body as msgpack has it."""

_HARTS, _U64 = 1 << 16, 1 << 64
_MAX_NAME = 64


def is_plain_get(body: Any) -> bool:
    """Whether this is a `GetOneReg` as it is."""
    return type(body) is dict and len(body) == 3 and _names_register(body)


def is_plain_set(body: Any) -> bool:
    """Whether this is a `SetOneReg` as it is, of a value of at most 64 bits."""
    return type(body) is dict and len(body) == 4 and _is_u64(body.get("value")) and _names_register(body)


def is_plain_value(body: Any) -> bool:
    """Whether this is a `Value` as it is, of at most 64 bits."""
    return type(body) is dict and len(body) == 1 and _is_u64(body.get("value"))


def _names_register(body: Plain) -> bool:
    vm, hart = body.get("vm"), body.get("hart")
    return (
        type(vm) is str
        and 0 < len(vm) <= _MAX_NAME
        and type(hart) is int
        and 0 <= hart < _HARTS
        and _is_u64(body.get("id"))
    )


def _is_u64(value: Any) -> bool:
    return type(value) is int and 0 <= value < _U64  # a bool is another type
