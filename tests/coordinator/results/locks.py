"""Makes a batch of locks over harts, policies and seeds that was never run, with known laws in it."""

from __future__ import annotations

import random

from coordinator.results import CheckRecord, HartRecord, PointRecord, Status, VmRecord
from coordinator.results.store import Store
from tests.coordinator.results.made import point

LAWS = {"tas": (0.25, 0.03), "mcs": (0.05, 0.001)}
"""sigma and kappa by lock."""
RATES = {"serial": 4000, "inline": 2_000_000}
"""lambda by policy."""


def lock_batch(
    directory,
    *,
    cores=4,
    locks=tuple(LAWS),
    harts=(1, 2, 4, 8),
    seeds=3,
    status=lambda parameters: Status.OK,
    facts=None,
    text="",
):
    """A batch directory; `text` is put into the console and the reasons of failures."""
    chance = random.Random(3)
    planned = [
        point({"lock": lock, "policy": policy, "harts": n, "seed": seed})
        for lock in locks
        for policy in RATES
        for n in harts
        for seed in range(seeds)
    ]
    noted = {"name": "locks", "parameters": ["lock", "policy", "harts", "seed"]} | (facts or {})
    with Store(directory) as store:
        store.plan(planned)
        store.begin(noted, {"node": "here", "cores": cores}, {"python": "3"}, 1.7e9)
        for it in planned:
            store.put(_record(it, status(it.parameters), chance, text))
    return directory


def _record(planned, status, chance, text):
    lock, policy, n, seed = planned.parameters.values()
    sigma, kappa = LAWS.get(lock, (0.1, 0.01))
    rate = RATES[policy] * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)) * chance.lognormvariate(0, 0.03)
    run_s = 1000 * n / rate
    harts = tuple(
        HartRecord(
            hart,
            "parked",
            int((60 + 500 * n * kappa) * 1000 * chance.lognormvariate(0, 0.02)),
            run_s,
            0,
            {"sc": 1000, "lr": 1000},
            {"other_sc": int(1000 * kappa * n)} if n > 1 else {},
            {"operations": 1000, "share": int(1000 / (1 + 30 * kappa * hart))},
        )
        for hart in range(n)
    )
    ok = status is Status.OK
    vm = VmRecord(
        "vm",
        policy,
        "auto",
        "rv64imac",
        seed,
        ok,
        "exit",
        0,
        "",
        run_s,
        text,
        harts,
        (CheckRecord("invariant", "guarded == operations", text or "0", ok, ""),),
        {
            "operations": 1000 * n,
            "latency_p50_ns": int(1e9 * n / rate),
            "latency_p99_ns": int(5e9 * n / rate),
        },
        {},
        {"serial": 6000 * n, "inline": 0}[policy],
    )
    return PointRecord(planned.id, status, "", 1000.0, run_s, "here:1", (vm,))
