"""What an autoencoder keeps of its vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.dtypes import F32
from services.trainer.sae.vectors import mean_of, variation
from services.trainer.sae.weights import Weights

DENSE = 0.1
"""Density from which a latent counts as dense: it is active in more than a tenth of the vectors."""
NEIGHBORS = 10
QUERIES, CORPUS = 1000, 20_000
DENSITY_BINS = np.array([0.0, *np.logspace(-6, 0, 25)])
"""Edges of the density histogram: 0 to 1e-6, then four bins a decade up to 1."""


@dataclass(frozen=True)
class Evaluation:
    """Measures on (N, d) vectors, in their own space; densities are those over all vectors that there are codes of."""

    rows: int
    fvu: float | None
    """Σ|x − x̂|² / Σ|x − x̄|², with x̄ the mean of the training rows. None for fewer than two vectors."""
    cosine: float
    """Mean cosine of x and x̂, both from the mean."""
    l0: float
    """Mean number of active latents."""
    dead_share: float
    """Of the latents, those that no vector activates."""
    dense_share: float
    """Of the latents, those that more than a tenth of the vectors activate."""
    density_histogram: tuple[int, ...]
    """Latents by density, in DENSITY_BINS."""
    knn_overlap: float
    """Of the 10 nearest of a vector by cosine, the share that are the nearest of its reconstruction too."""
    ndcg: float
    """nDCG@10 of searching reconstructions, the i-th nearest by the vectors themselves being worth 11 − i."""


def evaluate(
    weights: Weights,
    vectors: F32,
    density: NDArray[np.float64] | None = None,
    seed: int = 0,
    *,
    mean: F32 | None = None,
) -> Evaluation:
    """Measures on vectors (N, d); neighbours on at most 1,000 queries in 20,000 of them. Raises InvalidVectors.

    density (n,) is the share of all vectors that activate each latent, None for that of these vectors: few vectors
    leave latents silent that are not dead. mean (d,) is that of the training rows, None for that of these vectors.
    """
    counts = np.zeros(weights.latent_count, dtype=np.int64)
    center = mean_of(vectors) if mean is None else mean
    unexplained = cosine = 0.0
    reconstructions = np.empty_like(vectors)
    for begin in range(0, len(vectors), 8192):
        part = vectors[begin : begin + 8192]
        indices, values = weights.encode_dense(part)
        reconstructions[begin : begin + 8192] = reconstruction = weights.decode_dense(indices, values)
        counts += np.bincount(indices[indices >= 0], minlength=weights.latent_count)
        unexplained += float(np.square(part - reconstruction).sum(dtype=np.float64))
        a, b = part - center, reconstruction - center
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosine += float((np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1e-12)).sum())
    density = counts / max(len(vectors), 1) if density is None else density
    total = variation(vectors, center)
    overlap, ndcg = _neighbors(vectors, reconstructions, np.random.default_rng(seed))
    return Evaluation(
        rows=len(vectors),
        fvu=None if total is None else unexplained / total,
        cosine=cosine / max(len(vectors), 1),
        l0=float(counts.sum() / max(len(vectors), 1)),
        dead_share=float((density == 0).mean()),
        dense_share=float((density > DENSE).mean()),
        density_histogram=tuple(int(count) for count in np.histogram(density, DENSITY_BINS)[0]),
        knn_overlap=overlap,
        ndcg=ndcg,
    )


def _neighbors(vectors: F32, reconstructions: F32, rng: np.random.Generator) -> tuple[float, float]:
    """kNN overlap@10 and nDCG@10 of reconstructions against their vectors."""
    corpus = np.sort(rng.permutation(len(vectors))[:CORPUS])
    queries = rng.permutation(len(corpus))[:QUERIES]
    k = min(NEIGHBORS, len(corpus) - 1)
    if k < 1:
        return 1.0, 1.0
    true, nearest = _nearest(vectors[corpus], queries, k), _nearest(reconstructions[corpus], queries, k)
    worth = (nearest[:, :, None] == true[:, None, :]) @ np.arange(k, 0, -1.0)  # (Q, k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = float(np.arange(k, 0, -1.0) @ discount)
    return float((worth > 0).mean()), float((worth @ discount).mean() / ideal)


def _nearest(vectors: F32, queries: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k nearest of each query by cosine (Q, k), itself left out."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    scores = units[queries] @ units.T
    scores[np.arange(len(queries)), queries] = -np.inf
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)
