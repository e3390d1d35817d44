"""What the trainer reads of the embedder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import RowRange
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client import wire
from services.chassis.channels import ask, errors_of, pages
from services.trainer.errors import DatasetNotEmbedded, TrainingDataChanged
from services.trainer.runs import Source


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
        rows, _vectors, revision = await self._read(dataset, [], vectors=False)
        ranges = [(part.start, part.end) for part in wire.ranges_of(rows)]
        return Source(dataset, found.uid, revision, ranges, len(rows), found.embedding_model, found.dimension)

    async def vectors(self, source: Source) -> tuple[NDArray[np.uint64], NDArray[np.float32], str]:
        """Rows (N,) and vectors (N, d) of a source, and their fingerprint. Raises TrainingDataChanged."""
        ranges = [RowRange(start=start, end=end) for start, end in source.ranges]
        rows, vectors, _revision = await self._read(source.dataset, ranges, uid=source.dataset_uid)
        if len(rows) != source.row_count:
            raise TrainingDataChanged(
                f"the run was made for {source.row_count} vectors, {len(rows)} are left; make a new run"
            )
        digest = hashlib.sha256(rows.tobytes())
        digest.update(vectors.data)
        return rows, vectors, digest.hexdigest()

    async def deleted_datasets(self) -> set[str]:
        """Uids of all tombstones."""
        uids: set[str] = set()
        request = pb2.ListDatasetsRequest(page_size=1000, show_deleted=True)
        async with errors_of("embedder"):
            async for page in pages(self._stub.ListDatasets, request):
                uids.update(each.uid for each in page.datasets if each.HasField("delete_time"))
        return uids

    async def _read(
        self, dataset: str, ranges: Sequence[RowRange], *, uid: str = "", vectors: bool = True
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32], int]:
        rows: list[NDArray[np.uint64]] = [np.empty(0, dtype=np.uint64)]
        parts: list[NDArray[np.float32]] = []
        revision = 0
        async with errors_of("embedder"):
            async for block in self._stub.ReadVectors(pb2.ReadVectorsRequest(dataset=dataset, row_ranges=ranges)):
                if uid and block.dataset_uid != uid:
                    raise TrainingDataChanged(f"{dataset} was deleted, and another has its name now; make a new run")
                revision = block.revision
                if block.HasField("vectors"):
                    some, found = wire.unpack_vectors(block.vectors)
                    rows.append(some)
                    if vectors:
                        parts.append(found)
        return np.concatenate(rows), np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32), revision
