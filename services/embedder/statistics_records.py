"""The SQL of statistics of datasets: what they are computed of, and where they are stored. All calls block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias, cast

from sqlalchemy import Row, delete, insert, select

from services.chassis.database import Database
from services.embedder import queries
from services.embedder.documents import Dataset
from services.embedder.statistics.texts import StoredText, TextStatistics
from services.embedder.statistics.vectors import VectorStatistics
from services.embedder.tables import DATASETS, MAPS, STATISTICS

_ROWS = 10_000
"""The parameters of one statement at most: SQLite takes 32,766."""
Excerpts: TypeAlias = Mapping[int, tuple[str, str]]
"""The last segment of a document's name and the start of its text, by row."""


class MapMethod(StrEnum):
    """How vectors become points."""

    PCA = "PCA"
    UMAP = "UMAP"


@dataclass(frozen=True)
class StoredStatistics:
    """Statistics of a dataset, or a map of it, as a serialised message, and what they cover."""

    content: bytes
    method: str
    """What they were computed with: where it differs, they are computed again. Of a map, its method."""
    revision: int
    fingerprint: str
    compute_time: datetime

    def cover(self, dataset: Dataset) -> bool:
        """Whether the dataset still has the same documents and vectors."""
        return self.fingerprint == dataset.fingerprint


@dataclass(frozen=True)
class ComputedStatistics:
    """Statistics of a dataset. text_excerpts, vector_excerpts: of the documents that they name, by row.

    vectors: None where there are none.
    """

    texts: TextStatistics
    vectors: VectorStatistics | None
    text_excerpts: Excerpts
    vector_excerpts: Excerpts


class StatisticsRecords:
    """Statistics of datasets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, dataset: Dataset) -> StoredStatistics | None:
        """The statistics of a dataset that were stored last."""
        query = select(STATISTICS).where(STATISTICS.c.dataset_uid == dataset.uid)
        with self._database.read() as connection:
            return _stored(connection.execute(query).first())

    def store(self, dataset: Dataset, statistics: StoredStatistics) -> None:
        """Stores statistics in place of earlier ones; those of a deleted dataset are dropped."""
        with self._database.write(dataset.uid) as connection:
            if connection.execute(_living(dataset.uid)).first() is not None:
                connection.execute(delete(STATISTICS).where(STATISTICS.c.dataset_uid == dataset.uid))
                connection.execute(insert(STATISTICS).values(_values(dataset.uid, statistics)))

    def find_map(self, dataset: Dataset, method: MapMethod) -> StoredStatistics | None:
        """The map of a dataset that was stored last."""
        query = select(MAPS).where(MAPS.c.dataset_uid == dataset.uid, MAPS.c.method == method)
        with self._database.read() as connection:
            return _stored(connection.execute(query).first())

    def store_map(self, dataset: Dataset, stored: StoredStatistics) -> None:
        """Stores a map in place of an earlier one; that of a deleted dataset is dropped."""
        with self._database.write(dataset.uid) as connection:
            if connection.execute(_living(dataset.uid)).first() is not None:
                earlier = delete(MAPS).where(MAPS.c.dataset_uid == dataset.uid, MAPS.c.method == stored.method)
                connection.execute(earlier)
                connection.execute(insert(MAPS).values(_values(dataset.uid, stored)))

    def values_of(self, dataset: Dataset, field: str, rows: Sequence[int]) -> dict[int, object]:
        """The values of a field of metadata of the rows that have one. A nested field is `outer.inner`."""
        values: dict[int, object] = {}
        for start in range(0, len(rows), _ROWS):
            query = queries.metadata_of_rows(dataset.uid, rows[start : start + _ROWS])
            with self._database.read() as connection:
                for row, metadata in connection.execute(query):
                    if (value := _at(metadata, field)) is not None:
                        values[row] = value
        return values

    def sweep(self) -> None:
        """Deletes statistics and maps of deleted datasets."""
        living = select(DATASETS.c.uid).where(DATASETS.c.delete_time.is_(None))
        with self._database.write() as connection:
            connection.execute(delete(STATISTICS).where(STATISTICS.c.dataset_uid.not_in(living)))
            connection.execute(delete(MAPS).where(MAPS.c.dataset_uid.not_in(living)))

    def texts_after(self, dataset: Dataset, after_row: int, limit: int) -> tuple[Sequence[StoredText], int | None]:
        """The texts of at most `limit` documents behind a row, of those that have not changed since, and the last row
        that was looked at; None at the end. Of documents with passages, their numbers instead of rows.
        """
        if dataset.passages is not None:
            query = queries.whole_texts_after(dataset.uid, after_row, limit)
            with self._database.read() as connection:
                wholes = connection.execute(query).all()
            texts = [StoredText(whole.number, whole.text, whole.embedding_truncated) for whole in wholes]
            return texts, texts[-1].row if texts else None
        query = queries.page(
            queries.TEXT_COLUMNS, dataset.uid, until=dataset.revision, after_row=after_row, limit=limit
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        texts = [StoredText(row.row, row.text, row.embedding_truncated) for row in rows if not row.deleted]
        return texts, rows[-1].row if rows else None

    def excerpts(self, dataset: Dataset, rows: Sequence[int], *, of_wholes: bool) -> Excerpts:
        """Those of documents, by row, or by number with `of_wholes`. Those that do not exist any more are left out."""
        query = queries.excerpts(dataset.uid, rows, of_wholes=of_wholes)
        with self._database.read() as connection:
            return {row: (name_id, text) for row, name_id, text in connection.execute(query)}


def _living(uid: str) -> queries.Statement:
    return select(DATASETS.c.uid).where(DATASETS.c.uid == uid, DATASETS.c.delete_time.is_(None))


def _stored(row: Row[Any] | None) -> StoredStatistics | None:
    if row is None:
        return None
    return StoredStatistics(
        content=row.content,
        method=row.method,
        revision=row.revision,
        fingerprint=row.fingerprint,
        compute_time=row.compute_time,
    )


def _values(uid: str, stored: StoredStatistics) -> dict[str, Any]:
    return {
        "dataset_uid": uid,
        "revision": stored.revision,
        "fingerprint": stored.fingerprint,
        "method": stored.method,
        "compute_time": stored.compute_time,
        "content": stored.content,
    }


def _at(metadata: Mapping[str, object], field: str) -> object:
    """The value of a field of metadata, whose key may hold dots itself; None where there is none."""
    if field in metadata:
        return metadata[field]
    for place in (index for index, character in enumerate(field) if character == "."):
        inner = metadata.get(field[:place])
        if (
            isinstance(inner, Mapping)
            and (value := _at(cast(Mapping[str, object], inner), field[place + 1 :])) is not None
        ):
            return value
    return None
