"""The RPCs of search: convert, call, convert back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from google.api.httpbody_pb2 import HttpBody

from prisma.common.v1.job_pb2 import Job
from prisma.search.v1 import search_service_pb2 as pb2
from prisma.search.v1 import search_service_pb2_grpc
from services.chassis.calls import Context
from services.chassis.downloads import table_bodies
from services.search import hit_tables, messages, requests
from services.search.backend import Index
from services.search.search import Search
from services.search.worker import SearchJobs


class SearchServicer(search_service_pb2_grpc.SearchServiceServicer):
    """Searches documents and features."""

    def __init__(self, *, index: Index, search: Search, jobs: SearchJobs) -> None:
        self._index = index
        self._search = search
        self._jobs = jobs

    async def SearchDocuments(
        self, request: pb2.SearchDocumentsRequest, context: Context
    ) -> pb2.SearchDocumentsResponse:
        start = time.perf_counter()
        paged = requests.document_search(request)
        answer = await self._search.documents(paged.search)
        response = messages.document_page(paged.search, paged.page, answer)
        response.milliseconds = (time.perf_counter() - start) * 1000
        return response

    async def ExportHits(self, request: pb2.ExportHitsRequest, context: Context) -> AsyncIterator[HttpBody]:
        search, file = requests.hit_export(request)
        answer, types = await self._search.documents_with_types(search)
        parts = hit_tables.hits_file(answer, types, file)
        async for body in table_bodies(file.format, parts, [*hit_tables.truncation(answer), *answer.notices]):
            yield body

    async def SearchFeatures(self, request: pb2.SearchFeaturesRequest, context: Context) -> pb2.SearchFeaturesResponse:
        paged = requests.feature_search(request)
        features = await self._search.features(paged.search)
        return messages.feature_page(paged.search, paged.page, features)

    async def FindSimilarDocuments(
        self, request: pb2.FindSimilarDocumentsRequest, context: Context
    ) -> pb2.FindSimilarDocumentsResponse:
        hits, notices = await self._search.similar(requests.similar_search(request))
        return messages.similar_documents(hits, notices)

    async def ReindexDataset(self, request: pb2.ReindexDatasetRequest, context: Context) -> Job:
        dataset = await self._search.find_dataset(requests.dataset_name(request.dataset, "dataset"))
        return await self._jobs.submit_dataset(dataset.name, request.request_id)

    async def ReindexRun(self, request: pb2.ReindexRunRequest, context: Context) -> Job:
        run = await self._search.find_run(requests.run_name(request.run, "run"))
        return await self._jobs.submit_run(run.name, request.request_id)

    async def GetIndexStatus(self, request: pb2.GetIndexStatusRequest, context: Context) -> pb2.IndexStatus:
        dataset = requests.dataset_name(request.dataset, "dataset")
        streams, size_bytes = await self._search.status(dataset)
        return messages.index_status(dataset, backend=self._index.name, streams=streams, size_bytes=size_bytes)
