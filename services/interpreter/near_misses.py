"""Documents near those that activate a latent which do not activate it: the hardest to tell apart from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HARD_COUNT = 120
"""Near misses of a latent."""
NEAR_COUNT = 50
"""Silent rows of a latent that are nearest to its detector."""
RANDOM_COUNT = 60
"""Silent rows of a latent at random."""
_PROBES = 12
"""Active documents whose neighbours are looked for, at equal steps through the ranking."""
_NEIGHBORS = 16
"""Of each probe."""
_LATENTS = 32
"""Latents whose probes are compared with all rows at once."""

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
        return cls(rows, unit_rows(matrix))

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """The places of those of the rows that have a vector, in their order."""
        places = np.searchsorted(self.rows, rows)
        inside = places < len(self.rows)
        inside[inside] = self.rows[places[inside]] == rows[inside]
        return places[inside]

    def of(self, rows: Rows) -> NDArray[np.float32]:
        """(r, d) the vectors of rows, each of which has one."""
        return self.matrix[np.searchsorted(self.rows, rows)]


def unit_rows(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, d) rows scaled to length 1; those of length 0 stay."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)


def near_misses(active: Sequence[Rows], vectors: Vectors) -> list[Rows]:
    """For each latent up to 120 silent rows nearest to active ones: the nearest of each probe first, then the second …

    active: all rows that activate the latents, the strongest first.
    """
    places = [vectors.places(rows) for rows in active]
    probes = [
        part[np.unique(np.linspace(0, max(0, len(part) - 1), _PROBES).astype(np.int64))[: len(part)]] for part in places
    ]
    result: list[Rows] = []
    for start in range(0, len(active), _LATENTS):
        block = slice(start, start + _LATENTS)
        # One product for many latents: the whole matrix is read once for them.
        cosines = vectors.matrix[np.concatenate(probes[block])] @ vectors.matrix.T
        ends = np.cumsum([len(part) for part in probes[block]])
        for part, own in zip(np.split(cosines, ends[:-1]), places[block], strict=True):
            result.append(vectors.rows[_nearest(part, own)])
    return result


def nearest_to_directions(directions: NDArray[np.float32], active: Sequence[Rows], vectors: Vectors) -> list[Rows]:
    """For each latent up to 50 silent rows whose vectors have the largest cosine with its direction, the largest first.

    directions: (m, d) of the latents. active: all rows that activate each.
    """
    result: list[Rows] = []
    for start in range(0, len(active), _LATENTS):
        block = slice(start, start + _LATENTS)
        cosines = directions[block] @ vectors.matrix.T
        for own, rows in zip(cosines, active[block], strict=True):
            own[vectors.places(rows)] = -np.inf
            count = min(NEAR_COUNT, int(np.isfinite(own).sum()))
            nearest = np.argpartition(-own, min(count, len(own) - 1))[:count] if count else np.empty(0, np.intp)
            result.append(vectors.rows[nearest[np.argsort(-own[nearest], kind="stable")]])
    return result


def _nearest(cosines: NDArray[np.float32], active: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places of silent rows near probes, the nearest of each probe first. cosines: (probes, rows), overwritten."""
    count = min(_NEIGHBORS, cosines.shape[1] - len(active))
    if not len(cosines) or count < 1:
        return np.empty(0, np.intp)
    cosines[:, active] = -np.inf
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(cosines, nearest, axis=1), axis=1, kind="stable")
    in_turn = np.take_along_axis(nearest, order, axis=1).T.ravel()
    _, first = np.unique(in_turn, return_index=True)
    return in_turn[np.sort(first)][:HARD_COUNT]


def random_silent(active: Rows, rows: Rows, seed: tuple[int, int]) -> Rows:
    """Up to 60 rows at random that are not active."""
    sample = np.random.default_rng(seed).choice(rows, size=min(len(rows), 3 * RANDOM_COUNT), replace=False)
    return sample[~np.isin(sample, active)][:RANDOM_COUNT]
