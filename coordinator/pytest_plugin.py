"""hartstorm in other projects' tests: a pytest fixture that runs a configuration or program and gives what came of it.

    def test_no_count_is_lost(hartstorm):
        run = hartstorm("counter.toml", harts=8, policy="inline").check()
        assert run.metrics["operations"] == 8000

pytest loads it by itself where hartstorm is installed. A test that fails shows the tables of every run that it made.
Judges nothing: what a run must come to, its configuration and the test say.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from coordinator.config import Overrides
    from coordinator.config.settings import Setting
    from coordinator.control.client import ControlClient
    from coordinator.measure import ReadMemory
    from coordinator.outcome import Outcome
    from coordinator.result import HartResult
    from hart.image import Image

WIDTH = 110
"""Columns of the tables below a test that failed."""


@dataclass(frozen=True, slots=True, repr=False)
class VmRun:
    """One VM of a run, whose memory may be read until the test ends."""

    outcome: Outcome
    image: Image
    read: ReadMemory

    @property
    def ok(self) -> bool:
        """Whether it met every expectation of its configuration."""
        return self.outcome.verdict.ok

    @property
    def ending(self) -> str:
        """How it ended: a value of `coordinator.result.Ending`."""
        return self.outcome.result.ending.value

    @property
    def exit_code(self) -> int | None:
        """The guest's exit code; None if it did not exit."""
        return self.outcome.result.exit_code

    @property
    def console(self) -> str:
        """What the guest printed."""
        return self.outcome.result.console.decode(errors="replace")

    @property
    def harts(self) -> tuple[HartResult, ...]:
        """Each hart: registers, instructions, trap."""
        return self.outcome.result.harts

    @property
    def metrics(self) -> Mapping[str, int]:
        """`[vm.metrics]`."""
        return self.outcome.measured.metrics

    @property
    def instret(self) -> int:
        """Instructions retired by all harts."""
        return sum(hart.instret for hart in self.harts)

    @property
    def atomics(self) -> dict[str, int]:
        """Atomics that all harts performed, by kind: lr, sc, amo, cas, ..."""
        return _added({k.name.lower(): n for k, n in hart.atomics.items()} for hart in self.harts)

    @property
    def sc_failures(self) -> dict[str, int]:
        """SCs that failed, by cause: other_store, other_sc, ..."""
        return _added({c.name.lower(): n for c, n in hart.sc_failures.items()} for hart in self.harts)

    @property
    def findings(self) -> list[str]:
        """What is wrong, for people: expectations that were not met, LR/SC loops that got nowhere."""
        checks = [
            f"{check.what}: expected {check.expected}, seen {check.seen} {check.where}".rstrip()
            for check in self.outcome.verdict.checks
            if not check.ok
        ]
        return [*checks, *map(str, self.outcome.result.stuck)]

    def value(self, text: str) -> int:
        """An expression over the guest's symbols as it left them: `counter`, `u64(table, 3) + 1`.

        Raises:
            ExpressionError: it is none, or has no value.
            LookupError: the program has no such symbol.

        """
        __tracebackhide__ = True
        from coordinator import expression
        from coordinator.measure import constants, symbols
        from hart.spelling import nearest

        parsed = expression.parse(text)
        known = constants(self.outcome.vm, self.instret)
        for name in sorted(parsed.names - known.keys() - self.image.symbols.keys()):
            hint = nearest(name, [*known, *self.image.symbols])
            raise LookupError(f"{self.image.name} has no symbol {name!r}{hint}")
        return int(parsed.evaluate(known, symbols(self.image, self.read)))

    def memory(self, place: str, size: int) -> bytes:
        """Guest memory as the run left it; `place` is a symbol, `symbol + offset`, or an address.

        Raises:
            LookupError: the program has no such symbol.
            ValueError: that is not all in the guest's memory.

        """
        from coordinator.expect import resolve

        return self.read(resolve(place, self.image), size)

    def __repr__(self) -> str:
        findings = self.findings
        return f"<VM {self.outcome.name}: {findings[0] if findings else 'as expected'}>"


@dataclass(frozen=True, slots=True, repr=False)
class ConfigRun:
    """A run: each VM by name. Where there is one only, all that a `VmRun` has is here, too."""

    name: str
    vms: Mapping[str, VmRun]

    @property
    def ok(self) -> bool:
        """Whether every VM met every expectation of its configuration."""
        return all(vm.ok for vm in self.vms.values())

    @property
    def findings(self) -> list[str]:
        """What is wrong, for people; empty if all is well and no loop was stuck."""
        several = len(self.vms) > 1
        return [f"{n}: {f}" if several else f for n, vm in self.vms.items() for f in vm.findings]

    def check(self) -> ConfigRun:
        """The run itself, if it is as its configuration expects; else the test fails, and says where it is not."""
        __tracebackhide__ = True
        if not self.ok:
            findings = "".join(f"\n  {finding}" for finding in self.findings)
            raise AssertionError(f"{self.name} is not as expected:{findings}")
        return self

    def report(self) -> str:
        """The tables that `hartstorm run` prints."""
        from rich.console import Console

        from coordinator.report import print_report

        text = io.StringIO()
        print_report(Console(file=text, width=WIDTH), self.name, [vm.outcome for vm in self.vms.values()])
        return text.getvalue()

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or len(self.vms) != 1:
            several = f"; it has the VMs {', '.join(self.vms)}: say .vms[NAME].{name}"
            raise AttributeError(f"{self.name} has no {name!r}{several if hasattr(VmRun, name) else ''}")
        (vm,) = self.vms.values()
        return getattr(vm, name)

    def __repr__(self) -> str:
        findings = self.findings
        return f"<{self.name}: {findings[0]}>" if findings else f"<{self.name}: as expected>"


class Hartstorm:
    """The fixture: call it to run something."""

    def __init__(self, request: pytest.FixtureRequest, client: _Client, stack: ExitStack) -> None:
        self._request = request
        self._client = client
        self._stack = stack

    def __call__(
        self,
        file: str | Path,
        *,
        set: Mapping[str, object] | None = None,
        **overrides: int | float | str,
    ) -> ConfigRun:
        """Run a configuration, an ELF file, or a .S or .c source.

        Args:
            file: its path, from the test's directory or the current one, or the name of a configuration that comes
                along with hartstorm.
            set: keys of the configuration and what they are to be: `{"vm.guest.defines.N": 10}`.
            overrides: harts, isa, policy, tier, seed, max_instructions, timeout, as `hartstorm run` has them;
                the mark `hartstorm` gives them for a whole test, class or module.

        """
        __tracebackhide__ = True
        from coordinator import runner
        from coordinator.config import ConfigError, open_run
        from coordinator.guest import build_all
        from coordinator.refusal import Refusal

        near = self._request.path.parent / file
        try:
            config = open_run(
                near if near.exists() else Path(file), self._overrides(overrides), _settings(set or {})
            )
            images = build_all(config)
            outcomes, readers = self._stack.enter_context(
                runner.ended(config.run, images, self._client.connected())
            )
        except (ConfigError, Refusal) as error:
            pytest.fail(str(error), pytrace=False)
        vms = {o.name: VmRun(o, images[o.name], readers[o.name]) for o in outcomes}
        made = ConfigRun(config.run.name, vms)
        self._request.node.stash.setdefault(_RUNS, []).append(made)
        return made

    def source(
        self,
        text: str,
        suffix: str = ".S",
        *,
        set: Mapping[str, object] | None = None,
        **overrides: int | float | str,
    ) -> ConfigRun:
        """Run a program given as text: assembly, or C with `suffix=".c"`. It must exit with code 0."""
        __tracebackhide__ = True
        directory: Path = self._request.getfixturevalue("tmp_path")
        file = directory / f"source-{len(self._request.node.stash.setdefault(_RUNS, []))}{suffix}"
        file.write_text(text, encoding="utf-8")
        return self(file, set=set, **overrides)

    def _overrides(self, given: Mapping[str, int | float | str]) -> Overrides:
        from dataclasses import fields

        from coordinator.config import Overrides
        from hart.spelling import nearest

        marked: dict[str, int | float | str] = {}
        for mark in reversed(list(self._request.node.iter_markers("hartstorm"))):
            marked |= mark.kwargs
        known = [field.name for field in fields(Overrides)]
        for name in {**marked, **given}:
            if name not in known:
                raise TypeError(
                    f"hartstorm: no option {name!r}{nearest(name, known)}; there are {', '.join(known)}"
                )
        every: dict[str, Any] = {**marked, **given}  # whose values the configuration checks
        return Overrides(**every)


def _settings(keys: Mapping[str, object]) -> list[Setting]:
    from dataclasses import replace

    from coordinator.config.settings import parse_setting

    return [replace(parse_setting(f"{key}=0"), value=value) for key, value in keys.items()]


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, n in one.items():
            total[name] = total.get(name, 0) + n
    return total


class _Client:
    """A coordinator for all tests of a session, started by the first that runs something."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self._client: ControlClient | None = None

    def connected(self) -> ControlClient:
        from coordinator.local import local_coordinator

        if self._client is None:
            self._client = self.stack.enter_context(local_coordinator())
        return self._client


_RUNS = pytest.StashKey[list[ConfigRun]]()


@pytest.fixture(scope="session")
def _hartstorm_client() -> Iterator[_Client]:
    client = _Client()
    with client.stack:
        yield client


@pytest.fixture
def hartstorm(request: pytest.FixtureRequest, _hartstorm_client: _Client) -> Iterator[Hartstorm]:
    """Runs guests on many harts: `hartstorm("file.toml", harts=4).check()`."""
    with ExitStack() as stack:
        yield Hartstorm(request, _hartstorm_client, stack)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        "hartstorm(harts, isa, policy, tier, seed, max_instructions, timeout): what the fixture `hartstorm` lays over "
        "each run of the test",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the tables of its runs below a test that failed."""
    report: pytest.TestReport = yield
    if report.when == "call" and report.failed:
        report.sections += [(f"hartstorm: {run.name}", run.report()) for run in item.stash.get(_RUNS, [])]
    return report
