"""Maps of vectors: which of them are drawn, and where principal components put them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.near_duplicates import mixed

MAX_POINTS = 20_000
"""Of a map."""
MAX_BYTES = 64 << 20
"""Of the vectors of a map, as float32."""
MAX_CATEGORIES = 8
"""By which points are coloured, as many as people tell apart; the others are taken together."""
OTHER_VALUES = "other values"
_EXACT_DIMENSION = 1024
"""Up to which all principal components are computed, in half a second; of longer vectors only the first ones are."""
_EXTRA_DIRECTIONS = 14
_ITERATIONS = 12
Points = NDArray[np.float32]
"""(n, 2): to the right, and upwards."""


@dataclass(frozen=True)
class Map:
    """Points of vectors. rows: (n,) ascending. explained: the shares of the variance of both axes, empty if unknown."""

    rows: NDArray[np.uint64]
    points: Points
    explained: Sequence[float]
    vector_count: int


@dataclass(frozen=True)
class Categories:
    """Values of points: 0 for none, else 1 + the place among the names."""

    names: Sequence[str]
    numbers: Sequence[int]


def sample(rows: NDArray[np.uint64], dimension: int) -> NDArray[np.uint64]:
    """Those of the rows that a map has, ascending: each row has a fixed place in the order in which they are taken."""
    count = min(MAX_POINTS, max(1, MAX_BYTES // (4 * max(1, dimension))))
    if len(rows) <= count:
        return rows
    return np.sort(rows[np.argpartition(mixed(rows), count)[:count]])


def principal_components(vectors: NDArray[np.float32]) -> tuple[Points, list[float]]:
    """The first two principal components of vectors (n, d), and the share of the variance that each holds.

    The largest coordinate of each axis is positive, so that the same vectors have the same map.
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    total = float(np.vdot(centred, centred))
    axes = _axes(centred)
    points = np.zeros((len(vectors), 2))
    points[:, : axes.shape[1]] = centred @ axes
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1, 1)
    shares = np.square(points).sum(axis=0) / total if total else np.zeros(2)
    return points.astype(np.float32), shares.tolist()


def categories(values: Mapping[int, str], rows: Sequence[int]) -> Categories:
    """The values of rows by frequency: the most frequent by themselves, the others together."""
    counts = Counter(values.values())
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    names = ordered[:MAX_CATEGORIES]
    places = {value: place for place, value in enumerate(names, start=1)}
    if len(ordered) > len(names):
        names = [*names, OTHER_VALUES]
    other = len(names)
    return Categories(names, [places.get(values[row], other) if row in values else 0 for row in rows])


def _axes(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first two principal directions as columns, (d, at most 2)."""
    if centred.shape[1] <= _EXACT_DIMENSION:
        return np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    directions = np.random.default_rng(0).normal(size=(centred.shape[1], 2 + _EXTRA_DIRECTIONS))
    for _ in range(_ITERATIONS):  # subspace iteration (Halko, Martinsson and Tropp 2011)
        directions = np.linalg.qr(centred.T @ (centred @ directions))[0]
    left, _, right = np.linalg.svd(centred @ directions, full_matrices=False)
    del left
    return directions @ right.T[:, :2]
