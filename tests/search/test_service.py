"""The service as its callers see it: real gRPC, real NATS, a process that can be killed."""

from __future__ import annotations

import asyncio
import copy
import itertools
from pathlib import Path
from typing import Any, cast

import grpc.aio
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from prisma.common.v1.job_pb2 import Job, WatchJobRequest
from prisma.embedder.v1.resources_pb2 import Document, Passage
from prisma.interpreter.v1.resources_pb2 import Trust
from prisma.search.v1 import search_service_pb2 as pb2
from tests.process import ServiceProcess
from tests.search.conftest import Hint
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
    data = owners.create(name, **fields)
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
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            status = status_pb2.Status.FromString(value)
            assert status.details[0].Unpack(info)
            return caught.value.code(), info.reason, status.message
    raise AssertionError(caught.value)


@pytest.fixture
async def data(owners: Owners, service: ServiceProcess, stub: Any) -> Data:
    data = fill(owners)
    await asyncio.to_thread(service.start)
    await until_current(stub)
    return data


async def test_full_text_says_why(stub: Any, data: Data) -> None:
    response = await stub.SearchDocuments(
        Request(parent="datasets/a", query='opening "files"', mode=Request.MODE_FULL_TEXT, run="runs/a")
    )
    assert [hit.key for hit in response.hits] == ["open", "close", "socket"]
    assert response.total_size == 3
    assert not response.notices and not response.next_page_token
    first = response.hits[0]
    assert first.document == "datasets/a/documents/open"
    assert (first.rank, first.row) == (1, 0)
    assert [(part.part, part.rank) for part in first.parts] == [("text", 1)]
    assert first.parts[0].contribution == first.score == first.parts[0].score > 0
    highlighted = [first.snippet[part.start : part.end] for part in first.highlights]
    assert highlighted == ["Open", "file", "file"]
    assert dict(first.metadata) == {"module": "io", "number": 0}
    assert all(
        feature.label == f"label {feature.index}" for feature in response.query_features if feature.index in data.labels
    )


async def test_shared_features_are_the_bits_of_the_codes(stub: Any, data: Data) -> None:
    query = "open a file"
    code = encode([embed(query)], np.zeros(1, np.uint64))
    weights = dict(zip(code.indices.tolist(), code.values.tolist(), strict=True))
    assert data.codes is not None
    response = await stub.SearchDocuments(Request(parent="datasets/a", query=query, run="runs/a"))
    assert {feature.index: feature.activation for feature in response.query_features} == weights
    shared = 0
    for hit in response.hits:
        indices, values = data.codes.row(hit.row)
        own = dict(zip(indices.tolist(), values.tolist(), strict=True))
        expected = sorted(set(own) & set(weights), key=lambda index: -own[index] * weights[index])
        assert [feature.index for feature in hit.shared_features] == expected
        for feature in hit.shared_features:
            assert feature.document_activation == own[feature.index]
            assert feature.query_activation == weights[feature.index]
        if expected:
            assert sum(feature.contribution for feature in hit.shared_features) == pytest.approx(1)
        shared += len(expected)
    assert shared


async def test_semantic_ranks_by_cosine(stub: Any, data: Data) -> None:
    response = await stub.SearchDocuments(Request(parent="datasets/a", query=TEXTS["json"], mode=Request.MODE_SEMANTIC))
    assert response.hits[0].key == "json"
    assert response.hits[0].score == pytest.approx(1, abs=1e-6)
    assert len(response.hits) == response.total_size == len(TEXTS)


@pytest.mark.parametrize("fusion", [Request.FUSION_MIN_MAX, Request.FUSION_RECIPROCAL_RANK])
async def test_hybrid_is_the_sum_of_its_parts(stub: Any, data: Data, fusion: Any) -> None:
    response = await stub.SearchDocuments(Request(parent="datasets/a", query="open file", fusion=fusion))
    assert response.hits[0].key == "open"
    for hit in response.hits:
        assert {part.part for part in hit.parts} == {"text", "dense"}
        assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score)
    assert [hit.score for hit in response.hits] == sorted((hit.score for hit in response.hits), reverse=True)
    if fusion == Request.FUSION_MIN_MAX:
        assert response.hits[0].score == pytest.approx(1)
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


def steered(weight: float, index: int = 1) -> list[pb2.LatentWeight]:
    return [pb2.LatentWeight(index=index, weight=weight)]


def steered_by(*sets: list[int], weight: float = 1, **fields: Any) -> Any:
    """A search that is steered by sets of latents."""
    steering_sets = [pb2.LatentSet(indices=indices, weight=weight) for indices in sets]
    return Request(parent="datasets/a", query="x", run="runs/a", steering_sets=steering_sets, **fields)


def active_in_query_and_close_alone(data: Data) -> tuple[int, float]:
    """A latent that "open file" shares only with the document `close`, and its activation there."""
    assert data.codes is not None
    query = encode([embed("open file")], np.zeros(1, np.uint64))
    own, values = data.codes.row(list(TEXTS).index("close"))
    (latent,) = set(own.tolist()) & set(query.indices.tolist())
    assert data.codes.indices.tolist().count(latent) == 1
    return latent, float(values[own == latent][0])


ALL_MODES = (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_SPARSE, Request.MODE_HYBRID)


@pytest.mark.parametrize("mode", ALL_MODES)
async def test_features_move_documents_up_and_down(stub: Any, data: Data, hint: Hint, mode: Any) -> None:
    latent, largest = active_in_query_and_close_alone(data)
    data.label(latent, "closing things")
    await hint()
    await until_current(stub)
    for weight in (3, 0, -3):
        request = Request(
            parent="datasets/a", query="open file", mode=mode, run="runs/a", steering=steered(weight, index=latent)
        )
        hits = (await stub.SearchDocuments(request)).hits
        assert sorted(hit.unsteered_rank for hit in hits) == [hit.rank for hit in hits]
        for hit in hits:
            assert sum(part.contribution for part in hit.parts) == pytest.approx(hit.score, abs=1e-6)
            assert bool(hit.steering) == (hit.key == "close")
            assert weight or hit.unsteered_rank == hit.rank
        (close,) = (hit for hit in hits if hit.key == "close")
        (feature,) = close.steering
        assert (feature.index, feature.label, feature.activation) == (latent, "closing things", largest)
        assert feature.reliability.trust == Trust.TRUST_TRUSTED
        assert feature.contribution == pytest.approx(weight)
        assert close.parts[-1].contribution == pytest.approx(weight)
        assert not weight or close.rank == (1 if weight > 0 else len(hits))


async def test_a_page_token_is_bound_to_the_steering(stub: Any, data: Data) -> None:
    steering = [pb2.LatentWeight(index=1, weight=2)]
    request = Request(parent="datasets/a", query="file", run="runs/a", steering=steering, page_size=2)
    whole = await stub.SearchDocuments(Request(parent="datasets/a", query="file", run="runs/a", steering=steering))
    first = await stub.SearchDocuments(request)
    request.page_token = first.next_page_token
    second = await stub.SearchDocuments(request)
    assert [hit.key for hit in [*first.hits, *second.hits]] == [hit.key for hit in whole.hits[:4]]
    request.steering[0].weight = 1
    assert (await error_of(stub.SearchDocuments(request)))[1] == "INVALID_PAGE_TOKEN"
    request.steering[0].weight = 2
    request.steering_sets.add(indices=[2, 3], weight=1)
    assert (await error_of(stub.SearchDocuments(request)))[1] == "INVALID_PAGE_TOKEN"
    del request.steering_sets[:]
    request.sparse_weight = 0.5
    assert (await error_of(stub.SearchDocuments(request)))[1] == "INVALID_PAGE_TOKEN"


async def test_codes_have_a_part_in_a_hybrid_search_that_gives_them_a_weight(stub: Any, data: Data) -> None:
    async def parts(**fields: Any) -> list[str]:
        request = Request(parent="datasets/a", query="open file", run="runs/a", **fields)
        return [part.part for part in (await stub.SearchDocuments(request)).hits[0].parts]

    latents = [pb2.LatentWeight(index=index, weight=1) for index in range(96)]
    assert await parts() == ["text", "dense"]
    assert await parts(sparse_weight=0.5) == ["text", "dense", "sparse"]
    assert await parts(latents=latents) == ["text", "dense", "sparse"]
    assert await parts(latents=latents, sparse_weight=0) == ["text", "dense"]


async def test_steering_before_there_are_codes_is_an_error_and_a_silent_feature_a_notice(
    stub: Any, owners: Owners, data: Data, hint: Hint
) -> None:
    assert data.codes is not None
    silent = min(set(range(96)) - set(data.codes.indices.tolist()))
    steering = [pb2.LatentWeight(index=silent, weight=3)]
    response = await stub.SearchDocuments(Request(parent="datasets/a", query="file", run="runs/a", steering=steering))
    assert response.notices == [f"no document has feature {silent}: it steers nothing"]
    assert [hit.unsteered_rank for hit in response.hits] == [hit.rank for hit in response.hits]
    bare = owners.create("datasets/b")
    bare.add("one", "A file.")
    bare.embed_all()
    await hint()
    await until_current(stub, "datasets/b")
    request = Request(parent="datasets/b", query="file", run="runs/b", steering=steering)
    assert (await error_of(stub.SearchDocuments(request)))[1] == "INDEX_NOT_READY"


async def test_filters_by_metadata_and_latent(stub: Any, data: Data) -> None:
    assert data.codes is not None
    latent, bound = int(data.codes.indices[0]), float(data.codes.values[0])
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID, Request.MODE_SPARSE):
        request = Request(parent="datasets/a", query="open file", mode=mode, run="runs/a")
        if mode == Request.MODE_SPARSE:
            request.latents.extend(pb2.LatentWeight(index=index, weight=1) for index in range(96))
        request.filter = 'metadata.module = "net"'
        assert {hit.metadata["module"] for hit in (await stub.SearchDocuments(request)).hits} == {"net"}
        request.filter = f"latent.{latent} >= {bound!r} AND metadata.module = io AND metadata.number = 0"
        assert [hit.row for hit in (await stub.SearchDocuments(request)).hits] == [0]
        above = float(np.nextafter(bound, np.inf))
        for comparison in (f"> {bound!r}", f">= {above!r}"):
            request.filter = f"latent.{latent} {comparison} AND metadata.number = 0"
            assert not (await stub.SearchDocuments(request)).hits
        request.filter = f"latent.{latent} >= 0"
        of_all = await stub.SearchDocuments(request)
        request.filter = f"latent.{latent} > 0"
        assert of_all.total_size > (await stub.SearchDocuments(request)).total_size > 0


async def test_pages_neither_lose_nor_repeat(stub: Any, owners: Owners, data: Data, hint: Hint) -> None:
    for number in range(240):
        data.add(f"same{number}", "The same words in feature file.")
    data.embed_all()
    await hint()
    await until_current(stub)
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID):
        keys: list[str] = []
        request = Request(parent="datasets/a", query="file words", mode=mode, page_size=37)
        while True:
            page = await stub.SearchDocuments(request)
            keys += [hit.key for hit in page.hits]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert len(keys) == len(set(keys))
        assert len(keys) == page.total_size


async def test_features_below_their_threshold_are_shown_only_on_request(stub: Any, data: Data, hint: Hint) -> None:
    search = Request(parent="datasets/a", query="open a file", run="runs/a")
    before = await stub.SearchDocuments(search)
    index = before.hits[0].shared_features[0].index
    data.thresholds[index] = 1e6
    data.label(index, "a name")
    await hint("runs/a")
    await until_current(stub)
    after = await stub.SearchDocuments(search)
    assert [(hit.key, hit.score) for hit in after.hits] == [(hit.key, hit.score) for hit in before.hits]
    assert not any(feature.index == index for hit in after.hits for feature in hit.shared_features)
    (hidden,) = (feature for feature in after.query_features if feature.index == index)
    assert (hidden.label, hidden.tail, hidden.HasField("reliability")) == ("", True, False)

    search.include_tail = True
    whole = await stub.SearchDocuments(search)
    feature = whole.hits[0].shared_features[0]
    assert (feature.index, feature.label, feature.tail) == (index, "a name", True)
    reliability = feature.reliability
    assert reliability.trust == Trust.TRUST_TRUSTED
    assert (reliability.score, reliability.score_low, reliability.score_high) == (0.9, 0.8, 0.95)
    assert [(f.label, f.tail) for f in whole.query_features if f.index == index] == [("a name", True)]

    similar = pb2.FindSimilarDocumentsRequest(document=before.hits[0].document, run="runs/a")
    hits = (await stub.FindSimilarDocuments(similar)).hits
    assert not any(feature.index == index for hit in hits for feature in hit.shared_features)
    similar.include_tail = True
    hits = (await stub.FindSimilarDocuments(similar)).hits
    assert {feature.tail for hit in hits for feature in hit.shared_features if feature.index == index} <= {True}


async def test_of_equally_well_matching_features_the_trusted_come_first(stub: Any, data: Data, hint: Hint) -> None:
    doubtful, trusted, open_feature, trusted_too = 5, 7, 6, 9
    for index, trust in (
        (doubtful, Trust.TRUST_DOUBTFUL),
        (open_feature, Trust.TRUST_OPEN),
        (trusted, Trust.TRUST_TRUSTED),
        (trusted_too, Trust.TRUST_TRUSTED),
    ):
        data.label(index, "harbour", trust=trust)
    data.label(8, "harbour wall", trust=Trust.TRUST_TRUSTED)
    await hint()
    await until_current(stub)
    request = pb2.SearchFeaturesRequest(parent="runs/a", query="harbour")
    whole = (await stub.SearchFeatures(request)).hits
    assert [hit.index for hit in whole] == [trusted, trusted_too, open_feature, doubtful, 8]
    paged: list[int] = []
    request.page_size = 1
    for _ in whole:
        page = await stub.SearchFeatures(request)
        paged += [hit.index for hit in page.hits]
        request.page_token = page.next_page_token
    assert paged == [hit.index for hit in whole]


async def test_features_are_searched_with_the_filter_of_their_list(stub: Any, data: Data, hint: Hint) -> None:
    for index, trust in ((5, Trust.TRUST_DOUBTFUL), (6, Trust.TRUST_TRUSTED), (7, Trust.TRUST_TRUSTED)):
        data.label(index, f"harbour {index}", trust=trust)
    await hint()
    await until_current(stub)
    request = pb2.SearchFeaturesRequest(parent="runs/a", query="harbour", page_size=1)

    async def answer(filter: str) -> tuple[list[int], int, list[str]]:
        request.filter, request.page_token = filter, ""
        first = await stub.SearchFeatures(request)
        request.page_token = first.next_page_token
        rest = (await stub.SearchFeatures(request)).hits if first.next_page_token else []
        return [hit.index for hit in (*first.hits, *rest)], first.total_size, list(first.notices)

    assert await answer("trust = TRUSTED") == ([6, 7], 2, [])
    assert await answer("index > 6 OR NOT trust = TRUSTED") == ([7, 5], 2, [])
    assert await answer("density < 0.1") == ([], 0, [])
    unknown = "no labelled feature is in the family 'f9'; families may have been rebuilt"
    assert await answer("NOT family = f9 AND labelled = true AND index < 7") == ([6, 5], 2, [unknown])
    for filter in ("trust = GOOD", "colour = red", "density > much"):
        request.filter, request.page_token = filter, ""
        assert (await error_of(stub.SearchFeatures(request)))[1] == "INVALID_FILTER"


async def test_features_are_found_by_their_words(stub: Any, data: Data, hint: Hint) -> None:
    data.label(5, "randomised trials")
    data.label(6, "court trial")
    await hint()
    await until_current(stub)
    response = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="Randomised trial"))
    assert [(hit.index, hit.label) for hit in response.hits] == [(5, "randomised trials"), (6, "court trial")]
    assert response.hits[0].feature == "runs/a/features/5"
    assert response.hits[0].reliability.trust == Trust.TRUST_TRUSTED
    assert response.hits[0].density == 0.25 and response.hits[0].description == "About randomised trials."
    assert response.total_size == 2
    data.label(5, "")
    await hint()
    await until_current(stub)
    response = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="trials"))
    assert [hit.index for hit in response.hits] == [6]
    assert (await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="6"))).hits[0].index == 6


async def test_a_document_is_like_others_as_its_first_passage_is(stub: Any, data: Data) -> None:
    """Its own row is that of a passage which may be replaced."""
    name = "datasets/a/documents/whole"
    data.wholes["whole"] = Document(name=name, row=999, passages=[Passage(row=1, index=1)])
    of_whole, of_passage = [
        await stub.FindSimilarDocuments(pb2.FindSimilarDocumentsRequest(document=document, run="runs/a"))
        for document in (name, "datasets/a/documents/close")
    ]
    assert [hit.document for hit in of_whole.hits] == [hit.document for hit in of_passage.hits]
    assert of_whole.hits


async def test_similar_documents_leave_out_the_document(stub: Any, data: Data) -> None:
    response = await stub.FindSimilarDocuments(
        pb2.FindSimilarDocumentsRequest(document="datasets/a/documents/open", run="runs/a", page_size=3)
    )
    assert len(response.hits) == 3
    assert "open" not in [hit.key for hit in response.hits]
    assert [hit.rank for hit in response.hits] == [1, 2, 3]
    assert response.hits[0].key == "close"
    assert response.hits[0].shared_features


async def test_all_datasets_are_searched_as_one(stub: Any, owners: Owners, data: Data, hint: Hint) -> None:
    other = owners.create("datasets/b")
    other.add("far", "An essay on a file, a file and a file.")
    other.embed_all()
    foreign = owners.create("datasets/c", model="ollama/other")
    foreign.add("away", "A file in another space.")
    foreign.embed_all()
    await hint()
    await until_current(stub, "datasets/b")
    await until_current(stub, "datasets/c")
    response = await stub.SearchDocuments(Request(parent="datasets/-", query="file", mode=Request.MODE_FULL_TEXT))
    assert {hit.document for hit in response.hits} == {
        "datasets/a/documents/open",
        "datasets/a/documents/close",
        "datasets/b/documents/far",
        "datasets/c/documents/away",
    }
    assert response.hits[0].key == "far" and response.total_size == 4
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
        (Request(parent="datasets/a", query="\u200b\u3164"), "query"),
        (Request(parent="datasets/a", query="\u200b", mode=Request.MODE_FULL_TEXT), "query"),
        (Request(parent="nothing", query="x"), "parent"),
        (Request(parent="datasets/a", query="x", mode=Request.MODE_SPARSE), "run"),
        (Request(parent="datasets/a", query="x", run="datasets/a"), "run"),
        (Request(parent="datasets/a", query="x", text_weight=1.5), "text_weight"),
        (Request(parent="datasets/a", query="x", dense_weight=float("nan")), "dense_weight"),
        (Request(parent="datasets/a", query="x", text_weight=0, dense_weight=0), "text_weight"),
        (Request(parent="datasets/a", query="x", page_size=-1), "page_size"),
        (Request(parent="datasets/a", query="x" * 100_001), "query"),
        (Request(parent="datasets/-", query="x", run="runs/a"), "run"),
        (Request(parent="datasets/a", query="x", mode=cast("Any", 99)), "mode"),
        (
            Request(parent="datasets/a", run="runs/a", mode=Request.MODE_SPARSE, latents=[pb2.LatentWeight()] * 2),
            "latents",
        ),
        (Request(parent="datasets/a", run="runs/a", latents=[pb2.LatentWeight(index=1, weight=1)]), "query"),
        (Request(parent="datasets/a", query="x", sparse_weight=0.5), "run"),
        (Request(parent="datasets/a", query="x", run="runs/a", sparse_weight=2), "sparse_weight"),
        (
            Request(parent="datasets/a", query="x", run="runs/a", mode=Request.MODE_SEMANTIC, latents=steered(1)),
            "latents",
        ),
        (Request(parent="datasets/a", query="x", steering=steered(1)), "run"),
        (Request(parent="datasets/a", query="x", run="runs/a", steering=steered(3.1)), "steering"),
        (Request(parent="datasets/a", query="x", run="runs/a", steering=steered(-3.1)), "steering"),
        (Request(parent="datasets/a", query="x", run="runs/a", steering=steered(float("nan"))), "steering"),
        (Request(parent="datasets/a", query="x", run="runs/a", steering=steered(1) * 2), "steering"),
        (Request(parent="datasets/a", query="x", run="runs/a", steering=steered(1, index=96)), "steering"),
        (steered_by([1, 96]), "steering_sets"),
        (steered_by([96], steering=steered(1)), "steering_sets"),
        (steered_by([]), "steering_sets"),
        (steered_by([1, 2, 1]), "steering_sets"),
        (steered_by([1, 2], [2, 3]), "steering_sets"),
        (steered_by([1, 2], steering=steered(1)), "steering_sets"),
        (steered_by([1, 2], weight=3.1), "steering_sets"),
        (steered_by([1, 2], weight=float("nan")), "steering_sets"),
        (steered_by(*[[index] for index in range(17)]), "steering_sets"),
        (steered_by(list(range(200)), list(range(200, 257))), "steering_sets"),
        (Request(parent="datasets/a", mode=Request.MODE_SPARSE, run="runs/a", latents=steered(1, index=96)), "latents"),
        (Request(parent="datasets/a", query="x", run="runs/a", filter="latent.96 > 0.5"), "filter"),
        (
            Request(
                parent="datasets/a",
                query="x",
                run="runs/a",
                steering=[pb2.LatentWeight(index=index, weight=1) for index in range(33)],
            ),
            "steering",
        ),
    ],
)
async def test_a_wrong_request_names_its_field(stub: Any, data: Data, request_: Request, field: str) -> None:
    code, reason, message = await error_of(stub.SearchDocuments(request_))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert message.startswith(f"{field}: ")


async def test_what_does_not_exist_is_an_error(stub: Any, owners: Owners, data: Data, hint: Hint) -> None:
    _, reason, message = await error_of(stub.SearchDocuments(Request(parent="datasets/x", query="x")))
    assert (reason, message) == ("DATASET_NOT_FOUND", "there is no dataset datasets/x, or it was deleted")
    request = Request(parent="datasets/a", query="x", run="runs/x")
    _, reason, message = await error_of(stub.SearchDocuments(request))
    assert (reason, message) == ("RUN_NOT_FOUND", "there is no run runs/x, or it was deleted")
    request = Request(parent="datasets/a", query="x", filter="colour = red")
    assert (await error_of(stub.SearchDocuments(request)))[1] == "INVALID_FILTER"
    request = Request(parent="datasets/a", query="x", page_token="x")
    assert (await error_of(stub.SearchDocuments(request)))[1] == "INVALID_PAGE_TOKEN"
    bare = owners.create("datasets/bare")
    request = Request(parent="datasets/bare", query="x")
    response = await stub.SearchDocuments(request)
    assert not response.hits and response.notices == ["datasets/bare has no documents yet"]
    bare.add("one", "text")
    code, reason, message = await error_of(stub.SearchDocuments(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_NOT_READY") and "not indexed yet" in message


@pytest.mark.parametrize("query", ["a AND (", "file:*", "[file TO", "🙂 file", "file ~^", "\x00 file"])
async def test_no_query_is_a_parse_error(stub: Any, data: Data, query: str) -> None:
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID):
        await stub.SearchDocuments(Request(parent="datasets/a", query=query, mode=mode, run="runs/a"))


async def test_a_query_that_means_nothing_ranks_nothing(stub: Any, data: Data) -> None:
    """The vector of a query without words is zero: its cosine with every document would be 0."""
    for mode in (Request.MODE_SEMANTIC, Request.MODE_SPARSE):
        request = Request(parent="datasets/a", query="!!!", mode=mode, run="runs/a")
        code, reason, message = await error_of(stub.SearchDocuments(request))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        assert message.startswith("query: ") and "zero" in message
    response = await stub.SearchDocuments(Request(parent="datasets/a", query="!!!", run="runs/a"))
    assert not response.hits and "by their words alone" in response.notices[0]


async def test_owners_are_asked_only_for_what_is_not_known_here(stub: Any, owners: Owners, data: Data) -> None:
    queries = (f"open file {number}" for number in itertools.count())

    async def calls(mode: Any, run: str = "") -> list[str]:
        owners.calls.clear()
        await stub.SearchDocuments(Request(parent="datasets/a", query=next(queries), mode=mode, run=run))
        return list(owners.calls)

    assert await calls(Request.MODE_FULL_TEXT) == []
    assert await calls(Request.MODE_SEMANTIC) == ["EmbedTexts"]
    assert await calls(Request.MODE_HYBRID) == ["EmbedTexts"]
    for mode in (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_SPARSE, Request.MODE_HYBRID):
        assert await calls(mode, "runs/a") == ["EmbedTexts", "Encode"]
    owners.calls.clear()
    await stub.FindSimilarDocuments(
        pb2.FindSimilarDocumentsRequest(document="datasets/a/documents/open", run="runs/a", page_size=3)
    )
    await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="label"))
    assert owners.calls == []
    owners.calls.clear()
    await error_of(stub.SearchDocuments(Request(parent="datasets/x", query="x")))
    assert owners.calls == ["GetDataset"]


async def test_another_page_or_mode_of_a_query_asks_no_owner(stub: Any, owners: Owners, data: Data) -> None:
    modes = (Request.MODE_SPARSE, Request.MODE_SEMANTIC, Request.MODE_HYBRID, Request.MODE_FULL_TEXT)
    request = Request(parent="datasets/a", query="open file", mode=Request.MODE_SPARSE, run="runs/a", page_size=1)
    owners.calls.clear()
    first = await stub.SearchDocuments(request)
    assert owners.calls == ["EmbedTexts", "Encode"]
    for mode in modes:
        page = await stub.SearchDocuments(Request(parent="datasets/a", query="open file", mode=mode, run="runs/a"))
        assert page.query_features == first.query_features
    request.page_token = first.next_page_token
    assert (await stub.SearchDocuments(request)).hits
    assert owners.calls == ["EmbedTexts", "Encode"]


async def test_a_hint_reads_only_the_resource_that_it_names(stub: Any, owners: Owners, data: Data, hint: Hint) -> None:
    other = fill(owners, "datasets/b")
    await hint()
    await until_current(stub, "datasets/b")
    data.add("new", "A brand new zebra.")
    other.add("new", "A brand new quokka.")
    owners.calls.clear()
    owners.resources_read.clear()
    await hint("datasets/a")
    await until_current(stub)
    assert "ListDatasets" not in owners.calls and "ListRuns" not in owners.calls
    assert "datasets/b" not in owners.resources_read
    status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/b"))
    assert not status.current
    await hint("datasets/b")
    await until_current(stub, "datasets/b")


async def test_embedding_a_document_does_not_index_its_text_again(
    stub: Any, owners: Owners, data: Data, hint: Hint, tmp_path: Path
) -> None:
    data.add("new", "A brand new zebra.")
    await hint("datasets/a")
    await until_current(stub)
    folder = tmp_path / "data" / "search" / "index" / data.uid / "documents"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.name != "manifest.json"}
    data.embed_all()
    await hint("datasets/a")
    status = await until_current(stub)
    assert status.streams[0].indexed_revision == data.revision
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.name != "manifest.json"}
    assert after == before
    response = await stub.SearchDocuments(
        Request(parent="datasets/a", query=data.docs[len(TEXTS)].text, mode=Request.MODE_SEMANTIC)
    )
    assert response.hits[0].key == "new"


async def test_an_answer_says_how_many_documents_it_does_not_cover(
    stub: Any, owners: Owners, data: Data, hint: Hint
) -> None:
    data.add("late", "A zebra crosses.")
    data.embed_all()
    data.add("pending", "A quokka waits.")
    await hint("datasets/a")
    await until_current(stub)
    no_features = "1 of 8 documents has no features of runs/a yet: it was added after the run was trained"
    no_vector = "1 of 8 documents of datasets/a has no vector yet: it is not embedded, or has failed to be"
    request = Request(parent="datasets/a", query="zebra file", run="runs/a")
    for mode, expected in (
        (Request.MODE_FULL_TEXT, [no_features]),
        (Request.MODE_SPARSE, [no_features]),
        (Request.MODE_SEMANTIC, [no_vector, no_features]),
        (Request.MODE_HYBRID, [no_vector, no_features]),
    ):
        request.mode = mode
        assert (await stub.SearchDocuments(request)).notices == expected
    similar = pb2.FindSimilarDocumentsRequest(document="datasets/a/documents/open", run="runs/a")
    assert (await stub.FindSimilarDocuments(similar)).notices == [no_vector, no_features]
    similar.document = "datasets/a/documents/pending"
    code, reason, _ = await error_of(stub.FindSimilarDocuments(similar))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DOCUMENT_NOT_EMBEDDED")
    data.embed_all()
    data.train()
    await hint("datasets/a")
    await hint("runs/a")
    await until_current(stub)
    assert (await stub.SearchDocuments(request)).notices == []


async def test_a_filter_on_an_unknown_key_names_the_nearest_one(stub: Any, data: Data) -> None:
    request = Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT, filter="metadata.modul = io")
    response = await stub.SearchDocuments(request)
    assert not response.hits
    assert response.notices == ["no document has the metadata key 'modul'; did you mean 'module'?"]
    request.filter = "metadata.module = nothing"
    assert not (await stub.SearchDocuments(request)).notices
    for literal in ("0", "0.0", '"0"', "0e3"):
        request.filter = f"metadata.number = {literal}"
        assert [hit.row for hit in (await stub.SearchDocuments(request)).hits] == [0], literal


async def test_after_a_restore_the_index_is_never_current_before_it_is_rebuilt(
    stub: Any, owners: Owners, data: Data, hint: Hint
) -> None:
    """Six documents are indexed, the owner is put back to before them, and six others bring it to the same revision."""
    backup = copy.deepcopy(data)
    for number in range(3):
        data.add(f"old{number}", f"A zebra of the old history {number}.")
    data.label(0, "old zebra")
    await hint("datasets/a")
    await hint("runs/a")
    indexed = await until_current(stub)
    data.restore(backup)
    for number in range(3):
        data.add(f"new{number}", f"A quokka of the new history {number}.")
    data.label(0, "new quokka")
    status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/a"))
    assert [stream.owner_revision for stream in status.streams[:2]] == [
        stream.indexed_revision for stream in indexed.streams[:2]
    ]
    assert not status.current and not any(stream.current for stream in status.streams)
    await hint("datasets/a")
    await hint("runs/a")
    status = await until_current(stub)
    assert status.streams[0].item_count == len(TEXTS) + 3
    request = Request(parent="datasets/a", query="zebra quokka", mode=Request.MODE_FULL_TEXT)
    assert {hit.key for hit in (await stub.SearchDocuments(request)).hits} == {"new0", "new1", "new2"}
    features = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="zebra quokka"))
    assert [hit.label for hit in features.hits] == ["new quokka"]


async def test_damaged_files_are_noticed_by_a_search_and_derived_again(stub: Any, data: Data, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "search" / "index" / data.uid / "documents"
    for path in folder.rglob("*.store"):
        with path.open("r+b") as file:  # in place, as a failing disk does: the file is memory-mapped
            content = file.read()
            file.seek(0)
            file.write(bytes(byte ^ 0xFF for byte in content[:64]))
    request = Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT)
    code, reason, message = await error_of(stub.SearchDocuments(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_NOT_READY") and "damaged" in message
    await until_current(stub)
    assert [hit.key for hit in (await stub.SearchDocuments(request)).hits] == ["open", "close"]


async def test_an_absent_trainer_takes_only_what_needs_it(stub: Any, owners: Owners, data: Data) -> None:
    owners.away = {"trainer"}
    modes = (Request.MODE_FULL_TEXT, Request.MODE_SEMANTIC, Request.MODE_HYBRID, Request.MODE_SPARSE)
    requests = [Request(parent="datasets/a", query="file", mode=mode, run="runs/a") for mode in modes]
    *responses, (code, reason, message) = await asyncio.gather(  # together: each waits in case the trainer restarts
        *[stub.SearchDocuments(request) for request in requests[:3]], error_of(stub.SearchDocuments(requests[3]))
    )
    for response in responses:
        assert response.hits and "trainer" in response.notices[0]
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE") and "trainer" in message
    request = Request(
        parent="datasets/a",
        mode=Request.MODE_SPARSE,
        run="runs/a",
        latents=[pb2.LatentWeight(index=i, weight=1) for i in range(96)],
    )
    assert (await stub.SearchDocuments(request)).hits
    response = await stub.SearchFeatures(pb2.SearchFeaturesRequest(parent="runs/a", query="label"))
    assert response.hits


async def test_an_absent_embedder_is_an_error_and_never_an_empty_list(stub: Any, owners: Owners, data: Data) -> None:
    owners.away = {"embedder"}
    modes = (Request.MODE_SEMANTIC, Request.MODE_HYBRID)
    requests = [Request(parent="datasets/a", query="file", mode=mode) for mode in modes]
    errors = [error_of(stub.SearchDocuments(request)) for request in requests]
    for code, reason, _ in await asyncio.gather(*errors):  # together: each waits in case the embedder restarts
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    response = await stub.SearchDocuments(Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT))
    assert len(response.hits) == 2
    status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/a"))
    assert not status.current
    assert not status.streams[0].HasField("owner_revision")


async def test_status_counts_what_is_there(stub: Any, data: Data) -> None:
    status = await stub.GetIndexStatus(pb2.GetIndexStatusRequest(dataset="datasets/a"))
    assert status.backend == "embedded" and status.current and status.size_bytes > 0
    counts = {stream.kind: (stream.resource, stream.item_count) for stream in status.streams}
    assert counts["documents"] == ("datasets/a", len(TEXTS))
    assert counts["vectors"] == ("datasets/a", len(TEXTS))
    assert counts["codes"] == ("runs/a", len(TEXTS))
    assert counts["labels"] == ("runs/a", len(data.labels))


async def test_only_what_changed_is_read_again(stub: Any, owners: Owners, data: Data, hint: Hint) -> None:
    before = data.revision
    owners.reads.clear()
    data.add("new", "A brand new zebra.")
    data.delete(0)
    await hint()
    await until_current(stub)
    assert {read for read in owners.reads} == {("documents", before), ("vectors", before)}
    response = await stub.SearchDocuments(Request(parent="datasets/a", query="zebra open", mode=Request.MODE_FULL_TEXT))
    assert [hit.key for hit in response.hits] == ["new", "socket"]
    sparse = await stub.SearchDocuments(
        Request(parent="datasets/a", query=TEXTS["open"], mode=Request.MODE_SPARSE, run="runs/a")
    )
    assert "open" not in [hit.key for hit in sparse.hits]


async def test_only_a_tombstone_deletes(
    stub: Any, owners: Owners, data: Data, service: ServiceProcess, hint: Hint, tmp_path: Any
) -> None:
    folder = tmp_path / "data" / "search" / "index"
    earlier_data = list(owners.data)
    owners.data = []  # an owner that lost everything, or was set up again
    fill(owners, "datasets/b")
    await hint()
    await until_current(stub, "datasets/b")
    assert (folder / data.uid).exists() and (folder / data.run_uid).exists()
    owners.data += earlier_data
    data.deleted = True
    again = fill(owners, "datasets/a")  # the name is used again at once
    await hint()
    await until_current(stub)
    assert not (folder / data.uid).exists() and not (folder / data.run_uid).exists()
    assert (folder / again.uid).exists()


async def watch(jobs: Any, job: Job) -> Job:
    async for update in jobs.WatchJob(WatchJobRequest(name=job.name)):
        job = update
    return job


async def test_reindexing_rebuilds_and_searches_go_on(stub: Any, jobs: Any, owners: Owners, data: Data) -> None:
    owners.block_rows, owners.pause = 1, 0.02
    owners.reads.clear()
    job = await stub.ReindexDataset(pb2.ReindexDatasetRequest(dataset="datasets/a", request_id="once"))
    again = await stub.ReindexDataset(pb2.ReindexDatasetRequest(dataset="datasets/a", request_id="once"))
    assert again.name == job.name
    ended = asyncio.create_task(watch(jobs, job))
    while not ended.done():
        response = await stub.SearchDocuments(Request(parent="datasets/a", query="file"))
        assert [hit.key for hit in response.hits[:2]] == ["open", "close"]
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
    data = owners.create("datasets/a")
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
    assert [stream.item_count for stream in status.streams] == [120, 120, 120, 0]
    response = await stub.SearchDocuments(
        Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT, page_size=200, run="runs/a")
    )
    assert sorted(hit.row for hit in response.hits) == list(range(120))
    for hit in response.hits:
        own = dict(zip(codes.row(hit.row)[0].tolist(), codes.row(hit.row)[1].tolist(), strict=True))
        assert all(own[feature.index] == feature.document_activation for feature in hit.shared_features)


async def test_the_index_outlives_the_owners(owners: Owners, service: ServiceProcess, stub: Any, data: Data) -> None:
    assert await asyncio.to_thread(service.stop) == 0
    owners.away = {"embedder", "trainer", "interpreter"}
    await asyncio.to_thread(service.start)
    response = await stub.SearchDocuments(Request(parent="datasets/a", query="file", mode=Request.MODE_FULL_TEXT))
    assert [hit.key for hit in response.hits] == ["open", "close"]
