"""Random bytes and mutated messages at a live bus, while a valid client is served: nothing dies, its sums are exact."""

import random
import secrets
import threading

import msgpack
import pytest
import zmq
from live_bus import BASE, LiveBus

from bus.access import AmoOp, Order
from bus.messages import CATALOGUE, VERSION, Kind, encode_request

EDGES = (
    0,
    1,
    2,
    3,
    8,
    16,
    63,
    255,
    1 << 31,
    BASE - 1,
    BASE,
    BASE + 1,
    BASE + 64,
    BASE + 0x3FF8,
    (1 << 64) - 1,
)
CLIENT_CELL = BASE + 0x2000  # in a page of its own: a fuzzer that holds a token may write where it likes
FUZZED = (Kind.JOIN, Kind.LEAVE, Kind.HART_GONE)


def random_field(dice):
    return dice.choice(
        (
            dice.choice(EDGES),
            dice.getrandbits(64),
            dice.randrange(20),
            -1,
            None,
            "x",
            1.5,
            [],
            True,
            b"\0" * 90,
        )
    )


def message(dice):
    """Bytes that nobody should send, or a valid message, or one near it."""
    style = dice.randrange(5)
    if style == 0:
        return dice.randbytes(dice.randrange(200))
    kind = dice.choice([k for k in Kind if k not in FUZZED])
    fields = [dice.choice(EDGES) for _ in CATALOGUE[kind].fields]
    if kind in (Kind.STORE, Kind.AMO, Kind.CAS, Kind.SC, Kind.EXTERNAL_WRITE):
        fields[fields.index(max(fields))] = BASE + 8 * dice.randrange(16)
    data = encode_request(kind, dice.randrange(1, 1 << 20), *fields)
    if style == 1:
        return data
    if style == 2:
        return msgpack.packb([random_field(dice) for _ in range(dice.randrange(10))])
    mutable = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        if style == 3:
            mutable[dice.randrange(len(mutable))] = dice.randrange(256)
        else:
            at = dice.randrange(len(mutable) + 1)
            mutable[at:at] = dice.randbytes(dice.randrange(4))
    return bytes(mutable)


def fuzz(bus, count, seed):
    dice = random.Random(seed)
    token = bus.spec.hart_tokens[1]
    with bus.raw(token) as known, bus.raw(secrets.token_bytes(8)) as stranger, bus.raw(b"h") as short:
        known.send(encode_request(Kind.JOIN, 1, VERSION, 1))
        known.recv()
        for i in range(count):
            socket = dice.choice((known, known, known, stranger, short))
            frames = [message(dice)]
            if not dice.randrange(10):
                frames = [message(dice) for _ in range(dice.randrange(1, 5))]
            socket.send_multipart(frames)
            if i % 50 == 0:
                for each in (known, stranger, short):
                    while each.poll(0):
                        each.recv_multipart()
        # Dead for good: whatever it promised about quiescence no longer counts.
        bus.coordinator.call(Kind.HART_GONE, 1)


def run(tmp_path, count, seed):
    bus = LiveBus(tmp_path)
    try:
        port = bus.port(0)
        done = threading.Event()

        def attack():
            try:
                fuzz(bus, count, seed)
            finally:
                done.set()

        attacker = threading.Thread(target=attack)
        attacker.start()
        sums = 0
        while not done.is_set() or sums < 100:
            before = bus.segment.memory.load(CLIENT_CELL, 8)
            assert port.amo(AmoOp.ADD, CLIENT_CELL, 8, 3, Order.NONE) == before
            sums += 1
        attacker.join()
        assert bus.segment.memory.load(CLIENT_CELL, 8) == 3 * sums
        assert bus.coordinator.call(Kind.PING) == [VERSION]
        assert bus.serving
    finally:
        bus.close()


def test_10_000_messages(tmp_path):
    run(tmp_path, 10_000, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 42))
def test_400_000_messages(tmp_path, seed):
    run(tmp_path, 10_000, seed)


def test_a_peer_that_speaks_no_zeromq_harms_nobody(tmp_path):
    import socket

    bus = LiveBus(tmp_path)
    try:
        dice = random.Random(5)
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(f"{tmp_path}/bus")
                raw.sendall(dice.randbytes(dice.randrange(300)))
        context = zmq.Context()
        for kind in (zmq.PUSH, zmq.SUB, zmq.PAIR, zmq.REQ):
            other = context.socket(kind)
            other.connect(bus.spec.endpoint)
        assert bus.coordinator.call(Kind.PING) == [VERSION]
        context.destroy(0)
    finally:
        bus.close()
