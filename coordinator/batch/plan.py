"""The plan of a batch: each point's checked configuration, its guests, and the id that stands for all of that.

Owns the id. Builds each different guest once; runs nothing.

An id is the SHA-256 of everything that decides what a run of the point does: the VMs' configuration with all defaults,
the bytes, entry and symbols of each program (not the paths of its sources), the budget, the repetition, and the sources
of the engine. So results of different experiments never mix, and renaming a file or a batch changes no id.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import bus
import coordinator
import hart
from coordinator.batch.file import Batch
from coordinator.batch.sweep import BASE, REPETITION, SweptPoint, anchored, expand
from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import Config, Document, check, read_document
from coordinator.config.model import PROGRAM_KEYS, Run
from coordinator.config.settings import Setting, leaves
from coordinator.guest import GuestError, build, misfits, recipe
from coordinator.paths import shipped_configs
from coordinator.results.record import label
from coordinator.results.store import PlannedPoint
from hart.image import Image
from hart.sources import sources_digest

_NO_PART_OF_THE_ID = {"guest": {*PROGRAM_KEYS, "address", "entry"}}
"""Keys of a VM that say where its program comes from; the image stands for them."""


@cache
def engine_identity() -> str:
    """Digest of hartstorm's own sources, but for those that only read results or talk to people."""
    judges = sources_digest((coordinator,), lambda name: name in _JUDGES)
    return hashlib.sha256(f"{sources_digest((bus, hart))} {judges}".encode()).hexdigest()


_JUDGES = ("account.py", "expect.py", "expression.py", "measure.py", "monitor.py", "runner.py", "vm.py")
"""Modules of the coordinator that decide what a run comes to."""


@dataclass
class Plan:
    """The points of a batch, and the programs they run by digest.

    `points` may be gone through once; it fills `images`.
    """

    batch: Batch
    parameters: tuple[str, ...]
    images: dict[str, bytes] = field(default_factory=dict)
    """Pickled `hart.image.Image`s by SHA-256."""
    _documents: dict[str, Document] = field(default_factory=dict)
    _built: dict[object, tuple[Image, str]] = field(default_factory=dict)
    _checked: dict[object, object] = field(default_factory=dict)
    """By recipe, what was found to go with the image last."""

    def points(self) -> Iterator[PlannedPoint]:
        """Every point, checked, with its guests built.

        Raises:
            ConfigError: a point cannot be run; says which, and where the file says so.

        """
        own = tuple(self._own_settings())
        seen: dict[bytes, int] = {}
        for number, swept in enumerate(expand(self.batch).points()):
            point = self._point(swept, own)
            if (first := seen.setdefault(bytes.fromhex(point.id), number)) != number:
                message = f"points {first} and {number} ({label(swept.parameters)}) are the same; `repeat` repeats one"
                raise self.batch.problem(("sweep",), message)
            yield point
        if not seen:
            raise self.batch.problem(("sweep", "where"), "leaves no point")

    def _own_settings(self) -> Iterator[Setting]:
        """The batch file's own `[vm]` and `[vms]`, to be laid over the base."""
        document = self.batch.document
        table: dict[str, Any] = {key: document.table[key] for key in ("vm", "vms") if key in document.table}
        for path, value in leaves(table):
            said = next((s for s in self.batch.settings if s.path == path), None)
            line = 0 if said else document.lines.get(path, 0)
            where = said.where if said else ".".join(path)
            yield Setting(path, anchored(self.batch, path, value), where, line, document.source)

    def _point(self, swept: SweptPoint, own: tuple[Setting, ...]) -> PlannedPoint:
        base = next((s for s in reversed(swept.settings) if s.path == BASE), None)
        document = self._document(self.batch.file.base if base is None else base.value, base)
        settings = (*own, *(s for s in swept.settings if s.path != BASE))
        try:
            config = check(document, settings=settings)
            images = self._guests(config, settings)
        except ConfigError as error:
            raise _at_point(error, swept) from error
        digests = {name: digest for name, (_, digest) in images.items()}
        return PlannedPoint(
            id=self._id(config.run, digests, swept.parameters.get(REPETITION, 0)),
            parameters=swept.parameters,
            config=config.run.model_dump_json(exclude_none=True),
            images=digests,
        )

    def _document(self, base: object, said: Setting | None) -> Document:
        """The run configuration that a point starts from."""
        batch = self.batch.document
        if base is None:
            return Document(batch.source, batch.directory, {"name": self.batch.file.name}, {})
        if not isinstance(base, str):
            where = ("base",) if said is None else (said.where,)
            raise self.batch.problem(where, "must name a run configuration", base)
        if base not in self._documents:
            shipped = base in shipped_configs() and not (batch.directory / base).exists()
            path = Path(base) if shipped else batch.directory / base
            self._documents[base] = read_document(path, shipped_configs())
        return self._documents[base]

    def _guests(self, config: Config, settings: tuple[Setting, ...]) -> dict[str, tuple[Image, str]]:
        images: dict[str, tuple[Image, str]] = {}
        for name, vm in config.run.vms.items():
            try:
                made = recipe(vm, config.directory)
                if made not in self._built:
                    image = build(vm, config.directory)
                    self._built[made] = (image, _digest(image))
                    self.images[self._built[made][1]] = pickle.dumps(image)
            except GuestError as error:
                problem = (
                    config.problem(name, error.key, error.message)
                    if error.key
                    else Problem("", error.message)
                )
                raise ConfigError(config.source, [problem]) from error
            images[name] = self._built[made]
            judged = (vm.memory, vm.expect, vm.metrics, vm.hart_metrics, vm.outcome)
            if self._checked.get(made) != judged:
                self._checked[made] = judged
                if found := misfits(vm, images[name][0]):
                    raise ConfigError(config.source, [config.problem(name, key, text) for key, text in found])
        return images

    def _id(self, run: Run, images: Mapping[str, str], repetition: object) -> str:
        budget = self.batch.file.batch
        parts = [engine_identity(), repr((repetition, budget.time_s, budget.operations))]
        for name, vm in run.vms.items():
            parts += [name, images[name], vm.model_dump_json(exclude=_NO_PART_OF_THE_ID)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_plan(batch: Batch) -> Plan:
    """The plan of a batch; raises ConfigError for a sweep that cannot be expanded."""
    return Plan(batch, expand(batch).parameters)


def _at_point(error: ConfigError, swept: SweptPoint) -> ConfigError:
    """The error, with the point at which it shows where there is more than one."""
    if not swept.parameters:
        return error
    at = label(swept.parameters)
    return ConfigError(
        error.source,
        [
            Problem(p.where, f"{p.message} (at the point {at})", p.value, p.line, p.source)
            for p in error.problems
        ],
    )


def _digest(image: Image) -> str:
    """SHA-256 of what a run can see of a program: its bytes, entry and symbols."""
    symbols = [(s.name, s.address, s.size) for s in image.symbols.values()]
    facts = json.dumps(
        [image.entry, sorted(symbols), [(c.address, len(c.data), c.zeros) for c in image.chunks]]
    )
    digest = hashlib.sha256(facts.encode())
    for chunk in image.chunks:
        digest.update(chunk.data)
    return digest.hexdigest()
