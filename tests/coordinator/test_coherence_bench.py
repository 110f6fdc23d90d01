"""bench coherence and bench aba: programs that count right, figures that add up, commands that can refuse."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from coordinator.bench import aba, coherence
from coordinator.bench.coherence import Comparison, Speed, summarise
from coordinator.bench.contention import (
    SOURCES,
    WORKLOADS,
    BenchError,
    Plan,
    Trial,
    build,
    parse,
    run_guest,
    run_program,
)
from coordinator.bench.kernels import QEMU
from coordinator.bench.tracking import StoreCost
from coordinator.cli import app

NEEDS_ZIG = [
    pytest.mark.outside,
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed"),
]
QUICK = Plan(warm_up_s=0.002, measure_s=0.01, batch=1)


def test_workloads_are_the_programs():
    table = (SOURCES / "workloads.c").read_text(encoding="utf-8").split("workloads[] = {")[1]
    assert tuple(re.findall(r'\{"([\w-]+)",', table)) == WORKLOADS


def test_a_plan_is_words():
    plan = Plan(("amoswap", "tas"), 0.5, 2, 64, 1000, stop_when_wrong=True)
    assert plan.words() == (0b100010, 500_000_000, 2_000_000_000, 64, 1000, 1)


def test_parse():
    text = "noise\nlrsc 3000 500 2500 90 2000000000 right\nmcs 0 0 0 0 5 wrong\n"
    lrsc, mcs = parse(text, 2)
    assert lrsc == Trial("lrsc", 2, 3000, 500, 2500, 90, 2.0, right=True)
    assert lrsc.slowest_share == pytest.approx(1 / 3)
    assert (mcs.right, mcs.slowest_share) == (False, 0.0)


def speed(per_s):
    return Speed(per_s, 1.0, right=True)


def test_summary():
    found = [
        Comparison("lrsc", 1, speed(4), speed(1), speed(2), 4.0, 2.0),
        Comparison("lrsc", 2, speed(1), speed(1), speed(2), 1.0, 0.5),
        Comparison("lrsc-unfused", 1, speed(1), speed(4), speed(4), 0.25, 0.25),
    ]
    summary = summarise(found)
    assert summary.to_qemu == pytest.approx(1)
    assert summary.lowest_to_qemu == (0.25, "lrsc-unfused", 1)
    assert (summary.fused_to_native, summary.unfused_to_native) == (pytest.approx(1), pytest.approx(0.25))
    alone = summarise([replace(found[0], qemu=None, to_qemu=None)])
    assert (alone.to_qemu, alone.lowest_to_qemu, alone.unfused_to_native) == (None, None, None)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("contention"))


class TestPrograms:
    pytestmark = NEEDS_ZIG

    @pytest.mark.parametrize("policy", ["inline", "serial", "directory"])
    def test_as_a_guest_every_workload_comes_out_right(self, built, policy, tmp_path):
        trials = run_guest(built.guest, 3, QUICK, policy, tmp_path)
        assert [t.workload for t in trials if t.right] == list(WORKLOADS)
        assert all(t.operations > 0 for t in trials)

    @pytest.mark.parametrize("form", ["native", QEMU])
    def test_as_a_program(self, built, form):
        if form == QEMU and built.riscv is None:
            pytest.skip(f"{QEMU} is not on PATH")
        command = [built.native] if form == "native" else [QEMU, built.riscv]
        trials = run_program(command, 3, QUICK)
        # QEMU may break the stack: that is what `bench aba` is about.
        assert [t.workload for t in trials if t.right or t.workload == "treiber"] == list(WORKLOADS)

    def test_a_number_of_operations_is_done_by_all_together(self, built, tmp_path):
        plan = Plan(("lrsc",), batch=1, operations=300, measure_s=30)
        (trial,) = run_guest(built.guest, 3, plan, "inline", tmp_path)
        assert (trial.operations, trial.right) == (300, True)

    def test_messages_are_counted(self, built, tmp_path):
        plan = Plan(("amoadd",), batch=1, measure_s=1)
        (trial,) = run_guest(built.guest, 1, plan, "serial", tmp_path, count_messages=True)
        # A request and an answer each. Two clocks, so that a busy host may tear the rates apart somewhat.
        assert 1 < trial.messages_per_s / trial.per_s < 4
        (trial,) = run_guest(built.guest, 1, plan, "directory", tmp_path, count_messages=True)
        assert trial.messages_per_s / trial.per_s < 0.1  # the hart owns the counter

    def test_a_program_that_fails_is_an_error(self, built):
        with pytest.raises(BenchError, match="exit code 2"):
            run_program([built.native], 0, QUICK)


def test_the_commands_name_what_is_allowed():
    def refused(*arguments):
        done = CliRunner().invoke(app, ["bench", *arguments])
        assert done.exit_code == 2
        return done.stderr.strip()

    assert "did you mean 'ticket'" in refused("coherence", "tiket")
    assert refused("coherence", "--harts", "1,x") == "no number of harts 'x'; there are 1 to 256"
    assert "cas (WRONG)" in refused("coherence", "--policy", "sereal")
    assert "did you mean 'inline'" in refused("aba", "inlin")
    assert "did you mean 'atomics'" in refused("engine", "atomic")


def test_the_report_calls_wrong_what_is_wrong(monkeypatch):
    bad = Speed(1e6, 0.5, right=False)
    found = coherence.CoherenceReport(
        2,
        "cas",
        False,
        [Comparison("treiber", 4, bad, bad, speed(2e6), 1.0, 0.5)],
        [coherence.Traffic("serial", "amoadd", 1, 1000.0, 2000.0, 2.0, right=True)],
        [coherence.Crowd("mcs", 64, 1000, 1.0, 2.5, finished=False, slowest_share=0.25)],
        [StoreCost("fill", 0.2, 0.16, 1.25)],
    )
    monkeypatch.setattr(coherence, "measure", lambda *a, **k: found)
    text = CliRunner().invoke(app, ["bench", "coherence"]).stdout
    for part in ("cas (WRONG)", "cas (WRONG), qemu", "2.50", "NO", "2.000", "1.250"):
        assert part in text
    told = json.loads(CliRunner().invoke(app, ["bench", "coherence", "--json"]).stdout)
    assert told["summary"]["lowest_to_qemu"] == [1.0, "treiber", 4]
    assert told["policy_correct"] is False


@pytest.mark.parametrize(
    ("who", "correct", "right", "code"), [("inline", True, False, 1), ("cas (WRONG)", False, False, 0)]
)
def test_a_broken_stack_is_an_error_unless_the_policy_is_wrong(monkeypatch, who, correct, right, code):
    monkeypatch.setattr(coherence, "Bench", lambda *a: None)
    monkeypatch.setattr(aba, "endure", lambda *a, **k: [aba.Endurance(who, correct, 4, 10, 1.0, right)])
    done = CliRunner().invoke(app, ["bench", "aba"])
    assert done.exit_code == code
    assert who in done.stdout
    assert "CORRUPTED" in done.stdout
