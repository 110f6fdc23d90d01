"""kill -9 of anything while a batch runs: nothing is lost, doubled or left behind."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from coordinator.paths import CONFIGS
from coordinator.results import schema
from coordinator.results.store import DATABASE
from tests.coordinator.batch.batches import run_batch
from tests.coordinator.guests import MARK, processes

BATCH = f"""
name = "attacked"
base = {str(CONFIGS / "quickstart.toml")!r}
[vm]
harts = 2
tier = "interpreter"
guest.defines.ITERATIONS = 10
limits.timeout_s = 1200  # a host so busy that harts do not start for a minute changes no result
metrics.operations = "amo_counter"
outcome.symbols = ["lock", "cas_counter"]
[sweep]
seeds = %d
[batch]
retry = ["hart died", "bus died"]
attempts = 100
"""
PATIENCE_S = 3600
"""So long that only a batch that stands still exceeds it, on however busy a host."""


def batch_file(directory: Path, points: int) -> Path:
    file = directory / "attacked.toml"
    file.write_text(BATCH % points)
    return file


def start(file: Path, out: Path, mark: str, *words: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-c",
        "from coordinator.cli import main; main()",
        "batch",
        str(file),
        "--no-report",
    ]
    return subprocess.Popen(
        [*command, "--out", str(out), *words],
        env=os.environ | {MARK: mark},
        cwd=CONFIGS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def kind_of(pid: int, name: str, batch: int) -> str:
    """What a process is: the batch, one of its workers, a hart, a bus, or what else there is (fork servers)."""
    if pid == batch:
        return "batch"
    with suppress(OSError):
        if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == batch:
            return "worker"
    return next((role for role in ("hart", "bus") if f"-{role}" in name), "other")


@pytest.fixture
def runtime(monkeypatch):
    """A place of our own for the VMs' directories, each of which names a segment: others run VMs here, too."""
    with tempfile.TemporaryDirectory(prefix="hs-") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


def wait_until_gone(mark: str) -> None:
    deadline = time.monotonic() + 30
    while left := processes(mark):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def deterministic(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every deterministic column of every table, by point id."""
    found = {}
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        for table, columns in schema.TABLES.items():
            names = [c.name for c in columns if c.deterministic and c.name != "point"]
            if names:
                on = "" if table == "point" else f"JOIN point p ON p.key = t.point WHERE '{table}' != ''"
                own = ", ".join(f"t.{name}" for name in names)
                key = "t.id" if table == "point" else "p.id"
                found[table] = sorted(
                    connection.execute(f"SELECT {key}, {own} FROM {table} t {on}"), key=repr
                )
    return found


def attack(directory: Path, points: int, kills: int, seed: int, pause_s: float) -> Counter[str]:
    """Run a batch to its end while killing something `kills` times, at most `pause_s` apart while something runs; says
    how often what was killed."""
    chance = random.Random(seed)
    mark = f"{os.getpid()}-{seed}"
    file, out = batch_file(directory, points), directory / "attacked"
    killed: Counter[str] = Counter()
    running = start(file, out, mark, "-j", "2")
    while sum(killed.values()) < kills:
        time.sleep(chance.uniform(0, pause_s))
        if running.poll() is not None:
            if running.returncode == 0:
                break  # it was faster than we were
            running.communicate()
            running = start(file, out, mark, "-j", "2")
            continue
        kinds: dict[str, list[int]] = {}
        for pid, name in processes(mark).items():
            kinds.setdefault(kind_of(pid, name, running.pid), []).append(pid)
        if "hart" not in kinds:
            continue  # nothing runs yet
        kind = chance.choice(sorted(kinds))
        with suppress(ProcessLookupError):
            os.kill(chance.choice(kinds[kind]), signal.SIGKILL)
            killed[kind] += 1
    if running.poll() is None:
        running.kill()
    running.communicate()
    finish(start(file, out, mark, "-j", "2"))
    wait_until_gone(mark)
    return killed


def finish(running: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a batch, which must be a good one."""
    try:
        text, _ = running.communicate(timeout=PATIENCE_S)
    finally:
        running.kill()
    assert running.returncode == 0, text.decode()


def check_attack(directory: Path, points: int, kills: int, seed: int) -> int:
    """How often something was killed; the batch may end before all of `kills`."""
    untouched = directory / "untouched"
    mark = f"{os.getpid()}-{seed}-untouched"
    begin = time.monotonic()
    finish(start(batch_file(directory, points), untouched, mark, "-j", "2"))
    # So that all fall into the time that the points take.
    killed = attack(directory, points, kills, seed, min(0.3, (time.monotonic() - begin) / kills))
    print(f"killed: {dict(killed)}")
    expected = deterministic(untouched)
    assert len(expected["result"]) == points
    assert deterministic(directory / "attacked") == expected
    return sum(killed.values())


def test_short_attack(tmp_path, runtime):
    assert check_attack(tmp_path, points=30, kills=3, seed=1) > 0
    assert list(runtime.iterdir()) == []


@pytest.mark.soak
def test_fifty_kills_in_two_hundred_points(tmp_path, runtime):
    assert check_attack(tmp_path, points=200, kills=50, seed=2) == 50
    assert list(runtime.iterdir()) == []


def test_ctrl_c_leaves_nothing_but_a_batch_to_go_on_with(tmp_path):
    mark = f"{os.getpid()}-interrupt"
    file, out = batch_file(tmp_path, 40), tmp_path / "out"
    running = start(file, out, mark, "-j", "2")
    deadline = time.monotonic() + PATIENCE_S
    while finished(out) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    text, _ = running.communicate(timeout=60)
    assert running.returncode == 130, text.decode()
    assert b"run the same command to go on" in text
    wait_until_gone(mark)
    assert 2 <= finished(out) < 40


def finished(directory: Path) -> int:
    if not (directory / DATABASE).exists():
        return 0
    with closing(sqlite3.connect(directory / DATABASE)) as connection, suppress(sqlite3.OperationalError):
        return int(connection.execute("SELECT COUNT(*) FROM result").fetchone()[0])
    return 0


def test_a_dask_worker_killed_midway_changes_no_result(tmp_path):
    pytest.importorskip("distributed")
    from coordinator.batch.cluster import DaskCluster

    class Murderous(DaskCluster):
        seen = 0

        def wait(self, timeout_s):
            records = super().wait(timeout_s)
            if self.seen < 3 <= self.seen + len(records):
                nanny = next(iter(self.cluster.workers.values()))
                os.kill(nanny.pid, signal.SIGKILL)
            self.seen += len(records)
            return records

    file = batch_file(tmp_path, 10)
    finish(start(file, tmp_path / "local", "local", "-j", "2"))
    progress = run_batch(file, tmp_path / "dask", lambda images: Murderous(2, images))
    assert (progress.done, progress.failed) == (10, 0)
    assert deterministic(tmp_path / "dask") == deterministic(tmp_path / "local")
