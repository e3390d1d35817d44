"""Vectors in memory-mapped float32, searched exactly: products in blocks, then float64 for the best."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.search import scoring
from services.search.backend import Candidates, Rows, Scores, Vectors, WrongDimension
from services.search.embedded.segments import Arrays, Segment, SegmentStore, SegmentWriter, concatenated, last_of_each

_BLOCK_ROWS = 16_384
_MAX_MERGED_BYTES = 256 << 20
_MARGIN = 32
"""Extra candidates by float32 products, so that rounding there cannot lose one of the best."""


class VectorStore(SegmentStore):
    """The vectors of one dataset."""

    @property
    def dimension(self) -> int | None:
        """Numbers in a vector; None where there is none yet."""
        return self.manifest.detail.get("dimension") if self.manifest else None

    def search(self, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest cosine. Raises WrongDimension when the query has another dimension."""
        parts, dimension = self.segments.parts, self.dimension
        if dimension is None:
            return Candidates(np.empty(0, np.uint64), np.empty(0), 0)
        if query.shape != (dimension,):
            raise WrongDimension(f"expected a query vector of dimension {dimension}, got {query.shape}")
        if allowed is not None and len(allowed) <= _BLOCK_ROWS:
            rows, vectors = gather(parts, allowed, dimension)
            return _best(query, rows, vectors, depth=depth, total=len(rows))
        masks = [part.allowed(allowed) for part in parts]
        total = sum(int(mask.sum()) for mask in masks)
        nearness = concatenated(
            [_nearness(part, query, mask) for part, mask in zip(parts, masks, strict=True)], np.float32
        )
        places = _highest(nearness, min(depth + _MARGIN, total))
        rows, vectors = _at_places(parts, places, dimension)
        return _best(query, rows, vectors, depth=depth, total=total)

    def fetch(self, rows: Rows) -> tuple[Rows, Vectors]:
        """Those of the ascending rows that have a vector, and their vectors."""
        return gather(self.segments.parts, rows, self.dimension or 0)


class VectorStoreWriter(SegmentWriter[tuple[Rows, Vectors]]):
    """Adds vectors to a store."""

    BUFFER_SIZE = 64 << 20

    def upsert(self, rows: Rows, vectors: Vectors) -> None:
        """Raises ValueError when the dimension differs from that of the stored vectors."""
        if not len(rows):
            return
        dimension = self.detail.setdefault("dimension", vectors.shape[1])
        if vectors.shape[1] != dimension:
            raise ValueError(f"expected vectors of dimension {dimension}, got {vectors.shape[1]}")
        self.add((rows.astype(np.uint64), vectors.astype(np.float32)))

    @property
    def max_merged_rows(self) -> int:
        return _MAX_MERGED_BYTES // (4 * self.detail.get("dimension", 1))

    def size(self, block: tuple[Rows, Vectors]) -> int:
        return block[1].nbytes

    def joined(self, blocks: Sequence[tuple[Rows, Vectors]]) -> tuple[Rows, Arrays]:
        rows = np.concatenate([rows for rows, _ in blocks])
        last = last_of_each(rows)
        vectors = np.concatenate([vectors for _, vectors in blocks])[last]
        return rows[last], {"vectors": vectors, "norms": _norms(vectors)}

    def merged(self, parts: Sequence[Segment]) -> tuple[Rows, Arrays]:
        rows = np.sort(concatenated([part.rows[part.live] for part in parts], np.uint64))
        rows, vectors = gather(parts, rows, self.detail.get("dimension", 0))
        return rows, {"vectors": vectors, "norms": _norms(vectors)}

    def empty(self) -> Arrays:
        return {"vectors": np.empty((0, self.detail.get("dimension", 0)), np.float32), "norms": np.empty(0, np.float32)}


def gather(parts: Sequence[Segment], rows: Rows, dimension: int) -> tuple[Rows, Vectors]:
    """The vectors of those of the ascending rows that are stored, in their order."""
    vectors = np.empty((len(rows), dimension), np.float32)
    stored = np.zeros(len(rows), dtype=bool)
    for part in parts:
        places = part.find(rows)
        if len(places):
            targets = np.searchsorted(rows, part.rows[places])
            vectors[targets] = part.arrays["vectors"][places]
            stored[targets] = True
    return (rows, vectors) if stored.all() else (rows[stored], vectors[stored])


def _nearness(segment: Segment, query: Vectors, mask: NDArray[np.bool_]) -> Vectors:
    """(R,) cosines of a segment's vectors, but for the query's norm, by float32 arithmetic; −∞ outside the mask."""
    vectors, norms = segment.arrays["vectors"], segment.arrays["norms"]
    scores = np.full(len(mask), -np.inf, dtype=np.float32)
    for start in range(0, len(mask), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        if mask[block].any():
            # not `@`: a product with one vector is bound by memory, and BLAS's threads spin while they wait
            products = np.vecdot(vectors[block], query)
            scores[block] = np.divide(products, norms[block], out=np.zeros_like(products), where=norms[block] > 0)
    scores[~mask] = -np.inf
    return scores


def _highest(scores: Vectors, count: int) -> NDArray[np.intp]:
    """Ascending places of so many of the highest scores."""
    if count == 0:
        return np.empty(0, np.intp)
    return np.sort(np.argpartition(-scores, count - 1)[:count])


def _at_places(parts: Sequence[Segment], places: NDArray[np.intp], dimension: int) -> tuple[Rows, Vectors]:
    """Rows and vectors at these ascending places of all segments as one."""
    rows, vectors = np.empty(len(places), np.uint64), np.empty((len(places), dimension), np.float32)
    starts = np.cumsum([0, *(len(part.rows) for part in parts)])
    for part, start, (begin, end) in zip(parts, starts, pairwise(np.searchsorted(places, starts)), strict=False):
        places_in_part = places[begin:end] - start
        rows[begin:end] = part.rows[places_in_part]
        np.take(part.arrays["vectors"], places_in_part, axis=0, out=vectors[begin:end], mode="clip")
    return rows, vectors


def _best(query: Vectors, rows: Rows, vectors: Vectors, *, depth: int, total: int) -> Candidates:
    scores = scoring.cosines(query, vectors)
    best = scoring.order(rows, scores)[:depth]
    return Candidates(rows[best], scores[best], total)


def _norms(vectors: Vectors) -> Scores:
    wide = vectors.astype(np.float64)
    return np.sqrt(np.einsum("ij,ij->i", wide, wide)).astype(np.float32)
