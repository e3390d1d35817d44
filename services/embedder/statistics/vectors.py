"""Statistics of vectors: norms, directions, spectrum, equal ones. Sums are in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.near_duplicates import mixed
from services.embedder.statistics.distributions import Distribution, of_numbers
from services.embedder.statistics.duplicates import DuplicateStatistics, EqualScan

MAX_DIMENSION = 4096
"""Numbers of a vector up to which the covariance of all of them is computed: of so many, it takes 128 MiB, and
twice that at the end."""
MAX_SAMPLE = 2048
"""Longer vectors that the spectrum is computed of: of 16,000 numbers, 128 MiB, and four times that at the end."""
_ERROR = 1e-13
"""Of a mean of vectors in float64, as a share of their norm: smaller deviations are rounding."""
_BLOCK = 512
"""Rows of a covariance that are computed at once: of 4,096 numbers, 16 MiB."""
_NORMALIZED = 1e-3
"""How far from 1 a norm may be: of float16, the steps below 1 are half of that."""


@dataclass(frozen=True)
class VectorStatistics:
    """Statistics of vectors, see `VectorStatistics` of the protos.

    spectrum_count: vectors that effective_rank and cumulative_variance were computed of.
    """

    count: int
    norms: Distribution
    is_normalized: bool
    mean_vector_norm: float
    mean_cosine: float
    effective_rank: float
    spectrum_count: int
    cumulative_variance: Sequence[float]
    equal: DuplicateStatistics


class VectorScan:
    """Reads a dataset's vectors once, in the order of their rows. Beside d x d numbers it takes 8 bytes a vector, and
    16 of those that are compared.
    """

    def __init__(self, dimension: int, expected: int) -> None:
        """expected: how many vectors there are, about."""
        self._norms: list[NDArray[np.float64]] = []
        self._sum = np.zeros(dimension)
        self._directions = np.zeros(dimension)
        self._spectrum: _Covariance | _Sample
        self._spectrum = _Covariance(dimension) if dimension <= MAX_DIMENSION else _Sample(dimension, expected)
        self._equal = EqualScan(expected)
        self._zero_count = 0
        self.count = 0
        """Vectors that were read."""

    def add(self, rows: NDArray[np.uint64], vectors: NDArray[np.float32]) -> None:
        """Reads some vectors, (R, d) float32."""
        exact = vectors.astype(np.float64)
        norms = np.linalg.norm(exact, axis=1)
        self.count += len(rows)
        self._zero_count += int((norms == 0).sum())
        self._norms.append(norms)
        self._sum += exact.sum(axis=0)
        self._directions += (1 / np.where(norms == 0, np.inf, norms)) @ exact
        self._spectrum.add(rows, exact)
        positive = vectors + np.float32(0)  # 0 for -0, which is equal to it
        self._equal.add(rows.tolist(), (vector.tobytes() for vector in positive))

    def statistics(self) -> VectorStatistics | None:
        """The statistics of all vectors that were read; None of none. Once, at the end."""
        if not self.count:
            return None
        norms = np.concatenate(self._norms)
        variances = self._spectrum.variances(floor=_ERROR**2 * float(np.square(norms).mean()))
        total = variances.sum()
        return VectorStatistics(
            count=self.count,
            norms=of_numbers(norms),
            is_normalized=bool(np.abs(norms - 1).max() <= _NORMALIZED),
            mean_vector_norm=float(np.linalg.norm(self._sum) / self.count),
            mean_cosine=self._mean_cosine(),
            effective_rank=effective_rank(np.sqrt(variances)),
            spectrum_count=self._spectrum.count,
            cumulative_variance=(np.cumsum(variances)[:MAX_DIMENSION] / total).tolist() if total else [],
            equal=self._equal.statistics(),
        )

    def _mean_cosine(self) -> float:
        """Of all pairs of different vectors: what the square of the sum of directions has beside each with itself."""
        count = self.count - self._zero_count
        if count < 2:
            return 0.0
        cosine = (float(self._directions @ self._directions) - count) / (count * (count - 1))
        return min(1.0, max(-1.0, cosine))


def effective_rank(singular_values: NDArray[np.float64]) -> float:
    """e to the entropy of the singular values, each divided by their sum (Roy and Vetterli 2007); 0 if all are 0."""
    total = singular_values.sum()
    if not total:
        return 0.0
    shares = singular_values[singular_values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


class _Covariance:
    """The covariance of all vectors, its upper triangle only. Sums are of differences to the first block's mean, which
    keeps them exact.
    """

    def __init__(self, dimension: int) -> None:
        self._offset = np.zeros(dimension)
        self._sum = np.zeros(dimension)
        self._products = np.zeros((dimension, dimension))
        self.count = 0

    def add(self, rows: NDArray[np.uint64], vectors: NDArray[np.float64]) -> None:
        """Adds vectors, (R, d)."""
        del rows
        if not len(vectors):
            return
        if not self.count:
            self._offset = np.asarray(vectors.mean(axis=0))
        differences = vectors - self._offset
        self._sum += differences.sum(axis=0)
        for block, right in self._blocks():
            self._products[block, right] += differences[:, block].T @ differences[:, right]
        self.count += len(vectors)

    def variances(self, floor: float) -> NDArray[np.float64]:
        """Those of the principal components, the largest first, (d,); up to `floor` they are taken as 0.

        They are computed in place of the products.
        """
        mean = self._sum / self.count
        self._products /= self.count
        for block, right in self._blocks():
            self._products[block, right] -= np.outer(mean[block], mean[right])
        return _positive(np.linalg.eigvalsh(self._products, UPLO="U"), floor)

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Rows of the products, and the columns of their part of the upper triangle."""
        dimension = len(self._sum)
        for start in range(0, dimension, _BLOCK):
            yield slice(start, start + _BLOCK), slice(start, dimension)


class _Sample:
    """A sample of vectors that are too long for a covariance: which ones depends on their rows alone."""

    def __init__(self, dimension: int, expected: int) -> None:
        self._share = MAX_SAMPLE / max(1, expected)
        self._vectors = np.empty((min(MAX_SAMPLE, expected), dimension), np.float32)
        self.count = 0

    def add(self, rows: NDArray[np.uint64], vectors: NDArray[np.float64]) -> None:
        """Adds those of the vectors (R, d) that belong to the sample."""
        sampled = vectors[mixed(rows) / 2.0**64 < self._share][: len(self._vectors) - self.count]
        self._vectors[self.count : self.count + len(sampled)] = sampled
        self.count += len(sampled)

    def variances(self, floor: float) -> NDArray[np.float64]:
        """As of `_Covariance`, (min(n, d),)."""
        vectors = self._vectors[: self.count].astype(np.float64)
        vectors -= vectors.mean(axis=0)
        size = min(vectors.shape)
        return _positive(np.linalg.eigvalsh(vectors @ vectors.T / self.count)[-size:], floor)


def _positive(eigenvalues: NDArray[np.floating[Any]], floor: float) -> NDArray[np.float64]:
    """Ascending eigenvalues as variances, the largest first; those within the error of their computation are 0."""
    variances = eigenvalues[::-1]
    error = max(floor, variances[0] * len(variances) * np.finfo(np.float64).eps)
    return np.where(variances > error, variances, 0.0)
