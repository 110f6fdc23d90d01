"""Makes batch files and runs batches for tests."""

from __future__ import annotations

import contextlib
from pathlib import Path

from coordinator.batch.drive import drive
from coordinator.batch.file import load_batch
from coordinator.batch.plan import make_plan
from coordinator.batch.session import open_session
from coordinator.config.settings import parse_setting

TINY = """
    .include "htif.S"
    .globl _start
_start:
    li      t0, WHICH
    la      t1, seen
    sd      t0, 0(t1)
    exit    0

    .bss
    .balign 8
seen:
    .zero   8
    .size   seen, 8
"""
BASE = """
name = "tiny"
[vm]
memory = "64KiB"
tier = "interpreter"
guest.source = ["tiny.S"]
guest.defines = { WHICH = 7 }
expect.invariants = ["seen == WHICH"]
"""


def write(directory: Path, sweep: str, *, base: str = BASE) -> Path:
    """A batch file named `b` in `directory` over the guest above, with `sweep` below its first keys."""
    (directory / "tiny.S").write_text(TINY)
    (directory / "tiny.toml").write_text(base)
    file = directory / "b.toml"
    file.write_text(f'name = "b"\nbase = "tiny.toml"\n{sweep}')
    return file


def plan_of(file: Path, *settings: str):
    return make_plan(load_batch(file, tuple(map(parse_setting, settings))))


def run_batch(file: Path, directory: Path, executor, **options):
    """Run a batch to its end with an executor, or what makes one from the programs."""
    plan = plan_of(file)
    with open_session(plan, directory) as (store, total):
        made = executor(plan.images) if callable(executor) else executor
        with contextlib.closing(made):
            return drive(store, plan.batch.file.batch, made, total, **options)
