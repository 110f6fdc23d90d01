"""Builds the guests of a plan: each different one once, C guests beside each other. Decides nothing about points."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from coordinator.config.model import Vm
from coordinator.guest import build, recipe
from hart.image import Image


@dataclass(frozen=True, slots=True)
class BuiltGuest:
    """A program, and the SHA-256 of what a run can see of it: its bytes, entry and symbols."""

    image: Image
    digest: str


class Guests:
    """The guests of one plan. `close` it: builds that nobody waits for any more are given up."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        """Pickled `hart.image.Image`s by digest."""
        self._builds: dict[object, Future[BuiltGuest]] = {}
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "guest-build")

    def begin(self, vm: Vm, directory: Path) -> Future[BuiltGuest]:
        """The build of `vm`'s guest, begun unless it was before; it raises what `coordinator.guest.build` does.

        A C guest is built by a compiler's process, which a thread waits for; all others at once, by this one.

        Raises:
            GuestError: as `recipe`.

        """
        made = recipe(vm, directory)
        found = self._builds.get(made)
        if found is None:
            if vm.guest.c is None:
                found = Future()
                try:
                    found.set_result(_built(vm, directory))
                except Exception as error:
                    found.set_exception(error)
            else:
                found = self._pool.submit(_built, vm, directory)
            self._builds[made] = found
        return found

    def result(self, begun: Future[BuiltGuest]) -> BuiltGuest:
        """Wait for a build, and keep its image. Raises GuestError if it failed."""
        built = begun.result()
        if built.digest not in self.images:
            self.images[built.digest] = pickle.dumps(built.image)
        return built

    def close(self) -> None:
        """Give up what has not begun, and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)


def _built(vm: Vm, directory: Path) -> BuiltGuest:
    image = build(vm, directory)
    return BuiltGuest(image, _digest(image))


def _digest(image: Image) -> str:
    symbols = [(s.name, s.address, s.size) for s in image.symbols.values()]
    facts = json.dumps([image.entry, sorted(symbols), image.digest()])
    return hashlib.sha256(facts.encode()).hexdigest()
