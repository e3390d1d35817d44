"""The data plane of embedding: starts jobs, and embeds texts that belong to no dataset."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1.embedder_service_pb2 import EmbedDatasetRequest, RetryFailedDocumentsRequest
from services.chassis.errors import InvalidArgument
from services.chassis.jobs import Jobs
from services.embedder.errors import GivenVectors
from services.embedder.outcomes import Batch, collect
from services.embedder.providers import EmbeddingModels, Purpose
from services.embedder.store import Store
from services.embedder.worker import SERVICE


class Embedding:
    """Embeds datasets, by jobs, and texts."""

    def __init__(self, *, store: Store, models: EmbeddingModels, jobs: Jobs) -> None:
        self._store = store
        self._models = models
        self._jobs = jobs

    async def start(
        self, kind: str, dataset_id: str, request: EmbedDatasetRequest | RetryFailedDocumentsRequest
    ) -> Job:
        """Starts a job, or returns the one that runs already.

        Raises DatasetNotFound, EmbeddingModelNotFound, and GivenVectors where given ones are to be made again.
        """
        dataset = await asyncio.to_thread(self._store.dataset, dataset_id)
        repairs = isinstance(request, EmbedDatasetRequest) and request.again
        if not dataset.has_given_vectors:
            await self._models.get(dataset.embedding_model)
        elif repairs:
            raise GivenVectors(
                f"no model can make the vectors of {dataset.name} again, they were given: import the documents with "
                "their vectors again, and replace what is there (on_duplicate, --on-duplicate replace); the others stay"
            )
        if not request.request_id and not repairs and (job := await self._jobs.active_for(dataset.name, kind)):
            return job
        return await self._jobs.submit(SERVICE, kind, request, request_id=request.request_id, resources=[dataset.name])

    async def embed(self, model: str, texts: Sequence[str], purpose: Purpose) -> Batch:
        """The vectors of texts, in their order. Raises InvalidArgument for a text that the model cannot embed."""
        answers = await self._models.embed(self._models.full_id(model), texts, purpose=purpose)
        batch = collect(range(len(answers)), answers, 0)
        for outcome in batch.outcomes:
            if outcome.failure is not None:
                raise InvalidArgument.field(f"texts[{outcome.row}]", outcome.failure.message)
        return batch
