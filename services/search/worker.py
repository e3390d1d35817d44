"""The jobs of search: indices built anew beside the old ones."""

from __future__ import annotations

from collections.abc import Sequence

from prisma.search.v1.search_service_pb2 import ReindexDatasetRequest, ReindexRunRequest
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.search.catalog import Catalog
from services.search.index import Kind, Stream
from services.search.indexing import Indexing
from services.search.upstream import Upstream

SERVICE = "search"
REINDEX_DATASET = "reindex-dataset"
REINDEX_RUN = "reindex-run"


class SearchJobs:
    """What the jobs do. Each stream is taken in use by itself; a job that is begun again begins with the first."""

    def __init__(self, indexing: Indexing, upstream: Upstream, catalog: Catalog, ack_wait: float) -> None:
        self._indexing = indexing
        self._upstream = upstream
        self._catalog = catalog
        self._ack_wait = ack_wait

    def kinds(self) -> list[JobKind]:
        """The kinds, for the worker."""
        return [
            JobKind(SERVICE, REINDEX_DATASET, ReindexDatasetRequest, self.reindex_dataset, self._ack_wait),
            JobKind(SERVICE, REINDEX_RUN, ReindexRunRequest, self.reindex_run, self._ack_wait),
        ]

    async def reindex_dataset(self, request: ReindexDatasetRequest, context: JobContext) -> None:
        """Reads documents and vectors of a dataset, codes and labels of its runs, anew."""
        dataset = await self._upstream.dataset(request.dataset)
        runs = [each for each in await self._upstream.runs() if each.dataset_uid == dataset.uid]
        streams = [(Stream(kind, dataset.uid), dataset.name) for kind in (Kind.DOCUMENTS, Kind.VECTORS)]
        for run in runs:
            if run.trained and not run.deleted:
                streams += [(Stream(kind, run.uid), run.name) for kind in (Kind.CODES, Kind.LABELS)]
        await self._rebuild(streams, context)

    async def reindex_run(self, request: ReindexRunRequest, context: JobContext) -> None:
        """Reads codes and labels of a run anew."""
        run = await self._upstream.run(request.run)
        await self._rebuild([(Stream(kind, run.uid), run.name) for kind in (Kind.CODES, Kind.LABELS)], context)

    async def _rebuild(self, streams: Sequence[tuple[Stream, str]], context: JobContext) -> None:
        for number, (stream, resource) in enumerate(streams):
            message = f"{stream.kind} of {resource}"

            async def step(count: int, number: int = number, message: str = message) -> None:
                await context.progress(number, len(streams), "streams", f"{message}: {count:,} read")

            await step(0)
            await self._indexing.rebuild(stream, resource, context.prove, step)
            context.log(f"took the new index of the {message} in use")
            await context.checkpoint()
        await context.progress(len(streams), len(streams), "streams")
