"""`hartstorm run`: run configurations or single programs, show how they go, print results, set the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.commands.exit_codes import ExitCode, config_errors
from coordinator.commands.policy_help import POLICY_HELP

if TYPE_CHECKING:
    from coordinator.config import Config, Overrides
    from coordinator.config.settings import Setting
    from coordinator.outcome import Outcome
    from coordinator.progress import Report
    from coordinator.runner import Progress
    from hart.image import Image


def run(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Run configurations (.toml files, or names from `hartstorm configs list`), ELF programs, or .S or .c "
            "sources."
        ),
    ],
    harts: Annotated[int | None, typer.Option(help="Number of harts.")] = None,
    isa: Annotated[str | None, typer.Option(help="ISA string, e.g. rv64imac_zacas.")] = None,
    policy: Annotated[str | None, typer.Option(help=POLICY_HELP)] = None,
    tier: Annotated[str | None, typer.Option(help="auto, interpreter, t1 or t2.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    max_instructions: Annotated[int | None, typer.Option(help="Stop each hart after so many.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Write the instructions that ran to this file.")] = None,
    record: Annotated[Path | None, typer.Option(help="Record every memory event in this file.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check what was recorded against RVWMO; see `hartstorm check`.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show which guest code took how long, in which tier.")
    ] = False,
    profile_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Profile, and write it to this file: for speedscope if it ends in .json, else as collapsed stacks.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of every file.")
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            min=1, help="Run so often, each time with the next seed; counts what vm.outcome tells apart."
        ),
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run guest programs on many harts and compare the outcome with what their configs expect.

    Options override every VM of every file.
    """
    from coordinator.config import Overrides
    from coordinator.config.settings import parse_setting

    trace_file = None if trace is None else str(trace)
    record_file = None if record is None else str(record)
    profiled = True if profile or profile_to is not None else None
    overrides = Overrides(
        harts, isa, policy, tier, seed, max_instructions, timeout, trace_file, record_file, profiled
    )
    with config_errors():
        settings = tuple(map(parse_setting, set_ or ()))
        prepared = [_prepare(file, overrides, settings) for file in files]
    from coordinator.refusal import Refusal

    try:
        runs = [(config, _run(config, images, repeat, not json)) for config, images in prepared]
    except Refusal as refusal:
        typer.echo(f"the coordinator cannot run this: {refusal.reason}", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from refusal
    except KeyboardInterrupt:
        typer.echo("interrupted; all VMs are ended", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if profile_to is not None:
        _write_profile(
            profile_to, [o for _, repetitions in runs for outcomes in repetitions for o in outcomes]
        )
    if json:
        _print_json([(config, outcomes) for config, repetitions in runs for outcomes in repetitions])
    else:
        for config, repetitions in runs:
            _print_report(config, repetitions)
    every = (outcome for _, repetitions in runs for outcomes in repetitions for outcome in outcomes)
    code = exit_code(list(every))
    if check:
        code = max(code, _check_recordings(config for config, _ in prepared))
    raise typer.Exit(code)


def _check_recordings(configs: Iterable[Config]) -> ExitCode:
    from coordinator.check.models import RVWMO
    from coordinator.commands.check import check_file
    from coordinator.runner import vm_spec

    code = ExitCode.AS_EXPECTED
    for config in configs:
        several = len(config.run.vms) > 1
        for name, vm in config.run.vms.items():
            file = vm_spec(name, vm, name if several else "").record_memory
            if file is None:
                typer.echo(
                    f'{config.run.name}: nothing to check; give --record FILE or `record = "memory"`',
                    err=True,
                )
                code = max(code, ExitCode.USAGE_OR_CONFIG)
            else:
                code = max(code, check_file(Path(file), RVWMO))
    return code


def _prepare(
    file: Path, overrides: Overrides, settings: tuple[Setting, ...]
) -> tuple[Config, dict[str, Image]]:
    from coordinator.config import open_run
    from coordinator.guest import build_all

    config = open_run(file, overrides, settings)
    return config, build_all(config)


def _run(config: Config, images: dict[str, Image], repeat: int, show: bool) -> list[list[Outcome]]:
    """`show`: the report will be printed."""
    from coordinator import runner
    from coordinator.local import local_coordinator
    from coordinator.progress import show_progress

    with local_coordinator() as client, show_progress(config.run.name) as progress:
        report = _meanwhile("coordinator.report", progress) if show else progress
        return [runner.run(config.run.seeded(n), images, client, report) for n in range(repeat)]


def _meanwhile(module: str, show: Report) -> Report:
    """As `show`; while the guests run, a thread imports what takes its time to load and is wanted at their end."""
    loading = Thread(target=import_module, args=(module,))

    def report(progress: Sequence[Progress]) -> None:
        if loading.ident is None:
            loading.start()
        show(progress)

    return report


def _write_profile(path: Path, outcomes: list[Outcome]) -> None:
    from coordinator.profile import write_profile

    try:
        write_profile(path, outcomes)
    except OSError as error:
        typer.echo(f"--profile-to {path}: {error.strerror}", err=True)
        raise typer.Exit(ExitCode.USAGE_OR_CONFIG) from error


def _print_json(outcomes: list[tuple[Config, list[Outcome]]]) -> None:
    import json

    from coordinator.outcome import to_json

    runs = [to_json(config.run.name, run_outcomes) for config, run_outcomes in outcomes]
    typer.echo(json.dumps(runs[0] if len(runs) == 1 else runs, indent=2))


def _print_report(config: Config, repetitions: list[list[Outcome]]) -> None:
    """The first repetition that is not as expected, or the last; then what they came to together."""
    from coordinator.report import print_outcomes, print_report, stdout_console

    console = stdout_console()
    failed = [outcomes for outcomes in repetitions if not all(o.verdict.ok for o in outcomes)]
    print_report(console, config.run.name, (failed or repetitions[-1:])[0])
    if len(repetitions) > 1:
        print_outcomes(console, repetitions)
        console.print(
            f"{config.run.name}: {len(repetitions) - len(failed)} of {len(repetitions)} runs as expected"
        )


def exit_code(outcomes: list[Outcome]) -> ExitCode:
    """The command's exit code: the watchdog's when it ended a VM that should have ended otherwise."""
    from coordinator.result import Ending

    failed = [outcome for outcome in outcomes if not outcome.verdict.ok]
    if not failed:
        return ExitCode.AS_EXPECTED
    if any(outcome.result.ending is Ending.WATCHDOG for outcome in failed):
        return ExitCode.WATCHDOG
    return ExitCode.NOT_AS_EXPECTED
