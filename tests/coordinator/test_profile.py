"""Profiles: exact in instructions, right about what is hot, in every tier; and the files that viewers read."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest
from guests import EXIT, image, machine
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.profile import SCHEMA, shares
from coordinator.spec import VmSpec
from hart.image import Symbol

needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
TIERS = ["interpreter", "t1", "t2", "auto"]
# `hot` retires 1,501 instructions a call, `cold` 151; both are called equally often.
SOURCE = (
    """
.option norvc
.globl _start, hot, cold
_start: li s0, {calls}
        la t0, handler
        csrw mtvec, t0
1:      call hot
        call cold
        addi s0, s0, -1
        bnez s0, 1b
        ecall
        li a0, 0
        j exit
hot:    li t1, 500
2:      addi t2, t2, 3
        addi t1, t1, -1
        bnez t1, 2b
        ret
cold:   li t1, 50
3:      addi t2, t2, 3
        addi t1, t1, -1
        bnez t1, 3b
        ret
handler: csrr t3, mepc
        addi t3, t3, 4
        csrw mepc, t3
        mret
"""
    + EXIT
)
CALLS = {"interpreter": 60, "t1": 4000, "t2": 4000, "auto": 20000}


def _only_functions(program):
    """The image with symbols of functions alone, as a linker leaves them."""
    for name in [
        n
        for n in program.symbols
        if n not in ("_start", "hot", "cold", "handler", "tohost", "fromhost", "exit")
    ]:
        del program.symbols[name]
    assert isinstance(program.symbols["hot"], Symbol)
    return program


@pytest.mark.parametrize("tier", TIERS)
def test_instructions_are_exact_and_the_hot_function_is_found(tier):
    source = SOURCE.format(calls=CALLS[tier])
    with machine(source, harts=1, tier=tier, profile=True) as vm:
        vm.load(_only_functions(image(source)))
        vm.start()
        result = vm.wait(60)
    (hart,) = result.harts
    assert (result.exit_code, hart.traps_taken) == (0, 1), result.detail
    assert sum(code.instructions for code in hart.profile) == hart.instret
    by_function: dict[str, int] = {}
    for code in hart.profile:
        by_function[code.function] = by_function.get(code.function, 0) + code.instructions
        assert code.seconds >= 0
    assert by_function["hot"] >= 1501 * CALLS[tier]
    # What follows a return begins in the caller, whatever native code goes on from there.
    assert by_function["cold"] == pytest.approx(152 * CALLS[tier], rel=0.02)
    assert by_function["handler"] == 4
    tiers = {code.tier for code in hart.profile if code.function == "hot"}
    assert tiers >= {"interpreter": {"interpreter"}, "t1": {"t1"}, "t2": {"t2"}}.get(tier, {"t1"})
    ranked = shares(result.harts)
    assert sum(row.share for row in ranked) == pytest.approx(1)
    assert sum(row.code.seconds for row in ranked) == pytest.approx(hart.wall_s, rel=1e-6)


C_SOURCE = """
#include <hartstorm.h>
__attribute__((noinline)) unsigned hot(unsigned x) {
    for (int i = 0; i < 20000; i++) x = x * 1664525u + (x >> 7);
    return x;
}
__attribute__((noinline)) unsigned cold(unsigned x) {
    for (int i = 0; i < 200; i++) x = x * 22695477u + (x >> 9);
    return x;
}
int main(int hart, int harts) {
    unsigned x = hart + harts;
    for (int i = 0; i < 200; i++) x = cold(hot(x));
    return x == 1;
}
"""


@needs_zig
def test_the_command_shows_and_writes_the_profile_of_a_c_program(tmp_path):
    program = tmp_path / "work.c"
    program.write_text(C_SOURCE)
    target = tmp_path / "out.json"
    done = CliRunner().invoke(app, ["run", str(program), "--harts", "2", "--profile-to", str(target)])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if re.search(r" (interpreter|t1|t2) ", line)]
    assert rows[0][0] == "hot"
    found = json.loads(target.read_text())
    _check_speedscope(found)
    assert [p["name"] for p in found["profiles"]] == ["vm hart 0", "vm hart 1"]
    names = [frame["name"] for frame in found["shared"]["frames"]]
    for profile in found["profiles"]:
        totals: dict[str, int] = {}
        for sample, weight in zip(profile["samples"], profile["weights"], strict=True):
            totals[names[sample[0]]] = totals.get(names[sample[0]], 0) + weight
        code = {name: ns for name, ns in totals.items() if not name.startswith("(")}
        assert max(code, key=code.__getitem__) == "hot"
    collapsed = tmp_path / "out.collapsed"
    done = CliRunner().invoke(
        app, ["run", str(program), "--profile-to", str(collapsed), "--tier", "t2", "--json"]
    )
    assert json.loads(done.output)["vms"][0]["harts"][0]["profile"]
    lines = collapsed.read_text().splitlines()
    assert all(
        re.fullmatch(r"vm;hart 0;[^;]+(;0x[0-9a-f]+-0x[0-9a-f]+ (interpreter|t2))? \d+", x) for x in lines
    ), lines
    assert any(";hot;" in line for line in lines)


def _check_speedscope(document: dict) -> None:
    """The rules of speedscope's file-format-schema.json for sampled profiles."""
    assert document["$schema"] == SCHEMA
    assert set(document) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    frames = document["shared"]["frames"]
    assert all(
        set(frame) <= {"name", "file", "line", "col"} and type(frame["name"]) is str for frame in frames
    )
    assert 0 <= document["activeProfileIndex"] < len(document["profiles"])
    units = {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}
    for profile in document["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile["type"] == "sampled"
        assert profile["unit"] in units
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= frame < len(frames) for sample in profile["samples"] for frame in sample)
        assert all(weight >= 0 for weight in profile["weights"])
        assert sum(profile["weights"]) == profile["endValue"] - profile["startValue"]


def test_a_profile_and_a_trace_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="a traced VM cannot be profiled"):
        VmSpec(name="t", harts=1, profile=True, trace="t")
    program = tmp_path / "work.S"
    program.write_text("_start: j _start")
    options = ["--profile", "--trace", str(tmp_path / "trace")]
    done = CliRunner().invoke(app, ["run", str(program), *options])
    assert done.exit_code == 2
    assert "a traced VM cannot be profiled" in done.output
