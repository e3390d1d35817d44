"""What is drawn of a run as a whole: activations of some rows, and how alike features are."""

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
from services.chassis.filters import Term
from services.chassis.threads import in_thread
from services.interpreter import families
from services.interpreter.features import Features
from services.interpreter.runs import Run, rows_at

MATRIX_ROWS = 20_000
"""Rows that activations are compared over."""


class Kind(Enum):
    """By what features are compared."""

    DECODER_COSINE = auto()
    CO_OCCURRENCE = auto()
    ACTIVATION_COSINE = auto()


class Codes(Protocol):
    """What is asked of the trainer."""

    def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]: ...

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Sample:
    """Activations (R, m) of m features in R rows, in CSR form."""

    rows: NDArray[np.uint64]
    indices: NDArray[np.int64]
    activations: sparse.csr_array


@dataclass(frozen=True)
class Matrix:
    """How alike m features are: (m, m) float32, symmetric; indices (m,) in the order to draw; rows it was made of."""

    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    row_count: int


async def sample(features: Features, upstream: Codes, row_count: int, feature_count: int) -> Sample:
    """What the most frequent features do in rows at equal steps. Raises what upstream raises."""
    return await _sampled(features, upstream, row_count, most_frequent(features, [], feature_count))


async def matrix(features: Features, upstream: Codes, kind: Kind, chosen: NDArray[np.int64]) -> Matrix:
    """How alike the chosen features are. Raises what upstream raises."""
    together = _together(features.statistics.cooccurrence, chosen)
    order = await in_thread(drawing_order, together)
    indices = chosen[order]
    if kind is Kind.CO_OCCURRENCE:
        return Matrix(indices, together[np.ix_(order, order)].astype(np.float32), features.statistics.row_count)
    if kind is Kind.DECODER_COSINE:
        directions = await upstream.decoder(features.interpretation.run, indices.tolist())
        return Matrix(indices, _cosines(directions @ directions.T), 0)
    found = await _sampled(features, upstream, MATRIX_ROWS, indices)
    products = await in_thread(lambda: (found.activations.T @ found.activations).toarray())
    return Matrix(indices, _cosines(products), len(found.rows))


def most_frequent(features: Features, terms: Sequence[Term], count: int) -> NDArray[np.int64]:
    """Indices of the live features that match, the most frequent first, ties by index. Raises InvalidFilter."""
    indices = features.select("", terms, "density", True)
    return indices[features.statistics.active_count[indices] > 0][:count]


def drawing_order(together: NDArray[np.float64]) -> NDArray[np.int64]:
    """(m,) an order in which features that are alike stand side by side: the leaves of average linkage."""
    if len(together) < 3:
        return np.arange(len(together))
    distances = squareform(1 - together, checks=False)
    return np.asarray(hierarchy.leaves_list(hierarchy.linkage(distances, "average")), np.int64)


def spread(ranges: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Half-open ranges that hold at most `count` of the rows of `ranges`, at equal steps."""
    total = sum(end - start for start, end in ranges)
    if total <= count:
        return list(ranges)
    rows = rows_at(ranges, np.arange(count, dtype=np.int64) * total // count)
    return [(row, row + 1) for row in rows.tolist()]


async def _sampled(features: Features, upstream: Codes, count: int, chosen: NDArray[np.int64]) -> Sample:
    run = features.interpretation.run
    blocks = [block async for block in upstream.codes(run, spread(run.ranges, count))]
    codes = wire.concatenate(blocks, features.count)
    parts = (codes.values, codes.indices.astype(np.int64), codes.indptr.astype(np.int64))
    whole = sparse.csr_array(parts, shape=(len(codes), features.count))
    activations = sparse.csr_array(whole[:, chosen])
    activations.sort_indices()
    return Sample(codes.rows, chosen, activations)


def _together(cooccurrence: sparse.csr_array, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m, m) rows in which both are active over those in which the rarer is; 1 on the diagonal."""
    counts = cooccurrence[chosen][:, chosen].toarray()
    own = counts.diagonal()
    return families.normalised(counts, own[:, None], own[None, :])


def _cosines(products: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products as cosines; 0 with what has no length."""
    lengths = np.sqrt(products.diagonal())
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.clip(products * scale[:, None] * scale[None, :], -1, 1).astype(np.float32)
