"""Litmus tests on real harts: what the harness makes of a test, and that what it counts is what the test does."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from bus.recording_file import read
from coordinator.check.enumerator import enumerate_states
from coordinator.check.models import RVWMO
from coordinator.harness import memory, session
from coordinator.harness.campaign import Plan, accounts, known_accounts
from coordinator.harness.compile import Unsupported, compile_test
from coordinator.harness.experiment import Account, Limits, Status
from coordinator.harness.memory import Row, Team
from coordinator.harness.schedule import FAST, SLOW, Effort, schedule
from coordinator.harness.session import Setting
from coordinator.litmus.log import read_log, state_text
from coordinator.litmus.parser import parse

SHIPPED = Path(__file__).parents[3] / "configs/litmus"

SB = SHIPPED / "allowed/SB.w+po+po.litmus"
FENCED_SB = SHIPPED / "forbidden/SB.w+fence.rw.rw+fence.rw.rw.litmus"

ABA = """RISCV ABA
{ 0:x20=x; 0:x21=y; 0:x22=w; 1:x20=x; 1:x21=y; 1:x22=w; 0:x10=1; 1:x10=1; }
 P0               | P1              ;
 lr.w x5,(x20)    | lw x5,0(x22)    ;
 fence rw,rw      | fence rw,rw     ;
 sw x10,0(x22)    | sw x10,0(x20)   ;
 fence rw,rw      | sw x0,0(x20)    ;
 fence rw,rw      | fence rw,rw     ;
 fence rw,rw      | sw x10,0(x21)   ;
 fence rw,rw      |                 ;
 fence rw,rw      |                 ;
 fence rw,rw      |                 ;
 fence rw,rw      |                 ;
 fence rw,rw      |                 ;
 fence rw,rw      |                 ;
 fence rw,rw      |                 ;
 lw x7,0(x21)     |                 ;
 fence rw,rw      |                 ;
 sc.w x11,x10,(x20) |               ;
exists (1:x5=1 /\\ 0:x7=1 /\\ 0:x11=0)
"""
"""Between the LR and its SC the other thread writes x twice, the second time what it was."""

SINGLE = {
    "types": """RISCV types
{ int8_t b=-1; uint16_t h=0xfffe; int64_t d=-5; uint64_t 0:x9; 0:x5=b; 0:x6=h; 0:x7=d; 0:x12=0x123456789abcdef0; }
 P0            ;
 lbu x8,0(x5)  ;
 lhu x9,0(x6)  ;
 ld x10,0(x7)  ;
 sd x12,0(x7)  ;
exists (0:x8=255 /\\ 0:x9=65534 /\\ 0:x10=-5 /\\ b=-1 /\\ h=65534 /\\ d=0x123456789abcdef0)
""",
    "array": """RISCV array
{ int a[4]={1,2,3,4}; 0:x5=a; 0:x6=a[2]; }
 P0            ;
 lw x7,4(x5)   ;
 lw x8,0(x6)   ;
 sw x8,12(x5)  ;
exists (0:x7=2 /\\ 0:x8=3 /\\ a[3]=3 /\\ a[0]=1)
""",
    "addresses": """RISCV addresses
{ int *p=&y; int x=z; int64_t 0:x8; 0:x5=p; 0:x6=x; }
 P0            ;
 ld x7,0(x5)   ;
 lw x8,0(x6)   ;
 sd x6,0(x5)   ;
 addi x9,x6,4  ;
exists (0:x7=y /\\ 0:x8=z /\\ p=x)
""",
    "labels": """RISCV labels
{ 0:x5=P0:L1; }
 P0            ;
 jalr x0,0(x5) ;
 li x6,1       ;
 L1:           ;
 li x7,1       ;
exists (0:x6=0 /\\ 0:x7=1 /\\ 0:x5=P0:L1)
""",
    "many registers": """RISCV many
{ 0:x1=1; 0:x5=5; 0:x6=6; 0:x10=10; 0:x2=2; }
 P0              ;
 add x3,x1,x2    ;
 add x11,x5,x6   ;
 add x31,x10,x11 ;
exists (0:x3=3 /\\ 0:x31=21 /\\ 0:x1=1 /\\ 0:x10=10)
""",
    "filter": """RISCV filter
{ x=7; 0:x5=x; }
 P0            ;
 lw x6,0(x5)   ;
filter (0:x6=7)
forall (x=7)
""",
}

ON_INTERPRETER = Setting(tier="interpreter")
FEW = Limits(time_s=600, iterations=200)


def run(
    tmp_path: Path, texts: list[str], setting: Setting = ON_INTERPRETER, limits: Limits = FEW
) -> list[Account]:
    """Accounts of tests given as text, in order."""
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.litmus")
        files[-1].write_text(text)
    found = {a.file: a for a in accounts(files, Plan(setting, limits), 1)}
    return [found[str(file)] for file in files]


# On harts


def test_one_thread_does_what_the_model_says(tmp_path: Path) -> None:
    """Types, arrays, addresses, labels, filters: with one thread there is one outcome, and it is known."""
    for name, account in zip(SINGLE, run(tmp_path, list(SINGLE.values())), strict=True):
        outcome = enumerate_states(parse(SINGLE[name]), RVWMO)
        assert account.status is Status.RAN, account.reason
        assert list(account.states) == [state_text(outcome.shown, state) for state in outcome.states], name
        assert account.holds, account.log
        assert account.outcomes >= 200
        assert account.covered == account.allowed == 1


@pytest.mark.parametrize("policy", ["serial", "directory", "inline"])
def test_policies_show_nothing_forbidden(policy: str) -> None:
    files = [FENCED_SB, SHIPPED / "forbidden/MP.w+fence.rw.rw+fence.rw.rw.litmus"]
    for account in accounts(files, Plan(Setting(policy, "interpreter"), FEW), 1):
        assert account.status is Status.RAN, account.reason
        assert account.outcomes >= 200
        assert not account.forbidden
        assert account.allowed == 3


def test_an_outcome_that_the_model_forbids_comes_with_its_cycle(tmp_path: Path) -> None:
    """Judged by SC, store buffering is forbidden; the harts show it soon."""
    limits = Limits(time_s=100, forbidden=True)
    (account,) = accounts([SB], Plan(Setting(), limits, model="sc", recordings=tmp_path), 1)
    assert list(account.forbidden) == ["0:x5=0; 1:x5=0;"]
    (why,) = account.forbidden.values()
    assert "sw x10,0(x20): W x=1" in why
    assert "before the next: fr" in why
    # It may not show again while it is recorded.
    if "did not show again" not in account.witness:
        assert "before the next: fr" in account.witness
        assert read(tmp_path / "SB.w+po+po.rec").facts.harts == 2


def test_value_comparing_sc_is_caught(tmp_path: Path) -> None:
    """Policy `cas` lets an SC succeed after A -> B -> A."""
    limits = Limits(time_s=100, forbidden=True)
    (account,) = run(tmp_path, [ABA], Setting("cas"), limits)
    assert any("0:x7=1; 0:x11=0; 1:x5=1;" in state for state in account.forbidden), account.log
    (account,) = run(tmp_path, [ABA], Setting("inline"), Limits(time_s=1.0))
    assert account.outcomes
    assert not account.forbidden


def test_a_test_that_does_not_end_is_told_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENCE_S", 2.0)
    endless = "RISCV endless\n{ 0:x5=1; }\n P0 ;\n L: bne x5,x0,L ;\n li x6,1 ;\nexists (0:x6=0)\n"
    broken, ran = run(tmp_path, [endless, SINGLE["array"]])
    assert broken.status is Status.BROKEN
    assert "no round has ended for 2 s" in broken.reason
    assert ran.status is Status.RAN


def test_several_teams_of_harts() -> None:
    (account,) = accounts([FENCED_SB], Plan(Setting("inline", "interpreter", harts=5), FEW), 1)
    assert account.outcomes >= 200
    assert not account.forbidden
    (account,) = accounts([FENCED_SB], Plan(Setting("inline", "interpreter", harts=1), FEW), 1)
    assert account.status is Status.REFUSED
    assert "2 threads, more than the 1 harts" in account.reason


def test_covered_tests_end_early() -> None:
    limits = Limits(time_s=100, covered=True)
    (account,) = accounts([FENCED_SB], Plan(Setting(), limits), 1)
    assert account.covered == account.allowed
    assert account.seconds < 100


def test_an_account_is_not_made_twice(tmp_path: Path) -> None:
    plan = Plan(ON_INTERPRETER, FEW)
    (first,) = accounts([FENCED_SB], plan, 1)
    state = tmp_path / "state"
    state.write_text(json.dumps(first.as_json()) + '\n{"id": "torn')
    known = known_accounts(state)
    assert known == [first]
    assert list(accounts([FENCED_SB], plan, 1, known)) == [first]
    other = Plan(ON_INTERPRETER, Limits(time_s=60, iterations=100))
    assert other.id_of("") != plan.id_of("")
    (entry,) = read_log(first.log.splitlines())
    assert entry.hash == first.hash
    assert sum(entry.states.values()) == first.outcomes


# Without harts


@pytest.mark.parametrize("effort", [FAST, SLOW])
@pytest.mark.parametrize("seed", range(2))
def test_no_two_locations_share_a_granule(seed: int, effort: Effort) -> None:
    for values in struct.iter_unpack(f"<{Row.END}Q", schedule(seed, effort)):
        count, stride = values[Row.MASK] + 1, values[Row.STRIDE]
        assert count <= memory.MAX_INSTANCES
        assert count & count - 1 == 0
        places = {base + i * stride for base in values[Row.BASES :] for i in range(count)}
        assert len(places) == count * memory.MAX_LOCATIONS
        assert all(place % memory.ROOM == 0 for place in places)
        assert max(places) + memory.ROOM <= Team.AREA_BYTES
        assert values[Row.INCREMENT] & 1


def test_schedules_are_those_of_their_seeds() -> None:
    assert schedule(1, FAST) == schedule(1, FAST)
    assert schedule(1, FAST) != schedule(2, FAST)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "RISCV t\n{ int a[20]; 0:x5=a; }\n P0 ;\n lw x6,0(x5) ;\nexists (0:x6=0)\n",
            "a has 80 bytes; the harness takes 64",
        ),
        (
            "RISCV t\n{ }\n P0 ;\n la x5,x ;\nexists (x=0)\n",
            "`la x5,x`: each instance has another address for x",
        ),
        (
            "RISCV t\n{ }\n P0 ;\n li x5,1 ;\nexists (1:x5=0)\n",
            "1:x5: there is no thread 1",
        ),
        (
            "RISCV t\n{ " + " ".join(f"l{n}=1;" for n in range(9)) + " }\n P0 ;\n nop ;\nexists (l0=1)\n",
            "9 locations; the harness takes 8",
        ),
        (
            "RISCV t\n{ }\n P0 ;\n" + "".join(f" li x{n},1 ;\n" for n in range(2, 30)) + "exists (0:x5=0)\n",
            "uses 28 registers",
        ),
        (
            "RISCV t\n{ int64_t x=P0:L; }\n P0 ;\n L: nop ;\nexists (x=0)\n",
            "the address of code (P0:L) in memory",
        ),
    ],
)
def test_what_it_cannot_run_has_a_reason(text: str, reason: str) -> None:
    with pytest.raises(Unsupported) as caught:
        compile_test(parse(text), memory.TESTS)
    assert reason in str(caught.value)
