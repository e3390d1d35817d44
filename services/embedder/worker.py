"""The embedder's jobs. Each step commits: a job that is started again goes on where the last attempt ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from google.protobuf.struct_pb2 import Struct

from prisma.embedder.v1.embedder_service_pb2 import EmbedDatasetRequest, RetryFailedDocumentsRequest
from prisma_common.names import DATASET_CHANGED, EMBED_DATASET, EMBED_DATASET_PART, RETRY_FAILED_DOCUMENTS
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_partitions import Partitions
from services.chassis.job_worker import JobKind
from services.chassis.threads import in_thread
from services.embedder import requests
from services.embedder.division import Tally, division
from services.embedder.documents import Dataset
from services.embedder.errors import EmbeddingModelChanged
from services.embedder.outcomes import Batch, collect
from services.embedder.providers import EmbeddingModels
from services.embedder.store import Store
from services.embedder.vector_store import VectorStore

SERVICE = "embedder"
REFUSED_SHARE = 0.1
"""The share of refused documents beyond which a job says so in its message."""


class EmbedderJobs:
    """Embeds the documents of datasets."""

    def __init__(
        self,
        *,
        store: Store,
        vectors: VectorStore,
        models: EmbeddingModels,
        events: Events,
        batch_size: int,
        ack_wait_seconds: float,
        part_size: int | None = None,
    ) -> None:
        """batch_size: documents that are embedded and committed at once.

        part_size: the fewest documents of a part of a job; None where no other process can do a part.
        """
        self._store = store
        self._vectors = vectors
        self._models = models
        self._events = events
        self._batch_size = batch_size
        self._part_size = part_size
        self._ack_wait_seconds = ack_wait_seconds

    def kinds(self) -> list[JobKind]:
        """The kinds of jobs, for the worker."""
        work: list[tuple[str, type[Any], Callable[[Any, JobContext], Awaitable[None]]]] = [
            (EMBED_DATASET, EmbedDatasetRequest, self.embed),
            (EMBED_DATASET_PART, EmbedDatasetRequest, self.embed_part),
            (RETRY_FAILED_DOCUMENTS, RetryFailedDocumentsRequest, self.retry),
        ]
        return [
            JobKind(service=SERVICE, name=name, request_type=request, run=run, ack_wait=self._ack_wait_seconds)
            for name, request, run in work
        ]

    async def retry(self, request: RetryFailedDocumentsRequest, context: JobContext) -> None:
        """Makes failed documents pending, then embeds all pending ones."""
        await _partitions(request.name, context).forget_tried()
        if not context.record.partitions:  # else an earlier attempt has, and its parts may have refused some again
            await context.prove()
            count = await in_thread(self._store.make_failed_pending, requests.dataset_id(request.name))
            context.log(f"{count:,} failed documents are pending again")
        await self.embed(EmbedDatasetRequest(name=request.name), context)

    async def embed(self, request: EmbedDatasetRequest, context: JobContext) -> None:
        """Embeds pending documents until none is left.

        Many are divided among all embedders that share the data. Raises ProviderUnavailable when the model does not
        work: the documents stay pending, and the job waits. Raises NothingEmbedded where the model refused all
        documents: that is no success, and a model that may not work.
        """
        dataset = await in_thread(self._store.dataset, requests.dataset_id(request.name))
        if dataset.has_given_vectors:
            message = f"nothing to embed: the vectors of {dataset.name} are given"
            await context.progress(0, 0, "documents", message)
            context.log(message)
            return
        try:
            await _partitions(dataset.name, context).forget_tried()
            if request.again and not context.record.partitions:  # else an earlier attempt has
                await self._make_lost_pending(dataset, context)
            tally = await self._embed_in_parts(dataset, context)
            dataset = await in_thread(self._store.dataset, dataset.id)
            tally = await self._embed_rows(dataset, context, tally, pending_count=dataset.counts.pending)
            tally.explain(dataset.embedding_model, context.log)
        finally:
            await in_thread(self._store.delete_vectors_if_deleted, dataset.uid)

    async def embed_part(self, request: EmbedDatasetRequest, context: JobContext) -> None:
        """Embeds the pending documents of a range of rows."""
        dataset = await in_thread(self._store.dataset, requests.dataset_id(request.name))
        start, stop = context.partition.start, context.partition.stop
        try:
            count = await in_thread(self._store.pending_count, dataset.uid, start, stop)
            tally = Tally.of(context.result)  # of earlier attempts
            await self._embed_rows(dataset, context, tally, pending_count=count, start=start, stop=stop)
        finally:
            await in_thread(self._store.delete_vectors_if_deleted, dataset.uid)

    async def _embed_in_parts(self, dataset: Dataset, context: JobContext) -> Tally:
        """Has parts of many pending documents embedded, until few are left; those of earlier attempts first."""
        partitions = _partitions(dataset.name, context)
        while True:
            tally = Tally.of(context.record.result)  # of parts before the present ones
            if context.record.partitions:
                message = f"embedding with {dataset.embedding_model}"
                tally += Tally.total(await partitions.run(message, done_before=tally.done))
                dataset = await in_thread(self._store.dataset, dataset.id)
            if self._part_size is None or dataset.counts.pending <= self._part_size:
                return tally
            ranges = await in_thread(division, self._store, dataset, self._part_size)
            if len(ranges) < 2:
                return tally
            result = Struct()
            tally.store(result)
            await partitions.divide(ranges, result=result)

    async def _embed_rows(
        self,
        dataset: Dataset,
        context: JobContext,
        tally: Tally,
        *,
        pending_count: int,
        start: int = 0,
        stop: int | None = None,
    ) -> Tally:
        """Embeds pending documents with rows in [start, stop). tally: of what the job, or the part, has done before."""
        work = _EmbeddingJob(
            store=self._store,
            vectors=self._vectors,
            models=self._models,
            events=self._events,
            context=context,
            tally=tally,
        )
        return await work.run(dataset, start, stop, pending_count=pending_count, batch_size=self._batch_size)

    async def _make_lost_pending(self, dataset: Dataset, context: JobContext) -> None:
        await context.progress(0, dataset.counts.embedded, "documents", "looking for damaged vectors")
        shards = await in_thread(self._vectors.lost_shards, dataset.uid)
        await context.prove()
        count = await in_thread(self._store.make_lost_pending, dataset, shards)
        await in_thread(self._vectors.delete_shards, shards)
        context.log(f"{len(shards):,} damaged files of vectors; {count:,} documents are pending again")


def _partitions(dataset: str, context: JobContext) -> Partitions:
    """The parts of a job that embeds a dataset."""
    request = EmbedDatasetRequest(name=dataset)
    return Partitions(context, kind=EMBED_DATASET_PART, request=request, unit="documents")


class _EmbeddingJob:
    """One run of an embedding job, or of a part of one."""

    def __init__(
        self,
        *,
        store: Store,
        vectors: VectorStore,
        models: EmbeddingModels,
        events: Events,
        context: JobContext,
        tally: Tally,
    ) -> None:
        self._store = store
        self._vectors = vectors
        self._models = models
        self._events = events
        self._context = context
        self._tally = tally

    async def run(
        self, dataset: Dataset, start: int, stop: int | None, *, pending_count: int, batch_size: int
    ) -> Tally:
        """Embeds batch after batch of the rows in [start, stop), each with the dataset's model at that moment."""
        total = self._tally.done + pending_count
        while True:
            done = self._tally.done
            await self._context.progress(done, max(total, done), "documents", self._message(dataset))
            dataset = await in_thread(self._store.dataset, dataset.id)
            read = partial(self._store.pending, dataset.id, dataset.uid, batch_size, start=start, stop=stop)
            pending = await in_thread(read)
            if not pending:
                return self._tally
            dimension = dataset.dimension or (await self._models.get(dataset.embedding_model)).dimension
            answers = await self._models.embed(dataset.embedding_model, [text for _row, text in pending])
            batch = collect([row for row, _text in pending], answers, dimension)
            try:
                await self._commit(dataset, batch)
            except EmbeddingModelChanged as error:
                self._context.log(f"{error.message}: this batch is embedded with it")
                continue
            self._tally += Tally.of_batch(batch)
            if self._context.record.partition_of:
                self._tally.store(self._context.result)
            await self._context.checkpoint()
            await self._events.publish(DATASET_CHANGED, dataset.name)

    async def _commit(self, dataset: Dataset, batch: Batch) -> None:
        shard = None
        if len(batch.vectors):
            shard = await in_thread(self._vectors.write_shard, dataset.uid, batch.vectors)
        await self._context.prove()
        await in_thread(self._store.commit_outcomes, dataset, batch.outcomes, shard)

    def _message(self, dataset: Dataset) -> str:
        message = f"embedding with {dataset.embedding_model}"
        if self._tally.refused > REFUSED_SHARE * self._tally.done:
            message += f"; {self._tally.refused:,} of {self._tally.done:,} documents were refused"
        return message
