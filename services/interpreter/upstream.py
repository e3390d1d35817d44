"""What the interpreter reads of the embedder and the trainer, with their errors as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import RowRange
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1.resources_pb2 import DOCUMENT_VIEW_FULL, Document
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.resources_pb2 import Run as RunMessage
from prisma_common import wire
from services.chassis.channels import ask, errors_of, open_channel, pages
from services.interpreter.runs import Run
from services.interpreter.settings import InterpreterSettings

_BATCH = 500
_LOOK_SECONDS = 3.0
_WORK_SECONDS = 30.0


@dataclass(frozen=True)
class Encoded:
    """A text or document as the run sees it. unexplained: |x − x̂|² / |x − mean|²."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]
    vector: NDArray[np.float32]
    unexplained: float
    truncated: bool


class Upstream:
    """The embedder and the trainer. All methods raise PrismaError."""

    def __init__(self, settings: InterpreterSettings) -> None:
        self._channels = [
            open_channel(each, settings) for each in (settings.embedder_address, settings.trainer_address)
        ]
        self._embedder: Any = embedder_service_pb2_grpc.EmbedderServiceStub(self._channels[0])
        self._trainer: Any = trainer_service_pb2_grpc.TrainerServiceStub(self._channels[1])

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels:
            await channel.close()

    async def run(self, name: str) -> Run:
        """A run, as its owner has it at this moment."""
        return _run(
            await ask("trainer", self._trainer.GetRun(trainer_pb2.GetRunRequest(name=name), timeout=_LOOK_SECONDS))
        )

    async def runs(self) -> list[Run]:
        """All runs, tombstones too."""
        request = trainer_pb2.ListRunsRequest(page_size=1000, show_deleted=True)
        async with errors_of("trainer"):
            return [_run(each) async for page in pages(self._trainer.ListRuns, request) for each in page.runs]

    async def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """The run's codes, block by block, all or those of some ranges of rows."""
        some = [RowRange(start=start, end=end) for start, end in ranges]
        async with errors_of("trainer"):
            async for block in self._trainer.ReadCodes(trainer_pb2.ReadCodesRequest(run=run.name, row_ranges=some)):
                if block.HasField("codes") and block.run_uid == run.uid:
                    yield wire.unpack_codes(block.codes)

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> NDArray[np.float32]:
        """(n, d) the unit directions of the run's latents; or of those given, in their order."""
        parts: list[NDArray[np.float32]] = []
        some = [RowRange(start=index, end=index + 1) for index in indices]
        request = trainer_pb2.ReadDecoderRequest(run=run.name, latent_ranges=some)
        async with errors_of("trainer"):
            async for block in self._trainer.ReadDecoder(request):
                parts.append(wire.unpack_vectors(block.directions)[1])
        found = np.concatenate(parts)
        return found[np.searchsorted(np.sort(indices), indices)] if indices else found

    async def matches(self, first: Run, second: Run, min_cosine: float) -> list[tuple[int, int]]:
        """Latents of two runs that are the same by decoder cosine, one to one."""
        request = trainer_pb2.CompareRunsRequest(first=first.name, second=second.name, min_cosine=min_cosine)
        answer = await ask("trainer", self._trainer.CompareRuns(request, timeout=_WORK_SECONDS))
        return [(each.first, each.second) for each in answer.matches]

    async def documents(self, dataset: str, rows: Sequence[int]) -> dict[int, Document]:
        """Documents by row; those that are gone are left out."""
        found: dict[int, Document] = {}
        for start in range(0, len(rows), _BATCH):
            request = embedder_pb2.BatchGetDocumentsRequest(parent=dataset, rows=rows[start : start + _BATCH])
            answer = await ask("embedder", self._embedder.BatchGetDocuments(request, timeout=_WORK_SECONDS))
            found.update((document.row, document) for document in answer.documents)
        return found

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        """Texts by row; those of documents that are gone are left out."""
        return {row: document.text for row, document in (await self.documents(dataset, rows)).items()}

    async def document(self, name: str) -> Document:
        """A document with its vector, if it has one."""
        request = embedder_pb2.GetDocumentRequest(name=name, view=DOCUMENT_VIEW_FULL)
        return await ask("embedder", self._embedder.GetDocument(request, timeout=_LOOK_SECONDS))

    async def dataset_uid(self, name: str) -> str:
        """The uid of a dataset."""
        request = embedder_pb2.GetDatasetRequest(name=name)
        return (await ask("embedder", self._embedder.GetDataset(request, timeout=_LOOK_SECONDS))).uid

    async def encode_text(self, run: Run, text: str) -> Encoded:
        """A text as the run sees it."""
        request = embedder_pb2.EmbedTextsRequest(embedding_model=run.embedding_model, texts=[text])
        answer = await ask("embedder", self._embedder.EmbedTexts(request, timeout=_WORK_SECONDS))
        return await self.encode(run, wire.unpack_vectors(answer.vectors)[1][0], answer.truncated[0])

    async def encode(self, run: Run, vector: NDArray[np.float32], truncated: bool) -> Encoded:
        """A (d,) vector as the run sees it: the bits of the trainer's one encode."""
        request = trainer_pb2.EncodeRequest(run=run.name, vectors=wire.pack_vectors(vector[None, :]))
        answer = await ask("trainer", self._trainer.Encode(request, timeout=_WORK_SECONDS))
        indices, values = wire.unpack_codes(answer.codes).row(0)
        return Encoded(indices, values, vector, answer.unexplained_fractions[0], truncated)


def _run(message: RunMessage) -> Run:
    return Run(
        uid=message.uid,
        name=message.name,
        dataset=message.dataset,
        dataset_uid=message.dataset_uid,
        embedding_model=message.embedding_model,
        latent_count=message.latent_count,
        revision=message.revision,
        trained=message.state == RunMessage.STATE_TRAINED,
        ranges=[(each.start, each.end) for each in message.row_ranges],
        deleted=message.HasField("delete_time"),
    )
