"""The database of a batch: its tables, and for each column the meaning, the unit and whether it is deterministic.

Owns the SQL form. Reads and writes no rows.

A column is *deterministic* if every run of the same point gives the same value, on any host, as long as the guest's own
verdict does not depend on chance. All others are measured. The table `column_note` says the same inside the database,
so that it explains itself to whoever opens it with another program. Columns are added at the end of tables, and may
be null; none is renamed or removed while `FORMAT` stays the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from bus.access import AtomicKind

FORMAT = 1
"""Version of the tables; `PRAGMA user_version`."""

ATOMICS = tuple(kind.name.lower() for kind in AtomicKind)
"""Columns that count atomics by kind."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: SQL type, meaning, and its unit where it has one."""

    name: str
    sql: str
    meaning: str
    unit: str = ""
    deterministic: bool = False


def _fixed(name: str, sql: str, meaning: str, unit: str = "") -> Column:
    return Column(name, sql, meaning, unit, deterministic=True)


_POINT = _fixed("point", "INTEGER NOT NULL REFERENCES point(key)", "the point")
_VM = _fixed("vm", "TEXT NOT NULL", "name of the VM in the run configuration")
_COUNTS = tuple(Column(name, "INTEGER NOT NULL", f"{name} operations performed") for name in ATOMICS)

TABLES: dict[str, tuple[Column, ...]] = {
    "fact": (
        Column("name", "TEXT PRIMARY KEY", "what: name, description, source, parameters, engine"),
        Column("value", "TEXT NOT NULL", "JSON"),
    ),
    "session": (
        Column("number", "INTEGER PRIMARY KEY", "1 for the start of the batch, one more for each resume"),
        Column("started", "REAL NOT NULL", "Unix time", "s"),
        Column("host", "TEXT NOT NULL", "facts about the host, JSON"),
        Column("versions", "TEXT NOT NULL", "versions of hartstorm and what it runs on, JSON"),
    ),
    "point": (
        Column("key", "INTEGER PRIMARY KEY", "number within this database"),
        _fixed("id", "TEXT NOT NULL UNIQUE", "SHA-256 of all that defines the point"),
        Column("number", "INTEGER UNIQUE", "place in the plan from 0; null if the plan has it no more"),
        _fixed("parameters", "TEXT NOT NULL", "what the sweep chose, JSON"),
        _fixed("config", "TEXT NOT NULL", "the expanded run configuration, JSON"),
        _fixed("images", "TEXT NOT NULL", "SHA-256 of each VM's program, by VM, JSON"),
    ),
    "result": (
        _fixed("point", "INTEGER PRIMARY KEY REFERENCES point(key)", "the point"),
        _fixed("status", "TEXT NOT NULL", "ok, failed, budget, refused, lost"),
        Column("detail", "TEXT NOT NULL", "why, where no check says it"),
        Column("attempts", "INTEGER NOT NULL", "how often it was run, this time included"),
        Column("session", "INTEGER NOT NULL REFERENCES session(number)", "when it was run"),
        Column("started", "REAL NOT NULL", "Unix time", "s"),
        Column("wall_s", "REAL NOT NULL", "how long a worker had it", "s"),
        Column("worker", "TEXT NOT NULL", "host and process id"),
    ),
    "vm": (
        _POINT,
        _VM,
        _fixed("policy", "TEXT NOT NULL", "coherence policy"),
        _fixed("tier", "TEXT NOT NULL", "execution tier, as configured"),
        _fixed("isa", "TEXT NOT NULL", "canonical ISA string"),
        _fixed("seed", "TEXT NOT NULL", "seed, decimal: it may pass 63 bits"),
        _fixed("harts", "INTEGER NOT NULL", "number of harts"),
        _fixed("ok", "INTEGER NOT NULL", "1 if every check holds"),
        _fixed("ending", "TEXT NOT NULL", "how it ended"),
        _fixed("exit_code", "INTEGER", "HTIF code, if it exited"),
        Column("detail", "TEXT NOT NULL", "how it ended, for people"),
        Column("wall_s", "REAL NOT NULL", "start to end, processes' start-up included", "s"),
        Column("run_s", "REAL NOT NULL", "the longest time that a hart ran", "s"),
        Column("instret", "INTEGER NOT NULL", "instructions retired, all harts"),
        Column("traps", "INTEGER NOT NULL", "traps taken by handlers of the guest, all harts"),
        *_COUNTS,
        Column("sc_failed", "INTEGER NOT NULL", "SCs that failed, all harts"),
        Column("console", "TEXT NOT NULL", "what the guest printed"),
        Column("messages", "INTEGER", "between harts and bus; null where an older version ran it"),
    ),
    "hart": (
        _POINT,
        _VM,
        _fixed("hart", "INTEGER NOT NULL", "its number"),
        Column("ending", "TEXT NOT NULL", "how it ended"),
        Column("instret", "INTEGER NOT NULL", "instructions retired"),
        Column("run_s", "REAL NOT NULL", "how long it ran", "s"),
        Column("traps", "INTEGER NOT NULL", "traps taken by handlers of the guest"),
        *_COUNTS,
        Column("sc_failed", "INTEGER NOT NULL", "SCs that failed"),
    ),
    "sc_failure": (  # which rows there are is measured, too
        replace(_POINT, deterministic=False),
        replace(_VM, deterministic=False),
        Column("hart", "INTEGER NOT NULL", "the hart"),
        Column("cause", "TEXT NOT NULL", "a name of bus.access.ScFailure, in lower case"),
        Column("count", "INTEGER NOT NULL", "SCs that failed for it"),
    ),
    "metric": (
        _POINT,
        _VM,
        _fixed("hart", "INTEGER", "the hart, or null for the VM"),
        _fixed("name", "TEXT NOT NULL", "a key of [vm.metrics] or [vm.hart_metrics]"),
        Column("value", "TEXT NOT NULL", "its value, decimal: it may pass 63 bits"),
    ),
    "outcome": (
        _POINT,
        _VM,
        _fixed("position", "INTEGER NOT NULL", "place in [vm.outcome]"),
        _fixed("name", "TEXT NOT NULL", "register or expression of [vm.outcome]"),
        Column("value", "TEXT NOT NULL", "its value, decimal"),
    ),
    "check_": (
        _POINT,
        _VM,
        _fixed("position", "INTEGER NOT NULL", "place in the verdict"),
        _fixed("what", "TEXT NOT NULL", "the key of [vm.expect]"),
        _fixed("expected", "TEXT NOT NULL", "for people"),
        Column("seen", "TEXT NOT NULL", "for people"),
        _fixed("ok", "INTEGER NOT NULL", "1 if they agree"),
        Column("at", "TEXT NOT NULL", "hart, pc and instruction of a failure"),
    ),
    "attempt": (
        Column("point", "INTEGER NOT NULL REFERENCES point(key)", "the point"),
        Column("session", "INTEGER NOT NULL", "when it was run"),
        Column("started", "REAL NOT NULL", "Unix time", "s"),
        Column("status", "TEXT NOT NULL", "what became of it; the point ran again after that"),
        Column("detail", "TEXT NOT NULL", "why"),
    ),
    "column_note": (
        Column("table_name", "TEXT NOT NULL", "the table"),
        Column("column_name", "TEXT NOT NULL", "the column"),
        Column("meaning", "TEXT NOT NULL", "what it holds"),
        Column("unit", "TEXT NOT NULL", "SI unit, where it has one"),
        Column("deterministic", "INTEGER NOT NULL", "1 if every run of a point gives the same"),
    ),
}

PER_POINT = ("vm", "hart", "sc_failure", "metric", "outcome", "check_")
"""Tables with any number of rows for a finished point."""

VM_METRICS = ("wall_s", "run_s", "instret", "traps", *ATOMICS, "sc_failed", "messages")
"""Columns of `vm` that are measurements."""


def statements() -> list[str]:
    """The SQL that makes an empty database."""
    made = [
        f"CREATE TABLE {name} ({', '.join(f'{c.name} {c.sql}' for c in columns)})"
        for name, columns in TABLES.items()
    ]
    made += [f"CREATE INDEX {name}_by_point ON {name}(point)" for name in PER_POINT]
    return [*made, f"PRAGMA user_version = {FORMAT}"]


def additions(present: Mapping[str, Collection[str]]) -> list[str]:
    """The SQL that gives a database of this format what was added to it since; `present` are columns by table."""
    return [
        f"ALTER TABLE {table} ADD COLUMN {column.name} {column.sql}"
        for table, columns in TABLES.items()
        for column in columns
        if column.name not in present[table]
    ]


def insert(table: str) -> str:
    """An INSERT of a whole row."""
    columns = TABLES[table]
    return f"INSERT INTO {table} VALUES ({', '.join('?' for _ in columns)})"


def notes() -> list[tuple[str, str, str, str, int]]:
    """The rows of `column_note`."""
    return [
        (table, c.name, c.meaning, c.unit, int(c.deterministic))
        for table, columns in TABLES.items()
        for c in columns
    ]
