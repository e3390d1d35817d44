"""How vectors are normalised before training, measured on some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.dtypes import F32, I64
from services.trainer.sae.vectors import CHUNK, Vectors, check

Normalization = Literal["standard", "scale", "none"]
_SAMPLE_CHUNKS = 64


@dataclass(frozen=True)
class Spread:
    """How vectors are normalised: (x − mean) / scale."""

    mean: F32
    """(d,)."""
    scale: F32
    """(d,)."""
    center: F32
    """Mean of the normalised vectors, (d,)."""
    constant: NDArray[np.bool_]
    """Dimensions that hardly vary, (d,): they are not scaled."""


def normalization(vectors: Vectors, rows: I64, how: Normalization, seed: int) -> Spread:
    """How vectors are normalised, measured on the rows, or on those in 64 seeded chunks of them."""
    starts = np.arange(0, vectors.rows, CHUNK)
    if len(starts) > _SAMPLE_CHUNKS:
        starts = np.sort(np.random.default_rng([seed, 2]).permutation(starts)[:_SAMPLE_CHUNKS])
    count, mean, squares = 0, np.zeros(vectors.dimension), np.zeros(vectors.dimension)
    for begin in starts.tolist():
        own = rows[slice(*np.searchsorted(rows, (begin, begin + CHUNK)))] - begin
        if not len(own):
            continue
        part = vectors.read(begin, min(begin + CHUNK, vectors.rows))
        check(part, vectors.dimension, begin)
        part = part[own].astype(np.float64)
        # Chan, Golub and LeVeque 1979: moments of two parts make those of the whole.
        part_mean = part.mean(axis=0)
        delta = part_mean - mean
        both = count + len(part)
        squares += np.square(part - part_mean).sum(axis=0) + np.square(delta) * count * len(part) / both
        mean += delta * len(part) / both
        count = both
    deviation = np.sqrt(squares / max(count, 1))
    constant = deviation < 1e-6 * max(float(np.abs(mean).max()), float(deviation.max()), 1e-30)
    zeros, ones = np.zeros(vectors.dimension, dtype=np.float32), np.ones(vectors.dimension, dtype=np.float32)
    if how == "none":
        return Spread(mean=zeros, scale=ones, center=mean.astype(np.float32), constant=constant)
    if how == "scale":
        deviation = np.full_like(deviation, np.sqrt(np.square(deviation).mean()))
        return Spread(mean.astype(np.float32), np.where(deviation, deviation, 1).astype(np.float32), zeros, constant)
    return Spread(mean.astype(np.float32), np.where(constant, 1, deviation).astype(np.float32), zeros, constant)
