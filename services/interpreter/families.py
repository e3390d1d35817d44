"""Families: features that belong together because the rarer ones activate where a more frequent one does.

O'Neill et al. 2024 (Disentangling Dense Embeddings with Sparse Autoencoders), section 4.2: co-occurrence counts are
divided by how often the rarer feature activates, edges below a threshold are dropped, a maximum spanning tree keeps
the strongest of the rest, and its edges point from the denser feature to the sparser one. Each root with everything
below it is a family. Then the roots are removed, and the rest forms finer families, for some rounds.

A feature that is active in a third of all rows meets a rare one in a third of its rows by chance, and the trees of that
method chain what has nothing in common. So by default families are corrected for chance: an edge needs more shared rows
than chance explains (binomial test; Benjamini and Hochberg 1995), from shared rows and from those that are possible the
expected number is subtracted, and features that are dense, unstable or could not be named are left out. Families are
the communities of that graph (Blondel et al. 2008), those of later rounds parts of earlier ones; the densest feature of
each is its top, and a pair is no family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from services.interpreter.scoring import Scores

THRESHOLD = 0.1
ROUNDS = 3
COLOR_COUNT = 8
MIN_SHARED = 3
"""Rows in which two features must both be active: two rare ones meet by chance."""
MAX_DENSITY = 0.1
"""Share of the rows beyond which a feature is dense, and left out of families that are corrected for chance."""
FALSE_DISCOVERY_RATE = 0.01
"""Share of the edges that chance alone may have given."""
MIN_MEMBERS = 3
"""Features of a family that is corrected for chance."""
MAX_MEMBERS = 16
"""Features of a family that is corrected for chance; one of more is divided, where its graph falls into parts."""
_BLOCK_ROWS = 1024
"""Rows of the co-occurrence matrix that are searched for edges at once: bounds memory."""


Edge: TypeAlias = tuple[int, int, float]
"""Two features and a weight."""


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


@dataclass(frozen=True, kw_only=True)
class FamilyLabel:
    """What a test of names for a family gave."""

    text: str
    """Empty where no name passed."""
    description: str
    """What speaks for the name, or why there is none."""
    density: float
    """Share of rows in which one of its features at least reaches its threshold."""
    scores: Scores | None
    """Of the best name; None where there were too few documents."""


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
    label: FamilyLabel | None = None
    """None before names were tested."""

    @property
    def root(self) -> int:
        """The index of the feature at the top."""
        return self.members[0].index

    @property
    def indices(self) -> list[int]:
        """Those of its features, in the order of the members."""
        return [member.index for member in self.members]


def build(
    cooccurrence: sparse.csr_array,
    density: NDArray[np.float64],
    *,
    row_count: int,
    reliable: NDArray[np.bool_] | None = None,
    options: Options = DEFAULTS,
) -> list[Family]:
    """Families, round by round, the largest first; ties by the root's index.

    cooccurrence: (n, n) CSR counts, each feature's own on the diagonal. density: (n,) decides who is above; ties go to
    the lower index. row_count: rows that the counts are over. reliable: (n,) the features that may be in families that
    are corrected for chance; all by default.
    """
    densest_first = np.lexsort((np.arange(len(density)), -density))
    rank = np.empty(len(density), np.int64)
    rank[densest_first] = np.arange(len(density))
    if options.method is Method.CORRECTED:
        candidate = np.ones(len(density), np.bool_) if reliable is None else reliable
        edges = _Chance.of(np.where(candidate, density, 0.0), row_count).edges(cooccurrence, options.threshold)
        return _communities(edges, rank, options.rounds)
    return _published(cooccurrence, rank, options)


def _published(cooccurrence: sparse.csr_array, rank: NDArray[np.int64], options: Options) -> list[Family]:
    """Families as O'Neill et al. 2024 build them."""
    edges = _edges(cooccurrence, options.threshold)
    removed: set[int] = set()
    families: list[Family] = []
    for number in range(1, options.rounds + 1):
        tree = _tree([edge for edge in edges if removed.isdisjoint(edge[:2])], rank)
        roots = [node for node in tree if not tree.in_degree(node) and tree.out_degree(node)]
        if not roots:
            break
        trees = sorted((_below(tree, root) for root in roots), key=lambda members: (-len(members), members[0].index))
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

    def edges(self, cooccurrence: sparse.csr_array, threshold: float) -> list[Edge]:
        """Pairs that share more rows than chance explains, first < second, by both; weights reach the threshold.

        A weight is the number of shared rows beyond chance over the most there can be: 1 for a rarer feature that is
        always inside the other, 0 for chance.
        """
        own = cooccurrence.diagonal().astype(np.int64)
        first, second, shared = _pairs(cooccurrence, self.is_candidate)
        rarer, denser = np.minimum(own[first], own[second]), np.maximum(own[first], own[second])
        expected = rarer * denser / self.row_count
        weight = (shared - expected) / np.maximum(rarer - expected, 1e-9)
        probability: NDArray[np.float64] = special.bdtrc(  # pyright: ignore[reportAssignmentType]  # of doubles
            (shared - 1).astype(np.float64), rarer, denser / self.row_count
        )
        strong = (probability <= _largest_discovery(probability, self.pair_count)) & (weight >= threshold)
        return list(zip(first[strong].tolist(), second[strong].tolist(), weight[strong].tolist(), strict=True))


def _largest_discovery(probabilities: NDArray[np.float64], tests: int) -> float:
    """The largest probability that counts as a discovery among so many tests (Benjamini and Hochberg 1995)."""
    ordered = np.sort(probabilities)
    passes = np.flatnonzero(ordered <= FALSE_DISCOVERY_RATE * np.arange(1, len(ordered) + 1) / tests)
    return float(ordered[passes[-1]]) if len(passes) else -1.0


def _pairs(
    cooccurrence: sparse.csr_array, is_candidate: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(first, second, shared rows) of all pairs of candidates with enough shared rows, first < second, by both."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for start in range(0, cooccurrence.shape[0], _BLOCK_ROWS):
        block = sparse.csr_array(cooccurrence[start : start + _BLOCK_ROWS]).tocoo()
        first, second = block.coords[0].astype(np.int64) + start, block.coords[1].astype(np.int64)
        enough = (first < second) & (block.data >= MIN_SHARED) & is_candidate[first] & is_candidate[second]
        order = np.lexsort((second[enough], first[enough]))
        parts.append((first[enough][order], second[enough][order], block.data[enough][order].astype(np.int64)))
    first, second, shared = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return first, second, shared


def _communities(edges: Sequence[Edge], rank: NDArray[np.int64], rounds: int) -> list[Family]:
    """Communities of a graph, and their parts round by round, the largest of a round first."""
    graph: nx.Graph[int] = nx.Graph()
    graph.add_weighted_edges_from(edges)
    parts = [small for part in _parts(graph, set(graph), rank) for small in _divided(graph, part, rank)]
    families: list[Family] = []
    for number in range(1, rounds + 1):
        trees = sorted(
            (_members(graph, part, rank) for part in parts), key=lambda members: (-len(members), members[0].index)
        )
        families += [_family(number, place, members) for place, members in enumerate(trees)]
        parts = [finer for part in parts for finer in _finer(graph, part, rank, resolution=2.0**number)]
    return families


def _divided(graph: nx.Graph[int], whole: set[int], rank: NDArray[np.int64]) -> list[set[int]]:
    """A community, or its communities, theirs and so on, until they have few enough features or fall into no more."""
    if len(whole) <= MAX_MEMBERS:
        return [whole]
    parts = _finer(graph, whole, rank)
    return [small for part in parts for small in _divided(graph, part, rank)] or [whole]


def _finer(
    graph: nx.Graph[int], whole: set[int], rank: NDArray[np.int64], *, resolution: float = 1.0
) -> list[set[int]]:
    """The communities of a part of the graph that are smaller than it."""
    return [part for part in _parts(graph, whole, rank, resolution=resolution) if part != whole]


def _parts(
    graph: nx.Graph[int], whole: set[int], rank: NDArray[np.int64], *, resolution: float = 1.0
) -> list[set[int]]:
    """The connected communities of a part of the graph that are large enough for a family."""
    edges: Iterable[Edge] = graph.subgraph(whole).edges(data="weight")
    subgraph: nx.Graph[int] = nx.Graph()
    densest_first: list[int] = sorted(whole, key=rank.__getitem__)
    subgraph.add_nodes_from(densest_first)  # the algorithm goes by this order
    subgraph.add_weighted_edges_from(sorted((min(edge[:2]), max(edge[:2]), edge[2]) for edge in edges))
    if not subgraph.number_of_edges():
        return []
    parts: list[set[int]] = []
    for community in nx.community.louvain_communities(subgraph, weight="weight", resolution=resolution, seed=0):
        parts += [set(part) for part in nx.connected_components(subgraph.subgraph(community))]
    return [part for part in parts if len(part) >= MIN_MEMBERS]


def _members(graph: nx.Graph[int], part: set[int], rank: NDArray[np.int64]) -> list[Member]:
    """The features of a community as a tree of its strongest edges, its densest feature at the top."""
    forest = nx.maximum_spanning_tree(graph.subgraph(part))
    root = min(part, key=lambda node: int(rank[node]))
    tree: nx.DiGraph[int] = nx.DiGraph()
    tree.add_node(root)
    for parent, child in nx.bfs_edges(forest, root):
        tree.add_edge(parent, child, weight=forest[parent][child]["weight"])
    return _below(tree, root)


def _edges(cooccurrence: sparse.csr_array, threshold: float) -> list[Edge]:
    """All pairs whose weight as published reaches the threshold, first < second, by both."""
    own = cooccurrence.diagonal().astype(np.int64)
    first, second, shared = _pairs(cooccurrence, own > 0)
    weight = normalised(shared, own[first], own[second])
    strong = weight >= threshold
    return list(zip(first[strong].tolist(), second[strong].tolist(), weight[strong].tolist(), strict=True))


def _tree(edges: Sequence[Edge], rank: NDArray[np.int64]) -> nx.DiGraph[int]:
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
