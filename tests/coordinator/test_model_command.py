"""`hartstorm model`: formats, explanations, several files and processes, exit codes."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from coordinator import paths
from coordinator.commands.model import model
from coordinator.litmus.log import read_log

SHIPPED = paths.CONFIGS / "litmus"
MP = SHIPPED / "forbidden" / "MP.w+fence.rw.rw+fence.rw.rw.litmus"
SB = SHIPPED / "allowed" / "SB.w+po+po.litmus"


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(model)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def test_herd_format(run):
    result = run(SB)
    assert result.exit_code == 0
    (entry,) = read_log(result.output.splitlines())
    assert set(entry.states) == {f"0:x5={a}; 1:x5={b}" for a in (0, 1) for b in (0, 1)}
    assert "Observation SB.w+po+po Sometimes 1 3" in result.output


def test_models_and_json(run):
    found = json.loads(run(SB, "--model", "sc", "--json").output)
    assert (found["observation"], found["matching"], found["others"]) == ("Never", 0, 3)
    assert {"values": {"0:x5": "1", "1:x5": "1"}, "matches": False} in found["states"]


def test_explain(run):
    assert "ppo 4, fence" in run(MP, "--explain", "1:x5=1 /\\ 1:x6=0").output
    assert "allowed, for example by" in run(MP, "--explain", "1:x5=0").output
    wrong = run(MP, "--explain", "1:x5=")
    assert wrong.exit_code == 2
    assert "--explain:1:6: expected a value" in wrong.output


def test_a_folder_on_two_processes(run):
    names = sorted(f.name.removesuffix(".litmus") for f in (SHIPPED / "allowed").glob("SB*"))
    files = [SHIPPED / "allowed" / f"{n}.litmus" for n in names]
    one, two = run(*files), run(*files, "-j", 2)
    assert [e.name for e in read_log(two.output.splitlines())] == names
    assert [e.states for e in read_log(one.output.splitlines())] == [
        e.states for e in read_log(two.output.splitlines())
    ]


def test_a_bad_test_does_not_hide_the_others(run, tmp_path):
    (tmp_path / "bad.litmus").write_text("RISCV bad\n{\n")
    (tmp_path / "good.litmus").write_text(SB.read_text())
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "bad.litmus:2:1: the initial state does not end" in result.output
    assert "Observation SB.w+po+po" in result.output


def test_a_test_that_takes_too_long(run):
    result = run(SB, "--timeout", 0)
    assert result.exit_code == 124
    assert "gave up after 0 s" in result.output


def test_a_reference_that_agrees(run, tmp_path):
    (tmp_path / "herd.log").write_text(run(SB, MP).output)
    result = run(SB, MP, "--reference", tmp_path / "herd.log")
    assert result.exit_code == 0
    assert (
        "2 tests, 2 enumerated; 2 of them are in the log: 2 with the same hash, 2 with the same states, 0"
        in (result.output)
    )
    assert "Observation" not in result.output
    assert "processor time of a test: median" in result.output


def test_a_reference_that_differs_is_explained_on_both_sides(run, tmp_path):
    """Where a state is the model's alone an execution shows it, where it is the log's alone a cycle forbids it."""
    log = (
        run(SB, MP)
        .output.replace("0:x5=0; 1:x5=0;", "0:x5=0; 1:x5=2;")
        .replace("1:x5=1; 1:x6=1;", "1:x5=1; 1:x6=0;")
    )
    (tmp_path / "herd.log").write_text(log.replace("Hash=", "Hash=0"))
    result = run(SB, MP, "--reference", tmp_path / "herd.log")
    assert result.exit_code == 1
    assert "0:x5=0 /\\ 1:x5=0: allowed, for example by" in result.output
    assert "0:x5=0 /\\ 1:x5=2: no candidate execution has it" in result.output
    assert "1:x5=1 /\\ 1:x6=0: Forbidden by the load value axiom" in result.output
    assert "ppo 4, fence" in result.output
    assert "0 with the same hash, 0 with the same states, 2 differ" in result.output


def test_a_reference_names_twice_what_hashes_tell_apart(run, tmp_path):
    """Two tests of one name, as collections have them: each is compared with its own entry."""
    one, other = (
        SB.read_text(),
        MP.read_text().replace("RISCV MP.w+fence.rw.rw+fence.rw.rw", "RISCV SB.w+po+po"),
    )
    (tmp_path / "a.litmus").write_text(one)
    (tmp_path / "b.litmus").write_text(other)
    (tmp_path / "herd.log").write_text(run(tmp_path / "b.litmus", tmp_path / "a.litmus").output)
    result = run(tmp_path / "a.litmus", tmp_path / "b.litmus", "--reference", tmp_path / "herd.log")
    assert result.exit_code == 0, result.output
    assert "2 with the same hash, 2 with the same states" in result.output
