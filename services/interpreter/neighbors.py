"""Which latents are close to which: by decoder direction, and by being active together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BLOCK_CELLS = 1 << 24
"""Cosines held at once (64 MiB of float32): never n × n for large n."""


@dataclass(frozen=True)
class Neighbors:
    """The closest latents of each of n latents, closest first, ties to the lower index.

    indices: (n, k) int64, −1 behind the last where there are fewer. scores: (n, k) float64, 0 there.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64]


def decoder_neighbors(decoder: NDArray[np.float32], count: int) -> Neighbors:
    """The `count` latents with the highest cosine to each row of the (n, d) decoder, itself left out.

    Cosines are −1 to 1. A direction of length 0 has cosine 0 with all. Computed block by block.
    """
    n = len(decoder)
    kept = min(count, max(0, n - 1))
    lengths = np.linalg.norm(decoder, axis=1, keepdims=True)
    unit = np.divide(decoder, lengths, out=np.zeros_like(decoder), where=lengths > 0)
    indices = np.full((n, count), -1, np.int64)
    scores = np.zeros((n, count))
    step = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, n if kept else 0, step):
        cosines = unit[start : start + step] @ unit.T
        here = np.arange(len(cosines))
        cosines[here, start + here] = -np.inf
        best = _largest(cosines, kept)
        indices[start : start + step, :kept] = best
        scores[start : start + step, :kept] = np.clip(np.take_along_axis(cosines, best, axis=1), -1, 1)
    return Neighbors(indices, scores)


def jaccard_neighbors(cooccurrence: sparse.csr_array, count: int) -> Neighbors:
    """The `count` latents most often active together with each: rows with both over rows with either, 0 to 1.

    cooccurrence: (n, n) CSR counts with each latent's own on the diagonal. Latents never seen together are no
    neighbours.
    """
    n = cooccurrence.shape[0]
    indices = np.full((n, count), -1, np.int64)
    scores = np.zeros((n, count))
    own = cooccurrence.diagonal()
    for latent in range(n):
        part = slice(cooccurrence.indptr[latent], cooccurrence.indptr[latent + 1])
        others, shared = cooccurrence.indices[part], cooccurrence.data[part]
        others, shared = others[others != latent], shared[others != latent]
        jaccard = shared / (own[latent] + own[others] - shared)
        best = np.lexsort((others, -jaccard))[:count]
        indices[latent, : len(best)] = others[best]
        scores[latent, : len(best)] = jaccard[best]
    return Neighbors(indices, scores)


def _largest(matrix: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the `count` largest of each row, the largest first, ties to the lower column."""
    rows, columns = matrix.shape
    if count < columns:
        # The cut value decides who may be in; argpartition alone would break ties by chance.
        cut = np.partition(matrix, columns - count, axis=1)[:, columns - count, None]
    else:
        cut = np.full((rows, 1), -np.inf, matrix.dtype)
    result = np.empty((rows, count), np.int64)
    for row in range(rows):
        able = np.flatnonzero(matrix[row] >= cut[row])
        result[row] = able[np.lexsort((able, -matrix[row, able]))[:count]]
    return result
