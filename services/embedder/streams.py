"""Which rows a stream reads, and in which pages: all rows, some ranges, or what changed since a revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.embedder.documents import Dataset, Document
from services.embedder.store import Store
from services.embedder.vector_store import VectorPage, VectorStore

_SCATTERED_ROWS = 50_000
"""Several ranges with at most this many rows are read row by row; with more, range by range."""
_DOCUMENT_PAGE_BYTES = 16 << 20
_MAX_DOCUMENT_ROWS = 1000
_Page = TypeVar("_Page")


@dataclass(frozen=True)
class Selection:
    """What a stream is to return.

    history, since_revision: only what changed after this revision; 0 for everything.
    ranges: only rows from start to before end of one of these; empty for all.
    start_row: only rows from this one on.
    """

    history: str
    since_revision: int
    ranges: Sequence[tuple[int, int]]
    start_row: int


class Streams:
    """Reads datasets page by page, each at one revision: later changes belong to the next read."""

    def __init__(self, store: Store, vectors: VectorStore) -> None:
        self._store = store
        self._vectors = vectors

    async def begin(self, dataset_id: str, selection: Selection) -> Dataset:
        """The dataset at the revision that the stream reads. Raises DatasetNotFound, HistoryChanged."""
        return await asyncio.to_thread(
            self._store.dataset_to_read,
            dataset_id,
            history=selection.history,
            since_revision=selection.since_revision,
        )

    async def documents(
        self, dataset: Dataset, selection: Selection, *, with_metadata: bool = False
    ) -> AsyncIterator[list[tuple[Document, bool]]]:
        """Documents by row, each with whether it is a tombstone.

        with_metadata: passages with all metadata of their documents too.
        """
        mean_bytes = dataset.counts.text_bytes // max(1, dataset.counts.rows)
        pages = _Pages(
            after=lambda after_row, limit: self._store.documents_after(
                dataset, after_row, limit, with_metadata=with_metadata
            ),
            of_rows=lambda rows: self._store.documents_of(dataset, rows, with_metadata=with_metadata),
            last_row=lambda page: page[-1][0].row if page else None,
            size=max(1, min(_MAX_DOCUMENT_ROWS, _DOCUMENT_PAGE_BYTES // max(1, mean_bytes))),
        )
        async for page, end in self._read(pages, dataset, selection):
            yield [(document, deleted) for document, deleted in page if document.row < end]

    async def whole_documents(
        self, dataset: Dataset, selection: Selection
    ) -> AsyncIterator[list[tuple[Document, bool]]]:
        """Documents with passages, as `documents`, as they are when they are read; none of them is a tombstone."""
        mean_bytes = dataset.counts.text_bytes // max(1, dataset.document_count)
        size = max(1, min(_MAX_DOCUMENT_ROWS, _DOCUMENT_PAGE_BYTES // max(1, mean_bytes)))
        after_number = selection.start_row - 1
        while page := await asyncio.to_thread(self._store.wholes_after, dataset, after_number, size):
            yield [(document, False) for document in page]
            after_number = page[-1].row

    async def vectors(self, dataset: Dataset, selection: Selection) -> AsyncIterator[VectorPage]:
        """Vectors by row, and tombstones. Raises BlobDamaged."""
        pages = _Pages(
            after=lambda after_row, limit: self._vectors.vectors_after(dataset, after_row, limit),
            of_rows=lambda rows: self._vectors.vectors_of(dataset, rows),
            last_row=lambda page: page.last_row,
            size=self._vectors.page_rows(dataset),
        )
        async for page, end in self._read(pages, dataset, selection):
            yield page.before(end)

    async def embedded_rows(self, dataset: Dataset, selection: Selection) -> NDArray[np.uint64]:
        """Rows that have vectors, (R,) uint64, ascending."""
        rows = await asyncio.to_thread(self._vectors.embedded_rows, dataset)
        return _selected(rows, _intervals(dataset, selection))

    async def _read(
        self, pages: _Pages[_Page], dataset: Dataset, selection: Selection
    ) -> AsyncIterator[tuple[_Page, int]]:
        """Pages, each with the row before which its part of the selection ends."""
        intervals = _intervals(dataset, selection)
        rows = await self._scattered_rows(dataset, selection, intervals)
        if rows is not None:
            for start in range(0, len(rows), pages.size):
                part = rows[start : start + pages.size].tolist()
                yield await asyncio.to_thread(pages.of_rows, part), dataset.next_row
            return
        for start, end in intervals:
            after_row: int | None = start - 1
            while after_row is not None and after_row < end - 1:
                page = await asyncio.to_thread(pages.after, after_row, min(pages.size, end - 1 - after_row))
                after_row = pages.last_row(page)
                yield page, end

    async def _scattered_rows(
        self, dataset: Dataset, selection: Selection, intervals: Sequence[tuple[int, int]]
    ) -> NDArray[np.uint64] | None:
        """The rows to read one by one; None to read intervals."""
        if selection.since_revision:
            rows = await asyncio.to_thread(self._store.changed_rows, dataset, selection.since_revision)
            return _selected(rows, intervals)
        if len(intervals) > 1 and sum(end - start for start, end in intervals) <= _SCATTERED_ROWS:
            return np.concatenate([np.arange(start, end, dtype=np.uint64) for start, end in intervals])
        return None


@dataclass(frozen=True)
class _Pages(Generic[_Page]):
    """How pages are read. after: of at most some rows behind a row. of_rows: of given rows. size: rows of a page."""

    after: Callable[[int, int], _Page]
    of_rows: Callable[[list[int]], _Page]
    last_row: Callable[[_Page], int | None]
    size: int


def _intervals(dataset: Dataset, selection: Selection) -> list[tuple[int, int]]:
    """The rows to look at, as ascending intervals that do not overlap."""
    position = selection.start_row
    intervals: list[tuple[int, int]] = []
    for start, end in sorted(selection.ranges) or [(0, dataset.next_row)]:
        first, last = max(start, position), min(end, dataset.next_row)
        if first < last:
            intervals.append((first, last))
            position = last
    return intervals


def _selected(rows: NDArray[np.uint64], intervals: Sequence[tuple[int, int]]) -> NDArray[np.uint64]:
    """The ascending rows that lie in an interval."""
    bounds = np.searchsorted(rows, np.array(intervals, dtype=np.uint64).reshape(-1, 2))
    return np.concatenate([rows[start:end] for start, end in bounds.tolist()] or [rows[:0]])
