"""The data plane of datasets and documents: what the RPCs do, without gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prisma_common.names import DATASET_CHANGED, DATASET_DELETED, is_given
from services.chassis.errors import PrismaError
from services.chassis.events import Events
from services.chassis.filters import Filter
from services.chassis.idempotency import Call
from services.chassis.jobs import Jobs
from services.chassis.paging import Page
from services.embedder.documents import Dataset, Document, MatchingDocuments, NewDataset, QueryModel
from services.embedder.providers import EmbeddingModels
from services.embedder.splitting import make_splitter
from services.embedder.store import Store
from services.embedder.vector_store import VectorStore

DocumentVector = tuple[Document, NDArray[np.float32] | None]
"""A document, and its vector (d,) if it was asked for and exists."""


class Datasets:
    """Datasets and documents."""

    def __init__(
        self,
        *,
        store: Store,
        vectors: VectorStore,
        models: EmbeddingModels,
        jobs: Jobs,
        events: Events,
        sweep: Callable[[], None],
    ) -> None:
        """sweep: starts deleting what deleted datasets have left behind."""
        self._store = store
        self._vectors = vectors
        self._models = models
        self._jobs = jobs
        self._events = events
        self._sweep = sweep

    async def create(self, new: NewDataset, query_model: str | None, call: Call | None) -> Dataset:
        """Creates a dataset. Raises EmbeddingModelNotFound, ProviderUnavailable, DatasetExists, RequestIdReused, and
        InvalidArgument for passages that the model cannot have.
        """
        if not is_given(new.embedding_model):
            new = replace(new, embedding_model=await self._models.choose(new.embedding_model))
        if query_model is not None:
            new = replace(new, query_model=await self._query_model(query_model))
        if new.passages is not None:
            await make_splitter(self._models, new.embedding_model, new.passages)
        dataset = await asyncio.to_thread(self._store.create_dataset, new, call)
        await self.announce(dataset)
        return dataset

    async def get(self, dataset_id: str) -> Dataset:
        """A dataset. Raises DatasetNotFound."""
        return await asyncio.to_thread(self._store.dataset, dataset_id)

    async def list(self, page: Page, *, show_deleted: bool) -> tuple[Sequence[Dataset], str]:
        """A page of datasets, the newest first, and the token of the next one; empty on the last."""
        datasets = await asyncio.to_thread(self._store.datasets, page.after, page.size + 1, show_deleted=show_deleted)
        if len(datasets) <= page.size:
            return datasets, ""
        last = datasets[page.size - 1]
        return datasets[: page.size], page.next_token([last.create_time.isoformat(), last.uid])

    async def update(self, dataset_id: str, values: Mapping[str, str]) -> Dataset:
        """Changes fields of a dataset.

        Raises DatasetNotFound, EmbeddingModelFixed, EmbeddingModelNotFound, GivenVectors, InvalidArgument,
        ProviderUnavailable.
        """
        changes: dict[str, str | int] = dict(values)
        if "embedding_model" in values:
            dataset, model = await self.get(dataset_id), self._models.full_id(values["embedding_model"])
            if model == dataset.embedding_model:
                del changes["embedding_model"]
            else:
                model = model if is_given(model) else await self._models.choose(model)
                if dataset.passages is not None:
                    await make_splitter(self._models, model, dataset.passages)
                changes["embedding_model"] = model
        if "query_model" in values:
            query_model = await self._query_model(values["query_model"]) if values["query_model"] else None
            changes["query_model"] = query_model.id if query_model else ""
            changes["query_dimension"] = query_model.dimension if query_model else 0
        return await asyncio.to_thread(self._store.update_dataset, dataset_id, changes)

    async def delete(self, dataset_id: str) -> Dataset:
        """Leaves a tombstone, cancels the dataset's jobs, and starts deleting its data. Raises DatasetNotFound."""
        tombstone = await asyncio.to_thread(self._store.delete_dataset, dataset_id)
        await self._events.publish(DATASET_DELETED, tombstone.name)
        self._sweep()
        try:
            await self._jobs.cancel_for(tombstone.name)
        except PrismaError:
            pass  # a job of a deleted dataset fails by itself: nothing of it can be committed any more
        return tombstone

    async def list_documents(self, dataset_id: str, page: Page, condition: Filter) -> tuple[MatchingDocuments, str]:
        """A page of documents that match, and the next page's token. Raises DatasetNotFound."""
        after_row, total = page.after or (-1, None)
        matching = await asyncio.to_thread(
            self._store.list_documents, dataset_id, condition, after_row=after_row, limit=page.size + 1, total=total
        )
        documents = matching.documents
        if len(documents) <= page.size:
            return matching, ""
        token = page.next_token([documents[page.size - 1].row, matching.total])
        return matching._replace(documents=documents[: page.size]), token

    async def document(self, dataset_id: str, document_id: str, *, with_vector: bool) -> DocumentVector:
        """A document. Raises DatasetNotFound, DocumentNotFound, BlobDamaged."""
        document = await asyncio.to_thread(self._store.document, dataset_id, document_id, with_passages=with_vector)
        return (await self._with_vectors([document], with_vector=with_vector))[0]

    async def documents(
        self, dataset_id: str, ids: Sequence[str], rows: Sequence[int], *, with_vectors: bool
    ) -> tuple[list[DocumentVector], list[DocumentVector]]:
        """The documents of these ids and of these rows that exist. Raises DatasetNotFound, BlobDamaged."""
        by_id = await asyncio.to_thread(self._store.documents_by_id, dataset_id, ids, with_passages=with_vectors)
        by_row = await asyncio.to_thread(self._store.documents_by_row, dataset_id, rows)
        return (
            await self._with_vectors(by_id, with_vector=with_vectors),
            await self._with_vectors(by_row, with_vector=with_vectors),
        )

    async def delete_document(self, dataset_id: str, document_id: str) -> Document:
        """Deletes a document and returns it as it was. Raises DatasetNotFound, DocumentNotFound."""
        document, dataset = await asyncio.to_thread(self._store.delete_document, dataset_id, document_id)
        await self.announce(dataset)
        return document

    async def announce(self, dataset: Dataset) -> None:
        """Tells those who derive data that a dataset has changed. Call it after the commit."""
        await self._events.publish(DATASET_CHANGED, dataset.name)

    async def _query_model(self, model_id: str) -> QueryModel:
        """The model of queries. Raises EmbeddingModelNotFound, ProviderUnavailable, ProviderRefused."""
        model = await self._models.get(await self._models.choose(model_id))
        return QueryModel(model.id, model.dimension)

    async def _with_vectors(self, documents: Sequence[Document], *, with_vector: bool) -> list[DocumentVector]:
        if not with_vector:
            return [(document, None) for document in documents]
        return await asyncio.to_thread(lambda: [(document, self._vectors.vector(document)) for document in documents])
