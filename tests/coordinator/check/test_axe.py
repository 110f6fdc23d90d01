"""axe's trace format: what it says comes back, what it cannot say is refused."""

from __future__ import annotations

import pytest

from coordinator.check.axe import Unwritable, read_traces, write_trace
from coordinator.check.execution import Event, Kind
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
    assert write_trace(trace.harts) == text


def test_addresses_and_values_become_small_and_pairs_one_operation():
    lane = (
        Event(Kind.LOAD_RESERVED, 0x8000, 8, read=0),
        Event(Kind.STORE_CONDITIONAL, 0x8000, 8, written=1 << 60, pair=0),
        Event(Kind.LOAD, 0x8000, 8, read=1 << 60),
    )
    assert write_trace((lane,)) == "0: { M[0] == 0; M[0] := 1 }\n0: M[0] == 1\ncheck\n"


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (Event(Kind.FENCE, predecessor=2, successor=3), "a partial fence"),
        (Event(Kind.LOAD, 0, 8, 2, read=0), "aq or rl"),
        (Event(Kind.LOAD, 0, 8, read=0, address_from=(0,)), "an address dependency"),
        (Event(Kind.STORE, 0, 8, written=0), "a new value"),
    ],
)
def test_what_the_format_lacks_is_refused(event, what):
    with pytest.raises(Unwritable, match=what):
        write_trace(((event,),))


def test_errors_say_where():
    with pytest.raises(LitmusError, match=r"t:2:1: '0: M\[0\] = 1' is not an operation"):
        list(read_traces("0: sync\n0: M[0] = 1\n", "t"))
