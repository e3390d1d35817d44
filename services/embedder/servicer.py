"""The embedder's RPCs: convert, call, convert back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import grpc.aio
import numpy as np
from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc, resources_pb2
from prisma_common import wire
from services.chassis import names
from services.chassis.errors import InvalidArgument, PrismaError
from services.chassis.events import Events
from services.chassis.jobs import Jobs
from services.chassis.paging import Page
from services.embedder import convert, worker
from services.embedder.documents import Dataset, Document, Failure, State
from services.embedder.errors import EmbeddingModelFixed, FileTooLarge
from services.embedder.importing import Importer
from services.embedder.imports import Options
from services.embedder.outcomes import collect
from services.embedder.providers import EmbeddingModels
from services.embedder.settings import EmbedderSettings
from services.embedder.store import Store

MAX_TEXTS = 256
MAX_BATCH = 1000
DELETED = "dataset.deleted"
_READ_FIELDS = ("key", "text", "metadata", "state")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class EmbedderServicer(embedder_service_pb2_grpc.EmbedderServiceServicer):
    """Datasets, documents, vectors."""

    def __init__(
        self, store: Store, models: EmbeddingModels, jobs: Jobs, events: Events, settings: EmbedderSettings
    ) -> None:
        self._store = store
        self._models = models
        self._jobs = jobs
        self._events = events
        self._settings = settings

    async def CreateDataset(self, request: pb2.CreateDatasetRequest, context: Context) -> resources_pb2.Dataset:
        wanted = convert.checked(request.dataset)
        if request.dataset_id:
            names.check_id(request.dataset_id, "dataset_id")
        model = self._models.full_id(wanted.embedding_model)
        await self._models.get(model)
        made = await asyncio.to_thread(
            self._store.create_dataset,
            request.dataset_id,
            wanted.display_name,
            wanted.description,
            model,
            request.request_id,
        )
        await self._changed(made)
        return convert.dataset(made)

    async def GetDataset(self, request: pb2.GetDatasetRequest, context: Context) -> resources_pb2.Dataset:
        return convert.dataset(await self._dataset(request.name))

    async def ListDatasets(self, request: pb2.ListDatasetsRequest, context: Context) -> pb2.ListDatasetsResponse:
        bound = (request.show_deleted,)
        page = Page.of(request.page_size, request.page_token, bound_to=bound, default=50, maximum=1000)
        found = await asyncio.to_thread(self._store.datasets, page.after, page.size + 1, request.show_deleted)
        response = pb2.ListDatasetsResponse(datasets=[convert.dataset(each) for each in found[: page.size]])
        if len(found) > page.size:
            last = found[page.size - 1]
            response.next_page_token = page.next_token([last.create_time.isoformat(), last.uid])
        return response

    async def UpdateDataset(self, request: pb2.UpdateDatasetRequest, context: Context) -> resources_pb2.Dataset:
        dataset = await self._dataset(request.dataset.name, "dataset.name")
        changes = convert.changes(request)
        if "embedding_model" in changes:
            model = changes["embedding_model"] = self._models.full_id(changes["embedding_model"])
            await self._models.get(model)
            if dataset.dimension and model != dataset.embedding_model:
                raise EmbeddingModelFixed(
                    f"{dataset.name} has vectors of {dataset.embedding_model}; make another dataset for {model}"
                )
        updated = await asyncio.to_thread(self._store.update_dataset, dataset.id, changes)
        return convert.dataset(updated)

    async def DeleteDataset(self, request: pb2.DeleteDatasetRequest, context: Context) -> resources_pb2.Dataset:
        dataset_id = convert.dataset_id(request.name, "name")
        tombstone = await asyncio.to_thread(self._store.delete_dataset, dataset_id)
        await self._events.publish(DELETED, request.name)
        try:
            await self._jobs.cancel_for(request.name)
        except PrismaError:
            pass  # a job of a deleted dataset ends by itself: nothing of it can be committed any more
        return convert.dataset(tombstone)

    async def ImportDocuments(
        self, request_iterator: AsyncIterator[pb2.ImportDocumentsRequest], context: Context
    ) -> pb2.ImportDocumentsResponse:
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("message") != "config":
            raise InvalidArgument.field("config", "expected the first message of an import to be its config")
        config = first.config
        dataset = await self._dataset(config.dataset, "config.dataset")
        if config.request_id:
            known = await asyncio.to_thread(self._store.import_report, config.request_id, dataset.uid)
            if known is not None:
                return pb2.ImportDocumentsResponse.FromString(known)
        options = Options(config.id_field or "id", config.text_field or "text", self._settings.max_text_bytes)
        with tempfile.NamedTemporaryFile(dir=self._settings.data_of("embedder"), prefix="import-") as file:
            await self._receive(request_iterator, file)
            importer = Importer(self._store, dataset, options, config.validate_only)
            report = await asyncio.to_thread(importer.run, Path(file.name))
        response = convert.report(report, await self._dataset(config.dataset))
        if config.request_id and not config.validate_only:
            await asyncio.to_thread(
                self._store.keep_report, config.request_id, dataset.uid, response.SerializeToString()
            )
        await self._changed(dataset)
        return response

    async def ListDocuments(self, request: pb2.ListDocumentsRequest, context: Context) -> pb2.ListDocumentsResponse:
        dataset_id = convert.dataset_id(request.parent, "parent")
        bound = (request.parent, request.filter)
        page = Page.of(request.page_size, request.page_token, bound_to=bound, default=50, maximum=1000)
        terms = convert.filter_terms(request.filter)
        after = -1 if page.after is None else int(page.after)
        found, total = await asyncio.to_thread(self._store.list_documents, dataset_id, terms, after, page.size + 1)
        documents = [convert.document(each, dataset_id) for each in found[: page.size]]
        response = pb2.ListDocumentsResponse(documents=documents, total_size=total)
        if len(found) > page.size:
            response.next_page_token = page.next_token(found[page.size - 1].row)
        return response

    async def GetDocument(self, request: pb2.GetDocumentRequest, context: Context) -> resources_pb2.Document:
        dataset_id, document_id = convert.document_ids(request.name)
        found = await asyncio.to_thread(self._store.document, dataset_id, document_id)
        return await self._viewed(found, dataset_id, request.view)

    async def BatchGetDocuments(
        self, request: pb2.BatchGetDocumentsRequest, context: Context
    ) -> pb2.BatchGetDocumentsResponse:
        dataset_id = convert.dataset_id(request.parent, "parent")
        if len(request.names) + len(request.rows) > MAX_BATCH:
            raise InvalidArgument.field("names", f"expected at most {MAX_BATCH} names and rows together")
        wanted: list[str] = []
        for name in request.names:
            parent, document_id = convert.document_ids(name, "names")
            if parent != dataset_id:
                raise InvalidArgument.field("names", f"expected documents of {request.parent}, got {name!r}")
            wanted.append(document_id)
        by_id = await asyncio.to_thread(self._store.documents_by_id, dataset_id, wanted)
        by_row = await asyncio.to_thread(self._store.documents_by_row, dataset_id, list(request.rows))
        response = pb2.BatchGetDocumentsResponse()
        for each in [*by_id, *by_row]:
            response.documents.append(await self._viewed(each, dataset_id, request.view))
        ids, rows = {each.id for each in by_id}, {each.row for each in by_row}
        response.missing.extend(f"{request.parent}/documents/{each}" for each in wanted if each not in ids)
        response.missing.extend(str(row) for row in request.rows if row not in rows)
        return response

    async def DeleteDocument(self, request: pb2.DeleteDocumentRequest, context: Context) -> resources_pb2.Document:
        dataset_id, document_id = convert.document_ids(request.name)
        gone = await asyncio.to_thread(self._store.delete_document, dataset_id, document_id)
        await self._changed(await self._dataset(f"datasets/{dataset_id}"))
        return convert.document(gone, dataset_id)

    async def ReadDocuments(
        self, request: pb2.ReadDocumentsRequest, context: Context
    ) -> AsyncIterator[pb2.ReadDocumentsResponse]:
        dataset = await self._dataset(request.dataset, "dataset")
        mask = list(request.read_mask.paths) or None
        for path in mask or ():
            if path not in _READ_FIELDS:
                raise InvalidArgument.field("read_mask", f"expected some of {', '.join(_READ_FIELDS)}; got {path!r}")
        block = pb2.ReadDocumentsResponse(revision=dataset.revision, dataset_uid=dataset.uid)
        size = 0
        async for found in self._changed_blocks(dataset, request):
            for document, deleted in found:
                if deleted:
                    block.deleted_rows.append(document.row)
                    continue
                block.documents.append(convert.document(document, dataset.id, mask))
                size += block.documents[-1].ByteSize()
                if size >= wire.BLOCK_BYTES:
                    yield block
                    block = pb2.ReadDocumentsResponse(revision=dataset.revision, dataset_uid=dataset.uid)
                    size = 0
        yield block

    async def ReadVectors(
        self, request: pb2.ReadVectorsRequest, context: Context
    ) -> AsyncIterator[pb2.ReadVectorsResponse]:
        dataset = await self._dataset(request.dataset, "dataset")
        if request.rows_only:
            async for response in self._read_rows(dataset, request):
                yield response
            return
        sent = False
        async for found in self._changed_blocks(dataset, request):
            live = [document for document, deleted in found if not deleted and document.state == State.EMBEDDED]
            gone = [document.row for document, deleted in found if deleted]
            part = await asyncio.to_thread(self._store.vectors, live, dataset.dimension)
            for piece in wire.blocks_of(len(part.rows), 4 * dataset.dimension):
                yield pb2.ReadVectorsResponse(
                    vectors=wire.pack_vectors(part.vectors[piece], part.rows[piece], request.encoding),
                    revision=dataset.revision,
                    dataset_uid=dataset.uid,
                )
                sent = True
            if gone:
                yield pb2.ReadVectorsResponse(deleted_rows=gone, revision=dataset.revision, dataset_uid=dataset.uid)
                sent = True
        if not sent:
            yield pb2.ReadVectorsResponse(revision=dataset.revision, dataset_uid=dataset.uid)

    async def EmbedDataset(self, request: pb2.EmbedDatasetRequest, context: Context) -> Job:
        return await self._start(worker.EMBED, request)

    async def RetryFailedDocuments(self, request: pb2.RetryFailedDocumentsRequest, context: Context) -> Job:
        return await self._start(worker.RETRY, request)

    async def EmbedTexts(self, request: pb2.EmbedTextsRequest, context: Context) -> pb2.EmbedTextsResponse:
        if not 1 <= len(request.texts) <= MAX_TEXTS:
            raise InvalidArgument.field("texts", f"expected 1 to {MAX_TEXTS} texts, got {len(request.texts)}")
        for place, text in enumerate(request.texts):
            if not text.strip():
                raise InvalidArgument.field(f"texts[{place}]", "expected a text, got only white space")
            if len(text.encode()) > self._settings.max_text_bytes:
                raise InvalidArgument.field(
                    f"texts[{place}]", f"expected at most {self._settings.max_text_bytes} bytes"
                )
        model = self._models.full_id(request.embedding_model)
        answers = await self._models.embed(model, list(request.texts))
        batch = collect(range(len(answers)), answers, 0)
        for place, outcome in enumerate(batch.outcomes):
            if isinstance(outcome.failure, Failure):
                raise InvalidArgument.field(f"texts[{place}]", outcome.failure.message)
        return pb2.EmbedTextsResponse(
            vectors=wire.pack_vectors(batch.vectors, encoding=request.encoding),
            truncated=[outcome.truncated for outcome in batch.outcomes],
        )

    async def ListEmbeddingModels(
        self, request: pb2.ListEmbeddingModelsRequest, context: Context
    ) -> pb2.ListEmbeddingModelsResponse:
        return convert.models(*await self._models.list())

    async def _dataset(self, name: str, field: str = "name") -> Dataset:
        return await asyncio.to_thread(self._store.dataset, convert.dataset_id(name, field))

    async def _changed(self, dataset: Dataset) -> None:
        await self._events.publish(worker.CHANGED, dataset.name)

    async def _viewed(
        self, document: Document, dataset_id: str, view: resources_pb2.DocumentView
    ) -> resources_pb2.Document:
        if view != resources_pb2.DOCUMENT_VIEW_FULL:
            return convert.document(document, dataset_id)
        return await asyncio.to_thread(convert.full_document, document, dataset_id, self._store)

    async def _start(self, kind: str, request: pb2.EmbedDatasetRequest | pb2.RetryFailedDocumentsRequest) -> Job:
        dataset = await self._dataset(request.name)
        await self._models.get(dataset.embedding_model)
        if not request.request_id and (running := await self._jobs.active_for(dataset.name, kind)):
            return running
        sent: Message = request
        return await self._jobs.submit(
            worker.SERVICE, kind, sent, request_id=request.request_id, resources=[dataset.name]
        )

    async def _receive(self, chunks: AsyncIterator[pb2.ImportDocumentsRequest], file: IO[bytes]) -> None:
        """Writes the file's chunks to disk. Raises FileTooLarge."""
        size, limit = 0, self._settings.max_import_bytes
        async for message in chunks:
            if message.WhichOneof("message") != "chunk":
                raise InvalidArgument.field("chunk", "expected chunks of the file after the config")
            size += len(message.chunk)
            if size > limit:
                raise FileTooLarge(
                    f"the file has more than {limit} bytes; cut it into several", metadata={"limit": str(limit)}
                )
            await asyncio.to_thread(file.write, message.chunk)
        await asyncio.to_thread(file.flush)

    async def _read_rows(
        self, dataset: Dataset, request: pb2.ReadVectorsRequest
    ) -> AsyncIterator[pb2.ReadVectorsResponse]:
        if request.since_revision:
            raise InvalidArgument.field("since_revision", "expected 0 together with rows_only")
        rows = await asyncio.to_thread(self._store.embedded_rows, dataset)
        rows = rows[wire.within(rows, request.row_ranges) & (rows >= np.uint64(request.start_row))]
        ranges = wire.ranges_of(rows)
        for part in list(wire.blocks_of(len(ranges), 16)) or [slice(0)]:
            yield pb2.ReadVectorsResponse(row_ranges=ranges[part], revision=dataset.revision, dataset_uid=dataset.uid)

    async def _changed_blocks(
        self, dataset: Dataset, request: pb2.ReadDocumentsRequest | pb2.ReadVectorsRequest
    ) -> AsyncIterator[list[tuple[Document, bool]]]:
        """Documents changed since the revision asked for, up to the one that the dataset has now."""
        after = request.start_row - 1
        while True:
            found = await asyncio.to_thread(
                self._store.changed_documents, dataset.uid, request.since_revision, dataset.revision, after
            )
            if not found:
                return
            after = found[-1][0].row
            rows = np.array([document.row for document, _deleted in found], dtype=np.uint64)
            wanted = wire.within(rows, request.row_ranges)
            yield [each for each, here in zip(found, wanted, strict=True) if here]
