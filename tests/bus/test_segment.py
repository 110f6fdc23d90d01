import os
import stat
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from bus.layout import PAGE, Geometry, Hart, Header
from bus.segment import Segment, SegmentError, new_name, unlink

GEOMETRY = Geometry(harts=3, ram_bytes=4 * PAGE, ram_base=0x4000_0000, granule_exp=4, ring_bytes=PAGE)


@pytest.fixture
def segment():
    segment = Segment.create(GEOMETRY)
    yield segment
    segment.unlink()


def test_who_attaches_sees_the_same_words_and_geometry(segment):
    other = Segment.attach(segment.name)
    assert other.geometry == GEOMETRY
    segment.memory.store(0x4000_0010, 8, 77)
    segment.harts[2][Hart.PC] = 5
    segment.granules[9] = 2
    other.page_map[3] = 1
    other.ring(2)[:2] = b"hi"
    assert other.memory.load(0x4000_0010, 8) == 77
    assert other.harts[2][Hart.PC] == 5
    assert other.granules[9] == 2
    assert segment.page_map[3] == 1
    assert bytes(segment.ring(2)[:3]) == b"hi\0"
    assert segment.harts[0][Hart.MTIMECMP] == (1 << 64) - 1


def test_the_addresses_of_words_are_where_the_words_are(segment):
    from bus.native import host_atomics

    segment.harts[1][Hart.DOORBELL] = 8
    assert host_atomics().exchange(segment.harts[1].address(Hart.DOORBELL), 0) == 8
    assert segment.harts[1][Hart.DOORBELL] == 0
    assert segment.address % PAGE == 0


def test_close_and_unlink_leave_nothing(segment):
    file = Path("/dev/shm", segment.name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    area = segment.ring(0)
    area.release()
    segment.close()
    segment.unlink()
    segment.unlink()
    assert not file.exists()


def test_names_cannot_be_guessed():
    assert len({new_name() for _ in range(100)}) == 100
    assert len(new_name()) >= 32


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (Header.MAGIC, 1, "not a hartstorm segment"),
        (Header.VERSION, 99, "has layout 99, this is layout"),
        (Header.HARTS, 0, "damaged header: harts = 0"),
        (Header.GRANULE_EXP, 60, "damaged header: reservation_set_size_exp = 60"),
        (Header.RAM_BYTES, 1 << 40, "its header says"),
    ],
)
def test_a_foreign_or_damaged_segment_is_refused(segment, word, value, message):
    segment.header[word] = value
    with pytest.raises(SegmentError, match=message):
        Segment.attach(segment.name)


def test_a_missing_or_tiny_segment_is_refused():
    with pytest.raises(SegmentError, match="no shared segment"):
        Segment.attach(new_name())
    with pytest.raises(SegmentError, match="no shared segment"):
        Segment.attach("a/b")
    name = new_name()
    tiny = SharedMemory(name, create=True, size=100)
    try:
        with pytest.raises(SegmentError, match="100 bytes"):
            Segment.attach(name)
    finally:
        tiny.close()
        tiny.unlink()


def test_memory_that_the_host_has_not_is_refused_when_asked_for():
    before = set(os.listdir("/dev/shm"))
    with pytest.raises(OSError, match="do not fit"):
        Segment.create(Geometry(1, 1 << 50))
    assert set(os.listdir("/dev/shm")) <= before


def test_no_tracker_complains_whoever_unlinks_and_however_one_exits():
    code = """
import os
from bus.layout import Geometry
from bus.segment import Segment, unlink
s = Segment.create(Geometry(1, 4096))
if not os.fork():
    t = Segment.attach(s.name)
    unlink(t.name)
    raise SystemExit
os.wait()
s.unlink()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_unlink_of_nothing_is_no_error():
    unlink(new_name())
