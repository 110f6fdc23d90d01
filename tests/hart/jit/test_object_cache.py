"""The object cache: where it is, what it holds, what becomes of entries that are not whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from hart.jit.cache import CompiledRegion, ObjectCache, default_directory, key_of

REGION = CompiledRegion(0x8000_0000, 1, "f", ((0x8000_0000, 0x8000_0008),), bytes(8), 2, b"object")


def test_the_directory_follows_the_xdg_specification(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "hartstorm"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification says to ignore it
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_directory() == Path("/home/someone/.cache/hartstorm")


def test_store_load_count_clear(tmp_path):
    cache = ObjectCache(tmp_path)
    assert (cache.entries(), cache.size(), cache.clear()) == ([], 0, 0)
    keys = [key_of("region", n) for n in range(3)]
    files = [cache.store(key, REGION) for key in keys]
    (tmp_path / "zig").mkdir()  # what else lies in the user's cache is not the object cache's
    assert cache.load(keys[0]) == REGION
    assert cache.load(key_of("region", 3)) is None
    assert cache.entries() == sorted(files)
    assert cache.size() == sum(file.stat().st_size for file in files)
    assert cache.clear() == 3
    assert (cache.entries(), cache.size(), cache.load(keys[0])) == ([], 0, None)
    assert (tmp_path / "zig").is_dir()


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: b"x" + d[1:], lambda d: d[:40] + b"\0" + d[41:]]
)
def test_a_damaged_entry_is_removed_and_counts_as_absent(tmp_path, damage):
    cache = ObjectCache(tmp_path)
    file = cache.store(key_of(1), REGION)
    file.write_bytes(damage(file.read_bytes()))
    assert cache.load(key_of(1)) is None
    assert not file.exists()
