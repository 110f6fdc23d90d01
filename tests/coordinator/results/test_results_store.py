"""The database of a batch: what is put in comes out, whole and once, whoever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from coordinator.results import ResultsError, Status, open_results, schema
from coordinator.results.store import DATABASE, Store, StoreError
from tests.coordinator.results.made import batch, point, record, vm


def test_what_is_put_in_comes_out(tmp_path):
    made = vm(harts=2, outcome={"0:a0": 1, "x": -(1 << 63)}, operations=(1 << 64) - 1)
    batch(tmp_path, lambda p: record(p, vms=(made,)))
    with open_results(tmp_path) as results:
        points = list(results.points())
    assert [p.number for p in points] == list(range(24))
    assert points[5].parameters == {"harts": 1, "seed": 5}
    assert all(p.vms == (made,) for p in points)
    assert points[0].metrics["operations"] == (1 << 64) - 1
    assert points[0].metrics["operations_per_s"] == ((1 << 64) - 1) / 1.0
    assert points[0].metrics["sc_failed"] == 3


def test_metrics_of_several_vms_have_the_vms_names(tmp_path):
    batch(tmp_path, lambda p: record(p, vms=(vm("left", operations=3), vm("right", operations=4))))
    with open_results(tmp_path) as results:
        (found, *_) = results.points("right_operations == 4 and left_operations < right_operations")
    assert (found.metrics["left_operations"], found.metrics["right_run_s"]) == (3, 1.0)


def test_a_result_put_twice_is_there_once(tmp_path):
    batch(tmp_path, lambda p: record(p, Status.LOST, ()))
    batch(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        for table in ("result", "vm", "hart", "check_"):
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (24,), table


class Deadly(dict):
    def items(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_killed_within_a_point_leaves_none_of_it(tmp_path):
    batch(tmp_path, lambda p: None)
    child = os.fork()
    if not child:
        try:
            with Store(tmp_path) as store:
                store.put(record(point({"harts": 1, "seed": 0})))
                store.put(record(point({"harts": 1, "seed": 1}), vms=(vm(), vm("two", outcome=Deadly(x=1)))))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM vm").fetchone() == (1,)
    with open_results(tmp_path) as results:
        assert [p.number for p in results.points("status != 'pending'")] == [0]
    with Store(tmp_path) as store:  # the lock went with the process
        assert len(list(store.pending())) == 23


def test_one_process_writes(tmp_path):
    with Store(tmp_path), pytest.raises(StoreError, match="another process runs this batch"):
        Store(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / DATABASE).write_text("no database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path)
    with pytest.raises(ResultsError, match="not a database"), open_results(tmp_path):
        pass


def test_no_results_here(tmp_path):
    with pytest.raises(ResultsError, match="no results here"), open_results(tmp_path):
        pass


def test_another_format_is_refused(tmp_path):
    batch(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ResultsError, match="format 99"), open_results(tmp_path):
        pass


def test_every_column_is_explained_in_the_database(tmp_path):
    batch(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        notes = {
            (table, column): flag
            for table, column, meaning, _, flag in connection.execute("SELECT * FROM column_note")
            if meaning
        }
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in connection.execute(f"PRAGMA table_info({table})"):
                assert (table, column[1]) in notes
    assert notes["vm", "ending"] == 1
    assert notes["vm", "wall_s"] == 0
    assert set(schema.PER_POINT) < set(schema.TABLES)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("hart > 1", "no parameter or metric 'hart'; did you mean 'harts'?"),
        ("harts >", "is not an expression"),
        ("harts = 1", "write `==` to compare"),
        ("harts > 'a'", "not supported between"),
        ("open('x')", "no function 'open'"),
        ("status + 1", "no arithmetic on text"),
    ],
)
def test_conditions_that_are_none(tmp_path, where, message):
    batch(tmp_path)
    with open_results(tmp_path) as results, pytest.raises(ResultsError) as caught:
        list(results.points(where))
    assert message in str(caught.value)


def test_points_by_number_and_id(tmp_path):
    batch(tmp_path)
    with open_results(tmp_path) as results:
        seventh = results.point("7")
        assert results.point(seventh.id[:12]) == seventh
        with pytest.raises(ResultsError, match="there is no such point"):
            results.point("99")
