"""Small relations as bit masks: order closures that grow edge by edge and notice the first cycle.

Owns the representation and nothing of memory models. A closure over n nodes is a list of n integers: bit j of entry i
is set if i comes before j or is j. Closures are never changed in place, so a search can go back to an older one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

Closure = list[int]


def empty(n: int) -> Closure:
    """The closure without edges."""
    return [1 << i for i in range(n)]


def with_edge(closure: Closure | None, before: int, after: int) -> Closure | None:
    """The closure with one more edge, or None if that makes a cycle; None stays None."""
    if closure is None:
        return None
    gain = closure[after]
    if gain >> before & 1:
        return None
    bit = 1 << before
    if closure[before] >> after & 1:
        return closure
    return [row | gain if row & bit else row for row in closure]


def closure_of(n: int, edges: Iterable[tuple[int, int]]) -> Closure | None:
    """The closure of some edges, or None if they have a cycle."""
    closure: Closure | None = empty(n)
    for before, after in edges:
        closure = with_edge(closure, before, after)
    return closure


def bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def shortest_cycle(nodes: Sequence[int], successors: Callable[[int], Iterable[int]]) -> list[int] | None:
    """The nodes of a shortest cycle in order, the first not repeated; None if there is none."""
    best: list[int] | None = None
    for start in nodes:
        previous: dict[int, int] = {}
        queue = deque([(start, 0)])
        found = False
        while queue and not found:
            node, depth = queue.popleft()
            if best is not None and depth + 1 >= len(best):
                break
            for following in successors(node):
                if following == start:
                    path = [node]
                    while path[-1] != start:
                        path.append(previous[path[-1]])
                    best = path[::-1]
                    found = True
                    break
                if following not in previous:
                    previous[following] = node
                    queue.append((following, depth + 1))
        if best is not None and len(best) == 1:
            return best
    return best
