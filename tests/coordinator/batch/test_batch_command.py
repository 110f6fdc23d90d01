"""`hartstorm batch`, with real workers."""

from __future__ import annotations

import os
import shlex
import signal
from functools import partial

import pytest
from typer.testing import CliRunner

from coordinator.batch.pool import LocalPool
from coordinator.cli import app
from coordinator.results import Status, open_results
from tests.coordinator.batch.batches import run_batch, write


def batch(*words):
    return CliRunner().invoke(app, ["batch", *map(str, words)])


def test_a_batch_runs_and_resumes(tmp_path):
    file = write(tmp_path, "sweep.grid.vm.guest.defines.WHICH = [1, 2]\nsweep.seeds = 2\n")
    done = batch(file, "-j", 2, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "b: 4 of 4 points done (4 ok)" in done.stdout
    with open_results(tmp_path / "out") as results:
        points = list(results.points("WHICH == 2"))
        assert results.parameters == ("WHICH", "seed")
    assert [p.parameters for p in points] == [{"WHICH": 2, "seed": 0}, {"WHICH": 2, "seed": 1}]
    assert all(p.status is Status.OK and p.metrics["instret"] > 3 for p in points)
    again = batch(file, "-j", 2, "--out", tmp_path / "out")
    assert "4 of 4 points done, 4 of them before" in again.stdout


def test_a_batch_that_is_done_ends_with_its_report(tmp_path):
    pytest.importorskip("matplotlib")
    file = write(tmp_path, "sweep.seeds = 2\n")
    out = tmp_path / "out"
    assert batch(file, "-j", 1, "--out", out, "--no-report").exit_code == 0
    assert not (out / "report.html").exists()
    done = batch(file, "-j", 1, "--out", out)
    assert f"{out / 'report.html'}: " in done.stdout
    assert "<b>2</b> ok" in (out / "report.html").read_text()
    file.write_text(file.read_text().replace("seeds = 2", "seeds = 3") + "batch.report = false\n")
    assert "report.html" not in batch(file, "-j", 1, "--out", out).stdout


def test_a_batch_that_is_stopped_has_no_report_yet(tmp_path):
    file = write(tmp_path, "vm.expect.exit_code = 1\nsweep.seeds = 3\n")
    done = batch(file, "-j", 1, "--out", tmp_path / "out", "--until", "failures=1")
    assert done.exit_code == 1
    assert not (tmp_path / "out" / "report.html").exists()


def test_failures_are_told_and_do_not_stop_the_rest(tmp_path):
    sweep = "vm.expect.invariants = ['seen < 2']\nsweep.grid.vm.guest.defines.WHICH = [1, 2, 3]\n"
    done = batch(write(tmp_path, sweep), "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "failed  WHICH=3  vm: invariant: expected seen < 2, seen 3 < 2" in done.stdout
    assert "(2 failed, 1 ok)" in done.stdout
    assert "these are the last" not in done.stdout


def test_who_has_more_failures_than_are_shown_is_told_where_they_are(tmp_path):
    sweep = "vm.expect.exit_code = 1\nsweep.grid.vm.guest.defines.WHICH = { from = 1, to = 10 }\n"
    done = batch(write(tmp_path, sweep), "--out", tmp_path / "out", "--no-report")
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("these are the last of 10")]
    command = shlex.split(told.partition("all: hartstorm ")[2])
    listed = CliRunner().invoke(app, command)
    assert "b: 10 failed" in listed.stdout


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path):
    done = batch(write(tmp_path, "sweep.seeds = 50\n"), "--dry-run", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "b: 50 points, 40 of them shown, 1 different guests" in done.stdout
    assert not (tmp_path / "out").exists()


def test_errors_are_the_config_files(tmp_path):
    done = batch(write(tmp_path, "[sweep.grid]\nvm.hart = [1]\n"), "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "b.toml:4: sweep.grid.vm.hart: unknown key; did you mean 'harts'?" in done.stderr
    assert batch(write(tmp_path, ""), "--until", "failure=1").exit_code == 2


def test_a_directory_holds_one_batch(tmp_path):
    file = write(tmp_path, "")
    assert batch(file, "--out", tmp_path / "out").exit_code == 0
    file.write_text(file.read_text().replace('"b"', '"c"'))
    done = batch(file, "--out", tmp_path / "out")
    assert (done.exit_code, "holds the batch 'b', not 'c'" in done.stderr) == (2, True)


class Murderous(LocalPool):
    """Kills a worker after each task it is handed, the first `victims` times."""

    victims = 2

    def submit(self, task):
        super().submit(task)
        if self.victims:
            self.victims -= 1
            os.kill(self.pids()[-1], signal.SIGKILL)


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    progress = run_batch(write(tmp_path, "sweep.seeds = 5\n"), tmp_path / "out", partial(Murderous, 2))
    assert (progress.done, progress.failed, progress.again) == (5, 0, 2)


def test_budgets_and_outcomes(tmp_path):
    file = write(
        tmp_path,
        "vm.outcome.symbols = ['seen']\nsweep.grid.vm.guest.defines.WHICH = [1, 2]\nsweep.repeat = 2\n",
    )
    done = batch(file, "--time", 60, "--junit", tmp_path / "j.xml", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert 'tests="4"' in (tmp_path / "j.xml").read_text()
    shown = CliRunner().invoke(app, ["results", str(tmp_path / "out"), "outcomes", "--by", ""])
    assert "  2 :> seen=1;\n  2 :> seen=2;" in shown.stdout
    wrong = batch(file, "--retry", "wathdog", "--out", tmp_path / "out")
    assert "--retry[0] = \"wathdog\": is not allowed; did you mean 'watchdog'?" in wrong.stderr
    assert (
        "--on nowhere: write tcp://HOST:PORT"
        in batch(file, "--on", "nowhere", "--out", tmp_path / "o2").stderr
    )
