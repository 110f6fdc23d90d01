"""The plan of a batch: each point's checked configuration, its guests, and the id that stands for all of that.

Owns the id. Builds each different guest once; runs nothing.

An id is the SHA-256 of everything that decides what a run of the point does: the VMs' configuration with all defaults,
the bytes, entry and symbols of each program (not the paths of its sources), the budget, the repetition, and the sources
of the engine. So results of different experiments never mix, and renaming a file or a batch changes no id.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import bus
import coordinator
import hart
from coordinator.batch.file import Batch
from coordinator.batch.guests import BuiltGuest, Guests
from coordinator.batch.sweep import BASE, REPETITION, SweptPoint, anchored, expand
from coordinator.config.errors import ConfigError, Problem
from coordinator.config.load import Config, Document, check, read_document
from coordinator.config.model import PROGRAM_KEYS, Vm
from coordinator.config.settings import Setting, leaves
from coordinator.guest import GuestError, misfits
from coordinator.paths import shipped_configs
from coordinator.results.record import label
from coordinator.results.store import PlannedPoint
from hart.sources import sources_digest

_NO_PART_OF_THE_ID = {*PROGRAM_KEYS, "address", "entry"}
"""Keys of a guest that say where its program comes from; the image stands for them."""

MOST_AHEAD = 1000
"""Points that are checked while others wait for their guests."""


@cache
def engine_identity() -> str:
    """Digest of hartstorm's own sources, but for those that only read results or talk to people."""
    judges = sources_digest((coordinator,), lambda name: name in _JUDGES)
    return hashlib.sha256(f"{sources_digest((bus, hart))} {judges}".encode()).hexdigest()


_JUDGES = ("account.py", "expect.py", "expression.py", "measure.py", "monitor.py", "runner.py", "vm.py")
"""Modules of the coordinator that decide what a run comes to."""


PlanProgress = Callable[[int, int], None]
"""Told how many points a plan has so far, and how many different guests."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """Points that differ in their seed alone: what was checked of them, and the builds of their guests by VM.

    Attributes:
        settings: those they share, by identity; None where a seed is not all that may differ.
        about: name and description of the run, as JSON.
        texts: each VM's configuration but for its seed, as JSON.

    """

    config: Config
    builds: Mapping[str, Future[BuiltGuest]]
    settings: tuple[int, ...] | None
    about: str
    texts: Mapping[str, _Texts]


@dataclass(frozen=True, slots=True)
class _Texts:
    """A VM's configuration as JSON: its guest, that guest as the id has it, and the rest but for the seed."""

    guest: str
    guest_of_id: str
    rest: str


@dataclass
class Plan:
    """The points of a batch, and the programs they run by digest.

    `points` may be gone through once; it fills `images`.
    """

    batch: Batch
    parameters: tuple[str, ...]
    guests: Guests = field(default_factory=Guests)
    _documents: dict[str, Document] = field(default_factory=dict)
    _fitting: dict[str, object] = field(default_factory=dict)
    """By digest of an image, what was found to go with it last."""
    _last: _Checked | None = None

    @property
    def images(self) -> Mapping[str, bytes]:
        """Pickled `hart.image.Image`s by SHA-256."""
        return self.guests.images

    def points(self, progress: PlanProgress = lambda points, guests: None) -> Iterator[PlannedPoint]:
        """Every point, checked, with its guests built; `progress` is told how many of both there are so far.

        Points are checked ahead of those that wait for a compiler, so that it is always busy.

        Raises:
            ConfigError: a point cannot be run; says which, and where the file says so.

        """
        own = tuple(self._own_settings())
        expansion = expand(self.batch)  # kept: `_Checked.settings` are identities of its settings
        seen: dict[bytes, int] = {}
        ahead: deque[tuple[SweptPoint, _Checked, int | None]] = deque()

        def next_point() -> PlannedPoint:
            number, (swept, checked, seed) = len(seen), ahead.popleft()
            point = self._point(swept, checked, seed)
            if (first := seen.setdefault(bytes.fromhex(point.id), number)) != number:
                message = f"points {first} and {number} ({label(swept.parameters)}) are the same; `repeat` repeats one"
                raise self.batch.problem(("sweep",), message)
            progress(len(seen), len(self.images))
            return point

        with closing(self.guests):
            for swept in expansion.points():
                ahead.append((swept, *self._checked(swept, own)))
                while ahead and (len(ahead) > MOST_AHEAD or _is_built(ahead[0][1])):
                    yield next_point()
            while ahead:
                yield next_point()
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

    def _checked(self, swept: SweptPoint, own: tuple[Setting, ...]) -> tuple[_Checked, int | None]:
        """The checked configuration of a point, its guests being built, and the seed that is not that one's own.

        A seed on the sweep's own axis, which comes last, was checked with the file: if the point before differs in
        nothing else, its configuration is this one's but for the seed.
        """
        shared, seed = None, swept.settings[-1] if self.batch.file.sweep.seeds is not None else None
        if seed is not None:
            shared = tuple(map(id, swept.settings[:-1]))
        before = self._last
        if seed is not None and before is not None and before.settings == shared:
            assert isinstance(seed.value, int)
            return before, seed.value
        base = next((s for s in reversed(swept.settings) if s.path == BASE), None)
        document = self._document(self.batch.file.base if base is None else base.value, base)
        settings = (*own, *(s for s in swept.settings if s.path != BASE))
        try:
            config = check(document, settings=settings)
            builds = self._builds(config)
        except ConfigError as error:
            raise _at_point(error, swept) from error
        about = json.dumps({"name": config.run.name, "description": config.run.description})[:-1]
        texts = {name: _texts(vm) for name, vm in config.run.vms.items()}
        of_all = "vms" not in document.table and all(s.path[0] != "vms" for s in settings)
        checked = _Checked(config, builds, shared if of_all else None, about, texts)
        self._last = checked
        return checked, None

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

    def _builds(self, config: Config) -> dict[str, Future[BuiltGuest]]:
        found: dict[str, Future[BuiltGuest]] = {}
        for name, vm in config.run.vms.items():
            try:
                found[name] = self.guests.begin(vm, config.directory)
            except GuestError as error:
                raise _of_guest(config, name, error) from error
        return found

    def _point(self, swept: SweptPoint, checked: _Checked, seed: int | None) -> PlannedPoint:
        digests: dict[str, str] = {}
        for name, vm in checked.config.run.vms.items():
            try:
                built = self.guests.result(checked.builds[name])
                self._check_fit(checked.config, name, vm, built)
            except GuestError as error:
                raise _at_point(_of_guest(checked.config, name, error), swept) from error
            except ConfigError as error:
                raise _at_point(error, swept) from error
            digests[name] = built.digest
        settings = self.batch.file.batch
        repetition = swept.parameters.get(REPETITION, 0)
        id_parts = [
            engine_identity(),
            repr((repetition, settings.time_s, settings.operations, settings.warm_ups)),
        ]
        vms = []
        for name, vm in checked.config.run.vms.items():
            texts, own_seed = checked.texts[name], str(vm.seed if seed is None else seed)
            id_parts += [name, digests[name], own_seed, texts.rest, texts.guest_of_id]
            vms.append(f'{json.dumps(name)}:{{"guest":{texts.guest},"seed":{own_seed},{texts.rest[1:]}')
        return PlannedPoint(
            id=hashlib.sha256("\0".join(id_parts).encode()).hexdigest(),
            parameters=swept.parameters,
            config=f'{checked.about}, "vms": {{{",".join(vms)}}}}}',
            images=digests,
        )

    def _check_fit(self, config: Config, name: str, vm: Vm, built: BuiltGuest) -> None:
        judged = (vm.memory, vm.expect, vm.metrics, vm.hart_metrics, vm.outcome)
        if self._fitting.get(built.digest) == judged:
            return
        if found := misfits(vm, built.image):
            raise ConfigError(config.source, [config.problem(name, key, text) for key, text in found])
        self._fitting[built.digest] = judged


def _is_built(checked: _Checked) -> bool:
    return all(build.done() for build in checked.builds.values())


def _texts(vm: Vm) -> _Texts:
    return _Texts(
        vm.guest.model_dump_json(exclude_none=True),
        vm.guest.model_dump_json(exclude=_NO_PART_OF_THE_ID, exclude_none=True),
        vm.model_dump_json(exclude={"guest", "seed"}, exclude_none=True),
    )


def _of_guest(config: Config, name: str, error: GuestError) -> ConfigError:
    """What is wrong with the guest of VM `name`, where the file says so."""
    problem = config.problem(name, error.key, error.message) if error.key else Problem("", error.message)
    return ConfigError(config.source, [problem])


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
