"""The litmus tests that come with hartstorm: files and generator agree, folders tell the verdict."""

from __future__ import annotations

from coordinator import paths
from coordinator.check.enumerator import enumerate_states
from coordinator.check.models import RVWMO, SC, TSO
from coordinator.litmus.families import shipped_tests
from coordinator.litmus.parser import parse_file

FOLDER = paths.CONFIGS / "litmus"


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


def test_every_atomic_instruction_is_there():
    text = "".join(text for _, text in shipped_tests())
    operations = ("swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu", "cas")
    wanted = [f"amo{o}.{w} " for o in operations for w in "bhwd"]
    wanted += ["amocas.q ", "lr.w ", "lr.d ", "sc.w ", "sc.d ", "lw.aq ", "sd.rl ", "fence.tso "]
    assert [w for w in wanted if w not in text] == []
