import random
from pathlib import Path

import pytest
from direct_bus import BASE, DirectBus

from bus.access import AmoOp, Order
from bus.messages import Kind
from bus.order_log import OrderLog, OrderLogError, OrderRecord, read_order_log


def record(request, after=1):
    return OrderRecord(0, request, Kind.AMO, BASE, 16, 3, (1 << 128) - 1, after, 0)


def test_what_is_appended_is_read_back(tmp_path):
    log = OrderLog(tmp_path / "log")
    records = [record(1), record(2, 1 << 127), record(3, 0)]
    for r in records:
        log.append(r)
    assert list(read_order_log(tmp_path / "log")) == records
    log.close()
    assert OrderLog(tmp_path / "log").last == records[-1]


def test_a_torn_record_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "log"
    log = OrderLog(path)
    log.append(record(1))
    whole = path.read_bytes()
    log.append(record(2))
    log.close()
    full = path.read_bytes()
    for length in range(len(whole), len(full)):
        path.write_bytes(full[:length])
        assert list(read_order_log(path)) == [record(1)]
        log = OrderLog(path)
        assert log.last == record(1)
        log.append(record(9))
        log.close()
        assert list(read_order_log(path)) == [record(1), record(9)]


def test_the_last_record_can_be_taken_back(tmp_path):
    log = OrderLog(tmp_path / "log")
    log.append(record(1))
    log.append(record(2))
    log.drop_last()
    log.append(record(3))
    assert list(read_order_log(tmp_path / "log")) == [record(1), record(3)]


@pytest.mark.parametrize("content", [b"\xc1", b"hello there", b"\x92\xb0hartstorm order\x63", b"\x00"])
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    path = Path(tmp_path / "log")
    path.write_bytes(content)
    with pytest.raises(OrderLogError, match="not an order log"):
        list(read_order_log(path))
    with pytest.raises(OrderLogError, match="not an order log"):
        OrderLog(path)
    assert path.read_bytes() == content


def test_the_order_is_total_and_explains_every_value(tmp_path):
    """Also of plain stores: with a log, every granule is tracked from the start."""
    bus = DirectBus(log=tmp_path / "log")
    dice = random.Random(7)
    done = []
    for _ in range(300):
        port = dice.choice(bus.ports)
        size = dice.choice((4, 8))
        address = BASE + 8 * dice.randrange(4)
        value = dice.getrandbits(8 * size)
        match dice.randrange(5):
            case 0:
                port.store(address, size, value)
                done.append(Kind.STORE)
            case 1:
                port.amo(dice.choice(list(AmoOp)), address, size, value, Order.AQRL)
                done.append(Kind.AMO)
            case 2:
                port.load_reserved(address, size, Order.NONE)
                done.append(Kind.LR)
            case 3:
                port.store_conditional(address, size, value, Order.NONE)
                done.append(Kind.SC)
            case 4:
                port.compare_and_swap(address, size, port.load(address, size), value, Order.RL)
                done.append(Kind.CAS)
    memory = bytearray(64)
    records = list(read_order_log(tmp_path / "log"))
    for r in records:
        at = slice(r.address - BASE, r.address - BASE + r.size)
        assert int.from_bytes(memory[at], "little") == r.before
        memory[at] = r.after.to_bytes(r.size, "little")
        assert r.before == r.after or not r.failure
    assert [r.kind for r in records] == done
    assert bytes(memory) == bus.segment.memory.read(BASE, 64)
    assert any(r.failure for r in records)
    assert any(r.kind == Kind.SC and not r.failure for r in records)
