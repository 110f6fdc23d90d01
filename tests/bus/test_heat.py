from bus.heat import ROWS_PER_HART, Heat


def test_the_hottest_addresses_come_first_with_all_their_rows():
    heat = Heat(2)
    for _ in range(3):
        heat.count(0, 2, 0x100)
    for _ in range(2):
        heat.count(1, 0, 0x100)
    for _ in range(4):
        heat.count(1, 1, 0x200)
    heat.count(0, 1, 0x300)
    assert heat.hottest(2) == [(0x100, 0, 2, 3), (0x100, 1, 0, 2), (0x200, 1, 1, 4)]


def test_memory_is_bounded_and_the_hot_survive():
    heat = Heat(1)
    for address in range(3 * ROWS_PER_HART):
        heat.count(0, 0, 1)
        heat.count(0, 0, 8 * address + 16)
    assert len(heat.hottest(10**6)) <= ROWS_PER_HART
    assert heat.hottest(1) == [(1, 0, 0, 3 * ROWS_PER_HART)]
