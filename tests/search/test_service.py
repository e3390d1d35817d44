"""The service as its callers see it: real gRPC, real NATS, a process that can be killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from prisma.common.v1.job_pb2 import Job, WatchJobRequest
from prisma.search.v1 import search_service_pb2 as pb2
from tests.process import ServiceProcess
from tests.search.owners import Data, Owners, embed, encode

Request = pb2.SearchDocumentsRequest
TEXTS = {
    "open": "Open a file and return a file object.",
    "close": "Close the file object and free its descriptor.",
    "json": "Parse JSON text into Python objects.",
    "http": "Handle HTTP requests on a socket.",
    "sort": "Sort a list of numbers in place.",
    "socket": "Open a socket and listen for requests of clients.",
}


def fill(owners: Owners, name: str = "datasets/a", **fields: Any) -> Data:
    data = owners.new(name, **fields)
    for number, (key, text) in enumerate(TEXTS.items()):
        data.add(key, text, module="io" if number < 2 else "net", number=number)
    data.embed_all()
    codes = data.train()
    for index in sorted(set(codes.indices.tolist())):
        data.label(index, f"label {index}")
    return data


async def until_current(stub: Any, name: str = "datasets/a", seconds: float = 30.0) -> pb2.IndexStatus:
    """The index's status once all streams have reached their owners."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset=name))
        if status.current:
            return status
        assert asyncio.get_running_loop().time() < deadline, status
        await asyncio.sleep(0.05)


async def error_of(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and message of the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    for key, value in caught.value.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            status = status_pb2.Status.FromString(value)
            assert status.details[0].Unpack(info)
            return caught.value.code(), info.reason, status.message
    raise AssertionError(caught.value)


@pytest.fixture
async def data(owners: Owners, service: ServiceProcess, stub: Any) -> Data:
    made = fill(owners)
    await asyncio.to_thread(service.start)
    await until_current(stub)
    return made


async def test_full_text_says_why(stub: Any, data: Data) -> None:
    found = await stub.SearchDocuments(
        Request(parent="datasets/a", query='opening "files"', mode=Request.MODE_FULL_TEXT, run="runs/a")
    )
    assert [hit.key for hit in found.hits] == ["open", "close", "socket"]
    assert found.total_size == 3
    assert not found.notices and not found.next_page_token
    first = found.hits[0]
    assert first.document == "datasets/a/documents/open"
    assert (first.rank, first.row) == (1, 0)
    assert [(part.part, part.rank) for part in first.parts] == [("text", 1)]
    assert first.parts[0].contribution == first.score == first.parts[0].score > 0
    marked = [first.snippet[each.start : each.end] for each in first.highlights]
    assert marked == ["Open", "file", "file"]
    assert dict(first.metadata) == {"module": "io", "number": 0}
    assert all(each.label == f"label {each.index}" for each in found.query_features if each.index in data.labels)


async def test_shared_features_are_the_bits_of_the_codes(stub: Any, data: Data) -> None:
    query = "open a file"
    code = encode([embed(query)], np.zeros(1, np.uint64))
    weights = dict(zip(code.indices.tolist(), code.values.tolist(), strict=True))
    assert data.codes is not None
    found = await stub.SearchDocuments(Request(parent="datasets/a", query=query, run="runs/a"))
    assert {each.index: each.activation for each in found.query_features} == weights
    shared = 0
    for hit in found.hits:
        indices, values = data.codes.row(hit.row)
        own = dict(zip(indices.tolist(), values.tolist(), strict=True))
        expected = sorted(set(own) & set(weights), key=lambda index: -own[index] * weights[index])
        assert [each.index for each in hit.shared_features] == expected
        for each in hit.shared_features:
            assert each.document_activation == own[each.index]
            assert each.query_activation == weights[each.index]
        if expected:
            assert sum(each.contribution for each in hit.shared_features) == pytest.approx(1)
        shared += len(expected)
    assert shared


async def test_semantic_ranks_by_cosine(stub: Any, data: Data) -> None:
    found = await stub.SearchDocuments(Request(parent="datasets/a", query=TEXTS["json"], mode=Request.MODE_SEMANTIC))
    assert found.hits[0].key == "json"
    assert found.hits[0].score == pytest.approx(1, abs=1e-6)
    assert len(found.hits) == found.total_size == len(TEXTS)


@pytest.mark.parametrize("fusion", [Request.FUSION_MIN_MAX, Request.FUSION_RECIPROCAL_RANK])
async def test_hybrid_is_the_sum_of_its_parts(stub: Any, data: Data, fusion: Any) -> None:
    found = await stub.SearchDocuments(Request(parent="datasets/a", query="open file", fusion=fusion))
    assert found.hits[0].key == "open"
    for hit in found.hits:
        assert {part.part for part in hit.parts} == {"text", "dense"}
        assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score)
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    if fusion == Request.FUSION_MIN_MAX:
        assert found.hits[0].score == pytest.approx(1)
    alone = await stub.SearchDocuments(Request(parent="datasets/a", query="open file", text_weight=0, dense_weight=1))
    dense = await stub.SearchDocuments(Request(parent="datasets/a", query="open file", mode=Request.MODE_SEMANTIC))
    assert [hit.key for hit in alone.hits] == [hit.key for hit in dense.hits]


async def test_sparse_by_query_and_by_latents(stub: Any, data: Data) -> None:
    by_query = await stub.SearchDocuments(
        Request(parent="datasets/a", query=TEXTS["sort"], mode=Request.MODE_SPARSE, run="runs/a")
    )
    assert by_query.hits[0].key == "sort"
    code = encode([embed(TEXTS["sort"])], np.zeros(1, np.uint64))
    latents = [
        pb2.LatentWeight(index=index, weight=weight)
        for index, weight in zip(code.indices.tolist(), code.values.tolist(), strict=True)
    ]
    by_latents = await stub.SearchDocuments(
        Request(parent="datasets/a", latents=latents, mode=Request.MODE_SPARSE, run="runs/a")
    )
    assert [(hit.key, hit.score) for hit in by_latents.hits] == [(hit.key, hit.score) for hit in by_query.hits]


async def test_filters_by_metadata_and_latent(stub: Any, data: Data) -> None:
    assert data.codes is not None
    latent, bound = int(data.codes.indices[0]), float(data.codes.values[0])
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID, Request.MODE_SPARSE):
        asked = Request(parent="datasets/a", query="open file", mode=mode, run="runs/a")
        if mode == Request.MODE_SPARSE:
            asked.latents.extend(pb2.LatentWeight(index=index, weight=1) for index in range(96))
        asked.filter = 'metadata.module = "net"'
        assert {hit.metadata["module"] for hit in (await stub.SearchDocuments(asked)).hits} == {"net"}
        asked.filter = f"latent.{latent} >= {bound!r} AND metadata.module = io AND metadata.number = 0"
        assert [hit.row for hit in (await stub.SearchDocuments(asked)).hits] == [0]
        asked.filter = f"latent.{latent} > {bound!r} AND metadata.number = 0"
        assert not (await stub.SearchDocuments(asked)).hits


async def test_pages_neither_lose_nor_repeat(stub: Any, owners: Owners, data: Data, hint: Callable[[], Any]) -> None:
    for number in range(240):
        data.add(f"same{number}", "The same words in each file.")
    data.embed_all()
    await hint()
    await until_current(stub)
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID):
        keys: list[str] = []
        asked = Request(parent="datasets/a", query="file words", mode=mode, page_size=37)
        while True:
            page = await stub.SearchDocuments(asked)
            keys += [hit.key for hit in page.hits]
            if not page.next_page_token:
                break
            asked.page_token = page.next_page_token
        assert len(keys) == len(set(keys))
        assert len(keys) == page.total_size


async def test_features_are_found_by_their_words(stub: Any, data: Data, hint: Callable[[], Any]) -> None:
    data.label(5, "randomised trials")
    data.label(6, "court trial")
    await hint()
    await until_current(stub)
    found = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="Randomised trial"))
    assert [(hit.index, hit.label) for hit in found.hits] == [(5, "randomised trials"), (6, "court trial")]
    assert found.hits[0].feature == "runs/a/features/5"
    assert found.hits[0].density == 0.25 and found.hits[0].description == "About randomised trials."
    assert found.total_size == 2
    data.label(5, "")
    await hint()
    await until_current(stub)
    found = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="trials"))
    assert [hit.index for hit in found.hits] == [6]
    assert (await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="6"))).hits[0].index == 6


async def test_similar_documents_leave_out_the_document(stub: Any, data: Data) -> None:
    found = await stub.FindSimilarDocuments(
        pb2.FindSimilarDocumentsRequest(document="datasets/a/documents/open", run="runs/a", page_size=3)
    )
    assert len(found.hits) == 3
    assert "open" not in [hit.key for hit in found.hits]
    assert [hit.rank for hit in found.hits] == [1, 2, 3]
    assert found.hits[0].key == "close"
    assert found.hits[0].shared_features


async def test_all_datasets_are_searched_as_one(stub: Any, owners: Owners, data: Data, hint: Callable[[], Any]) -> None:
    other = owners.new("datasets/b")
    other.add("far", "An essay on a file, a file and a file.")
    other.embed_all()
    foreign = owners.new("datasets/c", model="ollama/other")
    foreign.add("away", "A file in another space.")
    foreign.embed_all()
    await hint()
    await until_current(stub, "datasets/b")
    await until_current(stub, "datasets/c")
    found = await stub.SearchDocuments(Request(parent="datasets/-", query="file", mode=Request.MODE_FULL_TEXT))
    assert {hit.document for hit in found.hits} == {
        "datasets/a/documents/open",
        "datasets/a/documents/close",
        "datasets/b/documents/far",
        "datasets/c/documents/away",
    }
    assert found.hits[0].key == "far" and found.total_size == 4
    dense = await stub.SearchDocuments(Request(parent="datasets/-", query="file", mode=Request.MODE_SEMANTIC))
    assert len(dense.hits) == len(TEXTS) + 1
    assert "datasets/c" in dense.notices[0]
    both = await stub.SearchDocuments(Request(parent="datasets/-", query="file"))
    assert "away" in [hit.key for hit in both.hits]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(parent="datasets/a"), "query"),
        (Request(parent="datasets/a", query="  \n"), "query"),
        (Request(parent="nothing", query="x"), "parent"),
        (Request(parent="datasets/a", query="x", mode=Request.MODE_SPARSE), "run"),
        (Request(parent="datasets/a", query="x", run="datasets/a"), "run"),
        (Request(parent="datasets/a", query="x", text_weight=1.5), "text_weight"),
        (Request(parent="datasets/a", query="x", dense_weight=float("nan")), "dense_weight"),
        (Request(parent="datasets/a", query="x", page_size=-1), "page_size"),
        (Request(parent="datasets/a", query="x" * 100_001), "query"),
        (Request(parent="datasets/-", query="x", run="runs/a"), "run"),
        (Request(parent="datasets/a", query="x", mode=99), "mode"),
        (
            Request(parent="datasets/a", run="runs/a", mode=Request.MODE_SPARSE, latents=[pb2.LatentWeight()] * 2),
            "latents",
        ),
    ],
)
async def test_a_wrong_request_names_its_field(stub: Any, data: Data, request_: Request, field: str) -> None:
    code, reason, message = await error_of(stub.SearchDocuments(request_))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert message.startswith(f"{field}: ")


async def test_what_is_not_there_is_told(stub: Any, owners: Owners, data: Data, hint: Callable[[], Any]) -> None:
    assert (await error_of(stub.SearchDocuments(Request(parent="datasets/x", query="x"))))[1] == "DATASET_NOT_FOUND"
    asked = Request(parent="datasets/a", query="x", run="runs/x")
    assert (await error_of(stub.SearchDocuments(asked)))[1] == "RUN_NOT_FOUND"
    asked = Request(parent="datasets/a", query="x", filter="colour = red")
    assert (await error_of(stub.SearchDocuments(asked)))[1] == "INVALID_FILTER"
    asked = Request(parent="datasets/a", query="x", page_token="x")
    assert (await error_of(stub.SearchDocuments(asked)))[1] == "INVALID_PAGE_TOKEN"
    bare = owners.new("datasets/bare")
    bare.add("one", "text")
    asked = Request(parent="datasets/bare", query="x")
    assert (await error_of(stub.SearchDocuments(asked)))[1] == "INDEX_NOT_READY"


@pytest.mark.parametrize("query", ['"', "a AND (", "*:*", "\\", "[x TO", "🙂", "!!!", "~^", "\x00"])
async def test_no_query_is_a_parse_error(stub: Any, data: Data, query: str) -> None:
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID):
        await stub.SearchDocuments(Request(parent="datasets/a", query=query, mode=mode, run="runs/a"))


async def test_an_absent_trainer_takes_only_what_needs_it(stub: Any, owners: Owners, data: Data) -> None:
    owners.away = {"trainer"}
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID):
        found = await stub.SearchDocuments(Request(parent="datasets/a", query="file", mode=mode, run="runs/a"))
        assert found.hits and "trainer" in found.notices[0]
    asked = Request(parent="datasets/a", query="file", mode=Request.MODE_SPARSE, run="runs/a")
    code, reason, message = await error_of(stub.SearchDocuments(asked))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE") and "trainer" in message
    asked = Request(
        parent="datasets/a",
        mode=Request.MODE_SPARSE,
        run="runs/a",
        latents=[pb2.LatentWeight(index=i, weight=1) for i in range(96)],
    )
    assert (await stub.SearchDocuments(asked)).hits
    found = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="label"))
    assert found.hits


async def test_an_absent_embedder_is_an_error_and_never_an_empty_list(stub: Any, owners: Owners, data: Data) -> None:
    owners.away = {"embedder"}
    for mode in (Request.MODE_SEMANTIC, Request.MODE_HYBRID):
        code, reason, _ = await error_of(stub.SearchDocuments(Request(parent="datasets/a", query="file", mode=mode)))
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    found = await stub.SearchDocuments(Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT))
    assert len(found.hits) == 2
    status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/a"))
    assert not status.current
    assert not status.streams[0].HasField("owner_revision")


async def test_status_counts_what_is_there(stub: Any, data: Data) -> None:
    status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/a"))
    assert status.backend == "embedded" and status.current and status.size_bytes > 0
    counts = {each.kind: (each.resource, each.item_count) for each in status.streams}
    assert counts["documents"] == ("datasets/a", len(TEXTS))
    assert counts["vectors"] == ("datasets/a", len(TEXTS))
    assert counts["codes"] == ("runs/a", len(TEXTS))
    assert counts["labels"] == ("runs/a", len(data.labels))


async def test_only_what_changed_is_read_again(stub: Any, owners: Owners, data: Data, hint: Callable[[], Any]) -> None:
    before = data.revision
    owners.reads.clear()
    data.add("new", "A brand new zebra.")
    data.delete(0)
    await hint()
    await until_current(stub)
    assert {read for read in owners.reads} == {("documents", before), ("vectors", before)}
    found = await stub.SearchDocuments(Request(parent="datasets/a", query="zebra open", mode=Request.MODE_FULL_TEXT))
    assert [hit.key for hit in found.hits] == ["new", "socket"]
    sparse = await stub.SearchDocuments(
        Request(parent="datasets/a", query=TEXTS["open"], mode=Request.MODE_SPARSE, run="runs/a")
    )
    assert "open" not in [hit.key for hit in sparse.hits]


async def test_only_a_tombstone_deletes(
    stub: Any, owners: Owners, data: Data, service: ServiceProcess, hint: Callable[[], Any], tmp_path: Any
) -> None:
    folder = tmp_path / "data" / "search" / "index"
    kept = list(owners.data)
    owners.data = []  # an owner that lost everything, or was set up anew
    fill(owners, "datasets/b")
    await hint()
    await until_current(stub, "datasets/b")
    assert (folder / data.uid).exists() and (folder / data.run_uid).exists()
    owners.data += kept
    data.deleted = True
    again = fill(owners, "datasets/a")  # the name is used again at once
    await hint()
    await until_current(stub)
    assert not (folder / data.uid).exists() and not (folder / data.run_uid).exists()
    assert (folder / again.uid).exists()


async def watch(jobs: Any, job: Job) -> Job:
    async for each in jobs.WatchJob(WatchJobRequest(name=job.name)):
        job = each
    return job


async def test_reindexing_builds_anew_and_searches_go_on(stub: Any, jobs: Any, owners: Owners, data: Data) -> None:
    owners.block_rows, owners.pause = 1, 0.02
    owners.reads.clear()
    job = await stub.ReindexDataset(pb2.ReindexDatasetRequest(dataset="datasets/a", request_id="once"))
    again = await stub.ReindexDataset(pb2.ReindexDatasetRequest(dataset="datasets/a", request_id="once"))
    assert again.name == job.name
    ended = asyncio.create_task(watch(jobs, job))
    while not ended.done():
        found = await stub.SearchDocuments(Request(parent="datasets/a", query="file"))
        assert [hit.key for hit in found.hits[:2]] == ["open", "close"]
        await asyncio.sleep(0.01)
    assert ended.result().state == Job.STATE_SUCCEEDED, ended.result()
    assert {("documents", 0), ("vectors", 0), ("codes", 0)} <= set(owners.reads)
    assert (await until_current(stub)).streams[0].item_count == len(TEXTS)
    job = await stub.ReindexRun(pb2.ReindexRunRequest(run="runs/a"))
    assert (await watch(jobs, job)).state == Job.STATE_SUCCEEDED
    assert (await error_of(stub.ReindexRun(pb2.ReindexRunRequest(run="runs/x"))))[1] == "RUN_NOT_FOUND"


async def test_killed_while_catching_up_nothing_is_lost_or_doubled(
    owners: Owners, service: ServiceProcess, stub: Any
) -> None:
    data = owners.new("datasets/a")
    for number in range(120):
        data.add(f"doc{number}", f"Text number {number} of a file.", number=number)
    data.embed_all()
    codes = data.train()
    owners.block_rows, owners.pause = 5, 0.02
    for blocks in (3, 30, 40, 60):  # in the middle of documents, vectors, codes
        owners.blocks_sent = 0
        await asyncio.to_thread(service.start)
        while owners.blocks_sent < blocks:
            await asyncio.sleep(0.01)
            status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/a"), wait_for_ready=True)
            if status.current:
                break
        await asyncio.to_thread(service.kill)
    owners.pause = 0
    await asyncio.to_thread(service.start)
    status = await until_current(stub)
    assert [each.item_count for each in status.streams] == [120, 120, 120, 0]
    found = await stub.SearchDocuments(
        Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT, page_size=200, run="runs/a")
    )
    assert sorted(hit.row for hit in found.hits) == list(range(120))
    for hit in found.hits:
        own = dict(zip(codes.row(hit.row)[0].tolist(), codes.row(hit.row)[1].tolist(), strict=True))
        assert all(own[each.index] == each.document_activation for each in hit.shared_features)


async def test_the_index_outlives_the_owners(owners: Owners, service: ServiceProcess, stub: Any, data: Data) -> None:
    assert await asyncio.to_thread(service.stop) == 0
    owners.away = {"embedder", "trainer", "interpreter"}
    await asyncio.to_thread(service.start)
    found = await stub.SearchDocuments(Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT))
    assert [hit.key for hit in found.hits] == ["open", "close"]
