"""A dataset: documents in, embedded, searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2
from prisma.search.v1 import search_service_pb2 as search_pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_client import sources
from prisma_client.sync.runs import Run

if TYPE_CHECKING:
    from prisma_client.sync.client import Prisma, Progress

MODES = {
    "hybrid": search_pb2.SearchDocumentsRequest.MODE_HYBRID,
    "full_text": search_pb2.SearchDocumentsRequest.MODE_FULL_TEXT,
    "semantic": search_pb2.SearchDocumentsRequest.MODE_SEMANTIC,
    "sparse": search_pb2.SearchDocumentsRequest.MODE_SPARSE,
}


class Dataset:
    """A dataset. message: as the server last told it. report: of the import that made it."""

    def __init__(self, prisma: Prisma, message: resources_pb2.Dataset) -> None:
        self._prisma = prisma
        self.message = message
        self.report: pb2.ImportDocumentsResponse | None = None

    def __repr__(self) -> str:
        return f"<{self.name}: {self.message.document_count} documents, {self.message.embedded_count} embedded>"

    @property
    def name(self) -> str:
        """`datasets/{dataset}`."""
        return self.message.name

    @property
    def id(self) -> str:
        """The id in its name."""
        return self.name.removeprefix("datasets/")

    def refresh(self) -> Dataset:
        """Asks the server again."""
        request = pb2.GetDatasetRequest(name=self.name)
        self.message = self._prisma.transport.call("EmbedderService/GetDataset", request, resources_pb2.Dataset)
        return self

    def delete(self) -> None:
        """Deletes it, with its runs, their labels and its index."""
        self._prisma.transport.call(
            "EmbedderService/DeleteDataset", pb2.DeleteDatasetRequest(name=self.name), resources_pb2.Dataset
        )

    def add(
        self, documents: Any, *, id_field: str = "", text_field: str = "", validate_only: bool = False
    ) -> pb2.ImportDocumentsResponse:
        """Imports documents: a path of a JSON or JSONL file, a data frame, dictionaries, or plain texts.

        Other fields become metadata. What can't be taken is told in `rejections`, by item and reason.
        """
        config = pb2.ImportDocumentsRequest.Config(
            dataset=self.name, id_field=id_field, text_field=text_field, validate_only=validate_only
        )
        return self._prisma.transport.upload(
            "EmbedderService/ImportDocuments",
            pb2.ImportDocumentsRequest(config=config),
            sources.chunks(documents),
            pb2.ImportDocumentsResponse,
        )

    def documents(self, filter: str = "", limit: int | None = None) -> Iterator[resources_pb2.Document]:
        """Documents in the order of their rows. filter: such as `state = FAILED`."""
        request = pb2.ListDocumentsRequest(parent=self.name, filter=filter, page_size=min(limit or 500, 500))
        sent = 0
        listed = self._prisma.transport.pages("EmbedderService/ListDocuments", request, pb2.ListDocumentsResponse)
        for page in listed:
            for each in page.documents:
                yield each
                sent += 1
                if sent == limit:
                    return

    def document(self, document: str, *, with_vector: bool = False) -> resources_pb2.Document:
        """A document by its id or name. Raises NotFound."""
        view = resources_pb2.DOCUMENT_VIEW_FULL if with_vector else resources_pb2.DOCUMENT_VIEW_BASIC
        request = pb2.GetDocumentRequest(name=self._document(document), view=view)
        return self._prisma.transport.call("EmbedderService/GetDocument", request, resources_pb2.Document)

    def embed(self, *, wait: bool = True, progress: Progress | None = None) -> Job:
        """Embeds all pending documents. Raises JobFailed; documents that fail do not fail the job."""
        job = self._prisma.transport.call(
            "EmbedderService/EmbedDataset", pb2.EmbedDatasetRequest(name=self.name), Job
        )
        return self._ended(job, wait, progress)

    def retry_failed(self, *, wait: bool = True, progress: Progress | None = None) -> Job:
        """Embeds those that have failed again."""
        request = pb2.RetryFailedDocumentsRequest(name=self.name)
        job = self._prisma.transport.call("EmbedderService/RetryFailedDocuments", request, Job)
        return self._ended(job, wait, progress)

    def train(
        self, *, run_id: str = "", name: str = "", wait: bool = True, progress: Progress | None = None, **config: Any
    ) -> Run:
        """Trains a sparse autoencoder on its vectors. config: `expansion` (4), `k` (32), `epochs` (20) …"""
        run = self._prisma.runs.create(self.id, run_id=run_id, name=name, config=config)
        run.train(wait=wait, progress=progress)
        return run

    def sweep(
        self,
        *,
        ks: Sequence[int] = (),
        expansions: Sequence[int] = (),
        learning_rates: Sequence[float] = (),
        seeds: Sequence[int] = (),
        wait: bool = True,
        progress: Progress | None = None,
        **config: Any,
    ) -> list[Run]:
        """Trains and evaluates a run for each combination; returns those that are there. config: what all have."""
        request = trainer_pb2.SweepRunsRequest(
            dataset=self.name,
            config=trainer_resources.Config(**config),
            ks=ks,
            expansions=expansions,
            learning_rates=learning_rates,
            seeds=seeds,
        )
        job = self._prisma.transport.call("TrainerService/SweepRuns", request, Job)
        self._ended(job, wait, progress)
        tag = f"sweep/{job.name.removeprefix('jobs/')}"
        return [run for run in self._prisma.runs.list(self.id) if tag in run.message.tags]

    def search(
        self,
        query: str,
        *,
        mode: str = "hybrid",
        run: Run | str | None = None,
        limit: int = 10,
        filter: str = "",
        latents: Mapping[int, float] | None = None,
    ) -> search_pb2.SearchDocumentsResponse:
        """Documents that match, each with the parts of its score and the features that it shares with the query.

        mode: `hybrid`, `full_text`, `semantic` or `sparse`. run: whose features explain the hits. latents: sparse
        mode by these latents and weights. Raises InvalidArgument, Unavailable.
        """
        if mode not in MODES:
            raise ValueError(f"expected a mode of {', '.join(MODES)}; got {mode!r}")
        named = run.name if isinstance(run, Run) else run or ""
        request = search_pb2.SearchDocumentsRequest(
            parent=self.name,
            query=query,
            mode=MODES[mode],
            run=f"runs/{named.removeprefix('runs/')}" if named else "",
            page_size=limit,
            filter=filter,
            latents=[search_pb2.LatentWeight(index=index, weight=weight) for index, weight in (latents or {}).items()],
        )
        return self._prisma.transport.call(
            "SearchService/SearchDocuments", request, search_pb2.SearchDocumentsResponse
        )

    def similar(self, document: str, *, limit: int = 5) -> search_pb2.FindSimilarDocumentsResponse:
        """Documents whose vectors are closest to a document's."""
        request = search_pb2.FindSimilarDocumentsRequest(document=self._document(document), page_size=limit)
        return self._prisma.transport.call(
            "SearchService/FindSimilarDocuments", request, search_pb2.FindSimilarDocumentsResponse
        )

    def index_status(self) -> search_pb2.IndexStatus:
        """How far the search index has come."""
        request = search_pb2.GetIndexStatusRequest(dataset=self.name)
        return self._prisma.transport.call("SearchService/GetIndexStatus", request, search_pb2.IndexStatus)

    def _ended(self, job: Job, wait: bool, progress: Progress | None) -> Job:
        if wait:
            job = self._prisma.jobs.wait(job.name, progress)
            self.refresh()
        return job

    def _document(self, document: str) -> str:
        return document if document.startswith("datasets/") else f"{self.name}/documents/{document}"
