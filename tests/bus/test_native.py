import ctypes
import os
from multiprocessing.shared_memory import SharedMemory

import pytest

from bus.native import host_atomics

ALL = (1 << 64) - 1


@pytest.fixture
def words():
    """Four words, the first aligned to 16, with their address."""
    buffer = (ctypes.c_uint64 * 6)()
    address = ctypes.addressof(buffer)
    skip = (-address % 16) // 8
    view = memoryview(buffer).cast("B").cast("Q")[skip : skip + 4]
    return view, address + 8 * skip


def test_each_operation_returns_the_old_value_and_stores_the_new(words):
    view, address = words
    atomics = host_atomics()
    view[0] = 5
    assert atomics.exchange(address, ALL) == 5
    assert atomics.fetch_add(address, 3) == ALL
    assert view[0] == 2
    assert atomics.fetch_or(address, 1 << 63) == 2
    assert view[0] == 1 << 63 | 2
    assert atomics.compare_exchange(address, 7, 9) == 1 << 63 | 2
    assert view[0] == 1 << 63 | 2
    assert atomics.compare_exchange(address, 1 << 63 | 2, 9) == 1 << 63 | 2
    assert view[0] == 9
    atomics.fence()


def test_store_pair_writes_16_bytes_and_no_more(words):
    view, address = words
    host_atomics().store_pair(address, ALL, 1 << 63 | 1)
    assert list(view) == [ALL, 1 << 63 | 1, 0, 0]


def test_additions_of_two_processes_are_not_lost():
    shared = SharedMemory(create=True, size=64)
    pin = ctypes.c_char.from_buffer(shared.buf)
    address = ctypes.addressof(pin)
    add = host_atomics().fetch_add
    rounds = 20_000
    child = os.fork()
    for _ in range(rounds):
        add(address, 1)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    total = shared.buf.cast("Q")[0]
    del pin
    try:
        assert total == 2 * rounds
    finally:
        shared.unlink()


def test_a_module_is_compiled_once_for_all_processes(monkeypatch, tmp_path):
    from bus import native

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ir = "define i64 @seven() {\n  ret i64 7\n}\n"

    def seven() -> int:
        engine = native.compile_module(ir)
        return ctypes.CFUNCTYPE(ctypes.c_uint64)(engine.get_function_address("seven"))()

    assert seven() == 7
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = kept.read_bytes()
    written = []
    monkeypatch.setattr(native, "write_entry", lambda path, body: written.append(path))
    assert seven() == 7
    assert not written, "what is kept is not compiled again"
    kept.write_bytes(whole[:-1])
    assert seven() == 7
    assert written == [kept], "what is not whole is"


def test_a_cache_that_cannot_be_written_is_none(monkeypatch, tmp_path):
    from bus.native import compile_module

    (tmp_path / "hartstorm").write_text("no directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = compile_module("define i64 @eight() {\n  ret i64 8\n}\n")
    assert ctypes.CFUNCTYPE(ctypes.c_uint64)(engine.get_function_address("eight"))() == 8
