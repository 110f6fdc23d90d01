"""The form of messages: round trips, and an error with the path for everything malformed."""

from __future__ import annotations

import errno

import msgpack
import pytest

from coordinator.control.messages import (
    VERBS,
    BadReply,
    CreateVm,
    LoadImage,
    Malformed,
    SetOneReg,
    Status,
    Value,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    events_endpoint,
)
from coordinator.host import HostModel
from coordinator.machine import MachineState
from coordinator.result import AtomicKind, Ending, HartResult, ScFailure, VmResult
from coordinator.spec import VmSpec
from hart.image import Chunk, Image, Symbol

SPEC = VmSpec(name="v", harts=2, host=HostModel(extensions=frozenset({"I", "A"})), spurious_sc_failure=0.5)
IMAGE = Image("i", 0x80000000, (Chunk(0x80000000, b"\x00\xff", 4),), {"x": Symbol("x", 0x80000000, 4)})


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("create_vm", CreateVm(spec=SPEC)),
        ("load_image", LoadImage(vm="v", image=IMAGE)),
        ("set_one_reg", SetOneReg(vm="v", hart=0, id=2**64 - 1, value=2**64 - 1)),
        ("set_one_reg", SetOneReg(vm="v", hart=0, id=0, value=2**128 - 1)),
    ],
)
def test_requests_round_trip(verb: str, body):
    request = decode_request(encode_request(7, verb, body))
    assert (request.id, request.verb, request.body) == (7, verb, body)


def test_results_round_trip():
    hart = HartResult(
        0, Ending.EXIT, 4, tuple(range(32)), 9, 0.5, None, 1, {AtomicKind.LR: 3}, {ScFailure.OTHER_SC: 2**40}
    )
    result = VmResult("v", Ending.EXIT, -1, 0, "", (hart,), (), b"\xff\x00", 1.5)
    status = Status(state=MachineState.ENDED, instret=(9,), result=result)
    request_id, number, body = decode_reply(encode_reply(5, status))
    assert (request_id, number) == (5, 0)
    assert Status.model_validate(body) == status


@pytest.mark.parametrize("value", [0, 2**64 - 1, 2**64, 2**512 - 1])
def test_values_of_any_width_round_trip(value: int):
    assert Value.model_validate(decode_reply(encode_reply(1, Value(value=value)))[2]).value == value


def request(*envelope: object) -> bytes:
    return msgpack.packb(list(envelope))


VALID_SPEC = msgpack.unpackb(encode_request(0, "create_vm", CreateVm(spec=SPEC)))[3]["spec"]
assert isinstance(VALID_SPEC, dict)


@pytest.mark.parametrize(
    ("payload", "number", "path", "reason"),
    [
        (b"", "EBADMSG", "$", "not msgpack"),
        (b"\xc1", "EBADMSG", "$", "not msgpack"),
        (b"\x91" * 5000, "EBADMSG", "$", "not msgpack"),
        (request(1, 2, "run", {}) + b"\x00", "EBADMSG", "$", "not msgpack"),
        (b"\xdd\xff\xff\xff\xff", "EBADMSG", "$", "not msgpack"),
        (msgpack.packb({}), "EBADMSG", "$", "a request is an array of"),
        (request(1, 2, "run"), "EBADMSG", "$", "a request is an array of"),
        (request(1, -1, "run", {}), "EBADMSG", "$[1]", "unsigned 64-bit"),
        (request(1, True, "run", {}), "EBADMSG", "$[1]", "unsigned 64-bit"),
        (request(2, 2, "run", {}), "EPROTO", "$[0]", "version 2; this server speaks 1"),
        (request(1, 2, "runn", {}), "ENOTTY", "$[2]", "unknown verb 'runn'; did you mean 'run'?"),
        (request(1, 2, ["x"] * 99, {}), "ENOTTY", "$[2]", "there are check_extension, create_vm"),
        (request(1, 2, "x" * 10**6, {}), "ENOTTY", "$[2]", "there are check_extension, create_vm"),
        (request(1, 2, "run", {"vm": "v", "x" * 10**6: 0}), "EINVAL", "$." + "x" * 78, "there are vm"),
        (request(1, 2, "run", []), "EINVAL", "$", "Input should be a valid dictionary"),
        (request(1, 2, "run", {}), "EINVAL", "$.vm", "Field required"),
        (request(1, 2, "run", {"vm": 5}), "EINVAL", "$.vm", "valid string, not 5"),
        (
            request(1, 2, "get_one_reg", {"vm": "v", "hart": "0", "id": 1}),
            "EINVAL",
            "$.hart",
            "integer, not '0'",
        ),
        (request(1, 2, "get_one_reg", {"vm": "v", "hart": -1, "id": 1}), "EINVAL", "$.hart", "not -1"),
        (
            request(1, 2, "get_one_reg", {"vm": "v", "harts": 0, "id": 1}),
            "EINVAL",
            "$.hart",
            "Field required",
        ),
        (
            request(1, 2, "get_one_reg", {"vm": "v", "hart": 0, "harz": 0, "id": 1}),
            "EINVAL",
            "$.harz",
            "unknown key; did you mean 'hart'?",
        ),
        (
            request(1, 2, "set_one_reg", {"vm": "v", "hart": 0, "id": 1, "value": -5}),
            "EINVAL",
            "$.value",
            "unsigned integer",
        ),
        (
            request(1, 2, "create_vm", {"spec": VALID_SPEC | {"harts": 0}}),
            "EINVAL",
            "$.spec.harts",
            "greater than or equal to 1, not 0",
        ),
        (
            request(1, 2, "create_vm", {"spec": VALID_SPEC | {"hart": 1}}),
            "EINVAL",
            "$.spec.hart",
            "unknown key; did you mean 'harts'?",
        ),
        (
            request(1, 2, "create_vm", {"spec": VALID_SPEC | {"host": {"extension": []}}}),
            "EINVAL",
            "$.spec.host.extension",
            "unknown key; did you mean 'extensions'?",
        ),
        (
            request(1, 2, "create_vm", {"spec": VALID_SPEC | {"ram_base": 2**64 - 4096, "ram_bytes": 8192}}),
            "EINVAL",
            "$.spec",
            "passes the end of 2**64",
        ),
    ],
)
def test_malformed_messages_are_told_where_and_why(payload: bytes, number: str, path: str, reason: str):
    with pytest.raises(Malformed) as refused:
        decode_request(payload)
    assert errno.errorcode[refused.value.number] == number
    assert refused.value.path == path
    assert reason in refused.value.reason
    assert len(refused.value.reason) < 400
    assert refused.value.request_id == (2 if number in ("EPROTO", "ENOTTY", "EINVAL") else 0)


@pytest.mark.parametrize("payload", [b"\xc1", msgpack.packb([1, 2]), msgpack.packb([9, 2, 0, {}])])
def test_a_client_does_not_trust_answers(payload: bytes):
    with pytest.raises(BadReply):
        decode_reply(payload)


def test_every_verb_is_carried_out():
    from coordinator.control import verbs

    assert {*verbs._GENERAL, *verbs._ON_VM, "wait"} == set(VERBS)
    assert all((VERBS[v].needs is None) == (v in verbs._GENERAL) for v in VERBS)


def test_events_endpoints():
    assert events_endpoint("ipc:///a/b") == "ipc:///a/b.events"
    assert events_endpoint("tcp://h:5") == "tcp://h:6"
