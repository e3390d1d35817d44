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


@dataclass(frozen=True)
class RowComparison:
    """How a dataset has changed: documents, and its fingerprint now."""

    added: int
    deleted: int
    changed: int
    fingerprint: str


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


def _rows(ranges: Sequence[tuple[int, int]], end_row: int) -> NDArray[np.uint64]:
    """The rows of half-open ranges before a row, ascending and each once, (R,) uint64."""
    parts: list[NDArray[np.uint64]] = []
    position = 0
    for start, end in sorted(ranges):
        parts.append(np.arange(max(start, position), max(position, min(end, end_row)), dtype=np.uint64))
        position = max(position, min(end, end_row))
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
