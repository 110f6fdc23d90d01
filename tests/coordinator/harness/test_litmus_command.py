"""`hartstorm litmus` as users see it: exit codes, logs, JSON, state files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator import paths
from coordinator.cli import app
from coordinator.harness.experiment import Account, Status
from coordinator.harness.summary import Summary, verdict_text
from coordinator.litmus.log import read_log

LITMUS = paths.CONFIGS / "litmus"
QUICK = ["--tier", "interpreter", "--iterations", "64", "--time", "60"]
ONE = "RISCV one\n{ 0:x5=x; 0:x6=1; }\n P0 ;\n sw x6,0(x5) ;\nexists (x=1)\n"


def litmus(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = CliRunner().invoke(app, ["litmus", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_two_jobs_a_log_and_a_state_file(tmp_path: Path) -> None:
    """Different numbers of threads go to different VMs; the second call runs nothing."""
    (tmp_path / "one.litmus").write_text(ONE)
    log, state = tmp_path / "log", tmp_path / "state"
    tests = [tmp_path / "one.litmus", LITMUS / "forbidden/MP.w+fence.rw.rw+fence.rw.rw.litmus"]
    arguments = (*tests, *QUICK, "-j", 2, "--log", log, "--state", state, "--json")
    code, output, errors = litmus(*arguments)
    assert code == 0, errors
    found = {a["test"]: a for a in map(json.loads, output.splitlines())}
    assert found["one"]["states"] == {"[x]=1;": found["one"]["outcomes"]}
    assert found["one"]["holds"]
    entries = {entry.name: entry for entry in read_log(log.read_text().splitlines())}
    assert entries.keys() == found.keys()
    assert all(entry.hash == found[name]["hash"] for name, entry in entries.items())
    assert "2 of 2 tests ran" in errors

    kept = state.read_text()
    code, again, _ = litmus(*arguments)
    assert code == 0
    assert sorted(again.splitlines()) == sorted(output.splitlines())
    assert state.read_text() == kept


def test_what_cannot_be_run_makes_it_2_and_the_rest_runs(tmp_path: Path) -> None:
    (tmp_path / "a.litmus").write_text(ONE.replace("sw x6", "sx x6"))
    (tmp_path / "b.litmus").write_text(ONE)
    (tmp_path / "c.litmus").write_text("AArch64 other\n")
    code, output, errors = litmus(tmp_path, *QUICK)
    assert code == 2
    assert "a.litmus:4:2: unknown instruction 'sx'" in errors
    assert "1 of 2 tests ran, 1 refused" in errors
    assert output.startswith("Test one Allowed\nHistogram (1 states)\n")
    assert "Observation one Always" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--stop-on", "error"], "--stop-on 'error': there is `forbidden`"),
        (["--policy", "inlien"], "policy = 'inlien'; did you mean 'inline'?"),
        (["--tier", "t3"], "'auto', 'interpreter', 't1' or 't2'"),
        (["--harts", "1000"], "--harts 1000: at most"),
    ],
)
def test_what_there_is_not(arguments: list[str], text: str) -> None:
    code, _, errors = litmus(LITMUS / "allowed/SB.w+po+po.litmus", *arguments)
    assert code == 2
    assert text in errors


def test_states_of_an_earlier_log_end_a_test(tmp_path: Path) -> None:
    """All that is allowed will not be seen so soon; what an earlier log has, is."""
    test = LITMUS / "allowed/LB.w+po+po.litmus"
    code, log, _ = litmus(test, *QUICK)
    assert code == 0
    (tmp_path / "log").write_text(log)
    few = ("--tier", "interpreter", "--until-covered", "--seen", tmp_path / "log", "--time", 100, "--json")
    code, output, _ = litmus(test, *few)
    assert code == 0
    account = json.loads(output)
    assert account["seconds"] < 100
    assert account["covered"] < account["allowed"]


def test_figures() -> None:
    """Of hand-made accounts, so that each figure is known."""
    ran = {"file": "f", "status": Status.RAN, "complete": True}
    summary = Summary(4)
    summary.add(Account("1", test="a", outcomes=100, seconds=1.0, allowed=4, covered=3, target=1, **ran))
    summary.add(
        Account(
            "2", test="b", outcomes=300, seconds=1.0, allowed=2, covered=2, target=1, target_seen=1, **ran
        )
    )
    bad = Account(
        "3", test="c", outcomes=800, seconds=2.0, states={"x=1;": 7}, forbidden={"x=1;": "W"}, **ran
    )
    summary.add(bad)
    summary.add(Account("4", "g", Status.REFUSED, "g: why"))
    assert summary.figures() == {
        "tests": 4, "ran": 3, "refused": 1, "broken": 0, "outcomes": 1200, "median_outcomes_per_s": 300,
        "judged": 3, "states_allowed": 6, "states_seen": 5, "coverage": 0.8333, "tests_covered": 2,
        "targets_allowed": 2, "targets_seen": 1, "forbidden": 1,
    }  # fmt: skip
    assert verdict_text(bad) == "f: FORBIDDEN outcome x=1; seen 7 times\nW"
    assert "  c (f)" in list(summary.lines())
