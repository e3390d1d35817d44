"""Stand-ins for embedder, trainer and interpreter: what search reads of them, in memory, behind real gRPC.

Vectors are sums of one random vector for each word, codes the largest positive products with random directions:
small, deterministic, and with the shape of the real ones.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc.aio
import numpy as np

from prisma.common.v1.block_pb2 import CodeBlock, VectorBlock
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1 import resources_pb2 as embedder_resources
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.interpreter.v1 import interpreter_service_pb2_grpc
from prisma.interpreter.v1 import resources_pb2 as interpreter_resources
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma_common import wire
from prisma_common.wire import Codes
from services.chassis.errors import NotFound, PrismaError
from services.search import analysis

DIMENSION, LATENTS, K = 32, 96, 6
_DIRECTIONS = np.random.default_rng(7).normal(size=(LATENTS, DIMENSION)).astype(np.float32)


class Missing(NotFound):
    reason = "DATASET_NOT_FOUND"


class MissingRun(NotFound):
    reason = "RUN_NOT_FOUND"


def embed(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    words = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION) for word in analysis.tokens(text)]
    return np.sum([np.zeros(DIMENSION), *words], axis=0).astype(np.float32)


def encode(vectors: Any, rows: Any) -> Codes:
    picked: list[Any] = []
    products = [_DIRECTIONS @ vector for vector in vectors]
    for product in products:
        best = np.sort(np.argsort(-product)[:K])
        picked.append(best[product[best] > 0].astype(np.uint32))
    values = [product[best].astype(np.float32) for product, best in zip(products, picked, strict=True)]
    empty_i, empty_v = np.empty(0, np.uint32), np.empty(0, np.float32)
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in picked])]).astype(np.uint32)
    return Codes(rows, indptr, np.concatenate([empty_i, *picked]), np.concatenate([empty_v, *values]), LATENTS)


@dataclass
class Doc:
    row: int
    key: str
    text: str
    metadata: dict[str, Any]
    revision: int
    embedded: int = 0
    deleted: bool = False


@dataclass
class Data:
    """One dataset with its run, and the revisions that its changes had."""

    name: str
    model: str = "builtin/wordllama-256"
    uid: str = field(default_factory=lambda: uuid4().hex)
    run_uid: str = field(default_factory=lambda: uuid4().hex)
    revision: int = 0
    docs: dict[int, Doc] = field(default_factory=dict)
    deleted: bool = False
    trained: bool = False
    run_revision: int = 0
    codes: Codes | None = None
    label_revision: int = 0
    labels: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def run(self) -> str:
        return self.name.replace("datasets/", "runs/")

    def add(self, key: str, text: str, **metadata: Any) -> int:
        self.revision += 1
        row = len(self.docs)
        self.docs[row] = Doc(row, key, text, metadata, self.revision)
        return row

    def embed_all(self) -> None:
        self.revision += 1
        for doc in self.docs.values():
            doc.embedded = doc.embedded or self.revision

    def delete(self, row: int) -> None:
        self.revision += 1
        self.docs[row].deleted, self.docs[row].revision = True, self.revision

    def train(self) -> Codes:
        living = [doc for doc in self.docs.values() if doc.embedded and not doc.deleted]
        rows = np.array([doc.row for doc in living], dtype=np.uint64)
        self.codes = encode([embed(doc.text) for doc in living], rows)
        self.trained, self.run_revision = True, self.run_revision + 1
        return self.codes

    def label(self, index: int, text: str) -> None:
        self.label_revision += 1
        self.labels[index] = (text, self.label_revision)

    def run_message(self) -> trainer_resources.Run:
        state = trainer_resources.Run.STATE_TRAINED if self.trained else trainer_resources.Run.STATE_CREATED
        run = trainer_resources.Run(
            name=self.run,
            uid=self.run_uid,
            dataset=self.name,
            dataset_uid=self.uid,
            state=state,
            revision=self.run_revision,
        )
        if self.deleted:
            run.delete_time.GetCurrentTime()
        return run

    def message(self) -> embedder_resources.Dataset:
        dataset = embedder_resources.Dataset(
            name=self.name, uid=self.uid, revision=self.revision, embedding_model=self.model, dimension=DIMENSION
        )
        if self.deleted:
            dataset.delete_time.GetCurrentTime()
        return dataset


class Owners(
    embedder_service_pb2_grpc.EmbedderServiceServicer,
    trainer_service_pb2_grpc.TrainerServiceServicer,
    interpreter_service_pb2_grpc.InterpreterServiceServicer,
):
    """All three in one server. `away` names those that answer UNAVAILABLE; `block_rows` and `pause` slow streams."""

    def __init__(self) -> None:
        self.data: list[Data] = []
        self.away: set[str] = set()
        self.block_rows = 100
        self.pause = 0.0
        self.port = 0
        self.blocks_sent = 0
        self.reads: list[tuple[str, int]] = []

    def new(self, name: str, **fields: Any) -> Data:
        self.data.append(Data(name, **fields))
        return self.data[-1]

    async def _check(self, service: str, context: Any) -> None:
        if service in self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{service} is away")

    async def _find(self, name: str, context: Any, error: type[PrismaError] = Missing) -> Data:
        for each in self.data:
            if name in (each.name, each.run) and not each.deleted:
                return each
        status = error(f"{name} is not there").to_status()
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(grpc.StatusCode.NOT_FOUND, status.message)
        raise AssertionError

    async def ListDatasets(self, request: Any, context: Any) -> Any:
        await self._check("embedder", context)
        return embedder_pb2.ListDatasetsResponse(datasets=[each.message() for each in self.data])

    async def GetDataset(self, request: Any, context: Any) -> Any:
        await self._check("embedder", context)
        return (await self._find(request.name, context)).message()

    async def GetDocument(self, request: Any, context: Any) -> Any:
        await self._check("embedder", context)
        data = await self._find(request.name.rpartition("/documents/")[0], context)
        for doc in data.docs.values():
            if request.name.endswith(f"/{doc.key}") and not doc.deleted:
                return embedder_resources.Document(name=request.name, row=doc.row)
        return await self._find("nothing", context)

    async def ReadDocuments(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._check("embedder", context)
        data = await self._find(request.dataset, context)
        self.reads.append(("documents", request.since_revision))
        changed = [doc for doc in data.docs.values() if doc.revision > request.since_revision]
        revision = data.revision
        for start in range(0, max(len(changed), 1), self.block_rows):
            response = embedder_pb2.ReadDocumentsResponse(revision=revision, dataset_uid=data.uid)
            for doc in changed[start : start + self.block_rows]:
                if doc.deleted:
                    response.deleted_rows.append(doc.row)
                    continue
                name = f"{data.name}/documents/{doc.key}"
                message = response.documents.add(name=name, key=doc.key, row=doc.row, text=doc.text)
                message.metadata.update(doc.metadata)
            await self._slow()
            yield response

    async def ReadVectors(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._check("embedder", context)
        data = await self._find(request.dataset, context)
        self.reads.append(("vectors", request.since_revision))
        since = request.since_revision
        living = [d for d in data.docs.values() if d.embedded > since and not d.deleted]
        gone = [d.row for d in data.docs.values() if d.deleted and d.revision > since]
        for start in range(0, max(len(living), 1), self.block_rows):
            part = living[start : start + self.block_rows]
            block = VectorBlock()
            if part:
                rows = np.array([doc.row for doc in part], dtype=np.uint64)
                block = wire.pack_vectors(np.array([embed(doc.text) for doc in part]), rows)
            await self._slow()
            yield embedder_pb2.ReadVectorsResponse(
                vectors=block, deleted_rows=gone if not start else [], revision=data.revision, dataset_uid=data.uid
            )

    async def EmbedTexts(self, request: Any, context: Any) -> Any:
        await self._check("embedder", context)
        vectors = np.array([embed(text) for text in request.texts])
        return embedder_pb2.EmbedTextsResponse(vectors=wire.pack_vectors(vectors))

    async def ListRuns(self, request: Any, context: Any) -> Any:
        await self._check("trainer", context)
        return trainer_pb2.ListRunsResponse(runs=[each.run_message() for each in self.data])

    async def GetRun(self, request: Any, context: Any) -> Any:
        await self._check("trainer", context)
        return (await self._find(request.name, context, MissingRun)).run_message()

    async def ReadCodes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._check("trainer", context)
        data = await self._find(request.run, context, MissingRun)
        self.reads.append(("codes", request.since_revision))
        codes = data.codes
        size = len(codes) if codes is not None and request.since_revision < data.run_revision else 0
        for start in range(0, max(size, 1), self.block_rows):
            block = CodeBlock()
            if codes is not None and size:
                block = wire.pack_codes(codes.slice(start, min(start + self.block_rows, size)))
            await self._slow()
            yield trainer_pb2.ReadCodesResponse(codes=block, revision=data.run_revision, run_uid=data.run_uid)

    async def Encode(self, request: Any, context: Any) -> Any:
        await self._check("trainer", context)
        rows, vectors = wire.unpack_vectors(request.vectors)
        return trainer_pb2.EncodeResponse(codes=wire.pack_codes(encode(vectors, rows)))

    async def ReadLabels(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._check("interpreter", context)
        data = await self._find(request.run, context, MissingRun)
        response = interpreter_pb2.ReadLabelsResponse(revision=data.label_revision, run_uid=data.run_uid)
        for index, (text, revision) in data.labels.items():
            if revision > request.since_revision:
                if not text:
                    response.unlabelled_indices.append(index)
                    continue
                label = interpreter_resources.Label(text=text, description=f"About {text}.", keywords=text.split())
                name = f"{data.run}/features/{index}"
                response.features.append(
                    interpreter_resources.Feature(name=name, index=index, label=label, density=0.25, max_activation=3)
                )
        yield response

    async def _slow(self) -> None:
        self.blocks_sent += 1
        if self.pause:
            await asyncio.sleep(self.pause)
