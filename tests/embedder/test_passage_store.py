"""Documents with passages: rules, counts and tombstones, on SQLite and PostgreSQL, and as clients see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import select

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2
from services.chassis.errors import InvalidArgument
from services.chassis.filters import UNFILTERED, Comparison
from services.embedder.documents import (
    Dataset,
    Failure,
    Fate,
    NewDataset,
    NewDocument,
    OnDuplicate,
    Passages,
    State,
    passage_id,
)
from services.embedder.errors import DocumentNotFound, EmbeddingModelFixed
from services.embedder.outcomes import Outcome
from services.embedder.passages import Span
from services.embedder.streams import Selection, Streams
from services.embedder.tables import DOCUMENTS, WHOLE_DOCUMENTS
from tests.calls import reason
from tests.embedder.test_service import embedded, imported, vectors_of
from tests.embedder.test_store import MODEL, Data, open_data

TEXT = "First passage. Second passage, with \x00 and \U0001f600. Third."
SPANS = (Span(0, 14), Span(8, 40), Span(40, len(TEXT)))
EVERYTHING = Selection(history="", since_revision=0, ranges=(), start_row=0)


@pytest.fixture
def data(database_url: str, tmp_path: Path) -> Iterator[Data]:
    opened = open_data(database_url, tmp_path)
    yield opened
    opened.database.close()


def create(data: Data) -> Dataset:
    new = NewDataset("d", None, "", MODEL, passages=Passages(max_tokens=64, overlap_tokens=8))
    return data.store.create_dataset(new)


def add(data: Data, dataset: Dataset, *keys: str) -> Mapping[str, Fate]:
    documents = [NewDocument(key, f"{TEXT} {key}", {"key": key}, spans=SPANS) for key in keys]
    return data.store.add_documents(dataset.id, dataset.uid, documents)


def commit(data: Data, rows: list[int], *, failed: bool = False) -> None:
    """Vectors or failures for rows."""
    dataset = data.store.dataset("d")
    shard = None if failed else data.vectors.write_shard(dataset.uid, np.ones((len(rows), 2), dtype=np.float32))
    failure = Failure(code=3, reason="INVALID_VECTOR", message="refused") if failed else None
    outcomes = [
        Outcome(row=row, position=None if failed else place, truncated=row == 1, failure=failure)
        for place, row in enumerate(rows)
    ]
    data.store.commit_outcomes(dataset, outcomes, shard=shard)


def test_passages_are_rows_and_the_document_is_above_them(data: Data) -> None:
    dataset = create(data)
    add(data, dataset, "a", "key with blanks")
    counted = data.store.dataset("d")
    assert (counted.document_count, counted.counts.pending, counted.next_row) == (2, 6, 6)
    assert counted.counts.text_bytes == sum(len(f"{TEXT} {key}".encode()) for key in ("a", "key with blanks"))

    documents, total, _notices = data.store.list_documents("d", UNFILTERED, after_row=-1, limit=10)
    assert [(document.key, document.row, document.passage_count) for document in documents] == [
        ("a", 0, 3),
        ("key with blanks", 3, 3),
    ]
    assert total == 2
    document = data.store.document("d", documents[1].id, with_passages=True)
    assert document.text == f"{TEXT} key with blanks"
    assert [(place.row, place.start, place.end) for place in document.passages] == [
        (3, 0, 14),
        (4, 8, 40),
        (5, 40, len(TEXT)),
    ]

    passage = data.store.document("d", passage_id(4))
    assert passage.passage == document.passages[1]
    assert passage.text == document.text[8:40], "an exact slice"
    assert (passage.key, passage.metadata) == ("key with blanks", {"key": "key with blanks"})
    assert data.store.documents_by_row("d", [4, 0]) == [passage, data.store.document("d", passage_id(0))]
    streamed = data.store.documents_after(counted, -1, 100)
    assert [(row.row, row.key) for row, _deleted in streamed] == [(n, "a" if n < 3 else passage.key) for n in range(6)]
    assert data.store.pending("d", dataset.uid, 2) == [(0, TEXT[:14]), (1, TEXT[8:40])]


def test_duplicates_are_those_of_the_documents_keys(data: Data) -> None:
    dataset = create(data)
    assert add(data, dataset, "a", passage_id(7)) == {}
    keys = ("b", "a", passage_id(0), passage_id(7))
    assert add(data, dataset, *keys) == {
        "a": Fate.REJECTED,
        passage_id(7): Fate.REJECTED,
    }
    checked = [NewDocument(key, TEXT, {}, spans=SPANS) for key in ("a", "c", passage_id(1))]
    assert data.store.fates(dataset.uid, checked, OnDuplicate.SKIP) == {"a": Fate.SKIPPED}
    assert data.store.dataset("d").document_count == 4
    own, _total, _notices = data.store.list_documents("d", Comparison("key", "=", passage_id(7)), after_row=-1, limit=9)
    assert own[0].id not in (passage_id(7), passage_id(0)), "a key that looks like a passage's name is no passage's"


def test_a_replaced_document_keeps_the_passages_whose_texts_it_still_has(data: Data) -> None:
    dataset = create(data)
    parts = ["One. ", "Two. ", "Two. ", "Three. "]

    def document(parts: Sequence[str], **metadata: object) -> NewDocument:
        ends = np.cumsum([len(part) for part in parts]).tolist()
        return NewDocument(
            "a", "".join(parts), metadata, spans=[Span(s, e) for s, e in zip([0, *ends], ends, strict=False)]
        )

    def replaced(new: NewDocument) -> Fate | None:
        return data.store.add_documents("d", dataset.uid, [new], on_duplicate=OnDuplicate.REPLACE).get("a")

    def rows() -> list[int]:
        return [place.row for place in data.store.document("d", "a", with_passages=True).passages]

    assert replaced(document(parts)) is None
    commit(data, [0, 1, 2, 3])
    before = data.store.dataset("d")
    assert replaced(document(parts)) == Fate.SKIPPED
    assert data.store.dataset("d").revision == before.revision

    new = ["Zero. ", "Two. ", "One. ", "Four. "]
    assert replaced(document(new, n=1)) == Fate.UPDATED
    after = data.store.dataset("d")
    assert rows() == [4, 1, 0, 5], "Two and One keep their rows"
    assert (after.counts.embedded, after.counts.pending, after.document_count, after.next_row) == (2, 2, 1, 6)
    assert after.counts.text_bytes == len("".join(new))
    whole = data.store.document("d", "a", with_passages=True)
    assert (whole.text, whole.state, whole.metadata, whole.row) == ("".join(new), State.PENDING, {"n": 1}, 0)
    for place in whole.passages:
        passage = data.store.document("d", passage_id(place.row))
        assert (passage.passage, passage.text, passage.metadata) == (
            place,
            whole.text[place.start : place.end],
            {"n": 1},
        )
    tombstones = [row.row for row, deleted in data.store.documents_after(after, -1, 100) if deleted]
    assert tombstones == [2, 3]
    assert data.store.changed_rows(after, before.revision).tolist() == [0, 1, 2, 3, 4, 5]
    assert replaced(document(new, n=2)) == Fate.UPDATED
    assert data.store.dataset("d").counts == after.counts, "other metadata alone embeds nothing again"


def test_a_document_is_pending_or_failed_while_a_passage_is(data: Data) -> None:
    dataset = create(data)
    add(data, dataset, "a", "b")

    def listed(state: State) -> list[str]:
        documents, total, _notices = data.store.list_documents(
            "d", Comparison("state", "=", state), after_row=-1, limit=9
        )
        assert len(documents) == total
        return [document.key for document in documents]

    assert listed(State.PENDING) == ["a", "b"]
    commit(data, [0, 1])
    assert (listed(State.PENDING), listed(State.EMBEDDED)) == (["a", "b"], [])
    commit(data, [2], failed=True)
    commit(data, [3, 4, 5])
    assert (listed(State.PENDING), listed(State.FAILED), listed(State.EMBEDDED)) == ([], ["a"], ["b"])
    failed = data.store.document("d", "a")
    assert failed.failure is not None and failed.failure.message == "refused"
    assert failed.embedding_truncated and not data.store.document("d", "b").embedding_truncated
    assert data.store.make_failed_pending("d") == 1
    assert listed(State.PENDING) == ["a"]
    commit(data, [2])
    assert listed(State.EMBEDDED) == ["a", "b"]


def test_a_document_is_deleted_with_all_its_passages(data: Data) -> None:
    dataset = create(data)
    add(data, dataset, "a", "b")
    commit(data, [0, 1, 3])
    before = data.store.dataset("d")
    with pytest.raises(InvalidArgument, match="deleted with its document"):
        data.store.delete_document("d", passage_id(0))
    document, after = data.store.delete_document("d", "a")
    assert (document.key, document.text) == ("a", f"{TEXT} a")
    assert (after.document_count, after.counts.rows, after.counts.embedded, after.counts.pending) == (1, 3, 1, 2)
    assert after.counts.text_bytes == len(f"{TEXT} b".encode())
    assert after.revision == before.revision + 1
    tombstones = [row.row for row, deleted in data.store.documents_after(after, -1, 100) if deleted]
    assert tombstones == [0, 1, 2]
    assert data.store.changed_rows(after, before.revision).tolist() == [0, 1, 2]
    for name_id in ("a", passage_id(0), passage_id(2)):
        with pytest.raises(DocumentNotFound):
            data.store.document("d", name_id)
    assert add(data, dataset, "a") == {}, "its key is free"
    assert data.store.document("d", "a").row == 6, "rows are not used again"


def test_documents_are_filtered_by_all_their_metadata_and_deleted_by_it(data: Data) -> None:
    dataset = create(data)
    documents = [NewDocument(f"k{n}", TEXT, {"n": n, "long": f"{n}" * 5000}, spans=SPANS) for n in range(5)]
    data.store.add_documents("d", dataset.uid, documents)
    condition = Comparison("metadata.n", ">", "2")
    matching = data.store.list_documents("d", condition, after_row=-1, limit=9)
    assert ([document.key for document in matching.documents], matching.total) == (["k3", "k4"], 2)
    assert data.store.dataset("d").schema["n"].document_count == 5, "documents count, not passages"

    current = data.store.dataset("d")
    rows = data.store.matching_rows(current, condition, after_row=-1)
    assert data.store.delete_matching(current, condition, rows) == 2
    after = data.store.dataset("d")
    assert (after.document_count, after.counts.rows, after.schema["n"].document_count) == (3, 9, 3)
    tombstones = [row.row for row, deleted in data.store.documents_after(after, -1, 100) if deleted]
    assert tombstones == list(range(9, 15))


def test_whole_documents_are_streamed_in_pages(data: Data) -> None:
    dataset = create(data)
    add(data, dataset, *(f"k{n}" for n in range(5)))

    async def read() -> list[str]:
        streams = Streams(data.store, data.vectors)
        pages = streams.whole_documents(data.store.dataset("d"), EVERYTHING)
        return [document.text async for page in pages for document, _deleted in page]

    assert asyncio.run(read()) == [f"{TEXT} k{n}" for n in range(5)]


def test_a_deleted_dataset_leaves_nothing(data: Data) -> None:
    add(data, create(data), "a", "b")
    data.store.delete_dataset("d")
    data.store.sweep_deleted()
    with data.database.read() as connection:
        assert not connection.execute(select(DOCUMENTS)).all()
        assert not connection.execute(select(WHOLE_DOCUMENTS)).all()


def test_the_model_is_fixed_once_texts_are_split_for_it(data: Data) -> None:
    dataset = create(data)
    data.store.update_dataset("d", {"embedding_model": MODEL})
    add(data, dataset, "a")
    with pytest.raises(EmbeddingModelFixed, match="has passages of"):
        data.store.update_dataset("d", {"embedding_model": "builtin/other"})


# As clients see them

LONG = " ".join(f"Sentence {n} speaks of the subject number {n * n}." for n in range(4000))


async def created(stub: Any, **passages: int) -> resources_pb2.Dataset:
    dataset = resources_pb2.Dataset(passages=resources_pb2.Passages(**passages))
    return await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=dataset))


async def test_a_document_with_too_many_terms_for_its_passages_is_rejected(stub: Any) -> None:
    await created(stub, max_tokens=16)
    many_fields = {f"k{number}": number for number in range(3000)}
    rows = [{"id": "long", "text": LONG, **many_fields}, {"id": "short", "text": "One sentence.", **many_fields}]
    report = await imported(stub, rows)
    assert report.imported_count == 1
    [rejection] = report.rejections
    assert (rejection.item, rejection.key, rejection.reason) == (
        1,
        "long",
        pb2.ImportDocumentsResponse.Rejection.REASON_INVALID_METADATA,
    )
    assert "6,000 terms of the metadata" in rejection.message and "make passages longer" in rejection.message


async def test_a_long_document_is_imported_embedded_and_read_back(stub: Any, jobs: Any) -> None:
    dataset = await created(stub, max_tokens=128, overlap_tokens=16)
    assert (dataset.passages.max_tokens, dataset.passages.overlap_tokens) == (128, 16)
    long_field = {"html": "x" * 60_000, "lang": "en"}
    rows = [{"id": "long", "text": LONG, **long_field}, {"id": "short", "text": "One sentence.", "lang": "de"}]
    report = await imported(stub, rows)
    assert (report.imported_count, report.dataset.document_count) == (2, 2)
    count = report.passage_count - 1
    assert count > 400 and report.dataset.passages.passage_count == report.passage_count
    assert [note for note in report.notes if "2,048 bytes of metadata" in note], "passages have not all metadata"

    name = "datasets/d/documents/long"
    full = pb2.GetDocumentRequest(name=name, view=resources_pb2.DOCUMENT_VIEW_FULL)
    document = await stub.GetDocument(full)
    assert document.text == LONG and dict(document.metadata) == long_field and document.passage_count == count
    assert [place.index for place in document.passages] == list(range(count))
    streamed: list[resources_pb2.Document] = []
    async for block in stub.ReadDocuments(pb2.ReadDocumentsRequest(dataset="datasets/d")):
        streamed += block.documents
        expected = [(name, long_field)] if any(passage.key == "long" for passage in block.documents) else []
        assert [(whole.name, dict(whole.metadata)) for whole in block.whole_documents] == expected
    mask = FieldMask(paths=["text"])
    async for block in stub.ReadDocuments(pb2.ReadDocumentsRequest(dataset="datasets/d", read_mask=mask)):
        assert block.documents and not block.whole_documents, "no metadata is requested"
    assert len(streamed) == report.passage_count
    for place, passage in zip(document.passages, streamed[:count], strict=True):
        assert passage.passage == place and passage.name == place.name and place.document == name
        assert passage.text == LONG[place.start : place.end]
        assert (passage.key, dict(passage.metadata)) == ("long", {"lang": "en"}), "60 KB are not stored 400 times"
    assert streamed[-1].text == "One sentence." and streamed[-1].passage.count == 1

    await embedded(stub, jobs)
    vectors, _tombstones, _last = await vectors_of(stub)
    assert len(vectors) == report.passage_count
    passage = await stub.GetDocument(
        pb2.GetDocumentRequest(name=document.passages[3].name, view=resources_pb2.DOCUMENT_VIEW_FULL)
    )
    assert passage.vector.data == vectors[passage.row]
    assert (await stub.GetDocument(full)).state == resources_pb2.Document.STATE_EMBEDDED

    await stub.DeleteDocument(pb2.DeleteDocumentRequest(name=name))
    dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
    assert (dataset.document_count, dataset.embedded_count, dataset.passages.passage_count) == (1, 1, 1)


async def test_exported_documents_are_whole_and_can_be_imported_again(stub: Any) -> None:
    await created(stub)
    await imported(stub, [{"id": "long", "text": LONG, "n": 1}])
    request = pb2.ReadDocumentsRequest(dataset="datasets/d", whole_documents=True)
    (document,) = [document async for block in stub.ReadDocuments(request) for document in block.documents]
    assert (document.key, document.text, document.metadata["n"]) == ("long", LONG, 1)
    passage = {"name": "datasets/d/documents/~passage-0", "key": "long", "text": "x", "passage": {"index": 0}}
    report = await imported(stub, json.dumps([passage]).encode())
    assert [rejection.message for rejection in report.rejections] == [
        "this is a passage of a document; export the documents with documents:read and wholeDocuments"
    ]


@pytest.mark.parametrize("passages", [{"max_tokens": 5}, {"max_tokens": 64, "overlap_tokens": 33}])
async def test_passages_that_cannot_be_are_refused(stub: Any, passages: dict[str, int]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await created(stub, **passages)
    assert reason(refusal.value) == "INVALID_ARGUMENT"


async def test_a_model_that_cannot_have_the_passages_is_refused_later_too(stub: Any) -> None:
    await created(stub)
    dataset = resources_pb2.Dataset(name="datasets/d", embedding_model="given")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.UpdateDataset(
            pb2.UpdateDatasetRequest(dataset=dataset, update_mask=FieldMask(paths=["embedding_model"]))
        )
    assert reason(refusal.value) == "INVALID_ARGUMENT"
    assert "given vectors are of whole documents" in (refusal.value.details() or "")


async def test_without_the_option_texts_stay_whole(stub: Any) -> None:
    await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=resources_pb2.Dataset()))
    report = await imported(stub, [{"id": "long", "text": LONG}])
    assert (report.passage_count, report.dataset.HasField("passages"), report.dataset.next_row) == (0, False, 1)
