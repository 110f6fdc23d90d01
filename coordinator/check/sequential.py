"""Whether an execution is sequentially consistent: its events are run one by one, each once memory is as it saw it.

Owns that search. It decides no more than that one order exists; what a model forbids, and why, is
`coordinator.check.checker`'s to say.

Why it is right
===============
An event is run when the harts' earlier events have been, where it reads the store that it returned, and where it writes
after the store before it in the coherence order once nobody has yet to read that one. So every step of the order of
running keeps po, rf, co and fr, and if all events are run, that order has every edge of those. All rules of preserved
program order lie in program order, and what the axioms add (`coordinator.check.checker`) lies in rf, co and fr, but for
an SC that comes before the next foreign store: only an SC right after what its LR returned is run here. So no model
that `checker` knows finds a cycle in an execution that is run to its end.

Which enabled event is run first does not matter: running one never disables another. (A read stays enabled until a
write that waits for it; the one write that may follow stays so until it is run.)

Takes time in proportion to the execution, a small part of what a graph takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from coordinator.check.execution import INITIAL, PER_BYTE, READS, WRITES, Execution
from coordinator.check.memory import Memory

_READ, _WRITE, _SEVERAL = 0, 1, 2
_Step = tuple[int, int, int]
"""Cell, slot and _READ or _WRITE. A slot stands for a store in one cell; those of a cell have consecutive numbers."""


def is_sequential(execution: Execution, memory: Memory) -> bool:
    """Whether some order of all events explains what they read and the coherence orders.

    False also where an LR/SC pair has another store between, or two locations: whether that is atomic is not decided
    here.
    """
    cells_of, place, orders = memory.cells_of, memory.place, memory.orders
    first: list[int] = []
    slots = 0
    for order in orders:
        first.append(slots)  # the initial value; the store at place p is the slot p + 1 behind it
        slots += len(order) + 1
    unread = array("i", bytes(4 * slots))
    harts: list[list[_Step]] = []
    several: list[tuple[_Step, ...]] = []
    identity = 0
    for events in execution.harts:
        start = identity
        steps: list[_Step] = []
        for event in events:
            kind = event.kind
            cells = cells_of[identity]
            reads, writes = kind in READS, kind in WRITES
            parts: list[_Step] = []
            source = execution.source[identity]
            for cell in cells:
                returned = first[cell]
                if reads:
                    store = source
                    if source == PER_BYTE:
                        store = execution.bytewise[identity][memory.addresses[cell] - event.address]
                    if store != INITIAL:
                        returned += place(store, cell) + 1
                if not writes:
                    unread[returned] += 1
                    parts.append((cell, returned, _READ))
                    continue
                slot = first[cell] + place(identity, cell) + 1
                if reads and slot != returned + 1:
                    return False
                parts.append((cell, slot, _WRITE))
            if event.pair >= 0:
                load = start + event.pair
                if cells_of[load] != cells or not _follows(execution.source[load], parts, place, first):
                    return False
            if len(parts) == 1:
                steps.append(parts[0])
            elif parts:
                steps.append((len(several), 0, _SEVERAL))
                several.append(tuple(parts))
            identity += 1
        harts.append(steps)
    return _run(harts, several, first, unread)


def _follows(
    source: int, parts: Sequence[_Step], place: Callable[[int, int], int], first: Sequence[int]
) -> bool:
    """Whether an SC writes right after `source`, which its LR returned, in each of its cells."""
    if source == PER_BYTE:
        return False
    for cell, slot, _ in parts:
        returned = first[cell] + (0 if source == INITIAL else place(source, cell) + 1)
        if slot != returned + 1:
            return False
    return True


def _run(
    harts: Sequence[Sequence[_Step]],
    several: Sequence[Sequence[_Step]],
    first: Sequence[int],
    unread: array[int],
) -> bool:
    now = list(first)
    """The slot that each cell holds."""
    done = [0] * len(harts)
    readers: dict[int, list[int]] = {}
    """Harts that wait for a slot to be written, by the slot."""
    writer: dict[int, int] = {}
    """The hart that waits to write a slot."""
    ready = list(range(len(harts)))
    while ready:
        hart = ready.pop()
        steps = harts[hart]
        at, end = done[hart], len(steps)
        while at < end:
            cell, slot, kind = steps[at]
            if kind == _READ:
                if now[cell] != slot:
                    readers.setdefault(slot, []).append(hart)
                    break
                unread[slot] -= 1
                if not unread[slot] and slot + 1 in writer:
                    ready.append(writer.pop(slot + 1))
            elif kind == _WRITE:
                if now[cell] != slot - 1 or unread[slot - 1]:
                    writer[slot] = hart
                    break
                now[cell] = slot
                if slot in readers:
                    ready += readers.pop(slot)
                elif slot + 1 in writer and not unread[slot]:
                    ready.append(writer.pop(slot + 1))
            else:
                parts = several[cell]
                for part, slot, does in parts:
                    if does == _READ and now[part] != slot:
                        readers.setdefault(slot, []).append(hart)
                        break
                    if does == _WRITE and (now[part] != slot - 1 or unread[slot - 1]):
                        writer[slot] = hart
                        break
                else:
                    for part, slot, does in parts:
                        if does == _READ:
                            unread[slot] -= 1
                        else:
                            now[part] = slot
                            ready += readers.pop(slot, ())
                        if not unread[slot] and slot + 1 in writer:
                            ready.append(writer.pop(slot + 1))
                    at += 1
                    continue
                break
            at += 1
        done[hart] = at
    return all(at == len(steps) for at, steps in zip(done, harts, strict=True))
