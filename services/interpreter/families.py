"""Families: features that belong together because the rarer ones activate where a more frequent one does.

O'Neill et al. 2024 (Disentangling Dense Embeddings with Sparse Autoencoders), section 4.2: co-occurrence counts are
divided by how often the rarer feature activates, edges under a threshold are left out, a maximum spanning tree keeps
the strongest of the rest, its edges point from the denser feature to the sparser one. Each root with all that is below
it is a family. Then the roots are taken away, and the rest forms finer families, for some rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

THRESHOLD = 0.1
ROUNDS = 3
COLOR_COUNT = 8
MIN_SHARED = 3
"""Rows that two features must share: two rare ones meet by chance."""


@dataclass(frozen=True)
class Member:
    """A feature in a family's tree. parent: the feature above it, None for the root. weight: of that edge, 0 to 1."""

    index: int
    parent: int | None
    weight: float


@dataclass(frozen=True)
class Family:
    """A root and all below it. color: 1 to 8 for the largest of the first round, else 0."""

    id: str
    round: int
    color: int
    members: Sequence[Member]

    @property
    def root(self) -> int:
        return self.members[0].index


def build(
    cooccurrence: sparse.csr_array,
    density: NDArray[np.float64],
    *,
    threshold: float = THRESHOLD,
    rounds: int = ROUNDS,
) -> list[Family]:
    """Families, round by round, the largest first; ties by the root's index.

    cooccurrence: (n, n) CSR counts, each feature's own on the diagonal. density: (n,) decides who is above; ties go to
    the lower index.
    """
    edges = _edges(cooccurrence, threshold)
    above = np.lexsort((np.arange(len(density)), -density))
    rank = np.empty(len(density), np.int64)
    rank[above] = np.arange(len(density))
    gone: set[int] = set()
    found: list[Family] = []
    for number in range(1, rounds + 1):
        tree = _tree([edge for edge in edges if edge[0] not in gone and edge[1] not in gone], rank)
        roots = [node for node in tree if not tree.in_degree(node) and tree.out_degree(node)]
        if not roots:
            break
        trees = sorted((_below(tree, root) for root in roots), key=lambda members: (-len(members), members[0].index))
        found += [
            Family(
                f"{number}-{members[0].index}",
                number,
                place + 1 if number == 1 and place < COLOR_COUNT else 0,
                members,
            )
            for place, members in enumerate(trees)
        ]
        gone.update(roots)
    return found


def normalised(shared: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows in which both of two live features are active, over those in which the rarer is: 0 to 1."""
    return shared / np.minimum(one, other)


def _edges(cooccurrence: sparse.csr_array, threshold: float) -> list[tuple[int, int, float]]:
    """(one, other, weight) of all pairs that reach the threshold, one < other."""
    upper = sparse.triu(cooccurrence, k=1).tocoo()
    own = cooccurrence.diagonal()
    one, other = upper.coords
    weight = normalised(upper.data, own[one], own[other])
    kept = (weight >= threshold) & (upper.data >= MIN_SHARED)
    return list(zip(one[kept].tolist(), other[kept].tolist(), weight[kept].tolist(), strict=True))


def _tree(edges: Sequence[tuple[int, int, float]], rank: NDArray[np.int64]) -> nx.DiGraph[int]:
    """The maximum spanning forest, its edges from the denser feature to the sparser one."""
    graph: nx.Graph[int] = nx.Graph()
    graph.add_weighted_edges_from(edges)
    tree: nx.DiGraph[int] = nx.DiGraph()
    for one, other, data in nx.maximum_spanning_edges(graph):
        source, target = (one, other) if rank[one] < rank[other] else (other, one)
        tree.add_edge(source, target, weight=data["weight"])
    return tree


def _below(tree: nx.DiGraph[int], root: int) -> list[Member]:
    """The root and all below it, breadth first, siblings by weight."""
    members = [Member(root, None, 0.0)]
    seen = {root}
    for member in members:
        edges: Iterable[tuple[int, int, float]] = tree.out_edges(member.index, data="weight")
        for _, child, weight in sorted(edges, key=lambda edge: (-edge[2], edge[1])):
            if child not in seen:
                seen.add(child)
                members.append(Member(child, member.index, float(weight)))
    return members
