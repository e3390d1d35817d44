"""Families: features that belong together.

By default a family is a group of features that are alike on average: in their documents, directions, labels, and in
what they are active together with beyond chance (`likeness`). Groups are joined by average linkage as long as they are
alike enough; later rounds ask for more. Features that are dense, unstable or could not be named are left out; the
densest feature of each family is its top, and a pair is no family.

For comparison, families are built as published, too: O'Neill et al. 2024 (Disentangling Dense Embeddings with Sparse
Autoencoders), section 4.2. Co-occurrence counts are divided by how often the rarer feature activates, edges below a
threshold are dropped, a maximum spanning tree keeps the strongest of the rest, and its edges point from the denser
feature to the sparser one. Each root with everything below it is a family. Then the roots are removed, and the rest
forms finer families, for some rounds. That method chains features that have little in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import agglomeration
from services.interpreter.cooccurrence import MIN_SHARED
from services.interpreter.scoring import Scores
from services.interpreter.trust import Trust

LIKENESS = 0.16
"""By default, groups of features that are joined to families are at least so much alike on average."""
PUBLISHED_THRESHOLD = 0.1
"""By default, the least weight of an edge as published."""
ROUNDS = 3
COLOR_COUNT = 8
MAX_DENSITY = 0.1
"""Share of the rows beyond which a feature is dense, and left out of families of features that are alike."""
MIN_MEMBERS = 3
"""Features of a family of features that are alike."""
_ROUND_STEP = 0.1
"""How much more alike the features of the next round's families are."""
_BLOCK_ROWS = 1024
"""Rows of the co-occurrence matrix that are searched for edges at once: bounds memory."""


Edge: TypeAlias = tuple[int, int, float]
"""Two features and a weight."""


class Method(StrEnum):
    """Which features belong together."""

    CORRECTED = "CORRECTED"
    """Those that are alike on average, co-activation beyond chance being a part of that."""
    PUBLISHED = "PUBLISHED"
    """Those that a tree of co-activation joins, as in O'Neill et al. 2024."""


@dataclass(frozen=True)
class Options:
    """How families are built."""

    threshold: float | None = None
    """Least likeness of groups that are joined, or least weight of an edge as published; None for the default."""
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
    """1 to 8 for the families of the first round that are listed first, else 0; 0 before `coloured`."""
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


def alike(
    likeness: NDArray[np.float32],
    active_count: NDArray[np.integer],
    *,
    reliable: NDArray[np.bool_],
    row_count: int,
    options: Options = DEFAULTS,
) -> list[Family]:
    """Families of features that are alike on average, round by round, the largest first; ties by the root's index.

    likeness: (n, d) vectors whose inner products are how alike features are. active_count: (n,) rows, of `row_count`,
    in which each is active: the most frequent is on top; ties go to the lower index. reliable: (n,) the features that
    may be in families.
    """
    rank = _rank(active_count)
    is_candidate = reliable & (active_count > 0) & (active_count <= MAX_DENSITY * row_count)
    candidates = np.flatnonzero(is_candidate)
    least = LIKENESS if options.threshold is None else options.threshold
    merges = agglomeration.merges(likeness[candidates], least)
    earlier_parts: set[frozenset[int]] = set()
    families: list[Family] = []
    for number in range(1, options.rounds + 1):
        groups = agglomeration.groups(merges, least + _ROUND_STEP * (number - 1))
        parts = {frozenset(candidates[sorted(group)].tolist()) for group in groups if len(group) >= MIN_MEMBERS}
        trees = sorted(
            (_members(likeness, part, rank) for part in parts - earlier_parts),
            key=lambda members: (-len(members), members[0].index),
        )
        families += [_family(number, members) for members in trees]
        earlier_parts |= parts
    return families


def published(cooccurrence: sparse.csr_array, *, options: Options = DEFAULTS) -> list[Family]:
    """Families as O'Neill et al. 2024 build them, in the same order.

    cooccurrence: (n, n) CSR counts, each feature's own on the diagonal: the more frequent is above.
    """
    rank = _rank(cooccurrence.diagonal())
    edges = _edges(cooccurrence, PUBLISHED_THRESHOLD if options.threshold is None else options.threshold)
    removed: set[int] = set()
    families: list[Family] = []
    for number in range(1, options.rounds + 1):
        tree = _tree([edge for edge in edges if removed.isdisjoint(edge[:2])], rank)
        roots = [node for node in tree if not tree.in_degree(node) and tree.out_degree(node)]
        if not roots:
            break
        trees = sorted((_below(tree, root) for root in roots), key=lambda members: (-len(members), members[0].index))
        families += [_family(number, members) for members in trees]
        removed.update(roots)
    return families


def matching(families: Iterable[Family], query: str, label_of: Callable[[int], str]) -> list[Family]:
    """The families whose name, or one feature's label, contains all words of the query, in their order."""
    words = query.lower().split()

    def matches(family: Family) -> bool:
        texts = [family.label.text if family.label else "", *map(label_of, family.indices)]
        return any(all(word in text.lower() for word in words) for text in texts)

    return [family for family in families if matches(family)]


def most_trusted_first(families: Iterable[Family], trust_of: Callable[[Family], Trust]) -> list[Family]:
    """Families by the trust in them, then the largest first; ties by round."""
    kinds = list(Trust)
    return sorted(
        families,
        key=lambda family: (kinds.index(trust_of(family)), -len(family.members), family.round, family.root),
    )


def coloured(families: Sequence[Family]) -> list[Family]:
    """The same families in their order, colours given to the first eight of the first round."""
    colors = {family.id: number for number, family in enumerate(_first_round(families)[:COLOR_COUNT], 1)}
    return [replace(family, color=colors.get(family.id, 0)) for family in families]


def _rank(active_count: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n,) the place of each feature, the most frequent first; ties go to the lower index."""
    rank = np.empty(len(active_count), np.int64)
    rank[np.lexsort((np.arange(len(active_count)), -active_count.astype(np.int64)))] = np.arange(len(active_count))
    return rank


def _first_round(families: Iterable[Family]) -> list[Family]:
    return [family for family in families if family.round == 1]


def normalised(shared: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows in which both of two live features are active, over those in which the rarer is: 0 to 1."""
    return shared / np.minimum(first, second)


def _family(number: int, members: Sequence[Member]) -> Family:
    """A family of a round, without a colour."""
    return Family(id=f"{number}-{members[0].index}", round=number, color=0, members=members)


def _pairs(cooccurrence: sparse.csr_array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(first, second, shared rows) of all pairs with enough shared rows, first < second, by both."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for start in range(0, cooccurrence.shape[0], _BLOCK_ROWS):
        block = sparse.csr_array(cooccurrence[start : start + _BLOCK_ROWS]).tocoo()
        first, second = block.coords[0].astype(np.int64) + start, block.coords[1].astype(np.int64)
        enough = (first < second) & (block.data >= MIN_SHARED)
        order = np.lexsort((second[enough], first[enough]))
        parts.append((first[enough][order], second[enough][order], block.data[enough][order].astype(np.int64)))
    first, second, shared = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return first, second, shared


def _members(likeness: NDArray[np.float32], part: frozenset[int], rank: NDArray[np.int64]) -> list[Member]:
    """The features of a group as the tree of those that are most alike, its densest feature at the top."""
    indices = sorted(part, key=rank.__getitem__)
    parents, weights = _spanning_tree(likeness[indices])
    tree: nx.DiGraph[int] = nx.DiGraph()
    for place in range(1, len(indices)):
        tree.add_edge(indices[parents[place]], indices[place], weight=float(np.clip(weights[place], 0, 1)))
    return _below(tree, indices[0])


def _spanning_tree(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The maximum spanning tree of (m, d) vectors by inner product, from the first: (m,) parents, (m,) weights.

    The first is its own parent. Prim's algorithm: one row of products at a time, never all of them.
    """
    count = len(vectors)
    parents, weights = np.zeros(count, np.int64), vectors @ vectors[0]
    outside = np.arange(count) > 0
    for _ in range(count - 1):
        nearest = int(np.argmax(np.where(outside, weights, -np.inf)))
        outside[nearest] = False
        products = vectors @ vectors[nearest]
        closer = outside & (products > weights)
        parents[closer], weights[closer] = nearest, products[closer]
    return parents, weights


def _edges(cooccurrence: sparse.csr_array, threshold: float) -> list[Edge]:
    """All pairs whose weight as published reaches the threshold, first < second, by both."""
    own = cooccurrence.diagonal().astype(np.int64)
    first, second, shared = _pairs(cooccurrence)
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
