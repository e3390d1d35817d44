"""The jobs of search: streams of the index rebuilt beside the old ones."""

from __future__ import annotations

from collections.abc import Sequence

from prisma.common.v1.job_pb2 import Job
from prisma.search.v1.search_service_pb2 import ReindexDatasetRequest, ReindexRunRequest
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.jobs import Jobs
from services.search.backend import Kind, Stream
from services.search.follower import IndexFollower
from services.search.upstream import Upstream

SERVICE = "search"
REINDEX_DATASET = "reindex-dataset"
REINDEX_RUN = "reindex-run"


class SearchJobs:
    """Starts and runs the jobs. Each stream is replaced by itself; a repeated attempt starts with the first."""

    def __init__(self, *, jobs: Jobs, follower: IndexFollower, upstream: Upstream, ack_wait: float) -> None:
        """ack_wait: seconds of silence after which a job is given to another worker."""
        self._jobs = jobs
        self._follower = follower
        self._upstream = upstream
        self._ack_wait = ack_wait

    def kinds(self) -> list[JobKind]:
        """The kinds, for the worker."""
        return [
            JobKind(SERVICE, REINDEX_DATASET, ReindexDatasetRequest, self.reindex_dataset, ack_wait=self._ack_wait),
            JobKind(SERVICE, REINDEX_RUN, ReindexRunRequest, self.reindex_run, ack_wait=self._ack_wait),
        ]

    async def submit_dataset(self, dataset: str, request_id: str) -> Job:
        """Starts the job that rebuilds the index of a dataset and its runs."""
        request = ReindexDatasetRequest(dataset=dataset)
        return await self._jobs.submit(SERVICE, REINDEX_DATASET, request, request_id=request_id, resources=[dataset])

    async def submit_run(self, run: str, request_id: str) -> Job:
        """Starts the job that rebuilds the index of a run."""
        request = ReindexRunRequest(run=run)
        return await self._jobs.submit(SERVICE, REINDEX_RUN, request, request_id=request_id, resources=[run])

    async def reindex_dataset(self, request: ReindexDatasetRequest, context: JobContext) -> None:
        """Rebuilds documents and vectors of a dataset, codes and labels of its runs."""
        dataset = await self._upstream.dataset(request.dataset)
        runs = [run for run in await self._upstream.runs() if run.dataset_uid == dataset.uid]
        streams = [(Stream(kind, dataset.uid), dataset.name) for kind in (Kind.DOCUMENTS, Kind.VECTORS)]
        for run in runs:
            if run.is_trained and not run.is_deleted:
                streams += [(Stream(kind, run.uid), run.name) for kind in (Kind.CODES, Kind.LABELS)]
        await self._rebuild(streams, context)

    async def reindex_run(self, request: ReindexRunRequest, context: JobContext) -> None:
        """Rebuilds codes and labels of a run."""
        run = await self._upstream.run(request.run)
        await self._rebuild([(Stream(kind, run.uid), run.name) for kind in (Kind.CODES, Kind.LABELS)], context)

    async def _rebuild(self, streams: Sequence[tuple[Stream, str]], context: JobContext) -> None:
        for number, (stream, resource) in enumerate(streams):
            message = f"{stream.kind} of {resource}"

            async def report(count: int, number: int = number, message: str = message) -> None:
                await context.progress(number, len(streams), "streams", f"{message}: {count:,} read")

            await report(0)
            await self._follower.rebuild(stream, resource, context.prove, report)
            context.log(f"switched to the rebuilt index of the {message}")
            await context.checkpoint()
        await context.progress(len(streams), len(streams), "streams")
