import json

import pytest
from typer.testing import CliRunner

from coordinator.bench import batch, report
from coordinator.bench.control import control_speed
from coordinator.bench.interpreter import KERNELS, interpreter_speed
from coordinator.bench.lifecycle import life_cycle
from coordinator.bench.transactions import transaction_speed
from coordinator.commands.bench import app


def test_each_measurement_measures_something():
    assert [s.kernel for s in interpreter_speed(1, 5000) if s.mips > 0] == list(KERNELS)
    speed = transaction_speed(2, repetitions=1, seconds=0.05)
    assert (speed.harts, speed.ratio) == (2, speed.serial_per_s / speed.bare_per_s)
    assert speed.bare_per_s > 100
    cycle = life_cycle(3, repetitions=1)
    assert cycle.start_s > 0
    assert cycle.stop_s > 0
    assert cycle.pss_kib >= cycle.private_kib > 100


def test_the_report_is_json_or_tables(monkeypatch):
    figures = report.BenchReport(
        "3.11", "x86_64", 2, interpreter_speed(1, 1000), [transaction_speed(1, 1, 0.02)], [life_cycle(1, 1)]
    )
    monkeypatch.setattr(report, "measure", lambda quick, progress: figures)
    done = CliRunner().invoke(app, ["--json", "--quick"])
    assert json.loads(done.stdout)["transactions"][0]["harts"] == 1
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    assert "bare pyzmq" in done.stdout


def test_one_reg_is_measured_beside_a_bare_round_trip():
    rows = control_speed(rounds=1)
    assert [row.operation for row in rows] == ["get core.a0", "get isa_ext.zacas", "set core.a0"]
    for row in rows:
        assert row.ratio == pytest.approx(row.per_s / row.bare_per_s)  # of one round
        assert 0 < row.p50_us <= row.p99_us


def test_what_a_batch_costs_is_measured(monkeypatch):
    monkeypatch.setattr(batch, "PLAN_POINTS", 100)
    monkeypatch.setattr(batch, "_SEEDS", 10)
    found = batch.batch_overhead(10, jobs=2)
    assert (found.points, found.failed) == (10, 0)
    assert found.plan_s > 0
    assert found.point_ms > 0
    assert found.last_kib >= found.first_kib // 2 > 1000
