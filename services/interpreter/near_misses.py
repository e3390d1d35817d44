"""Documents near those that activate a latent which do not activate it: the hardest to tell apart from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HARD_COUNT = 120
"""Near misses of a latent."""
RANDOM_COUNT = 60
"""Silent rows of a latent at random."""
_PROBES = 12
"""Active documents whose neighbours are looked for, at equal steps through the ranking."""
_NEIGHBORS = 16
"""Of each probe."""

Rows = NDArray[np.uint64]


@dataclass(frozen=True)
class Vectors:
    """Vectors of documents, of length 1."""

    rows: Rows
    """(m,) rising."""
    matrix: NDArray[np.float32]
    """(m, d)."""

    @classmethod
    def of_length_1(cls, rows: Rows, matrix: NDArray[np.float32]) -> Vectors:
        """Vectors of any length, scaled; those of length 0 stay."""
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        return cls(rows, np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0))

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """The places of those of the rows that have a vector, in their order."""
        places = np.searchsorted(self.rows, rows)
        inside = places < len(self.rows)
        inside[inside] = self.rows[places[inside]] == rows[inside]
        return places[inside]

    def of(self, rows: Rows) -> NDArray[np.float32]:
        """(r, d) the vectors of rows, each of which has one."""
        return self.matrix[np.searchsorted(self.rows, rows)]


def near_misses(active: Rows, vectors: Vectors) -> Rows:
    """Up to 120 silent rows nearest to active ones: the nearest of each probe first, then the second of each, …

    active: all rows that activate the latent, the strongest first.
    """
    places = vectors.places(active)
    if not len(places) or len(places) == len(vectors.rows):
        return np.empty(0, np.uint64)
    probes = places[np.unique(np.linspace(0, len(places) - 1, _PROBES).astype(np.int64))]
    cosines = vectors.matrix[probes] @ vectors.matrix.T
    cosines[:, places] = -np.inf
    count = min(_NEIGHBORS, len(vectors.rows) - len(places))
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(cosines, nearest, axis=1), axis=1, kind="stable")
    in_turn = np.take_along_axis(nearest, order, axis=1).T.ravel()
    _, first = np.unique(in_turn, return_index=True)
    return vectors.rows[in_turn[np.sort(first)][:HARD_COUNT]]


def random_silent(active: Rows, rows: Rows, seed: tuple[int, int]) -> Rows:
    """Up to 60 rows at random that are not active."""
    sample = np.random.default_rng(seed).choice(rows, size=min(len(rows), 3 * RANDOM_COUNT), replace=False)
    return sample[~np.isin(sample, active)][:RANDOM_COUNT]
