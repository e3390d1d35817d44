"""Vectors and codes as the services stream them: block by block, each row with the id of its document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16, RowRange
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_client.aio.transport import Transport
from prisma_client.errors import FailedPrecondition
from prisma_client.matrices import Codes, Keys, Vectors
from prisma_common import wire

_MAX_RANGES = 100
"""Ranges of rows in one request, which become its address."""
_GAP = 100
"""So many keys are read that nobody needs, rather than to begin another range."""


class BlockReader:
    """Reads rows of one dataset, or codes of one of its runs. dataset: its name."""

    def __init__(self, transport: Transport, dataset: str) -> None:
        self._transport = transport
        self._dataset = dataset
        self._history: str | None = None
        self._has_passages: bool | None = None

    async def vectors(self, dataset: resources_pb2.Dataset, rows: Any = None) -> AsyncIterator[Vectors]:
        """Yields the vectors of documents that have one, ascending by row. dataset: as it is described now."""
        encoding = dataset.vector_encoding
        dtype = np.dtype(np.float16 if encoding == VECTOR_ENCODING_FLOAT16 else np.float32)
        self._has_passages = dataset.HasField("passages")
        for ranges in row_ranges(rows):
            is_checked = encoding != VECTOR_ENCODING_FLOAT16
            request = pb2.ReadVectorsRequest(dataset=self._dataset, row_ranges=ranges, encoding=encoding)
            stream = self._transport.stream("EmbedderService/ReadVectors", request, pb2.ReadVectorsResponse)
            async for block in stream:
                self._check_history(block.history)
                if not is_checked:
                    await self._check_encoding()
                    is_checked = True
                if block.vectors.data:
                    numbers, values = wire.unpack_vectors(block.vectors)
                    keys, places = await self._keys(numbers)
                    yield Vectors(keys, values[places].astype(dtype, copy=False))

    async def codes(self, run: str, rows: Any = None) -> AsyncIterator[Codes]:
        """Yields the codes of the run's documents that still exist."""
        for ranges in row_ranges(rows):
            request = trainer_pb2.ReadCodesRequest(run=run, row_ranges=ranges)
            stream = self._transport.stream("TrainerService/ReadCodes", request, trainer_pb2.ReadCodesResponse)
            async for block in stream:
                if block.codes.indptr:
                    codes = wire.unpack_codes(block.codes)
                    keys, places = await self._keys(codes.rows)
                    yield Codes(keys, codes.take(places))

    async def _keys(self, rows: NDArray[np.uint64]) -> tuple[Keys, NDArray[np.intp]]:
        """The documents of rows that still exist, and their places among the rows."""
        documents: dict[int, resources_pb2.Document] = {}
        for ranges in _batches(_wide_ranges(np.sort(rows))):
            request = pb2.ReadDocumentsRequest(
                dataset=self._dataset, row_ranges=ranges, read_mask=FieldMask(paths=["key"])
            )
            stream = self._transport.stream("EmbedderService/ReadDocuments", request, pb2.ReadDocumentsResponse)
            async for block in stream:
                self._check_history(block.history)
                documents.update({document.row: document for document in block.documents})
        places = [place for place, row in enumerate(rows.tolist()) if row in documents]
        present = [documents[row] for row in rows[places].tolist()]
        if self._has_passages is None:
            self._has_passages = (await self._read_dataset()).HasField("passages")
        indices = [document.passage.index for document in present] if self._has_passages else None
        passages = None if indices is None else np.array(indices, np.uint32)
        return Keys([document.key for document in present], rows[places], passages), np.array(places, np.intp)

    async def _check_encoding(self) -> None:
        """Raises FailedPrecondition where the blocks of float16, which have begun, may have been rounded."""
        if (await self._read_dataset()).vector_encoding != VECTOR_ENCODING_FLOAT16:
            raise FailedPrecondition(
                f"{self._dataset} got vectors of float32 meanwhile: read it again", code="FAILED_PRECONDITION"
            )

    async def _read_dataset(self) -> resources_pb2.Dataset:
        request = pb2.GetDatasetRequest(name=self._dataset)
        return await self._transport.call("EmbedderService/GetDataset", request, resources_pb2.Dataset)

    def _check_history(self, history: str) -> None:
        """Raises FailedPrecondition where blocks are from before and after a restore of the dataset."""
        if self._history not in (None, history):
            raise FailedPrecondition(
                f"{self._dataset} was restored or replaced meanwhile: read it again",
                code="FAILED_PRECONDITION",
                reason="HISTORY_CHANGED",
            )
        self._history = history


def row_ranges(rows: Any) -> list[list[RowRange]]:
    """The ranges of one request after the other. rows: numbers; None for all. Raises TypeError, ValueError."""
    if rows is None:
        return [[]]
    if isinstance(rows, range) and rows.step == 1 and rows.start >= 0:
        return [[RowRange(start=rows.start, end=rows.stop)]] if rows else []
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise TypeError(f"rows: expected row numbers, such as range(1000) or [3, 7]; got {rows!r:.80}")
    if numbers.size and int(numbers.min()) < 0:
        raise ValueError(f"rows: expected row numbers from 0 on, got {int(numbers.min())}")
    return _batches(wire.ranges_of(np.unique(numbers.astype(np.uint64))))


def _wide_ranges(rows: NDArray[np.uint64]) -> list[RowRange]:
    """Few ranges that hold all of these ascending rows, and some others."""
    breaks = np.flatnonzero(np.diff(rows) > _GAP) + 1
    return [RowRange(start=int(part[0]), end=int(part[-1]) + 1) for part in np.split(rows, breaks) if len(part)]


def _batches(ranges: Sequence[RowRange]) -> list[list[RowRange]]:
    return [list(ranges[start : start + _MAX_RANGES]) for start in range(0, len(ranges), _MAX_RANGES)]
