"""Reads the examples of a Markdown document and carries them out in a copy of the tree.

Owns the form of an example, a fenced block whose first line says what to do with it:

- ```` ```LANGUAGE file=PATH ````: write the block to PATH;
- ```` ```diff file=PATH ````: the lines with ` ` and `-` stand in PATH once; replace them by those with ` ` and `+`;
- ```` ```console ````: run each line after `$ `; its exit code is 0, or what `# exits with N` says; each line below
  it occurs in what it prints, blanks counting as one. With ` &` it runs on until the examples are through.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = () if entry_points(group="pytest11", name="hartstorm") else ("-p", "coordinator.pytest_plugin")
"""What makes pytest load hartstorm's plugin where hartstorm is not installed."""
_FENCE = re.compile(r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?$")
_SHIMS = {
    "hartstorm": [sys.executable, "-m", "coordinator"],
    "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *PLUGIN],
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

    @property
    def argv(self) -> list[str]:
        """What to execute."""
        program, *arguments = (word for word in self.words if word != "&")
        return [*_SHIMS[program], *arguments]


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
        words, exit_code, output = tuple(shlex.split(text)), int(comment or 0), []


class Examples:
    """A copy of the tree in which examples are carried out; a context manager that ends what runs on."""

    def __init__(
        self, directory: Path, hartstorm: Callable[[Sequence[str]], tuple[int, str]] | None = None
    ) -> None:
        """Copy what examples need below `directory`.

        `hartstorm` runs that command, giving exit code and output; without it, a process does, from the copy.
        """
        self._hartstorm = hartstorm
        self.tree = directory / "tree"
        for name in ("bus", "hart", "coordinator", "configs", "tests"):
            shutil.copytree(ROOT / name, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.tree)
        runtime = Path(tempfile.mkdtemp(prefix="hs-"))  # short: a socket's path has at most 107 bytes
        self._runtime = runtime
        self.user_directories = {"XDG_CACHE_HOME": str(directory / "cache"), "XDG_RUNTIME_DIR": str(runtime)}
        self._environment = os.environ | self.user_directories
        self._environment |= {"PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1"}
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Examples:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(30)
        shutil.rmtree(self._runtime)

    def carry_out(self, block: Block) -> None:
        """Do what the block says; blocks of other kinds say nothing."""
        if block.language == "console":
            for command in commands(block):
                self._run(command)
        elif block.file is not None and block.language == "diff":
            _patch(block, self.tree / block.file)
        elif block.file is not None:
            (self.tree / block.file).write_text("\n".join(block.lines) + "\n", encoding="utf-8")

    def _run(self, command: Command) -> None:
        if command.words[-1] == "&":
            self._running.append(
                subprocess.Popen(
                    command.argv, cwd=self.tree, env=self._environment, stdout=subprocess.DEVNULL
                )
            )
            return
        exit_code, output = self._execute(command)
        told = f"$ {' '.join(command.words)}\n{output}"
        assert exit_code == command.exit_code, f"exit code {exit_code}, not {command.exit_code}\n{told}"
        printed = " ".join(output.split())
        for line in command.output:
            assert " ".join(line.split()) in printed, f"does not print {line!r}\n{told}"

    def _execute(self, command: Command) -> tuple[int, str]:
        if self._hartstorm is not None and command.words[0] == "hartstorm":
            return self._hartstorm(command.words[1:])
        done = subprocess.run(
            command.argv,
            cwd=self.tree,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def _patch(block: Block, file: Path) -> None:
    old = "".join(f"{line[1:]}\n" for line in block.lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in block.lines if line[:1] != "-")
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"line {block.line}: {block.file} holds {text.count(old)} times:\n{old}"
    file.write_text(text.replace(old, new), encoding="utf-8")
