"""Sparse codes: by row (CSR, the bits that were written) and by latent (CSC, to search by).

A query touches only the columns of its own latents: L of n, each with the rows in which it is active.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from prisma_common.wire import Codes
from services.search import scoring
from services.search.backend import Candidates, LatentQuery, Latents, Rows, Scores
from services.search.embedded.segments import Arrays, Segment, SegmentStore, SegmentWriter, concatenated, last_of_each

_BLOCK_ROWS = 128
_ROUNDING = 2 * 10.0**-scoring.DECIMALS
"""Scores that differ by more do so when they are rounded."""


class CodeStore(SegmentStore):
    """The codes of one run."""

    @property
    def latent_count(self) -> int:
        """Latents of the run (n); 0 where there is no code yet."""
        return self.manifest.detail.get("latent_count", 0) if self.manifest else 0

    def search(self, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest dot product, of those that share a latent with the query."""
        candidates = [_search_segment(part, query, depth, allowed) for part in self.segments.parts]
        rows = concatenated([part.rows for part in candidates], np.uint64)
        scores = concatenated([part.scores for part in candidates], np.float64)
        best = scoring.best(rows, scores, depth)
        return Candidates(rows[best], scores[best], sum(part.total for part in candidates))

    def fetch(self, rows: Rows) -> Codes:
        """The codes of those of the ascending rows that have one."""
        return gather(self.segments.parts, rows, self.latent_count)

    def rows_with(self, latent: int, minimum: float, *, inclusive: bool) -> Rows:
        """Ascending rows in which the latent is active above the minimum, or at it too."""
        matching: list[Rows] = []
        for part in self.segments.parts:
            places, values = _column(part, latent)
            exact = values.astype(np.float64)  # numpy would round the minimum to float32
            active = (exact >= minimum if inclusive else exact > minimum) & part.live[places]
            matching.append(part.rows[places[active]])
        return np.sort(concatenated(matching, np.uint64))

    def max_activations(self, latents: Latents) -> Scores:
        """(L,) the largest activation of each latent; 0 for one that is active nowhere."""
        parts = self.segments.parts
        return np.array(
            [max((_max_activation(part, latent) for part in parts), default=0.0) for latent in latents.tolist()],
            dtype=np.float64,
        )


class CodeStoreWriter(SegmentWriter[Codes]):
    """Adds codes to a store."""

    BUFFER_SIZE = 16 << 20

    def upsert(self, codes: Codes) -> None:
        """Raises ValueError when the run has another number of latents than that of the stored codes."""
        if not len(codes):
            return
        latent_count = self.detail.setdefault("latent_count", codes.latent_count)
        if codes.latent_count != latent_count:
            raise ValueError(f"expected codes of {latent_count} latents, got {codes.latent_count}")
        self.add(codes)

    def size(self, block: Codes) -> int:
        return len(block.values)

    def joined(self, blocks: Sequence[Codes]) -> tuple[Rows, Arrays]:
        codes = wire.concatenate(blocks, self._latent_count)
        return self._arrays(codes.take(last_of_each(codes.rows)))

    def merged(self, parts: Sequence[Segment]) -> tuple[Rows, Arrays]:
        rows = np.sort(concatenated([part.rows[part.live] for part in parts], np.uint64))
        return self._arrays(gather(parts, rows, self._latent_count))

    def empty(self) -> Arrays:
        return self._arrays(wire.concatenate([], self._latent_count))[1]

    @property
    def _latent_count(self) -> int:
        return self.detail.get("latent_count", 0)

    def _arrays(self, codes: Codes) -> tuple[Rows, Arrays]:
        by_latent = np.argsort(codes.indices, kind="stable")
        row_places = np.repeat(np.arange(len(codes), dtype=np.uint32), np.diff(codes.indptr).astype(np.int64))
        counts = np.bincount(codes.indices, minlength=self._latent_count)
        arrays = {
            "indptr": codes.indptr,
            "indices": codes.indices,
            "values": codes.values,
            "column_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64),  # (n + 1,)
            "column_places": row_places[by_latent],  # (nnz,) places of rows
            "column_values": codes.values[by_latent],
        }
        return codes.rows.astype(np.uint64), arrays


def gather(parts: Sequence[Segment], rows: Rows, latent_count: int) -> Codes:
    """The codes of those of the ascending rows that are stored, in their order."""
    matching = [(part, part.find(rows)) for part in parts]
    codes = wire.concatenate(
        [_codes(part, latent_count).take(places) for part, places in matching if len(places)], latent_count
    )
    order = np.argsort(codes.rows)
    return codes if np.array_equal(order, np.arange(len(order))) else codes.take(order)


def _search_segment(segment: Segment, query: LatentQuery, depth: int, allowed: Rows | None) -> Candidates:
    """The best rows of a segment, in any order: at least `depth`, if there are so many, and all that tie with these."""
    columns = [_column(segment, latent) for latent in query.indices.tolist()]
    places = concatenated([column for column, _ in columns], np.uint32)
    terms = [
        values.astype(np.float64) * weight for (_, values), weight in zip(columns, query.weights.tolist(), strict=True)
    ]
    # bincount adds in the order of the latents, as the other back end does
    weights: Scores = concatenated(terms, np.float64)
    scores = np.bincount(places, weights=weights, minlength=len(segment.rows)).astype(np.float64, copy=False)
    touched = np.zeros(len(segment.rows), dtype=bool)
    touched[places] = True
    if allowed is not None or not segment.is_whole:
        touched &= segment.allowed(allowed)
        scores[~touched] = -np.inf
    total = int(np.count_nonzero(touched))
    highest = _highest(scores, depth) if total > depth else None
    best = np.flatnonzero(touched) if highest is None else highest
    return Candidates(segment.rows[best], np.round(scores[best], scoring.DECIMALS), total)


def _highest(scores: Scores, count: int) -> NDArray[np.intp] | None:
    """Places of the highest scores, at least so many; None where fewer blocks of rows have a positive one.

    The best rows of that many blocks reach a score, so that only rows that reach it need to be sorted. Rows without a
    latent of the query have a score of zero, and must not be among these.
    """
    block_count = len(scores) // _BLOCK_ROWS
    if block_count < count:
        return None
    blocks = scores[: block_count * _BLOCK_ROWS].reshape(block_count, _BLOCK_ROWS).max(axis=1)
    least = float(np.partition(blocks, block_count - count)[block_count - count])
    if least <= 0:
        return None
    return np.flatnonzero(scores >= least - _ROUNDING)


def _column(segment: Segment, latent: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Places of the rows in which a latent is active, and its activations there."""
    starts = segment.arrays["column_starts"]
    if latent + 1 >= len(starts):
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    part = slice(int(starts[latent]), int(starts[latent + 1]))
    return segment.arrays["column_places"][part], segment.arrays["column_values"][part]


def _max_activation(segment: Segment, latent: int) -> float:
    places, values = _column(segment, latent)
    return float(values[segment.live[places]].max(initial=0.0))


def _codes(segment: Segment, latent_count: int) -> Codes:
    arrays = cast("dict[str, NDArray[Any]]", segment.arrays)
    return Codes(
        rows=segment.rows,
        indptr=arrays["indptr"],
        indices=arrays["indices"],
        values=arrays["values"],
        latent_count=latent_count,
    )
