"""`hartstorm check`: verdict, cycle and exports of a recording that no policy could have made."""

from __future__ import annotations

import json
import struct

import msgpack
import pytest
from typer.testing import CliRunner

from bus.access import Order
from bus.events import EventKind, what
from bus.layout import PAGE, Geometry
from bus.recording_file import BlockKind, Facts, _write, begin
from bus.segment import Segment
from coordinator.cli import app
from hart.asm import assemble

BASE = 0x8000_0000
CODE = assemble("_start: lr.d a0, (a1)\nld a2, (a3)\nsc.d a4, a5, (a1)\nsd a6, (a1)\n", base=BASE).image
X, Y = 0x400, 0x440
LR, LOAD, SC, STORE = range(0, 16, 4)


def event(kind, pc, offset, read, written, version):
    return struct.pack("<5Q", what(kind, 8, Order.NONE, pc), offset, read, written, version)


@pytest.fixture
def recording(tmp_path):
    """An SC that succeeds although another hart wrote between it and its LR."""
    segment = Segment.create(Geometry(harts=2, ram_bytes=PAGE, event_bytes=PAGE))
    segment.unlink()
    file = tmp_path / "bad.rec"
    try:
        for chunk in CODE.chunks:
            segment.memory.write(chunk.address, chunk.data)
        symbols = {"x": BASE + X, "y": BASE + Y}
        begin(file, Facts("bad", 2, BASE, PAGE, "made", "up", ("I", "Zalrsc"), symbols), segment)
    finally:
        segment.close()
    with file.open("ab") as out:
        _write(
            out,
            BlockKind.RAW_EVENTS,
            0,
            event(EventKind.LR, LR, X, 0, 0, 0)
            + event(EventKind.LOAD, LOAD, Y, 0, 0, 0)
            + event(EventKind.SC, SC, X, 0, 1, 2),
        )
        _write(out, BlockKind.RAW_EVENTS, 1, event(EventKind.STORE, STORE, X, 0, 7, 1))
        index = {"blocks": [], "lost": [0, 0], "taken": 0, "outside": 0, "whole": False}
        _write(out, BlockKind.INDEX, 0, msgpack.packb(index))
    return file


def check(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_a_cycle_is_shown_and_written(recording, tmp_path):
    svg, litmus = tmp_path / "cycle.svg", tmp_path / "cycle.litmus"
    result = check(recording, "--svg", svg, "--litmus", litmus)
    assert result.exit_code == 1
    assert "forbidden by rvwmo: 4 events of 2 harts" in result.output
    assert "atomicity" in result.output
    assert "sc.d a4, a5, (a1): W x=1" in result.output
    assert svg.read_text().startswith("<svg")
    test = litmus.read_text()
    assert "lr.d" in test
    assert "sc.d" in test
    assert "exists" in test
    model = CliRunner().invoke(app, ["model", str(litmus)])
    assert "Never" in model.output


def test_json(recording):
    body = json.loads(check(recording, "--json").output)
    assert (body["verdict"], body["axiom"], body["events"]) == ("forbidden", "atomicity axiom", 4)
    assert {step["pc"] for step in body["cycle"]} == {BASE + SC, BASE + STORE}


def test_what_is_no_recording_is_refused(tmp_path):
    file = tmp_path / "no.rec"
    file.write_bytes(b"something else")
    result = check(file)
    assert result.exit_code == 2
    assert "not a recording of memory" in result.output


def test_axe_traces(tmp_path):
    file = tmp_path / "t.axe"
    file.write_text("0: M[0] := 1\n0: M[0] == 1\ncheck\n0: M[0] := 1\n1: M[0] == 1\n1: M[0] == 0\ncheck\n")
    result = check(file)
    assert result.exit_code == 1
    assert "#1: allowed by rvwmo" in result.output
    assert "#2: forbidden by rvwmo" in result.output
