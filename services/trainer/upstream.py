"""What the trainer reads of the embedder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import RowRange
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_common import wire
from services.chassis.channels import ask, errors_of, pages
from services.trainer.errors import DatasetNotEmbedded, TrainingDataChanged
from services.trainer.runs import Source
from services.trainer.vector_files import VectorFiles

Progress: TypeAlias = Callable[[int, int, str, str], Awaitable[None]]


class Embedder:
    """Datasets and vectors of the embedder. All methods raise what the embedder says, or SERVICE_UNAVAILABLE."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = embedder_service_pb2_grpc.EmbedderServiceStub(channel)

    async def source(self, dataset: str) -> Source:
        """The vectors that a dataset has at this moment. Raises DatasetNotEmbedded."""
        found = await ask("embedder", self._stub.GetDataset(pb2.GetDatasetRequest(name=dataset)))
        if not found.embedded_count:
            raise DatasetNotEmbedded(
                f"{dataset} has no vectors: {found.pending_count} documents wait, {found.failed_count} failed; embed it"
            )
        ranges: list[tuple[int, int]] = []
        revision = 0
        request = pb2.ReadVectorsRequest(dataset=dataset, rows_only=True)
        async with errors_of("embedder"):
            async for block in self._stub.ReadVectors(request):
                _prove(block, dataset, found.uid)
                ranges += [(part.start, part.end) for part in block.row_ranges]
                revision = block.revision
        count = sum(end - start for start, end in ranges)
        return Source(dataset, found.uid, revision, ranges, count, found.embedding_model, found.dimension)

    async def pull(self, source: Source, files: VectorFiles, progress: Progress) -> str:
        """Brings a source's vectors into files, unless they are there, and returns their fingerprint.

        Raises TrainingDataChanged.
        """
        dataset = await ask("embedder", self._stub.GetDataset(pb2.GetDatasetRequest(name=source.dataset)))
        if dataset.uid != source.dataset_uid:
            raise TrainingDataChanged(f"{source.dataset} was deleted, and another has its name now; make a new run")
        if files.of(known := await asyncio.to_thread(files.known, source, dataset.revision)):
            return known
        ranges = [RowRange(start=start, end=end) for start, end in source.ranges]
        writer = await asyncio.to_thread(files.writer)
        try:
            async for rows, vectors, _revision in self._blocks(source.dataset, ranges, source.dataset_uid):
                await asyncio.to_thread(writer.add, rows, vectors)
                await progress(writer.count, source.row_count, "vectors", "reading vectors")
            if writer.count != source.row_count:
                raise TrainingDataChanged(
                    f"the run was made for {source.row_count} vectors, {writer.count} are left; make a new run"
                )
            fingerprint = await asyncio.to_thread(writer.finish)
        finally:
            await asyncio.to_thread(writer.discard)
        await asyncio.to_thread(files.note, source, dataset.revision, fingerprint)
        return fingerprint

    async def deleted_datasets(self) -> set[str]:
        """Uids of all tombstones."""
        uids: set[str] = set()
        request = pb2.ListDatasetsRequest(page_size=1000, show_deleted=True)
        async with errors_of("embedder"):
            async for page in pages(self._stub.ListDatasets, request):
                uids.update(each.uid for each in page.datasets if each.HasField("delete_time"))
        return uids

    async def _blocks(
        self, dataset: str, ranges: Sequence[RowRange], uid: str
    ) -> AsyncGenerator[tuple[NDArray[np.uint64], NDArray[np.float32], int]]:
        """Rows, vectors and the dataset's revision, block by block; a last one may be empty."""
        async with errors_of("embedder"):
            async for block in self._stub.ReadVectors(pb2.ReadVectorsRequest(dataset=dataset, row_ranges=ranges)):
                _prove(block, dataset, uid)
                if block.HasField("vectors"):
                    yield *wire.unpack_vectors(block.vectors), block.revision
                else:
                    yield np.empty(0, dtype=np.uint64), np.empty((0, 0), dtype=np.float32), block.revision


def _prove(block: pb2.ReadVectorsResponse, dataset: str, uid: str) -> None:
    if block.dataset_uid != uid:
        raise TrainingDataChanged(f"{dataset} was deleted, and another has its name now; make a new run")
