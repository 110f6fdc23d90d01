"""The list of what a program needed: the best tier of each entry, whole or none, bounded."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest

from bus.object_files import entry_path, key_of, write_entry
from hart.jit import programs
from hart.jit.cache import CompiledRegion, ObjectCache
from hart.jit.instruments import Instrument
from hart.jit.programs import ProgramRegions

RAM = 0x8000_0000
PROGRAM = key_of("a program")
REGION = CompiledRegion(RAM, 1, "r1", ((RAM, RAM + 4),), b"code", 2, b"object")


def _stored(cache: ObjectCache, **changes) -> tuple[str, CompiledRegion]:
    region = replace(REGION, **changes)
    key = key_of(region)
    cache.store(key, region)
    return key, region


def _later(cache: ObjectCache) -> dict[str, CompiledRegion]:
    return dict(ProgramRegions(cache, PROGRAM).regions())


def test_a_later_run_knows_the_best_tier_of_each_entry(tmp_path):
    cache = ObjectCache(tmp_path)
    known = ProgramRegions(cache, PROGRAM)
    quick, better = _stored(cache), _stored(cache, tier=2, name="r2")
    other = _stored(cache, entry=RAM + 4)
    for found in (quick, better, quick, other):
        known.add(*found)
    assert _later(cache) == {}, "nothing was saved yet"
    known.save()
    assert _later(cache) == dict((better, other))
    assert dict(ProgramRegions(cache, key_of("another program")).regions()) == {}


def test_of_code_that_changes_the_newest_is_listed(tmp_path):
    cache = ObjectCache(tmp_path)
    known = ProgramRegions(cache, PROGRAM)
    old, new = _stored(cache, tier=2), _stored(cache, tier=2, code=b"edoc")
    for found in (old, new, _stored(cache)):
        known.add(*found)
    known.save()
    assert _later(cache) == dict([new])


def test_what_is_no_use_to_later_runs_is_not_listed(tmp_path):
    cache = ObjectCache(tmp_path)
    known = ProgramRegions(cache, PROGRAM)
    known.add(*_stored(cache, object=b""))
    known.add(*_stored(cache, instruments=int(Instrument.PROFILED)))
    known.save()
    assert not cache.programs.exists()


def test_a_region_that_is_gone_from_the_cache_is_left_out(tmp_path):
    cache = ObjectCache(tmp_path)
    known = ProgramRegions(cache, PROGRAM)
    gone, kept = _stored(cache), _stored(cache, entry=RAM + 4)
    known.add(*gone)
    known.add(*kept)
    known.save()
    cache.path(gone[0]).unlink()
    assert _later(cache) == dict([kept])


def test_the_oldest_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "MOST_REGIONS", 3)
    cache = ObjectCache(tmp_path)
    known = ProgramRegions(cache, PROGRAM)
    found = [_stored(cache, entry=RAM + 4 * n) for n in range(5)]
    for one in found:
        known.add(*one)
    known.save()
    assert _later(cache) == dict(found[2:])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb([1, 2]),
        msgpack.packb([(1, 2)]),
        msgpack.packb([("x", 1, "k")]),
    ],
)
def test_a_list_of_another_form_counts_as_absent_and_goes_away(tmp_path, body):
    cache = ObjectCache(tmp_path)
    path = entry_path(cache.programs, PROGRAM)
    write_entry(path, body)
    assert _later(cache) == {}
    assert not path.exists()


def test_lists_are_counted_and_cleared_with_the_objects(tmp_path):
    cache = ObjectCache(tmp_path)
    known = ProgramRegions(cache, PROGRAM)
    known.add(*_stored(cache))
    known.save()
    assert len(cache.entries()) == 2
    assert cache.clear() == 2
    assert cache.entries() == []
