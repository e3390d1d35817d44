"""The embedder's SQL and blobs. All calls block; the servicer and the worker call them in threads."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update

from services.chassis import names
from services.chassis.blobs import Blobs
from services.chassis.database import Database, newest_first
from services.chassis.filters import Term
from services.chassis.moments import utc_now
from services.embedder.documents import Dataset, Document, Failure, NewDocument, State, document_id
from services.embedder.errors import DatasetExists, DatasetNotFound, DocumentNotFound
from services.embedder.outcomes import Outcome
from services.embedder.tables import DATASETS, DOCUMENTS, IMPORTS

_LIST_CHARACTERS = 1000
_READ_ROWS = 1000


@dataclass(frozen=True)
class VectorRows:
    """Vectors (R, d) float32 of rows (R,) uint64."""

    rows: NDArray[np.uint64]
    vectors: NDArray[np.float32]


class Store:
    """Datasets, documents and vectors."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    # Datasets

    def create_dataset(
        self, dataset_id: str, display_name: str, description: str, model: str, request_id: str
    ) -> Dataset:
        """Makes an empty dataset; the same request id gives the same one. Raises DatasetExists."""
        moment = utc_now()
        with self._database.write() as connection:
            if request_id:
                known = connection.execute(select(DATASETS).where(DATASETS.c.request_id == request_id)).first()
                if known is not None:
                    return _dataset(connection, known)
            chosen = dataset_id or names.free_id(
                names.slug(display_name, "dataset"), lambda candidate: _find(connection, candidate) is not None
            )
            if _find(connection, chosen) is not None:
                raise DatasetExists(
                    f"a dataset has the id {chosen!r}; choose another, or leave it out", metadata={"dataset": chosen}
                )
            uid = names.new_uid()
            values = {
                "uid": uid,
                "id": chosen,
                "display_name": display_name or chosen,
                "description": description,
                "embedding_model": model,
                "dimension": 0,
                "revision": 1,
                "next_row": 0,
                "create_time": moment,
                "update_time": moment,
                "request_id": request_id or None,
            }
            connection.execute(insert(DATASETS).values(values))
            return _dataset(connection, _by_uid(connection, uid))

    def dataset(self, dataset_id: str) -> Dataset:
        """A dataset with its counts. Raises DatasetNotFound."""
        with self._database.read() as connection:
            return _dataset(connection, _need(connection, dataset_id))

    def datasets(self, after: Sequence[Any] | None, limit: int, show_deleted: bool) -> list[Dataset]:
        """Datasets, the newest first, after the (create time, uid) given."""
        query = newest_first(DATASETS, after, limit)
        if not show_deleted:
            query = query.where(DATASETS.c.delete_time.is_(None))
        with self._database.read() as connection:
            return [_dataset(connection, row) for row in connection.execute(query)]

    def update_dataset(self, dataset_id: str, values: Mapping[str, str]) -> Dataset:
        """Changes columns of a dataset. Raises DatasetNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, dataset_id).uid
            changed = {**values, "update_time": utc_now()}
            connection.execute(update(DATASETS).where(DATASETS.c.uid == uid).values(changed))
            return _dataset(connection, _by_uid(connection, uid))

    def delete_dataset(self, dataset_id: str) -> Dataset:
        """Leaves a tombstone, then deletes documents and vectors. Raises DatasetNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, dataset_id).uid
            connection.execute(
                update(DATASETS)
                .where(DATASETS.c.uid == uid)
                .values(delete_time=utc_now(), update_time=utc_now(), revision=DATASETS.c.revision + 1, request_id=None)
            )
            tombstone = _dataset(connection, _by_uid(connection, uid))
        self.sweep_deleted()
        return tombstone

    def sweep_deleted(self) -> None:
        """Deletes what tombstones have left behind: documents, reports, vectors."""
        gone = select(DATASETS.c.uid).where(DATASETS.c.delete_time.is_not(None))
        with self._database.write() as connection:
            connection.execute(DOCUMENTS.delete().where(DOCUMENTS.c.dataset_uid.in_(gone)))
            connection.execute(IMPORTS.delete().where(IMPORTS.c.dataset_uid.in_(gone)))
            uids = list(connection.execute(gone).scalars())
        for uid in uids:
            self._blobs.delete(f"vectors/{uid}")

    def forget_if_deleted(self, uid: str) -> None:
        """Deletes vectors of a dataset that was deleted, which work that had begun before may have written since."""
        query = select(DATASETS.c.delete_time).where(DATASETS.c.uid == uid)
        with self._database.read() as connection:
            deleted = connection.execute(query).scalar() is not None
        if deleted:
            self._blobs.delete(f"vectors/{uid}")

    # Documents

    def known_keys(self, uid: str, keys: Sequence[str]) -> set[str]:
        """Which of these keys the dataset has."""
        with self._database.read() as connection:
            return _known_keys(connection, uid, keys)

    def add_documents(self, dataset_id: str, uid: str, documents: Sequence[NewDocument]) -> set[str]:
        """Adds documents in one transaction; returns the keys that are there already and were not added.

        Raises DatasetNotFound, also when the dataset was deleted and another has its name now.
        """
        moment = utc_now()
        with self._database.write() as connection:
            dataset = _need(connection, dataset_id, uid)
            known = _known_keys(connection, uid, [each.key for each in documents])
            fresh = [each for each in documents if each.key not in known]
            if not fresh:
                return known
            revision = dataset.revision + 1
            connection.execute(
                insert(DOCUMENTS),
                [
                    {
                        "dataset_uid": uid,
                        "row": dataset.next_row + offset,
                        "id": document_id(each.key),
                        "key": each.key,
                        "text": each.text,
                        "text_bytes": len(each.text.encode()),
                        "metadata": dict(each.metadata),
                        "state": State.PENDING,
                        "embedding_truncated": False,
                        "revision": revision,
                        "create_time": moment,
                        "update_time": moment,
                        "deleted": False,
                    }
                    for offset, each in enumerate(fresh)
                ],
            )
            _touch(connection, uid, next_row=dataset.next_row + len(fresh))
            return known

    def import_report(self, request_id: str, uid: str) -> bytes | None:
        """The report that this request id gave before."""
        query = select(IMPORTS.c.report).where(IMPORTS.c.request_id == request_id, IMPORTS.c.dataset_uid == uid)
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def keep_report(self, request_id: str, uid: str, report: bytes) -> None:
        """Keeps a report under its request id."""
        with self._database.write() as connection:
            connection.execute(insert(IMPORTS).values(request_id=request_id, dataset_uid=uid, report=report))

    def document(self, dataset_id: str, name_id: str) -> Document:
        """A document by the last segment of its name. Raises DatasetNotFound, DocumentNotFound."""
        found = self.documents_by_id(dataset_id, [name_id])
        if not found:
            raise _no_document(dataset_id, name_id)
        return found[0]

    def documents_by_id(self, dataset_id: str, ids: Sequence[str]) -> list[Document]:
        """Documents of these ids that exist, in this order. Raises DatasetNotFound."""
        found = self._select(dataset_id, DOCUMENTS.c.id.in_(ids))
        return sorted(found, key=lambda each: ids.index(each.id))

    def documents_by_row(self, dataset_id: str, rows: Sequence[int]) -> list[Document]:
        """Documents of these rows that exist, in this order. Raises DatasetNotFound."""
        found = self._select(dataset_id, DOCUMENTS.c.row.in_(rows))
        return sorted(found, key=lambda each: rows.index(each.row))

    def list_documents(
        self, dataset_id: str, terms: Sequence[Term], after_row: int, limit: int
    ) -> tuple[list[Document], int]:
        """Documents that match, in the order of rows, texts cut; and how many match in all."""
        with self._database.read() as connection:
            uid = _need(connection, dataset_id).uid
            matching = and_(DOCUMENTS.c.dataset_uid == uid, ~DOCUMENTS.c.deleted, *(_condition(each) for each in terms))
            total = connection.execute(select(func.count()).select_from(DOCUMENTS).where(matching)).scalar_one()
            query = select(DOCUMENTS).where(matching, DOCUMENTS.c.row > after_row)
            rows = connection.execute(query.order_by(DOCUMENTS.c.row).limit(limit)).all()
        return [_document(row, _LIST_CHARACTERS) for row in rows], total

    def delete_document(self, dataset_id: str, name_id: str) -> Document:
        """Leaves a tombstone: the row stays, its text goes. Raises DatasetNotFound, DocumentNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, dataset_id).uid
            here = and_(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.id == name_id, ~DOCUMENTS.c.deleted)
            row = connection.execute(select(DOCUMENTS).where(here)).first()
            if row is None:
                raise _no_document(dataset_id, name_id)
            revision = _touch(connection, uid)
            connection.execute(
                update(DOCUMENTS)
                .where(here)
                .values(deleted=True, text="", text_bytes=0, metadata={}, revision=revision, update_time=utc_now())
            )
            return _document(row)

    def changed_documents(
        self, uid: str, since: int, until: int, after_row: int, limit: int = _READ_ROWS
    ) -> list[tuple[Document, bool]]:
        """Documents changed in (since, until], in the order of rows, each with whether it was deleted."""
        query = (
            select(DOCUMENTS)
            .where(
                DOCUMENTS.c.dataset_uid == uid,
                DOCUMENTS.c.revision > since,
                DOCUMENTS.c.revision <= until,
                DOCUMENTS.c.row > after_row,
            )
            .order_by(DOCUMENTS.c.row)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(_document(row), row.deleted) for row in connection.execute(query)]

    def embedded_rows(self, dataset: Dataset) -> NDArray[np.uint64]:
        """Rows of the documents that had vectors at the dataset's revision, rising."""
        query = (
            select(DOCUMENTS.c.row)
            .where(
                DOCUMENTS.c.dataset_uid == dataset.uid,
                DOCUMENTS.c.state == State.EMBEDDED,
                ~DOCUMENTS.c.deleted,
                DOCUMENTS.c.revision <= dataset.revision,
            )
            .order_by(DOCUMENTS.c.row)
        )
        with self._database.read() as connection:
            return np.fromiter(connection.execute(query).scalars(), dtype=np.uint64)

    # Embedding

    def set_failed_pending(self, dataset_id: str) -> int:
        """Sets failed documents back to pending; returns how many. Raises DatasetNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, dataset_id).uid
            failed = and_(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.state == State.FAILED, ~DOCUMENTS.c.deleted)
            revision = _touch(connection, uid)
            changed = connection.execute(
                update(DOCUMENTS).where(failed).values(state=State.PENDING, failure=None, revision=revision)
            )
            return changed.rowcount

    def pending(self, dataset_id: str, uid: str, limit: int) -> list[tuple[int, str]]:
        """Rows and texts that wait for a vector, the lowest row first. Raises DatasetNotFound."""
        query = (
            select(DOCUMENTS.c.row, DOCUMENTS.c.text)
            .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.state == State.PENDING, ~DOCUMENTS.c.deleted)
            .order_by(DOCUMENTS.c.row)
            .limit(limit)
        )
        with self._database.read() as connection:
            _need(connection, dataset_id, uid)
            return [(row.row, row.text) for row in connection.execute(query)]

    def write_shard(self, uid: str, vectors: NDArray[np.float32]) -> str:
        """Writes vectors (R, d) float32 as an immutable blob, and returns its path."""
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        path = f"vectors/{uid}/{names.new_uid()}.npy"
        self._blobs.put(path, [buffer.getbuffer()])
        return path

    def commit_outcomes(
        self, dataset_id: str, uid: str, shard: str | None, dimension: int, outcomes: Sequence[Outcome]
    ) -> int:
        """Gives pending documents their vectors or failures in one transaction; returns the new revision.

        What is not pending any more is left as it is: the call may be repeated. Raises DatasetNotFound.
        """
        moment = utc_now()
        with self._database.write() as connection:
            _need(connection, dataset_id, uid)
            revision = _touch(connection, uid, **({"dimension": dimension} if dimension else {}))
            for each in outcomes:
                failure = each.failure
                connection.execute(
                    update(DOCUMENTS)
                    .where(
                        DOCUMENTS.c.dataset_uid == uid,
                        DOCUMENTS.c.row == each.row,
                        DOCUMENTS.c.state == State.PENDING,
                        ~DOCUMENTS.c.deleted,
                    )
                    .values(
                        state=State.EMBEDDED if failure is None else State.FAILED,
                        failure=None if failure is None else [failure.code, failure.reason, failure.message],
                        embedding_truncated=each.truncated,
                        shard=None if failure else shard,
                        position=each.position,
                        revision=revision,
                        update_time=moment,
                    )
                )
            return revision

    def vector(self, document: Document) -> NDArray[np.float32] | None:
        """A document's vector (d,) float32; None where it has none."""
        if document.shard is None or document.position is None:
            return None
        return np.array(self._shard(document.shard)[document.position])

    def vectors(self, documents: Iterable[Document], dimension: int) -> VectorRows:
        """Vectors of documents that are embedded, in their order."""
        embedded = [each for each in documents if each.state == State.EMBEDDED and each.shard is not None]
        result = np.empty((len(embedded), dimension), dtype=np.float32)
        open_shards: dict[str, NDArray[np.float32]] = {}
        for place, each in enumerate(embedded):
            assert each.shard is not None
            if each.shard not in open_shards:
                open_shards[each.shard] = self._shard(each.shard)
            result[place] = open_shards[each.shard][each.position]
        return VectorRows(np.array([each.row for each in embedded], dtype=np.uint64), result)

    def sweep_orphans(self) -> list[str]:
        """Deletes blobs of a day ago that no document names."""
        query = select(DOCUMENTS.c.shard).where(DOCUMENTS.c.shard.is_not(None)).distinct()
        with self._database.read() as connection:
            known = set(connection.execute(query).scalars())
        return self._blobs.sweep(known)

    def _shard(self, path: str) -> NDArray[np.float32]:
        return np.load(self._blobs.local(path), mmap_mode="r", allow_pickle=False)

    def _select(self, dataset_id: str, condition: ColumnElement[bool]) -> list[Document]:
        with self._database.read() as connection:
            uid = _need(connection, dataset_id).uid
            query = select(DOCUMENTS).where(DOCUMENTS.c.dataset_uid == uid, ~DOCUMENTS.c.deleted, condition)
            return [_document(row) for row in connection.execute(query)]


def _find(connection: Connection, dataset_id: str) -> Row[Any] | None:
    return connection.execute(
        select(DATASETS).where(DATASETS.c.id == dataset_id, DATASETS.c.delete_time.is_(None))
    ).first()


def _need(connection: Connection, dataset_id: str, uid: str = "") -> Row[Any]:
    found = _find(connection, dataset_id)
    if found is None or (uid and found.uid != uid):
        raise DatasetNotFound(
            f"no dataset is named datasets/{dataset_id}, or it was deleted",
            metadata={"dataset": f"datasets/{dataset_id}"},
        )
    return found


def _by_uid(connection: Connection, uid: str) -> Row[Any]:
    return connection.execute(select(DATASETS).where(DATASETS.c.uid == uid)).one()


def _known_keys(connection: Connection, uid: str, keys: Sequence[str]) -> set[str]:
    here = and_(DOCUMENTS.c.dataset_uid == uid, ~DOCUMENTS.c.deleted, DOCUMENTS.c.key.in_(keys))
    return set(connection.execute(select(DOCUMENTS.c.key).where(here)).scalars())


def _touch(connection: Connection, uid: str, **values: int) -> int:
    """Raises the dataset's revision and returns it."""
    changed = {**values, "revision": DATASETS.c.revision + 1, "update_time": utc_now()}
    connection.execute(update(DATASETS).where(DATASETS.c.uid == uid).values(changed))
    return connection.execute(select(DATASETS.c.revision).where(DATASETS.c.uid == uid)).scalar_one()


def _no_document(dataset_id: str, name_id: str) -> DocumentNotFound:
    name = f"datasets/{dataset_id}/documents/{name_id}"
    return DocumentNotFound(f"the dataset has no document {name}, or it was deleted", metadata={"document": name})


def _condition(term: Term) -> ColumnElement[bool]:
    column = DOCUMENTS.c[term.field]
    if term.op == ":":
        return column.icontains(term.value, autoescape=True)
    return column == term.value if term.op == "=" else column != term.value


def _dataset(connection: Connection, row: Row[Any]) -> Dataset:
    counted = connection.execute(
        select(DOCUMENTS.c.state, func.count(), func.sum(DOCUMENTS.c.text_bytes))
        .where(DOCUMENTS.c.dataset_uid == row.uid, ~DOCUMENTS.c.deleted)
        .group_by(DOCUMENTS.c.state)
    ).all()
    return Dataset(
        row.uid,
        row.id,
        row.display_name,
        row.description,
        row.embedding_model,
        row.dimension,
        row.revision,
        row.next_row,
        row.create_time,
        row.update_time,
        row.delete_time,
        {State(state): count for state, count, _bytes in counted},
        sum(total for _state, _count, total in counted),
    )


def _document(row: Row[Any], characters: int | None = None) -> Document:
    failure = Failure(*row.failure) if row.failure else None
    cut = characters is not None and len(row.text) > characters
    return Document(
        id=row.id,
        key=row.key,
        row=row.row,
        text=row.text[:characters] if cut else row.text,
        metadata=row.metadata,
        state=State(row.state),
        failure=failure,
        embedding_truncated=row.embedding_truncated,
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
        shard=row.shard,
        position=row.position,
        text_truncated=cut,
    )
