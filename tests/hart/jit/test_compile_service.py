"""Harts as processes share what is compiled; a service that dies takes nobody with it."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from bus.layout import Header
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.jit.cache import ObjectCache
from tests.hart.jit.native_code import image_of

SOURCE = """
.globl _start, tohost, fromhost
_start:
    li s0, 400
1:  li a0, 2000
2:  addi a0, a0, -1
    bnez a0, 2b
    call f
    addi s0, s0, -1
    bnez s0, 1b
    la t0, left
    li t1, -1
    amoadd.d t1, t1, (t0)
    li t2, 1
    bne t1, t2, park
    la t0, tohost
    sd t2, 0(t0)
park: wfi
    j park
f:  addi a1, a1, 3
    ret
.balign 4096
left: .dword {harts}
.balign 4096
tohost: .dword 0
fromhost: .dword 0
"""
FOREVER = "_start: addi a0, a0, 1\nj _start"
NO_END = 30.0


def _run(cache, harts: int, lacking: frozenset[str] = frozenset()):
    """Run it; harts with an odd number lack those extensions."""
    machine = VirtualMachine(VmSpec(name="shared", harts=harts, timeout_s=60, cache=str(cache)))
    try:
        for hart in range(1, harts, 2):
            machine.set_extensions(hart, machine.get_extensions(hart) - lacking)
        machine.load(image_of(SOURCE.replace("{harts}", str(harts))))
        machine.start()
        result = machine.wait(70)
        assert result is not None
        assert (result.ending, result.exit_code, result.compiler_ended) == (Ending.EXIT, 0, ""), result.detail
        header = machine._segment.header
        assert result.regions_compiled == header[Header.REGIONS_COMPILED]
        assert result.regions_cached == header[Header.REGIONS_CACHED]
        return result.regions_compiled, result.regions_cached
    finally:
        machine.destroy()


def _entries(cache) -> int:
    return sum(1 for p in (cache / "objects").rglob("*") if p.is_file())


def test_sixteen_harts_compile_each_region_once_and_a_second_run_nothing(tmp_path):
    compiled, _ = _run(tmp_path, 16)
    assert 0 < compiled <= _entries(tmp_path)
    known = _entries(tmp_path)
    compiled, cached = _run(tmp_path, 16)
    assert cached > 0
    # Whether a region becomes hot at all is a matter of luck; one that is known is never compiled again. At the end the
    # service is killed: it may have stored one that it has not counted.
    assert compiled <= _entries(tmp_path) - known <= compiled + 1


def test_what_a_run_needed_is_there_before_a_later_run_asks(tmp_path):
    """The later run is interpreted but for what the list of the program brings."""
    image = image_of(SOURCE.replace("{harts}", "1"))
    _run(tmp_path, 1)
    lists = list((tmp_path / "programs").rglob("*"))
    assert any(path.is_file() for path in lists)
    machine = VirtualMachine(VmSpec(name="later", harts=1, timeout_s=60, cache=str(tmp_path)))
    try:
        machine.load(image)
        machine.set_pc(0, image.symbols["park"].address)  # asks for nothing: it waits at once
        machine.start()
        deadline = time.monotonic() + NO_END
        while not machine.regions_ready():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        header = machine._segment.header
        assert header[Header.REGIONS_CACHED] == header[Header.CODE_GENERATION] > 0
        assert header[Header.REGIONS_COMPILED] == 0
    finally:
        machine.destroy()


def test_harts_with_one_set_of_extensions_share_and_others_do_not(tmp_path):
    compiled, _ = _run(tmp_path, 8, lacking=frozenset({"B", "Zba"}))
    cache = ObjectCache(tmp_path)
    regions = [cache.load(path.name) for path in cache.directory.glob("??/*")]
    assert 0 < compiled <= len(regions)
    alike = Counter((r.entry, r.tier, r.stretches, r.code) for r in regions)
    assert set(alike.values()) <= {1, 2}  # a set is a matter of the key, a hart is not
    assert 2 in alike.values()  # what is hot on every hart was compiled for both sets


@pytest.mark.parametrize("when", [0.0, 0.3])
def test_harts_go_on_when_the_service_is_killed(tmp_path, when):
    machine = VirtualMachine(VmSpec(name="alone", harts=2, timeout_s=60, cache=str(tmp_path)))
    try:
        machine.load(image_of(FOREVER))
        machine.start()
        service = next(p for p in machine._monitor._processes if p.name == "alone-compiler")
        time.sleep(when)
        os.kill(service.pid, signal.SIGKILL)
        service.join()
        before = machine.progress()
        deadline = time.monotonic() + NO_END
        while any(a <= b for a, b in zip(machine.progress(), before, strict=True)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        machine.stop()
        result = machine.wait(10)
        assert (result.ending, result.compiler_ended) == (Ending.STOPPED, "by SIGKILL")
    finally:
        machine.destroy()
