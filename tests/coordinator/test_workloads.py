"""The workloads: each does its work rightly, and its configuration finds the bug planted in it.

`hartstorm batch configs/batches/workloads.toml` runs all at 1 to 16 harts under every correct policy, 20 times.
"""

from __future__ import annotations

import importlib.util
import tomllib

import pytest

from bus import policies
from coordinator import paths
from coordinator.config import load
from coordinator.config.load import Overrides
from coordinator.config.settings import parse_setting
from coordinator.guest import build_all
from coordinator.local import local_coordinator
from coordinator.runner import run

pytestmark = [
    pytest.mark.outside,
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed"),
]
NAMES = sorted(name for name, file in paths.shipped_configs().items() if file.parent.name == "workloads")
CORRECT = [name for name in policies.NAMES if policies.policy(name).correct]
PATIENCE_S = 900
"""A planted bug lingers at each turn, which takes a minute where many others want the host."""


@pytest.fixture(scope="module")
def client():
    with local_coordinator() as client:
        yield client


def outcome(client, name, *settings, **overrides):
    """What came of a workload."""
    file = paths.shipped_configs()[name]
    config = load(file, Overrides(timeout=PATIENCE_S, **overrides), tuple(map(parse_setting, settings)))
    (outcome,) = run(config.run, build_all(config), client)
    return outcome


def failures(outcome):
    return [
        f"{check.what} {check.expected}: {check.seen}" for check in outcome.verdict.checks if not check.ok
    ]


@pytest.mark.parametrize("name", NAMES)
def test_right(client, name):
    done = outcome(client, name, harts=3)
    assert failures(done) == []
    of = done.measured.metrics
    assert of["operations"] == sum(m["operations"] for m in done.measured.by_hart.values())
    assert 0 < of["operations_ns"] < 1e9 * done.result.wall_s
    assert 0 < of["operations_instret"] < sum(hart.instret for hart in done.result.harts)


@pytest.mark.parametrize("name", NAMES)
def test_planted_bug_is_found(client, name):
    done = outcome(client, name, "vm.guest.defines.BUG=1", harts=4)
    found = [check.what for check in done.verdict.checks if not check.ok]
    assert {what.partition(".")[0] for what in found} & {"invariant", "linearizable"}, done.result.console


def test_latencies(client):
    of = {f"latency_p{digits}_ns": f"latency_p{digits}" for digits in ("50", "90", "99", "999")}
    settings = [f"vm.metrics.{name}={expression}" for name, expression in of.items()]
    done = outcome(client, "lock-ticket", "vm.guest.defines.LATENCY=1", *settings, harts=2)
    assert failures(done) == []
    percentiles = [done.measured.metrics[name] for name in of]
    assert 0 < percentiles[0] <= percentiles[1] <= percentiles[2] <= percentiles[3]
    assert (
        percentiles[3] <= 2e9 * done.result.wall_s
    )  # no operation takes longer than the run, but for a bucket's width
    mean = 1e9 * done.result.wall_s * 2 / done.measured.metrics["operations"]
    assert (
        percentiles[0] <= 2 * mean
    )  # half of them take no longer than that, so all together take at least as long


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("lock-")])
def test_locks_for_a_time(client, name):
    """However many operations they do; what harts do before they begin together does not count."""
    settings = ("guest.defines.MILLISECONDS=100", "guest.defines.OPERATIONS=1000000000")
    invariants = 'vm.expect.invariants=["guarded == operations"]'
    done = outcome(client, name, *(f"vm.{setting}" for setting in settings), invariants, harts=2)
    assert failures(done) == []
    of = done.measured.metrics
    assert 0 < of["operations"] < 2_000_000_000
    assert 99_000_000 < of["operations_ns"] < 1e9 * done.result.wall_s
    assert 0 < of["operations_instret"] < sum(hart.instret for hart in done.result.harts)


@pytest.mark.parametrize("policy", [name for name in CORRECT if name != "inline"])
@pytest.mark.parametrize("name", ["counter-lrsc", "lock-mcs", "queue-michael-scott"])
def test_under_other_policies(client, name, policy):
    done = outcome(client, name, "vm.guest.defines.OPERATIONS=50", harts=2, policy=policy)
    assert failures(done) == []


def test_the_batch_of_all_is_complete():
    sweep = tomllib.loads((paths.CONFIGS / "batches" / "workloads.toml").read_text())["sweep"]
    assert sorted(sweep["named"]["workload"]) == NAMES
    assert sorted(sweep["zip"][0]["vm"]["policy"]) == sorted(CORRECT)
