"""Families: features that belong together because the rarer ones activate where a more frequent one does.

O'Neill et al. 2024 (Disentangling Dense Embeddings with Sparse Autoencoders), section 4.2: co-occurrence counts are
divided by how often the rarer feature activates, edges below a threshold are dropped, a maximum spanning tree keeps
the strongest of the rest, and its edges point from the denser feature to the sparser one. Each root with everything
below it is a family. Then the roots are removed, and the rest forms finer families, for some rounds.

A feature that is active in a third of all rows meets a rare one in a third of its rows by chance. So by default counts
are corrected for chance before that: from shared rows and from those that are possible the expected number is
subtracted, a pair must share more rows than chance explains (binomial test, Bonferroni's correction), dense features
are left out, and a pair alone is no family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

THRESHOLD = 0.1
ROUNDS = 3
COLOR_COUNT = 8
MIN_SHARED = 3
"""Rows in which two features must both be active: two rare ones meet by chance."""
MAX_DENSITY = 0.1
"""Share of the rows beyond which a feature is dense, and left out of families that are corrected for chance."""
SIGNIFICANCE = 0.01
"""Probability that chance alone gives any pair of features its edge."""
MIN_MEMBERS = 3
"""Features of a family that is corrected for chance."""
_BLOCK_ROWS = 1024
"""Rows of the co-occurrence matrix that are searched for edges at once: bounds memory."""


class Method(StrEnum):
    """How edges between features are weighed."""

    CORRECTED = "CORRECTED"
    """Corrected for chance."""
    PUBLISHED = "PUBLISHED"
    """As O'Neill et al. 2024 do."""


@dataclass(frozen=True)
class Options:
    """How families are built."""

    threshold: float = THRESHOLD
    """Least weight of an edge."""
    rounds: int = ROUNDS
    method: Method = Method.CORRECTED


DEFAULTS = Options()


@dataclass(frozen=True)
class Member:
    """A feature in a family's tree."""

    index: int
    parent: int | None
    """The feature above it; None for the root."""
    weight: float
    """Of the edge to its parent, 0 to 1."""


@dataclass(frozen=True)
class Family:
    """A root and all below it."""

    id: str
    round: int
    """In which it was found, from 1."""
    color: int
    """1 to 8 for the largest families of the first round, else 0."""
    members: Sequence[Member]
    """The root first, parents before their children."""

    @property
    def root(self) -> int:
        """The index of the feature at the top."""
        return self.members[0].index


def build(
    cooccurrence: sparse.csr_array,
    density: NDArray[np.float64],
    *,
    row_count: int,
    options: Options = DEFAULTS,
) -> list[Family]:
    """Families, round by round, the largest first; ties by the root's index.

    cooccurrence: (n, n) CSR counts, each feature's own on the diagonal. density: (n,) decides who is above; ties go to
    the lower index. row_count: rows that the counts are over.
    """
    is_corrected = options.method is Method.CORRECTED
    edges = _edges(cooccurrence, options.threshold, chance=_Chance.of(density, row_count) if is_corrected else None)
    min_members = MIN_MEMBERS if is_corrected else 2
    densest_first = np.lexsort((np.arange(len(density)), -density))
    rank = np.empty(len(density), np.int64)
    rank[densest_first] = np.arange(len(density))
    removed: set[int] = set()
    families: list[Family] = []
    for number in range(1, options.rounds + 1):
        tree = _tree([edge for edge in edges if removed.isdisjoint(edge[:2])], rank)
        roots = [node for node in tree if not tree.in_degree(node) and tree.out_degree(node)]
        if not roots:
            break
        below = [_below(tree, root) for root in roots]
        trees = sorted(
            (members for members in below if len(members) >= min_members),
            key=lambda members: (-len(members), members[0].index),
        )
        families += [_family(number, place, members) for place, members in enumerate(trees)]
        removed.update(roots)
    return families


def matching(families: Iterable[Family], query: str, label_of: Callable[[int], str]) -> list[Family]:
    """The families of which one feature's label contains all words of the query, the largest first; ties by round."""
    words = query.lower().split()
    largest_first = sorted(families, key=lambda family: (-len(family.members), family.round, family.root))
    if not words:
        return largest_first
    return [
        family
        for family in largest_first
        if any(all(word in label_of(member.index).lower() for word in words) for member in family.members)
    ]


def normalised(shared: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows in which both of two live features are active, over those in which the rarer is: 0 to 1."""
    return shared / np.minimum(first, second)


def _family(number: int, place: int, members: Sequence[Member]) -> Family:
    """The family at a place, from 0, of a round's list."""
    return Family(
        id=f"{number}-{members[0].index}",
        round=number,
        color=place + 1 if number == 1 and place < COLOR_COUNT else 0,
        members=members,
    )


@dataclass(frozen=True)
class _Chance:
    """What two features share by chance."""

    row_count: int
    is_candidate: NDArray[np.bool_]
    """(n,) the features that are neither dead nor dense."""
    pair_count: int
    """Pairs of candidates."""

    @classmethod
    def of(cls, density: NDArray[np.float64], row_count: int) -> _Chance:
        """For features of these densities (n,)."""
        is_candidate = (density > 0) & (density <= MAX_DENSITY)
        count = int(is_candidate.sum())
        return cls(row_count=row_count, is_candidate=is_candidate, pair_count=max(1, count * (count - 1) // 2))

    def weight(
        self, shared: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Shared rows beyond chance over the most there can be: 1 for a rarer feature that is always inside, 0 for
        chance, and for pairs that chance explains. first, second: rows of each feature."""
        rarer, denser = np.minimum(first, second), np.maximum(first, second)
        expected = rarer * denser / self.row_count
        beyond = (shared - expected) / np.maximum(rarer - expected, 1e-9)
        probability = special.bdtrc(shared - 1.0, rarer, denser / self.row_count)
        return np.where(probability * self.pair_count <= SIGNIFICANCE, beyond, 0.0)


def _edges(cooccurrence: sparse.csr_array, threshold: float, *, chance: _Chance | None) -> list[tuple[int, int, float]]:
    """(first, second, weight) of all pairs that reach the threshold, first < second, by both.

    chance: what is subtracted from weights; None for weights as published.
    """
    own = cooccurrence.diagonal().astype(np.int64)
    edges: list[tuple[int, int, float]] = []
    for start in range(0, cooccurrence.shape[0], _BLOCK_ROWS):
        block = sparse.csr_array(cooccurrence[start : start + _BLOCK_ROWS]).tocoo()
        first, second = block.coords[0] + start, block.coords[1]
        enough = (first < second) & (block.data >= MIN_SHARED)
        if chance is not None:
            enough &= chance.is_candidate[first] & chance.is_candidate[second]
        first, second, shared = first[enough], second[enough], block.data[enough]
        weigh = normalised if chance is None else chance.weight
        weight = weigh(shared, own[first], own[second])
        strong = weight >= threshold
        edges += zip(first[strong].tolist(), second[strong].tolist(), weight[strong].tolist(), strict=True)
    return edges


def _tree(edges: Sequence[tuple[int, int, float]], rank: NDArray[np.int64]) -> nx.DiGraph[int]:
    """The maximum spanning forest, its edges from the denser feature to the sparser one."""
    graph: nx.Graph[int] = nx.Graph()
    graph.add_weighted_edges_from(edges)
    tree: nx.DiGraph[int] = nx.DiGraph()
    for first, second, data in nx.maximum_spanning_edges(graph):
        source, target = (first, second) if rank[first] < rank[second] else (second, first)
        tree.add_edge(source, target, weight=data["weight"])
    return tree


def _below(tree: nx.DiGraph[int], root: int) -> list[Member]:
    """The root and all below it, breadth first, siblings by weight."""
    members = [Member(root, None, 0.0)]
    reached = {root}
    for member in members:
        edges: Iterable[tuple[int, int, float]] = tree.out_edges(member.index, data="weight")
        for _, child, weight in sorted(edges, key=lambda edge: (-edge[2], edge[1])):
            if child not in reached:
                reached.add(child)
                members.append(Member(child, member.index, float(weight)))
    return members
