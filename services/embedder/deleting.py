"""Deletes the documents that match a filter: says how many they are, and deletes them in a job, batch by batch."""

from __future__ import annotations

import asyncio
from functools import partial

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1.embedder_service_pb2 import DeleteDocumentsRequest
from prisma_common.names import DATASET_CHANGED, DELETE_DOCUMENTS
from services.chassis.events import Events
from services.chassis.filters import Filter
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.jobs import Jobs
from services.chassis.threads import in_thread
from services.embedder import requests
from services.embedder.documents import MatchingDocuments
from services.embedder.errors import DatasetNotFound
from services.embedder.store import Store
from services.embedder.worker import SERVICE

SAMPLE = 100
"""Documents that are shown of those that match."""


class Deletion:
    """Deletes documents by a filter."""

    def __init__(self, *, store: Store, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    async def matches(self, dataset_id: str, condition: Filter) -> MatchingDocuments:
        """The first documents that match, and how many there are. Raises DatasetNotFound."""
        return await asyncio.to_thread(
            self._store.list_documents, dataset_id, condition, after_row=-1, limit=SAMPLE, total=None
        )

    async def start(self, request: DeleteDocumentsRequest) -> Job:
        """Starts the job that deletes them. Raises NatsUnavailable, RequestIdReused."""
        return await self._jobs.submit(
            SERVICE, DELETE_DOCUMENTS, request, request_id=request.request_id, resources=[request.parent]
        )


class DeletionJob:
    """The job that deletes documents."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events

    def kind(self, ack_wait_seconds: float) -> JobKind:
        """The kind of job, for the worker."""
        return JobKind(SERVICE, DELETE_DOCUMENTS, DeleteDocumentsRequest, self.run, ack_wait=ack_wait_seconds)

    async def run(self, request: DeleteDocumentsRequest, context: JobContext) -> None:
        """Deletes what matches, in transactions of bounded size.

        Documents that were added after the job was submitted stay, also where it is tried again, and so do those of a
        later dataset of the same name. A job that is cancelled has deleted what its progress says. Raises
        DatasetNotFound.
        """
        condition = requests.deletion_filter(request.filter)
        dataset = await in_thread(self._store.dataset, requests.dataset_id(request.parent, "parent"))
        start = context.job.create_time.ToDatetime()
        if dataset.create_time > start:
            raise DatasetNotFound(
                f"{request.parent} was deleted, and another dataset has its name now",
                metadata={"dataset": request.parent},
            )
        total = await in_thread(self._store.matching_count, dataset, condition, start)
        done, after_row = 0, -1
        while True:
            await context.progress(done, max(total, done), "documents", "deleting")
            rows = await in_thread(
                partial(self._store.matching_rows, dataset, condition, after_row=after_row, created_until=start)
            )
            if not rows:
                break
            await context.prove()
            done += await in_thread(self._store.delete_matching, dataset, condition, rows)
            await context.checkpoint()
            await self._events.publish(DATASET_CHANGED, dataset.name)
            after_row = rows[-1]
        context.log(f"{done:,} documents were deleted")
