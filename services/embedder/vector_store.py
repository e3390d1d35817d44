"""Vectors: immutable shards of `.npy` in the blobs, and the SQL that says which row's vector is where."""

from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, func, select

from services.chassis import names
from services.chassis.blobs import Blob, BlobDamaged, Blobs
from services.chassis.database import Database, once, repeats_transactions
from services.embedder import queries
from services.embedder.documents import Dataset, Document
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
        return self._page(dataset, query)

    def present_vectors_after(self, dataset: Dataset, after_row: int, limit: int) -> VectorPage:
        """As `vectors_after`, also of documents that have changed since: with other metadata, or embedded again.

        A row whose text or given vector changes is deleted. So these are the dataset's vectors, as far as they exist.
        """
        query = queries.present_page(
            queries.VECTOR_COLUMNS, dataset.uid, before_row=dataset.next_row, after_row=after_row, limit=limit
        )
        return self._page(dataset, query)

    def vectors_of(self, dataset: Dataset, rows: Sequence[int], *, present: bool = False) -> VectorPage:
        """The vectors of given rows. present: also of documents that have changed since. Raises BlobDamaged."""
        until = None if present else dataset.revision
        query = queries.page_of_rows(queries.VECTOR_COLUMNS, dataset.uid, until=until, rows=rows)
        return self._page(dataset, query)

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

    @once
    def lost_shards(self, uid: str) -> list[str]:
        """Shards of a dataset that are missing or damaged; each of them is read and compared with its digest."""
        return [damage.path for damage in self._blobs.scrub(prefix=f"{_FOLDER}/{uid}/").damages]

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

    def _page(self, dataset: Dataset, page: queries.Statement) -> VectorPage:
        with self._database.read() as connection:
            runs = connection.execute(queries.vector_runs(page)).all()
            without = connection.execute(queries.rows_without_vectors(page)).all()
        rows = _rows_of(runs)
        vectors = np.empty((len(rows), dataset.dimension), dtype=np.float32)
        count = 0
        for shard, group in groupby(runs, key=lambda run: run.shard):
            count += _copy_runs(self._blobs, shard, list(group), vectors[count:])
        last_rows = [run.last_row for run in runs[-1:]] + [row for row, _deleted in without[-1:]]
        return VectorPage(
            rows=rows,
            vectors=vectors,
            deleted_rows=[row for row, deleted in without if deleted],
            last_row=max(last_rows, default=None),
        )


def vectors_at(blobs: Blobs, shard: str, positions: Sequence[int]) -> NDArray[np.float32]:
    """Vectors (R, d) at positions of a shard, as float32. Raises BlobDamaged, also for a file never recorded."""
    with _reading(shard):
        return _mapped(blobs, shard)[positions].astype(np.float32, copy=False)


def _copy_runs(blobs: Blobs, shard: str, runs: Sequence[Row[Any]], vectors: NDArray[np.float32]) -> int:
    """Copies the vectors of runs in one shard to the beginning of `vectors`; returns their number."""
    count = 0
    with _reading(shard):
        mapped = _mapped(blobs, shard)
        for run in runs:
            positions = slice(run.first_row + run.shift, run.last_row + 1 + run.shift)
            length = positions.stop - positions.start
            vectors[count : count + length] = mapped[positions]
            count += length
    return count


def _mapped(blobs: Blobs, shard: str) -> NDArray[np.float16 | np.float32]:
    return np.load(blobs.local(shard), mmap_mode="r", allow_pickle=False)


@contextmanager
def _reading(shard: str) -> Generator[None]:
    """Raises BlobDamaged for a file that is no array, or a shorter one."""
    try:
        yield
    except (ValueError, EOFError, IndexError) as error:
        raise BlobDamaged(shard, f"cannot be read ({error})") from error


def _rows_of(runs: Sequence[Row[Any]]) -> NDArray[np.uint64]:
    """The rows of all runs, (R,) uint64."""
    parts = [np.arange(run.first_row, run.last_row + 1, dtype=np.uint64) for run in runs]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
