"""Vectors: immutable shards of `.npy` in the blobs, and the SQL that says which row's vector is where."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, func, select

from services.chassis import names
from services.chassis.blobs import Blob, BlobDamaged, Blobs
from services.chassis.database import Database, repeats_transactions
from services.embedder import queries
from services.embedder.documents import Dataset, Document, State
from services.embedder.tables import BLOBS, DATASETS, DOCUMENTS

_PAGE_BYTES = 8 << 20
_MIN_PAGE_ROWS = 1000
_MAX_PAGE_ROWS = 16_000
"""The rows of a page can be the parameters of one statement: SQLite takes 32,766, PostgreSQL 65,535."""
_FOLDER = "vectors"


@dataclass(frozen=True)
class VectorPage:
    """Vectors of a part of a dataset.

    rows: of the documents that have vectors, ascending, (R,) uint64.
    vectors: (R, d) float32, in their order.
    deleted_rows: tombstones in the same part.
    last_row: the last row that was looked at; None where there was none.
    """

    rows: NDArray[np.uint64]
    vectors: NDArray[np.float32]
    deleted_rows: Sequence[int]
    last_row: int | None

    def before(self, row: int) -> VectorPage:
        """The part of the page before a row."""
        count = int(np.searchsorted(self.rows, row))
        if count == len(self.rows) and not any(deleted >= row for deleted in self.deleted_rows):
            return self
        deleted = [deleted for deleted in self.deleted_rows if deleted < row]
        return VectorPage(self.rows[:count], self.vectors[:count], deleted, self.last_row)


@dataclass(frozen=True)
class Shard:
    """A file of vectors that was written. is_half: whether they are float16."""

    blob: Blob
    dimension: int
    is_half: bool


@repeats_transactions
class VectorStore:
    """The vectors of all datasets."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def write_shard(self, uid: str, vectors: NDArray[np.float16 | np.float32]) -> Shard:
        """Writes vectors (R, d) as a shard of a dataset, in their type. Raises StorageFull."""
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        blob = self._blobs.put(f"{_FOLDER}/{uid}/{names.new_uid()}.npy", [buffer.getbuffer()])
        return Shard(blob, dimension=vectors.shape[1], is_half=vectors.dtype == np.float16)

    def vector(self, document: Document) -> NDArray[np.float32] | None:
        """A document's vector (d,) float32; None where it has none. Raises BlobDamaged."""
        if document.shard is None or document.position is None:
            return None
        return vectors_at(self._blobs, document.shard, [document.position])[0]

    def page_rows(self, dataset: Dataset) -> int:
        """How many rows a page should have. Of a dataset without vectors, the dimension is 0."""
        fitting = _PAGE_BYTES // (4 * max(1, dataset.dimension))
        return min(max(_MIN_PAGE_ROWS, fitting), _MAX_PAGE_ROWS)

    def vectors_after(self, dataset: Dataset, after_row: int, limit: int) -> VectorPage:
        """The vectors of at most `limit` rows behind a row. Raises BlobDamaged."""
        query = queries.page(
            queries.VECTOR_COLUMNS, dataset.uid, until=dataset.revision, after_row=after_row, limit=limit
        )
        with self._database.read() as connection:
            stored = connection.execute(query).all()
        return self._page(dataset, stored)

    def present_vectors_after(self, dataset: Dataset, after_row: int, limit: int) -> VectorPage:
        """As `vectors_after`, also of documents that have changed since: with other metadata, or embedded again.

        A row whose text or given vector changes is deleted. So these are the dataset's vectors, as far as they exist.
        """
        query = queries.present_page(
            queries.VECTOR_COLUMNS, dataset.uid, before_row=dataset.next_row, after_row=after_row, limit=limit
        )
        with self._database.read() as connection:
            stored = connection.execute(query).all()
        return self._page(dataset, stored)

    def vectors_of(self, dataset: Dataset, rows: Sequence[int], *, present: bool = False) -> VectorPage:
        """The vectors of given rows. present: also of documents that have changed since. Raises BlobDamaged."""
        until = None if present else dataset.revision
        query = queries.page_of_rows(queries.VECTOR_COLUMNS, dataset.uid, until=until, rows=rows)
        with self._database.read() as connection:
            stored = connection.execute(query).all()
        return self._page(dataset, stored)

    def embedded_rows(self, dataset: Dataset, *, present: bool = False) -> NDArray[np.uint64]:
        """Rows of the documents that had vectors at the dataset's revision, ascending, (R,) uint64.

        present: those that have vectors now, of the dataset's rows.
        """
        with self._database.read() as connection:
            stored = connection.execute(queries.embedded_rows(dataset.uid))
            rows = (
                row for row, revision in stored if (row < dataset.next_row if present else revision <= dataset.revision)
            )
            return np.fromiter(rows, dtype=np.uint64)

    def lost_shards(self, uid: str) -> list[str]:
        """Shards of a dataset that are missing or damaged; every shard is read and compared with its digest."""
        prefix = f"{_FOLDER}/{uid}/"
        return [damage.path for damage in self._blobs.scrub().damages if damage.path.startswith(prefix)]

    def delete_shards(self, shards: Sequence[str]) -> None:
        """Deletes shards that no document names any more."""
        for shard in shards:
            self._blobs.delete(shard)

    def adopt_unrecorded(self) -> None:
        """Records the shards of an older version, which kept no digests; once at start."""
        with self._database.read() as connection:
            recorded = connection.execute(select(func.count()).select_from(BLOBS)).scalar_one()
            embedded = connection.execute(select(func.sum(DATASETS.c.embedded_count))).scalar_one()
            if recorded or not embedded:
                return
            query = select(DOCUMENTS.c.shard).where(DOCUMENTS.c.shard.is_not(None)).distinct()
            shards = list(connection.execute(query).scalars())
        self._blobs.adopt_unrecorded(shards)

    def sweep_orphans(self) -> list[str]:
        """Deletes files older than a day that no transaction has recorded; returns their paths."""
        with self._database.read() as connection:
            recorded = set(connection.execute(select(BLOBS.c.path)).scalars())
        return self._blobs.sweep(recorded)

    def _page(self, dataset: Dataset, stored: Sequence[Row[Any]]) -> VectorPage:
        living = [row for row in stored if not row.deleted and row.state == State.EMBEDDED and row.shard is not None]
        vectors = np.empty((len(living), dataset.dimension), dtype=np.float32)
        start = 0
        for shard, group in groupby(living, key=lambda row: row.shard):
            positions = [row.position for row in group]
            vectors[start : start + len(positions)] = vectors_at(self._blobs, shard, positions)
            start += len(positions)
        return VectorPage(
            rows=np.array([row.row for row in living], dtype=np.uint64),
            vectors=vectors,
            deleted_rows=[row.row for row in stored if row.deleted],
            last_row=stored[-1].row if stored else None,
        )


def vectors_at(blobs: Blobs, shard: str, positions: Sequence[int]) -> NDArray[np.float32]:
    """Vectors (R, d) at positions of a shard, as float32. Raises BlobDamaged, also for a file never recorded."""
    file = blobs.local(shard)
    try:
        vectors: NDArray[np.float16 | np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)[positions]
    except (ValueError, EOFError, IndexError) as error:
        raise BlobDamaged(shard, f"cannot be read ({error})") from error
    return vectors.astype(np.float32, copy=False)
