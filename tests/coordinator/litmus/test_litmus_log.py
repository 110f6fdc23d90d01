"""Logs in the formats of herd7 and litmus7, and the files that a path names."""

from __future__ import annotations

import pytest

from coordinator.litmus.index import test_files as files_of
from coordinator.litmus.log import Tally, herd_log, litmus_log, normal_state, read_log
from coordinator.litmus.parser import parse
from coordinator.litmus.test import Quantifier
from coordinator.litmus.text import LitmusError

TEST = parse("RISCV T\nCom=Fr\n{ 0:x6=x; }\n P0 ;\n lw x5,0(x6) ;\n~exists (x=1 /\\ 0:x5=0)\n")
SHOWN = TEST.shown_locations()


def test_herd_log():
    log = herd_log(TEST, SHOWN, [("0", "0"), ("0", "1")], Tally(1, 1), 0.014)
    assert log.splitlines() == [
        "Test T Forbidden",
        "States 2",
        "0:x5=0; [x]=0;",
        "0:x5=0; [x]=1;",
        "No",
        "Witnesses",
        "Positive: 1 Negative: 1",
        "Condition ~exists ([x]=1 /\\ 0:x5=0)",
        "Observation T Sometimes 1 1",
        "Time T 0.01",
        log.splitlines()[-1],
    ]
    assert log.splitlines()[-1].startswith("Hash=")


def test_litmus_log():
    log = litmus_log(
        TEST, SHOWN, {("0", "0"): 90, ("0", "1"): 10}, {("0", "0"): False, ("0", "1"): True}, 1.5
    )
    lines = log.splitlines()
    assert lines[1:5] == [
        "Histogram (2 states)",
        "90      :>0:x5=0; [x]=0;",
        "10      *>0:x5=0; [x]=1;",
        "No",
    ]
    assert "Positive: 90, Negative: 10" in lines
    assert "Condition ~exists ([x]=1 /\\ 0:x5=0) is NOT validated" in lines
    assert "Observation T Sometimes 10 90" in lines
    assert "Com=Fr" in lines


def test_both_logs_read_back():
    text = herd_log(TEST, SHOWN, [("0", "1")], Tally(1, 0), 0) + "\n"
    text += litmus_log(TEST, SHOWN, {("0", "1"): 7}, {("0", "1"): True}, 1)
    first, second = read_log(text.splitlines())
    assert first.states == {"0:x5=0; x=1": 1}
    assert second.states == {"0:x5=0; x=1": 7}
    assert first.hash == second.hash == text.split("Hash=")[1][:32]


def test_old_logs_read_too():
    (entry,) = read_log(
        ["Test X Allow", "Histogram (1 states)", "12    *>1:x7=0; x=1; ", "Ok", "", "Hash=ab"]
    )
    assert entry.states == {"1:x7=0; x=1": 12}
    assert normal_state("[x]=1; 0:x5=2;") == "0:x5=2; x=1"


@pytest.mark.parametrize(
    ("quantifier", "tally", "holds", "witnesses"),
    [
        (Quantifier.EXISTS, Tally(1, 2), True, (1, 2)),
        (Quantifier.NOT_EXISTS, Tally(1, 2), False, (2, 1)),
        (Quantifier.NOT_EXISTS, Tally(0, 2), True, (2, 0)),
        (Quantifier.FORALL, Tally(3, 0), True, (3, 0)),
    ],
)
def test_quantifiers(quantifier, tally, holds, witnesses):
    assert tally.holds(quantifier) is holds
    assert tally.witnesses(quantifier) == witnesses


def test_indexes(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.litmus", "sub/b.litmus", "sub/c.litmus"):
        (tmp_path / name).touch()
    (tmp_path / "sub" / "@all").write_text("# all\nc.litmus\nb.litmus # twice\n")
    (tmp_path / "@all").write_text("sub/@all\na.litmus\n")
    assert [p.name for p in files_of(tmp_path / "@all")] == ["c.litmus", "b.litmus", "a.litmus"]
    assert [p.name for p in files_of(tmp_path)] == ["a.litmus", "b.litmus", "c.litmus"]
    (tmp_path / "@all").write_text("a.litmus\n  aa.litmus\n")
    with pytest.raises(LitmusError, match=r"@all:2:3: 'aa.litmus' is not there; did you mean 'a.litmus'"):
        list(files_of(tmp_path / "@all"))
    (tmp_path / "sub" / "@all").write_text("../@all\n")
    (tmp_path / "@all").write_text("sub/@all\n")
    with pytest.raises(LitmusError, match="leads back"):
        list(files_of(tmp_path / "@all"))
