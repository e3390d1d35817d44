"""The RPCs of search: convert, call, convert back."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

import grpc.aio

from prisma.common.v1.job_pb2 import Job
from prisma.search.v1 import search_service_pb2 as pb2
from prisma.search.v1 import search_service_pb2_grpc
from services.chassis.jobs import Jobs
from services.search import convert, worker
from services.search.index import Index
from services.search.indexing import Indexing
from services.search.retrieval import REACHABLE
from services.search.searching import Searching
from services.search.upstream import Upstream

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class SearchServicer(search_service_pb2_grpc.SearchServiceServicer):
    """Documents and features, found."""

    def __init__(self, index: Index, searching: Searching, indexing: Indexing, upstream: Upstream, jobs: Jobs) -> None:
        self._index = index
        self._searching = searching
        self._indexing = indexing
        self._upstream = upstream
        self._jobs = jobs

    async def SearchDocuments(
        self, request: pb2.SearchDocumentsRequest, context: Context
    ) -> pb2.SearchDocumentsResponse:
        began = time.perf_counter()
        asked, page = convert.document_search(request)
        answer = await self._searching.documents(asked)
        response = pb2.SearchDocumentsResponse(
            hits=[convert.hit(each) for each in answer.page.hits],
            total_size=answer.page.total,
            query_features=convert.query_features(answer.code, answer.labels) if answer.code else [],
            notices=answer.notices,
        )
        end = asked.offset + asked.limit
        if answer.page.more and end < REACHABLE:
            response.next_page_token = page.next_token(end)
        response.milliseconds = (time.perf_counter() - began) * 1000
        return response

    async def SearchFeatures(self, request: pb2.SearchFeaturesRequest, context: Context) -> pb2.SearchFeaturesResponse:
        run, terms, page, offset = convert.feature_search(request)
        found, total = await self._searching.features(run, terms, offset, page.size)
        response = pb2.SearchFeaturesResponse(hits=[convert.feature_hit(run, each) for each in found], total_size=total)
        if offset + page.size < total:
            response.next_page_token = page.next_token(offset + page.size)
        return response

    async def FindSimilarDocuments(
        self, request: pb2.FindSimilarDocumentsRequest, context: Context
    ) -> pb2.FindSimilarDocumentsResponse:
        dataset = convert.dataset_of(request.document)
        run = convert.run_name(request.run, "run") if request.run else None
        limit = convert.size(request.page_size, 5, 100)
        hits, notices = await self._searching.similar(request.document, dataset, run, limit)
        return pb2.FindSimilarDocumentsResponse(hits=[convert.hit(each) for each in hits], notices=notices)

    async def ReindexDataset(self, request: pb2.ReindexDatasetRequest, context: Context) -> Job:
        dataset = await self._upstream.dataset(convert.dataset_name(request.dataset, "dataset"))
        wanted = pb2.ReindexDatasetRequest(dataset=dataset.name)
        return await self._jobs.submit(
            worker.SERVICE,
            worker.REINDEX_DATASET,
            wanted,
            request_id=request.request_id,
            resources=[dataset.name],
        )

    async def ReindexRun(self, request: pb2.ReindexRunRequest, context: Context) -> Job:
        run = await self._upstream.run(convert.run_name(request.run, "run"))
        wanted = pb2.ReindexRunRequest(run=run.name)
        return await self._jobs.submit(
            worker.SERVICE, worker.REINDEX_RUN, wanted, request_id=request.request_id, resources=[run.name]
        )

    async def GetIndexStatus(self, request: pb2.GetIndexStatusRequest, context: Context) -> pb2.IndexStatus:
        name = convert.dataset_name(request.dataset, "dataset")
        streams, size = await self._searching.status(name, self._indexing.errors)
        return pb2.IndexStatus(
            dataset=name,
            backend=self._index.name,
            current=all(each.indexed == each.owner and not each.error for each in streams),
            streams=[convert.stream_status(each) for each in streams],
            size_bytes=size,
        )
