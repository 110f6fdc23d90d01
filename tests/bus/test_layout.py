import pytest

from bus.access import AtomicKind, ScFailure
from bus.layout import GRANULE_BYTES, HART_BYTES, PAGE, Geometry, Hart, Header


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"harts": 0}, "harts = 0"),
        ({"ram_bytes": 100}, "ram_bytes = 0x64: must be a multiple of 4096"),
        ({"ram_bytes": 0}, "ram_bytes = 0x0 at"),
        ({"ram_base": 8}, "ram_base = 0x8"),
        ({"ram_base": (1 << 56) - PAGE, "ram_bytes": 2 * PAGE}, "below 2\\*\\*56"),
        ({"ring_bytes": 1}, "ring_bytes = 0x1"),
        ({"granule_exp": 2}, "reservation_set_size_exp = 2: 3 to 12"),
        ({"granule_exp": 13}, "reservation_set_size_exp = 13: 3 to 12"),
    ],
)
def test_a_value_out_of_range_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Geometry(**{"harts": 1, "ram_bytes": PAGE, **changes})


@pytest.mark.parametrize("exp", [3, 6, 12])
@pytest.mark.parametrize("harts", [1, 3, 600])
@pytest.mark.parametrize("pages", [1, 5, 4097])
def test_areas_are_aligned_and_do_not_overlap(exp, harts, pages):
    g = Geometry(harts, pages * PAGE, granule_exp=exp, ring_bytes=PAGE)
    areas = [
        (0, PAGE),
        (g.hart_offset, harts * HART_BYTES),
        (g.page_map_offset, pages),
        (g.granule_offset, (g.ram_bytes >> exp) * GRANULE_BYTES),
        (g.ram_offset, g.ram_bytes),
        (g.ring_offset, harts * PAGE),
    ]
    for (start, size), (following, _) in zip(areas, [*areas[1:], (g.total_bytes, 0)], strict=True):
        assert start % PAGE == 0
        assert start + size <= following < start + size + PAGE


def test_no_two_words_share_a_place():
    assert len({int(w) for w in Header}) == len(Header.__members__)
    words = [int(w) for w in Hart]
    words += [Hart.X + i for i in range(1, 32)]
    words += [Hart.ATOMICS + k for k in AtomicKind if k]
    words += [Hart.SC_FAILURES + f for f in ScFailure if f]
    assert len(words) == len(set(words))
    assert len(Hart.__members__) == len(Hart)
