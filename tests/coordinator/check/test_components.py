"""The components of random graphs are the classes of nodes that lead to each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordinator.check.components import components

GRAPHS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def leads_to(graph: dict[int, list[tuple[int, int]]], start: int) -> set[int]:
    """The nodes at the end of a path of one edge or more."""
    found: set[int] = set()
    pending = [start]
    while pending:
        for v, _ in graph.get(pending.pop(), ()):
            if v not in found:
                found.add(v)
                pending.append(v)
    return found


@given(GRAPHS)
def test_they_are_what_leads_to_each_other(pairs):
    graph: dict[int, list[tuple[int, int]]] = {}
    for label, (u, v) in enumerate(pairs):
        graph.setdefault(u, []).append((v, label))
    reach = {u: leads_to(graph, u) for u in range(10)}
    expected = {frozenset(v for v in reach[u] if u in reach[v]) for u in range(10) if u in reach[u]}
    found = list(components(graph))
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    for inner in found:
        assert inner == {u: [edge for edge in graph[u] if edge[0] in inner] for u in inner}


def test_long_paths_take_no_recursion():
    n = 100_000
    ring = {u: [((u + 1) % n, 0)] for u in range(n)}
    (found,) = components(ring)
    assert len(found) == n
