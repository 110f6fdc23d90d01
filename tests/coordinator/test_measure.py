"""Metrics and outcomes: what a config reads of a run in numbers, and runs that end at their budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator import measure, runner
from coordinator.cli import app
from coordinator.config import ConfigError, load, loads
from coordinator.guest import build_all
from coordinator.local import local_coordinator
from coordinator.result import Ending
from tests.coordinator import runs

DECLARED = """
metrics = { operations = "counter * 2", each = "instret // harts" }
hart_metrics = { cell = "u32(table, hart)", twice = "2 * hart" }
[vm.outcome]
registers = ["1:a0", "0:x31"]
symbols = ["counter", "i32(table, 3)"]
"""
ENDLESS = """
    .include "htif.S"
    .globl _start
_start:
    la      t0, done
    li      t1, 1
1:  amoadd.d zero, t1, (t0)
    j       1b
    .bss
    .balign 8
done:
    .zero   8
    .size   done, 8
"""


def test_every_declared_number_is_read():
    found = measure.measure(runs.vm(DECLARED), runs.result(), runs.image(), runs.read)
    assert found.metrics == {"operations": 80_000, "each": 1_000_000}
    assert found.by_hart == {0: {"cell": 1, "twice": 0}, 1: {"cell": 2, "twice": 2}}
    assert list(found.outcome.items()) == [
        ("1:a0", 110),
        ("0:x31", 131),
        ("counter", 40_000),
        ("i32(table, 3)", -1),
    ]
    assert found.problems == ()


def test_what_has_no_value_is_told():
    vm = runs.vm('metrics = { far = "u64(table, 1000)", none = "1 // (harts - 2)", good = "1" }')
    found = measure.measure(vm, runs.result(), runs.image(), runs.read)
    assert found.metrics == {"good": 1}
    assert [(key, text) for key, text, _ in found.problems] == [
        ("metrics.far", "u64(table, 1000)"),
        ("metrics.none", "1 // (harts - 2)"),
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("metrics.a = 'count'", "metrics.a"),
        ("hart_metrics.a = 'table'", "table is 16 bytes, so say how to read it"),
        ("outcome.symbols = ['byt']", "did you mean 'byte'?"),
        ("metrics.a = 'hart'", "no symbol or constant 'hart'"),
    ],
)
def test_names_that_nothing_has_are_found_before_the_run(keys, message):
    found = measure.unknown_names(runs.vm(keys), runs.image())
    assert message in " ".join(f"{'.'.join(map(str, key))}: {text}" for key, text in found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('outcome.registers = ["a0"]', "write HART:REGISTER"),
        ('outcome.registers = ["2:a0"]', "outcome.registers names hart 2, but harts are 0 to 1"),
        ('outcome.registers = ["0:a9"]', "no such register"),
        ('metrics.a-b = "1"', "must look like"),
        ('metrics.a = "1 /"', "is not an expression"),
        ('metrics.a = "1 / 2"', "write `//`"),
    ],
)
def test_what_is_wrong_is_named(keys, message):
    with pytest.raises(ConfigError) as caught:
        runs.vm(keys)
    assert message in str(caught.value)


def endless(tmp_path, keys=""):
    (tmp_path / "endless.S").write_text(ENDLESS)
    text = f'name = "e"\n[vm]\nharts = 2\nmemory = "64KiB"\nguest.source = ["endless.S"]\n{keys}'
    return loads(text, "e.toml", tmp_path)


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        (runner.Budget(time_s=0.3), "budget of 0.3 s"),
        (runner.Budget(operations=50), "budget of 50 operations"),
    ],
)
def test_a_run_ends_at_its_budget_measured_but_not_judged(tmp_path, budget, why):
    config = endless(tmp_path, 'metrics.operations = "done"')
    with local_coordinator() as client:
        (outcome,) = runner.run(config.run, build_all(config), client, budget=budget)
    assert (outcome.result.ending, outcome.over_budget) == (Ending.STOPPED, why)
    assert outcome.verdict.checks == ()
    assert outcome.measured.metrics["operations"] >= (budget.operations or 1)


def test_repetitions_become_a_histogram(tmp_path):
    words = ["run", "quickstart", "--harts", "1", "--repeat", "3", "--set", "vm.guest.defines.ITERATIONS=2"]
    words += ["--set", 'vm.outcome.registers=["0:a1"]', "--set", 'vm.outcome.symbols=["cas_counter"]']
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "outcomes of vm in 3 runs\n  3 :> 0:a1=1; cas_counter=2;\nquickstart: 3 of 3 runs" in done.stdout
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [run["vms"][0]["seed"] for run in found] == [0, 1, 2]
    assert found[0]["vms"][0]["outcome"] == {"0:a1": 1, "cas_counter": 2}


def test_seeds_of_repetitions_stay_in_range():
    run = load(Path("quickstart")).run
    last = run.model_copy(update={"vms": {"vm": run.vms["vm"].model_copy(update={"seed": (1 << 64) - 1})}})
    assert last.seeded(1).vms["vm"].seed == 0
