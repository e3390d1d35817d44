"""Vectors in memory-mapped float32, searched exactly: blocked products, then float64 for the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.search import scoring
from services.search.embedded.segments import Pending, Segment, SegmentStore
from services.search.index import Candidates, Rows, Scores, Vectors

_BLOCK_ROWS = 16_384
_BUFFER_BYTES = 64 << 20
_MARGIN = 32
"""More than asked for are taken by float32 products, so that rounding there can't lose one of the best."""


class VectorStore(SegmentStore):
    """The vectors of one dataset."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector; 0 where there is none yet."""
        return int(self.manifest.detail.get("dimension", 0)) if self.manifest else 0

    def search(self, query: Vectors, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest cosine. Raises ValueError when the query has another dimension."""
        segments = self.segments
        _check(self.dimension, query)
        if allowed is not None and len(allowed) <= _BLOCK_ROWS:
            rows, found = gather(segments, allowed, len(query))
            return _best(query, rows, found, depth, len(rows))
        parts = [_search_segment(segment, query, depth + _MARGIN, allowed) for segment in segments]
        rows = np.concatenate([np.empty(0, np.uint64), *(rows for rows, _ in parts)])
        total = sum(count for _, count in parts)
        rows, found = gather(segments, np.sort(rows), len(query))
        return _best(query, rows, found, depth, total)

    def fetch(self, rows: Rows) -> tuple[Rows, Vectors]:
        """Those of the rows that have a vector, rising, and their vectors."""
        return gather(self.segments, rows, self.dimension)


class VectorStoreWriter:
    """Adds vectors to a store; buffered, so that many small blocks make one segment."""

    def __init__(self, store: VectorStore, revision: int, *, anew: bool) -> None:
        self._store, self._revision, self._anew = store, revision, anew
        self._pending = Pending(store, anew=anew)
        self._blocks: list[tuple[Rows, Vectors]] = []
        self._bytes = 0
        self._dimension = 0 if anew else store.dimension

    def upsert(self, rows: Rows, vectors: Vectors) -> None:
        """Raises ValueError when the dimension is another than that of the vectors there."""
        if not len(rows):
            return
        if self._dimension and vectors.shape[1] != self._dimension:
            raise ValueError(f"expected vectors of dimension {self._dimension}, got {vectors.shape[1]}")
        self._dimension = vectors.shape[1]
        self._blocks.append((rows.astype(np.uint64), vectors.astype(np.float32)))
        self._bytes += vectors.nbytes
        if self._bytes >= _BUFFER_BYTES:
            self._flush()

    def delete(self, rows: Rows) -> None:
        if len(rows):
            self._flush()
            self._pending.deleted.append(rows.astype(np.uint64))

    def commit(self) -> None:
        self._flush()
        deleted = self._pending.take_deleted()
        if len(deleted):
            self._write(np.empty(0, np.uint64), np.empty((0, self._dimension), np.float32), deleted)
        self._store.commit(self._revision, self._pending.parts, {"dimension": self._dimension})
        self._pending.closed = True
        if self._store.wants_compaction:
            self._compact()

    def abort(self) -> None:
        if not self._pending.closed:
            self._pending.abort()

    def _flush(self) -> None:
        if not self._blocks:
            return
        rows = np.concatenate([rows for rows, _ in self._blocks])
        vectors = np.concatenate([vectors for _, vectors in self._blocks])
        self._blocks, self._bytes = [], 0
        last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]  # the last of each row, rows rising
        self._write(rows[last], vectors[last], self._pending.take_deleted())

    def _write(self, rows: Rows, vectors: Vectors, deleted: Rows) -> None:
        norms = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
        self._store.append(self._pending.next_part(), rows, deleted, {"vectors": vectors, "norms": norms})

    def _compact(self) -> None:
        pending = Pending(self._store, anew=True)
        rows = np.sort(np.concatenate([np.empty(0, np.uint64), *(s.rows[s.live] for s in self._store.segments)]))
        for start in range(0, len(rows), _BLOCK_ROWS * 8):
            part, vectors = self._store.fetch(rows[start : start + _BLOCK_ROWS * 8])
            norms = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
            self._store.append(pending.next_part(), part, np.empty(0, np.uint64), {"vectors": vectors, "norms": norms})
        self._store.commit(self._revision, pending.parts, {"dimension": self._dimension})


def gather(segments: Sequence[Segment], rows: Rows, dimension: int) -> tuple[Rows, Vectors]:
    """The vectors of those of the rows that are there, rows rising."""
    found = [(segment, segment.find(rows)) for segment in segments]
    held = np.concatenate([np.empty(0, np.uint64), *(segment.rows[places] for segment, places in found)])
    vectors = np.concatenate(
        [np.empty((0, dimension), np.float32), *(_vectors(s)[places] for s, places in found if len(places))]
    )
    positions = np.argsort(held)
    return held[positions], vectors[positions]


def _search_segment(segment: Segment, query: Vectors, depth: int, allowed: Rows | None) -> tuple[Rows, int]:
    """The best rows of a segment by float32 arithmetic, and how many there are in all."""
    mask = segment.allowed(allowed)
    vectors, norms = _vectors(segment), segment.arrays["norms"].astype(np.float32)
    scores: Scores = np.full(len(mask), -np.inf)
    for start in range(0, len(mask), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        if mask[part].any():
            products = vectors[part] @ query
            scores[part] = np.divide(products, norms[part], out=np.zeros_like(products), where=norms[part] > 0)
    scores[~mask] = -np.inf
    count = int(mask.sum())
    take = min(depth, count)
    best = np.argpartition(-scores, take - 1)[:take] if 0 < take < len(scores) else np.flatnonzero(mask)
    return segment.rows[best], count


def _best(query: Vectors, rows: Rows, vectors: Vectors, depth: int, total: int) -> Candidates:
    scores = scoring.cosines(query, vectors)
    best = scoring.order(rows, scores)[:depth]
    return Candidates(rows[best], scores[best], total)


def _vectors(segment: Segment) -> Vectors:
    return segment.arrays["vectors"]  # pyright: ignore[reportReturnType]  # what the writer put there


def _check(dimension: int, query: Vectors) -> None:
    if dimension and query.shape != (dimension,):
        raise ValueError(f"expected a query vector of dimension {dimension}, got {query.shape}")
