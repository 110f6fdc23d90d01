"""The control server: sockets, the loop that serves them, deferred answers and events.

Owns the sockets and the clock of the control channel. One thread does everything, so the VMs need no locks.
Decides nothing about VMs (`coordinator.control.verbs`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85

from coordinator.control.access import LOCAL, Client, Keyring, Standing
from coordinator.control.messages import (
    MAX_MESSAGE_BYTES,
    ErrorBody,
    Malformed,
    WaitFor,
    check_body,
    encode_event,
    encode_refusal,
    encode_reply,
    events_endpoint,
    open_envelope,
)
from coordinator.control.registry import Vm
from coordinator.control.verbs import Hypervisor, TooSmall, perform, perform_plain, status
from coordinator.machine import Machine, MachineState
from coordinator.refusal import Refusal
from coordinator.runtime import check_endpoint
from coordinator.spec import VmSpec

log = logging.getLogger(__name__)

_ZAP_DOMAIN = b"hartstorm"
_HANDSHAKE_MS = 5_000
_KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 5,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 2,
}
"""Seconds until a silent peer is asked whether it lives, between two questions, and how many stay unanswered."""
_SEND_QUEUE = 256
"""Answers kept for a client that does not read; beyond that they are dropped."""
_RECEIVE_QUEUE = 16
"""Requests taken in from one client ahead of the one that is served; the rest wait on its side."""
_MORE = zmq.NOBLOCK | zmq.SNDMORE
_MAX_WAITERS_PER_CLIENT = 1_000
_LONGEST_WAIT_S = 0.5
"""A signal that arrives just before a wait is handled only after it, so no wait is for ever."""
_WATCH_INTERVAL_S = 0.005
"""However many requests come, running VMs are asked no more often than this whether they have ended."""
_AT_ONCE = 16
"""Requests taken from one socket before the others' turn; whose they are, ZeroMQ decides by turns."""
_STAY_MS = 1
"""How long a socket that just had a request is waited on alone for the next, while others wait."""
_STAY_S = 0.002
"""How long it is served alone, however many requests it has."""
_QUIET = frozenset({"get_one_reg", "set_one_reg"})
"""Verbs that change no VM's state, and that clients send by the thousand: nothing is looked at after one."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What a tcp endpoint needs: the server's Z85 secret key, and the clients it lets in."""

    secret_key: bytes
    keyring: Keyring


class _Peer(NamedTuple):
    """Where an answer goes."""

    socket: zmq.Socket[bytes]
    route: tuple[bytes, ...]
    client: Client


@dataclass(frozen=True, slots=True)
class _Waiter:
    peer: _Peer
    request_id: int
    vm: Vm
    deadline: float


class ControlServer:
    """Serves VMs on an `ipc://` endpoint and, with keys, a `tcp://` one. A context manager.

    Events are published beside each endpoint: at `events_endpoint(endpoint)`.
    """

    def __init__(
        self,
        create_machine: Callable[[VmSpec], Machine],
        endpoint: str | None = None,
        tcp_endpoint: str | None = None,
        curve: Curve | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind the sockets; `serve` then does the work, in whichever thread calls it.

        Args:
            create_machine: makes the VM of a spec.
            endpoint: `ipc://PATH`; PATH's directory is created with mode 0700, must have that mode, and
                belongs to one server at a time.
            tcp_endpoint: `tcp://ADDRESS:PORT`.
            curve: keys, required by and only for `tcp_endpoint`.
            clock: seconds, for tests.

        Raises:
            ValueError: an endpoint of the wrong kind or too long, tcp without keys, or a directory that others can
                enter; the message names it.
            zmq.ZMQError: an endpoint that cannot be bound.

        """
        if tcp_endpoint is not None and curve is None:
            raise ValueError(f"{tcp_endpoint}: a tcp endpoint needs CURVE keys")
        if endpoint is None and tcp_endpoint is None:
            raise ValueError("nothing to serve on: give an ipc or a tcp endpoint")
        keyring = curve.keyring if curve else Keyring({})

        def create(spec: VmSpec) -> Machine:
            machine = create_machine(spec)
            machine.notify(self._poke)
            return machine

        self.hypervisor = Hypervisor(create, keyring)
        self._clock = clock
        self._waiters: list[_Waiter] = []
        self._states: dict[str, MachineState] = {}
        self._paths: list[Path] = []
        self._locks: list[int] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._handlers: dict[zmq.Socket[bytes], Callable[[zmq.Socket[bytes]], None]] = {}
        self._publishers: list[zmq.Socket[bytes]] = []
        self._routers: set[zmq.Socket[bytes]] = set()
        self._wake = self._socket(zmq.PULL, self._drain)
        self._wake.bind("inproc://wake")
        self._next_look = 0.0
        self._patience_ms = 0
        self._stirred = True
        """Whether something happened that can change a VM's state or a wait."""
        self._stopping = False
        try:
            if endpoint is not None:
                self._bind_ipc(endpoint)
            if tcp_endpoint is not None and curve is not None:
                self._bind_tcp(tcp_endpoint, curve)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ControlServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def serve(self) -> None:
        """Serve until `stop`; then destroy every VM."""
        try:
            while not self._stopping:
                arrived = self._poller.poll(self._patience_ms)
                for socket, _ in arrived:
                    self._take(socket)
                if len(arrived) == 1:
                    self._stay_with(arrived[0][0])
                if self._stirred or not arrived or self._clock() >= self._next_look:
                    self._look_at_vms()
        finally:
            for vm in self.hypervisor.vms:
                self._give_up(vm, errno.ESHUTDOWN, "the server is going down")

    def _take(self, socket: zmq.Socket[bytes]) -> None:
        """Serve what waits at a socket, up to a limit: under a flood, polling after each would take as long again."""
        self._handlers[socket](socket)
        if socket in self._routers:
            for _ in range(_AT_ONCE - 1):
                if self._stopping or not int(socket.get(zmq.EVENTS)) & zmq.POLLIN:
                    return
                self._handlers[socket](socket)

    def _stay_with(self, socket: zmq.Socket[bytes]) -> None:
        """Serve one socket alone for a moment, as long as it has requests: it takes fewer system calls than polling."""
        if socket not in self._routers:
            return
        handler, end = self._handlers[socket], self._clock() + _STAY_S
        with contextlib.suppress(zmq.Again):
            while not self._stirred and not self._stopping and self._clock() < end:
                handler(socket)

    def stop(self) -> None:
        """Make `serve` return; may be called from any thread, and from a signal handler."""
        self._stopping = True
        self._poke()

    def close(self) -> None:
        """Close the sockets and remove their files. Idempotent."""
        for socket in self._handlers:
            socket.close(linger=200)
        self._context.term()
        for path in self._paths:
            path.unlink(missing_ok=True)
        for lock in self._locks:
            os.close(lock)
        self._paths, self._locks = [], []

    def _poke(self) -> None:
        """Have the loop look around; any thread."""
        with (
            contextlib.suppress(zmq.ZMQError),
            self._context.socket(zmq.PUSH) as waker,
        ):  # it may be closed by now
            waker.connect("inproc://wake")
            waker.send(b"")

    # Sockets

    def _router(self, handler: Callable[[zmq.Socket[bytes]], None]) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.ROUTER, handler)
        socket.setsockopt(zmq.RCVTIMEO, _STAY_MS)
        self._routers.add(socket)
        return socket

    def _socket(self, kind: int, handler: Callable[[zmq.Socket[bytes]], None]) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.SNDHWM, _SEND_QUEUE)
        socket.setsockopt(zmq.RCVHWM, _RECEIVE_QUEUE)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        self._poller.register(socket, zmq.POLLIN)
        self._handlers[socket] = handler
        return socket

    def _publisher(self) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.XPUB, self._on_subscription)
        # Only what `_on_subscription` lets through is subscribed.
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        self._publishers.append(socket)
        return socket

    def _bind_ipc(self, endpoint: str) -> None:
        if not endpoint.startswith("ipc://"):
            raise ValueError(f"{endpoint}: a local endpoint begins with ipc://")
        check_endpoint(events_endpoint(endpoint))
        path = Path(endpoint.removeprefix("ipc://"))
        self._locks.append(_private_directory(path.parent))
        router = self._router(self._on_local)
        for socket, place in ((router, endpoint), (self._publisher(), events_endpoint(endpoint))):
            socket.bind(place)
            self._paths.append(Path(place.removeprefix("ipc://")))

    def _bind_tcp(self, endpoint: str, curve: Curve) -> None:
        if not endpoint.startswith("tcp://"):
            raise ValueError(f"{endpoint}: a remote endpoint begins with tcp://")
        check_endpoint(endpoint)
        self._socket(zmq.REP, self._on_handshake).bind("inproc://zeromq.zap.01")
        router = self._router(self._on_remote)
        for socket, place in ((router, endpoint), (self._publisher(), events_endpoint(endpoint))):
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret_key)
            socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
            # Peers that are gone without a word are found by TCP. ZeroMQ's own heartbeats can abort the process: libzmq
            # 4.3.5 pings a peer although it found the connection broken, where it had stopped to take more in from it.
            for option, value in _KEEPALIVE.items():
                socket.setsockopt(option, value)
            socket.bind(place)

    def _timeout_ms(self) -> int:
        running = [vm for vm in self.hypervisor.vms if vm.machine.state is MachineState.RUNNING]
        waits = [vm.machine.spec.watch.poll_interval_s for vm in running]
        waits += [max(0.0, w.deadline - self._clock()) for w in self._waiters]
        return int(min((_LONGEST_WAIT_S, *waits)) * 1000) + 1

    # Requests

    def _on_local(self, socket: zmq.Socket[bytes]) -> None:
        frames = [socket.recv()]
        while socket.get(zmq.RCVMORE):  # recv_multipart does the same in twice the time
            frames.append(socket.recv())
        self._on_request(socket, frames, LOCAL)

    def _on_remote(self, socket: zmq.Socket[bytes]) -> None:
        frames = socket.recv_multipart(copy=False)
        name = str(frames[-1].get("User-Id"))
        client = self.hypervisor.keyring.by_name(name)
        assert client is not None, f"the handshake let in {name!r}"
        self._on_request(socket, [frame.bytes for frame in frames], client)

    def _on_request(self, socket: zmq.Socket[bytes], frames: list[bytes], client: Client) -> None:
        # A REQ client's empty delimiter goes back where it came from.
        delimited = len(frames) > 2 and not frames[1]
        peer = _Peer(socket, tuple(frames[: 2 if delimited else 1]), client)
        payload = frames[1] if len(frames) == 2 else b"".join(frames[len(peer.route) :])
        request_id, verb = 0, "request"
        try:
            envelope = open_envelope(payload)
            request_id, verb, body = envelope
            plain = perform_plain(self.hypervisor, client, verb, body)
            if plain is not None:
                _send(peer, encode_reply(request_id, plain))
                return
            request = check_body(envelope)
            self._stirred |= verb not in _QUIET
            if isinstance(request.body, WaitFor):
                self._wait(peer, request_id, request.body)
            else:
                reply = perform(self.hypervisor, client, verb, request.body)
                _send(peer, encode_reply(request_id, reply))
        except Malformed as e:
            _refuse(peer, e.request_id, e.number, ErrorBody(reason=e.reason, path=e.path))
        except Refusal as e:
            n = e.n if isinstance(e, TooSmall) else None
            _refuse(peer, request_id, e.number, ErrorBody(reason=e.reason, n=n))
        except Exception:  # a bug costs its request an error, never the other clients their server
            log.exception("%s", verb)
            body = ErrorBody(reason="internal error; the server's log has the details")
            _refuse(peer, request_id, errno.EIO, body)

    def _wait(self, peer: _Peer, request_id: int, body: WaitFor) -> None:
        vm = self.hypervisor.vms.find(peer.client, body.vm, Standing.OBSERVER)
        if sum(w.peer.client == peer.client for w in self._waiters) >= _MAX_WAITERS_PER_CLIENT:
            raise Refusal(errno.EAGAIN, f"you have {_MAX_WAITERS_PER_CLIENT} waits going on")
        self._waiters.append(_Waiter(peer, request_id, vm, self._clock() + body.timeout_s))

    # VMs

    def _look_at_vms(self) -> None:
        now = self._clock()
        watch = now >= self._next_look
        if watch:
            self._next_look = now + _WATCH_INTERVAL_S
        self._stirred = False
        for vm in self.hypervisor.vms:
            try:
                if watch and vm.machine.state is MachineState.RUNNING:
                    vm.machine.wait(0)
                if self._states.get(vm.id) is not vm.machine.state:
                    self._states[vm.id] = vm.machine.state
                    self._publish(vm, encode_event("state", status(vm)))
            except Exception:
                log.exception("VM %s", vm.name)
                self._give_up(vm, errno.EIO, "internal error; the server's log has the details")
        for waiter in [w for w in self._waiters if self._due(w, now)]:
            self._waiters.remove(waiter)
            if self.hypervisor.vms.holds(waiter.vm):
                _send(waiter.peer, encode_reply(waiter.request_id, status(waiter.vm)))
            else:
                reason = ErrorBody(reason=f"VM {waiter.vm.name} was destroyed")
                _refuse(waiter.peer, waiter.request_id, errno.ENODEV, reason)
        for gone in self._states.keys() - {vm.id for vm in self.hypervisor.vms}:
            del self._states[gone]
        self._patience_ms = self._timeout_ms()

    def _due(self, waiter: _Waiter, now: float) -> bool:
        ended = waiter.vm.machine.state is MachineState.ENDED
        return now >= waiter.deadline or not self.hypervisor.vms.holds(waiter.vm) or ended

    def _give_up(self, vm: Vm, number: int, reason: str) -> None:
        """Destroy a VM on the server's own account, and say so."""
        self.hypervisor.vms.remove(vm)
        try:
            vm.machine.destroy()
        except Exception:
            log.exception("destroying VM %s", vm.name)
        self._publish(vm, encode_event("gone", ErrorBody(reason=reason)))
        for waiter in [w for w in self._waiters if w.vm is vm]:
            self._waiters.remove(waiter)
            _refuse(waiter.peer, waiter.request_id, number, ErrorBody(reason=reason))

    # Events, handshakes, waking up

    def _publish(self, vm: Vm, event: bytes) -> None:
        for publisher in self._publishers:
            publisher.send_multipart([vm.topic, event], zmq.NOBLOCK)

    def _on_subscription(self, socket: zmq.Socket[bytes]) -> None:
        message = socket.recv()
        topic = message[1:]
        if message[:1] == b"\x00":
            socket.setsockopt(zmq.UNSUBSCRIBE, topic)
        elif any(vm.topic == topic for vm in self.hypervisor.vms):
            socket.setsockopt(zmq.SUBSCRIBE, topic)

    def _on_handshake(self, socket: zmq.Socket[bytes]) -> None:
        """Answer a ZAP request (RFC 27): whose key is this?"""
        frames = socket.recv_multipart()
        _, request_id, domain, _, _, mechanism, *credentials = [*frames, *[b""] * (7 - len(frames))]
        client = None
        if domain == _ZAP_DOMAIN and mechanism == b"CURVE" and len(credentials[0]) == 32:
            client = self.hypervisor.keyring.clients.get(z85.encode(credentials[0]).decode())
        code, text = (b"200", b"OK") if client else (b"400", b"unknown key")
        name = client.name.encode() if client else b""
        socket.send_multipart([b"1.0", request_id, code, text, name, b""])

    def _drain(self, socket: zmq.Socket[bytes]) -> None:
        socket.recv()
        self._stirred = True


def _private_directory(directory: Path) -> int:
    """Make or check the directory, and claim it for this server until the returned descriptor is closed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = directory.stat()
    if facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise ValueError(
            f"{directory}: must belong to you and have mode 0700, or others could command your VMs"
        )
    lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # ZeroMQ would take the socket file over from a living server without a word.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ValueError(f"{directory}: another server serves here") from None
    return lock


def _refuse(peer: _Peer, request_id: int, number: int, body: ErrorBody) -> None:
    _send(peer, encode_refusal(request_id, number, body))


def _send(peer: _Peer, payload: bytes) -> None:
    # ROUTER drops what a slow or dead client does not take: it never blocks here.
    for frame in peer.route:
        peer.socket.send(frame, _MORE)
    peer.socket.send(payload, zmq.NOBLOCK)
