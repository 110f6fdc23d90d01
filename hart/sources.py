"""Digests of hartstorm's own sources: what stands for the version of the engine wherever results are kept.

A version number would have to be raised by hand, and whoever forgets it meets yesterday's results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType


def sources_digest(packages: Iterable[ModuleType], wanted: Callable[[str], bool] = lambda name: True) -> str:
    """SHA-256 of the Python files of packages; `wanted` says of each file, by its path in its package, if it counts."""
    digest = hashlib.sha256()
    for package in packages:
        root = Path(package.__path__[0])
        for source in sorted(root.rglob("*.py")):
            name = source.relative_to(root).as_posix()
            if wanted(name):
                digest.update(f"{package.__name__}/{name}\0".encode())
                digest.update(source.read_bytes())
    return digest.hexdigest()
