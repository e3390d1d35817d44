"""The embedder as its clients see it: a real process, real gRPC, NATS and SQLite."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import grpc.aio
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.block_pb2 import RowRange
from prisma.common.v1.job_pb2 import CancelJobRequest, GetJobRequest, Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc, resources_pb2
from prisma_client import sample
from prisma_common import wire
from prisma_common.reasons import Code
from services.chassis.errors import reason_of
from services.chassis.job_store import TERMINAL
from tests.broken_ollama import broken_ollama
from tests.calls import assert_resource_is_named, reason
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

Rows = Iterable[Mapping[str, Any]]


async def imported(
    stub: Any, rows: Rows | bytes, dataset: str = "datasets/d", **config: Any
) -> pb2.ImportDocumentsResponse:
    data = rows if isinstance(rows, bytes) else json.dumps(list(rows)).encode()

    async def messages() -> AsyncIterator[pb2.ImportDocumentsRequest]:
        yield pb2.ImportDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(dataset=dataset, **config))
        for start in range(0, len(data), 1 << 16):
            yield pb2.ImportDocumentsRequest(chunk=data[start : start + (1 << 16)])

    return await stub.ImportDocuments(messages())


async def created(stub: Any, dataset_id: str = "d") -> resources_pb2.Dataset:
    return await stub.CreateDataset(
        pb2.CreateDatasetRequest(dataset_id=dataset_id, dataset=resources_pb2.Dataset(display_name="D"))
    )


def numbered(count: int) -> Rows:
    return ({"id": f"doc-{n}", "text": f"the text number {n} of a dataset", "n": n} for n in range(count))


async def ended(jobs: Any, job: Job) -> Job:
    for _ in range(600):
        try:
            job = await jobs.GetJob(GetJobRequest(name=job.name))
            if job.state in TERMINAL:
                return job
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
        await asyncio.sleep(0.1)
    raise AssertionError(f"the job did not end: {job}")


async def embedded(stub: Any, jobs: Any, name: str = "datasets/d") -> Job:
    job = await ended(jobs, await stub.EmbedDataset(pb2.EmbedDatasetRequest(name=name)))
    assert job.state == Job.STATE_SUCCEEDED, job
    return job


async def vectors_of(stub: Any, **request: Any) -> tuple[dict[int, bytes], list[int], pb2.ReadVectorsResponse]:
    """Vectors by row, tombstones, and the last block, which says what was reached."""
    by_row: dict[int, bytes] = {}
    tombstones: list[int] = []
    block = pb2.ReadVectorsResponse()
    async for block in stub.ReadVectors(pb2.ReadVectorsRequest(dataset="datasets/d", **request)):
        tombstones.extend(block.deleted_rows)
        if block.HasField("vectors"):
            rows, vectors = wire.unpack_vectors(block.vectors)
            for row, vector in zip(rows, vectors, strict=True):
                assert int(row) not in by_row
                by_row[int(row)] = vector.tobytes()
    return by_row, tombstones, block


async def test_documents_are_imported_embedded_and_read_back(stub: Any, jobs: Any) -> None:
    await created(stub)
    report = await imported(stub, numbered(50))
    assert (report.imported_count, report.rejected_count) == (50, 0)
    job = await embedded(stub, jobs)
    assert (job.progress.done, job.progress.total, job.progress.unit) == (50, 50, "documents")
    dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
    assert (dataset.embedded_count, dataset.pending_count, dataset.dimension) == (50, 0, 256)
    vectors, _tombstones, last = await vectors_of(stub)
    assert sorted(vectors) == list(range(50))
    assert (last.revision, last.history) == (dataset.revision, dataset.history)
    document = await stub.GetDocument(
        pb2.GetDocumentRequest(name="datasets/d/documents/doc-7", view=resources_pb2.DOCUMENT_VIEW_FULL)
    )
    assert document.metadata["n"] == 7
    assert document.vector.data == vectors[7]


async def test_a_text_has_the_same_bits_in_every_batch(stub: Any, jobs: Any) -> None:
    await created(stub)
    texts = [document["text"] for document, _ in zip(sample.documents(), range(60), strict=False)]
    await imported(stub, ({"id": n, "text": text} for n, text in enumerate(texts)))
    await embedded(stub, jobs)
    vectors, _tombstones, _last = await vectors_of(stub)
    for size in (1, 7, 60):
        for start in range(0, 60, size):
            part = texts[start : start + size]
            answer = await stub.EmbedTexts(pb2.EmbedTextsRequest(embedding_model="builtin", texts=part))
            _rows, embedded_alone = wire.unpack_vectors(answer.vectors)
            assert [vector.tobytes() for vector in embedded_alone] == [vectors[start + n] for n in range(len(part))]
            np.testing.assert_allclose(np.linalg.norm(embedded_alone, axis=1), 1, rtol=1e-5)


async def test_streams_give_what_changed_since_a_revision_and_tombstones(stub: Any, jobs: Any) -> None:
    await created(stub)
    await imported(stub, numbered(20))
    await embedded(stub, jobs)
    _all, _tombstones, first = await vectors_of(stub)
    since: dict[str, Any] = {"since_revision": first.revision, "history": first.history}
    await stub.DeleteDocument(pb2.DeleteDocumentRequest(name="datasets/d/documents/doc-3"))
    await imported(stub, [{"id": "late", "text": "a text that came late"}])
    await embedded(stub, jobs)
    changed, tombstones, _last = await vectors_of(stub, **since)
    assert (sorted(changed), tombstones) == ([20], [3])
    everything, _tombstones, _last = await vectors_of(stub)
    assert sorted(everything) == [n for n in range(21) if n != 3]
    part, _tombstones, _last = await vectors_of(stub, row_ranges=[RowRange(start=5, end=8)], start_row=6)
    assert sorted(part) == [6, 7]
    rows_only = pb2.ReadVectorsRequest(dataset="datasets/d", rows_only=True, row_ranges=[RowRange(start=1, end=30)])
    answers = [answer async for answer in stub.ReadVectors(rows_only)]
    assert [(rows.start, rows.end) for answer in answers for rows in answer.row_ranges] == [(1, 3), (4, 21)]
    assert not any(answer.HasField("vectors") for answer in answers)
    request = pb2.ReadDocumentsRequest(dataset="datasets/d", read_mask=FieldMask(paths=["key"]), **since)
    blocks = [block async for block in stub.ReadDocuments(request)]
    assert [(document.key, document.text) for block in blocks for document in block.documents] == [("late", "")]
    assert [row for block in blocks for row in block.deleted_rows] == [3]


async def test_a_position_without_its_history_is_refused(stub: Any) -> None:
    await created(stub)
    for call, request in [
        (stub.ReadDocuments, pb2.ReadDocumentsRequest(dataset="datasets/d", since_revision=1)),
        (stub.ReadVectors, pb2.ReadVectorsRequest(dataset="datasets/d", since_revision=1)),
        (stub.ReadVectors, pb2.ReadVectorsRequest(dataset="datasets/d", since_revision=2**63, history="any")),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request).read()
        assert reason(caught.value) == "INVALID_ARGUMENT", request


async def test_kill_9_in_the_middle_of_embedding_loses_and_doubles_nothing(
    stub: Any, jobs: Any, embedder: ServiceProcess
) -> None:
    await created(stub)
    await imported(stub, numbered(3000))
    job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
    for _ in range(400):
        dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
        if dataset.embedded_count:
            break
        await asyncio.sleep(0.02)
    embedder.kill()
    embedder.start()
    done = await ended(jobs, job)
    assert done.state == Job.STATE_SUCCEEDED
    assert done.attempt == 2
    vectors, _tombstones, _last = await vectors_of(stub)
    assert sorted(vectors) == list(range(3000))
    fresh = await stub.EmbedTexts(
        pb2.EmbedTextsRequest(embedding_model="builtin", texts=[row["text"] for row in numbered(200)])
    )
    _rows, expected = wire.unpack_vectors(fresh.vectors)
    assert [vectors[n] for n in range(200)] == [vector.tobytes() for vector in expected]


async def test_kill_9_of_the_message_server_in_the_middle_of_embedding_loses_nothing(
    stub: Any, jobs: Any, nats_server: NatsServer
) -> None:
    await created(stub)
    await imported(stub, numbered(3000))
    job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
    nats_server.kill()
    nats_server.start()
    assert (await ended(jobs, job)).state == Job.STATE_SUCCEEDED
    vectors, _tombstones, _last = await vectors_of(stub)
    assert sorted(vectors) == list(range(3000))


async def test_a_dataset_deleted_while_its_job_runs_is_gone_and_nothing_comes_back(
    stub: Any, jobs: Any, tmp_path: Path
) -> None:
    await created(stub)
    await imported(stub, numbered(3000))
    job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
    tombstone = await stub.DeleteDataset(pb2.DeleteDatasetRequest(name="datasets/d"))
    assert tombstone.HasField("delete_time")
    assert (await ended(jobs, job)).state in (Job.STATE_CANCELLED, Job.STATE_FAILED)
    again = await created(stub)
    assert again.uid != tombstone.uid
    assert again.document_count == 0
    listed = await stub.ListDatasets(pb2.ListDatasetsRequest(show_deleted=True))
    assert {dataset.uid for dataset in listed.datasets} == {tombstone.uid, again.uid}
    vectors, _tombstones, _last = await vectors_of(stub)
    assert vectors == {}
    blobs = tmp_path / "data/embedder/blobs"
    for _ in range(300):  # data is deleted in the background
        if not list(blobs.rglob(f"{tombstone.uid}/*.npy")):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the vectors of a deleted dataset stay")


async def test_an_import_repeated_under_its_request_id_gives_the_first_report(stub: Any) -> None:
    await created(stub)
    first = await imported(stub, numbered(5), request_id="r1")
    again = await imported(stub, numbered(5), request_id="r1")
    assert again == first
    for rows, config in [(numbered(6), {}), (numbered(5), {"text_fields": ["other"]})]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await imported(stub, rows, request_id="r1", **config)
        assert reason(caught.value) == "REQUEST_ID_REUSED"
    await created(stub, "e")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await imported(stub, numbered(5), request_id="r1", dataset="datasets/e")
    assert reason(caught.value) == "REQUEST_ID_REUSED"
    assert (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/e"))).document_count == 0
    other = await imported(stub, numbered(6))
    assert (other.imported_count, other.rejected_count) == (1, 5)
    checked = await imported(stub, numbered(9), validate_only=True)
    assert (checked.imported_count, checked.dataset.document_count) == (3, 6)


async def test_lists_come_in_pages_and_filtered(stub: Any) -> None:
    await created(stub)
    await imported(stub, numbered(25))
    names: list[str] = []
    token = ""
    while True:
        page = await stub.ListDocuments(pb2.ListDocumentsRequest(parent="datasets/d", page_size=10, page_token=token))
        names.extend(document.key for document in page.documents)
        assert page.total_size == 25
        token = page.next_page_token
        if not token:
            break
    assert names == [f"doc-{n}" for n in range(25)]
    matching = await stub.ListDocuments(
        pb2.ListDocumentsRequest(parent="datasets/d", filter='state = PENDING AND text : "NUMBER 7 "')
    )
    assert [document.key for document in matching.documents] == ["doc-7"]


BAD = [
    ("GetDataset", pb2.GetDatasetRequest(name="d"), "INVALID_ARGUMENT"),
    ("GetDataset", pb2.GetDatasetRequest(name="datasets/none"), "DATASET_NOT_FOUND"),
    ("GetDataset", pb2.GetDatasetRequest(name="datasets/a/b"), "INVALID_ARGUMENT"),
    ("CreateDataset", pb2.CreateDatasetRequest(dataset_id="../x"), "INVALID_ARGUMENT"),
    ("CreateDataset", pb2.CreateDatasetRequest(dataset_id="d"), "DATASET_ALREADY_EXISTS"),
    (
        "CreateDataset",
        pb2.CreateDatasetRequest(dataset=resources_pb2.Dataset(embedding_model="http://evil/x")),
        "EMBEDDING_MODEL_NOT_FOUND",
    ),
    (
        "CreateDataset",
        pb2.CreateDatasetRequest(dataset=resources_pb2.Dataset(display_name="x" * 201)),
        "INVALID_ARGUMENT",
    ),
    ("ListDatasets", pb2.ListDatasetsRequest(page_size=-1), "INVALID_ARGUMENT"),
    ("ListDatasets", pb2.ListDatasetsRequest(page_token="nonsense"), "INVALID_PAGE_TOKEN"),
    (
        "ListDocuments",
        pb2.ListDocumentsRequest(parent="datasets/d", filter=" AND ".join(["state = FAILED"] * 3000)),
        "INVALID_FILTER",
    ),
    ("EmbedTexts", pb2.EmbedTextsRequest(embedding_model="builtin", texts=["\u200b"]), "INVALID_ARGUMENT"),
    (
        "EmbedTexts",
        pb2.EmbedTextsRequest(embedding_model="builtin", texts=["a"], encoding=cast(Any, 77)),
        "INVALID_ARGUMENT",
    ),
    ("ListDocuments", pb2.ListDocumentsRequest(parent="datasets/d", filter="state = WRONG"), "INVALID_FILTER"),
    ("ListDocuments", pb2.ListDocumentsRequest(parent="datasets/d", filter="colour = red"), "INVALID_FILTER"),
    ("ListDocuments", pb2.ListDocumentsRequest(parent="datasets/d", filter="state PENDING"), "INVALID_FILTER"),
    ("GetDocument", pb2.GetDocumentRequest(name="datasets/d/documents/none"), "DOCUMENT_NOT_FOUND"),
    ("DeleteDocument", pb2.DeleteDocumentRequest(name="datasets/d/documents/none"), "DOCUMENT_NOT_FOUND"),
    (
        "BatchGetDocuments",
        pb2.BatchGetDocumentsRequest(parent="datasets/d", rows=range(1001)),
        "INVALID_ARGUMENT",
    ),
    (
        "BatchGetDocuments",
        pb2.BatchGetDocumentsRequest(parent="datasets/d", names=["datasets/e/documents/x"]),
        "INVALID_ARGUMENT",
    ),
    ("EmbedDataset", pb2.EmbedDatasetRequest(name="datasets/none"), "DATASET_NOT_FOUND"),
    ("EmbedTexts", pb2.EmbedTextsRequest(embedding_model="builtin"), "INVALID_ARGUMENT"),
    ("EmbedTexts", pb2.EmbedTextsRequest(embedding_model="builtin", texts=["  "]), "INVALID_ARGUMENT"),
    ("EmbedTexts", pb2.EmbedTextsRequest(embedding_model="none/x", texts=["a"]), "EMBEDDING_MODEL_NOT_FOUND"),
    (
        "UpdateDataset",
        pb2.UpdateDatasetRequest(
            dataset=resources_pb2.Dataset(name="datasets/d"), update_mask=FieldMask(paths=["uid"])
        ),
        "INVALID_ARGUMENT",
    ),
]


async def test_bad_input_gets_an_error_with_its_reason(stub: Any) -> None:
    await created(stub)
    for method, request, expected in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, method)(request)
        assert reason(caught.value) == expected, (method, request)
        assert caught.value.details()
        assert_resource_is_named(caught.value)
    for data, expected in [
        (b"", "INVALID_FILE"),
        (b"%PDF-1.7", "INVALID_FILE"),
        (b'[{"id":', "INVALID_FILE"),
        (b"id,count\n1,1\n2,2\n", "INVALID_FILE"),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await imported(stub, data)
        assert reason(caught.value) == expected
    assert (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count == 0


async def test_one_hostile_line_is_rejected_alone_and_the_service_goes_on(stub: Any, embedder: ServiceProcess) -> None:
    await created(stub)
    deep = b'{"id": "deep", "text": "t", "m": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    half = b'{"id": "\\ud800", "text": "t", "\\udfff": 1}'
    report = await imported(stub, b'{"id": "a", "text": "t"}\n' + deep + b"\n" + half + b'\n{"id": "b", "text": "t"}')
    assert report.imported_count == 2
    assert [rejection.item for rejection in report.rejections] == [2, 3]
    assert (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count == 2
    assert "Traceback" not in embedder.log.read_text()


async def test_a_file_that_is_refused_before_it_is_read_leaves_a_report(stub: Any) -> None:
    await created(stub)

    async def messages() -> AsyncIterator[pb2.ImportDocumentsRequest]:
        for _ in range(2):
            yield pb2.ImportDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(dataset="datasets/d"))

    with pytest.raises(grpc.aio.AioRpcError, match="expected chunks of the file after the config"):
        await stub.ImportDocuments(messages())
    [stored] = (await stub.ListImports(pb2.ListImportsRequest(parent="datasets/d"))).imports
    assert (stored.state, stored.file_bytes) == (pb2.Import.STATE_FAILED, 0)
    assert "expected chunks" in stored.error.message


async def test_no_field_need_hold_ids_and_none_need_become_metadata(stub: Any) -> None:
    await created(stub)
    layouts = resources_pb2.FileLayout
    report = await imported(stub, numbered(3), id_source=layouts.ID_SOURCE_ROW, no_metadata=True)
    layout = report.layout
    assert (layout.id_field, layout.id_source, layout.no_metadata) == ("", layouts.ID_SOURCE_ROW, True)
    listed = await stub.ListDocuments(pb2.ListDocumentsRequest(parent="datasets/d"))
    assert [(document.key, dict(document.metadata)) for document in listed.documents] == [
        (str(n + 1), {}) for n in range(3)
    ]
    stored = await stub.GetImport(pb2.GetImportRequest(name=report.import_name))
    assert stored.layout == layout
    for config, message in (
        ({"id_source": layouts.ID_SOURCE_TEXT, "id_field": "id"}, "none together with id_source ID_SOURCE_TEXT"),
        ({"no_metadata": True, "metadata_fields": ["n"]}, "none together with no_metadata"),
        ({"id_source": 99}, "expected one of ID_SOURCE_UNSPECIFIED"),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=message):
            await imported(stub, numbered(3), **config)


async def test_an_import_whose_client_has_gone_stops(stub: Any, tmp_path: Path) -> None:
    await created(stub)
    file_sent = asyncio.Event()

    async def messages() -> AsyncIterator[pb2.ImportDocumentsRequest]:
        yield pb2.ImportDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(dataset="datasets/d"))
        for start in range(0, 400_000, 10_000):
            lines = b"".join(b'{"id": %d, "text": "text %d"}\n' % (n, n) for n in range(start, start + 10_000))
            yield pb2.ImportDocumentsRequest(chunk=lines)
        file_sent.set()

    async def count() -> int:
        return (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count

    call = asyncio.ensure_future(stub.ImportDocuments(messages()))
    await file_sent.wait()
    for _ in range(600):
        if await count():
            break
        await asyncio.sleep(0.05)
    call.cancel()
    last, current = -1, await count()
    for _ in range(600):
        if current == last:
            break
        await asyncio.sleep(0.5)
        last, current = current, await count()
    assert 0 < current < 400_000


async def test_a_broken_provider_leaves_documents_pending_and_the_job_unfinished(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    with broken_ollama() as ollama:
        process = ServiceProcess(
            "embedder",
            tmp_path,
            {"PRISMA_NATS_URL": nats_server.url, "PRISMA_EMBED_BATCH": "8", "PRISMA_OLLAMA_URL": ollama.url},
        )
        process.start()
        try:
            async with grpc.aio.insecure_channel(process.address) as channel:
                stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
                jobs = job_pb2_grpc.JobServiceStub(channel)
                dataset = resources_pb2.Dataset(embedding_model="ollama/dead:latest")
                await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=dataset))
                await imported(stub, [{"id": n, "text": f"text {n}" if n != 3 else "a ZERO text"} for n in range(12)])
                job = await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
                while not job.error.message:
                    await asyncio.sleep(0.1)
                    job = await jobs.GetJob(GetJobRequest(name=job.name))
                assert job.state == Job.STATE_WAITING
                assert "runner process has terminated" in job.error.message
                counts = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
                assert (counts.pending_count, counts.failed_count) == (12, 0)
                ollama.repaired.add("dead")
                assert (await ended(jobs, job)).state == Job.STATE_SUCCEEDED
                counts = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
                assert (counts.embedded_count, counts.failed_count) == (11, 1)
                page = await stub.ListDocuments(pb2.ListDocumentsRequest(parent="datasets/d", filter="state = FAILED"))
                assert [document.key for document in page.documents] == ["3"]
                failure = page.documents[0].error
                assert (failure.code, reason_of(failure)) == (Code.INVALID_ARGUMENT, "INVALID_VECTOR")
                assert "zeros" in failure.message
                assert (await stub.GetDocument(pb2.GetDocumentRequest(name=page.documents[0].name))).error == failure
                await imported(stub, [{"id": f"again {n}", "text": f"ZERO {n}"} for n in range(10)])
                job = await ended(jobs, await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d")))
                assert (job.state, reason_of(job.error)) == (Job.STATE_FAILED, "PROVIDER_REFUSED")
                assert "none of 10 documents" in job.error.message and "zeros" in job.error.message
        finally:
            process.kill()


async def test_vectors_in_a_damaged_file_are_embedded_again_on_request(stub: Any, jobs: Any, tmp_path: Path) -> None:
    await created(stub)
    await imported(stub, numbered(40))
    await embedded(stub, jobs)
    intact, _tombstones, _last = await vectors_of(stub)
    shard = next((tmp_path / "data/embedder/blobs").rglob("*.npy"))
    shard.unlink()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await vectors_of(stub)
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.DATA_LOSS, "BLOB_DAMAGED")
    job = await ended(jobs, await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d", again=True)))
    assert job.state == Job.STATE_SUCCEEDED, job
    repaired, _tombstones, _last = await vectors_of(stub)
    assert repaired == intact


async def downloaded(stub: Any, name: str, file_format: pb2.DownloadRejectionsRequest.Format) -> tuple[str, str]:
    request = pb2.DownloadRejectionsRequest(name=name, format=file_format)
    parts = [part async for part in stub.DownloadRejections(request)]
    return parts[0].content_type, b"".join(part.data for part in parts).decode()


async def test_imports_are_listed_and_their_rejections_downloaded(stub: Any) -> None:
    await created(stub)
    rows = [*numbered(3), {"id": 'a,"b'}, {"text": "no id"}]
    first = await imported(stub, rows, file_name="reviews.json")
    second = await imported(stub, numbered(4))
    checked = await imported(stub, numbered(9), validate_only=True)
    assert not checked.import_name
    stored = await stub.GetImport(pb2.GetImportRequest(name=first.import_name))
    assert (stored.state, stored.file_name) == (pb2.Import.STATE_SUCCEEDED, "reviews.json")
    assert (stored.read_count, stored.added_count, stored.rejected_count, stored.stored_rejection_count) == (5, 3, 2, 2)
    assert (stored.layout, stored.notes) == (first.layout, first.notes)
    assert stored.rejection_counts == first.rejection_counts
    listed: list[str] = []
    token = ""
    while token or not listed:
        page = await stub.ListImports(pb2.ListImportsRequest(parent="datasets/d", page_size=1, page_token=token))
        listed += [item.name for item in page.imports]
        token = page.next_page_token
    assert listed == [second.import_name, first.import_name]
    formats = pb2.DownloadRejectionsRequest
    kind, table = await downloaded(stub, first.import_name, formats.FORMAT_UNSPECIFIED)
    rejections = [
        {"item": rejection.item, "key": rejection.key, "reason": reason, "message": rejection.message}
        | {"table": "", "table_item": rejection.item}
        for rejection, reason in zip(first.rejections, ["MISSING_TEXT", "MISSING_ID"], strict=True)
    ]
    assert kind == "text/csv; charset=utf-8"
    assert list(csv.DictReader(io.StringIO(table))) == [
        {name: str(value) for name, value in row.items()} for row in rejections
    ]
    kind, text = await downloaded(stub, first.import_name, formats.FORMAT_JSON_LINES)
    assert kind == "application/jsonl"
    assert [json.loads(line) for line in text.splitlines()] == rejections
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetImport(pb2.GetImportRequest(name="datasets/d/imports/none"))
    assert reason(error.value) == "IMPORT_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await downloaded(stub, "datasets/d/imports/none", formats.FORMAT_CSV)
    assert reason(error.value) == "IMPORT_NOT_FOUND"
    none = await downloaded(stub, second.import_name, formats.FORMAT_JSON_LINES)
    assert none[1].count("\n") == 3  # the three that were there already


async def test_a_client_that_goes_away_leaves_a_report_of_what_was_committed(stub: Any) -> None:
    await created(stub)
    call = asyncio.ensure_future(imported(stub, numbered(60_000)))
    count = 0
    while not count:
        count = (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    state = pb2.Import.STATE_RUNNING
    while state == pb2.Import.STATE_RUNNING:
        [stored] = (await stub.ListImports(pb2.ListImportsRequest(parent="datasets/d"))).imports
        state = stored.state
    dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
    assert state == pb2.Import.STATE_CANCELLED
    assert 0 < stored.added_count == dataset.document_count < 60_000


def deletion(condition: str, *, force: bool = False) -> pb2.DeleteDocumentsRequest:
    return pb2.DeleteDocumentsRequest(parent="datasets/d", filter=condition, force=force)


async def test_documents_that_match_a_filter_are_counted_then_deleted(stub: Any, jobs: Any) -> None:
    await created(stub)
    await imported(stub, numbered(5000))
    condition = 'text : "number 4" OR key = doc-7'
    matches = await stub.DeleteDocuments(deletion(condition))
    assert (matches.document_count, len(matches.sample), matches.HasField("job")) == (1112, 100, False)
    assert matches.sample[:2] == ["datasets/d/documents/doc-4", "datasets/d/documents/doc-7"]
    assert (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count == 5000
    started = await stub.DeleteDocuments(deletion(condition, force=True))
    job = await ended(jobs, started.job)
    assert job.state == Job.STATE_SUCCEEDED, job
    assert (job.progress.done, job.log[-1].text) == (1112, "1,112 documents were deleted")
    assert (await stub.DeleteDocuments(deletion(condition))).document_count == 0
    assert (await ended(jobs, (await stub.DeleteDocuments(deletion("*", force=True))).job)).progress.done == 3888
    dataset = await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
    assert (dataset.document_count, dataset.text_bytes) == (0, 0)
    for condition, expected in (("", "INVALID_ARGUMENT"), ("colour = red", "INVALID_FILTER")):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.DeleteDocuments(deletion(condition, force=True))
        assert reason(error.value) == expected


async def test_a_deletion_that_is_cancelled_stops_and_one_that_is_killed_goes_on(
    stub: Any, jobs: Any, embedder: ServiceProcess
) -> None:
    await created(stub)
    await imported(stub, numbered(40_000))
    job = (await stub.DeleteDocuments(deletion("*", force=True))).job
    count = 40_000
    while count == 40_000:
        count = (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count
    await jobs.CancelJob(CancelJobRequest(name=job.name))
    job = await ended(jobs, job)
    assert job.state == Job.STATE_CANCELLED
    count = (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count
    assert 0 < count < 40_000
    job = (await stub.DeleteDocuments(deletion("*", force=True))).job
    embedder.kill()
    embedder.start()
    assert (await ended(jobs, job)).state == Job.STATE_SUCCEEDED
    assert (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count == 0
