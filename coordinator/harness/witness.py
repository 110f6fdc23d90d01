"""The recorded execution of a forbidden outcome: the test once more, with every access to its locations recorded.

Owns the second run and its report. The recording is `bus.recording_file`'s, the verdict on
it `coordinator.check.verdict`'s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bus.recording_file import RecordingError, read
from coordinator.check.explain import cycle_text, event_text
from coordinator.check.models import Model
from coordinator.check.recorded import from_recording
from coordinator.check.verdict import judge_recorded
from coordinator.harness.compile import Compiled
from coordinator.harness.outcomes import Reader
from coordinator.harness.program import Program
from coordinator.harness.session import Broken, Counts, Session, Setting
from coordinator.litmus.log import state_text

ATTEMPTS = 3
TIME_S = 20.0
OUTCOMES = 50_000
"""Per attempt: some hundred thousand events, which are checked in seconds."""
_POLL_S = 0.02


def witness(
    compiled: Compiled, setting: Setting, model: Model, states: Collection[str], directory: Path | None
) -> str:
    """What a recorded run shows that has one of `states` (as logs write them), for people.

    The recording stays in `directory`, if one is given.
    """
    alone = Program()
    alone.add(compiled.test)
    threads = len(compiled.test.threads)
    with ExitStack() as stack:
        if directory is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hartstorm-")))
        else:
            directory.mkdir(parents=True, exist_ok=True)
            place = directory
        file = place / f"{compiled.test.name.replace('/', '_')}.rec"
        for attempt in range(ATTEMPTS):
            again = replace(setting, harts=threads, seed=setting.seed + attempt)
            try:
                if _shows(alone, again, states, file):
                    kept = "" if directory is None else f", kept in {file}"
                    return f"Recorded once more{kept}:\n{_report(file, model)}"
            except (Broken, RecordingError) as error:
                return f"The recorded run failed: {error}"
        file.unlink(missing_ok=True)
    return f"It did not show again in {ATTEMPTS} recorded runs of at most {OUTCOMES:,} outcomes."


def _shows(program: Program, setting: Setting, states: Collection[str], file: Path) -> bool:
    """Run until one of the states shows, or for long enough; whether one did."""
    reader = Reader(program.tests[0])
    with Session(program, setting, record=file) as session:
        session.begin(0)
        deadline = time.monotonic() + TIME_S
        while time.monotonic() < deadline and session.done() < OUTCOMES:
            time.sleep(_POLL_S)
            session.check()
            if _among(reader, session.counts(), states):
                break
        return _among(reader, session.end(), states)


def _among(reader: Reader, counts: Counts, states: Collection[str]) -> bool:
    return any(state_text(reader.shown, state) in states for state in reader.states(counts.outcomes).counts)


def _report(file: Path, model: Model) -> str:
    verdict = judge_recorded(from_recording(read(file)), model)
    execution = verdict.recorded.execution
    events = f"{sum(map(len, execution.harts)):,} events"
    if verdict.problem is not None:
        at = verdict.problem.identity
        where = f"{event_text(execution, at)}: " if at >= 0 else ""
        return f"of {events}, whatever their order, {where}{verdict.problem.text}"
    if verdict.violation is not None:
        return f"of {events}:\n{cycle_text(execution, verdict.violation)}"
    return f"no cycle in {events}{f' ({verdict.undecided})' if verdict.undecided else ''}"
