"""Reads a batch's results: its facts, its points with their parameters and metrics. Writes nothing.

May be used while the batch runs. Points come in the order of the plan, a few hundred in memory at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coordinator import expression
from coordinator.expression import Expression, ExpressionError, Value
from coordinator.results import schema
from coordinator.results.derived import derivable, derived, shares_of
from coordinator.results.record import CheckRecord, HartRecord, Status, VmRecord, first_failures, label
from coordinator.results.store import DATABASE
from hart.spelling import nearest

_CHUNK = 256

OWN_NAMES = ("number", "id", "status", "attempts", "policy", "tier", "harts", "seed", "ending", "ok")
"""What a point has besides its parameters and metrics; usable in expressions."""


class ResultsError(Exception):
    """A directory without results, or a question that they cannot answer; says why."""


@dataclass(frozen=True, slots=True)
class BatchPoint:
    """A point of a batch and what became of it.

    Attributes:
        number: its place in the plan, from 0.
        id: SHA-256 of all that defines it.
        parameters: what the sweep chose, by parameter name.
        config: the expanded run configuration, JSON (`coordinator.config.model.Run`).
        status: what became of it; None if it has not been run.
        detail: why, where no check says it.
        attempts: how often it was run.
        wall_s: how long a worker had it, in seconds.
        vms: each VM; empty where it did not run.

    """

    number: int
    id: str
    parameters: Mapping[str, Value]
    config: str
    status: Status | None
    detail: str
    attempts: int
    wall_s: float
    vms: tuple[VmRecord, ...]

    @property
    def label(self) -> str:
        """Its parameters in short: `harts=4 policy=inline`."""
        return label(self.parameters) or f"point {self.number}"

    @property
    def reason(self) -> str:
        """Why it has its status: what kept it from running, or the first check that fails."""
        return self.detail or first_failures(self.vms)

    @property
    def metrics(self) -> dict[str, float]:
        """Its measurements by name: `VM_METRICS`, what `[vm.metrics]` declares, and what follows (`derived.DERIVED`).
        With several VMs each name has the VM's before it: `left_instret`."""
        if len(self.vms) == 1:
            return vm_metrics(self.vms[0])
        return {
            f"{identifier(vm.name)}_{name}": value
            for vm in self.vms
            for name, value in vm_metrics(vm).items()
        }

    @property
    def values(self) -> dict[str, Value]:
        """All that expressions may name: `OWN_NAMES`, then metrics, then parameters, the last being the strongest."""
        found: dict[str, Value] = {"number": self.number, "id": self.id, "attempts": self.attempts}
        found["status"] = self.status.value if self.status else "pending"
        if self.vms:
            first = self.vms[0]
            found |= {"policy": first.policy, "tier": first.tier, "harts": len(first.harts)}
            found |= {"seed": first.seed, "ending": first.ending, "ok": int(all(vm.ok for vm in self.vms))}
        return found | self.metrics | dict(self.parameters)


def vm_metrics(vm: VmRecord) -> dict[str, float]:
    """The measurements of one VM by name."""
    harts = vm.harts
    found: dict[str, float] = {
        "wall_s": vm.wall_s,
        "run_s": max((h.run_s for h in harts), default=0.0),
        "instret": sum(h.instret for h in harts),
        "traps": sum(h.traps for h in harts),
    }
    found |= {kind: sum(h.atomics.get(kind, 0) for h in harts) for kind in schema.ATOMICS}
    found["sc_failed"] = sum(sum(h.sc_failures.values()) for h in harts)
    if vm.messages is not None:
        found["messages"] = vm.messages
    found |= vm.metrics
    return derived(found, shares_of([h.metrics for h in harts])) | found


def identifier(name: str) -> str:
    """`name` as expressions can write it: `big-lock` is `big_lock`."""
    word = "".join(c if c.isalnum() else "_" for c in name)
    return f"_{word}" if word[:1].isdigit() else word


@contextmanager
def open_results(directory: Path) -> Iterator[Results]:
    """Gives the results in a batch directory.

    Raises:
        ResultsError: there are none, or of a format that this version does not know.

    """
    path = directory / DATABASE
    if not path.is_file():
        raise ResultsError(f"{directory}: no results here ({DATABASE}); `hartstorm batch` writes them")
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != schema.FORMAT:
            raise ResultsError(f"{path}: has format {version}; this hartstorm reads format {schema.FORMAT}")
        yield Results(directory, connection)
    except sqlite3.DatabaseError as error:
        raise ResultsError(f"{path}: {error}") from error
    finally:
        connection.close()


class Results:
    """The results of a batch; made by `open_results`."""

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self.directory = directory
        self._connection = connection
        self.facts: dict[str, object] = {
            name: json.loads(value) for name, value in connection.execute("SELECT * FROM fact")
        }
        """Name, description, source, parameters and engine of the batch."""

    @property
    def name(self) -> str:
        """The batch's name."""
        return str(self.facts.get("name", self.directory.name))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that the sweep varies, in the order of the batch file."""
        names = self.facts.get("parameters", [])
        return tuple(map(str, names)) if isinstance(names, list) else ()

    @property
    def sessions(self) -> list[dict[str, object]]:
        """Where and by what the batch was run: number, started, host and versions of each start and resume."""
        rows = self._connection.execute("SELECT number, started, host, versions FROM session ORDER BY number")
        return [
            {"number": n, "started": started, "host": json.loads(host), "versions": json.loads(versions)}
            for n, started, host, versions in rows
        ]

    def statuses(self) -> dict[str, int]:
        """How many points there are of each status, `pending` included."""
        rows = self._connection.execute(
            "SELECT COALESCE(r.status, 'pending'), COUNT(*) FROM point p LEFT JOIN result r ON r.point = p.key "
            "WHERE p.number IS NOT NULL GROUP BY 1"
        )
        return dict(rows)

    def points(self, where: str | None = None) -> Iterator[BatchPoint]:
        """The points of the plan, in its order; those for which the expression `where` holds.

        `where` names parameters, metrics and `OWN_NAMES`: `policy == "inline" and harts in (1, 2)`. A point that
        lacks a metric that others have does not fulfil it.

        Raises:
            ResultsError: `where` is no expression, or names what no point has.

        """
        condition = None if where is None else self._condition(where)
        at = -1
        while rows := self._connection.execute(
            "SELECT p.number, p.key, p.id, p.parameters, p.config, r.status, r.detail, r.attempts, r.wall_s "
            "FROM point p LEFT JOIN result r ON r.point = p.key WHERE p.number > ? ORDER BY p.number LIMIT ?",
            (at, _CHUNK),
        ).fetchall():
            vms = self._vms([row[1] for row in rows])
            for number, key, name, parameters, config, status, detail, attempts, wall_s in rows:
                at = number
                point = BatchPoint(
                    number,
                    name,
                    json.loads(parameters),
                    config,
                    None if status is None else Status(status),
                    detail or "",
                    attempts or 0,
                    wall_s or 0.0,
                    tuple(vms.get(key, ())),
                )
                if condition is None or _holds(condition, point.values):
                    yield point

    def point(self, which: str) -> BatchPoint:
        """The point of that number, or whose id begins so.

        Raises:
            ResultsError: there is none, or several.

        """
        found = self._connection.execute(
            "SELECT number FROM point WHERE number IS NOT NULL AND "
            "(CAST(number AS TEXT) = ?1 OR (length(?1) >= 4 AND substr(id, 1, length(?1)) = ?1))",
            (which,),
        ).fetchall()
        if len(found) != 1:
            problem = "there is no such point" if not found else f"{len(found)} points begin so"
            raise ResultsError(f"{which!r}: {problem}; write a point's number or the beginning of its id")
        return next(self.points(f"number == {found[0][0]}"))

    def names(self) -> list[str]:
        """All names that expressions over the points may use."""
        metrics, by_hart = (
            [
                name
                for (name,) in self._connection.execute(
                    f"SELECT DISTINCT name FROM metric WHERE hart IS {null} ORDER BY 1"
                )
            ]
            for null in ("NULL", "NOT NULL")
        )
        measured = [*schema.VM_METRICS, *metrics]
        measured += derivable(measured, by_hart)
        known = [*self.parameters, *OWN_NAMES, *measured]
        vms = [name for (name,) in self._connection.execute("SELECT DISTINCT vm FROM vm ORDER BY 1")]
        if len(vms) > 1:
            known += [f"{identifier(vm)}_{name}" for vm in vms for name in measured]
        return list(dict.fromkeys(known))

    def _condition(self, text: str) -> Expression:
        try:
            parsed = expression.parse(text, expression.VALUES)
        except ExpressionError as error:
            raise ResultsError(str(error)) from error
        names = self.names()
        for used in sorted(parsed.names):
            if used not in names:
                raise ResultsError(
                    f"{text!r}: no parameter or metric {used!r}{nearest(used, names)}; there are {', '.join(names)}"
                )
        return parsed

    def _vms(self, keys: list[int]) -> dict[int, list[VmRecord]]:
        """The VMs of these points, by point."""
        rows = {table: self._grouped(table, keys) for table in schema.PER_POINT}
        found: dict[int, list[VmRecord]] = defaultdict(list)
        for (key, name), (row,) in rows["vm"].items():
            of_vm = {table: rows[table].get((key, name), []) for table in schema.PER_POINT}
            failures: dict[int, dict[str, int]] = defaultdict(dict)
            for failed in of_vm["sc_failure"]:
                failures[failed["hart"]][failed["cause"]] = failed["count"]
            metrics: dict[int | None, dict[str, int]] = defaultdict(dict)
            for metric in of_vm["metric"]:
                metrics[metric["hart"]][metric["name"]] = int(metric["value"])
            found[key].append(
                VmRecord(
                    name=name,
                    policy=row["policy"],
                    tier=row["tier"],
                    isa=row["isa"],
                    seed=int(row["seed"]),
                    ok=bool(row["ok"]),
                    ending=row["ending"],
                    exit_code=row["exit_code"],
                    detail=row["detail"],
                    wall_s=row["wall_s"],
                    console=row["console"],
                    harts=tuple(
                        HartRecord(
                            hart=h["hart"],
                            ending=h["ending"],
                            instret=h["instret"],
                            run_s=h["run_s"],
                            traps=h["traps"],
                            atomics={kind: h[kind] for kind in schema.ATOMICS if h[kind]},
                            sc_failures=failures[h["hart"]],
                            metrics=metrics[h["hart"]],
                        )
                        for h in of_vm["hart"]
                    ),
                    checks=tuple(
                        CheckRecord(c["what"], c["expected"], c["seen"], bool(c["ok"]), c["at"])
                        for c in of_vm["check_"]
                    ),
                    metrics=metrics[None],
                    outcome={o["name"]: int(o["value"]) for o in of_vm["outcome"]},
                    messages=row["messages"] if "messages" in row.keys() else None,  # noqa: SIM118 (a sqlite3.Row)
                )
            )
        return found

    def _grouped(self, table: str, keys: list[int]) -> dict[tuple[int, str], list[sqlite3.Row]]:
        cursor = self._connection.cursor()
        cursor.row_factory = sqlite3.Row
        marks = ", ".join("?" for _ in keys)
        grouped: dict[tuple[int, str], list[sqlite3.Row]] = defaultdict(list)
        for row in cursor.execute(f"SELECT * FROM {table} WHERE point IN ({marks}) ORDER BY rowid", keys):
            grouped[row["point"], row["vm"]].append(row)
        return grouped


def _holds(condition: Expression, values: Mapping[str, Value]) -> bool:
    if not condition.names <= values.keys():
        return False
    try:
        return bool(condition.evaluate(values))
    except ExpressionError as error:
        raise ResultsError(f"{condition.text!r}: {error}") from error
