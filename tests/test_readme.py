"""The README: its examples run and print what it says, and what it names exists."""

from __future__ import annotations

import ast
import importlib.util
import re

import pytest
from typer.testing import CliRunner

from bus import policies
from coordinator.cli import app
from coordinator.commands.policy_help import POLICY_HELP
from hart import environments
from tests.documents import ROOT, Examples, blocks

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
NEEDS_ZIG = {"C guests", "Measuring"}


def headings():
    for heading in dict.fromkeys(block.heading for block in blocks(README)):
        marks = []
        if heading in NEEDS_ZIG:
            missing = importlib.util.find_spec("ziglang") is None
            marks = [pytest.mark.outside, pytest.mark.skipif(missing, reason="ziglang is not installed")]
        yield pytest.param(heading, marks=marks)


def hartstorm(arguments):
    """The command in this process, which saves starting one each time."""
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout + done.stderr


@pytest.mark.parametrize("heading", list(headings()))
def test_examples(heading, tmp_path, monkeypatch):
    with Examples(tmp_path, hartstorm) as examples:
        monkeypatch.chdir(examples.tree)
        for name, value in examples.user_directories.items():
            monkeypatch.setenv(name, value)
        for block in blocks(README):
            if block.heading == heading:
                examples.carry_out(block)


def test_every_test_that_it_names_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT))
    assert len(named) > 15
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (
            f"{file}::{name}"
        )


def test_every_row_of_its_claims_names_a_test():
    rows = [line for line in TEXT.split("## What it is worth")[1].splitlines() if line.startswith("|")]
    claims = [row for row in rows if not row.startswith(("|---", "| claim", "| limit"))]
    assert len(claims) > 12
    assert [row for row in claims if "::test_" not in row] == []


@pytest.mark.parametrize("name", [*policies.NAMES, *environments.NAMES])
def test_it_names_every_policy_and_environment(name):
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", policies.NAMES)
def test_the_policy_option_names_every_policy_and_calls_wrong_what_is_wrong(name):
    assert policies.label(name) in POLICY_HELP
