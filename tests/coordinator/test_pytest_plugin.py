"""The pytest plugin, in test files of its own."""

from __future__ import annotations

import pytest

from tests.documents import PLUGIN, ROOT

pytest_plugins = ["pytester"]


@pytest.fixture
def outcome(pytester, monkeypatch):
    """Runs a test file's text in a process of its own."""

    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(text):
        pytester.makepyfile(text)
        return pytester.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider", "-p", "no:xdist")

    return run


def test_runs_are_given_and_failures_are_told(outcome):
    done = outcome(
        """
        import pytest

        KEYS = {"vm.guest.defines.ITERATIONS": 5}

        @pytest.mark.hartstorm(harts=3, policy="inline")
        class TestMarked:
            @pytest.mark.hartstorm(harts=2)
            def test_the_nearest_mark_counts(self, hartstorm):
                run = hartstorm("quickstart", set=KEYS).check()
                assert (len(run.harts), run.outcome.vm.policy) == (2, "inline")
                assert run.value("amo_counter * 2 + harts") == 22
                assert run.memory("amo_counter", 8) == (10).to_bytes(8, "little")
                assert (run.ending, run.exit_code, run.console) == ("exit", 0, "")
                assert run.instret == sum(h.instret for h in run.harts) > 100
                assert (run.atomics["cas"] >= 10, run.findings) == (True, [])

            def test_an_option_counts_more(self, hartstorm):
                assert len(hartstorm("quickstart", harts=1, set=KEYS).check().harts) == 1

        def test_not_as_expected(hartstorm):
            hartstorm("quickstart", harts=1, set=KEYS | {"vm.expect.exit_code": 7}).check()

        def test_assertion(hartstorm):
            assert hartstorm("quickstart", harts=1, set=KEYS | {"vm.expect.exit_code": 8}).ok

        def test_wrong_config(hartstorm):
            hartstorm("quickstart", set={"vm.hart": 1})

        def test_wrong_option(hartstorm):
            hartstorm("quickstart", hart=1)

        def test_wrong_symbol(hartstorm):
            hartstorm("quickstart", harts=1, set=KEYS).value("amo_countr")

        def test_several_vms(hartstorm):
            run = hartstorm("two-vms").check()
            assert sorted(run.vms) == ["with", "without"]
            run.console
        """
    )
    done.assert_outcomes(passed=2, failed=6)
    done.stdout.fnmatch_lines_random(
        [
            "*quickstart is not as expected:",
            "*exit_code: expected 7, seen 0*",
            "*where False = <quickstart: exit_code: expected 8, seen 0*",
            "*vm.hart: unknown key; did you mean 'harts'?*",
            "*no option 'hart'; did you mean 'harts'?*",
            "*has no symbol 'amo_countr'; did you mean 'amo_counter'?*",
            "*it has the VMs with, without: say .vms?NAME?.console",
            "*--- hartstorm: quickstart ---*",
            "FAILED*exit_code*7*",
        ]
    )


def test_files_are_found_beside_the_test(outcome, pytester):
    guest = """
    .include "htif.S"
    .globl _start
_start:
    exit    0
"""
    (pytester.path / "sub").mkdir()
    (pytester.path / "sub" / "a.S").write_text(guest)
    text = "def test_it(hartstorm):\n    hartstorm('a.S').check()\n"
    (pytester.path / "sub" / "test_beside.py").write_text(text)
    outcome("").assert_outcomes(passed=1)


def test_the_mark_is_registered(outcome, pytester):
    pytester.makeini("[pytest]\naddopts = --strict-markers")
    outcome("import pytest\n@pytest.mark.hartstorm(harts=1)\ndef test_it():\n    pass").assert_outcomes(
        passed=1
    )
