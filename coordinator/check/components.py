"""Strongly connected components of a graph of labelled edges: the parts in which every node lies on a cycle.

Owns the algorithm (Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1972), without recursion,
for the graphs of long executions are deep.
"""

from __future__ import annotations

from collections.abc import Iterator

Edges = dict[int, list[tuple[int, int]]]
"""By node, the nodes that its edges lead to, with their labels."""


def components(graph: Edges) -> Iterator[Edges]:
    """Each component that has an edge, with the edges inside it. Takes time in proportion to the graph."""
    for members in _components(graph):
        if len(members) > 1 or any(v in members for v, _ in graph.get(next(iter(members)), ())):
            yield {u: [edge for edge in graph[u] if edge[0] in members] for u in members}


def _components(graph: Edges) -> Iterator[set[int]]:
    low: dict[int, int] = {}
    """The first node, by number, that a node is known to lead back to; numbers are given when a node is first seen."""
    number: dict[int, int] = {}
    open_nodes: list[int] = []
    """Seen, and in no component yet."""
    is_open: set[int] = set()
    for root in graph:
        if root in number:
            continue
        path = [(root, iter(graph[root]))]
        number[root] = low[root] = len(number)
        open_nodes.append(root)
        is_open.add(root)
        while path:
            u, edges = path[-1]
            for v, _ in edges:
                if v not in number:
                    number[v] = low[v] = len(number)
                    open_nodes.append(v)
                    is_open.add(v)
                    path.append((v, iter(graph.get(v, ()))))
                    break
                if v in is_open:
                    low[u] = min(low[u], number[v])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[u])
                if low[u] == number[u]:
                    members = set()
                    while u not in members:
                        members.add(open_nodes.pop())
                    is_open -= members
                    yield members
