"""The SQL of statistics of datasets: what they are computed of, and where they are stored. All calls block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import delete, insert, select

from services.chassis.database import Database
from services.embedder import queries
from services.embedder.documents import Dataset
from services.embedder.statistics.texts import StoredText, TextStatistics
from services.embedder.statistics.vectors import VectorStatistics
from services.embedder.tables import DATASETS, STATISTICS

Excerpts: TypeAlias = Mapping[int, tuple[str, str]]
"""The last segment of a document's name and the start of its text, by row."""


@dataclass(frozen=True)
class StoredStatistics:
    """Statistics of a dataset, as a serialised message, and what they cover."""

    content: bytes
    method: str
    """What they were computed with: where it differs, they are computed again."""
    revision: int
    fingerprint: str
    compute_time: datetime

    def cover(self, dataset: Dataset) -> bool:
        """Whether the dataset still has the same documents and vectors."""
        if dataset.fingerprint:
            return self.fingerprint == dataset.fingerprint
        return self.revision == dataset.revision  # datasets with passages have no fingerprint


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
            row = connection.execute(query).first()
        if row is None:
            return None
        return StoredStatistics(
            content=row.content,
            method=row.method,
            revision=row.revision,
            fingerprint=row.fingerprint,
            compute_time=row.compute_time,
        )

    def store(self, dataset: Dataset, statistics: StoredStatistics) -> None:
        """Stores statistics in place of earlier ones; those of a deleted dataset are dropped."""
        living = select(DATASETS.c.uid).where(DATASETS.c.uid == dataset.uid, DATASETS.c.delete_time.is_(None))
        with self._database.write(dataset.uid) as connection:
            if connection.execute(living).first() is None:
                return
            connection.execute(delete(STATISTICS).where(STATISTICS.c.dataset_uid == dataset.uid))
            values = {
                "dataset_uid": dataset.uid,
                "revision": statistics.revision,
                "fingerprint": statistics.fingerprint,
                "method": statistics.method,
                "compute_time": statistics.compute_time,
                "content": statistics.content,
            }
            connection.execute(insert(STATISTICS).values(values))

    def sweep(self) -> None:
        """Deletes statistics of deleted datasets."""
        living = select(DATASETS.c.uid).where(DATASETS.c.delete_time.is_(None))
        with self._database.write() as connection:
            connection.execute(delete(STATISTICS).where(STATISTICS.c.dataset_uid.not_in(living)))

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
