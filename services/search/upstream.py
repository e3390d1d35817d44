"""What search reads of the other services, with their errors as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask

from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.interpreter.v1 import interpreter_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma_common import wire
from services.chassis.channels import ask, errors_of, open_channel, pages
from services.search import convert
from services.search.catalog import Dataset, Run
from services.search.index import Kind, LatentQuery, Vectors
from services.search.settings import SearchSettings

LOOK_SECONDS = 3.0
ENCODE_SECONDS = 20.0
_PAGE = 1000

Message: TypeAlias = (
    embedder_pb2.ReadDocumentsResponse
    | embedder_pb2.ReadVectorsResponse
    | trainer_pb2.ReadCodesResponse
    | interpreter_pb2.ReadLabelsResponse
)


class Upstream:
    """The embedder, the trainer and the interpreter. All methods raise PrismaError."""

    def __init__(self, settings: SearchSettings) -> None:
        self._channels = [
            open_channel(address, settings)
            for address in (settings.embedder_address, settings.trainer_address, settings.interpreter_address)
        ]
        self._embedder = embedder_service_pb2_grpc.EmbedderServiceStub(self._channels[0])
        self._trainer = trainer_service_pb2_grpc.TrainerServiceStub(self._channels[1])
        self._interpreter = interpreter_service_pb2_grpc.InterpreterServiceStub(self._channels[2])

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels:
            await channel.close()

    async def datasets(self) -> list[Dataset]:
        """All datasets, tombstones too."""
        request = embedder_pb2.ListDatasetsRequest(page_size=_PAGE, show_deleted=True)
        async with errors_of("embedder"):
            listed = [page async for page in pages(self._embedder.ListDatasets, request)]
        return [convert.dataset(each) for page in listed for each in page.datasets]

    async def runs(self) -> list[Run]:
        """All runs, tombstones too."""
        request = trainer_pb2.ListRunsRequest(page_size=_PAGE, show_deleted=True)
        async with errors_of("trainer"):
            listed = [page async for page in pages(self._trainer.ListRuns, request)]
        return [convert.run(each) for page in listed for each in page.runs]

    async def dataset(self, name: str) -> Dataset:
        """One dataset, as its owner has it at this moment."""
        request = embedder_pb2.GetDatasetRequest(name=name)
        return convert.dataset(await ask("embedder", self._embedder.GetDataset(request, timeout=LOOK_SECONDS)))

    async def run(self, name: str) -> Run:
        """One run, as its owner has it at this moment."""
        request = trainer_pb2.GetRunRequest(name=name)
        return convert.run(await ask("trainer", self._trainer.GetRun(request, timeout=LOOK_SECONDS)))

    async def document_row(self, name: str) -> int:
        """A document's row."""
        request = embedder_pb2.GetDocumentRequest(name=name)
        return (await ask("embedder", self._embedder.GetDocument(request, timeout=LOOK_SECONDS))).row

    async def embed(self, model: str, text: str) -> Vectors:
        """(d,) the vector of a text."""
        request = embedder_pb2.EmbedTextsRequest(embedding_model=model, texts=[text])
        answer = await ask("embedder", self._embedder.EmbedTexts(request, timeout=ENCODE_SECONDS))
        return wire.unpack_vectors(answer.vectors)[1][0]

    async def encode(self, run: str, vector: Vectors) -> LatentQuery:
        """The code of a vector: the bits of the trainer's one encode."""
        request = trainer_pb2.EncodeRequest(run=run, vectors=wire.pack_vectors(vector[None, :]))
        answer = await ask("trainer", self._trainer.Encode(request, timeout=ENCODE_SECONDS))
        indices, values = wire.unpack_codes(answer.codes).row(0)
        return LatentQuery(indices, values.astype(np.float64))

    async def read(self, kind: Kind, resource: str, since: int) -> AsyncIterator[Message]:
        """The blocks of a stream that changed after a revision."""
        if kind is Kind.DOCUMENTS:
            mask = FieldMask(paths=["key", "text", "metadata"])
            request = embedder_pb2.ReadDocumentsRequest(dataset=resource, since_revision=since, read_mask=mask)
            call, owner = self._embedder.ReadDocuments(request), "embedder"
        elif kind is Kind.VECTORS:
            request = embedder_pb2.ReadVectorsRequest(dataset=resource, since_revision=since)
            call, owner = self._embedder.ReadVectors(request), "embedder"
        elif kind is Kind.CODES:
            request = trainer_pb2.ReadCodesRequest(run=resource, since_revision=since)
            call, owner = self._trainer.ReadCodes(request), "trainer"
        else:
            request = interpreter_pb2.ReadLabelsRequest(run=resource, since_revision=since)
            call, owner = self._interpreter.ReadLabels(request), "interpreter"
        async with errors_of(owner):
            async for message in call:
                yield message

    async def label_revision(self, run: str, since: int) -> int:
        """The revision of a run's labels: what the first block of the stream says, `since` where none comes."""
        request = interpreter_pb2.ReadLabelsRequest(run=run, since_revision=since)
        call = self._interpreter.ReadLabels(request, timeout=LOOK_SECONDS)
        async with errors_of("interpreter"):
            async for message in call:
                call.cancel()
                return message.revision
        return since
