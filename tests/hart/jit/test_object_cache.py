"""The object cache: whole entries or none, whoever writes, whatever lies there; regions compiled once."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bus.object_files import MAGIC, default_directory, key_of
from bus.policies import Reservations
from hart.jit.cache import CompiledRegion, ObjectCache
from hart.jit.codegen import Tier
from hart.jit.service import region_compiler
from tests.hart.jit.native_code import ALL, T1, running

RAM = 0x8000_0000
KEY = key_of("a test")
REGION = CompiledRegion(RAM, 1, "r1", ((RAM, RAM + 4),), b"code", 2, bytes(range(256)) * 40)


def test_what_was_stored_comes_back(tmp_path):
    cache = ObjectCache(tmp_path / "new")
    assert cache.load(KEY) is None
    cache.store(KEY, REGION)
    assert cache.load(KEY) == REGION
    assert [p.name for p in cache.entries()] == [KEY]
    assert cache.clear() == 1
    assert cache.load(KEY) is None


def _damage(data: bytes):
    yield b""
    yield b"something else"
    yield MAGIC
    yield data[:-1]
    yield data + b"x"
    yield MAGIC.replace(b"object", b"abject") + data[len(MAGIC) :]
    for at in (0, len(MAGIC), len(MAGIC) + 5, len(MAGIC) + 32, len(data) // 2, len(data) - 1):
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_damaged_or_foreign_entry_counts_as_absent_and_goes_away(tmp_path):
    cache = ObjectCache(tmp_path)
    path = cache.store(KEY, REGION)
    good = path.read_bytes()
    for bad in _damage(good):
        path.write_bytes(bad)
        assert cache.load(KEY) is None, bad[:60]
        assert not path.exists()
    cache.store(KEY, REGION)
    assert cache.load(KEY) == REGION


def test_whole_entries_of_another_form_count_as_absent(tmp_path):
    """The digest is right, what it is of is not."""
    import hashlib

    import msgpack

    cache = ObjectCache(tmp_path)
    path = cache.store(KEY, REGION)
    for body in (b"\xc1", msgpack.packb(7), msgpack.packb((1, 2)), msgpack.packb((1, 2, 3, 4, 5, 6, 7))):
        path.write_bytes(MAGIC + hashlib.sha256(body).digest() + body)
        assert cache.load(KEY) is None


def _write(directory: Path, number: int) -> None:
    cache = ObjectCache(directory)
    for turn in range(60):
        cache.store(KEY, REGION)
        found = cache.load(KEY)
        assert found is None or found == REGION
        if turn % 10 == number:
            cache.clear()
    os._exit(0)


def test_concurrent_writers_and_clearers(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, n)) for n in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(60)
        assert w.exitcode == 0
    cache = ObjectCache(tmp_path)
    cache.store(KEY, REGION)
    assert cache.load(KEY) == REGION
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != KEY], "temporary files remain"


SOURCE = ".option norvc\nli a0, 5\n1: addi a0, a0, -1\nbnez a0, 1b\nj ."


def _compile(
    tmp_path, source: str = SOURCE, *, extensions=ALL, tier=Tier.T1, policy: str = "serial", **changes
):
    with running(source, T1) as machine:
        compiler = region_compiler(machine.segment, extensions, policy, Reservations(), tmp_path)
        compiler.geometry = replace(compiler.geometry, **changes)
        key, region = compiler.compile(RAM, tier, lambda: 0.0)
        if not compiler.cache.path(key).exists():
            compiler.cache.store(key, region)
        return key, compiler.counters.compiled


def test_what_makes_a_difference_is_in_the_key(tmp_path):
    first, compiled = _compile(tmp_path)
    assert compiled == 1
    assert _compile(tmp_path) == (first, 0), "the same again is found"
    keys = {
        first,
        _compile(tmp_path, SOURCE.replace("-1", "-2"))[0],
        _compile(tmp_path, extensions=ALL - {"Zacas"})[0],
        _compile(tmp_path, tier=Tier.T2)[0],
        _compile(tmp_path, ram_bytes=1 << 17)[0],
        _compile(tmp_path, granule_exp=7)[0],
        _compile(tmp_path, alignment=4)[0],
    }
    assert len(keys) == 7


@pytest.mark.parametrize("name", ["engine_identity", "host_identity"])
def test_another_engine_or_host_has_another_key(tmp_path, monkeypatch, name):
    before = _compile(tmp_path)[0]
    monkeypatch.setattr(f"hart.jit.compiler.{name}", lambda: "another")
    assert _compile(tmp_path)[0] != before


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
