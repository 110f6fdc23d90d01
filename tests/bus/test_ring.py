import random
import threading

import pytest

from bus.layout import PAGE
from bus.ring import RingReader, RingWriter


@pytest.fixture
def ends():
    area = memoryview(bytearray(PAGE))
    return RingWriter(area), RingReader(area), PAGE - 16


def never():
    return False


def test_what_is_written_is_read_once_in_order(ends):
    writer, reader, _ = ends
    assert writer.write(b"abc", never)
    assert writer.write(b"def", never)
    assert reader.read() == b"abcdef"
    assert reader.read() == b""


def test_it_wraps_at_every_position(ends):
    writer, reader, size = ends
    for length in (1, size - 1, size, 3):
        for _ in range(5):
            data = random.randbytes(length)
            assert writer.write(data, never)
            assert reader.read() == data


def test_what_is_taken_in_place_is_whole_and_frees_its_space_afterwards(ends):
    writer, reader, size = ends
    writer.write(bytes(size - 4), never)
    reader.read()
    data = random.randbytes(size)
    writer.write(data, never)
    with reader.taken() as (first, second):
        assert (len(first), len(second)) == (4, size - 4)
        assert bytes(first) + bytes(second) == data
        assert not writer.write(b"x", lambda: True)
    assert writer.write(b"x", never)
    assert reader.read() == b"x"


def test_more_than_its_size_goes_through_while_someone_reads(ends):
    writer, reader, size = ends
    data = random.Random(1).randbytes(20 * size + 7)
    thread = threading.Thread(target=writer.write, args=(data, never))
    thread.start()
    out = b""
    while len(out) < len(data):
        out += reader.read()
    thread.join()
    assert out == data


def test_a_full_ring_is_given_up_on_request_and_stays_whole(ends):
    writer, reader, size = ends
    assert not writer.write(b"x" * (size + 5), lambda: True)
    assert reader.read() == b"x" * size
    assert writer.write(b"y", never)
    assert reader.read() == b"y"
