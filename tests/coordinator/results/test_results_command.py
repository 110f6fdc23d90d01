"""`hartstorm results`."""

from __future__ import annotations

import csv
import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.results import Status
from tests.coordinator.results.made import batch, noisy, record, vm


def results(*words):
    return CliRunner().invoke(app, ["results", *map(str, words)])


def mixed(planned):
    """Seed 7 has not run, seed 6 was lost, seed 5 failed."""
    seed = planned.parameters["seed"]
    if seed == 7:
        return None
    if seed == 6:
        return record(planned, Status.LOST, ())
    return record(planned, Status.FAILED if seed == 5 else Status.OK)


def test_list(tmp_path):
    done = results(batch(tmp_path, mixed), "list")
    assert done.exit_code == 0
    assert "made: 3 failed, 3 lost, 15 ok, 3 pending" in done.stdout
    assert "exit_code: expected 0, seen 3 (hart 0 at spin+0x4)" in done.stdout
    assert results(tmp_path).stdout == done.stdout


def test_filter(tmp_path):
    batch(tmp_path, mixed)
    found = json.loads(results(tmp_path, "filter", "status == 'failed' and harts in (2, 4)", "--json").stdout)
    assert [(p["harts"], p["seed"]) for p in found] == [(2, 5), (4, 5)]
    wrong = results(tmp_path, "filter", "hart == 1")
    assert (wrong.exit_code, "did you mean 'harts'?" in wrong.stderr) == (2, True)
    assert results(tmp_path, "list", "-m", "run").exit_code == 2


def test_show(tmp_path):
    batch(tmp_path)
    shown = json.loads(results(tmp_path, "show", "9").stdout)
    assert shown["parameters"] == {"harts": 2, "seed": 1}
    assert shown["vms"][0]["seed"] == (1 << 64) - 1
    assert shown["sessions"][0]["host"] == {"node": "here"}


def test_aggregate(tmp_path):
    batch(tmp_path, noisy(1.0, 1))
    rows = json.loads(results(tmp_path, "aggregate", "-m", "run_s", "-m", "instret", "--json").stdout)
    assert [(r["metric"], r["harts"], r["n"]) for r in rows[2:4]] == [("run_s", 4, 8), ("instret", 1, 8)]
    assert "95 % interval" in results(tmp_path, "aggregate", "--by", "harts").stdout


def test_compare(tmp_path):
    batch(tmp_path / "a", noisy(1.0, 1))
    batch(tmp_path / "b", noisy(1.1, 2))
    batch(tmp_path / "c", noisy(1.0, 3))
    slower = results(tmp_path / "a", "compare", tmp_path / "b")
    assert slower.exit_code == 1
    assert "run_s there is 1.1" in slower.stdout
    assert "3 of 3 groups differ" in slower.stdout
    same = results(tmp_path / "a", "compare", tmp_path / "c")
    assert same.exit_code == 0
    assert (
        "no significant difference: run_s there is 0.99" in same.stdout
        or "no significant difference: run_s there is 1.0" in same.stdout
    )


def test_outcomes(tmp_path):
    batch(tmp_path, lambda p: record(p, vms=(vm(outcome={"0:a0": p.parameters["seed"] % 3, "x": 1}),)))
    lines = results(tmp_path, "outcomes", "--by", "").stdout.splitlines()
    assert lines == [
        "made, vm: 3 outcomes in 24 runs",
        "  9 :> 0:a0=0; x=1;",
        "  9 :> 0:a0=1; x=1;",
        "  6 :> 0:a0=2; x=1;",
    ]


def test_csv(tmp_path):
    assert results(batch(tmp_path, mixed), "export", tmp_path / "x.csv").exit_code == 0
    with (tmp_path / "x.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert (rows[5]["status"], rows[5]["seed"], rows[5]["run_s"]) == ("failed", "5", "1.0")
    assert (rows[7]["status"], rows[7]["run_s"]) == ("pending", "")


def test_json(tmp_path):
    batch(tmp_path, mixed)
    assert results(tmp_path, "export", tmp_path / "x.json", "--where", "seed < 2").exit_code == 0
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["batch"]["name"] == "made"
    assert [p["operations_per_s"] for p in document["points"]] == [1000.0] * 6


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert results(batch(tmp_path, mixed), "export", tmp_path / "x.parquet").exit_code == 0
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.num_rows == 24
    assert table.column("run_s").to_pylist()[4:8] == [1.0, 1.0, None, None]
    assert table.column("harts").to_pylist()[0] == 1


def test_junit(tmp_path):
    assert results(batch(tmp_path, mixed), "export", tmp_path / "x.xml").exit_code == 0
    (suite,) = ElementTree.parse(tmp_path / "x.xml").getroot()
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "24",
        "failures": "3",
        "errors": "3",
        "skipped": "3",
    }
    failed = suite[5]
    assert failed.get("name") == "harts=1 seed=5"
    assert "seen 3 hart 0 at spin+0x4" in failed.find("failure").text
    assert failed.find("system-out").text == "hello?\n"


def test_unknown_forms_and_places(tmp_path):
    batch(tmp_path)
    done = results(tmp_path, "export", tmp_path / "x.cvs")
    assert (done.exit_code, "did you mean '.csv'?" in done.stderr) == (2, True)
    assert results(tmp_path, "export", tmp_path / "no" / "x.csv").exit_code == 2
    assert "no results here" in results(tmp_path / "no", "list").stderr
