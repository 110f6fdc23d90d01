"""Reads the examples of a Markdown document and carries them out in a copy of the tree.

Owns the form of an example, a fenced block whose first line says what to do with it:

- ```` ```LANGUAGE file=PATH ````: write the block to PATH;
- ```` ```diff file=PATH ````: the lines with ` ` and `-` stand in PATH once; replace them by those with ` ` and `+`;
- ```` ```console ````: run each line after `$ `; its exit code is 0, or what `# exits with N` says; each line below
  it occurs in what it prints, blanks counting as one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?$")
_SHIMS = {
    "hartstorm": [sys.executable, "-c", "from coordinator.cli import main; main()"],
    "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"],
    "python": [sys.executable],
    "cat": ["cat"],
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the file it is for if any, the heading above it, its first line's number."""

    language: str
    file: str | None
    heading: str
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block and what must come of it."""

    words: tuple[str, ...]
    exit_code: int
    output: tuple[str, ...]


def blocks(document: Path) -> list[Block]:
    """Every fenced block with a language, in order."""
    found: list[Block] = []
    heading = ""
    lines = iter(enumerate(document.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif fence := _FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner == "```":
                    break
                body.append(inner)
            found.append(Block(fence["language"], fence["file"], heading, number, tuple(body)))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    words: tuple[str, ...] = ()
    exit_code, output = 0, []
    for line in (*block.lines, "$ "):
        if not line.startswith("$ "):
            output.append(line)
            continue
        if words:
            yield Command(words, exit_code, tuple(output))
        text, _, comment = line[2:].partition("  # exits with ")
        words, exit_code, output = tuple(text.split()), int(comment or 0), []


def copy_tree(target: Path) -> None:
    """Copy what examples need of the tree."""
    for name in ("bus", "hart", "coordinator", "configs", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)


def carry_out(block: Block, tree: Path) -> None:
    """Do in `tree` what the block says; blocks of other kinds say nothing."""
    if block.language == "console":
        for command in commands(block):
            _run(command, tree)
    elif block.file is not None and block.language == "diff":
        _patch(block, tree / block.file)
    elif block.file is not None:
        (tree / block.file).write_text("\n".join(block.lines) + "\n", encoding="utf-8")


def _patch(block: Block, file: Path) -> None:
    old = "".join(f"{line[1:]}\n" for line in block.lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in block.lines if line[:1] != "-")
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"line {block.line}: {block.file} holds {text.count(old)} times:\n{old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def _run(command: Command, tree: Path) -> None:
    program, *arguments = command.words
    done = subprocess.run(
        [*_SHIMS[program], *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = f"$ {' '.join(command.words)}\n{done.stdout}{done.stderr}"
    assert done.returncode == command.exit_code, f"exit code {done.returncode}, not {command.exit_code}\n{told}"
    printed = " ".join(told.split("\n", 1)[1].split())
    for line in command.output:
        assert " ".join(line.split()) in printed, f"does not print {line!r}\n{told}"
