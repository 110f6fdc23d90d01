"""How a worker runs a point: what goes before it."""

from __future__ import annotations

import json

import pytest

from coordinator.batch import task
from coordinator.batch.task import PointRunner, Task
from coordinator.results import Status
from tests.coordinator.batch.batches import run_batch, write
from tests.coordinator.batch.test_drive import Scripted


@pytest.fixture
def ran(monkeypatch):
    """The seeds of the runs that a worker makes, in order."""
    seeds: list[int] = []

    def run(config, programs, client, budget):
        seeds.append(config.vms["vm"].seed)
        return []

    monkeypatch.setattr(task.runner, "run", run)
    monkeypatch.setattr(PointRunner, "_coordinator", lambda self: None)
    monkeypatch.setattr(task, "_warmed", set())
    return seeds


def point(seed, warm_ups, image="a", **vm):
    config = {"name": "x", "vms": {"vm": {"seed": seed, "guest": {"source": ["a.S"]}} | vm}}
    return Task(f"{seed}", json.dumps(config), {"vm": image}, warm_ups=warm_ups)


def test_no_warm_up_unless_asked_for(ran):
    assert PointRunner().run(point(1, 0), lambda digest: digest).status is Status.OK
    assert ran == [1]


def test_warm_ups_go_before_the_first_of_those_that_differ_in_seeds(ran):
    points = PointRunner()
    for seed in (1, 2, 3):
        points.run(point(seed, 2), lambda digest: digest)
    assert ran == [1, 1, 1, 2, 3]
    points.run(point(4, 1, policy="directory"), lambda digest: digest)
    points.run(point(5, 1, image="b"), lambda digest: digest)
    assert ran[5:] == [4, 4, 5, 5]


def test_the_file_says_how_many(tmp_path, monkeypatch):
    tasks: list[Task] = []
    monkeypatch.setattr(Scripted, "submit", lambda self, t: (tasks.append(t), self.out.append(t.id)))
    monkeypatch.setattr(
        Scripted, "wait", lambda self, s: [task.PointRecord(self.out.pop(), Status.OK, "", 1, 1, "")]
    )
    run_batch(write(tmp_path, "sweep.seeds = 2\nbatch.warm_ups = 3\n"), tmp_path / "out", Scripted())
    assert [t.warm_ups for t in tasks] == [3, 3]
