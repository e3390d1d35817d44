"""Compares the documents of a dataset that have vectors with rows that had one earlier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.embedder.documents import Dataset, State
from services.embedder.store import BATCH_ROWS, Store
from services.embedder.vector_store import VectorStore

_PAGE_PASSAGES = 50_000


@dataclass(frozen=True)
class RowComparison:
    """How a dataset has changed: documents, and its fingerprint now."""

    added: int
    deleted: int
    changed: int
    fingerprint: str


@dataclass(frozen=True)
class _Passages:
    """Passages by row, ascending: their rows and documents' numbers, (P,) uint64, and states, (P,) bool."""

    rows: NDArray[np.uint64]
    numbers: NDArray[np.uint64]
    is_embedded: NDArray[np.bool_]
    is_pending: NDArray[np.bool_]

    @staticmethod
    def of(rows: Sequence[int], numbers: Sequence[int], states: Sequence[State]) -> _Passages:
        """The passages of lists of their properties."""
        return _Passages(
            rows=np.array(rows, dtype=np.uint64),
            numbers=np.array(numbers, dtype=np.uint64),
            is_embedded=np.array([state is State.EMBEDDED for state in states], dtype=np.bool_),
            is_pending=np.array([state is State.PENDING for state in states], dtype=np.bool_),
        )


class Comparing:
    """Compares datasets with earlier states."""

    def __init__(self, store: Store, vectors: VectorStore) -> None:
        self._store = store
        self._vectors = vectors

    async def compare(self, dataset_id: str, ranges: Sequence[tuple[int, int]]) -> RowComparison:
        """How a dataset differs from one that had vectors of these rows. Raises DatasetNotFound."""
        dataset = await asyncio.to_thread(self._store.dataset, dataset_id)
        return await asyncio.to_thread(self._compare, dataset, ranges)

    def _compare(self, dataset: Dataset, ranges: Sequence[tuple[int, int]]) -> RowComparison:
        if dataset.passages is not None:
            return self._compare_wholes(dataset, _rows(ranges, end_row=dataset.next_row))
        present = self._vectors.embedded_rows(dataset)
        earlier = _rows(ranges, end_row=dataset.next_row)
        missing_rows = np.setdiff1d(earlier, present, assume_unique=True).tolist()
        states: list[State] = []
        for start in range(0, len(missing_rows), BATCH_ROWS):
            states += self._store.states_of_keys_of(dataset, missing_rows[start : start + BATCH_ROWS])
        kept_count = len(earlier) - len(missing_rows)
        changed_usable = sum(state is not State.FAILED for state in states)
        usable = dataset.counts.embedded + dataset.counts.pending
        return RowComparison(
            added=max(0, usable - kept_count - changed_usable),
            deleted=len(missing_rows) - len(states),
            changed=len(states),
            fingerprint=dataset.fingerprint,
        )

    def _compare_wholes(self, dataset: Dataset, earlier: NDArray[np.uint64]) -> RowComparison:
        """As `_compare`, in documents above passages. One that was deleted and added again counts as both."""
        passages = self._passages(dataset)
        is_earlier = np.isin(passages.rows, earlier)
        missing_rows = np.setdiff1d(earlier, passages.rows, assume_unique=True).tolist()
        numbers: list[int] = []
        for start in range(0, len(missing_rows), BATCH_ROWS):
            numbers += self._store.numbers_of_rows(dataset, missing_rows[start : start + BATCH_ROWS])
        had_missing = np.unique(np.array(numbers, dtype=np.uint64))
        had_earlier = np.union1d(passages.numbers[is_earlier], had_missing)
        is_new = ~is_earlier & (passages.is_embedded | passages.is_pending)
        differs = np.union1d(passages.numbers[is_new | (is_earlier & ~passages.is_embedded)], had_missing)
        is_present = np.isin(had_earlier, passages.numbers)
        return RowComparison(
            added=len(np.setdiff1d(passages.numbers[is_new], had_earlier)),
            deleted=int(np.count_nonzero(~is_present)),
            changed=len(np.intersect1d(had_earlier[is_present], differs)),
            fingerprint=dataset.fingerprint,
        )

    def _passages(self, dataset: Dataset) -> _Passages:
        """All passages of a dataset."""
        parts: list[_Passages] = []
        after_row = -1
        while page := self._store.passage_states(dataset, after_row, _PAGE_PASSAGES):
            rows, numbers, states = zip(*page, strict=True)
            parts.append(_Passages.of(rows, numbers, states))
            after_row = rows[-1]
        parts = parts or [_Passages.of((), (), ())]
        return _Passages(
            rows=np.concatenate([part.rows for part in parts]),
            numbers=np.concatenate([part.numbers for part in parts]),
            is_embedded=np.concatenate([part.is_embedded for part in parts]),
            is_pending=np.concatenate([part.is_pending for part in parts]),
        )


def _rows(ranges: Sequence[tuple[int, int]], end_row: int) -> NDArray[np.uint64]:
    """The rows of half-open ranges before a row, ascending and each once, (R,) uint64."""
    parts: list[NDArray[np.uint64]] = []
    position = 0
    for start, end in sorted(ranges):
        parts.append(np.arange(max(start, position), max(position, min(end, end_row)), dtype=np.uint64))
        position = max(position, min(end, end_row))
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
