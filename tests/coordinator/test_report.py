"""What people and programs read after a run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from runs import hart, image, read, result, trapped, vm

from bus.access import AtomicKind, ScFailure
from coordinator.expect import judge
from coordinator.outcome import Outcome, to_json
from coordinator.report import print_report
from coordinator.result import Ending


def outcome(keys="", run=None, name="vm"):
    run = run or result()
    return Outcome(name, vm(keys), run, judge(vm(keys), run, image(), read))


def printed(*outcomes, terminal=False):
    out = io.StringIO()
    console = Console(file=out, width=120, highlight=False, force_terminal=terminal, color_system=None)
    print_report(console, "demo", outcomes)
    return out.getvalue()


def stripped(text):
    return "\n".join(line.rstrip() for line in text.splitlines())


def test_plain_report():
    keys = 'isa.base = "rv64ima"\nexpect.symbols.counter = 40000\nexpect.invariants = ["byte == 0"]'
    assert (
        stripped(printed(outcome(keys)))
        == """\
demo: 2 harts, policy serial, tier auto, seed 0
rv64ima_zicntr_zicsr_zifencei_zihpm_zmmul_zaamo_zalrsc
harts
hart  ending  instructions  MIPS  wall s  traps  LR  SC    AMO   SC failed
   0  parked     1,000,000  0.50   2.000      0  60  50  1,000   4 (8.0 %)
   1  exit       1,000,000  0.50   2.000      0  60  50  2,000  5 (10.0 %)

failed SCs by cause
hart  other store  other sc
   0            0         4
   1            1         4

atomics by address
place       address  atomics  hart 0  hart 1  kinds
counter  0x80001000    3,060   1,000   2,060  LR 60, AMO 3,000

console
  hello

expected
        what             expected   seen
ok      ending           exit       exit
ok      exit_code        0          0
ok      symbols.counter  40000      40000
FAILED  invariant        byte == 0  254 == 0

demo: NOT as expected in 1 of 1 VMs"""
    )


def test_a_terminal_gets_the_same_numbers_and_no_less():
    plain, rich = printed(outcome()), printed(outcome(), terminal=True)
    assert set(plain.split()) <= set(rich.replace("─", " ").split())


def test_several_vms_are_named():
    text = printed(outcome(name="left"), outcome(run=trapped(), name="right"))
    assert "demo: left: 2 harts" in text
    assert "demo: right: 2 harts" in text
    assert text.rstrip().endswith("demo: NOT as expected in 1 of 2 VMs")


def test_success_says_how_much_was_checked():
    assert printed(outcome()).rstrip().endswith("demo: as expected (2 checks)")


def test_a_failed_ending_says_where():
    text = printed(outcome(run=trapped()))
    assert "hart 1: illegal instruction at worker+0x4 (.4byte 0xffffffff), tval 0xffffffff" in text


def test_nothing_to_count_makes_no_columns():
    quiet = result(harts=(hart(0, atomics={}, sc_failures={}, wall_s=0.0),), hot=(), console=b"")
    text = printed(outcome(run=quiet))
    for absent in ("SC", "failed SCs", "by address", "console"):
        assert absent not in text


def test_a_compiler_that_is_gone_is_told():
    assert "the compiler ended" not in printed(outcome())
    run = result(compiler_ended="by SIGKILL")
    assert "the compiler ended by SIGKILL: code it had not made was interpreted" in printed(outcome(run=run))
    assert to_json("demo", [outcome(run=run)])["vms"][0]["compiler_ended"] == "by SIGKILL"


def test_guest_output_cannot_steer_the_terminal_s_markup():
    assert "[bold]x[/bold]" in printed(outcome(run=result(console=b"[bold]x[/bold]\n")))


def test_json_form():
    document = to_json("demo", [outcome("expect.exit_code = 1")])
    assert json.loads(json.dumps(document)) == document
    (one,) = document["vms"]
    assert {key: one[key] for key in ("name", "policy", "seed", "ok", "ending", "exit_code", "hart")} == {
        "name": "vm",
        "policy": "serial",
        "seed": 0,
        "ok": False,
        "ending": "exit",
        "exit_code": 0,
        "hart": 1,
    }
    assert (document["format"], document["run"], document["ok"]) == (1, "demo", False)
    assert one["harts"][1]["atomics"] == {"lr": 60, "sc": 50, "amo": 2000}
    assert one["harts"][1]["sc_failures"] == {"other_store": 1, "other_sc": 4}
    assert one["harts"][0]["x"][10] == 110
    assert one["hot"] == [
        {
            "address": 0x80001000,
            "symbol": "counter",
            "by_hart": {"0": {"amo": 1000}, "1": {"lr": 60, "amo": 2000}},
        }
    ]
    assert one["checks"][1] == {
        "what": "exit_code",
        "expected": "1",
        "seen": "0",
        "ok": False,
        "where": "hart 1 at worker+0x8: exit code 0 by hart 1",
    }


def test_json_form_of_a_trap():
    (one,) = to_json("demo", [outcome(run=trapped())])["vms"]
    assert one["exit_code"] is None
    assert one["harts"][1]["trap"] == {
        "cause": 2,
        "name": "illegal instruction",
        "tval": 0xFFFFFFFF,
        "pc": 0x80000014,
        "instruction": ".4byte 0xffffffff",
    }


@pytest.mark.parametrize("kind", list(AtomicKind))
def test_every_kind_of_atomic_has_a_column(kind):
    text = printed(outcome(run=result(harts=(hart(0, atomics={kind: 7}, sc_failures={}),), hot=())))
    assert " 7" in text


@pytest.mark.parametrize("cause", list(ScFailure))
def test_every_cause_of_failure_has_a_column(cause):
    assert cause.name.lower().replace("_", " ") in printed(
        outcome(run=result(harts=(hart(0, sc_failures={cause: 3}),)))
    )


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_prints(ending):
    assert ending.value in printed(outcome(run=result(ending=ending, harts=(hart(0, ending=ending),))))
