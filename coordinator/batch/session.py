"""One start or resume of a batch: its directory opened, its plan and facts noted there. Runs no point."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.batch.facts import host_facts, versions
from coordinator.batch.plan import Plan, PlanProgress, engine_identity
from coordinator.results.store import Store, StoreError

FACTS = "batch.json"
"""What the database says of the batch as a whole, for people who look into the directory."""


@contextmanager
def open_session(
    plan: Plan, directory: Path, progress: PlanProgress = lambda points, guests: None
) -> Iterator[tuple[Store, int]]:
    """Gives the batch directory, with the plan in it, and the number of its points; `progress` as for `Plan.points`.

    Raises:
        ConfigError: a point of the plan cannot be run.
        StoreError: the directory belongs to another batch, or is in use.

    """
    file = plan.batch.file
    with Store(directory) as store:
        before = store.facts().get("name", file.name)
        if before != file.name:
            raise StoreError(
                f"{directory}: holds the batch {before!r}, not {file.name!r}; choose another with --out"
            )
        total = store.plan(plan.points(progress))
        facts = {
            "name": file.name,
            "description": file.description,
            "source": plan.batch.document.source,
            "file": file.model_dump(mode="json", by_alias=True, exclude_none=True),
            "parameters": plan.parameters,
            "engine": engine_identity(),
        }
        host, packages = host_facts(), versions()
        store.begin(facts, host, packages, time.time())
        text = json.dumps(facts | {"host": host, "versions": packages}, indent=2)
        (directory / FACTS).write_text(text + "\n", encoding="utf-8")
        yield store, total
