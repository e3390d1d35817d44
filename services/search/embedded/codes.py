"""Sparse codes: by row (CSR, the bits that were written) and by latent (CSC, to search by).

A query touches only the columns of its own latents: L of n, each with the rows in which it is active.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from prisma_common.wire import Codes
from services.search import scoring
from services.search.embedded.segments import Pending, Segment, SegmentStore
from services.search.index import Candidates, LatentQuery, Rows, Scores

_BUFFER_VALUES = 16 << 20


class CodeStore(SegmentStore):
    """The codes of one run."""

    @property
    def latent_count(self) -> int:
        """Latents of the run (n); 0 where there is no code yet."""
        return int(self.manifest.detail.get("latent_count", 0)) if self.manifest else 0

    def search(self, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest dot product, of those that share a latent with the query."""
        parts = [_search_segment(segment, query, allowed) for segment in self.segments]
        rows = np.concatenate([np.empty(0, np.uint64), *(rows for rows, _ in parts)])
        scores = np.concatenate([np.empty(0), *(scores for _, scores in parts)])
        best = scoring.order(rows, scores)[:depth]
        return Candidates(rows[best], scores[best], len(rows))

    def fetch(self, rows: Rows) -> Codes:
        """The codes of those of the rows that have one, rising."""
        parts = [_codes(s, self.latent_count).take(places) for s in self.segments if len(places := s.find(rows))]
        codes = wire.concatenate(parts, self.latent_count)
        return codes.take(np.argsort(codes.rows))

    def rows_with(self, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        """Rising rows in which the latent is active at (or above) the minimum."""
        found: list[Rows] = [np.empty(0, np.uint64)]
        for segment in self.segments:
            places, values = _column(segment, latent)
            hit = (values >= minimum if inclusive else values > minimum) & segment.live[places]
            found.append(segment.rows[places[hit]])
        return np.sort(np.concatenate(found))


class CodeStoreWriter:
    """Adds codes to a store."""

    def __init__(self, store: CodeStore, revision: int, *, anew: bool) -> None:
        self._store, self._revision = store, revision
        self._pending = Pending(store, anew=anew)
        self._blocks: list[Codes] = []
        self._latent_count = 0 if anew else store.latent_count

    def upsert(self, codes: Codes) -> None:
        """Raises ValueError when the codes are of another number of latents than those there."""
        if not len(codes):
            return
        if self._latent_count and codes.latent_count != self._latent_count:
            raise ValueError(f"expected codes of {self._latent_count} latents, got {codes.latent_count}")
        self._latent_count = codes.latent_count
        self._blocks.append(codes)
        if sum(len(block.values) for block in self._blocks) >= _BUFFER_VALUES:
            self._flush()

    def delete(self, rows: Rows) -> None:
        if len(rows):
            self._flush()
            self._pending.deleted.append(rows.astype(np.uint64))

    def commit(self) -> None:
        self._flush()
        deleted = self._pending.take_deleted()
        if len(deleted):
            self._write(wire.concatenate([], self._latent_count), deleted, self._pending)
        self._store.commit(self._revision, self._pending.parts, {"latent_count": self._latent_count})
        self._pending.closed = True
        if self._store.wants_compaction:
            self._compact()

    def abort(self) -> None:
        if not self._pending.closed:
            self._pending.abort()

    def _flush(self) -> None:
        if not self._blocks:
            return
        codes = wire.concatenate(self._blocks, self._latent_count)
        self._blocks = []
        last = len(codes) - 1 - np.unique(codes.rows[::-1], return_index=True)[1]  # the last of each row, rising
        self._write(codes.take(last), self._pending.take_deleted(), self._pending)

    def _write(self, codes: Codes, deleted: Rows, pending: Pending) -> None:
        by_latent = np.argsort(codes.indices, kind="stable")
        owner = np.repeat(np.arange(len(codes), dtype=np.uint32), np.diff(codes.indptr).astype(np.int64))
        counts = np.bincount(codes.indices, minlength=self._latent_count)
        arrays = {
            "indptr": codes.indptr,
            "indices": codes.indices,
            "values": codes.values,
            "column_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64),  # (n + 1,)
            "column_places": owner[by_latent],  # (nnz,) positions of rows
            "column_values": codes.values[by_latent],
        }
        self._store.append(pending.next_part(), codes.rows.astype(np.uint64), deleted, arrays)

    def _compact(self) -> None:
        pending = Pending(self._store, anew=True)
        rows = np.concatenate([np.empty(0, np.uint64), *(s.rows[s.live] for s in self._store.segments)])
        self._write(self._store.fetch(np.sort(rows)), np.empty(0, np.uint64), pending)
        self._store.commit(self._revision, pending.parts, {"latent_count": self._latent_count})


def _search_segment(segment: Segment, query: LatentQuery, allowed: Rows | None) -> tuple[Rows, Scores]:
    scores: Scores = np.zeros(len(segment.rows))
    touched = np.zeros(len(segment.rows), dtype=bool)
    for latent, weight in zip(query.indices.tolist(), query.weights.tolist(), strict=True):
        places, values = _column(segment, latent)
        scores[places] += values.astype(np.float64) * weight
        touched[places] = True
    touched &= segment.allowed(allowed)
    return segment.rows[touched], np.round(scores[touched], 10)


def _column(segment: Segment, latent: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Positions of the rows in which a latent is active, and its activations there."""
    starts = segment.arrays["column_starts"]
    if latent + 1 >= len(starts):
        return np.empty(0, np.intp), np.empty(0, np.float32)
    part = slice(int(starts[latent]), int(starts[latent + 1]))
    return segment.arrays["column_places"][part].astype(np.intp), cast(
        NDArray[np.float32], segment.arrays["column_values"][part]
    )


def _codes(segment: Segment, latent_count: int) -> Codes:
    arrays = cast("dict[str, NDArray[Any]]", segment.arrays)
    return Codes(segment.rows, arrays["indptr"], arrays["indices"], arrays["values"], latent_count)
