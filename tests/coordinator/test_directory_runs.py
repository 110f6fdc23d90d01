"""`directory` in real processes, attacked: harts killed and stopped, the bus killed and restarted, many harts."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from test_policies import NAMED, vm_of, word

from bus.access import AtomicKind
from bus.traffic import Traffic
from coordinator.result import Ending


def attack(seed: int, harts: int, rounds: int, tier: str) -> None:
    """What is left must be exact: the dead may have counted once more than they noted, never half."""
    dice = random.Random(seed)
    with vm_of(
        rounds,
        harts=harts,
        policy="directory",
        tier=tier,
        handover_order=dice.choice(("fifo", "random")),
        hold_instructions=dice.choice((0, 16, 1000)),
        on_hart_death="continue",
        on_bus_death="restart",
    ) as vm:
        vm.start()
        victims = set(dice.sample(range(harts), dice.choice((0, 1, 2))))
        stopped: set[int] = set()
        deaths = [("hart", v) for v in victims] + [("bus", 0)] * dice.choice((0, 1, 2))
        dice.shuffle(deaths)
        end = time.monotonic() + 0.5 + 0.3 * len(deaths)
        try:
            while time.monotonic() < end:
                time.sleep(dice.random() * 0.1)
                pids = vm.processes()
                stopping = dice.randrange(harts)
                with suppress(ProcessLookupError):
                    if stopping in stopped:
                        os.kill(pids[1 + stopping], signal.SIGCONT)
                        stopped.discard(stopping)
                    elif not dice.randrange(3):
                        os.kill(pids[1 + stopping], signal.SIGSTOP)
                        stopped.add(stopping)
                    if deaths and not dice.randrange(3):
                        kind, victim = deaths.pop()
                        os.kill(pids[0] if kind == "bus" else pids[1 + victim], signal.SIGKILL)
        finally:
            for hart in stopped:
                with suppress(ProcessLookupError):
                    os.kill(vm.processes()[1 + hart], signal.SIGCONT)
        result = vm.wait(100)
        assert result is not None
        assert result.ending is Ending.PARKED, result.detail
        victims -= {v for kind, v in deaths if kind == "hart"}
        done = [word(vm, "done", 64 * hart) for hart in range(harts)]
        assert all(done[hart] == rounds for hart in range(harts) if hart not in victims)
        for symbol in NAMED:
            assert 0 <= word(vm, symbol) - sum(done) <= len(victims), symbol


@pytest.mark.parametrize(("seed", "tier"), [(1, "interpreter"), (2, "auto")])
def test_whoever_dies_or_stops_totals_are_exact(seed, tier):
    attack(seed, 4, 60, tier)


@pytest.mark.soak
@pytest.mark.parametrize("tier", ["interpreter", "auto"])
@pytest.mark.parametrize("seed", range(3, 53))
def test_whoever_dies_or_stops_totals_are_exact_soak(seed, tier):
    attack(seed, 64 if seed % 5 == 0 else 8, 20, tier)


def test_traffic_is_counted_by_hart_and_by_granule():
    with vm_of(20, harts=2, policy="directory") as vm:
        vm.start()
        result = vm.wait(100)
        by_hart = [hart.traffic for hart in result.harts]
        assert all(traffic[Traffic.GET_MODIFIED] >= 5 for traffic in by_hart)
        assert {g.symbol for g in result.granules} >= set(NAMED)
        for event in (Traffic.GET_SHARED, Traffic.TRANSFER, Traffic.INVALIDATION, Traffic.HOP):
            total = sum(traffic.get(event, 0) for traffic in by_hart)
            assert total == sum(c.get(event, 0) for g in result.granules for c in g.by_hart.values()) > 0
        assert [hart.atomics[AtomicKind.AMO] for hart in result.harts] == [20, 20]


def test_a_hart_that_no_one_disturbs_asks_once_for_each_granule():
    with vm_of(200, harts=1, policy="directory") as vm:
        vm.start()
        (hart,) = vm.wait(100).harts
        assert hart.traffic[Traffic.GET_MODIFIED] == 5
        assert (
            hart.traffic[Traffic.GET_SHARED] == 5
        )  # LR, LR, the loads of `cas`, `done` and `stop` come first
        assert Traffic.RECALL not in hart.traffic
