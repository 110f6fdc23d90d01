"""Plain ONE_REG bodies: whatever is taken as it came is what its model would make of it, and nothing usual is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.control.messages import Body, GetOneReg, SetOneReg, Value
from coordinator.control.plain import Plain, is_plain_get, is_plain_set, is_plain_value

KINDS: list[tuple[Callable[[object], bool], type[Body]]] = [
    (is_plain_get, GetOneReg),
    (is_plain_set, SetOneReg),
    (is_plain_value, Value),
]
GOOD: Plain = {"vm": "v", "hart": 0, "id": 1 << 63, "value": (1 << 64) - 1}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1),
    st.sampled_from([1 << 16, (1 << 16) - 1, 1 << 64, (1 << 64) - 1, 0.0, "", "v" * 64, "v" * 65, b"v", "7"]),
    st.lists(st.integers(0, 1), max_size=1),
)


def good(model: type[Body]) -> Plain:
    return {key: GOOD[key] for key in model.model_fields}


@pytest.mark.parametrize(("is_plain", "model"), KINDS)
def test_the_usual_is_plain(is_plain: Callable[[object], bool], model: type[Body]):
    assert is_plain(good(model))


@pytest.mark.parametrize(("is_plain", "model"), KINDS)
@given(st.data())
def test_plain_is_what_the_model_takes_as_it_is(
    is_plain: Callable[[object], bool], model: type[Body], data: st.DataObject
):
    body = good(model)
    for key in data.draw(st.lists(st.sampled_from([*body, "more"]), max_size=2)):
        if data.draw(st.booleans()):
            body[key] = data.draw(ODD)
        else:
            body.pop(key, None)
    try:
        made = model.model_validate(body)
    except ValidationError:
        assert not is_plain(body)
    else:
        assert not is_plain(body) or made.model_dump() == body


@pytest.mark.parametrize("body", [None, [], "vm", [("vm", "v")], {}, {1: 2, 3: 4, 5: 6}])
def test_what_is_no_body_is_not_plain(body: object):
    assert not any(is_plain(body) for is_plain, _ in KINDS)
