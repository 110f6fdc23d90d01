"""The Python client of the control channel: a method per verb, typed; refusals become exceptions.

Owns request ids, time-outs and the waiting for answers. Not for use by several threads at once.

    with ControlClient("ipc:///run/user/1000/hartstorm/control") as client:
        vm = client.create_vm(VmSpec(name="demo", harts=2))
        vm.set_extensions(0, vm.get_extensions(0) - {"Zacas"})
        vm.load_image(image)
        vm.run()
        result = vm.wait(10)
"""

from __future__ import annotations

import itertools
import time
from functools import lru_cache
from typing import Any, TypeVar

import zmq
from pydantic import ValidationError

from coordinator.control.messages import (
    MAX_MEMORY_BYTES,
    MAX_STEPS,
    BadReply,
    Body,
    Capability,
    CheckExtension,
    Created,
    CreateVm,
    DeviceTree,
    Empty,
    ErrorBody,
    GetMemory,
    GetOneReg,
    GetRegList,
    Grant,
    HwProbe,
    HwProbed,
    LoadImage,
    Memory,
    OnHart,
    OnVm,
    ProbePair,
    RegList,
    SetMemory,
    SetOneReg,
    Status,
    StepHart,
    Stepped,
    Topic,
    Value,
    VmList,
    VmSummary,
    WaitFor,
    decode_event,
    decode_reply,
    encode_request,
    events_endpoint,
)
from coordinator.control.plain import Plain, is_plain_get, is_plain_set, is_plain_value
from coordinator.hwprobe import Pair
from coordinator.refusal import Refusal
from coordinator.registers import LAYOUT, Class, Ext, RegisterId
from coordinator.registers import find as find_register
from coordinator.result import VmResult
from coordinator.runtime import check_endpoint
from coordinator.spec import VmSpec
from coordinator.switching import plan
from hart.image import Image
from hart.isa.extensions import BY_KVM_ID

B = TypeVar("B", bound=Body)

_HANDSHAKE_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class NoAnswer(TimeoutError):
    """The server did not answer in time. Whether it did what was asked is unknown."""


class NotLetIn(PermissionError):
    """Over tcp: server and client do not know each other by their keys; says which of them does not."""


class RefusedByServer(Refusal):
    """The server said no. `path` is the place in the message, if it was that; `n` the count with E2BIG."""

    def __init__(self, number: int, body: ErrorBody) -> None:
        super().__init__(number, f"{body.path}: {body.reason}" if body.path else body.reason)
        self.path = body.path
        self.n = body.n


class ControlClient:
    """A connection to a control server. A context manager.

    Every method raises `RefusedByServer` where the server refuses, `NoAnswer` after `timeout_s` seconds
    without an answer, and `BadReply` for one that is not of this protocol.
    """

    def __init__(
        self,
        endpoint: str,
        timeout_s: float = 10.0,
        server_key: bytes | None = None,
        keys: tuple[bytes, bytes] | None = None,
    ) -> None:
        """Connect; the server need not be there yet.

        Args:
            endpoint: `ipc://PATH` or `tcp://HOST:PORT`.
            timeout_s: how long to wait for each answer.
            server_key: for tcp, the server's Z85 public key.
            keys: for tcp, this client's Z85 (public, secret) keys.

        Raises:
            ValueError: an ipc path that is longer than a socket's can be.

        """
        check_endpoint(endpoint)
        self.endpoint = endpoint
        self._timeout_s = timeout_s
        self._curve = (server_key, keys)
        self._ids = itertools.count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._monitor: zmq.Socket[bytes] | None = None
        self._socket = self._connected(zmq.DEALER, endpoint)
        self._patience_ms = -1
        """The socket's time-outs. Where the server has turned this client away, there is nobody to send to."""

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)

    def await_handshake(self) -> None:
        """Over tcp, wait until the server has let this client in; needed by nobody who can wait for an answer instead.

        Raises:
            NotLetIn: it did not; says why.
            NoAnswer: it did neither within `timeout_s`.

        """
        if self._monitor is None:
            return
        if not self._monitor.poll(int(1000 * self._timeout_s)):
            raise NoAnswer(f"{self.endpoint}: no handshake")
        from zmq.utils.monitor import (
            recv_monitor_message,
        )  # here, because it loads asyncio, and only tcp needs it

        match recv_monitor_message(self._monitor)["event"]:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise NotLetIn(f"{self.endpoint}: the server knows no client with this key")
            case _:
                raise NotLetIn(f"{self.endpoint}: no server that has this server key")

    def call(self, verb: str, body: Body, reply: type[B], timeout_s: float | None = None) -> B:
        """Send a request and wait for its answer."""
        content = self._exchange(verb, body, timeout_s)
        try:
            return reply.model_validate(content)
        except ValidationError as e:
            raise self._bad_reply(verb, e) from None

    def get_one_reg(self, vm: str, hart: int, register: int) -> int:
        """KVM_GET_ONE_REG, as `RemoteVm.get_one_reg`."""
        body = {"vm": vm, "hart": hart, "id": register}
        if not is_plain_get(body):
            GetOneReg.model_validate(body)  # says what is wrong
        content = self._exchange("get_one_reg", body)
        if is_plain_value(content):
            return int(content["value"])
        try:
            return Value.model_validate(content).value
        except ValidationError as e:
            raise self._bad_reply("get_one_reg", e) from None

    def set_one_reg(self, vm: str, hart: int, register: int, value: int) -> None:
        """KVM_SET_ONE_REG, as `RemoteVm.set_one_reg`."""
        body = {"vm": vm, "hart": hart, "id": register, "value": value}
        if not is_plain_set(body):
            SetOneReg.model_validate(body)  # a long value, or it says what is wrong
        content = self._exchange("set_one_reg", body)
        if content != {}:
            raise self._bad_reply("set_one_reg", f"{content!r} is not empty")

    def _bad_reply(self, verb: str, why: object) -> BadReply:
        return BadReply(f"{self.endpoint}: answer to {verb}: {why}")

    def _exchange(self, verb: str, body: Body | Plain, timeout_s: float | None = None) -> Any:
        """Send a request and wait for its answer; gives the body, unchecked."""
        request_id = next(self._ids)
        patience_ms = int(1000 * (self._timeout_s if timeout_s is None else timeout_s))
        deadline = time.monotonic() + patience_ms / 1000
        try:
            self._wait_at_most(patience_ms)
            self._socket.send(encode_request(request_id, verb, body))
            answered, number, content = decode_reply(self._socket.recv())
            while answered != request_id:  # late, to a request that was given up
                self._wait_at_most(max(0, int(1000 * (deadline - time.monotonic()))))
                answered, number, content = decode_reply(self._socket.recv())
        except zmq.Again:
            raise NoAnswer(f"{self.endpoint}: no answer to {verb}") from None
        if not number:
            return content
        try:
            raise RefusedByServer(number, ErrorBody.model_validate(content))
        except ValidationError as e:
            raise self._bad_reply(verb, e) from None

    def _wait_at_most(self, patience_ms: int) -> None:
        if patience_ms != self._patience_ms:
            self._socket.setsockopt(zmq.RCVTIMEO, patience_ms)
            self._socket.setsockopt(zmq.SNDTIMEO, patience_ms)
            self._patience_ms = patience_ms

    def check_extension(self, name: str) -> int:
        """A capability's value; 0 for one that the server lacks or does not know."""
        return self.call("check_extension", CheckExtension(name=name), Capability).value

    def create_vm(self, spec: VmSpec, vcpus: bool = True) -> RemoteVm:
        """Make a VM, with all its vCPUs or with none."""
        return RemoteVm(self, self.call("create_vm", CreateVm(spec=spec, vcpus=vcpus), Created).vm)

    def list_vms(self) -> list[VmSummary]:
        """The VMs that this client knows."""
        return self.call("list_vms", Empty(), VmList).vms

    def vm(self, name_or_id: str) -> RemoteVm:
        """A VM that exists; whether it does shows with the first request."""
        return RemoteVm(self, name_or_id)

    def subscription(self, topic: bytes) -> zmq.Socket[bytes]:
        """A SUB socket that hears one topic."""
        socket = self._connected(zmq.SUB, events_endpoint(self.endpoint))
        socket.setsockopt(zmq.SUBSCRIBE, topic)
        return socket

    def _connected(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        server_key, keys = self._curve
        if server_key is not None and keys is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, keys[0])
            socket.setsockopt(zmq.CURVE_SECRETKEY, keys[1])
            if kind == zmq.DEALER:
                self._monitor = socket.get_monitor_socket(_HANDSHAKE_EVENTS)
        socket.connect(endpoint)
        return socket


class RemoteVm:
    """A VM behind a control server; `id` is its name or id there."""

    def __init__(self, client: ControlClient, name_or_id: str) -> None:
        self.id = name_or_id
        self._client = client

    def create_vcpu(self, hart: int) -> None:
        """Make a hart's vCPU, in a VM made without."""
        self._client.call("create_vcpu", OnHart(vm=self.id, hart=hart), Empty)

    def get_one_reg(self, hart: int, register: int | str) -> int:
        """A register's value, by id or name (`core.a0`)."""
        return self._client.get_one_reg(self.id, hart, _number(register))

    def set_one_reg(self, hart: int, register: int | str, value: int) -> None:
        """Set a register, by id or name."""
        self._client.set_one_reg(self.id, hart, _number(register), value)

    def get_reg_list(self, hart: int) -> list[int]:
        """The ids of all registers of the vCPU."""
        try:
            return self._reg_list(hart, 0)
        except RefusedByServer as e:
            if e.n is None:
                raise
            return self._reg_list(hart, e.n)

    def get_extensions(self, hart: int) -> frozenset[str]:
        """Names of the extensions that are on, of those with a KVM id."""
        on: set[str] = set()
        for word in range(len(LAYOUT[Class.ISA_EXT, Ext.MULTI_EN])):
            bits = self.get_one_reg(hart, RegisterId(Class.ISA_EXT, Ext.MULTI_EN, word, 8).encode())
            on |= {row.name for i, row in BY_KVM_ID.items() if i // 64 == word and bits >> i % 64 & 1}
        return frozenset(on)

    def set_extensions(self, hart: int, wanted: frozenset[str]) -> None:
        """Switch extensions on and off, one SET each, until those with a KVM id are the wanted ones."""
        for row, on in plan(self.get_extensions(hart), wanted):
            self.set_one_reg(hart, RegisterId(Class.ISA_EXT, Ext.SINGLE, row.kvm or 0, 8).encode(), int(on))

    def load_image(self, image: Image) -> None:
        """Place a program in RAM."""
        self._client.call("load_image", LoadImage(vm=self.id, image=image), Empty)

    def run(self) -> None:
        """Start the harts."""
        self._do("run")

    def pause(self) -> None:
        """Bring every hart to a safepoint."""
        self._do("pause")

    def resume(self) -> None:
        """Go on after a pause."""
        self._do("resume")

    def step(self, hart: int, count: int = 1) -> Stepped:
        """Let one hart of a paused VM execute exactly `count` instructions; it is paused again afterwards.

        An instruction that traps counts, and its handler is not begun: fewer retire. None do if the hart has ended.
        Beyond MAX_STEPS it goes in several pieces.
        """
        retired = 0
        while True:
            piece = min(count, MAX_STEPS)
            body = StepHart(vm=self.id, hart=hart, count=piece)
            done = self._client.call("step", body, Stepped)
            retired += done.retired
            count -= piece
            if not count:
                return Stepped(retired=retired, pc=done.pc)

    def stop(self) -> None:
        """End the run."""
        self._do("stop")

    def get_stats(self) -> Status:
        """State, instructions retired, and the result if the run is over."""
        return self._client.call("get_stats", OnVm(vm=self.id), Status)

    def wait(self, timeout_s: float) -> VmResult | None:
        """The result once the run is over, or None after `timeout_s`."""
        body = WaitFor(vm=self.id, timeout_s=timeout_s)
        return self._client.call("wait", body, Status, timeout_s + self._client._timeout_s).result

    def get_memory(self, address: int, size: int) -> bytes:
        """Read RAM; beyond MAX_MEMORY_BYTES in several pieces, so not in one instant."""
        return b"".join(
            self._client.call(
                "get_memory", GetMemory(vm=self.id, address=address + at, size=length), Memory
            ).data
            for at, length in _pieces(size)
        )

    def set_memory(self, address: int, data: bytes) -> None:
        """Write RAM; beyond MAX_MEMORY_BYTES in several pieces."""
        for at, length in _pieces(len(data)):
            piece = SetMemory(vm=self.id, address=address + at, data=data[at : at + length])
            self._client.call("set_memory", piece, Empty)

    def hwprobe(
        self, pairs: list[Pair], cpus: frozenset[int] | None = None, flags: int = 0
    ) -> tuple[list[Pair], frozenset[int]]:
        """riscv_hwprobe as the VM's guest would call it; see `coordinator.hwprobe`."""
        asked = [ProbePair(key=p.key, value=p.value) for p in pairs]
        body = HwProbe(vm=self.id, pairs=asked, cpus=cpus, flags=flags)
        answer = self._client.call("hwprobe", body, HwProbed)
        return [Pair(p.key, p.value) for p in answer.pairs], answer.cpus

    def get_device_tree(self) -> DeviceTree:
        """The device tree as its guest would see it."""
        return self._client.call("get_device_tree", OnVm(vm=self.id), DeviceTree)

    def grant(self, client: str, standing: str) -> None:
        """Give a client a standing: none, observer, operator, owner."""
        self._client.call(
            "grant", Grant.model_validate({"vm": self.id, "client": client, "standing": standing}), Empty
        )

    def destroy(self) -> None:
        """End it and free all it holds."""
        self._do("destroy")

    def events(self) -> Events:
        """Listen to what happens to the VM from now on."""
        topic = self._client.call("subscribe", OnVm(vm=self.id), Topic).topic
        return Events(self._client.subscription(topic))

    def _do(self, verb: str) -> None:
        self._client.call(verb, OnVm(vm=self.id), Empty)

    def _reg_list(self, hart: int, n: int) -> list[int]:
        return self._client.call("get_reg_list", GetRegList(vm=self.id, hart=hart, n=n), RegList).ids


class Events:
    """A VM's events. A context manager."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def next(self, timeout_s: float) -> tuple[str, Status | ErrorBody] | None:
        """The next event, (`state`, where it is) or (`gone`, why), or None after `timeout_s`."""
        if not self._socket.poll(int(1000 * timeout_s)):
            return None
        _, payload = self._socket.recv_multipart()
        name, body = decode_event(payload)
        return name, (ErrorBody if name == "gone" else Status).model_validate(body)


def _pieces(size: int) -> list[tuple[int, int]]:
    """(offset, length) of the pieces in which `size` bytes travel; one, if there are none."""
    return [(at, min(MAX_MEMORY_BYTES, size - at)) for at in range(0, max(size, 1), MAX_MEMORY_BYTES)]


def _number(register: int | str) -> int:
    return register if isinstance(register, int) else _id(register)


@lru_cache(maxsize=1024)
def _id(name: str) -> int:
    return find_register(name).encode()
