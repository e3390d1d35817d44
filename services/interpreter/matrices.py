"""Pictures of a run as a whole: activations in some rows, and how similar features are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from prisma_common import wire
from services.chassis.filters import UNFILTERED
from services.chassis.threads import in_thread
from services.interpreter import families
from services.interpreter.decoder import Decoder
from services.interpreter.features import Features
from services.interpreter.runs import Run, rows_at

MATRIX_ROWS = 20_000
"""Rows over which activations are compared."""


class Kind(Enum):
    """By what features are compared."""

    DECODER_COSINE = auto()
    CO_OCCURRENCE = auto()
    ACTIVATION_COSINE = auto()


class CodeSource(Protocol):
    """What is read from the trainer."""

    def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """Codes of some ranges of rows, block by block."""
        ...

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        """The directions of some latents, in their order."""
        ...


@dataclass(frozen=True)
class Sample:
    """Activations of m features in R rows."""

    rows: NDArray[np.uint64]
    """(R,)."""
    indices: NDArray[np.int64]
    """(m,) the features."""
    activations: sparse.csr_array
    """(R, m)."""


@dataclass(frozen=True)
class Matrix:
    """How similar m features are."""

    indices: NDArray[np.int64]
    """(m,) the features, in the order in which to draw them."""
    values: NDArray[np.float32]
    """(m, m), symmetric."""
    row_count: int
    """Rows that it was computed from."""


async def sample(
    features: Features, source: CodeSource, row_count: int, feature_count: int, *, include_tail: bool = False
) -> Sample:
    """The activations of the most frequent features in rows at equal steps. Raises what `source` raises.

    include_tail: whether with activations below the features' thresholds.
    """
    indices = features.most_frequent(UNFILTERED, feature_count)
    return await _sample(features, source, row_count, indices, include_tail=include_tail)


async def matrix(
    features: Features, source: CodeSource, kind: Kind, indices: NDArray[np.int64], *, include_tail: bool = False
) -> Matrix:
    """How similar some features are. Raises what `source` raises.

    include_tail: whether activations below the features' thresholds count too. Their order is by all activations.
    """
    if not len(indices):
        return Matrix(indices, np.zeros((0, 0), np.float32), 0)
    shares = _shares(features.statistics.cooccurrence[indices][:, indices].toarray())
    order = await in_thread(drawing_order, shares)
    indices = indices[order]
    if kind is Kind.CO_OCCURRENCE and (include_tail or not features.thresholds[indices].any()):
        return Matrix(indices, shares[np.ix_(order, order)].astype(np.float32), features.statistics.row_count)
    if kind is Kind.DECODER_COSINE:
        directions = (await source.decoder(features.run, indices.tolist())).directions
        return Matrix(indices, _cosines(directions @ directions.T), 0)
    part = await _sample(features, source, MATRIX_ROWS, indices, include_tail=include_tail)
    if kind is Kind.CO_OCCURRENCE:
        counts = await in_thread(_counts, part.activations)
        return Matrix(indices, _shares(counts).astype(np.float32), len(part.rows))
    products = await in_thread(lambda: (part.activations.T @ part.activations).toarray())
    return Matrix(indices, _cosines(products), len(part.rows))


def drawing_order(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(m,) an order in which similar features are adjacent: the leaves of average linkage. shares: (m, m), 0 to 1."""
    if len(shares) < 3:
        return np.arange(len(shares))
    distances = squareform(1 - shares, checks=False)
    return np.asarray(hierarchy.leaves_list(hierarchy.linkage(distances, "average")), np.int64)


def spread(ranges: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Half-open ranges with at most `count` of the rows of `ranges`, at equal steps."""
    total = sum(end - start for start, end in ranges)
    if total <= count:
        return list(ranges)
    rows = rows_at(ranges, np.arange(count, dtype=np.int64) * total // count)
    return [(row, row + 1) for row in rows.tolist()]


async def _sample(
    features: Features, source: CodeSource, count: int, indices: NDArray[np.int64], *, include_tail: bool
) -> Sample:
    blocks = [block async for block in source.codes(features.run, spread(features.run.ranges, count))]
    codes = wire.concatenate(blocks, features.count)
    if not include_tail:
        codes = codes.at_least(features.thresholds)
    parts = (codes.values, codes.indices.astype(np.int64), codes.indptr.astype(np.int64))
    whole = sparse.csr_array(parts, shape=(len(codes), features.count))
    activations = sparse.csr_array(whole[:, indices])
    activations.sort_indices()
    return Sample(codes.rows, indices, activations)


def _counts(activations: sparse.csr_array) -> NDArray[np.int64]:
    """(m, m) rows in which both are active. activations: (R, m), above 0."""
    active = activations.astype(bool).astype(np.int64)
    return (active.T @ active).toarray()


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m, m) rows in which both are active over those in which the rarer is; 1 on the diagonal.

    counts: (m, m) rows in which both are. 0 with a feature that is active in no row.
    """
    own = np.maximum(counts.diagonal(), 1)
    shares = families.normalised(counts, own[:, None], own[None, :])
    np.fill_diagonal(shares, 1)
    return shares


def _cosines(products: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products as cosines; 0 with a vector of length 0."""
    lengths = np.sqrt(products.diagonal())
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.clip(products * scale[:, None] * scale[None, :], -1, 1).astype(np.float32)
