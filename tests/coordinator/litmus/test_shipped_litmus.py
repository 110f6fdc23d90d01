"""The litmus tests that come with hartstorm: files and generator agree, folders tell the verdict, each rule matters."""

from __future__ import annotations

import pytest

from coordinator import paths
from coordinator.check.enumerator import enumerate_states
from coordinator.check.models import RVWMO, SC, TSO
from coordinator.litmus.families import shipped_tests
from coordinator.litmus.parser import parse, parse_file

FOLDER = paths.CONFIGS / "litmus"

NEEDS = {
    1: "CoWW.w+po",
    2: "CoRR.w+po",
    3: "MP+fence.w.w+lr-sc-rfi-addr",
    4: "MP.w+fence.rw.rw+fence.rw.rw",
    5: "MP.w+fence.rw.rw+aq",
    6: "MP.w+rl+fence.rw.rw",
    7: "SB.w+rl-aq+rl-aq+amo",
    8: "LB+fence.rw.rw+fence.r.r-lr-sc",
    9: "MP.w+fence.rw.rw+addr",
    10: "LB.w+data+fence.rw.rw",
    11: "LB.w+ctrl+fence.rw.rw",
    12: "MP+fence.w.w+data-rfi-addr",
    13: "LB+fence.rw.rw+addr-po",
}
"""For each rule a test that is forbidden because of it."""


def _observed(test, model):
    return enumerate_states(test, model).tally.observation


def test_files_are_what_the_generator_gives():
    files = {f.stem: f.read_text() for f in FOLDER.rglob("*.litmus")}
    assert files == dict(shipped_tests())


def test_folders_tell_the_verdict():
    """RVWMO decides; what it forbids, the stronger models forbid too."""
    for folder, seen in (("allowed", True), ("forbidden", False)):
        for file in sorted((FOLDER / folder).iterdir()):
            test = parse_file(file)
            assert (_observed(test, RVWMO) != "Never") is seen, file.name
            if not seen:
                assert _observed(test, TSO) == _observed(test, SC) == "Never", file.name


@pytest.mark.parametrize(("rule", "name"), NEEDS.items())
def test_each_rule_forbids_something(rule, name):
    test = parse(dict(shipped_tests())[name])
    assert _observed(test, RVWMO) == "Never"
    assert _observed(test, RVWMO.without(rule)) != "Never"


def test_every_atomic_instruction_is_there():
    text = "".join(text for _, text in shipped_tests())
    operations = ("swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu", "cas")
    wanted = [f"amo{o}.{w} " for o in operations for w in "bhwd"]
    wanted += ["amocas.q ", "lr.w ", "lr.d ", "sc.w ", "sc.d ", "lw.aq ", "sd.rl ", "fence.tso "]
    assert [w for w in wanted if w not in text] == []
