"""Jobs of the embedder."""

from __future__ import annotations

from prisma.embedder.v1.embedder_service_pb2 import EmbedDatasetRequest, RetryFailedDocumentsRequest
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.threads import in_thread
from services.embedder import convert
from services.embedder.documents import Dataset, State
from services.embedder.outcomes import collect
from services.embedder.providers import EmbeddingModels
from services.embedder.store import Store

SERVICE = "embedder"
EMBED = "embed-dataset"
RETRY = "retry-failed-documents"
CHANGED = "dataset.changed"


class EmbedderJobs:
    """What the embedder's jobs do. Each step commits: a job that is begun again goes on where the last one ended."""

    def __init__(self, store: Store, models: EmbeddingModels, events: Events, batch: int, ack_wait: float) -> None:
        self._store = store
        self._models = models
        self._events = events
        self._batch = batch
        self._ack_wait = ack_wait

    def kinds(self) -> list[JobKind]:
        """The kinds, for the worker."""
        return [
            JobKind(SERVICE, EMBED, EmbedDatasetRequest, self.embed, self._ack_wait),
            JobKind(SERVICE, RETRY, RetryFailedDocumentsRequest, self.retry, self._ack_wait),
        ]

    async def retry(self, request: RetryFailedDocumentsRequest, context: JobContext) -> None:
        """Sets failed documents back to pending and embeds them; begun again, it does so again."""
        await context.prove()
        count = await in_thread(self._store.set_failed_pending, convert.dataset_id(request.name, "name"))
        context.log(f"{count} failed documents are pending again")
        await self.embed(EmbedDatasetRequest(name=request.name), context)

    async def embed(self, request: EmbedDatasetRequest, context: JobContext) -> None:
        """Embeds pending documents until none is left. Of a dataset that is deleted meanwhile, nothing stays."""
        dataset = await in_thread(self._store.dataset, convert.dataset_id(request.name, "name"))
        try:
            await self._embed(dataset, context)
        finally:
            await in_thread(self._store.forget_if_deleted, dataset.uid)

    async def _embed(self, dataset: Dataset, context: JobContext) -> None:
        done, total = 0, dataset.counts.get(State.PENDING, 0)
        dimension = dataset.dimension
        while True:
            await context.progress(done, total, "documents", f"embedding with {dataset.embedding_model}")
            waiting = await in_thread(self._store.pending, dataset.id, dataset.uid, self._batch)
            if not waiting:
                return
            rows = [row for row, _text in waiting]
            answers = await self._models.embed(dataset.embedding_model, [text for _row, text in waiting])
            batch = collect(rows, answers, dimension)
            dimension = dimension or batch.vectors.shape[1]
            shard = None
            if len(batch.vectors):
                shard = await in_thread(self._store.write_shard, dataset.uid, batch.vectors)
            await context.prove()
            await in_thread(self._store.commit_outcomes, dataset.id, dataset.uid, shard, dimension, batch.outcomes)
            await context.checkpoint()
            await self._events.publish(CHANGED, dataset.name)
            done += len(waiting)
            total = max(total, done)
