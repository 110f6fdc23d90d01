"""One program on both machines: the first line in which their commit logs differ, and the smallest such program.

Owns the normalisation of the logs and the shrinking. Both logs have a line for each retired instruction with its pc,
its encoding, the register it wrote and the memory it read and wrote; see `hart.trace`. Traps retire nothing: what the
handler reads of them (mcause, mtval, mepc) appears in its own lines.

What is removed before comparing, and why:

- Spike's lines below RAM: its boot ROM, which we have not.
- Spike's CSR writes (`c834_mcause 0x...`): our log has none. Values are compared where the program reads them.
- Our lines of traps: Spike's commit log has none.
- All after the store to tohost: each machine stops when it likes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bus.policies import Reservations
from hart.image import Image
from tests import local_hart
from tests.differential import spike
from tests.differential.generator import RAM, RAM_BYTES, Item, Model, Program

_COMMIT = re.compile(r"core +\d+: 3 0x([0-9a-f]{16}) ")
_CSR_WRITE = re.compile(r" c\d+_\w+ 0x[0-9a-f]+")
MAX_INSTRUCTIONS = 5000
"""Spike drops the reservation after so many instructions (`INTERLEAVE`), and looks at tohost."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the logs part: the lines before it, which agree, and one line of each, or None at its end."""

    before: tuple[str, ...]
    ours: str | None
    theirs: str | None

    def __str__(self) -> str:
        return "\n".join(
            (*(f"         {b}" for b in self.before), f"ours     {self.ours}", f"Spike    {self.theirs}")
        )


class Pair:
    """Ours and Spike, for one model."""

    def __init__(self, spike_path: Path, model: Model) -> None:
        self._spike = spike_path
        self._model = model

    def logs(self, image: Image) -> tuple[list[str], list[str]]:
        """Both logs, normalised: ours, Spike's."""
        with tempfile.TemporaryDirectory(prefix="hartstorm-") as scratch:
            directory = Path(scratch)
            theirs = spike.commits(self._spike, image, self._model.isa, RAM, RAM_BYTES, directory)
            trace = directory / "ours.log"
            local_hart.run(
                image,
                extensions=self._model.extensions,
                max_instructions=MAX_INSTRUCTIONS,
                ram_bytes=RAM_BYTES,
                reservations=Reservations(
                    require_exact_reservation_addr=self._model.exact_reservations, invalidate_on_trap=True
                ),
                trace=str(trace),
            )
            ours = trace.read_text().splitlines()
        end = f" mem {image.symbols['tohost'].address:#018x} 0x"
        return _normal(ours, end), _normal(theirs, end)

    def difference(self, image: Image) -> Difference | None:
        """The first line that differs."""
        ours, theirs = self.logs(image)
        return first_difference(ours, theirs)


def first_difference(ours: Sequence[str], theirs: Sequence[str]) -> Difference | None:
    """The first line that differs, or that one log has and the other has not."""
    for i in range(max(len(ours), len(theirs))):
        a = ours[i] if i < len(ours) else None
        b = theirs[i] if i < len(theirs) else None
        if a != b:
            return Difference(tuple(ours[max(0, i - 4) : i]), a, b)
    return None


def _normal(lines: Sequence[str], end: str) -> list[str]:
    kept = []
    for line in lines:
        m = _COMMIT.match(line)
        if m is None or int(m[1], 16) < RAM:
            continue
        kept.append(_CSR_WRITE.sub("", line).rstrip())
        if end in line:
            break
    return kept


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """A failing program of which no single item can be removed, and that starts with zeros where they do."""
    smallest = replace(program, items=_fewest(program, fails))
    zeros = replace(smallest, data=bytes(len(program.data)))
    if fails(zeros):
        smallest = zeros
    for i in range(len(program.registers)):
        registers = (*smallest.registers[:i], 0, *smallest.registers[i + 1 :])
        if smallest.registers[i] and fails(replace(smallest, registers=registers)):
            smallest = replace(smallest, registers=registers)
    return smallest


def _fewest(program: Program, fails: Callable[[Program], bool]) -> tuple[Item, ...]:
    """Zeller's ddmin over the items."""
    items = list(program.items)
    parts = 2
    while len(items) > 1:
        size = -(-len(items) // parts)
        for start in range(0, len(items), size):
            rest: list[Item] = items[:start] + items[start + size :]
            if fails(replace(program, items=tuple(rest))):
                items, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(items))
    return tuple(items)
