"""The messages of the control channel: the envelope, every verb's request and reply, and how they are
checked.

Owns form alone: what a well-formed message is, and the error that a malformed one gets. Performs nothing.

A request is the msgpack array [version, request id, verb, body]; its answer is [version, request id, status,
body], where status is 0 or an errno and the body of an error is an `ErrorBody`. An event is [version, verb,
body] after a frame with the VM's topic. Register values of more than 64 bits travel as little-endian bytes.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import msgpack
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from coordinator.control.access import Standing, key_path
from coordinator.host import U64
from coordinator.machine import MachineState
from coordinator.refusal import Refusal
from coordinator.result import VmResult
from coordinator.spec import VmSpec
from hart.image import Image
from hart.spelling import nearest

VERSION = 1
MAX_MESSAGE_BYTES = 64 << 20
MAX_MEMORY_BYTES = 1 << 20
"""Of one get_memory or set_memory; the client divides larger ones."""


MAX_STEPS = 10_000
"""Of one step, for which the server waits; the client divides larger ones."""


def _register_value(value: object) -> int:
    if isinstance(value, bytes) and len(value) <= 256:
        return int.from_bytes(value, "little")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be an unsigned integer, or up to 256 little-endian bytes")


RegisterValue = Annotated[int, PlainValidator(_register_value)]
VmName = Annotated[str, Field(min_length=1, max_length=64)]
Hart = Annotated[int, Field(strict=True, ge=0, lt=1 << 16)]


class Body(BaseModel):
    """What every request and reply body is: typed, closed, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Empty(Body):
    """Nothing to say."""


class ErrorBody(Body):
    """Why a request was refused. `path` is where in the message, `n` the count that goes with E2BIG."""

    reason: str
    path: str | None = None
    n: int | None = None


class CheckExtension(Body):
    """Ask for a capability, like KVM_CHECK_EXTENSION."""

    name: str


class Capability(Body):
    """0 for one that is unknown or missing."""

    value: int


class CreateVm(Body):
    """Make a VM; with `vcpus` false it has none until create_vcpu makes each."""

    spec: VmSpec
    vcpus: bool = True


class Created(Body):
    """The VM's id, unique for ever; its owner may also use its name."""

    vm: str


class OnVm(Body):
    """A request about a VM, by id, or by name if the client knows only one VM of that name."""

    vm: VmName


class OnHart(OnVm):
    """A request about one vCPU."""

    hart: Hart


class GetOneReg(OnHart):
    """KVM_GET_ONE_REG."""

    id: U64


class Value(Body):
    """A register's value, unsigned."""

    value: RegisterValue


class SetOneReg(OnHart):
    """KVM_SET_ONE_REG."""

    id: U64
    value: RegisterValue


class GetRegList(OnHart):
    """KVM_GET_REG_LIST; `n` is the room for ids, and E2BIG brings the count needed."""

    n: Annotated[int, Field(strict=True, ge=0)]


class RegList(Body):
    """Every register of the vCPU."""

    ids: list[int]


class LoadImage(OnVm):
    """Place a program in RAM and point every hart at its entry."""

    image: Image


class WaitFor(OnVm):
    """Answered when the run is over, or with no result after `timeout_s`."""

    timeout_s: Annotated[float, Field(ge=0, le=86400)]


class StepHart(OnHart):
    """Let one hart of a paused VM execute exactly `count` instructions."""

    count: Annotated[int, Field(strict=True, ge=1, le=MAX_STEPS)] = 1


class Stepped(Body):
    """How many of them retired (one that traps does not), and where the hart then stands."""

    retired: int
    pc: int


class Status(Body):
    """Where a VM is: its state, instructions retired per hart, and the result once it has ended."""

    state: MachineState
    instret: tuple[int, ...]
    result: VmResult | None = None


class GetMemory(OnVm):
    """Read RAM."""

    address: U64
    size: Annotated[int, Field(strict=True, ge=0, le=MAX_MEMORY_BYTES)]


class Memory(Body):
    """Bytes of RAM."""

    data: bytes


class SetMemory(OnVm):
    """Write RAM."""

    address: U64
    data: Annotated[bytes, Field(strict=True, max_length=MAX_MEMORY_BYTES)]


class ProbePair(Body):
    """A hwprobe key, signed, and its value."""

    key: Annotated[int, Field(strict=True, ge=-(1 << 63), lt=1 << 63)]
    value: U64 = 0


class HwProbe(OnVm):
    """riscv_hwprobe as a guest would call it; `cpus` None stands for no CPU set."""

    pairs: Annotated[list[ProbePair], Field(max_length=4096)]
    cpus: frozenset[Hart] | None = None
    flags: U64 = 0


class HwProbed(Body):
    """The pairs and the CPU set as the call leaves them."""

    pairs: list[ProbePair]
    cpus: frozenset[int]


class DeviceTree(Body):
    """The VM's device tree, in both forms."""

    source: str
    blob: bytes


class Grant(OnVm):
    """Give another client a standing towards a VM, or take it away."""

    client: str
    standing: Literal["none", "observer", "operator", "owner"]


class Topic(Body):
    """What to subscribe to for a VM's events: unguessable, and the only subscription that is heard."""

    topic: bytes


class VmSummary(Body):
    """One line of list_vms."""

    vm: str
    name: str
    owner: str
    state: MachineState
    harts: int
    policy: str
    policy_correct: bool
    standing: str


class VmList(Body):
    """The VMs that the client knows."""

    vms: list[VmSummary]


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its bodies and the standing it takes; `needs` is None where it concerns no existing VM."""

    request: type[Body]
    reply: type[Body]
    needs: Standing | None


VERBS: dict[str, Verb] = {
    "check_extension": Verb(CheckExtension, Capability, None),
    "create_vm": Verb(CreateVm, Created, None),
    "list_vms": Verb(Empty, VmList, None),
    "create_vcpu": Verb(OnHart, Empty, Standing.OWNER),
    "get_one_reg": Verb(GetOneReg, Value, Standing.OBSERVER),
    "set_one_reg": Verb(SetOneReg, Empty, Standing.OWNER),
    "get_reg_list": Verb(GetRegList, RegList, Standing.OBSERVER),
    "load_image": Verb(LoadImage, Empty, Standing.OWNER),
    "run": Verb(OnVm, Empty, Standing.OPERATOR),
    "pause": Verb(OnVm, Empty, Standing.OPERATOR),
    "resume": Verb(OnVm, Empty, Standing.OPERATOR),
    "step": Verb(StepHart, Stepped, Standing.OPERATOR),
    "stop": Verb(OnVm, Empty, Standing.OPERATOR),
    "get_stats": Verb(OnVm, Status, Standing.OBSERVER),
    "wait": Verb(WaitFor, Status, Standing.OBSERVER),
    "get_memory": Verb(GetMemory, Memory, Standing.OBSERVER),
    "set_memory": Verb(SetMemory, Empty, Standing.OWNER),
    "hwprobe": Verb(HwProbe, HwProbed, Standing.OBSERVER),
    "get_device_tree": Verb(OnVm, DeviceTree, Standing.OBSERVER),
    "subscribe": Verb(OnVm, Topic, Standing.OBSERVER),
    "grant": Verb(Grant, Empty, Standing.OWNER),
    "destroy": Verb(OnVm, Empty, Standing.OWNER),
}


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed request."""

    id: int
    verb: str
    body: Body


class Malformed(Refusal):
    """A message that is no request. `request_id` is 0 where even that could not be read."""

    def __init__(self, number: int, reason: str, path: str, request_id: int = 0) -> None:
        super().__init__(number, reason)
        self.path = path
        self.request_id = request_id


class Envelope(NamedTuple):
    """A request whose body has not been looked at."""

    id: int
    verb: str
    body: object


def decode_request(payload: bytes) -> Request:
    """Read a request.

    Raises:
        Malformed: as `open_envelope` and `check_body`.

    """
    return check_body(open_envelope(payload))


def open_envelope(payload: bytes) -> Envelope:
    """Read a request up to its body.

    Raises:
        Malformed: EBADMSG not a msgpack array of four, EPROTO another version, ENOTTY an unknown verb (as for
            an unknown ioctl).

    """
    envelope = _unpack(payload)
    if not isinstance(envelope, list) or len(envelope) != 4:
        raise Malformed(errno.EBADMSG, "a request is an array of [version, request id, verb, body]", "$")
    version, request_id, name, body = envelope
    if not _is_u64(request_id):
        raise Malformed(errno.EBADMSG, "the request id must be an unsigned 64-bit integer", "$[1]")
    if version != VERSION:
        raise Malformed(
            errno.EPROTO, f"version {version!r}; this server speaks {VERSION}", "$[0]", request_id
        )
    if not isinstance(name, str) or name not in VERBS:
        raise Malformed(errno.ENOTTY, f"unknown verb {_brief(name)}{_hint(name, VERBS)}", "$[2]", request_id)
    return Envelope(request_id, name, body)


def check_body(envelope: Envelope) -> Request:
    """The request in the envelope.

    Raises:
        Malformed: EINVAL a body that is not the verb's, with the path of the first error.

    """
    model = VERBS[envelope.verb].request
    try:
        return Request(envelope.id, envelope.verb, model.model_validate(envelope.body))
    except ValidationError as e:
        path, reason = _first_error(e, model)
        raise Malformed(errno.EINVAL, reason, path, envelope.id) from None


def _unpack(payload: bytes) -> object:
    try:
        return msgpack.unpackb(
            payload, raw=False, strict_map_key=True, max_array_len=1 << 20, max_map_len=1 << 20, max_ext_len=0
        )
    except Exception as e:  # bytes from anyone: whatever the parser says about them, they are malformed
        raise Malformed(errno.EBADMSG, f"not msgpack: {_brief(e)}", "$") from None


def _is_u64(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _brief(value: object) -> str:
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= _BRIEF else text[: _BRIEF - 3] + "..."


def _hint(word: object, allowed: Iterable[str]) -> str:
    # Comparing spellings takes time that grows with the square of the length, and anyone may have sent this.
    close = nearest(word, allowed) if isinstance(word, str) and len(word) <= _BRIEF else ""
    return close or f"; there are {', '.join(allowed)}"


_BRIEF = 80


def _first_error(error: ValidationError, model: type[Body]) -> tuple[str, str]:
    first = error.errors(include_url=False, include_context=False)[0]
    path, reason = key_path(first["loc"])[:_BRIEF], first["msg"]
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument") and first["loc"]:
        allowed = _keys_at(model, first["loc"][:-1])
        reason = f"unknown key{_hint(first['loc'][-1], allowed)}"
    elif first["type"] not in ("missing", "model_type"):
        reason += f", not {_brief(first['input'])}"
    return path, reason


def _keys_at(model: type, location: tuple[int | str, ...]) -> list[str]:
    """The keys that a model or dataclass has at a place inside it."""
    fields: Mapping[str, object] = getattr(model, "model_fields", None) or getattr(
        model, "__pydantic_fields__", {}
    )
    if not location:
        return list(fields)
    inner = getattr(fields.get(str(location[0])), "annotation", None)
    return _keys_at(inner, location[1:]) if isinstance(inner, type) else []


def encode_request(request_id: int, verb: str, body: Body | dict[str, Any]) -> bytes:
    """The bytes of a request; a body that is no model must be plain (`coordinator.control.plain`)."""
    pack = _pack_plain if type(body) is dict else _pack
    return pack([VERSION, request_id, verb, body])


def encode_reply(request_id: int, body: Body | dict[str, Any]) -> bytes:
    """The bytes of an answer that grants the request; a body that is no model must be plain."""
    pack = _pack_plain if type(body) is dict else _pack
    return pack([VERSION, request_id, 0, body])


def encode_refusal(request_id: int, number: int, body: ErrorBody) -> bytes:
    """The bytes of an answer that refuses the request."""
    return _pack([VERSION, request_id, number, body])


def encode_event(name: str, body: Body) -> bytes:
    """The bytes of an event."""
    return _pack([VERSION, name, body])


class BadReply(ValueError):
    """What a server sent is no answer of this protocol version."""


def decode_reply(payload: bytes) -> tuple[int, int, object]:
    """Request id, status and body of an answer; the caller validates the body by its verb's reply model.

    Raises:
        BadReply: not an answer.

    """
    return _trusted(payload, 4)[1:]  # type: ignore[return-value]


def decode_event(payload: bytes) -> tuple[str, object]:
    """Name and body of an event; raises BadReply."""
    return _trusted(payload, 3)[1:]  # type: ignore[return-value]


def _trusted(payload: bytes, length: int) -> tuple[object, ...]:
    try:
        envelope = msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except Exception as e:
        raise BadReply(f"not msgpack: {_brief(e)}") from None
    if not isinstance(envelope, list) or len(envelope) != length:
        raise BadReply(f"not an array of {length}")
    if envelope[0] != VERSION:
        raise BadReply(f"version {envelope[0]!r}; this client speaks {VERSION}")
    return tuple(envelope)


_pack_plain: Callable[[object], bytes] = msgpack.Packer().pack
"""For what is plain: one packer for all, which costs less than one each time. It calls no hook, so that no thread comes
in between."""


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True, default=unfold)
    return packed


def events_endpoint(endpoint: str) -> str:
    """Where a server's events are: `PATH.events` beside an ipc endpoint, the next port beside a tcp one."""
    if endpoint.startswith("ipc://"):
        return endpoint + ".events"
    host, _, port = endpoint.rpartition(":")
    return f"{host}:{int(port) + 1}"


@cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def unfold(value: object) -> object:
    """What msgpack, or JSON, cannot say of a body in terms that it can: the `default` hook of both.

    Models and dataclasses become maps, enums their values, sets sorted arrays, integers of more than 64 bits bytes.
    """
    if isinstance(value, BaseModel):
        return value.__dict__
    if dataclasses.is_dataclass(value):
        return {name: getattr(value, name) for name in _field_names(type(value))}  # type: ignore[arg-type]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, int):
        return value.to_bytes(-(-value.bit_length() // 8), "little")
    raise TypeError(f"a body cannot hold {value!r}")
