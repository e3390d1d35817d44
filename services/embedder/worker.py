"""The embedder's jobs. Each step commits: a job that is started again goes on where the last attempt ended."""

from __future__ import annotations

from prisma.embedder.v1.embedder_service_pb2 import EmbedDatasetRequest, RetryFailedDocumentsRequest
from prisma_common.names import DATASET_CHANGED, EMBED_DATASET, RETRY_FAILED_DOCUMENTS
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.threads import in_thread
from services.embedder import requests
from services.embedder.documents import Dataset, Failure
from services.embedder.errors import EmbeddingModelChanged, NothingEmbedded
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
    ) -> None:
        """batch_size: documents that are embedded and committed at once."""
        self._store = store
        self._vectors = vectors
        self._models = models
        self._events = events
        self._batch_size = batch_size
        self._ack_wait_seconds = ack_wait_seconds

    def kinds(self) -> list[JobKind]:
        """The kinds of jobs, for the worker."""
        return [
            JobKind(SERVICE, EMBED_DATASET, EmbedDatasetRequest, self.embed, ack_wait=self._ack_wait_seconds),
            JobKind(
                SERVICE,
                RETRY_FAILED_DOCUMENTS,
                RetryFailedDocumentsRequest,
                self.retry,
                ack_wait=self._ack_wait_seconds,
            ),
        ]

    async def retry(self, request: RetryFailedDocumentsRequest, context: JobContext) -> None:
        """Makes failed documents pending, then embeds all pending ones."""
        await context.prove()
        count = await in_thread(self._store.make_failed_pending, requests.dataset_id(request.name))
        context.log(f"{count:,} failed documents are pending again")
        await self.embed(EmbedDatasetRequest(name=request.name), context)

    async def embed(self, request: EmbedDatasetRequest, context: JobContext) -> None:
        """Embeds pending documents until none is left.

        Raises ProviderUnavailable when the model does not work: the documents stay pending, and the job waits.
        """
        dataset = await in_thread(self._store.dataset, requests.dataset_id(request.name))
        if dataset.has_given_vectors:
            message = f"nothing to embed: the vectors of {dataset.name} are given"
            await context.progress(0, 0, "documents", message)
            context.log(message)
            return
        try:
            if request.again:
                await self._make_lost_pending(dataset, context)
            await _EmbeddingJob(self._store, self._vectors, self._models, context).run(
                dataset, self._batch_size, self._events
            )
        finally:
            await in_thread(self._store.delete_vectors_if_deleted, dataset.uid)

    async def _make_lost_pending(self, dataset: Dataset, context: JobContext) -> None:
        await context.progress(0, dataset.counts.embedded, "documents", "looking for damaged vectors")
        shards = await in_thread(self._vectors.lost_shards, dataset.uid)
        await context.prove()
        count = await in_thread(self._store.make_lost_pending, dataset, shards)
        await in_thread(self._vectors.delete_shards, shards)
        context.log(f"{len(shards):,} damaged files of vectors; {count:,} documents are pending again")


class _EmbeddingJob:
    """One run of an embedding job."""

    def __init__(self, store: Store, vectors: VectorStore, models: EmbeddingModels, context: JobContext) -> None:
        self._store = store
        self._vectors = vectors
        self._models = models
        self._context = context
        self._done = 0
        self._refused = 0
        self._first_failure: Failure | None = None

    async def run(self, dataset: Dataset, batch_size: int, events: Events) -> None:
        """Embeds batch after batch, each with the dataset's model at that moment.

        Raises NothingEmbedded where the model refused all documents: that is no success, and a model that may not work.
        """
        total = dataset.counts.pending
        while True:
            await self._context.progress(self._done, max(total, self._done), "documents", self._message(dataset))
            dataset = await in_thread(self._store.dataset, dataset.id)
            pending = await in_thread(self._store.pending, dataset.id, dataset.uid, batch_size)
            if not pending:
                break
            dimension = dataset.dimension or (await self._models.get(dataset.embedding_model)).dimension
            answers = await self._models.embed(dataset.embedding_model, [text for _row, text in pending])
            batch = collect([row for row, _text in pending], answers, dimension)
            try:
                await self._commit(dataset, batch)
            except EmbeddingModelChanged as error:
                self._context.log(f"{error.message}: this batch is embedded with it")
                continue
            await self._context.checkpoint()
            await events.publish(DATASET_CHANGED, dataset.name)
            self._done += len(pending)
            self._refused += batch.failure_count
            self._first_failure = self._first_failure or batch.first_failure
        if self._refused:
            self._context.log(f"{self._refused:,} of {self._done:,} documents were refused and have failed")
        if self._first_failure is not None and self._refused == self._done:
            raise NothingEmbedded(
                f"none of {self._done:,} documents could be embedded with {dataset.embedding_model}; the first: "
                f"{self._first_failure.message}. RetryFailedDocuments (`prisma embed --retry-failed`) tries them again"
            )

    async def _commit(self, dataset: Dataset, batch: Batch) -> None:
        shard = None
        if len(batch.vectors):
            shard = await in_thread(self._vectors.write_shard, dataset.uid, batch.vectors)
        await self._context.prove()
        await in_thread(self._store.commit_outcomes, dataset, batch.outcomes, shard)

    def _message(self, dataset: Dataset) -> str:
        message = f"embedding with {dataset.embedding_model}"
        if self._refused > REFUSED_SHARE * self._done:
            message += f"; {self._refused:,} of {self._done:,} documents were refused"
        return message
