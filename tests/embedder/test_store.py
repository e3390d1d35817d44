"""The embedder's data: rules, counts and plans, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, Mock, patch

import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct
from numpy.typing import NDArray
from sqlalchemy import event, func, select, text

from prisma.common.v1.job_pb2 import Job, JobRecord
from prisma.embedder.v1.embedder_service_pb2 import DeleteDocumentsRequest, EmbedDatasetRequest
from services.chassis.blobs import Blob, BlobDamaged, Blobs, Records
from services.chassis.database import Database, DatabaseUnavailable
from services.chassis.errors import Unavailable
from services.chassis.events import Events
from services.chassis.filters import UNFILTERED, AllOf, AnyOf, Comparison, Negation
from services.chassis.history import HistoryChanged
from services.chassis.idempotency import Call, RequestIdReused
from services.chassis.job_context import JobContext
from services.chassis.job_partitions import MAX_PARTITIONS, Partitions
from services.chassis.moments import stamp, utc_now
from services.chassis.startup import StartRefused
from services.embedder import messages, queries
from services.embedder import store as store_module
from services.embedder.deleting import DeletionJob
from services.embedder.division import Tally, division
from services.embedder.documents import (
    Counts,
    Dataset,
    Failure,
    Fate,
    NewDataset,
    NewDocument,
    OnDuplicate,
    State,
    document_id,
)
from services.embedder.errors import (
    DatasetExists,
    DatasetNotFound,
    DocumentNotFound,
    EmbeddingModelChanged,
    EmbeddingModelFixed,
    NothingEmbedded,
)
from services.embedder.fingerprints import EMPTY, document_digest, moved
from services.embedder.outcomes import Outcome
from services.embedder.providers import EmbeddingModels
from services.embedder.providers.builtin import BuiltinProvider
from services.embedder.store import BATCH_ROWS, Store
from services.embedder.streams import Selection, Streams
from services.embedder.tables import BLOBS, DOCUMENTS, LIVING
from services.embedder.vector_store import Shard, VectorStore
from services.embedder.worker import EmbedderJobs

MIGRATIONS = Path(__file__).parents[2] / "services/embedder/migrations"
SCHEMAS = Path(__file__).parents[1] / "chassis/schemas"
"""The tables of the first version."""
MODEL = "builtin/wordllama-256"
SQLITE_PARAMETERS = 32_766
"""Of one statement, as SQLite is built by default."""
EVERYTHING = Selection(history="", since_revision=0, ranges=(), start_row=0)


@dataclass(frozen=True)
class Data:
    """An embedder's data."""

    database: Database
    blobs: Blobs
    store: Store
    vectors: VectorStore

    def create(self, dataset_id: str = "d", model: str = MODEL, call: Call | None = None) -> Dataset:
        new = NewDataset(id=dataset_id, display_name=None, description="", embedding_model=model)
        return self.store.create_dataset(new, call)

    def add(self, dataset: Dataset, count: int, start: int = 0) -> None:
        for first in range(start, start + count, 1000):
            last = min(first + 1000, start + count)
            documents = [NewDocument(f"key {n}", f"text {n}", {"n": n}) for n in range(first, last)]
            assert self.store.add_documents(dataset.id, dataset.uid, documents) == {}

    def embed(self, dataset: Dataset, rows: Sequence[int], *, failed: frozenset[int] = frozenset()) -> Blob:
        """Vectors (row, 1) for rows, failures for some."""
        living = [row for row in rows if row not in failed]
        shard = self.vectors.write_shard(dataset.uid, np.array([[row, 1] for row in living], dtype=np.float32))
        failure = Failure(code=3, reason="INVALID_VECTOR", message="refused")
        outcomes = [Outcome(row=row, position=None, truncated=False, failure=failure) for row in failed]
        outcomes += [
            Outcome(row=row, position=position, truncated=False, failure=None) for position, row in enumerate(living)
        ]
        self.store.commit_outcomes(dataset, outcomes, shard=shard)
        return shard.blob

    def counted(self, uid: str) -> Counts:
        """The counts as the documents have them."""
        query = select(DOCUMENTS.c.state, func.count(), func.sum(DOCUMENTS.c.text_bytes))
        query = query.where(DOCUMENTS.c.dataset_uid == uid, LIVING).group_by(DOCUMENTS.c.state)
        with self.database.read() as connection:
            rows = {State(state): (count, int(size)) for state, count, size in connection.execute(query)}
        count = {state: rows.get(state, (0, 0))[0] for state in State}
        return Counts(
            pending=count[State.PENDING],
            embedded=count[State.EMBEDDED],
            failed=count[State.FAILED],
            text_bytes=sum(size for _count, size in rows.values()),
        )


def open_data(url: str, folder: Path) -> Data:
    database = Database(url, MIGRATIONS)
    database.migrate()
    blobs = Blobs(folder / "blobs", records=Records(database, BLOBS))
    return Data(database, blobs, Store(database, blobs), VectorStore(database, blobs))


@pytest.fixture
def data(database_url: str, tmp_path: Path) -> Iterator[Data]:
    opened = open_data(database_url, tmp_path)
    yield opened
    opened.database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Data]:
    opened = open_data(f"sqlite:///{tmp_path / 'd.db'}", tmp_path)
    yield opened
    opened.database.close()


def test_a_datasets_counts_are_those_of_its_documents_after_every_change(data: Data) -> None:
    dataset = data.create()
    other = data.create("other")
    data.add(other, 7)

    def check(pending: int, embedded: int, failed: int) -> Dataset:
        current = data.store.dataset("d")
        assert current.counts == data.counted(dataset.uid)
        assert (current.counts.pending, current.counts.embedded, current.counts.failed) == (pending, embedded, failed)
        return current

    data.add(dataset, 30)
    check(30, 0, 0)
    data.store.add_documents("d", dataset.uid, [NewDocument("key 1", "changed", {}), NewDocument("new", "é", {})])
    dataset = check(31, 0, 0)
    shard = data.embed(dataset, range(20), failed=frozenset({3, 4, 5}))
    check(11, 17, 3)
    data.embed(dataset, range(10))  # repeated: none of them is pending
    check(11, 17, 3)
    for name in ("key 0", "key 3", "key 30"):
        with pytest.raises(DocumentNotFound):
            data.store.delete_document("d", name)
    by_row = {document.row: document.id for document in data.store.documents_by_row("d", [0, 3, 30])}
    for row in (0, 3, 30):
        data.store.delete_document("d", by_row[row])
    check(10, 16, 2)
    assert data.store.make_failed_pending("d") == 2
    check(12, 16, 0)
    assert data.store.make_lost_pending(dataset, [shard.path]) == 16
    check(28, 0, 0)
    assert data.store.dataset("other").counts == Counts(pending=7, text_bytes=7 * len("text 0"))


@pytest.mark.parametrize("on_duplicate", OnDuplicate)
def test_documents_that_exist_are_rejected_skipped_or_replaced(data: Data, on_duplicate: OnDuplicate) -> None:
    dataset = data.create()
    data.add(dataset, 5)
    data.embed(dataset, range(4), failed=frozenset({3}))
    before = {document.key: document for document in data.store.documents_by_row("d", range(5))}
    revision = data.store.dataset("d").revision
    documents = [
        NewDocument("key 0", "text 0", {"n": 0}),  # the same
        NewDocument("key 1", "text 1", {"n": 1.0}),  # 1 is not 1.0
        NewDocument("key 2", "another text", {"n": 2}),
        NewDocument("key 3", "the failed one", {}),
        NewDocument("key 4", "the pending one", {}),
        NewDocument("key 5", "new", {}),
    ]
    foreseen = data.store.fates(dataset.uid, documents, on_duplicate)
    fates = data.store.add_documents("d", dataset.uid, documents, on_duplicate=on_duplicate)
    assert fates == foreseen
    current = data.store.dataset("d")
    assert current.counts == data.counted(dataset.uid)
    assert current.revision == revision + 1
    after = {document.key: document for document in data.store.documents_by_row("d", range(20))}
    assert len(after) == 6
    if on_duplicate != OnDuplicate.REPLACE:
        fate = Fate.SKIPPED if on_duplicate == OnDuplicate.SKIP else Fate.REJECTED
        assert fates == {f"key {n}": fate for n in range(5)}
        assert {key: document for key, document in after.items() if key != "key 5"} == before
        assert current.counts == replace(dataset.counts, pending=2, embedded=3, failed=1, text_bytes=5 * 6 + 3)
        return
    assert fates == {"key 0": Fate.SKIPPED, **{f"key {n}": Fate.UPDATED for n in range(1, 5)}}
    assert after["key 0"] == before["key 0"]
    changed = after["key 1"]
    assert (changed.row, changed.state, changed.shard, changed.revision) == (
        1,
        State.EMBEDDED,
        before["key 1"].shard,
        4,
    )
    assert json.dumps(changed.metadata) == '{"n": 1.0}'
    for new in documents[2:5]:
        document, old = after[new.key], before[new.key]
        assert (document.id, document.text, document.create_time) == (old.id, new.text, old.create_time)
        assert (document.state, document.failure, document.shard) == (State.PENDING, None, None)
        assert document.row >= dataset.next_row + 5
    again = data.store.add_documents("d", dataset.uid, documents, on_duplicate=on_duplicate)
    assert again == dict.fromkeys(after, Fate.SKIPPED)
    assert data.store.dataset("d").revision == current.revision


async def test_followers_see_a_replaced_document_as_deleted_and_new(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 3)
    data.embed(dataset, range(3))
    position = data.store.dataset("d")
    new = [NewDocument("key 1", "another text", {}), NewDocument("key 2", "text 2", {"n": "other"})]
    data.store.add_documents("d", dataset.uid, new, on_duplicate=OnDuplicate.REPLACE)
    streams = Streams(data.store, data.vectors)
    since = replace(EVERYTHING, history=position.history, since_revision=position.revision)
    current = await streams.begin("d", since)
    [page] = [page async for page in streams.vectors(current, since)]
    assert (page.rows.tolist(), list(page.deleted_rows)) == ([2], [1])
    [documents] = [page async for page in streams.documents(current, since)]
    assert [(document.row, document.key, deleted) for document, deleted in documents] == [
        (1, "key 1", True),
        (2, "key 2", False),
        (3, "key 1", False),
    ]
    data.embed(dataset, range(3, 4))
    [page] = [page async for page in streams.vectors(await streams.begin("d", since), since)]
    assert (page.rows.tolist(), list(page.deleted_rows)) == ([2, 3], [1])


def test_a_text_that_is_replaced_while_it_is_embedded_does_not_get_the_vector_of_the_old_one(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 2)
    read = data.store.pending("d", dataset.uid, 10)
    new = [NewDocument("key 1", "another text", {})]
    data.store.add_documents("d", dataset.uid, new, on_duplicate=OnDuplicate.REPLACE)
    data.embed(dataset, range(len(read)))
    assert data.store.dataset("d").counts == data.counted(dataset.uid)
    assert [text for _row, text in data.store.pending("d", dataset.uid, 10)] == ["another text"]


def test_lists_and_totals_are_those_of_a_full_count(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 30)
    data.embed(dataset, range(10))
    for condition, expected in [
        (UNFILTERED, 30),
        (Comparison("state", "=", "EMBEDDED"), 10),
        (Comparison("state", "!=", "EMBEDDED"), 20),
        (Negation(Comparison("state", "=", "EMBEDDED")), 20),
        (AllOf((Comparison("state", "=", "PENDING"), Comparison("text", ":", "TEXT 1"))), 10),
        (AnyOf((Comparison("state", "=", "EMBEDDED"), Comparison("key", "=", "key 20"))), 11),
        (Comparison("key", "=", "key 7"), 1),
        (Comparison("key", ":", "%"), 0),
    ]:
        documents, total, _notices = data.store.list_documents("d", condition, after_row=-1, limit=100)
        assert (len(documents), total) == (expected, expected), condition
    documents, total, _notices = data.store.list_documents("d", UNFILTERED, after_row=24, limit=3, total=99)
    assert ([document.row for document in documents], total) == ([25, 26, 27], 99)


def test_texts_keys_and_metadata_of_any_characters_come_back_unchanged(data: Data) -> None:
    dataset = data.create()
    strange = "a\x00b\x1a0\x1a\x1a1 \u2028 \U0001f44d é"
    new = NewDocument(strange, strange, {strange: [strange, None, True, -(2**53), 1e300]})
    data.store.add_documents("d", dataset.uid, [new])
    other = NewDocument("other", "text", {})
    assert data.store.fates(dataset.uid, [new, other], OnDuplicate.REPLACE) == {strange: Fate.SKIPPED}
    (document,), total, _notices = data.store.list_documents(
        "d", Comparison("key", "=", strange), after_row=-1, limit=5
    )
    assert NewDocument(document.key, document.text, document.metadata) == new
    assert total == 1


def test_the_same_request_id_returns_the_same_dataset_and_another_request_is_refused(data: Data) -> None:
    call = Call("r1", "CreateDataset", "digest")
    created = data.create("a", call=call)
    assert data.create("a", call=call) == created
    for other in (Call("r1", "CreateDataset", "another"), Call("r1", "ImportDocuments", "digest")):
        with pytest.raises(RequestIdReused):
            data.create("b", call=other)
    with pytest.raises(DatasetExists):
        data.create("a", call=Call("r2", "CreateDataset", "digest"))
    with pytest.raises(DatasetNotFound):
        data.store.dataset("b")
    data.store.delete_dataset("a")
    assert data.create("a", call=call).uid != created.uid


def test_the_model_is_fixed_by_the_first_vector_in_the_transaction_that_changes_it(data: Data) -> None:
    dataset = data.create(model="p/a")
    data.add(dataset, 2)
    assert data.store.update_dataset("d", {"embedding_model": "p/b"}).embedding_model == "p/b"
    with pytest.raises(EmbeddingModelChanged):
        data.embed(dataset, range(1))  # made by p/a, before the change
    assert data.store.dataset("d").counts.embedded == 0
    data.embed(data.store.dataset("d"), range(1))
    with pytest.raises(EmbeddingModelFixed):
        data.store.update_dataset("d", {"embedding_model": "p/a"})
    assert data.store.update_dataset("d", {"display_name": "D", "embedding_model": "p/b"}).display_name == "D"


def test_a_change_of_model_and_a_first_vector_at_once_never_mix_models(data: Data) -> None:
    for attempt in range(10):
        dataset = data.create(f"d{attempt}", model="p/a")
        data.add(dataset, 1)
        barrier = threading.Barrier(2)

        def change(dataset: Dataset = dataset, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            data.store.update_dataset(dataset.id, {"embedding_model": "p/b"})

        def embed(dataset: Dataset = dataset, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            data.embed(dataset, range(1))

        with ThreadPoolExecutor(2) as threads:
            refused = [future.exception() for future in (threads.submit(change), threads.submit(embed))]
        after = data.store.dataset(dataset.id)
        if after.counts.embedded:
            assert after.embedding_model == "p/a"
            assert isinstance(refused[0], EmbeddingModelFixed)
        else:
            assert after.embedding_model == "p/b"
            assert isinstance(refused[1], EmbeddingModelChanged)


def test_imports_at_once_take_each_key_once_and_give_each_row_once(data: Data) -> None:
    dataset = data.create()
    documents = [NewDocument(f"key {n}", f"text {n}", {}) for n in range(200)]

    def add(start: int) -> int:
        part = documents[start:] + documents[:start]
        return sum(
            10 - len(data.store.add_documents("d", dataset.uid, part[first : first + 10]))
            for first in range(0, 200, 10)
        )

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(add, (0, 50, 100, 150))) == 200
    listed, total, _notices = data.store.list_documents("d", UNFILTERED, after_row=-1, limit=1000)
    assert total == 200
    assert [document.row for document in listed] == list(range(200))
    assert data.store.dataset("d").counts == data.counted(dataset.uid)


async def read(data: Data, selection: Selection) -> tuple[dict[int, str], list[int], dict[int, float], list[int]]:
    """Texts, tombstones, first numbers of vectors, and tombstones again, as the two streams give them."""
    streams = Streams(data.store, data.vectors)
    dataset = await streams.begin("d", selection)
    texts: dict[int, str] = {}
    text_tombstones: list[int] = []
    async for page in streams.documents(dataset, selection):
        for document, deleted in page:
            assert document.row not in texts
            if deleted:
                text_tombstones.append(document.row)
            else:
                texts[document.row] = document.text
    vectors: dict[int, float] = {}
    vector_tombstones: list[int] = []
    async for page in streams.vectors(dataset, selection):
        vectors.update(zip(page.rows.tolist(), page.vectors[:, 0].tolist(), strict=True))
        vector_tombstones.extend(page.deleted_rows)
    rows = (await streams.embedded_rows(dataset, selection)).tolist()
    if not selection.since_revision:
        assert rows == list(vectors)
    return texts, text_tombstones, vectors, vector_tombstones


async def test_streams_read_all_rows_ranges_and_changes(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 3000)
    for start in range(0, 2500, 500):
        data.embed(dataset, range(start, start + 500))
    since = data.store.dataset("d")
    data.embed(dataset, range(2500, 2600))
    for row in (5, 2550, 2999):
        document = data.store.documents_by_row("d", [row])[0]
        data.store.delete_document("d", document.id)
    texts, tombstones, vectors, _same = await read(data, EVERYTHING)
    assert list(texts) == [row for row in range(3000) if row not in (5, 2550, 2999)]
    assert tombstones == [5, 2550, 2999]
    assert vectors == {row: float(row) for row in range(2600) if row not in (5, 2550)}
    changes = Selection(history=since.history, since_revision=since.revision, ranges=(), start_row=0)
    texts, tombstones, vectors, vector_tombstones = await read(data, changes)
    assert sorted(texts) == [row for row in range(2500, 2600) if row != 2550]
    assert (tombstones, vector_tombstones) == ([5, 2550, 2999], [5, 2550, 2999])
    for ranges, start_row, expected in [
        ([(0, 3), (2, 5), (2597, 2**63)], 1, [1, 2, 3, 4, 2597, 2598, 2599]),
        ([(10, 10), (30, 20)], 0, []),
        ([(4, 7)], 2**64 - 1, []),
        ([(0, 1), (2000, 2002)], 0, [0, 2000, 2001]),
    ]:
        selection = Selection(history="", since_revision=0, ranges=ranges, start_row=start_row)
        _texts, _tombstones, vectors, _same = await read(data, selection)
        assert sorted(vectors) == expected


@pytest.mark.parametrize("dimension", [0, 1, 256, 100_000])
def test_the_rows_of_a_page_fit_into_one_statement(data: Data, dimension: int) -> None:
    dataset = replace(data.create(), dimension=dimension)
    size = data.vectors.page_rows(dataset)
    assert 1000 <= size < SQLITE_PARAMETERS
    assert len(data.vectors.vectors_of(dataset, range(size)).rows) == 0


def test_a_read_on_top_of_another_history_is_refused(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 2)
    before = data.store.dataset("d")
    data.store.begin_histories()  # a start
    restarted = data.store.dataset_to_read("d", history=before.history, since_revision=before.revision)
    assert restarted.history != before.history
    with pytest.raises(HistoryChanged):  # a follower of data that came after a copy that was restored
        data.store.dataset_to_read("d", history=before.history, since_revision=before.revision + 5)
    with pytest.raises(HistoryChanged):
        data.store.dataset_to_read("d", history="unknown", since_revision=1)
    data.store.dataset_to_read("d", history="unknown", since_revision=0)


def test_a_damaged_shard_is_reported_and_its_documents_are_embedded_again(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 20)
    shard = data.embed(dataset, range(10))
    other = data.embed(data.store.dataset("d"), range(10, 20))
    file = data.blobs.folder / shard.path
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(content)
    damaged, intact = data.store.documents_by_row("d", [3, 13])
    with pytest.raises(BlobDamaged, match=shard.path):
        data.vectors.vector(damaged)
    assert data.vectors.vector(intact) is not None
    assert data.vectors.lost_shards(dataset.uid) == [shard.path]
    assert data.vectors.lost_shards("f" * 32) == []
    assert data.store.make_lost_pending(dataset, [shard.path]) == 10
    data.vectors.delete_shards([shard.path])
    assert [row for row, _text in data.store.pending("d", dataset.uid, 100)] == list(range(10))
    assert data.blobs.damages == []
    assert [path.name for path in data.blobs.folder.rglob("*.npy")] == [Path(other.path).name]


def test_a_batch_that_is_repeated_leaves_the_count_of_those_before_it(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = data.create()
    data.add(dataset, 10)
    shard = data.embed(dataset, range(10))
    make_pending, attempts = queries.make_pending, 0

    def lose_the_second(*arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise DatabaseUnavailable("lost", service="embedder", repeatable=True)
        return make_pending(*arguments)

    monkeypatch.setattr(queries, "make_pending", lose_the_second)
    monkeypatch.setattr(store_module, "BATCH_ROWS", 4)
    assert data.store.make_lost_pending(dataset, [shard.path]) == 10
    assert data.store.dataset("d").counts.pending == 10


def test_deleting_a_dataset_deletes_its_documents_in_bounded_transactions(data: Data) -> None:
    dataset, other = data.create(), data.create("other")
    data.add(dataset, BATCH_ROWS + 10)
    data.add(other, 5)
    data.embed(dataset, range(10))
    data.store.delete_dataset("d")
    deletions: list[int] = []

    def record(_connection: object, cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE FROM documents"):
            deletions.append(cursor.rowcount)  # type: ignore[attr-defined]

    event.listen(data.database._engine, "after_cursor_execute", record)  # pyright: ignore[reportPrivateUsage]
    data.store.sweep_deleted()
    data.store.sweep_deleted()
    assert deletions == [BATCH_ROWS, 10]
    assert not list(data.blobs.folder.rglob("*.npy"))
    with data.database.read() as connection:
        uids = set(connection.execute(select(DOCUMENTS.c.dataset_uid)).scalars())
    assert uids == {other.uid}
    with patch.object(Blobs, "delete") as delete:  # which asks an object store four times for each dataset
        data.store.sweep_deleted()
    assert not delete.called


def test_metadata_that_cannot_be_sent_is_left_out_named_and_can_be_deleted(sqlite: Data) -> None:
    """A database of an older version can hold such values."""
    dataset = sqlite.create()
    sqlite.add(dataset, 4)
    stored = {
        0: '{"size": Infinity, "n": 1}',
        1: json.dumps({"deep": [[[[[[[[[[1]]]]]]]]]], "half": "\ud800", "n": 1}),
        2: '{"n": 1',
    }
    with sqlite.database.write() as connection:
        for row, value in stored.items():
            statement = text("UPDATE documents SET metadata = :value WHERE row = :row")
            connection.execute(statement, {"value": value, "row": row})
    documents, total, _notices = sqlite.store.list_documents("d", UNFILTERED, after_row=-1, limit=10)
    returned = [messages.document(document, "d") for document in documents]
    for message in returned:
        message.SerializeToString()
    assert total == 4
    assert [dict(message.metadata) for message in returned] == [{"n": 1}, {"n": 1}, {}, {"n": 3}]
    names = [list(message.unreadable_metadata) for message in returned]
    assert names == [["size"], ["deep", "half"], ["metadata"], []]
    for document in documents:
        sqlite.store.delete_document("d", document.id)
    assert sqlite.store.dataset("d").counts == Counts()


def test_a_start_without_the_database_of_existing_vectors_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "embedder"
    Database(f"sqlite:///{tmp_path / 'new.db'}", MIGRATIONS).migrate(beside=folder / "blobs")
    data = open_data(f"sqlite:///{tmp_path / 'd.db'}", folder)
    dataset = data.create()
    data.add(dataset, 1)
    data.embed(dataset, range(1))
    data.database.migrate(beside=folder / "blobs")
    with pytest.raises(StartRefused, match="restore"):
        Database(f"sqlite:///{tmp_path / 'empty.db'}", MIGRATIONS).migrate(beside=folder / "blobs")
    data.database.close()


def test_data_of_the_first_version_is_counted_and_its_vectors_are_recorded(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url, MIGRATIONS)
    kind = "postgresql" if database.shared else "sqlite"
    shard = tmp_path / "blobs/vectors/u/s.npy"
    shard.parent.mkdir(parents=True)
    np.save(shard, np.array([[1, 1], [2, 1]], dtype=np.float32))
    columns = "id, display_name, description, embedding_model, dimension, revision, next_row, create_time, update_time"
    dataset = "'d', 'D', '', 'p/a', 2, 7, 4, '2026-01-01', '2026-01-01'"
    with database.write() as connection:
        for statement in (SCHEMAS / f"embedder.{kind}.sql").read_text().split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
        connection.execute(text(f"INSERT INTO datasets (uid, request_id, {columns}) VALUES ('u', 'r', {dataset})"))
        connection.execute(text("INSERT INTO imports VALUES ('r', 'u', ''), ('r2', 'u', '')"))
        for row, state, position in [(0, "EMBEDDED", 0), (1, "EMBEDDED", 1), (2, "FAILED", None), (3, "PENDING", None)]:
            document = DOCUMENTS.insert().values(
                dataset_uid="u",
                row=row,
                id=f"{row}",
                key=f"{row}",
                text="four",
                text_bytes=4,
                metadata={"n": row},
                state=state,
                embedding_truncated=False,
                revision=row,
                create_time=datetime(2026, 1, 1),
                update_time=datetime(2026, 1, 1),
                deleted=row == 1,
                shard="vectors/u/s.npy" if position is not None else None,
                position=position,
            )
            connection.execute(document)
    database.close()
    data = open_data(database_url, tmp_path)
    data.vectors.adopt_unrecorded()
    data.store.begin_histories()
    assert data.store.dataset("d").counts == Counts(pending=1, embedded=1, failed=1, text_bytes=12)
    assert data.store.dataset("d").history
    living = [
        document for document, deleted in data.store.documents_after(data.store.dataset("d"), -1, 9) if not deleted
    ]
    digests = [document_digest(new.key, new.text, "p/a" if new.state == State.EMBEDDED else None) for new in living]
    assert data.store.dataset("d").fingerprint == moved(EMPTY, sum(digests)) != EMPTY
    later = data.store.list_documents("d", Comparison("metadata.n", ">", "0"), after_row=-1, limit=5)
    assert ([document.row for document in later.documents], later.notices) == ([2, 3], [])
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(BlobDamaged):
        data.vectors.vector(data.store.document("d", "0"))
    data.database.close()


def test_documents_that_match_are_deleted_and_no_others(data: Data) -> None:
    dataset, other = data.create(), data.create("other")
    data.add(dataset, 30)
    data.add(other, 30)
    data.embed(dataset, range(20), failed=frozenset({3}))
    dataset = data.store.dataset("d")
    data.add(dataset, 1, start=30)  # after the deletion has begun: it stays
    condition = Comparison("text", ":", "3")
    rows = data.store.matching_rows(dataset, condition, after_row=-1, limit=2)
    assert rows == [3, 13]
    assert data.store.matching_rows(dataset, condition, after_row=13) == [23]
    assert data.store.delete_matching(dataset, condition, [*rows, 4]) == 2
    assert data.store.delete_matching(dataset, condition, [*rows, 4]) == 0
    current = data.store.dataset("d")
    assert current.counts == data.counted(dataset.uid)
    assert (current.counts.rows, current.counts.failed, current.revision) == (29, 0, dataset.revision + 2)
    assert data.store.dataset("other").counts.rows == 30
    assert [document.row for document, deleted in data.store.documents_after(current, -1, 50) if deleted] == [3, 13]
    start = dataset.create_time  # before any document
    assert data.store.matching_rows(dataset, condition, after_row=-1, created_until=start) == []
    data.store.delete_dataset("d")
    with pytest.raises(DatasetNotFound):
        data.store.delete_matching(dataset, condition, [23])


class Attempt:
    """One attempt at a job that was submitted at a moment, UTC."""

    def __init__(self, submit_time: datetime) -> None:
        self.job = Job(create_time=stamp(submit_time))
        self.lines: list[str] = []
        self.log = self.lines.append
        self.progresses: list[tuple[int, int]] = []

    async def progress(self, done: int, total: int, *_unit: str) -> None:
        self.progresses.append((done, total))

    async def publish(self, *_event: object) -> None:
        pass

    prove = checkpoint = publish


async def test_a_deletion_that_is_tried_again_leaves_later_documents_and_datasets_alone(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 3)
    attempt = Attempt(utc_now())
    data.add(dataset, 2, start=3)
    job = DeletionJob(data.store, cast(Any, attempt))
    request = DeleteDocumentsRequest(parent="datasets/d", filter="*", force=True)
    await job.run(request, cast(Any, attempt))
    assert attempt.lines == ["3 documents were deleted"]
    assert attempt.progresses == [(0, 3), (3, 3)]
    assert data.store.dataset("d").counts.rows == 2
    data.store.delete_dataset("d")
    data.add(data.create(), 1)
    with pytest.raises(DatasetNotFound, match="another dataset has its name") as error:
        await job.run(request, cast(Any, attempt))
    assert error.value.metadata == {"dataset": "datasets/d"}
    assert data.store.dataset("d").counts.rows == 1


def test_a_filter_means_the_same_in_all_batches_of_a_deletion(data: Data) -> None:
    dataset = data.create()
    values = ["n/a", 7, 10, 100]
    documents = [NewDocument(key=str(row), text="t", metadata={"v": value}) for row, value in enumerate(values)]
    data.store.add_documents("d", dataset.uid, documents)
    dataset = data.store.dataset("d")
    condition = Comparison("metadata.v", ">", "5")  # of texts, as one value is none of a number
    rows = data.store.matching_rows(dataset, condition, after_row=-1)
    assert rows == [0, 1]
    assert data.store.delete_matching(dataset, condition, [0]) == 1  # those that are left are numbers
    assert data.store.matching_rows(dataset, condition, after_row=0) == [1]
    assert data.store.delete_matching(dataset, condition, [1, 2, 3]) == 1


def test_parts_cover_all_pending_rows_and_none_twice(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 100)
    data.embed(dataset, [*range(30), *range(50, 60)])
    dataset = data.store.dataset("d")
    ranges = division(data.store, dataset, part_size=16)
    assert ranges[0].start == 0
    assert all(part.stop == following.start for part, following in pairwise(ranges))
    assert all(part.size >= 16 for part in ranges)
    pending = [data.store.pending("d", dataset.uid, 100, start=part.start, stop=part.stop) for part in ranges]
    assert [len(part) for part in pending] == [part.size for part in ranges]
    assert [data.store.pending_count(dataset.uid, part.start, part.stop) for part in ranges] == list(map(len, pending))
    assert [row for part in pending for row, _text in part] == [*range(30, 50), *range(60, 100)]
    assert len(division(data.store, dataset, part_size=1)) <= MAX_PARTITIONS


# Plans

PLANNED: dict[str, tuple[Callable[[str], object], str]] = {
    "known keys": (lambda uid: queries.known_keys(uid, ["key 1", "key 2"]), "documents_key (dataset_uid=? AND key=?)"),
    "by key": (
        lambda uid: queries.documents_by_key(uid, ["key 1", "key 2"]),
        "documents_key (dataset_uid=? AND key=?)",
    ),
    "tombstones": (lambda uid: queries.make_tombstones(uid, [1, 2], 5), "(dataset_uid=? AND row=?)"),
    "change metadata": (lambda uid: queries.change_metadata(uid, 5), "(dataset_uid=? AND row=?)"),
    "by id": (lambda uid: queries.documents_by_id(uid, ["a", "b"]), "documents_id (dataset_uid=? AND id=?)"),
    "by row": (lambda uid: queries.documents_by_row(uid, [1, 2]), "(dataset_uid=? AND row=?)"),
    "pending": (lambda uid: queries.pending(uid, 512), "documents_living_state (dataset_uid=? AND state=?)"),
    "pending in a range": (
        lambda uid: queries.pending(uid, 512, start=10, stop=20),
        "documents_living_state (dataset_uid=? AND state=? AND row>? AND row<?)",
    ),
    "pending counts": (
        lambda uid: queries.pending_counts(uid, 100),
        "documents_living_state (dataset_uid=? AND state=?)",
    ),
    "pending count": (
        lambda uid: queries.pending_count(uid, 10, 20),
        "documents_living_state (dataset_uid=? AND state=? AND row>? AND row<?)",
    ),
    "rows in a state": (
        lambda uid: queries.rows_in_state(uid, State.FAILED, 100),
        "documents_living_state (dataset_uid=? AND state=?)",
    ),
    "embedded rows": (lambda uid: queries.embedded_rows(uid), "documents_living_state (dataset_uid=? AND state=?)"),
    "still pending": (lambda uid: queries.still_pending(uid, [1, 2]), "(dataset_uid=? AND "),
    "states of keys": (lambda uid: queries.states_of_keys_of(uid, [1, 2]), "documents_key (dataset_uid=? AND key=?)"),
    "changed rows": (
        lambda uid: queries.changed_rows(uid, 3, 5),
        "COVERING INDEX documents_revision (dataset_uid=? AND revision>? AND revision<?)",
    ),
    "page": (
        lambda uid: queries.page(list(DOCUMENTS.c), uid, until=10**9, after_row=100, limit=1000),
        "(dataset_uid=? AND row>?)",
    ),
    "page of vectors": (
        lambda uid: queries.page(queries.VECTOR_COLUMNS, uid, until=10**9, after_row=100, limit=1000),
        "(dataset_uid=? AND row>?)",
    ),
    "page of present vectors": (
        lambda uid: queries.present_page(queries.VECTOR_COLUMNS, uid, before_row=10**6, after_row=100, limit=1000),
        "(dataset_uid=? AND row>? AND row<?)",
    ),
    "sizes of texts": (
        lambda uid: queries.text_sizes(uid, after_row=100, before_row=10**6, limit=1000, of_wholes=False),
        "(dataset_uid=? AND row>? AND row<?)",
    ),
    "sizes of whole texts": (
        lambda uid: queries.text_sizes(uid, after_row=100, before_row=10**6, limit=1000, of_wholes=True),
        "(dataset_uid=? AND number>? AND number<?)",
    ),
    "texts": (
        lambda uid: queries.texts(uid, after_row=100, last_row=1000, of_wholes=False),
        "(dataset_uid=? AND row>? AND row<?)",
    ),
    "whole texts": (
        lambda uid: queries.texts(uid, after_row=100, last_row=1000, of_wholes=True),
        "(dataset_uid=? AND number>? AND number<?)",
    ),
    "excerpts": (lambda uid: queries.excerpts(uid, [1, 2], of_wholes=False), "(dataset_uid=? AND row=?)"),
    "excerpts of wholes": (lambda uid: queries.excerpts(uid, [1, 2], of_wholes=True), "(dataset_uid=? AND number=?)"),
    "metadata of rows": (lambda uid: queries.metadata_of_rows(uid, [1, 2]), "(dataset_uid=? AND row=?)"),
    "page of rows": (
        lambda uid: queries.page_of_rows(queries.VECTOR_COLUMNS, uid, until=10**9, rows=[1, 2, 3]),
        "(dataset_uid=? AND row=?)",
    ),
    "matching rows": (
        lambda uid: queries.matching_rows(
            uid, UNFILTERED, {}, after_row=100, before_row=10**6, created_until=datetime.max, limit=2000
        ),
        "(dataset_uid=? AND row>? AND row<?)",
    ),
    "still matching": (
        lambda uid: queries.still_matching(uid, Comparison("text", ":", "a"), {}, rows=[1, 2]),
        "(dataset_uid=? AND row=?)",
    ),
    "page of a list": (
        lambda uid: queries.matching_page(uid, UNFILTERED, {}, after_row=100, limit=50),
        "(dataset_uid=? AND row>?)",
    ),
    "key of a list": (
        lambda uid: queries.matching_page(uid, Comparison("key", "=", "key 1"), {}, after_row=-1, limit=50),
        "documents_key (dataset_uid=? AND key=?)",
    ),
    "store outcomes": (queries.store_outcomes, "(dataset_uid=? AND row=?)"),
    "make pending": (lambda uid: queries.make_pending(uid, [1, 2], 5), "(dataset_uid=? AND row=?)"),
    "delete rows": (lambda uid: queries.delete_rows(uid, 0, 2000), "(dataset_uid=? AND row>? AND row<?)"),
    "dataset": (lambda uid: queries.living_dataset("d"), "datasets_id (id=?)"),
}


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("count", [10, 5000])
def test_hot_queries_use_their_index_at_any_size(sqlite: Data, count: int, analysed: bool) -> None:
    dataset = sqlite.create()
    sqlite.add(dataset, count)
    sqlite.embed(dataset, range(count // 2))
    for number in range(50):
        sqlite.create(f"other-{number}")
    if analysed:
        with sqlite.database.write() as connection:
            connection.execute(text("ANALYZE"))
    for name, (query, expected) in PLANNED.items():
        statement = query(dataset.uid).compile(  # type: ignore[attr-defined]
            sqlite.database._engine,  # pyright: ignore[reportPrivateUsage]
            compile_kwargs={"render_postcompile": True},
        )
        with sqlite.database.read() as connection:
            parameters = [statement.params[key] for key in statement.positiontup or ()]
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(map(_plain, parameters)))
            plan = [row.detail for row in rows]
        assert not any(detail.startswith("SCAN") for detail in plan), (name, plan)
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan or name in ("page of rows",), (name, plan)
        assert expected in plan[0], (name, plan)


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | bytes | type(None)) else str(value)


def test_pages_of_vectors_with_gaps_are_those_of_their_rows(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 60)
    data.embed(dataset, [*range(20, 40), *range(10)], failed=frozenset({4, 25}))  # a shard in another order
    data.embed(dataset, range(45, 55))
    deleted_rows = [7, 8, 30, 50, 59]
    for row in deleted_rows:
        data.store.delete_document("d", document_id(f"key {row}"))
    current = data.store.dataset("d")
    living = [row for row in (*range(10), *range(20, 40), *range(45, 55)) if row not in (4, 25, *deleted_rows)]
    for limit in (1, 7, 60):
        rows: list[int] = []
        tombstones: list[int] = []
        after_row: int | None = -1
        while after_row is not None:
            page = data.vectors.vectors_after(current, after_row, limit)
            assert page.vectors.tolist() == [[row, 1] for row in page.rows.tolist()]
            rows += page.rows.tolist()
            tombstones += page.deleted_rows
            after_row = page.last_row
        assert (rows, tombstones) == (living, deleted_rows)
    assert data.vectors.vectors_of(current, [31, 5, 7, 12]).rows.tolist() == [5, 31]


@pytest.mark.parametrize("count", [10, 1000])
def test_the_number_of_statements_does_not_depend_on_the_number_of_documents(sqlite: Data, count: int) -> None:
    dataset = sqlite.create()
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(sqlite.database._engine, "before_cursor_execute", note)  # pyright: ignore[reportPrivateUsage]

    def counted(call: Callable[[], object]) -> int:
        statements.clear()
        call()
        return len([statement for statement in statements if not statement.startswith(("BEGIN", "PRAGMA"))])

    assert counted(lambda: sqlite.add(dataset, count)) == 5
    assert counted(lambda: sqlite.embed(dataset, range(count))) <= 8
    assert counted(lambda: sqlite.store.dataset("d")) == 2
    assert counted(lambda: sqlite.store.datasets(None, 50, show_deleted=False)) == 2
    assert counted(lambda: sqlite.store.list_documents("d", UNFILTERED, after_row=-1, limit=50)) == 2
    assert counted(lambda: sqlite.vectors.vectors_after(sqlite.store.dataset("d"), -1, count)) == 4
    assert not any("count(" in statement for statement in statements)


# Work in progress on deleted datasets


class SlowVectors(VectorStore):
    """Writes a shard once it is allowed to."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        super().__init__(database, blobs)
        self.began, self.go_on = threading.Event(), threading.Event()

    def write_shard(self, uid: str, vectors: NDArray[np.float16 | np.float32]) -> Shard:
        self.began.set()
        assert self.go_on.wait(30)
        return super().write_shard(uid, vectors)


class NoContext:
    """The context of a job without a job."""

    record = JobRecord()
    result = Struct()

    async def progress(self, *_: object) -> None: ...


async def test_a_shard_that_is_written_while_its_dataset_is_deleted_does_not_stay(sqlite: Data) -> None:
    dataset = sqlite.create()
    sqlite.add(dataset, 1)
    vectors = SlowVectors(sqlite.database, sqlite.blobs)
    jobs = EmbedderJobs(
        store=sqlite.store,
        vectors=vectors,
        models=EmbeddingModels({"builtin": BuiltinProvider()}),
        events=cast(Events, None),
        batch_size=10,
        ack_wait_seconds=30.0,
    )
    task = asyncio.create_task(jobs.embed(EmbedDatasetRequest(name="datasets/d"), cast(JobContext, NoContext())))
    assert await asyncio.to_thread(vectors.began.wait, 30)
    sqlite.store.delete_dataset("d")
    task.cancel()
    done, _waiting = await asyncio.wait([task], timeout=0.5)
    assert not done  # it waits for its thread
    vectors.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(sqlite.blobs.folder.rglob("*.npy"))


class PartContext(NoContext):
    """The context of a part with more documents than there are now: some were deleted meanwhile."""

    def __init__(self, size: int) -> None:
        self.partition = JobRecord.Partition(id="part", start=0, stop=100, size=size)
        self.record = JobRecord(partition_of="jobs/embedder.j", partition=self.partition)
        self.result = Struct()

    async def prove(self) -> None: ...

    async def checkpoint(self) -> None: ...


class RefusingModels:
    """Models that embed nothing."""

    async def get(self, model: str) -> SimpleNamespace:
        return SimpleNamespace(dimension=4)

    async def embed(self, model: str, texts: Sequence[str]) -> list[Failure]:
        return [Failure(code=3, reason="INVALID_VECTOR", message="refused")] * len(texts)


async def test_a_part_counts_no_document_that_it_has_not_embedded(sqlite: Data) -> None:
    dataset = sqlite.create()
    sqlite.add(dataset, 3)
    jobs = EmbedderJobs(
        store=sqlite.store,
        vectors=sqlite.vectors,
        models=cast(EmbeddingModels, RefusingModels()),
        events=cast(Events, SimpleNamespace(publish=AsyncMock())),
        batch_size=2,
        ack_wait_seconds=30.0,
    )
    context = PartContext(size=4)
    await jobs.embed_part(EmbedDatasetRequest(name="datasets/d"), cast(JobContext, context))
    lines: list[str] = []
    with pytest.raises(NothingEmbedded, match="none of 3 documents"):
        Tally.total([context.result]).explain(MODEL, lines.append)
    assert lines == ["3 of 3 documents were refused and have failed"]


async def test_a_second_attempt_at_a_divided_job_looks_for_no_damaged_vectors(
    sqlite: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.create()
    look = Mock(return_value=[])
    monkeypatch.setattr(sqlite.vectors, "lost_shards", look)
    monkeypatch.setattr(Partitions, "run", AsyncMock(side_effect=Unavailable("the model server is away")))
    jobs = EmbedderJobs(
        store=sqlite.store,
        vectors=sqlite.vectors,
        models=cast(EmbeddingModels, RefusingModels()),
        events=cast(Events, None),
        batch_size=2,
        ack_wait_seconds=30.0,
        part_size=1,
    )
    context = PartContext(size=0)
    context.record = JobRecord(partitions=[context.partition])
    with pytest.raises(Unavailable):
        await jobs.embed(EmbedDatasetRequest(name="datasets/d", again=True), cast(JobContext, context))
    look.assert_not_called()


def test_work_on_a_deleted_dataset_does_not_reach_one_of_the_same_name(data: Data) -> None:
    old = data.create()
    data.store.delete_dataset("d")
    new = data.create()
    data.add(new, 1)
    shard = data.vectors.write_shard(old.uid, np.ones((1, 4), dtype=np.float32))
    outcome = Outcome(row=0, position=0, truncated=False, failure=None)
    late: list[Callable[[], object]] = [
        lambda: data.store.add_documents("d", old.uid, [NewDocument("late", "a text", {})]),
        lambda: data.store.pending("d", old.uid, 10),
        lambda: data.store.commit_outcomes(old, [outcome], shard=shard),
    ]
    for call in late:
        with pytest.raises(DatasetNotFound):
            call()
    assert data.store.pending("d", new.uid, 10) == [(0, "text 0")]
    assert data.store.dataset("d").dimension == 0
