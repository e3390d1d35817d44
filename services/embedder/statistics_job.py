"""Computes the statistics of a dataset, in a job that reads its texts and vectors once, page by page.

A job that is started again begins anew: until it has ended, the statistics before it stay.
"""

from __future__ import annotations

import asyncio

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1.embedder_service_pb2 import ComputeDatasetStatisticsRequest
from prisma_common.names import COMPUTE_DATASET_STATISTICS
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.jobs import Jobs
from services.chassis.moments import utc_now
from services.chassis.threads import in_thread
from services.embedder import requests, statistics_messages
from services.embedder.documents import Dataset
from services.embedder.errors import StatisticsNotComputed
from services.embedder.statistics.duplicates import DuplicateStatistics
from services.embedder.statistics.methods import statistics_method
from services.embedder.statistics.texts import TextScan
from services.embedder.statistics.vectors import VectorScan
from services.embedder.statistics_records import ComputedStatistics, StatisticsRecords, StoredStatistics
from services.embedder.store import Store
from services.embedder.vector_store import VectorStore
from services.embedder.worker import SERVICE


class Statistics:
    """Statistics of datasets."""

    def __init__(self, *, store: Store, records: StatisticsRecords, jobs: Jobs) -> None:
        self._store = store
        self._records = records
        self._jobs = jobs

    async def compute(self, request: ComputeDatasetStatisticsRequest) -> Job:
        """Starts the job that computes them, or returns the one that runs.

        Raises DatasetNotFound, NatsUnavailable, RequestIdReused.
        """
        dataset = await asyncio.to_thread(self._store.dataset, requests.dataset_id(request.dataset, "dataset"))
        kind = COMPUTE_DATASET_STATISTICS
        if not request.request_id and (job := await self._jobs.active_for(dataset.name, kind)):
            return job
        return await self._jobs.submit(SERVICE, kind, request, request_id=request.request_id, resources=[dataset.name])

    async def get(self, dataset_id: str) -> tuple[Dataset, StoredStatistics]:
        """A dataset, and its statistics that were computed last. Raises DatasetNotFound, StatisticsNotComputed."""
        dataset = await asyncio.to_thread(self._store.dataset, dataset_id)
        stored = await asyncio.to_thread(self._records.find, dataset)
        if stored is None:
            raise StatisticsNotComputed(
                f"the statistics of {dataset.name} are not computed yet: ComputeDatasetStatistics "
                f"(`prisma statistics {dataset.id}`) starts the job that does it",
                metadata={"dataset": dataset.name},
            )
        return dataset, stored


class StatisticsJob:
    """The job that computes statistics."""

    def __init__(self, *, store: Store, vectors: VectorStore, records: StatisticsRecords) -> None:
        self._store = store
        self._vectors = vectors
        self._records = records

    def kind(self, ack_wait_seconds: float) -> JobKind:
        """The kind of job, for the worker."""
        return JobKind(
            SERVICE,
            COMPUTE_DATASET_STATISTICS,
            ComputeDatasetStatisticsRequest,
            self.run,
            ack_wait=ack_wait_seconds,
        )

    async def run(self, request: ComputeDatasetStatisticsRequest, context: JobContext) -> None:
        """Computes and stores the statistics, unless those of the same documents and vectors are stored.

        Raises DatasetNotFound, BlobDamaged.
        """
        dataset = await in_thread(self._store.dataset, requests.dataset_id(request.dataset, "dataset"))
        stored = await in_thread(self._records.find, dataset)
        method = statistics_method()
        if stored is not None and stored.cover(dataset, method):
            context.log("the statistics of the present documents and vectors are computed already")
            return
        texts = await self._read_texts(dataset, context)
        vectors = await self._read_vectors(dataset, context)
        vector_count = 0 if vectors is None else vectors.count
        is_complete = (texts.count, vector_count) == (dataset.document_count, dataset.counts.embedded)
        computed = await in_thread(self._finish, dataset, texts, vectors)
        await context.prove()
        await in_thread(
            self._records.store,
            dataset,
            StoredStatistics(
                content=statistics_messages.content(computed, dataset),
                method=method,
                revision=dataset.revision,
                fingerprint=dataset.fingerprint if is_complete else "",
                compute_time=utc_now(),
            ),
        )
        context.log(f"{texts.count:,} documents, {vector_count:,} vectors")
        if not is_complete:
            context.log("the dataset changed meanwhile: these statistics are stale")

    async def _read_texts(self, dataset: Dataset, context: JobContext) -> TextScan:
        total = dataset.document_count
        scan = await in_thread(TextScan, total)
        row: int | None = -1
        while row is not None:
            await context.progress(scan.count, max(total, scan.count), "documents", "reading texts")
            texts, row = await in_thread(self._records.texts_after, dataset, row)
            await in_thread(scan.add, texts)
        return scan

    async def _read_vectors(self, dataset: Dataset, context: JobContext) -> VectorScan | None:
        total = dataset.counts.embedded
        if not dataset.dimension:
            return None
        scan = VectorScan(dataset.dimension, total)
        limit = self._vectors.page_rows(dataset)
        row: int | None = -1
        while row is not None:
            await context.progress(scan.count, max(total, scan.count), "vectors", "reading vectors")
            page = await in_thread(self._vectors.present_vectors_after, dataset, row, limit)
            row = page.last_row
            await in_thread(scan.add, page.rows, page.vectors)
        await context.progress(scan.count, max(total, scan.count), "vectors", "comparing")
        return scan

    def _finish(self, dataset: Dataset, texts: TextScan, vectors: VectorScan | None) -> ComputedStatistics:
        of_texts = texts.statistics()
        of_vectors = None if vectors is None else vectors.statistics()
        has_passages = dataset.passages is not None
        of_wholes = _rows(of_texts.equal) + _rows(of_texts.near)
        of_rows = [] if of_vectors is None else _rows(of_vectors.equal)
        return ComputedStatistics(
            texts=of_texts,
            vectors=of_vectors,
            text_excerpts=self._records.excerpts(dataset, of_wholes, of_wholes=has_passages),
            vector_excerpts=self._records.excerpts(dataset, of_rows, of_wholes=False),
        )


def _rows(duplicates: DuplicateStatistics) -> list[int]:
    return [row for group in duplicates.largest for row in group.rows]
