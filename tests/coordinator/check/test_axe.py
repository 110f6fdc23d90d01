"""axe's trace format: what it says comes back, what it cannot say is left out and counted, or refused."""

from __future__ import annotations

from collections import Counter

import pytest

from coordinator.check.axe import Unwritable, Written, read_traces, write_trace
from coordinator.check.execution import FENCES, Event, Kind
from coordinator.check.models import RVWMO
from coordinator.check.search import Verdict, search_values
from coordinator.litmus.text import LitmusError

MP = """# message passing
0: M[0] := 1
0: {fence}
0: M[1] := 1 @ 5:
1: M[1] == 1 @ 6:9
1: {fence}
1: M[0] == 0
check
"""


@pytest.mark.parametrize(("fence", "verdict"), [("sync", Verdict.FORBIDDEN), ("M[7] == 0", Verdict.ALLOWED)])
def test_traces_are_judged(fence, verdict):
    (trace,) = read_traces(MP.replace("{fence}", fence))
    assert search_values(trace.harts, RVWMO).verdict is verdict


def test_what_is_written_reads_back():
    text = "0: M[0] := 1\n0: sync\n0: { M[1] == 0; M[1] := 1 }\n1: M[1] == 1\ncheck\n"
    (trace,) = read_traces(text)
    assert write_trace(trace.harts) == Written(text, Counter())


def test_addresses_and_values_become_small_and_pairs_one_operation():
    lane = (
        Event(Kind.LOAD_RESERVED, 0x8000, 8, read=0),
        Event(Kind.STORE_CONDITIONAL, 0x8000, 8, written=1 << 60, pair=0),
        Event(Kind.LOAD, 0x8000, 8, read=1 << 60),
    )
    assert write_trace((lane,)).text == "0: { M[0] == 0; M[0] := 1 }\n0: M[0] == 1\ncheck\n"


def test_initial_values_become_0():
    lane = (Event(Kind.LOAD, 64, 4, read=9), Event(Kind.STORE, 64, 4, written=1))
    assert write_trace((lane,), {64: 9}).text == "0: M[0] == 0\n0: M[0] := 1\ncheck\n"
    with pytest.raises(Unwritable, match="0x9 was there before"):
        write_trace(((Event(Kind.STORE, 64, 4, written=9),),), {64: 9})


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (Event(Kind.FENCE, predecessor=2, successor=3), "partial fence"),
        (Event(Kind.FENCE_TSO), "partial fence"),
        (Event(Kind.LOAD, 0, 8, 2, read=0), "aq or rl"),
        (Event(Kind.LOAD, 0, 8, read=0, address_from=(0,)), "address dependency"),
        (Event(Kind.STORE, 0, 8, written=5, data_from=(0,)), "data dependency"),
        (Event(Kind.STORE, 0, 8, written=5, control_from=(0,)), "control dependency"),
    ],
)
def test_what_orders_events_and_has_no_form_is_left_out_and_counted(event, what):
    load = Event(Kind.LOAD, 0, 8, read=0)
    written = write_trace(((load, event),))
    assert written.left_out == {what: 1}
    plain = event._replace(order=0, address_from=(), data_from=(), control_from=())
    lane = (load,) if event.kind in FENCES else (load, plain)
    assert written.text == write_trace((lane,)).text


@pytest.mark.parametrize(
    ("lane", "what"),
    [
        ((Event(Kind.STORE, 0, 8, written=0),), "a new value"),
        ((Event(Kind.STORE, 0, 8, written=5), Event(Kind.STORE, 0, 8, written=5)), "a new value"),
        ((Event(Kind.STORE, 0, 8, written=5), Event(Kind.LOAD, 4, 4, read=0)), "overlap in part"),
        ((Event(Kind.LOAD, 0, 8),), "not known"),
    ],
)
def test_what_has_no_trace_is_refused(lane, what):
    with pytest.raises(Unwritable, match=what):
        write_trace((lane,))


def test_errors_say_where():
    with pytest.raises(LitmusError, match=r"t:2:1: '0: M\[0\] = 1' is not an operation"):
        list(read_traces("0: sync\n0: M[0] = 1\n", "t"))
