"""Which files a path names: one test, a folder of them, or an `@all` index.

Owns the index format: one path a line, relative to the index, `#` comments; a line may name another index.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from coordinator.litmus.text import Source
from hart.spelling import nearest


def test_files(path: Path) -> Iterator[Path]:
    """The tests that `path` names, in order: itself, those below a folder, or those that an index lists.

    Raises:
        LitmusError: an index names what is not there, or itself.
        OSError: the path cannot be read.

    """
    if path.is_dir():
        yield from sorted(path.rglob("*.litmus"))
    elif path.name.startswith("@"):
        yield from _listed(path, ())
    else:
        yield path


def _listed(index: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    source = Source(str(index), index.read_text(encoding="utf-8"))
    position = 0
    for line in source.text.splitlines(keepends=True):
        entry = line.partition("#")[0].strip()
        if entry:
            found = index.parent / entry
            at = position + line.index(entry)
            if not found.exists():
                there = [p.name for p in found.parent.glob("*")] if found.parent.is_dir() else []
                raise source.error(at, f"{entry!r} is not there{nearest(found.name, there)}")
            if not found.name.startswith("@"):
                yield from test_files(found)
            elif found.resolve() in above or found.resolve() == index.resolve():
                raise source.error(at, f"{entry!r} leads back to an index that is being read")
            else:
                yield from _listed(found, (*above, index.resolve()))
        position += len(line)
