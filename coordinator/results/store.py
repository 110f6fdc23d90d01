"""Writes a batch's database: the plan in one transaction, then each finished point in one of its own.

Owns durability: whatever is killed at whatever moment, a point is in it whole or not at all, and never twice. One
process writes at a time, which a lock on the directory sees to; any number may read meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from coordinator.results import schema
from coordinator.results.record import HartRecord, PointRecord, Status, Value, VmRecord, describe

DATABASE = "results.sqlite"
"""Name of the database in the batch directory."""

_LOCK = "lock"


class StoreError(Exception):
    """The batch directory cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """A point as the plan has it; see `schema.TABLES["point"]`."""

    id: str
    parameters: Mapping[str, Value]
    config: str
    images: Mapping[str, str]


class Store:
    """A batch directory, open for writing. A context manager."""

    def __init__(self, directory: Path) -> None:
        """Open the batch directory, or make it.

        Raises:
            StoreError: another process writes to it, it holds something else, or it cannot be made.

        """
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"{directory}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StoreError(f"{directory}: another process runs this batch") from None
        try:
            self._connection = _opened(directory / DATABASE)
        except BaseException:
            os.close(self._lock)
            raise
        self._session = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        self._connection.close()
        os.close(self._lock)

    def begin(self, facts: Mapping[str, object], host: object, versions: object, started: float) -> None:
        """Note the batch's facts, and where and by what this session runs it."""
        with self._transaction() as write:
            write.executemany(
                "INSERT OR REPLACE INTO fact VALUES (?, ?)", [(k, json.dumps(v)) for k, v in facts.items()]
            )
            cursor = write.execute(
                "INSERT INTO session(started, host, versions) VALUES (?, ?, ?)",
                (started, json.dumps(host), json.dumps(versions)),
            )
            self._session = int(cursor.lastrowid or 0)

    def facts(self) -> dict[str, object]:
        """What `begin` noted last; empty for a new directory."""
        return {name: json.loads(value) for name, value in self._connection.execute("SELECT * FROM fact")}

    def plan(self, points: Iterable[PlannedPoint]) -> int:
        """Make these the points of the batch, in this order, and say how many they are.

        Those that were there before keep their results; those that are not among them any more lose their number.
        """
        with self._transaction() as write:
            write.execute("UPDATE point SET number = NULL")
            write.executemany(
                "INSERT INTO point(id, number, parameters, config, images) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT(id) DO UPDATE SET number = excluded.number, parameters = excluded.parameters, "
                "config = excluded.config, images = excluded.images",
                (
                    (p.id, number, json.dumps(dict(p.parameters)), p.config, json.dumps(dict(p.images)))
                    for number, p in enumerate(points)
                ),
            )
            (total,) = write.execute("SELECT COUNT(*) FROM point WHERE number IS NOT NULL").fetchone()
            return int(total)

    def pending(self) -> Iterator[PlannedPoint]:
        """The points of the plan that are not finished, in its order; reads as it goes."""
        at = -1
        while True:
            rows = self._connection.execute(
                "SELECT p.number, p.id, p.parameters, p.config, p.images FROM point p "
                "LEFT JOIN result r ON r.point = p.key "
                "WHERE p.number > ? AND (r.point IS NULL OR r.status = ?) ORDER BY p.number LIMIT 64",
                (at, Status.LOST.value),
            ).fetchall()
            if not rows:
                return
            for number, name, parameters, config, images in rows:
                at = number
                yield PlannedPoint(name, json.loads(parameters), config, json.loads(images))

    def statuses(self) -> dict[Status, int]:
        """How many points of the plan there are of each status."""
        rows = self._connection.execute(
            "SELECT r.status, COUNT(*) FROM point p JOIN result r ON r.point = p.key "
            "WHERE p.number IS NOT NULL GROUP BY r.status"
        )
        return {Status(status): count for status, count in rows}

    def note_attempt(self, record: PointRecord) -> None:
        """Note an attempt after which the point runs again."""
        with self._transaction() as write:
            write.execute(
                schema.insert("attempt"),
                (self._key(record.id), self._session, record.started, record.status.value, describe(record)),
            )

    def put(self, record: PointRecord) -> None:
        """Keep a finished point: all its rows, or none; what an earlier session left of it is replaced."""
        with self._transaction() as write:
            key = self._key(record.id)
            for table in schema.PER_POINT:
                write.execute(f"DELETE FROM {table} WHERE point = ?", (key,))
            write.execute("DELETE FROM result WHERE point = ?", (key,))
            earlier = "SELECT COUNT(*) FROM attempt WHERE point = ?"
            (attempts,) = write.execute(earlier, (key,)).fetchone()
            write.execute(
                schema.insert("result"),
                (
                    key,
                    record.status.value,
                    record.detail,
                    attempts + 1,
                    self._session,
                    record.started,
                    record.wall_s,
                    record.worker,
                ),
            )
            for vm in record.vms:
                for table, rows in _rows(key, vm):
                    write.executemany(schema.insert(table), rows)

    def _key(self, point: str) -> int:
        row = self._connection.execute("SELECT key FROM point WHERE id = ?", (point,)).fetchone()
        return int(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing that is committed; only a crash of the host may lose the last points.
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            for statement in schema.statements():
                connection.execute(statement)
            connection.executemany(schema.insert("column_note"), schema.notes())
            connection.execute("COMMIT")
        elif version != schema.FORMAT:
            raise StoreError(f"{path}: has format {version}; this hartstorm writes format {schema.FORMAT}")
        else:
            _add_columns(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"{path}: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _add_columns(connection: sqlite3.Connection) -> None:
    """Give a database that an older version wrote the columns that it lacks."""
    present = {
        table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for table in schema.TABLES
    }
    missing = schema.additions(present)
    if missing:
        connection.execute("BEGIN IMMEDIATE")
        for statement in missing:
            connection.execute(statement)
        connection.execute("DELETE FROM column_note")
        connection.executemany(schema.insert("column_note"), schema.notes())
        connection.execute("COMMIT")


def _rows(key: int, vm: VmRecord) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    harts = vm.harts
    yield (
        "vm",
        [
            (
                key,
                vm.name,
                vm.policy,
                vm.tier,
                vm.isa,
                str(vm.seed),
                len(harts),
                int(vm.ok),
                vm.ending,
                vm.exit_code,
                vm.detail,
                vm.wall_s,
                max((h.run_s for h in harts), default=0.0),
                sum(h.instret for h in harts),
                sum(h.traps for h in harts),
                *(sum(h.atomics.get(kind, 0) for h in harts) for kind in schema.ATOMICS),
                sum(sum(h.sc_failures.values()) for h in harts),
                vm.console,
                vm.messages,
            )
        ],
    )
    yield "hart", [(key, vm.name, *_hart(h)) for h in harts]
    yield "sc_failure", [(key, vm.name, h.hart, c, n) for h in harts for c, n in h.sc_failures.items()]
    yield "metric", [(key, vm.name, None, name, str(value)) for name, value in vm.metrics.items()]
    yield "metric", [(key, vm.name, h.hart, n, str(v)) for h in harts for n, v in h.metrics.items()]
    yield "outcome", [(key, vm.name, at, n, str(v)) for at, (n, v) in enumerate(vm.outcome.items())]
    yield (
        "check_",
        [
            (key, vm.name, at, c.what, c.expected, c.seen, int(c.ok), c.where)
            for at, c in enumerate(vm.checks)
        ],
    )


def _hart(hart: HartRecord) -> tuple[object, ...]:
    counts = (hart.atomics.get(kind, 0) for kind in schema.ATOMICS)
    failed = sum(hart.sc_failures.values())
    return (hart.hart, hart.ending, hart.instret, hart.run_s, hart.traps, *counts, failed)
