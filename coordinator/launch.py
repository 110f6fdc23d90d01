"""Starting hart and bus processes by forking a server that has everything loaded.

Owns the fork server and how processes come from it. Knows nothing of VMs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TypeVar

S = TypeVar("S")

_LOCK = threading.Lock()


@cache
def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["hart.preload"])
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide `__main__`: multiprocessing would import the program's main module into every child, for nothing."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def launch(target: Callable[[S], None], spec: S, name: str) -> BaseProcess:
    """Start a process that runs `target(spec)`; `target` is a module's function, `spec` can be pickled."""
    process = _context().Process(target=target, args=(spec,), name=name, daemon=True)
    with _LOCK, _without_main():
        process.start()
    return process
