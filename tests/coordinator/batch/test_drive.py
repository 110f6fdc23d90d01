"""What a batch runs next, keeps, and runs again: with an executor that runs nothing."""

from __future__ import annotations

import sqlite3

import pytest

from coordinator.batch import drive
from coordinator.batch.drive import MOST_LOSSES
from coordinator.results import PointRecord, Status, VmRecord, open_results
from coordinator.results.store import PlannedPoint
from tests.coordinator.batch.batches import run_batch, write


def vm(ok=True, ending="exit"):
    return VmRecord("vm", "serial", "auto", "rv64i", 0, ok, ending, 0 if ok else None, "", 0.1, "", (), ())


class Scripted:
    """Answers each task with the next status of its script, the last one for ever."""

    def __init__(self, script=(Status.OK,), capacity=2, ending="exit"):
        self.script, self.capacity, self.ending = script, capacity, ending
        self.tasks = []
        self.out = []
        self.most_out = 0

    def submit(self, task):
        self.tasks.append(task.id)
        self.out.append(task.id)
        self.most_out = max(self.most_out, len(self.out))

    def wait(self, timeout_s):
        name = self.out.pop(0)
        status = self.script[min(self.tasks.count(name), len(self.script)) - 1]
        vms = () if status is Status.LOST else (vm(status is Status.OK, self.ending),)
        return [PointRecord(name, status, "", 1.0, 0.5, "me:1", vms)]

    def close(self):
        pass


def test_every_point_runs_once(tmp_path):
    executor = Scripted(capacity=3)
    progress = run_batch(write(tmp_path, "sweep.seeds = 10\n"), tmp_path / "out", executor)
    assert len(executor.tasks) == len(set(executor.tasks)) == 10
    assert executor.most_out == 3
    assert (progress.done, progress.failed) == (10, 0)


def test_finished_points_are_not_repeated(tmp_path):
    file = write(tmp_path, "sweep.seeds = 4\n")
    run_batch(file, tmp_path / "out", Scripted())
    file = write(tmp_path, "sweep.seeds = 6\n")
    executor = Scripted()
    progress = run_batch(file, tmp_path / "out", executor)
    assert len(executor.tasks) == 2
    assert (progress.before, progress.done, progress.total) == (4, 6, 6)


def test_points_that_the_file_has_no_more_are_kept_but_not_shown(tmp_path):
    run_batch(write(tmp_path, "sweep.seeds = 4\n"), tmp_path / "out", Scripted())
    run_batch(write(tmp_path, "sweep.seeds = [3, 9]\n"), tmp_path / "out", Scripted())
    with open_results(tmp_path / "out") as results:
        assert [p.parameters["seed"] for p in results.points()] == [3, 9]
    rows = sqlite3.connect(tmp_path / "out" / "results.sqlite").execute("SELECT COUNT(*) FROM result")
    assert rows.fetchone() == (5,)


def test_a_failure_is_final_unless_it_is_marked(tmp_path):
    executor = Scripted((Status.FAILED, Status.OK))
    progress = run_batch(write(tmp_path, "sweep.seeds = 2\n"), tmp_path / "out", executor)
    assert len(executor.tasks) == 2
    assert progress.failed == 2


@pytest.mark.parametrize(("retry", "tries"), [("failed", 2), ("hart died", 2), ("watchdog", 1)])
def test_what_is_marked_runs_again(tmp_path, retry, tries):
    executor = Scripted((Status.FAILED, Status.OK), ending="hart died")
    file = write(tmp_path, f"batch.retry = ['{retry}']\n")
    progress = run_batch(file, tmp_path / "out", executor)
    assert len(executor.tasks) == tries
    assert progress.failed == (tries == 1)
    with open_results(tmp_path / "out") as results:
        (point,) = results.points()
    assert point.attempts == tries


def test_attempts_have_an_end(tmp_path):
    executor = Scripted((Status.FAILED,))
    run_batch(write(tmp_path, "batch.retry = ['failed']\nbatch.attempts = 4\n"), tmp_path / "out", executor)
    assert len(executor.tasks) == 4


def test_a_lost_point_runs_again_now_and_with_the_next_resume(tmp_path):
    file = write(tmp_path, "")
    executor = Scripted((Status.LOST,))
    progress = run_batch(file, tmp_path / "out", executor)
    assert len(executor.tasks) == MOST_LOSSES
    assert progress.by_status == {Status.LOST: 1}
    executor = Scripted((Status.LOST, Status.OK))
    progress = run_batch(file, tmp_path / "out", executor)
    assert len(executor.tasks) == 2
    assert progress.by_status == {Status.OK: 1}


def test_until_so_many_failures(tmp_path):
    executor = Scripted((Status.FAILED,), capacity=1)
    file = write(tmp_path, "sweep.seeds = 10\n")
    assert run_batch(file, tmp_path / "out", executor, until_failures=3).failed == 3
    assert len(executor.tasks) == 3
    assert run_batch(file, tmp_path / "out", Scripted(), until_failures=3).done == 10


def test_the_rate_is_that_of_late(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(drive.time, "monotonic", lambda: now)
    progress = drive.Progress(total=500, before=100, done=100, by_status={}, started=now)
    assert (progress.rate, progress.eta_s) == (0, None)

    def finish(points, each_s):
        nonlocal now
        for number in range(points):
            now += each_s
            point = PlannedPoint(f"{number}", {}, "", {})
            progress.count(point, PointRecord(point.id, Status.OK, "", now, each_s, "me:1", ()))

    finish(5, 0.5)
    assert progress.rate == pytest.approx(2)
    finish(195, 0.5)
    assert progress.rate == pytest.approx(2)
    assert progress.eta_s == pytest.approx(100)
    finish(40, 2)
    assert progress.rate == pytest.approx(0.5)
    finish(10, 60)  # longer than the time looked at
    assert progress.rate == pytest.approx(1 / 60)
