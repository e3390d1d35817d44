"""Average linkage of vectors: the two groups that are most similar on average are joined, if they are similar enough.

The mean inner product of all pairs of two groups is that of the groups' means, so nothing of the size of all pairs is
kept. Groups are only compared where two of their vectors alone are similar enough: without one such pair, no mean is.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 1024
"""Vectors that are compared with all others at once: bounds memory."""
_NEAREST = 64
"""Of each vector, so many similar ones are kept, the most similar: bounds memory."""

Floats = NDArray[np.float32]


class Merge(NamedTuple):
    """Two groups, each called by its first vector, that become one, called by the first of both."""

    first: int
    second: int
    similarity: float
    """Mean inner product of the pairs of both groups."""


def merges(vectors: Floats, least: float) -> list[Merge]:
    """The merges of (m, d) vectors with at least this similarity, the most similar first; ties by number."""
    pairs = _similar_pairs(vectors, least)
    neighbours: list[set[int]] = [set() for _ in vectors]
    for first, second, _ in pairs:
        neighbours[first].add(second)
        neighbours[second].add(first)
    sums, sizes = vectors.astype(np.float64), np.ones(len(vectors), np.int64)
    queue = [(-similarity, first, second, 2) for first, second, similarity in pairs]
    heapq.heapify(queue)
    result: list[Merge] = []
    while queue:
        negative, first, second, size = heapq.heappop(queue)
        if second not in neighbours[first] or sizes[first] + sizes[second] != size:
            continue  # one of both has grown, or is part of another group
        result.append(Merge(first, second, -negative))
        sums[first] += sums[second]
        sizes[first] += sizes[second]
        for other in neighbours[second]:
            neighbours[other].discard(second)
        neighbours[first] = (neighbours[first] | neighbours[second]) - {first, second}
        neighbours[second] = set()
        for other in sorted(neighbours[first]):
            neighbours[other].add(first)
            similarity = float(sums[first] @ sums[other] / (sizes[first] * sizes[other]))
            if similarity >= least:
                joined = int(sizes[first] + sizes[other])
                heapq.heappush(queue, (-similarity, min(first, other), max(first, other), joined))
    return result


def groups(merges: Sequence[Merge], least: float) -> list[set[int]]:
    """The groups of two or more vectors after the merges with at least this similarity."""
    result: dict[int, set[int]] = {}
    for first, second, similarity in merges:
        if similarity >= least:
            result[first] = result.get(first, {first}) | result.pop(second, {second})
    return list(result.values())


def _similar_pairs(vectors: Floats, least: float) -> list[tuple[int, int, float]]:
    """(first, second, inner product) of pairs that reach it, first < second, of each vector the most similar ones."""
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(vectors), _BLOCK_ROWS):
        products = vectors[start : start + _BLOCK_ROWS] @ vectors.T
        own = np.arange(len(products))
        products[own, own + start] = -np.inf
        nearest = np.argsort(-products, axis=1, kind="stable")[:, :_NEAREST]
        for place, similar in enumerate(nearest):
            for other in similar[products[place, similar] >= least].tolist():
                pair = (min(start + place, other), max(start + place, other))
                pairs.setdefault(pair, float(products[place, other]))
    return [(first, second, similarity) for (first, second), similarity in pairs.items()]
