"""What the configuration says of reservations, in every correct policy and tier: each rule off and on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import product

import pytest

from bus.layout import Hart
from bus.policies import NAMES, Reservations, policy
from hart.asm import assemble
from hart.interpreter import Waiting
from hart.jit.codegen import Tier
from tests.local_hart import machine

ROUNDS = 60
# s1 to s5 count the SCs that succeed, one kind each: undisturbed; to another address of the granule; with another
# size; after a store of the hart's own; after a trap; s6 those in the next granule, s7 those of a fused pair.
SOURCE = """
.globl _start
_start: la   s0, granule
        la   t0, handler
        csrw mtvec, t0
        li   s10, {rounds}
round:  lr.d t0, (s0)
        ld   t2, 64(sp)
        sc.d t1, t0, (s0)
        seqz t1, t1
        add  s1, s1, t1
        lr.w t0, (s0)
        addi t3, s0, 4
        sc.w t1, t0, (t3)
        seqz t1, t1
        add  s2, s2, t1
        lr.d t0, (s0)
        sc.w t1, t0, (s0)
        seqz t1, t1
        add  s3, s3, t1
        lr.d t0, (s0)
        sd   t0, (s0)
        sc.d t1, t0, (s0)
        seqz t1, t1
        add  s4, s4, t1
        lr.d t0, (s0)
        ecall
        sc.d t1, t0, (s0)
        seqz t1, t1
        add  s5, s5, t1
        lr.d t0, (s0)
        li   t3, {granule}
        add  t3, s0, t3
        sc.d t1, t0, (t3)
        seqz t1, t1
        add  s6, s6, t1
        lr.d t0, (s0)
        addi t0, t0, 1
        sc.d t1, t0, (s0)
        seqz t1, t1
        add  s7, s7, t1
        addi s10, s10, -1
        bnez s10, round
        wfi
.balign 4
handler: csrr t4, mepc
        addi t4, t4, 4
        csrw mepc, t4
        mret
.data
.balign 4096
granule: .zero 8192
"""
TIERS = {"interpreter": (), "t2": (Tier.T2,)}
WHERE = [
    pytest.param(name, tiers, id=f"{name}-{tier}")
    for name, (tier, tiers) in product(NAMES, TIERS.items())
    if policy(name).correct and (not tiers or policy(name).lowering)
]
KINDS = ("undisturbed", "address", "size", "own store", "trap", "next granule", "fused")
USUALLY = {"undisturbed", "address", "size", "own store", "trap", "fused"}
"""What succeeds with the default rules."""


def _succeeded(name: str, tiers: tuple[Tier, ...], rules: Reservations) -> dict[str, int]:
    source = SOURCE.format(rounds=ROUNDS, granule=1 << rules.reservation_set_size_exp)
    with machine(
        assemble(source).image,
        reservations=rules,
        tiers=tiers,
        policy_name=name,
        ram_bytes=1 << 18,
        warm_after=3,
    ) as m:
        m.hart.x[2] = m.segment.memory.base + 0x20000
        with suppress(Waiting):
            while True:
                m.hart.run(10_000)
        x = m.hart.x
        counts = {k: x[r] for k, r in zip(KINDS, (9, 18, 19, 20, 21, 22, 23), strict=True)}
        attempts = ROUNDS * len(KINDS)
        page = m.segment.harts[0]
        failures = sum(page[Hart.SC_FAILURES + i] for i in range(16))
        assert failures == attempts - sum(counts.values())
        return counts


@pytest.mark.parametrize(("name", "tiers"), WHERE)
@pytest.mark.parametrize(
    ("rule", "lost"),
    [
        ({}, set()),
        ({"require_exact_reservation_addr": True}, {"address", "size"}),
        ({"invalidate_on_same_hart_store": True}, {"own store"}),
        ({"invalidate_on_trap": True}, {"trap"}),
        ({"spurious_sc_failure": 1.0}, USUALLY),
        ({"reservation_set_size_exp": 3}, set()),
        ({"reservation_set_size_exp": 12}, set()),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_rule(name, tiers, rule, lost):
    got = _succeeded(name, tiers, replace(Reservations(), **rule))
    assert got == {kind: ROUNDS if kind in USUALLY - lost else 0 for kind in KINDS}


@pytest.mark.parametrize(("name", "tiers"), WHERE)
def test_a_seed_decides_which_fail(name, tiers):
    rules = Reservations(spurious_sc_failure=0.3, seed=5)
    first, again, other = (_succeeded(name, tiers, r) for r in (rules, rules, replace(rules, seed=6)))
    assert first == again
    assert first != other
    assert all(0 < first[kind] < ROUNDS for kind in USUALLY)
