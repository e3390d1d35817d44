"""The embedder's RPCs: each converts the request, calls the data plane, and converts the result."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.api.httpbody_pb2 import HttpBody

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc, resources_pb2, statistics_pb2
from prisma_common.names import EMBED_DATASET, RETRY_FAILED_DOCUMENTS
from services.chassis.calls import Context
from services.chassis.idempotency import Call
from services.embedder import messages, requests, statistics_messages
from services.embedder.comparing import Comparing
from services.embedder.datasets import Datasets
from services.embedder.deleting import Deletion
from services.embedder.embedding import Embedding
from services.embedder.imports import Imports
from services.embedder.map_job import Maps
from services.embedder.providers import EmbeddingModels
from services.embedder.settings import EmbedderSettings
from services.embedder.statistics_job import Statistics
from services.embedder.streams import Streams


class EmbedderServicer(embedder_service_pb2_grpc.EmbedderServiceServicer):
    """Datasets, documents and vectors."""

    def __init__(
        self,
        *,
        datasets: Datasets,
        imports: Imports,
        streams: Streams,
        comparing: Comparing,
        embedding: Embedding,
        deletion: Deletion,
        statistics: Statistics,
        maps: Maps,
        models: EmbeddingModels,
        settings: EmbedderSettings,
    ) -> None:
        self._datasets = datasets
        self._imports = imports
        self._streams = streams
        self._comparing = comparing
        self._embedding = embedding
        self._deletion = deletion
        self._statistics = statistics
        self._maps = maps
        self._models = models
        self._max_text_bytes = settings.max_text_bytes

    async def CreateDataset(self, request: pb2.CreateDatasetRequest, context: Context) -> resources_pb2.Dataset:
        call = Call.of(request.request_id, "CreateDataset", request)
        return messages.dataset(await self._datasets.create(*requests.new_dataset(request), call))

    async def GetDataset(self, request: pb2.GetDatasetRequest, context: Context) -> resources_pb2.Dataset:
        return messages.dataset(await self._datasets.get(requests.dataset_id(request.name)))

    async def ListDatasets(self, request: pb2.ListDatasetsRequest, context: Context) -> pb2.ListDatasetsResponse:
        page = requests.datasets_page(request)
        return messages.datasets(*await self._datasets.list(page, show_deleted=request.show_deleted))

    async def UpdateDataset(self, request: pb2.UpdateDatasetRequest, context: Context) -> resources_pb2.Dataset:
        dataset_id = requests.dataset_id(request.dataset.name, "dataset.name")
        return messages.dataset(await self._datasets.update(dataset_id, requests.changes(request)))

    async def DeleteDataset(self, request: pb2.DeleteDatasetRequest, context: Context) -> resources_pb2.Dataset:
        return messages.dataset(await self._datasets.delete(requests.dataset_id(request.name)))

    async def ImportDocuments(
        self, request_iterator: AsyncIterator[pb2.ImportDocumentsRequest], context: Context
    ) -> pb2.ImportDocumentsResponse:
        plan, chunks = await requests.import_plan(request_iterator, self._max_text_bytes)
        answer, dataset = await self._imports.run(plan, chunks, messages.serialized_report)
        await self._datasets.announce(dataset)
        return pb2.ImportDocumentsResponse.FromString(answer)

    async def PreviewDocuments(
        self, request_iterator: AsyncIterator[pb2.PreviewDocumentsRequest], context: Context
    ) -> pb2.PreviewDocumentsResponse:
        plan, is_partial, reuse, chunks = await requests.preview_plan(request_iterator, self._max_text_bytes)
        return messages.preview(await self._imports.preview(plan, chunks, is_partial=is_partial, reuse=reuse))

    async def ListImports(self, request: pb2.ListImportsRequest, context: Context) -> pb2.ListImportsResponse:
        dataset_id, page = requests.dataset_id(request.parent, "parent"), requests.imports_page(request)
        imports, token = await self._imports.list(dataset_id, page)
        return messages.imports(imports, dataset_id, token)

    async def GetImport(self, request: pb2.GetImportRequest, context: Context) -> pb2.Import:
        dataset_id, uid = requests.import_ids(request.name)
        return messages.stored_import(await self._imports.get(dataset_id, uid), dataset_id)

    async def DownloadRejections(
        self, request: pb2.DownloadRejectionsRequest, context: Context
    ) -> AsyncIterator[HttpBody]:
        dataset_id, uid = requests.import_ids(request.name)
        file_format = requests.rejections_format(request)
        await self._imports.get(dataset_id, uid)
        async for part in messages.rejection_parts(self._imports.rejections(dataset_id, uid), file_format):
            yield part

    async def ListDocuments(self, request: pb2.ListDocumentsRequest, context: Context) -> pb2.ListDocumentsResponse:
        dataset_id = requests.dataset_id(request.parent, "parent")
        page, condition = requests.documents_page(request), requests.document_filter(request.filter)
        matching, token = await self._datasets.list_documents(dataset_id, page, condition)
        return messages.documents(matching, dataset_id, token)

    async def GetDocument(self, request: pb2.GetDocumentRequest, context: Context) -> resources_pb2.Document:
        dataset_id, document_id = requests.document_ids(request.name)
        with_vector = requests.with_vector(request.view)
        document, vector = await self._datasets.document(dataset_id, document_id, with_vector=with_vector)
        return messages.document(document, dataset_id, vector=vector)

    async def BatchGetDocuments(
        self, request: pb2.BatchGetDocumentsRequest, context: Context
    ) -> pb2.BatchGetDocumentsResponse:
        dataset_id, ids = requests.batch_ids(request)
        with_vectors = requests.with_vector(request.view)
        by_id, by_row = await self._datasets.documents(dataset_id, ids, request.rows, with_vectors=with_vectors)
        return messages.batch(request, dataset_id, by_id, by_row)

    async def DeleteDocument(self, request: pb2.DeleteDocumentRequest, context: Context) -> resources_pb2.Document:
        dataset_id, document_id = requests.document_ids(request.name)
        return messages.document(await self._datasets.delete_document(dataset_id, document_id), dataset_id)

    async def DeleteDocuments(
        self, request: pb2.DeleteDocumentsRequest, context: Context
    ) -> pb2.DeleteDocumentsResponse:
        dataset_id, condition = requests.dataset_id(request.parent, "parent"), requests.deletion_filter(request.filter)
        matching = await self._deletion.matches(dataset_id, condition)
        job = await self._deletion.start(request) if request.force else None
        return messages.deletion(matching, dataset_id, job)

    async def ReadDocuments(
        self, request: pb2.ReadDocumentsRequest, context: Context
    ) -> AsyncIterator[pb2.ReadDocumentsResponse]:
        selection, mask = requests.selection(request), requests.read_fields(request)
        dataset = await self._streams.begin(requests.dataset_id(request.dataset, "dataset"), selection)
        if request.whole_documents and dataset.passages is not None:
            pages = self._streams.whole_documents(dataset, selection)
        else:
            pages = self._streams.documents(dataset, selection, with_metadata=mask is None or "metadata" in mask)
        async for block in messages.document_blocks(pages, dataset, mask):
            yield block

    async def ReadVectors(
        self, request: pb2.ReadVectorsRequest, context: Context
    ) -> AsyncIterator[pb2.ReadVectorsResponse]:
        selection, encoding = requests.selection(request), requests.encoding(request.encoding)
        dataset = await self._streams.begin(requests.dataset_id(request.dataset, "dataset"), selection)
        if request.rows_only:
            for block in messages.row_blocks(await self._streams.embedded_rows(dataset, selection), dataset):
                yield block
            return
        pages = self._streams.vectors(dataset, selection)
        async for block in messages.vector_blocks(pages, dataset, encoding):
            yield block

    async def CompareRows(self, request: pb2.CompareRowsRequest, context: Context) -> pb2.CompareRowsResponse:
        ranges = [(rows.start, rows.end) for rows in request.row_ranges]
        dataset_id = requests.dataset_id(request.dataset, "dataset")
        return messages.row_comparison(await self._comparing.compare(dataset_id, ranges))

    async def EmbedDataset(self, request: pb2.EmbedDatasetRequest, context: Context) -> Job:
        return await self._embedding.start(EMBED_DATASET, requests.dataset_id(request.name), request)

    async def RetryFailedDocuments(self, request: pb2.RetryFailedDocumentsRequest, context: Context) -> Job:
        return await self._embedding.start(RETRY_FAILED_DOCUMENTS, requests.dataset_id(request.name), request)

    async def EmbedTexts(self, request: pb2.EmbedTextsRequest, context: Context) -> pb2.EmbedTextsResponse:
        texts, encoding = requests.texts(request, self._max_text_bytes), requests.encoding(request.encoding)
        batch = await self._embedding.embed(request.embedding_model, texts, requests.purpose(request))
        return messages.embedded_texts(batch, encoding)

    async def ComputeDatasetStatistics(self, request: pb2.ComputeDatasetStatisticsRequest, context: Context) -> Job:
        return await self._statistics.compute(request)

    async def GetDatasetStatistics(
        self, request: pb2.GetDatasetStatisticsRequest, context: Context
    ) -> statistics_pb2.DatasetStatistics:
        return statistics_messages.statistics(*await self._statistics.get(requests.statistics_dataset_id(request.name)))

    async def ComputeDatasetMap(self, request: pb2.ComputeDatasetMapRequest, context: Context) -> Job:
        return await self._maps.compute(request)

    async def GetDatasetMap(self, request: pb2.GetDatasetMapRequest, context: Context) -> statistics_pb2.DatasetMap:
        dataset_id, method = requests.map_dataset_id(request.name), requests.map_method(request.method)
        return await self._maps.get(dataset_id, method, request.color_field)

    async def ListEmbeddingModels(
        self, request: pb2.ListEmbeddingModelsRequest, context: Context
    ) -> pb2.ListEmbeddingModelsResponse:
        return messages.models(*await self._models.list())
