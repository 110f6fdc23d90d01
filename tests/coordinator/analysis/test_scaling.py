"""How batches scale, and `hartstorm results DIR scaling`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from coordinator.analysis.scaling import COUNTS, THROUGHPUT, scaling
from coordinator.cli import app
from coordinator.results import ResultsError, Status, open_results
from coordinator.results.derived import derivable, derived, jain, shares_of
from tests.coordinator.results.locks import lock_batch


@pytest.fixture(scope="module")
def locks(tmp_path_factory):
    return lock_batch(tmp_path_factory.mktemp("locks"))


def read(directory, **options):
    with open_results(directory) as results:
        return scaling(results, **options)


def test_groups_are_series_over_harts(locks):
    found = read(locks)
    assert found.by == ("lock", "policy")
    assert [g.group for g in found.groups] == [
        (lock, policy) for lock in ("tas", "mcs") for policy in ("serial", "inline")
    ]
    assert found.groups[0].harts == [1, 2, 4, 8]
    assert {s.n for s in found.groups[0].series[THROUGHPUT].values()} == {3}
    mcs = found.groups[2]
    assert mcs.usl.sigma.low <= 0.05 <= mcs.usl.sigma.high
    assert mcs.series["messages_per_operation"][4].mean == 6
    assert mcs.series["fairness"][1].mean == 1
    assert found.groups[0].series["fairness"][8].mean < 0.9
    assert "latency_p99_ns" in mcs.series


def test_more_harts_than_cores_are_warned_of_and_counts_come_first(locks, tmp_path):
    found = read(locks)
    assert found.is_oversubscribed
    assert any("8 harts shared 4 host cores" in w for w in found.warnings)
    assert found.metrics[0] in COUNTS
    wide = read(lock_batch(tmp_path, cores=64))
    assert (wide.is_oversubscribed, wide.metrics[0]) == (False, THROUGHPUT)
    assert wide.warnings == ()


def test_fits_keep_to_the_cores_where_they_can(locks, tmp_path):
    assert read(locks).groups[0].fitted == (1, 2, 4, 8)
    assert any("fits include" in w for w in read(locks).warnings)
    fitted = read(lock_batch(tmp_path, cores=8, harts=(1, 2, 4, 8, 16))).groups[0].fitted
    assert fitted == (1, 2, 4, 8)


def test_failed_points_count_in_nothing(tmp_path):
    def status(parameters):
        return (
            Status.FAILED
            if parameters == {"lock": "mcs", "policy": "inline", "harts": 8, "seed": 2}
            else Status.OK
        )

    found = read(lock_batch(tmp_path, status=status))
    assert found.groups[3].series[THROUGHPUT][8].n == 2
    assert "1 point that failed is in no figure" in found.warnings


def test_what_is_measured_follows_from_the_record():
    measured = {"operations": 10, "instret": 50, "sc_failed": 3, "sc": 12, "run_s": 2.0, "messages": 0}
    assert derived(measured, [4, 4]) == {
        "operations_per_s": 5.0,
        "instructions_per_operation": 5.0,
        "sc_failures_per_operation": 0.3,
        "messages_per_operation": 0.0,
        "sc_failure_rate": 0.25,
        "fairness": 1.0,
    }
    own = derived(measured | {"operations_ns": 1_000_000_000, "operations_instret": 20}, [])
    assert (own["operations_per_s"], own["instructions_per_operation"]) == (10.0, 2.0)
    stopped = derived(measured | {"operations_ns": 0, "operations_instret": 0}, [])  # before it told
    assert (stopped["operations_per_s"], stopped["instructions_per_operation"]) == (5.0, 5.0)
    assert derived({"sc_failed": 0, "sc": 0}, []) == {}
    assert derivable(["sc", "sc_failed"], ["share"]) == ["sc_failure_rate", "fairness"]
    assert derivable(["operations", "operations_ns"], []) == ["operations_per_s"]


def test_fairness_is_jains_index():
    assert jain([5, 0, 0, 0]) == 0.25
    assert jain([1, 2, 3]) == pytest.approx(36 / 42)
    assert shares_of([{"share": 1, "operations": 9}, {"share": 2, "operations": 9}]) == [1, 2]
    assert shares_of([{"operations": 9}, {"operations": 8}]) == [9, 8]
    assert shares_of([{"other": 9}]) == []


def results(*words):
    return CliRunner().invoke(app, ["results", *map(str, words)])


def test_command(locks):
    shown = results(locks, "scaling", "--where", "lock == 'mcs'")
    assert shown.exit_code == 0, shown.output
    assert "note: up to 8 harts shared 4 host cores" in shown.stdout
    assert "instructions_per_operation, by harts" in shown.stdout
    assert "κ coherence" in shown.stdout
    (document,) = json.loads(results(locks, "scaling", "--json", "--by", "policy").stdout)
    assert [g["group"] for g in document["groups"]] == [{"policy": "serial"}, {"policy": "inline"}]
    assert document["groups"][0]["usl"]["sigma"]["value"] > 0
    assert results(locks, "scaling", "--by", "polcy").exit_code == 2


def test_unknown_metric(locks):
    with pytest.raises(ResultsError, match="did you mean 'instret'"):
        read(locks, metrics=["instrt"])
