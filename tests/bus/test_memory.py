import pytest

from bus.access import Fault, MemoryFault
from bus.memory import GuestMemory

BASE, SIZE = 0x8000_0000, 4096
SIZES = (1, 2, 4, 8)


@pytest.fixture
def memory():
    before = bytearray(b"\xee" * (SIZE + 64))
    memory = GuestMemory(memoryview(before)[32 : 32 + SIZE], BASE)
    yield memory
    assert before[:32] == before[-32:] == b"\xee" * 32, "something outside RAM was written"
    memory.release()


@pytest.mark.parametrize("size", SIZES)
def test_every_width_at_every_edge(memory, size):
    first, last = BASE, BASE + SIZE - size
    value = int.from_bytes(bytes(range(1, 1 + size)), "little")
    for address in (first, first + 1, first + 7, last, last - 1, last - 7):
        memory.store(address, size, value | 0xAB << 8 * size)
        assert memory.load(address, size) == value
        assert memory.read(address, size) == bytes(range(1, 1 + size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "address",
    [
        BASE - 1,
        BASE - 8,
        BASE + SIZE,
        BASE + SIZE + 8,
        0,
        -1,
        -8,
        (1 << 64) - 1,
        (1 << 64) - 8,
        1 << 64,
        BASE + (1 << 64),
        BASE - (1 << 64),
    ],
)
def test_addresses_outside_are_refused(memory, size, address):
    for access in (
        lambda: memory.load(address, size),
        lambda: memory.store(address, size, 1),
        lambda: memory.read(address, size),
        lambda: memory.write(address, b"x" * size),
        lambda: memory.offset(address, size),
    ):
        with pytest.raises(MemoryFault) as caught:
            access()
        assert (caught.value.fault, caught.value.address) == (Fault.ACCESS, address)


@pytest.mark.parametrize("size", SIZES[1:])
def test_an_access_across_the_end_is_refused(memory, size):
    for beyond in range(1, size):
        with pytest.raises(MemoryFault):
            memory.load(BASE + SIZE - size + beyond, size)
        with pytest.raises(MemoryFault):
            memory.store(BASE + SIZE - size + beyond, size, 0)


def test_misalignment_is_reported_before_the_bounds(memory):
    with pytest.raises(MemoryFault) as caught:
        memory.aligned_offset(3, 4)
    assert caught.value.fault is Fault.MISALIGNED
    with pytest.raises(MemoryFault) as caught:
        memory.aligned_offset(BASE + SIZE, 16)
    assert caught.value.fault is Fault.ACCESS
    assert memory.aligned_offset(BASE + 16, 16) == 16
