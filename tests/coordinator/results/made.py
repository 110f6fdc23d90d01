"""Makes batch directories with results that were never run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from coordinator.results import CheckRecord, HartRecord, PointRecord, Status, VmRecord
from coordinator.results.store import PlannedPoint, Store

HARTS, SEEDS = (1, 2, 4), range(8)


def hart(number=0, run_s=1.0, **metrics):
    return HartRecord(
        number, "parked", 100, run_s, 0, {"sc": 9, "lr": 9}, {"other_store": number + 1}, metrics
    )


def vm(name="vm", *, ok=True, run_s=1.0, harts=1, operations=1000, outcome=None, ending="exit"):
    checks = (CheckRecord("exit_code", "0", "0" if ok else "3", ok, "" if ok else "hart 0 at spin+0x4"),)
    return VmRecord(
        name,
        "serial",
        "auto",
        "rv64imac",
        (1 << 64) - 1,
        ok,
        ending,
        0 if ok else 3,
        "",
        run_s + 0.1,
        "hello\x00\n",
        tuple(hart(n, run_s, share=n) for n in range(harts)),
        checks,
        {"operations": operations},
        outcome or {},
    )


def point(parameters: Mapping[str, object]) -> PlannedPoint:
    name = hashlib.sha256(repr(sorted(parameters.items())).encode()).hexdigest()
    return PlannedPoint(name, parameters, "{}", {"vm": "0" * 64})


def record(planned: PlannedPoint, status=Status.OK, vms: tuple[VmRecord, ...] | None = None) -> PointRecord:
    made = (vm(ok=status is Status.OK),) if vms is None else vms
    return PointRecord(planned.id, status, "", 1000.0, 2.5, "here:1", made)


def batch(
    directory: Path,
    make: Callable[[Mapping[str, int]], PointRecord | None] | None = None,
    points: Iterable[PlannedPoint] | None = None,
) -> Path:
    """A batch of 3 harts x 8 seeds, or of these points; `make` says what became of each, None that it has not run."""
    planned = list(points or (point({"harts": h, "seed": s}) for h in HARTS for s in SEEDS))
    with Store(directory) as store:
        store.plan(planned)
        parameters = list(planned[0].parameters)
        store.begin({"name": "made", "parameters": parameters}, {"node": "here"}, {"python": "3"}, 1.0)
        for it in planned:
            made = record(it) if make is None else make(it)
            if made is not None:
                store.put(made)
    return directory


def noisy(factor: float, seed: int, noise: float = 0.03, slow: Mapping[int, float] | None = None):
    """Times around 1 s per hart, times `factor`, or by the number of harts times what `slow` says."""
    chance = random.Random(seed)

    def make(planned: PlannedPoint) -> PointRecord:
        harts = planned.parameters["harts"]
        run_s = harts * factor * (slow or {}).get(harts, 1.0) * chance.lognormvariate(0, noise)
        return record(planned, vms=(vm(run_s=run_s, harts=harts),))

    return make
