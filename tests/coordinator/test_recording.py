"""Recorded runs of real harts, end to end: every policy and tier, from the rings to the verdict."""

from __future__ import annotations

import pytest

from bus.policies import NAMES, policy
from bus.recording_file import Recording, read
from coordinator.check.checker import check
from coordinator.check.execution import Kind
from coordinator.check.models import RVWMO, TSO
from coordinator.check.recorded import from_recording
from coordinator.check.verdict import judge_recorded
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from tests.coordinator.guests import COUNTERS

CORRECT = [name for name in NAMES if policy(name).correct]
CASES = [
    (name, tier)
    for name in CORRECT
    for tier in ("interpreter", "t1", "t2")
    if tier == "interpreter" or policy(name).lowering is not None
]


def recorded(tmp_path, source: str, **settings) -> Recording:
    """The recording of a run to its end."""
    file = tmp_path / "run.rec"
    vm = VirtualMachine(
        VmSpec(
            name="recorded",
            ram_bytes=1 << 20,
            record_memory=str(file),
            timeout_s=60,
            cache=str(tmp_path / "cache"),
            **settings,
        )
    )
    try:
        vm.load(assemble(source).image)
        vm.start()
        result = vm.wait(90)
        assert result is not None
        assert result.ending is Ending.EXIT, result.detail
    finally:
        vm.destroy()
    return read(file)


@pytest.mark.parametrize(("name", "tier"), CASES)
def test_a_correct_policy_is_allowed(tmp_path, name, tier):
    recording = recorded(tmp_path, COUNTERS.format(n=200), harts=2, policy=name, tier=tier)
    assert recording.complete
    assert recording.whole
    assert recording.lost == (0, 0)
    run = from_recording(recording)
    assert judge_recorded(run, RVWMO).problem is None
    assert check(run.execution, RVWMO) is None
    assert check(run.execution, TSO) is None
    kinds = [e.kind for e in run.execution.events()]
    assert kinds.count(Kind.STORE_CONDITIONAL) == 400
    assert kinds.count(Kind.AMO) == 400 + 400 + 2
