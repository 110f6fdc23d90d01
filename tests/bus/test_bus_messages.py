import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import (
    CATALOGUE,
    MAX_BYTES,
    MAX_TEXT,
    Kind,
    MalformedMessage,
    decode_request,
    encode_answer,
    encode_error,
    encode_request,
    encode_rows,
)

MOST = (1 << 64) - 1


def test_the_catalogue_has_a_row_for_each_kind():
    assert list(CATALOGUE) == list(Kind)
    assert all(row.meaning for row in CATALOGUE.values())


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("value", [0, 1, MOST])
def test_every_row_round_trips(kind, value):
    fields = [value] * len(CATALOGUE[kind].fields)
    data = encode_request(kind, MOST, *fields)
    assert decode_request(data) == [kind, MOST, *fields]
    assert len(data) <= MAX_BYTES


@pytest.mark.parametrize("kind", Kind)
def test_a_wrong_number_of_fields_is_named(kind):
    row = CATALOGUE[kind]
    for fields in ([1] * (len(row.fields) + 1), [1] * (len(row.fields) - 1) if row.fields else [1, 1]):
        with pytest.raises(MalformedMessage, match=f"{kind.name} takes .*; got {len(fields)}") as caught:
            decode_request(encode_request(kind, 7, *fields))
        assert caught.value.id == 7


@pytest.mark.parametrize(
    ("data", "message", "request_id"),
    [
        (b"", "not msgpack", 0),
        (b"\xc1", "not msgpack", 0),
        (b"\x93\x01", "not msgpack", 0),
        (msgpack.packb([1, 1]) + b"\x00", "not msgpack", 0),
        (b"\x91" * 4000, "not msgpack", 0),
        (msgpack.packb(5), "not \\[kind, id, field", 0),
        (msgpack.packb({"a": 2}), "not \\[kind, id, field", 0),
        (msgpack.packb([]), "not \\[kind, id, field", 0),
        (msgpack.packb([14]), "not \\[kind, id, field", 0),
        (msgpack.packb([99, 3]), "unknown kind 99; kinds are 1 to 21", 3),
        (msgpack.packb([14, -1]), "'-1' is not an unsigned integer", 0),
        (msgpack.packb([14, "x"]), "'x' is not an unsigned integer", 0),
        (msgpack.packb(["LR", 4]), "'LR' is not an unsigned integer", 4),
        (msgpack.packb([True, 4]), "'True' is not an unsigned integer", 4),
        (msgpack.packb([[1], 4]), "is not an unsigned integer", 4),
        (msgpack.packb([10, 4, 1.0]), "'1.0' is not an unsigned integer", 4),
        (msgpack.packb([10, 4, None]), "'None' is not an unsigned integer", 4),
        (msgpack.packb([10, 4, msgpack.ExtType(4, b"zz")]), "is not an unsigned integer", 4),
        (msgpack.packb([10, 4, "x" * MAX_BYTES]), f"bytes; no request is longer than {MAX_BYTES}", 0),
    ],
)
def test_each_malformed_message_says_what_is_wrong(data, message, request_id):
    with pytest.raises(MalformedMessage, match=message) as caught:
        decode_request(data)
    assert caught.value.id == request_id
    assert len(str(caught.value)) <= MAX_TEXT


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(data):
    try:
        request = decode_request(data)
    except MalformedMessage:
        return
    assert len(request) == 2 + len(CATALOGUE[request[0]].fields)


def test_answers_carry_id_status_and_values():
    assert msgpack.unpackb(encode_answer(3, 4, MOST)) == [3, 0, 4, MOST]
    assert msgpack.unpackb(encode_error(3, "no")) == [3, 1, "no"]
    assert msgpack.unpackb(encode_rows(3, 9, [(1, 2)])) == [3, 0, 9, [[1, 2]]]
