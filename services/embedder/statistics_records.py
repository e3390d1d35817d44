"""The SQL of statistics of datasets: what they are computed of, and where they are stored. All calls block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias, cast

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, insert, select

from services.chassis.database import Database, repeats_transactions
from services.embedder import queries
from services.embedder.documents import Dataset
from services.embedder.statistics.methods import MapMethod, map_method_of
from services.embedder.statistics.texts import StoredText, TextStatistics
from services.embedder.statistics.vectors import VectorStatistics
from services.embedder.tables import DATASETS, MAPS, STATISTICS

_ROWS = 10_000
"""The parameters of one statement at most: SQLite takes 32,766."""
_PAGE_BYTES = 16 << 20
"""Of texts that are read at once, in UTF-8; of one text where it has more."""
_PAGE_ROWS = 1000


class Excerpt(NamedTuple):
    """What stands for a document. name_id: the last segment of its name. text: its start."""

    name_id: str
    key: str
    text: str


Excerpts: TypeAlias = Mapping[int, Excerpt]
"""By row."""


@dataclass(frozen=True)
class StoredStatistics:
    """Statistics of a dataset, or a map of it, as a serialised message, and what they cover."""

    content: bytes
    method: str
    """What they were computed with, see `methods`."""
    revision: int
    fingerprint: str
    """Empty where they are of no state of the dataset, as it changed while they were computed."""
    compute_time: datetime

    def cover(self, dataset: Dataset, method: str) -> bool:
        """Whether they are of the dataset's present documents and vectors, and of the present method."""
        return self.fingerprint == dataset.fingerprint and self.method == method


@dataclass(frozen=True)
class ComputedStatistics:
    """Statistics of a dataset. text_excerpts, vector_excerpts: of the documents that they name, by row.

    vectors: None where there are none.
    """

    texts: TextStatistics
    vectors: VectorStatistics | None
    text_excerpts: Excerpts
    vector_excerpts: Excerpts


@repeats_transactions
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
        """Stores statistics in place of earlier ones; those of a deleted dataset are dropped, and older ones too."""
        with self._database.write(dataset.uid) as connection:
            earlier = [STATISTICS.c.dataset_uid == dataset.uid]
            _replace(connection, STATISTICS, earlier=earlier, uid=dataset.uid, stored=statistics)

    def find_map(self, dataset: Dataset, method: MapMethod) -> StoredStatistics | None:
        """The map of a dataset that was stored last, of any version of its method."""
        query = select(MAPS).where(MAPS.c.dataset_uid == dataset.uid, MAPS.c.method.startswith(method))
        with self._database.read() as connection:
            return _stored(connection.execute(query).first())

    def store_map(self, dataset: Dataset, stored: StoredStatistics) -> None:
        """Stores a map in place of an earlier one; that of a deleted dataset is dropped, and an older one too."""
        earlier = [MAPS.c.dataset_uid == dataset.uid, MAPS.c.method.startswith(map_method_of(stored.method))]
        with self._database.write(dataset.uid) as connection:
            _replace(connection, MAPS, earlier=earlier, uid=dataset.uid, stored=stored)

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

    def texts_after(self, dataset: Dataset, after_row: int) -> tuple[Sequence[StoredText], int | None]:
        """The texts of the next documents behind a row, as they are now, and the last row that was looked at; None at
        the end. Of documents with passages, their numbers instead of rows.

        Later documents than the dataset's are left out. A row never has another text, as one whose text changes is
        deleted; a document with passages keeps its number, and its dataset has another fingerprint then.
        """
        of_wholes = dataset.passages is not None
        with self._database.read() as connection:
            sizes = connection.execute(
                queries.text_sizes(
                    dataset.uid,
                    after_row=after_row,
                    before_row=dataset.next_row,
                    limit=_PAGE_ROWS,
                    of_wholes=of_wholes,
                )
            ).all()
            if not sizes:
                return [], None
            ends = accumulate(size.text_bytes for size in sizes)
            count = max(1, sum(end <= _PAGE_BYTES for end in ends))
            last_row = int(sizes[count - 1].row)
            query = queries.texts(dataset.uid, after_row=after_row, last_row=last_row, of_wholes=of_wholes)
            texts = [StoredText(row, text, is_truncated) for row, text, is_truncated in connection.execute(query)]
        return texts, last_row

    def excerpts(self, dataset: Dataset, rows: Sequence[int], *, of_wholes: bool) -> Excerpts:
        """Those of documents, by row, or by number with `of_wholes`. Those that do not exist any more are left out."""
        query = queries.excerpts(dataset.uid, rows, of_wholes=of_wholes)
        with self._database.read() as connection:
            return {row: Excerpt(name_id, key, text) for row, name_id, key, text in connection.execute(query)}


def _replace(
    connection: Connection, table: Table, *, earlier: Sequence[ColumnElement[bool]], uid: str, stored: StoredStatistics
) -> None:
    """Stores statistics in place of earlier ones, unless these are of a later revision, or the dataset was deleted."""
    later = select(table.c.revision).where(*earlier, table.c.revision > stored.revision)
    if connection.execute(_living(uid)).first() is None or connection.execute(later).first() is not None:
        return
    connection.execute(delete(table).where(*earlier))
    connection.execute(insert(table).values(_values(uid, stored)))


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
