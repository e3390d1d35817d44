"""The embedder's SQL: datasets, documents and what embedding gave. All calls block; callers use threads.

Every rule about the data is enforced in the transaction that changes it, and so are the counts in a dataset's row.
Writers of one dataset take turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, func, insert, select, update

from prisma_common.names import is_given
from services.chassis import metadata_filters, metadata_schema, metadata_terms, names
from services.chassis.blobs import BlobDamaged, Blobs
from services.chassis.database import Database, DatabaseUnavailable, newest_first, once, repeats_transactions
from services.chassis.errors import InvalidArgument
from services.chassis.filters import UNFILTERED, Comparison, Filter
from services.chassis.history import Histories
from services.chassis.idempotency import Call, Requests
from services.chassis.metadata_schema import Schema, Types, types_of
from services.chassis.moments import utc_now
from services.embedder import metadata, queries, sql_rows, whole_documents
from services.embedder.arrivals import Arrivals, StoredVector
from services.embedder.documents import (
    LISTED_CHARACTERS,
    Dataset,
    Document,
    Fate,
    MatchingDocuments,
    NewDataset,
    NewDocument,
    OnDuplicate,
    State,
    Vector,
    is_passage_id,
)
from services.embedder.errors import (
    DatasetExists,
    DatasetNotFound,
    DimensionChanged,
    DocumentNotFound,
    EmbeddingModelChanged,
    EmbeddingModelFixed,
    GivenVectors,
)
from services.embedder.fingerprints import moved
from services.embedder.outcomes import Outcome
from services.embedder.tables import BLOBS, DATASETS, DOCUMENTS, HISTORIES, REQUESTS
from services.embedder.vector_store import Shard, vectors_at
from services.embedder.whole_arrivals import WholeArrivals

RecordImport: TypeAlias = Callable[[Connection, Mapping[str, Fate]], None]
"""Stores with documents, in their transaction, what became of them. Gets what `Store.add_documents` returns."""
BATCH_ROWS = 2000
"""Documents that one transaction changes or deletes at most, so that other writers get their turn."""
BATCH_WHOLES = 50
"""The same for documents with all of their passages."""
_ANSWERS = Requests(REQUESTS)
_HISTORY = Histories(
    HISTORIES, uid=DATASETS.c.uid, revision=DATASETS.c.revision, living=DATASETS.c.delete_time.is_(None)
)


@repeats_transactions
class Store:
    """Datasets and documents."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def begin_histories(self) -> None:
        """Begins a new history of every dataset; once at start."""
        with self._database.write() as connection:
            _HISTORY.renew(connection)

    # Datasets

    def create_dataset(self, new: NewDataset, call: Call | None = None) -> Dataset:
        """Creates an empty dataset; the same call returns the same one. Raises DatasetExists, RequestIdReused."""
        moment = utc_now()
        with self._database.write() as connection:
            if (answer := _ANSWERS.answer(connection, call)) is not None:
                return _dataset(connection, _by_uid(connection, answer.decode()))
            dataset_id = new.id or names.free_id(
                names.slug(new.display_name or "", "dataset"),
                lambda candidate: _find(connection, candidate) is not None,
            )
            if _find(connection, dataset_id) is not None:
                raise DatasetExists(
                    f"datasets/{dataset_id} exists; choose another id, or none to have one generated",
                    metadata={"dataset": f"datasets/{dataset_id}"},
                )
            uid = names.new_uid()
            values = {
                "uid": uid,
                "id": dataset_id,
                "display_name": new.display_name or dataset_id,
                "description": new.description,
                "embedding_model": new.embedding_model,
                "query_model": new.query_model.id if new.query_model else "",
                "query_dimension": new.query_model.dimension if new.query_model else 0,
                "dimension": 0,
                "passage_tokens": new.passages.max_tokens if new.passages else None,
                "passage_overlap": new.passages.overlap_tokens if new.passages else None,
                "revision": 1,
                "next_row": 0,
                "create_time": moment,
                "update_time": moment,
            }
            connection.execute(insert(DATASETS).values(values))
            _HISTORY.begin(connection, uid)
            _ANSWERS.store(connection, call, uid.encode(), resource_uid=uid)
            return _dataset(connection, _by_uid(connection, uid))

    def dataset(self, dataset_id: str, uid: str | None = None) -> Dataset:
        """A dataset; with `uid`, that one. Raises DatasetNotFound."""
        with self._database.read() as connection:
            return _dataset(connection, _need(connection, dataset_id, uid))

    def dataset_to_read(self, dataset_id: str, *, history: str, since_revision: int) -> Dataset:
        """A dataset, to read its changes since a revision of a history. Raises DatasetNotFound, HistoryChanged."""
        with self._database.read() as connection:
            row = _need(connection, dataset_id)
            _HISTORY.check(connection, row.uid, history=history, revision=since_revision)
            return _dataset(connection, row)

    def datasets(self, after: Sequence[Any] | None, limit: int, *, show_deleted: bool) -> list[Dataset]:
        """Datasets, the newest first, behind a (create time, uid)."""
        query = newest_first(DATASETS, after, limit)
        if not show_deleted:
            query = query.where(DATASETS.c.delete_time.is_(None))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            histories = _HISTORY.current_of(connection, [row.uid for row in rows])
            return [sql_rows.dataset(row, histories.get(row.uid, "")) for row in rows]

    def update_dataset(self, dataset_id: str, values: Mapping[str, str | int]) -> Dataset:
        """Changes columns of a dataset.

        Raises DatasetNotFound, EmbeddingModelFixed, GivenVectors, InvalidArgument for a model of queries that cannot be
        one here.
        """
        with self._database.write() as connection:
            row = _need(connection, dataset_id)
            model = values.get("embedding_model", row.embedding_model)
            if model != row.embedding_model and (row.dimension or row.whole_count):
                owned = "vectors" if row.dimension else "passages"
                raise EmbeddingModelFixed(
                    f"datasets/{dataset_id} has {owned} of {row.embedding_model}; create another dataset for {model}"
                )
            changed = {**values, "update_time": utc_now()}
            if not is_given(str(model)):
                changed = {"query_model": "", "query_dimension": 0, **changed}
            elif not is_given(row.embedding_model) and row.pending_count + row.failed_count:
                raise GivenVectors(
                    f"datasets/{dataset_id} has documents without vectors: create another dataset, and import "
                    "documents and vectors together"
                )
            _check_query_model(changed, dimension=row.dimension, has_given_vectors=is_given(str(model)))
            connection.execute(update(DATASETS).where(DATASETS.c.uid == row.uid).values(changed))
            return _dataset(connection, _by_uid(connection, row.uid))

    def delete_dataset(self, dataset_id: str) -> Dataset:
        """Leaves a tombstone; `sweep_deleted` deletes documents and vectors. Raises DatasetNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, dataset_id).uid
            deletion = {"delete_time": utc_now(), "update_time": utc_now(), "revision": DATASETS.c.revision + 1}
            connection.execute(update(DATASETS).where(DATASETS.c.uid == uid).values(deletion))
            _ANSWERS.forget(connection, uid)
            return _dataset(connection, _by_uid(connection, uid))

    def sweep_deleted(self) -> None:
        """Deletes the documents and vectors of deleted datasets, in transactions of at most BATCH_ROWS documents."""
        with self._database.read() as connection:
            deleted = select(DATASETS.c.uid, DATASETS.c.next_row).where(DATASETS.c.delete_time.is_not(None))
            tombstones = connection.execute(deleted).all()
            uids = [
                uid
                for uid, _next_row in tombstones
                if connection.execute(select(DOCUMENTS.c.row).where(DOCUMENTS.c.dataset_uid == uid).limit(1)).first()
            ]
        for uid, next_row in tombstones:
            for start in range(0, next_row if uid in uids else 0, BATCH_ROWS):
                with self._database.write(uid) as connection:
                    connection.execute(queries.delete_rows(uid, start, start + BATCH_ROWS))
                    connection.execute(queries.delete_wholes_between(uid, start, start + BATCH_ROWS))
        recorded = self._recorded_folders() if tombstones else ()
        for uid, _next_row in tombstones:
            folder = f"vectors/{uid}"
            if folder in recorded or (self._blobs.folder / folder).exists():
                self._blobs.delete(folder)

    def _recorded_folders(self) -> set[str]:
        """Folders of datasets that have recorded files."""
        folder = func.substr(BLOBS.c.path, 1, len("vectors/") + len(names.new_uid()))
        with self._database.read() as connection:
            return set(connection.execute(select(folder).distinct()).scalars())

    def sweep_answers(self) -> None:
        """Forgets request ids after 30 days."""
        with self._database.write() as connection:
            _ANSWERS.sweep(connection)

    def delete_vectors_if_deleted(self, uid: str) -> None:
        """Deletes vectors that work in progress has written after the dataset was deleted."""
        query = select(DATASETS.c.delete_time).where(DATASETS.c.uid == uid)
        with self._database.read() as connection:
            deleted = connection.execute(query).scalar() is not None
        if deleted:
            self._blobs.delete(f"vectors/{uid}")

    # Documents

    def fates(self, uid: str, documents: Sequence[NewDocument], on_duplicate: OnDuplicate) -> Mapping[str, Fate]:
        """What would become of documents whose keys the dataset has already, by key; the others would be added."""
        same_vectors = self._same_vectors(uid, documents, on_duplicate)
        with self._database.read() as connection:
            if _has_passages(_by_uid(connection, uid)):
                return WholeArrivals.of(connection, uid, documents, on_duplicate).fates
            return Arrivals.of(connection, uid, documents, on_duplicate, same_vectors=same_vectors).fates

    def add_documents(
        self,
        dataset_id: str,
        uid: str,
        documents: Sequence[NewDocument],
        record: RecordImport | None = None,
        *,
        on_duplicate: OnDuplicate = OnDuplicate.REJECT,
        shard: Shard | None = None,
        keys_are_rows: bool = False,
    ) -> Mapping[str, Fate]:
        """Adds documents in one transaction; returns what became of those whose keys the dataset had already, by key.

        A document that is replaced by one of another text, or of another given vector, has another row, and is pending
        unless its vector is given. shard: the given vectors of the documents, in their order; deleted where none is
        used. keys_are_rows: whether the documents have no keys of their own, and get their rows as keys. Raises
        DatasetNotFound, also when the dataset was deleted and another has its name now; DimensionChanged; GivenVectors
        where the documents have vectors and the dataset's are made by a model, or the other way round.
        """
        same_vectors = self._same_vectors(uid, documents, on_duplicate)
        is_in_use = False
        try:
            with self._database.write(uid) as connection:
                dataset = _need(connection, dataset_id, uid)
                if documents and (shard is not None) != is_given(dataset.embedding_model):
                    raise GivenVectors(
                        f"datasets/{dataset_id} has another embedding model since this import began: import again"
                    )
                if keys_are_rows:
                    documents = _numbered(connection, uid, documents, first_row=dataset.next_row)
                if _has_passages(dataset):
                    arrivals = WholeArrivals.of(connection, uid, documents, on_duplicate)
                else:
                    arrivals = Arrivals.of(connection, uid, documents, on_duplicate, same_vectors=same_vectors)
                if arrivals.is_change:
                    differences, schema, digests = arrivals.write(
                        connection,
                        uid=uid,
                        first_row=dataset.next_row,
                        revision=dataset.revision + 1,
                        schema=_schema(dataset),
                        model=dataset.embedding_model,
                        shard=shard,
                    )
                    is_in_use = shard is not None and arrivals.has_rows
                    if shard is not None and is_in_use:
                        differences["dimension"] = self._take_shard(connection, dataset, shard)
                    _change(connection, uid, schema=schema, digests=digests, **differences)
                if record is not None:
                    record(connection, arrivals.fates)
                return arrivals.fates
        except DatabaseUnavailable:
            is_in_use = True  # perhaps, or the transaction is repeated; otherwise the shard is an orphan
            raise
        finally:
            if shard is not None and not is_in_use:
                self._blobs.delete(shard.blob.path)

    def _same_vectors(
        self, uid: str, documents: Sequence[NewDocument], on_duplicate: OnDuplicate
    ) -> frozenset[StoredVector]:
        """The stored vectors that are those of the documents, where these are given and may replace others.

        A damaged one is none of them. No transaction may be open: reading a file records what is wrong with it.
        """
        vectors = {document.key: document.vector for document in documents if document.vector is not None}
        if not vectors or on_duplicate != OnDuplicate.REPLACE:
            return frozenset()
        with self._database.read() as connection:
            rows = connection.execute(queries.documents_by_key(uid, list(vectors))).all()
        return frozenset((row.key, row.shard, row.position) for row in rows if self._has_vector(row, vectors[row.key]))

    def _has_vector(self, row: Row[Any], vector: Vector) -> bool:
        if row.shard is None:
            return False
        try:
            return np.array_equal(vectors_at(self._blobs, row.shard, [row.position])[0], vector)
        except BlobDamaged:
            return False

    def _take_shard(self, connection: Connection, dataset: Row[Any], shard: Shard) -> int:
        """Records a shard of given vectors; returns what it adds to the dimension. Raises DimensionChanged."""
        if dataset.dimension not in (0, shard.dimension) or dataset.query_dimension not in (0, shard.dimension):
            raise DimensionChanged(
                f"datasets/{dataset.id} got vectors of {dataset.dimension or dataset.query_dimension:,} numbers "
                f"meanwhile, these have {shard.dimension:,}: what was imported stays"
            )
        self._blobs.record(connection, [shard.blob])
        is_half = shard.is_half and (dataset.is_half or not dataset.dimension)
        connection.execute(update(DATASETS).where(DATASETS.c.uid == dataset.uid).values(is_half=is_half))
        return 0 if dataset.dimension else shard.dimension

    def choose_types(self, dataset_id: str, uid: str, types: Types) -> None:
        """Has filters compare fields of metadata as values of these types. Raises DatasetNotFound."""
        with self._database.write(uid) as connection:
            schema = metadata_schema.from_json(_need(connection, dataset_id, uid).metadata_fields)
            _change(connection, uid, schema=metadata_schema.overridden(schema, types))

    def import_answer(self, call: Call | None) -> bytes | None:
        """The report that an import under this request id gave before. Raises RequestIdReused."""
        if call is None:
            return None
        with self._database.write() as connection:
            return _ANSWERS.answer(connection, call)

    def store_import_answer(self, call: Call | None, uid: str, report: bytes) -> None:
        """Stores the report of an import under its request id, unless the same import has stored one meanwhile."""
        if call is None:
            return
        with self._database.write() as connection:
            if _ANSWERS.answer(connection, call) is None:
                _ANSWERS.store(connection, call, report, resource_uid=uid)

    def document(self, dataset_id: str, name_id: str, *, with_passages: bool = False) -> Document:
        """A document by the last segment of its name. Raises DatasetNotFound, DocumentNotFound."""
        documents = self.documents_by_id(dataset_id, [name_id], with_passages=with_passages)
        if not documents:
            raise _document_not_found(dataset_id, name_id)
        return documents[0]

    def documents_by_id(self, dataset_id: str, ids: Sequence[str], *, with_passages: bool = False) -> list[Document]:
        """The documents of these ids that exist, in this order. Raises DatasetNotFound.

        with_passages: whether documents with passages say which.
        """
        with self._database.read() as connection:
            dataset = _need(connection, dataset_id)
            rows = connection.execute(queries.documents_by_id(dataset.uid, ids)).all()
            documents = _documents(connection, dataset.uid, rows)
            if _has_passages(dataset):
                documents += whole_documents.find(connection, dataset.uid, ids, with_passages=with_passages)
        places = {name_id: place for place, name_id in enumerate(ids)}
        return sorted(documents, key=lambda document: places[document.id])

    def documents_by_row(self, dataset_id: str, rows: Sequence[int]) -> list[Document]:
        """The documents of these rows that exist, in this order. Raises DatasetNotFound."""
        with self._database.read() as connection:
            uid = _need(connection, dataset_id).uid
            documents = _documents(connection, uid, connection.execute(queries.documents_by_row(uid, rows)).all())
        places = {row: place for place, row in enumerate(rows)}
        return sorted(documents, key=lambda document: places[document.row])

    def list_documents(
        self, dataset_id: str, condition: Filter, *, after_row: int, limit: int, total: int | None = None
    ) -> MatchingDocuments:
        """Documents that match a filter, by row, texts cut short.

        total: what an earlier page has counted; None to count. Raises DatasetNotFound.
        """
        with self._database.read() as connection:
            dataset = _need(connection, dataset_id)
            types = types_of(_schema(dataset))
            if total is None:
                total = _counted_total(connection, dataset, condition, types)
            of_wholes = _has_passages(dataset)
            page = queries.matching_page(
                dataset.uid, condition, types, after_row=after_row, limit=limit, of_wholes=of_wholes
            )
            rows = connection.execute(page).all()
            if of_wholes:
                documents = whole_documents.documents(connection, dataset.uid, rows, LISTED_CHARACTERS)
            else:
                documents = [sql_rows.document(row, LISTED_CHARACTERS) for row in rows]
        return MatchingDocuments(documents, total, metadata_filters.notices(condition, [types]))

    def delete_document(self, dataset_id: str, name_id: str) -> tuple[Document, Dataset]:
        """Leaves a tombstone: the row stays, its text goes. Returns the document as it was, and the dataset after it.

        A document with passages goes with all of them. Raises DatasetNotFound, DocumentNotFound.
        """
        with self._database.write() as connection:
            dataset = _need(connection, dataset_id)
            uid = dataset.uid
            if _has_passages(dataset):
                document = _remove_whole(connection, dataset, name_id)
                return document, _dataset(connection, _by_uid(connection, uid))
            row = connection.execute(queries.documents_by_id(uid, [name_id])).first()
            if row is None:
                raise _document_not_found(dataset_id, name_id)
            counter = sql_rows.COUNTERS[State(row.state)]
            described = metadata_terms.described(metadata.readable(row.metadata))
            schema = metadata_schema.changed(_schema(dataset), [described], by=-1)
            digest = sql_rows.stored_digest(row, dataset.embedding_model)
            counts = {counter: -1, "text_bytes": -row.text_bytes}
            revision = _change(connection, uid, schema=schema, digests=-digest, **counts)
            connection.execute(queries.make_tombstones(uid, [row.row], revision))
            return sql_rows.document(row), _dataset(connection, _by_uid(connection, uid))

    def matching_rows(
        self,
        dataset: Dataset,
        condition: Filter,
        *,
        after_row: int,
        created_until: datetime = datetime.max,
        limit: int = BATCH_ROWS,
    ) -> list[int]:
        """Rows of the documents behind a row that match a filter, ascending, of those that `dataset` had.

        Of documents with passages, their numbers. created_until: UTC; later documents are left out. Raises
        DatasetNotFound.
        """
        with self._database.read() as connection:
            _need(connection, dataset.id, dataset.uid)
            of_wholes = dataset.passages is not None
            query = queries.matching_rows(
                dataset.uid,
                condition,
                types_of(dataset.schema),
                after_row=after_row,
                before_row=dataset.next_row,
                created_until=created_until,
                limit=min(limit, BATCH_WHOLES) if of_wholes else limit,
                of_wholes=of_wholes,
            )
            return list(connection.execute(query).scalars())

    def matching_count(self, dataset: Dataset, condition: Filter, created_until: datetime) -> int:
        """How many documents `matching_rows` gives in all. Raises DatasetNotFound."""
        with self._database.read() as connection:
            _need(connection, dataset.id, dataset.uid)
            query = queries.matching_count(
                dataset.uid,
                condition,
                types_of(dataset.schema),
                before_row=dataset.next_row,
                created_until=created_until,
                of_wholes=dataset.passages is not None,
            )
            return int(connection.execute(query).scalar_one())

    def delete_matching(self, dataset: Dataset, condition: Filter, rows: Sequence[int]) -> int:
        """Deletes those of some documents that still match a filter, in one transaction; returns how many.

        The filter means what it meant when `dataset` was read, also where fields have other types by now. Raises
        DatasetNotFound.
        """
        with self._database.write(dataset.uid) as connection:
            current = _need(connection, dataset.id, dataset.uid)
            schema = _schema(current)
            of_wholes = _has_passages(current)
            types = types_of(dataset.schema)
            query = queries.still_matching(dataset.uid, condition, types, rows=rows, of_wholes=of_wholes)
            deleted = connection.execute(query).all()
            if deleted and of_wholes:
                _remove_wholes(connection, current, deleted)
            elif deleted:
                connection.execute(
                    queries.make_tombstones(dataset.uid, [row.row for row in deleted], current.revision + 1)
                )
                described = [metadata_terms.described(metadata.readable(row.metadata)) for row in deleted]
                differences = Counter(sql_rows.COUNTERS[State(row.state)] for row in deleted)
                differences["text_bytes"] = sum(row.text_bytes for row in deleted)
                _change(
                    connection,
                    dataset.uid,
                    schema=metadata_schema.changed(schema, described, by=-1),
                    digests=-sum(sql_rows.stored_digest(row, current.embedding_model) for row in deleted),
                    **{name: -count for name, count in differences.items()},
                )
            return len(deleted)

    def states_of_keys_of(self, dataset: Dataset, rows: Sequence[int]) -> list[State]:
        """States of the documents that have the keys of these rows' documents, which may be deleted."""
        with self._database.read() as connection:
            states = connection.execute(queries.states_of_keys_of(dataset.uid, rows)).scalars()
            return [State(state) for state in states]

    def passage_states(self, dataset: Dataset, after_row: int, limit: int) -> list[tuple[int, int, State]]:
        """Row, document's number and state of passages behind a row."""
        with self._database.read() as connection:
            passages = connection.execute(queries.passages_after(dataset.uid, after_row, limit)).all()
            return [(row, number, State(state)) for row, number, state in passages]

    def numbers_of_rows(self, dataset: Dataset, rows: Sequence[int]) -> list[int]:
        """The numbers of these passages' documents, each once; passages and documents may be deleted."""
        with self._database.read() as connection:
            return list(connection.execute(queries.wholes_of_rows(dataset.uid, rows)).scalars())

    def changed_rows(self, dataset: Dataset, since_revision: int) -> NDArray[np.uint64]:
        """Rows of documents and tombstones changed since a revision, up to the dataset's, ascending, (R,) uint64."""
        query = queries.changed_rows(dataset.uid, since_revision, dataset.revision)
        with self._database.read() as connection:
            rows = np.fromiter(connection.execute(query).scalars(), dtype=np.uint64)
        rows.sort()
        return rows

    def documents_after(
        self, dataset: Dataset, after_row: int, limit: int, *, with_metadata: bool = False
    ) -> list[tuple[Document, bool]]:
        """Documents behind a row up to the dataset's revision, each with whether it is a tombstone.

        with_metadata: passages with all metadata of their documents too.
        """
        query = queries.page(list(DOCUMENTS.c), dataset.uid, until=dataset.revision, after_row=after_row, limit=limit)
        return self._documents_and_tombstones(dataset, query, with_metadata=with_metadata)

    def documents_of(
        self, dataset: Dataset, rows: Sequence[int], *, with_metadata: bool = False
    ) -> list[tuple[Document, bool]]:
        """As `documents_after`, for given rows."""
        query = queries.page_of_rows(list(DOCUMENTS.c), dataset.uid, until=dataset.revision, rows=rows)
        return self._documents_and_tombstones(dataset, query, with_metadata=with_metadata)

    def wholes_after(self, dataset: Dataset, after_number: int, limit: int) -> list[Document]:
        """Documents with passages behind a number, as they are now."""
        with self._database.read() as connection:
            rows = connection.execute(queries.wholes_after(dataset.uid, after_number, limit)).all()
            return whole_documents.documents(connection, dataset.uid, rows)

    def _documents_and_tombstones(
        self, dataset: Dataset, query: queries.Statement, *, with_metadata: bool
    ) -> list[tuple[Document, bool]]:
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            documents = _documents(connection, dataset.uid, rows, with_metadata=with_metadata)
        return [(document, row.deleted) for document, row in zip(documents, rows, strict=True)]

    # Embedding

    def pending(
        self, dataset_id: str, uid: str, limit: int, *, start: int = 0, stop: int | None = None
    ) -> list[tuple[int, str]]:
        """Rows in [start, stop) and texts of pending documents, the lowest rows first. Raises DatasetNotFound."""
        with self._database.read() as connection:
            _need(connection, dataset_id, uid)
            pending = connection.execute(queries.pending(uid, limit, start=start, stop=stop))
            return [(row.row, row.text) for row in pending]

    def pending_count(self, uid: str, start: int, stop: int) -> int:
        """How many pending documents have rows in [start, stop)."""
        with self._database.read() as connection:
            return int(connection.execute(queries.pending_count(uid, start, stop)).scalar_one())

    def pending_counts(self, uid: str, width: int) -> list[tuple[int, int]]:
        """Numbers of ranges of rows, each as wide, that have pending documents, and how many they have, ascending."""
        with self._database.read() as connection:
            counts = connection.execute(queries.pending_counts(uid, width))
            return sorted((number, count) for number, count in counts)

    @once
    def make_failed_pending(self, dataset_id: str) -> int:
        """Makes failed documents pending, in transactions of bounded size; returns how many. Raises DatasetNotFound."""
        uid = self.dataset(dataset_id).uid
        count = 0
        while batch_count := self._make_batch_of_failed_pending(dataset_id, uid):
            count += batch_count
        return count

    def _make_batch_of_failed_pending(self, dataset_id: str, uid: str) -> int:
        with self._database.write(uid) as connection:
            has_passages = _has_passages(_need(connection, dataset_id, uid))
            rows = list(connection.execute(queries.rows_in_state(uid, State.FAILED, BATCH_ROWS)).scalars())
            if rows:
                revision = _change(connection, uid, failed_count=-len(rows), pending_count=len(rows))
                connection.execute(queries.make_pending(uid, rows, revision))
                if has_passages:
                    whole_documents.follow_rows(connection, uid, rows, revision)
            return len(rows)

    @once
    def make_lost_pending(self, dataset: Dataset, shards: Sequence[str]) -> int:
        """Makes documents pending whose vectors are in these shards; returns how many. Raises DatasetNotFound."""
        rows = self._rows_of_shards(dataset.uid, shards)
        batches = [rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS)]
        return sum(self._make_batch_of_lost_pending(dataset, shards, batch) for batch in batches)

    def _rows_of_shards(self, uid: str, shards: Sequence[str]) -> list[int]:
        with self._database.read() as connection:
            return list(connection.execute(queries.rows_of_shards(uid, shards)).scalars())

    def _make_batch_of_lost_pending(self, dataset: Dataset, shards: Sequence[str], rows: Sequence[int]) -> int:
        with self._database.write(dataset.uid) as connection:
            model = _need(connection, dataset.id, dataset.uid).embedding_model
            lost = list(connection.execute(queries.rows_of_shards(dataset.uid, shards, rows)).scalars())
            if not lost:
                return 0
            documents = connection.execute(queries.documents_by_row(dataset.uid, lost)).all()
            if dataset.passages is not None:
                digests = -whole_documents.digests_of_passages(connection, dataset.uid, documents, model)
            else:
                digests = sum(sql_rows.digest_of_losing_its_vector(document, model) for document in documents)
            revision = _change(
                connection, dataset.uid, digests=digests, embedded_count=-len(lost), pending_count=len(lost)
            )
            connection.execute(queries.make_pending(dataset.uid, lost, revision))
            if dataset.passages is not None:
                whole_documents.follow_rows(connection, dataset.uid, lost, revision)
            return len(lost)

    def commit_outcomes(self, dataset: Dataset, outcomes: Sequence[Outcome], shard: Shard | None) -> int:
        """Gives pending documents their vectors or failures in one transaction; returns the new revision.

        dataset: as read before embedding. shard: of the vectors. Documents that are not pending any more stay as they
        are: the call may be repeated. Raises DatasetNotFound, EmbeddingModelChanged.
        """
        with self._database.write(dataset.uid) as connection:
            row = _need(connection, dataset.id, dataset.uid)
            if row.embedding_model != dataset.embedding_model or (shard and row.dimension not in (0, shard.dimension)):
                raise EmbeddingModelChanged(f"{dataset.name} has another embedding model now, {row.embedding_model}")
            rows = [outcome.row for outcome in outcomes]
            pending = {row.row: row for row in connection.execute(queries.still_pending(dataset.uid, rows))}
            applied = [outcome for outcome in outcomes if outcome.row in pending]
            if not applied:
                return row.revision
            embedded = [pending[outcome.row] for outcome in applied if outcome.failure is None]
            failed = len(applied) - len(embedded)
            if dataset.passages is not None:
                digests = whole_documents.digests_of_passages(connection, dataset.uid, embedded, row.embedding_model)
            else:
                digests = sum(sql_rows.digest_of_embedding(document, row.embedding_model) for document in embedded)
            revision = _change(
                connection,
                dataset.uid,
                digests=digests,
                pending_count=-len(applied),
                embedded_count=len(applied) - failed,
                failed_count=failed,
                dimension=0 if row.dimension or shard is None else shard.dimension,
            )
            if shard is not None:
                self._blobs.record(connection, [shard.blob])
            parameters = [sql_rows.outcome_values(outcome, shard, revision) for outcome in applied]
            connection.execute(queries.store_outcomes(dataset.uid), parameters)
            if dataset.passages is not None:
                whole_documents.follow_rows(connection, dataset.uid, rows, revision)
            return revision


def _find(connection: Connection, dataset_id: str) -> Row[Any] | None:
    return connection.execute(queries.living_dataset(dataset_id)).first()


def _need(connection: Connection, dataset_id: str, uid: str | None = None) -> Row[Any]:
    """The dataset that has this id, and with `uid` is that one. Raises DatasetNotFound."""
    row = _find(connection, dataset_id)
    if row is None or (uid is not None and row.uid != uid):
        raise DatasetNotFound(
            f"there is no dataset datasets/{dataset_id}, or it was deleted",
            metadata={"dataset": f"datasets/{dataset_id}"},
        )
    return row


def _check_query_model(values: Mapping[str, Any], *, dimension: int, has_given_vectors: bool) -> None:
    """Raises InvalidArgument for a model of queries where vectors are not given, or of vectors of another length."""
    model = values.get("query_model")
    if not model:
        return
    if not has_given_vectors:
        raise InvalidArgument.field(
            "dataset.query_model", "expected none: only given vectors have one, others are made by the embedding model"
        )
    if values["query_dimension"] != dimension and dimension:
        raise InvalidArgument.field(
            "dataset.query_model",
            f"expected a model of vectors of {dimension:,} numbers, as the given ones; {model} makes "
            f"{values['query_dimension']:,}",
        )


def _by_uid(connection: Connection, uid: str) -> Row[Any]:
    return connection.execute(select(DATASETS).where(DATASETS.c.uid == uid)).one()


def _change(
    connection: Connection, uid: str, *, schema: Schema | None = None, digests: int = 0, **differences: int
) -> int:
    """Adds differences to numbers of a dataset and 1 to its revision, which is returned.

    schema: of the documents' metadata; None where it stays. digests: added to the sum of the documents' digests. The
    writers of a dataset take turns.
    """
    current = connection.execute(select(DATASETS.c.revision, DATASETS.c.fingerprint).where(DATASETS.c.uid == uid)).one()
    columns: dict[str, Any] = {
        name: DATASETS.c[name] + difference for name, difference in differences.items() if difference
    }
    columns |= {"revision": current.revision + 1, "fingerprint": moved(current.fingerprint, digests)}
    if schema is not None:
        columns["metadata_fields"] = metadata_schema.to_json(schema)
    connection.execute(update(DATASETS).where(DATASETS.c.uid == uid).values(**columns, update_time=utc_now()))
    return current.revision + 1


def _schema(dataset: Row[Any]) -> Schema:
    """Of the metadata of a dataset's documents."""
    return metadata_schema.from_json(dataset.metadata_fields)


def _document_not_found(dataset_id: str, name_id: str) -> DocumentNotFound:
    name = f"datasets/{dataset_id}/documents/{name_id}"
    return DocumentNotFound(f"there is no document {name}, or it was deleted", metadata={"document": name})


def _counted_total(connection: Connection, dataset: Row[Any], condition: Filter, types: Types) -> int:
    """How many documents match: by the dataset's counters where they tell, else counted."""
    counts = sql_rows.counts(dataset)
    of_wholes = _has_passages(dataset)
    if condition == UNFILTERED:
        return dataset.whole_count if of_wholes else counts.rows
    if isinstance(condition, Comparison) and condition.field == "state" and not of_wholes:
        count = counts.of(State(condition.value))
        return count if condition.op == "=" else counts.rows - count
    count = queries.matching_count(dataset.uid, condition, types, of_wholes=of_wholes)
    return int(connection.execute(count).scalar_one())


def _numbered(
    connection: Connection, uid: str, documents: Sequence[NewDocument], *, first_row: int
) -> list[NewDocument]:
    """The documents with their rows as keys; a document of the dataset may have such a key: then with `-2` behind."""
    keys = [str(first_row + place) for place in range(len(documents))]
    copy = 2
    while used_keys := {row.key for row in connection.execute(queries.known_keys(uid, keys))}:
        keys = [f"{first_row + place}-{copy}" if key in used_keys else key for place, key in enumerate(keys)]
        copy += 1
    return [replace(document, key=key) for document, key in zip(documents, keys, strict=True)]


def _has_passages(dataset: Row[Any]) -> bool:
    return dataset.passage_tokens is not None


def _documents(
    connection: Connection, uid: str, rows: Sequence[Row[Any]], *, with_metadata: bool = False
) -> list[Document]:
    """The documents, or passages, of rows. with_metadata: passages with all metadata of their documents too."""
    wholes = whole_documents.of_passages(connection, uid, rows)
    shortened = whole_documents.shortened_metadata(connection, uid, list(wholes)) if with_metadata and wholes else {}
    return [
        sql_rows.document(row, whole=wholes.get(row.whole_number), whole_metadata=shortened.get(row.whole_number))
        for row in rows
    ]


def _remove_whole(connection: Connection, dataset: Row[Any], name_id: str) -> Document:
    """Deletes a document with its passages; returns it as it was. Raises DocumentNotFound, InvalidArgument."""
    if is_passage_id(name_id):
        raise InvalidArgument.field("name", "a passage is deleted with its document: name the document")
    wholes = connection.execute(queries.wholes_by_id(dataset.uid, [name_id])).all()
    if not wholes:
        raise _document_not_found(dataset.id, name_id)
    _remove_wholes(connection, dataset, wholes)
    return sql_rows.whole_document(wholes[0])


def _remove_wholes(connection: Connection, dataset: Row[Any], wholes: Sequence[Row[Any]]) -> None:
    """Deletes documents with their passages."""
    model, revision = dataset.embedding_model, dataset.revision + 1
    removed, digests = whole_documents.remove(connection, dataset.uid, wholes, model=model, revision=revision)
    described = [metadata_terms.described(metadata.readable(whole.metadata)) for whole in wholes]
    schema = metadata_schema.changed(_schema(dataset), described, by=-1)
    differences = {name: -count for name, count in removed.items()}
    _change(connection, dataset.uid, schema=schema, digests=-digests, **differences)


def _dataset(connection: Connection, row: Row[Any]) -> Dataset:
    return sql_rows.dataset(row, _HISTORY.current(connection, row.uid))
