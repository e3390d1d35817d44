"""Which latents are close to which: by decoder direction, and by being active together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BLOCK_CELLS = 1 << 24
"""Cosines in memory at once (64 MiB of float32): never n × n for large n."""


@dataclass(frozen=True)
class Neighbors:
    """The closest latents of each of n latents, the closest first, ties to the lower index."""

    indices: NDArray[np.int64]
    """(n, k); −1 after the last where there are fewer than k."""
    scores: NDArray[np.float64]
    """(n, k); 0 there."""


def decoder_neighbors(decoder: NDArray[np.float32], count: int) -> Neighbors:
    """The `count` latents with the highest cosine to each row of the (n, d) decoder, without itself.

    Cosines are −1 to 1. A direction of length 0 has cosine 0 with all. Computed block by block.
    """
    n = len(decoder)
    width = min(count, max(0, n - 1))
    lengths = np.linalg.norm(decoder, axis=1, keepdims=True)
    unit = np.divide(decoder, lengths, out=np.zeros_like(decoder), where=lengths > 0)
    indices = np.full((n, count), -1, np.int64)
    scores = np.zeros((n, count))
    step = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, n if width else 0, step):
        cosines = unit[start : start + step] @ unit.T
        places = np.arange(len(cosines))
        cosines[places, start + places] = -np.inf
        best = _largest(cosines, width)
        indices[start : start + step, :width] = best
        scores[start : start + step, :width] = np.clip(np.take_along_axis(cosines, best, axis=1), -1, 1)
    return Neighbors(indices, scores)


def jaccard_neighbors(cooccurrence: sparse.csr_array, count: int) -> Neighbors:
    """The `count` latents most often active together with each: rows with both over rows with either, 0 to 1.

    cooccurrence: (n, n) CSR counts with each latent's own on the diagonal. Latents never active together are not
    neighbours.
    """
    n = cooccurrence.shape[0]
    indices = np.full((n, count), -1, np.int64)
    scores = np.zeros((n, count))
    own = cooccurrence.diagonal().astype(np.int64)
    for latent in range(n):
        part = slice(cooccurrence.indptr[latent], cooccurrence.indptr[latent + 1])
        columns, shared = cooccurrence.indices[part], cooccurrence.data[part]
        columns, shared = columns[columns != latent], shared[columns != latent]
        jaccard = shared / (own[latent] + own[columns] - shared)
        best = np.lexsort((columns, -jaccard))[:count]
        indices[latent, : len(best)] = columns[best]
        scores[latent, : len(best)] = jaccard[best]
    return Neighbors(indices, scores)


def _largest(matrix: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the `count` largest of each row, the largest first, ties to the lower column."""
    rows, columns = matrix.shape
    if count < columns:
        # The cut value decides which columns are candidates; argpartition alone would break ties by chance.
        cut = np.partition(matrix, columns - count, axis=1)[:, columns - count, None]
    else:
        cut = np.full((rows, 1), -np.inf, matrix.dtype)
    result = np.empty((rows, count), np.int64)
    for row in range(rows):
        candidates = np.flatnonzero(matrix[row] >= cut[row])
        result[row] = candidates[np.lexsort((candidates, -matrix[row, candidates]))[:count]]
    return result
