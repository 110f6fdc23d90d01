"""Every shipped litmus test on real harts, under each policy that claims to be right: nothing forbidden."""

from __future__ import annotations

import pytest

from coordinator import paths
from coordinator.harness.campaign import Plan, accounts
from coordinator.harness.experiment import Limits, Status
from coordinator.harness.session import Setting

FILES = sorted((paths.CONFIGS / "litmus").rglob("*.litmus"))


@pytest.mark.soak
@pytest.mark.parametrize("policy", ["inline", "directory", "serial"])
def test_shipped_tests(policy: str) -> None:
    limits = Limits(time_s=1.0)
    found = list(accounts(FILES, Plan(Setting(policy), limits), 1))
    assert len(found) == len(FILES)
    assert [a.reason for a in found if a.status is not Status.RAN] == []
    assert {a.test: a.forbidden for a in found if a.forbidden} == {}
