"""bench recording: runs with and without, figures that belong together, a command that can refuse."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from coordinator.bench.recording import PROGRAMS, WHERE, Cost, costs
from coordinator.cli import app
from coordinator.spec import tier_problem


def test_a_short_run_is_recorded_and_allowed():
    (cost,) = costs(["quickstart"], 2, 1, where=[("inline", "interpreter", 1)], scale=0.002)
    iterations = int(0.002 * PROGRAMS["quickstart"])
    assert cost.verdict == "allowed"
    # Each iteration has two AMOs, LR and SC, a load and an AMOCAS, two loads and a store at least.
    assert cost.events >= 2 * 10 * iterations
    assert cost.iterations == 1
    assert min(cost.plain_s, cost.recorded_s, cost.check_s, cost.megabytes) > 0


def test_timed_runs_may_be_longer_than_the_checked_one():
    (cost,) = costs(["quickstart"], 1, 1, where=[("inline", "interpreter", 4)], scale=0.001)
    iterations = int(0.001 * PROGRAMS["quickstart"])
    assert cost.iterations == 4
    assert 10 * iterations <= cost.events <= 10 * iterations + 50


def test_figures():
    cost = Cost("p", "inline", "t2", 2, 1000, 8.0, 2.0, 6.0, 1.0, 5.0, 1.0, 1.0, "allowed")
    assert cost.times == pytest.approx(3)
    assert cost.steady_times == pytest.approx(5)
    lost = Cost("p", "inline", "t2", 2, 1000, 8.0, 2.0, 6.0, -0.1, 5.0, 1.0, 1.0, "allowed")
    assert lost.steady_times is None


def test_places_exist():
    assert [tier_problem(tier, policy) for policy, tier, _ in WHERE] == [None] * len(WHERE)


def test_what_is_not_measured_is_refused():
    result = CliRunner().invoke(app, ["bench", "recording", "quikstart"])
    assert result.exit_code == 2
    assert "'quikstart' is not measured; did you mean 'quickstart'?; there are c-atomics, quickstart" in (
        " ".join(result.output.split())
    )
