"""Datasets: documents are imported, embedded and searched."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2, statistics_pb2
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_client import arrays, choices, imports, sources
from prisma_client.aio.blocks import BlockReader
from prisma_client.aio.jobs import Jobs
from prisma_client.aio.listing import Listing
from prisma_client.aio.runs import Run, Runs
from prisma_client.aio.transport import Transport
from prisma_client.array_files import vector_file
from prisma_client.complete_files import replacing
from prisma_client.document_table import table_format
from prisma_client.errors import (
    DocumentsRejected,
    FailedPrecondition,
    IncompleteExport,
    PrismaError,
    SomeDocumentsRejected,
    UnknownFamily,
    rejection_summary,
)
from prisma_client.imports import FileOptions, OnDuplicate
from prisma_client.matrices import Keys, Vectors
from prisma_client.progress import Progress, upload_progress
from prisma_client.statistics import Statistics, VectorMap
from prisma_client.tables import Answer, Rows, html_facts
from prisma_common.names import GIVEN_MODEL


class SearchOptions(TypedDict, total=False):
    """How documents are searched; `Dataset.search` says what each means."""

    vector: Any
    mode: str | None
    run: Run | str | None
    filter: str | None
    latents: Mapping[int, float] | None
    include_tail: bool
    boost: Mapping[int | str | tuple[int, ...], float] | None
    sparse_weight: float | None
    passages_per_document: int | None


class Datasets:
    """The datasets."""

    def __init__(self, transport: Transport, jobs: Jobs, runs: Runs) -> None:
        self._transport = transport
        self._jobs = jobs
        self._runs = runs

    async def create(
        self,
        name: str,
        documents: Any = None,
        *,
        dataset_id: str | None = None,
        description: str | None = None,
        embedding_model: str | None = None,
        passages: bool | int = False,
        overlap: int = 0,
        query_model: str | None = None,
        vectors: Any = None,
        id_field: str | None = None,
        text_field: str | Sequence[str] | None = None,
        options: FileOptions | None = None,
        progress: bool | None = None,
    ) -> Dataset:
        """Creates a dataset, with documents if any are passed (see `Dataset.add`; plain texts: by position).

        embedding_model: `builtin`, or `ollama/<model>`; `given/<name>` for your own vectors, and `given` where some are
        passed. query_model: for your own vectors, the model that embeds queries. vectors, progress: as in
        `Dataset.add`.
        passages: splits long texts: True by the model's limit, or the tokens of a passage at most.
        overlap: tokens at the end of a passage with which the next one begins, at most.
        Where no document can be imported, no dataset is left behind.
        Raises AlreadyExists, InvalidArgument, DocumentsRejected, OSError, TypeError.
        """
        chunks = npy = None
        if documents is not None:
            text_id = imports.text_id(options, sources.position_id)
            chunks = sources.chunks(documents, text_id=text_id, id_field=id_field, text_field=text_field)
        if vectors is not None:
            npy = arrays.npy_chunks(vectors)
            chunks, npy = (npy, None) if chunks is None else (chunks, npy)
        if vectors is not None or (options and options.vector_field):
            embedding_model = embedding_model or GIVEN_MODEL
        message = await self._transport.call(
            "EmbedderService/CreateDataset",
            pb2.CreateDatasetRequest(
                dataset_id=dataset_id,
                dataset=resources_pb2.Dataset(
                    display_name=name,
                    description=description,
                    embedding_model=embedding_model,
                    passages=_passages(passages, overlap),
                    query_model=query_model,
                ),
            ),
            resources_pb2.Dataset,
        )
        dataset = self._dataset(message)
        if chunks is not None:
            try:
                with upload_progress(chunks, documents, progress) as reported_chunks:
                    await dataset.add_chunks(
                        reported_chunks,
                        id_field=id_field,
                        text_field=text_field,
                        options=options,
                        vectors=npy,
                        file_name=imports.file_name(documents),
                    )
            except BaseException:
                await dataset.delete_if_empty()
                raise
            await dataset.refresh()
        return dataset

    async def preview(
        self,
        documents: Any,
        *,
        id_field: str | None = None,
        text_field: str | Sequence[str] | None = None,
        options: FileOptions | None = None,
    ) -> pb2.PreviewDocumentsResponse:
        """Returns what an import would make of a file: layout, fields and first documents (see `Dataset.add`).

        Nothing is imported. Raises InvalidArgument, OSError, TypeError.
        """
        text_id = imports.text_id(options, sources.digest_id)
        chunks = sources.chunks(documents, text_id=text_id, id_field=id_field, text_field=text_field)
        return await self.preview_chunks(chunks, id_field=id_field, text_field=text_field, options=options)

    async def preview_chunks(
        self,
        chunks: Iterable[bytes],
        *,
        id_field: str | None = None,
        text_field: str | Sequence[str] | None = None,
        options: FileOptions | None = None,
    ) -> pb2.PreviewDocumentsResponse:
        """Returns what an import would make of the bytes of a file, in chunks of any size. Otherwise as `preview`."""
        config = imports.config(options, id_field=id_field, text_field=text_field)
        return await self._transport.upload(
            "EmbedderService/PreviewDocuments",
            pb2.PreviewDocumentsRequest(config=config),
            chunks,
            pb2.PreviewDocumentsResponse,
        )

    async def get(self, dataset: str) -> Dataset:
        """Returns a dataset by its id. Raises NotFound."""
        request = pb2.GetDatasetRequest(name=f"datasets/{dataset.removeprefix('datasets/')}")
        return self._dataset(await self._transport.call("EmbedderService/GetDataset", request, resources_pb2.Dataset))

    async def list(self) -> Rows[Dataset]:
        """Returns all datasets, the newest first."""
        request = pb2.ListDatasetsRequest(page_size=1000)
        pages = self._transport.pages("EmbedderService/ListDatasets", request, pb2.ListDatasetsResponse)
        return Rows(
            [self._dataset(message) async for page in pages for message in page.datasets], resources_pb2.Dataset
        )

    def _dataset(self, message: resources_pb2.Dataset) -> Dataset:
        return Dataset(self._transport, self._jobs, self._runs, message)


class Dataset:
    """A dataset. message: as the server last described it. report: of its last import through this object."""

    def __init__(self, transport: Transport, jobs: Jobs, runs: Runs, message: resources_pb2.Dataset) -> None:
        self._transport = transport
        self._jobs = jobs
        self._runs = runs
        self.message = message
        self.report: pb2.ImportDocumentsResponse | None = None

    def __repr__(self) -> str:
        return f"<{self.name}: {self.message.document_count} documents, {self.message.embedded_count} embedded>"

    def _repr_html_(self) -> str:
        message = self.message
        facts = {
            "name": self.name,
            "description": message.description,
            "documents": message.document_count,
            "embedded": message.embedded_count,
            "pending": message.pending_count or None,
            "failed": message.failed_count or None,
            "model": message.embedding_model,
            "dimension": message.dimension or None,
        }
        return html_facts(message.display_name or self.id, facts)

    @property
    def name(self) -> str:
        """`datasets/{dataset}`."""
        return self.message.name

    @property
    def id(self) -> str:
        """The id in its name."""
        return self.name.removeprefix("datasets/")

    async def refresh(self) -> Dataset:
        """Reads it again from the server."""
        request = pb2.GetDatasetRequest(name=self.name)
        self.message = await self._transport.call("EmbedderService/GetDataset", request, resources_pb2.Dataset)
        return self

    async def delete(self) -> None:
        """Deletes it, with its runs, their labels and its index."""
        await self._transport.call(
            "EmbedderService/DeleteDataset", pb2.DeleteDatasetRequest(name=self.name), resources_pb2.Dataset
        )

    async def delete_if_empty(self) -> None:
        """Deletes it if it has no document; leaves it where the server cannot say, or is unreachable."""
        try:
            if (await self.refresh()).message.document_count == 0:
                await self.delete()
        except PrismaError:
            pass

    async def add(
        self,
        documents: Any = None,
        *,
        vectors: Any = None,
        id_field: str | None = None,
        text_field: str | Sequence[str] | None = None,
        options: FileOptions | None = None,
        on_duplicate: OnDuplicate = "reject",
        validate_only: bool = False,
        progress: bool | None = None,
    ) -> pb2.ImportDocumentsResponse:
        """Imports documents: the path of a file, a data frame or series, dictionaries, or plain texts.

        A file: JSON, JSON lines, CSV, Parquet, Arrow, a workbook, an archive of these or of text files, compressed or
        not, or the folder of a Hugging Face dataset. id_field, text_field: the fields, or columns, that hold a
        document's id and text (several are joined by blank lines); by default `id` and `text`, or what the embedder
        finds in their place and says in the report's `notes`. Documents without an id, and rows of a frame without the
        column or index `id_field`, get digests of their texts as ids, so that a text is never taken for another one
        that is there already; plain texts in a new dataset (`create`) get their positions. Other fields become
        metadata; missing values (None, NaN, NaT, pandas.NA) and infinities are left out. Returns the report, which is
        also kept in `report`: how the file was read, and what was rejected, by item and reason. on_duplicate: what to
        do with documents whose ids the dataset has already: `reject` them, which is no error, or `skip` them, or
        `replace` what differs (a document with another text is then to be embedded again). Warns SomeDocumentsRejected
        where documents were rejected for another reason.
        vectors: where the dataset's are given, (R, d) numbers with a row for each document, or the path of a `.npy`
        file; alone, they make documents without texts, whose ids are their rows.
        progress: by default a bar of the bytes sent, on a terminal and in a notebook; False: none.

        Raises DocumentsRejected where everything was rejected; InvalidArgument for a file of another type; OSError for
        a file that cannot be read; TypeError for documents of a wrong type.
        """
        npy = None if vectors is None else arrays.npy_chunks(vectors)
        if documents is None and npy is not None:
            chunks, npy = npy, None
        else:
            text_id = imports.text_id(options, sources.digest_id)
            chunks = sources.chunks(documents, text_id=text_id, id_field=id_field, text_field=text_field)
        with upload_progress(chunks, documents, progress) as reported_chunks:
            return await self.add_chunks(
                reported_chunks,
                vectors=npy,
                id_field=id_field,
                text_field=text_field,
                options=options,
                file_name=imports.file_name(documents),
                on_duplicate=on_duplicate,
                validate_only=validate_only,
            )

    async def add_chunks(
        self,
        chunks: Iterable[bytes],
        *,
        vectors: Iterable[bytes] | None = None,
        id_field: str | None = None,
        text_field: str | Sequence[str] | None = None,
        options: FileOptions | None = None,
        file_name: str | None = None,
        on_duplicate: OnDuplicate = "reject",
        validate_only: bool = False,
    ) -> pb2.ImportDocumentsResponse:
        """Imports the bytes of a file, and of a `.npy` file of vectors, in chunks of any size. Otherwise as `add`.

        file_name: for its report.
        """
        config = imports.config(
            options,
            id_field=id_field,
            text_field=text_field,
            dataset=self.name,
            file_name=file_name,
            on_duplicate=on_duplicate,
            validate_only=validate_only,
        )
        content_type = None
        if vectors is not None:
            content_type, chunks = arrays.form_chunks(iter(chunks), iter(vectors))
        self.report = report = await self._transport.upload(
            "EmbedderService/ImportDocuments",
            pb2.ImportDocumentsRequest(config=config),
            chunks,
            pb2.ImportDocumentsResponse,
            content_type=content_type,
        )
        if imports.all_rejected(report):
            raise DocumentsRejected(report)
        if imports.rejected_count(report):
            warnings.warn(f"{self.name}: {rejection_summary(report)}", SomeDocumentsRejected, stacklevel=2)
        return report

    async def imports(self) -> Rows[pb2.Import]:
        """Returns what each import did, the newest first: also those that failed, and those that are going on."""
        request = pb2.ListImportsRequest(parent=self.name, page_size=1000)
        pages = self._transport.pages("EmbedderService/ListImports", request, pb2.ListImportsResponse)
        return Rows([message async for page in pages for message in page.imports], pb2.Import)

    async def save_rejections(self, import_name: str, path: str | Path, *, json_lines: bool = False) -> int:
        """Writes the items that an import rejected, each with its reason, as a CSV file; returns its size in bytes.

        import_name: as in `imports` (`name`) or in a report (`import_name`). Raises NotFound.
        """
        formats = pb2.DownloadRejectionsRequest
        file_format = formats.FORMAT_JSON_LINES if json_lines else formats.FORMAT_CSV
        request = pb2.DownloadRejectionsRequest(name=import_name, format=file_format)
        return await self._transport.save("EmbedderService/DownloadRejections", request, path)

    def documents(self, filter: str | None = None, limit: int | None = None) -> Listing[resources_pb2.Document]:
        """Yields documents in the order of their rows. filter: such as `state = FAILED`."""
        request = pb2.ListDocumentsRequest(parent=self.name, filter=filter, page_size=min(limit or 500, 500))
        pages = self._transport.pages("EmbedderService/ListDocuments", request, pb2.ListDocumentsResponse)
        return Listing(pages, "documents", resources_pb2.Document, limit)

    async def document(self, document: str, *, with_vector: bool = False) -> resources_pb2.Document:
        """Returns a document by its id or name. Raises NotFound."""
        view = resources_pb2.DOCUMENT_VIEW_FULL if with_vector else resources_pb2.DOCUMENT_VIEW_BASIC
        request = pb2.GetDocumentRequest(name=self._document_name(document), view=view)
        return await self._transport.call("EmbedderService/GetDocument", request, resources_pb2.Document)

    async def vectors(self, rows: Any = None) -> Vectors:
        """Returns the vectors of its documents that have one, in the order of `documents`, with their ids.

        rows: only those of these rows, such as `range(1000)` or the `row` of documents; the result ascends by row.
        `.values`: (R, d) float32, or float16 where all are; bit for bit as they are stored. `.ids`, `.rows`: of the
        documents. All are in memory: `vector_blocks` yields parts of about 1 MiB, `export_vectors` writes a file.
        """
        parts = [part async for part in self.vector_blocks(rows)]
        dtype = np.float16 if self.message.vector_encoding == VECTOR_ENCODING_FLOAT16 else np.float32
        values = np.concatenate([np.empty((0, self.message.dimension), dtype), *(part.values for part in parts)])
        return Vectors(Keys.joined([part.keys for part in parts]), values)

    async def vector_blocks(self, rows: Any = None) -> AsyncIterator[Vectors]:
        """Yields what `vectors` returns, in parts of about 1 MiB."""
        await self.refresh()
        async for part in BlockReader(self._transport, self.name).vectors(self.message, rows):
            yield part

    async def export_vectors(self, path: str | Path, *, rows: Any = None) -> int:
        """Writes vectors to a file, by its name's end; returns its size in bytes.

        `.npy`: (R, d) numbers in the order of `documents`; `.npz`: `values`, `ids` and `rows`; `.parquet`: `id` and
        `vector`. `.npy` and Parquet can be imported again, bit for bit. rows: as in `vectors`. Warns IncompleteExport
        where documents have no vector. Raises ValueError for another name, and for `.npz` where an id ends with U+0000;
        FailedPrecondition where there are no vectors; MissingLibrary.
        """
        message = (await self.refresh()).message
        if not message.dimension:
            raise FailedPrecondition(
                f"{self.name} has no vectors yet", code="FAILED_PRECONDITION", reason="DATASET_NOT_EMBEDDED"
            )
        dtype = np.float16 if message.vector_encoding == VECTOR_ENCODING_FLOAT16 else np.float32
        with replacing(path) as file:
            vectors = vector_file(path, file, message.dimension, dtype)
            async for part in BlockReader(self._transport, self.name).vectors(message, rows):
                vectors.add(part)
            vectors.finish()
            size = file.tell()
        if missing := message.pending_count + message.failed_count:
            documents, are = ("1 document has", "is") if missing == 1 else (f"{missing:,} documents have", "are")
            warnings.warn(f"{self.name}: {documents} no vector and {are} left out", IncompleteExport, stacklevel=2)
        return size

    async def delete_documents(
        self, filter: str, *, validate_only: bool = False, wait: bool = True, progress: Progress = None
    ) -> pb2.DeleteDocumentsResponse:
        """Deletes the documents that match a filter (`*`: all); codes, statistics and index follow.

        validate_only: delete nothing; the response says how many match (`document_count`), with a sample of names.
        Raises InvalidArgument for a filter that cannot be read, JobFailed.
        """
        request = pb2.DeleteDocumentsRequest(parent=self.name, filter=filter, force=not validate_only)
        response = await self._transport.call("EmbedderService/DeleteDocuments", request, pb2.DeleteDocumentsResponse)
        if not validate_only:
            response.job.CopyFrom(await self._finish(response.job, wait, progress))
        return response

    async def statistics(self, *, progress: Progress = None) -> Statistics:
        """Returns the statistics of its texts and vectors, of the present ones: where they are missing or stale, they
        are computed first. They are stale again where it changes meanwhile. Raises JobFailed.
        """
        try:
            statistics = await self.stored_statistics()
            if not statistics.stale:
                return statistics
        except FailedPrecondition as error:
            if error.reason != "STATISTICS_NOT_COMPUTED":
                raise
        revision = (await self.refresh()).message.revision
        await self._finish(await self.compute_statistics(), True, progress)
        statistics = await self.stored_statistics()
        if statistics.stale and statistics.revision < revision:  # the job was there already, and read an earlier state
            await self._finish(await self.compute_statistics(), True, progress)
            statistics = await self.stored_statistics()
        return statistics

    async def stored_statistics(self) -> Statistics:
        """Returns the statistics that were computed last; `stale` says whether it has changed since.

        Raises FailedPrecondition (STATISTICS_NOT_COMPUTED).
        """
        request = pb2.GetDatasetStatisticsRequest(name=f"{self.name}/statistics")
        message = statistics_pb2.DatasetStatistics
        return Statistics(await self._transport.call("EmbedderService/GetDatasetStatistics", request, message))

    async def compute_statistics(self) -> Job:
        """Starts the job that computes its statistics, or returns the one that runs."""
        request = pb2.ComputeDatasetStatisticsRequest(dataset=self.name)
        return await self._transport.call("EmbedderService/ComputeDatasetStatistics", request, Job)

    async def map(
        self, method: Literal["pca", "umap"] = "pca", *, color: str | None = None, progress: Progress = None
    ) -> VectorMap:
        """Returns a map of its vectors, at most 20,000 points: by principal components at once, by UMAP from a job.

        A map by UMAP that is missing or stale is drawn first. color: a field of metadata whose values come with the
        points. Raises FailedPrecondition (DATASET_NOT_EMBEDDED, NOT_INSTALLED), InvalidArgument, JobFailed.
        """
        if method not in ("pca", "umap"):
            raise ValueError(f"expected the method pca or umap, got {method!r}")
        request = pb2.GetDatasetMapRequest(
            name=f"{self.name}/map", method=f"METHOD_{method.upper()}", color_field=color
        )
        try:
            drawn = await self._stored_map(request)
            if not drawn.stale or method == "pca":
                return VectorMap(drawn)
        except FailedPrecondition as error:
            if error.reason != "STATISTICS_NOT_COMPUTED":
                raise
        revision = (await self.refresh()).message.revision
        await self._draw_map(progress)
        drawn = await self._stored_map(request)
        if drawn.stale and drawn.revision < revision:  # the job was there already, and read an earlier state
            await self._draw_map(progress)
            drawn = await self._stored_map(request)
        return VectorMap(drawn)

    async def _stored_map(self, request: pb2.GetDatasetMapRequest) -> statistics_pb2.DatasetMap:
        return await self._transport.call("EmbedderService/GetDatasetMap", request, statistics_pb2.DatasetMap)

    async def _draw_map(self, progress: Progress) -> None:
        request = pb2.ComputeDatasetMapRequest(dataset=self.name)
        await self._finish(
            await self._transport.call("EmbedderService/ComputeDatasetMap", request, Job), True, progress
        )

    async def embed(self, *, again: bool = False, wait: bool = True, progress: Progress = None) -> Job:
        """Embeds all pending documents. Raises JobFailed; documents that fail do not fail the job.

        wait: until the job has ended and searches find what it embedded (`Jobs.wait_for_index`).
        again: also embed documents again whose vectors are in a missing or damaged file.
        """
        request = pb2.EmbedDatasetRequest(name=self.name, again=again)
        job = await self._transport.call("EmbedderService/EmbedDataset", request, Job)
        return await self._finish(job, wait, progress)

    async def retry_failed(self, *, wait: bool = True, progress: Progress = None) -> Job:
        """Embeds the failed documents again."""
        request = pb2.RetryFailedDocumentsRequest(name=self.name)
        job = await self._transport.call("EmbedderService/RetryFailedDocuments", request, Job)
        return await self._finish(job, wait, progress)

    async def train(
        self,
        *,
        run_id: str | None = None,
        name: str | None = None,
        wait: bool = True,
        progress: Progress = None,
        allow_pending_documents: bool = False,
        **config: Any,
    ) -> Run:
        """Trains a sparse autoencoder on its vectors.

        config: fields of prisma.trainer.v1.Config: `goal` (`interpretable`, `faithful`), `latent_count`, `k`,
        `architecture` (`top-k`, `batch-top-k`, `matryoshka`) … What is left out of the size is chosen by small
        trainings on the data, unless `auto` is False. allow_pending_documents: also train while documents are still to
        be embedded; they are then left out. Raises ValueError for unknown fields; FailedPrecondition
        (DOCUMENTS_PENDING).
        """
        run = await self._runs.create(
            self.id, run_id=run_id, name=name, config=config, allow_pending_documents=allow_pending_documents
        )
        await run.train(wait=wait, progress=progress, allow_pending_documents=allow_pending_documents)
        return run

    async def sweep(
        self,
        *,
        ks: Sequence[int] = (),
        expansions: Sequence[int] = (),
        learning_rates: Sequence[float] = (),
        seeds: Sequence[int] = (),
        wait: bool = True,
        progress: Progress = None,
        **config: Any,
    ) -> list[Run]:
        """Trains and evaluates a run for each combination, and returns the runs. config: fields that all share."""
        request = trainer_pb2.SweepRunsRequest(
            dataset=self.name,
            config=choices.training_config(config),
            ks=ks,
            expansions=expansions,
            learning_rates=learning_rates,
            seeds=seeds,
        )
        job = await self._transport.call("TrainerService/SweepRuns", request, Job)
        await self._finish(job, wait, progress)
        tag = f"sweep/{job.name.removeprefix('jobs/')}"
        return [run for run in await self._runs.list(self.id) if tag in run.message.tags]

    async def search(
        self,
        query: str | None = None,
        *,
        vector: Any = None,
        mode: str | None = None,
        run: Run | str | None = None,
        limit: int = 10,
        filter: str | None = None,
        latents: Mapping[int, float] | None = None,
        include_tail: bool = False,
        boost: Mapping[int | str | tuple[int, ...], float] | None = None,
        sparse_weight: float | None = None,
        passages_per_document: int | None = None,
    ) -> Answer[search_pb2.SearchDocumentsResponse]:
        """Searches documents; each hit has the parts of its score and the features that it shares with the query.

        mode: `hybrid`, `full_text`, `semantic` or `sparse`; by default `hybrid`, and `semantic` for a vector alone.
        vector: (d,) numbers to search by, in place of the query's vector.
        run: whose features explain the hits, and are meant below.
        boost: features by index or resource name (`runs/{run}/features/{index}`), with weights from -3 (down) to 3
        (up); each hit then has its `unsteered_rank` (0: only the features bring it in), and says in `steering` what
        each feature added. A tuple of indices, or a family's name (`runs/{run}/families/{family}`), moves documents as
        one feature.
        latents: in sparse and hybrid mode, search by these latents and weights instead of the query's.
        sparse_weight: of latents in hybrid mode, 0 to 1.
        passages_per_document: of a dataset with passages, hits of one document at most; 1 by default.
        `hit.passage` says where in its document a hit stands.
        include_tail: also show features that are active below their threshold, and let them boost.
        Raises ValueError for another mode or a feature of another run, UnknownFamily for a family that the run lacks,
        InvalidArgument, Unavailable.
        """
        request = await self._search_request(
            query,
            {
                "vector": vector,
                "mode": mode,
                "run": run,
                "filter": filter,
                "latents": latents,
                "include_tail": include_tail,
                "boost": boost,
                "sparse_weight": sparse_weight,
                "passages_per_document": passages_per_document,
            },
        )
        request.page_size = limit
        response = await self._transport.call(
            "SearchService/SearchDocuments", request, search_pb2.SearchDocumentsResponse
        )
        return Answer(response, "hits")

    async def export_hits(
        self,
        path: str | Path,
        query: str | None = None,
        *,
        format: str | None = None,
        limit: int = 1000,
        byte_order_mark: bool = False,
        keep_formulas: bool = False,
        **options: Unpack[SearchOptions],
    ) -> int:
        """Writes the hits of a search as a table with their metadata; returns its size in bytes. Join it by `id`.

        `options` are those of `search`. limit: hits at most; 1,000 is all that a search reaches.
        format: `csv`, `json-lines`, `parquet` or `arrow`; by default as the path ends. byte_order_mark, keep_formulas:
        as for `Run.export_features`. Warns ExportNotice where more documents match. Raises ValueError, as `search`.
        """
        unknown = options.keys() - SearchOptions.__annotations__.keys()
        if unknown:
            raise ValueError(f"unknown option {', '.join(sorted(unknown))}: `search` says which there are")
        request = search_pb2.ExportHitsRequest(
            search=await self._search_request(query, options),
            format=f"TABLE_FORMAT_{table_format(path, format).name}",
            limit=limit,
            byte_order_mark=byte_order_mark,
            keep_formulas=keep_formulas,
        )
        return await self._transport.save("SearchService/ExportHits", request, path)

    async def _search_request(self, query: str | None, options: SearchOptions) -> search_pb2.SearchDocumentsRequest:
        """A search as `search` describes it. Raises ValueError, UnknownFamily."""
        vector, mode, run = options.get("vector"), options.get("mode"), options.get("run")
        run_id = run.id if isinstance(run, Run) else run and run.removeprefix("runs/")
        boosts = options.get("boost") or {}
        members = await self._members(
            {name for name in boosts if isinstance(name, str) and _is_family(name, run_id)}, run_id
        )
        latents = options.get("latents") or {}
        return search_pb2.SearchDocumentsRequest(
            parent=self.name,
            query=query,
            mode=choices.search_mode(mode or ("hybrid" if query or vector is None else "semantic")),
            vector=() if vector is None else [float(number) for number in vector],
            run=f"runs/{run_id}" if run_id else None,
            filter=options.get("filter"),
            include_tail=options.get("include_tail", False),
            latents=[search_pb2.LatentWeight(index=index, weight=weight) for index, weight in latents.items()],
            steering=[
                search_pb2.LatentWeight(index=_feature_index(feature, run_id), weight=weight)
                for feature, weight in boosts.items()
                if not isinstance(feature, tuple) and feature not in members
            ],
            steering_sets=[
                search_pb2.LatentSet(indices=feature if isinstance(feature, tuple) else members[feature], weight=weight)
                for feature, weight in boosts.items()
                if isinstance(feature, tuple) or feature in members
            ],
            sparse_weight=options.get("sparse_weight"),
            passages_per_document=options.get("passages_per_document"),
        )

    async def similar(self, document: str, *, limit: int = 5) -> Answer[search_pb2.FindSimilarDocumentsResponse]:
        """Returns the documents whose vectors are closest to a document's."""
        request = search_pb2.FindSimilarDocumentsRequest(document=self._document_name(document), page_size=limit)
        response = await self._transport.call(
            "SearchService/FindSimilarDocuments", request, search_pb2.FindSimilarDocumentsResponse
        )
        return Answer(response, "hits")

    async def index_status(self) -> search_pb2.IndexStatus:
        """Returns how much of the dataset the search index covers."""
        request = search_pb2.GetIndexStatusRequest(dataset=self.name)
        return await self._transport.call("SearchService/GetIndexStatus", request, search_pb2.IndexStatus)

    async def _finish(self, job: Job, wait: bool, progress: Progress) -> Job:
        if wait:
            job = await self._jobs.wait(job.name, progress)
            await self._jobs.wait_for_index(job)
            await self.refresh()
        return job

    async def _members(
        self, families: Set[int | str | tuple[int, ...]], run_id: str | None
    ) -> dict[int | str, list[int]]:
        """Indices of the features of families, by the families' names. Raises UnknownFamily."""
        members: dict[int | str, list[int]] = {}
        if families:
            request = interpreter_pb2.ListFamiliesRequest(parent=f"runs/{run_id}", page_size=200)
            method, response = "InterpreterService/ListFamilies", interpreter_pb2.ListFamiliesResponse
            async for page in self._transport.pages(method, request, response):
                for family in page.families:
                    if family.name in families:
                        members[family.name] = [member.index for member in family.members]
        for name in families - set(members):
            raise UnknownFamily(str(name))
        return members

    def _document_name(self, document: str) -> str:
        return document if document.startswith("datasets/") else f"{self.name}/documents/{document}"


def _is_family(name: str, run_id: str | None) -> bool:
    return name.startswith(f"runs/{run_id}/families/")


def _feature_index(feature: int | str, run_id: str | None) -> int:
    """The index of a feature, from itself or from `runs/{run}/features/{index}`. Raises ValueError."""
    if isinstance(feature, int):
        return feature
    run, separator, index = feature.rpartition("/features/")
    if not separator or not index.isdecimal() or run != f"runs/{run_id}":
        raise ValueError(
            f"expected the index of a feature or a resource name, such as 12, 'runs/{run_id}/features/12' or "
            f"'runs/{run_id}/families/1-12', got {feature!r}. `run.features.search({feature!r})` finds features by "
            "their labels"
        )
    return int(index)


def _passages(passages: bool | int, overlap: int) -> resources_pb2.Passages | None:
    """How texts are split; None where they are not."""
    if passages is False:
        return None
    return resources_pb2.Passages(max_tokens=0 if passages is True else passages, overlap_tokens=overlap)
