"""Jobs: long work that outlives a call, followed through outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from prisma.common.v1 import job_pb2
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma_client.aio.transport import Transport
from prisma_client.errors import JobFailed, PrismaError, Unavailable
from prisma_client.outage import Outage
from prisma_client.progress import Progress, job_progress
from prisma_client.tables import Rows
from prisma_common import names

TERMINAL = (job_pb2.Job.STATE_SUCCEEDED, job_pb2.Job.STATE_FAILED, job_pb2.Job.STATE_CANCELLED)
"""States after which a job changes no more, unless it is retried."""
SILENCE_SECONDS = 60.0
"""A stream of a job's changes that is silent for longer is opened again."""
INDEX_PAUSES_SECONDS = (*(0.1,) * 50, *(1.0,) * 55)
"""Between looks at the search index: one minute in all."""
_INDEXED: Mapping[str, tuple[str, ...]] = {
    names.EMBED_DATASET: ("documents", "vectors"),
    names.RETRY_FAILED_DOCUMENTS: ("vectors",),
    names.DELETE_DOCUMENTS: ("documents", "vectors"),
    names.TRAIN_RUN: ("codes",),
    names.LABEL_FEATURES: ("labels",),
}
"""The streams of the search index that follow what a kind of job writes."""


class Jobs:
    """The jobs of all services."""

    def __init__(self, transport: Transport, patience: float) -> None:
        self._transport = transport
        self._patience = patience

    async def get(self, job: str) -> job_pb2.Job:
        """Returns a job by its id. Raises NotFound."""
        return await self._call("GetJob", job_pb2.GetJobRequest(name=_job_name(job)))

    async def list(self, limit: int = 100, *, filter: str | None = None) -> Rows[job_pb2.Job]:
        """Returns the newest jobs. filter: such as `state = FAILED AND resource = "datasets/abstracts"`."""
        request = job_pb2.ListJobsRequest(page_size=limit, filter=filter)
        page = await self._transport.call("JobService/ListJobs", request, job_pb2.ListJobsResponse)
        return Rows(page.jobs, job_pb2.Job)

    async def watch(self, job: str) -> AsyncIterator[job_pb2.Job]:
        """Yields a job now and after each change, until it ends.

        Reconnects, with growing pauses, while the gateway or the message server is unreachable: the job goes on
        meanwhile. Raises NotFound; Unavailable after an outage longer than the client's `patience`.
        """
        request = job_pb2.WatchJobRequest(name=_job_name(job))
        outage = Outage(self._patience)
        latest: job_pb2.Job | None = None
        while latest is None or latest.state not in TERMINAL:
            try:
                async for update in self._transport.stream(
                    "JobService/WatchJob", request, job_pb2.Job, silence=SILENCE_SECONDS
                ):
                    outage.end()
                    if update != latest:
                        latest = update
                        yield update
                interruption = Unavailable(f"the stream of {request.name} ended early", code="UNAVAILABLE")
            except Unavailable as error:
                interruption = error
            if latest is None or latest.state not in TERMINAL:
                await asyncio.sleep(outage.next_pause(interruption))

    async def wait(self, job: str, progress: Progress = None) -> job_pb2.Job:
        """Waits until a job succeeds. Raises JobFailed, and as `watch`.

        progress: a function that is called with the job after each change. By default a bar on a terminal and in a
        notebook; False: none.
        """
        latest = job_pb2.Job()
        with job_progress(progress) as report:
            async for update in self.watch(job):
                latest = update
                report(update)
        if latest.state != job_pb2.Job.STATE_SUCCEEDED:
            raise JobFailed(latest)
        return latest

    async def wait_for_index(self, job: job_pb2.Job) -> bool:
        """Waits until searches find what a job that has ended has written: vectors, codes, labels.

        Returns False where the search does not answer, or its index is still behind after a minute; the answers'
        `notices` then say what is missing.
        """
        streams = _streams(job)
        dataset = next((resource for resource in job.resources if resource.startswith("datasets/")), None)
        if dataset is None or not streams:
            return True
        request = search_pb2.GetIndexStatusRequest(dataset=dataset)
        for pause in INDEX_PAUSES_SECONDS:
            try:
                status = await self._transport.call("SearchService/GetIndexStatus", request, search_pb2.IndexStatus)
            except PrismaError:
                return False
            if streams <= {(stream.kind, stream.resource) for stream in status.streams if stream.current}:
                return True
            await asyncio.sleep(pause)
        return False

    async def cancel(self, job: str) -> job_pb2.Job:
        """Requests that a job stop."""
        return await self._call("CancelJob", job_pb2.CancelJobRequest(name=_job_name(job)))

    async def retry(self, job: str) -> job_pb2.Job:
        """Starts a failed or cancelled job again. Raises FailedPrecondition."""
        return await self._call("RetryJob", job_pb2.RetryJobRequest(name=_job_name(job)))

    async def _call(self, method: str, request: Any) -> job_pb2.Job:
        return await self._transport.call(f"JobService/{method}", request, job_pb2.Job)


def _streams(job: job_pb2.Job) -> set[tuple[str, str]]:
    """The streams of the search index, by kind and resource, that follow what a job has written."""
    kinds = _INDEXED.get(job.kind, ())
    prefixes = {kind: "datasets/" if kind in ("documents", "vectors") else "runs/" for kind in kinds}
    return {(kind, name) for kind, prefix in prefixes.items() for name in job.resources if name.startswith(prefix)}


def _job_name(job: str) -> str:
    return f"jobs/{job.removeprefix('jobs/')}"
