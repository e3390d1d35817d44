"""What the trainer reads from the embedder, as values of the domain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import RowRange
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1 import resources_pb2 as embedder_resources_pb2
from prisma_common import wire
from services.chassis.channels import ask, errors_of, pages
from services.chassis.job_time import Stream
from services.trainer.errors import DatasetNotEmbedded, DocumentsPending, TrainingDataChanged
from services.trainer.runs import Dataset, DatasetChanges, Selection, Source
from services.trainer.vector_cache import VectorCache

HISTORY_CHANGED = "HISTORY_CHANGED"
"""The embedder's reason for an answer that cannot be incremental: the dataset was restored."""
Progress: TypeAlias = Callable[[int, int, str, str], Awaitable[None]]


@dataclass(frozen=True)
class VectorChanges:
    """A block of what has changed in a dataset's vectors."""

    rows: NDArray[np.uint64]
    """(m,), rising."""
    vectors: NDArray[np.float32]
    """(m, d)."""
    deleted_rows: Sequence[int]
    revision: int
    """The dataset's, once the stream has ended."""
    history: str


class Embedder:
    """Datasets and vectors. All methods raise the embedder's own errors, or Unavailable if it does not answer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = embedder_service_pb2_grpc.EmbedderServiceStub(channel)

    async def dataset(self, name: str) -> Dataset:
        """A dataset at this moment."""
        message = await ask("embedder", self._stub.GetDataset(pb2.GetDatasetRequest(name=name)))
        return _dataset(message)

    async def embedded_dataset(self, name: str, *, allow_pending: bool) -> Dataset:
        """A dataset to train on. Raises DatasetNotEmbedded, DocumentsPending."""
        dataset = await self.dataset(name)
        if not dataset.embedded_count:
            raise DatasetNotEmbedded(f"{name} {_without_vectors(dataset)}", metadata={"dataset": name})
        if dataset.pending_count and not allow_pending:
            total = dataset.embedded_count + dataset.pending_count
            raise DocumentsPending(
                f"{dataset.pending_count:,} of {total:,} documents of {name} are not embedded yet: embed them first, "
                f"or set allow_pending_documents to train on {dataset.embedded_count:,}",
                metadata={
                    "dataset": name,
                    "pending_count": str(dataset.pending_count),
                    "embedded_count": str(dataset.embedded_count),
                },
            )
        return dataset

    async def selection(self, dataset: Dataset) -> Selection:
        """The rows of a dataset that have a vector now. Raises TrainingDataChanged."""
        name = dataset.source.dataset
        ranges: list[tuple[int, int]] = []
        revision, history, fingerprint = dataset.revision, dataset.history, dataset.fingerprint
        request = pb2.ReadVectorsRequest(dataset=name, rows_only=True)
        async with errors_of("embedder"):
            async for block in Stream(self._stub.ReadVectors(request)):
                _check_uid(block, name, dataset.source.dataset_uid)
                ranges += [(part.start, part.end) for part in block.row_ranges]
                revision, history, fingerprint = block.revision, block.history, block.fingerprint
        return Selection(
            ranges=ranges,
            row_count=sum(end - start for start, end in ranges),
            revision=revision,
            history=history,
            pending_count=dataset.pending_count,
            fingerprint=fingerprint or None,
        )

    async def compare(self, source: Source, selection: Selection) -> DatasetChanges:
        """How a dataset has changed since these rows were selected."""
        ranges = [RowRange(start=start, end=end) for start, end in selection.ranges]
        request = pb2.CompareRowsRequest(dataset=source.dataset, row_ranges=ranges)
        comparison = await ask("embedder", self._stub.CompareRows(request))
        return DatasetChanges(
            fingerprint=comparison.fingerprint,
            added=comparison.added_count,
            deleted=comparison.deleted_count,
            changed=comparison.changed_count,
        )

    async def pull(self, source: Source, selection: Selection, cache: VectorCache, progress: Progress) -> str:
        """Brings the selected vectors into the cache, unless they are there, and returns their fingerprint.

        Raises TrainingDataChanged, StorageFull.
        """
        dataset = await self.dataset(source.dataset)
        if dataset.source.dataset_uid != source.dataset_uid:
            raise _replaced(source.dataset)
        key = cache.key(source, selection, dataset.revision, dataset.history)
        fingerprint = await asyncio.to_thread(cache.fingerprint, key)
        if fingerprint is not None and cache.folder_of(fingerprint) is not None:
            return fingerprint
        ranges = [RowRange(start=start, end=end) for start, end in selection.ranges]
        request = pb2.ReadVectorsRequest(dataset=source.dataset, row_ranges=ranges)
        writer = await asyncio.to_thread(cache.writer)
        try:
            async for block in self._changes(request, source):
                await asyncio.to_thread(writer.add, block.rows, block.vectors)
                await progress(writer.count, selection.row_count, "vectors", "reading vectors")
            if writer.count != selection.row_count:
                raise TrainingDataChanged(
                    f"the run is fixed to {selection.row_count:,} vectors, of which {writer.count:,} still exist; "
                    "create a new run"
                )
            fingerprint = await asyncio.to_thread(writer.finish)
        finally:
            await asyncio.to_thread(writer.discard)
        await asyncio.to_thread(cache.remember, key, fingerprint)
        return fingerprint

    def changes(self, source: Source, *, history: str, since_revision: int) -> AsyncGenerator[VectorChanges]:
        """Vectors that appeared or disappeared after a revision of the dataset; 0 for all.

        Raises TrainingDataChanged, and the embedder's HISTORY_CHANGED.
        """
        request = pb2.ReadVectorsRequest(dataset=source.dataset, since_revision=since_revision, history=history)
        return self._changes(request, source)

    async def deleted_datasets(self) -> set[str]:
        """Uids of all tombstones."""
        uids: set[str] = set()
        request = pb2.ListDatasetsRequest(page_size=1000, show_deleted=True)
        async with errors_of("embedder"):
            async for page in pages(self._stub.ListDatasets, request):
                uids.update(dataset.uid for dataset in page.datasets if dataset.HasField("delete_time"))
        return uids

    async def _changes(self, request: pb2.ReadVectorsRequest, source: Source) -> AsyncGenerator[VectorChanges]:
        async with errors_of("embedder"):
            async for block in Stream(self._stub.ReadVectors(request)):
                _check_uid(block, source.dataset, source.dataset_uid)
                rows, vectors = np.empty(0, np.uint64), np.empty((0, source.dimension), np.float32)
                if block.HasField("vectors"):
                    rows, vectors = wire.unpack_vectors(block.vectors)
                yield VectorChanges(
                    rows=rows,
                    vectors=vectors,
                    deleted_rows=block.deleted_rows,
                    revision=block.revision,
                    history=block.history,
                )


def _without_vectors(dataset: Dataset) -> str:
    """Why a dataset has no vectors, and what to do about it."""
    pending, failed = dataset.pending_count, dataset.failed_count
    if not pending and not failed:
        return "has no documents: import documents, then embed them"
    if not pending:
        return f"has no vectors: {failed:,} documents could not be embedded; their errors say why"
    return f"has no vectors: {pending:,} documents are pending, {failed:,} failed; embed it first"


def _dataset(message: embedder_resources_pb2.Dataset) -> Dataset:
    return Dataset(
        source=Source(
            dataset=message.name,
            dataset_uid=message.uid,
            embedding_model=message.embedding_model,
            dimension=message.dimension,
        ),
        revision=message.revision,
        history=message.history,
        embedded_count=message.embedded_count,
        pending_count=message.pending_count,
        failed_count=message.failed_count,
        fingerprint=message.fingerprint,
    )


def _check_uid(block: pb2.ReadVectorsResponse, dataset: str, uid: str) -> None:
    if block.dataset_uid != uid:
        raise _replaced(dataset)


def _replaced(dataset: str) -> TrainingDataChanged:
    return TrainingDataChanged(f"{dataset} was deleted, and another dataset has its name now; create a new run")
