"""Stand-ins for embedder, trainer and interpreter: what search reads of them, in memory, behind real gRPC.

Vectors are sums of one random vector for each word, codes the largest positive products with random directions:
small, deterministic, and with the shape of the real ones.
"""

from __future__ import annotations

import asyncio
import copy
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
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
from services.chassis import metadata_schema, metadata_terms
from services.chassis.errors import FailedPrecondition, NotFound, PrismaError
from services.search import tokens

DIMENSION, LATENTS, K = 32, 96, 6
_DIRECTIONS = np.random.default_rng(7).normal(size=(LATENTS, DIMENSION)).astype(np.float32)


class Missing(NotFound):
    reason = "DATASET_NOT_FOUND"


class MissingRun(NotFound):
    reason = "RUN_NOT_FOUND"


class HistoryChanged(FailedPrecondition):
    reason = "HISTORY_CHANGED"


def embed(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    words = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION) for word in tokens.tokens(text)]
    return np.sum([np.zeros(DIMENSION), *words], axis=0).astype(np.float32)


def encode(vectors: Any, rows: Any) -> Codes:
    codes: list[Any] = []
    products = [_DIRECTIONS @ vector for vector in vectors]
    for product in products:
        best = np.sort(np.argsort(-product)[:K])
        codes.append(best[product[best] > 0].astype(np.uint32))
    values = [product[best].astype(np.float32) for product, best in zip(products, codes, strict=True)]
    return Codes(
        rows=rows,
        indptr=np.concatenate([[0], np.cumsum([len(code) for code in codes])]).astype(np.uint32),
        indices=np.concatenate([np.empty(0, np.uint32), *codes]),
        values=np.concatenate([np.empty(0, np.float32), *values]),
        latent_count=LATENTS,
    )


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
    history: str = field(default_factory=lambda: uuid4().hex)
    label_history: str = field(default_factory=lambda: uuid4().hex)
    revision: int = 0
    docs: dict[int, Doc] = field(default_factory=dict)
    wholes: dict[str, embedder_resources.Document] = field(default_factory=dict)
    """Documents above passages, by key."""
    deleted: bool = False
    trained: bool = False
    run_revision: int = 0
    codes: Codes | None = None
    label_revision: int = 0
    labels: dict[int, tuple[str, int]] = field(default_factory=dict)
    trust: dict[int, interpreter_resources.Trust] = field(default_factory=dict)
    thresholds: dict[int, float] = field(default_factory=dict)
    """Of features with a label; the others have none."""

    @property
    def run(self) -> str:
        return self.name.replace("datasets/", "runs/")

    def add(self, key: str, text: str, **metadata: Any) -> int:
        self.revision += 1
        row = len(self.docs)
        self.docs[row] = Doc(row=row, key=key, text=text, metadata=metadata, revision=self.revision)
        return row

    def metadata_fields(self) -> list[embedder_resources.MetadataField]:
        """The fields of what is not deleted, as the embedder finds them."""
        described = [metadata_terms.described(doc.metadata) for doc in self.docs.values() if not doc.deleted]
        return [
            embedder_resources.MetadataField(key=key, type=f"TYPE_{field.type}", document_count=field.document_count)
            for key, field in metadata_schema.changed({}, described, by=1).items()
        ]

    def embed_all(self) -> None:
        self.revision += 1
        for doc in self.docs.values():
            if not doc.embedded and not doc.deleted:
                doc.embedded = doc.revision = self.revision

    def delete(self, row: int) -> None:
        self.revision += 1
        self.docs[row].deleted, self.docs[row].revision = True, self.revision

    def restore(self, backup: Data) -> None:
        """Puts everything back to an older state, as a restore does: only the histories say that it happened."""
        for name, value in vars(copy.deepcopy(backup)).items():
            setattr(self, name, value)
        self.history, self.label_history = uuid4().hex, uuid4().hex

    def train(self) -> Codes:
        living = [doc for doc in self.docs.values() if doc.embedded and not doc.deleted]
        rows = np.array([doc.row for doc in living], dtype=np.uint64)
        self.codes = encode([embed(doc.text) for doc in living], rows)
        self.trained, self.run_revision = True, self.run_revision + 1
        return self.codes

    def label(
        self, index: int, text: str, *, trust: interpreter_resources.Trust = interpreter_resources.TRUST_TRUSTED
    ) -> None:
        self.label_revision += 1
        self.trust[index] = trust
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
            history=self.history,
        )
        if self.deleted:
            run.delete_time.GetCurrentTime()
        return run

    def message(self) -> embedder_resources.Dataset:
        dataset = embedder_resources.Dataset(
            name=self.name,
            uid=self.uid,
            revision=self.revision,
            history=self.history,
            embedding_model=self.model,
            dimension=DIMENSION,
            document_count=sum(not doc.deleted for doc in self.docs.values()),
            metadata_fields=self.metadata_fields(),
        )
        if self.deleted:
            dataset.delete_time.GetCurrentTime()
        return dataset


class Owners(
    embedder_service_pb2_grpc.EmbedderServiceServicer,
    trainer_service_pb2_grpc.TrainerServiceServicer,
    interpreter_service_pb2_grpc.InterpreterServiceServicer,
):
    """All three in one server. `away`: services that answer UNAVAILABLE; `block_rows` and `pause` slow streams."""

    def __init__(self) -> None:
        self.data: list[Data] = []
        self.away: set[str] = set()
        self.block_rows = 100
        self.pause = 0.0
        self.port = 0
        self.blocks_sent = 0
        self.reads: list[tuple[str, int]] = []
        self.calls: list[str] = []
        """Names of the RPCs that were called."""
        self.resources_read: set[str] = set()

    def create(self, name: str, **fields: Any) -> Data:
        self.data.append(Data(name, **fields))
        return self.data[-1]

    async def _enter(self, service: str, rpc: str, request: Any, context: Any) -> None:
        self.calls.append(rpc)
        if rpc.startswith("Read"):
            self.resources_read.add(request.dataset if hasattr(request, "dataset") else request.run)
        if service in self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{service} is away")

    async def _find(self, name: str, context: Any, error: type[PrismaError] = Missing) -> Data:
        for data in self.data:
            if name in (data.name, data.run) and not data.deleted:
                return data
        await self._abort(error(f"{name} does not exist"), context)
        raise AssertionError

    async def _check_history(self, request: Any, history: str, context: Any) -> None:
        if request.since_revision and request.history != history:
            await self._abort(HistoryChanged("the data was restored"), context)

    async def _abort(self, error: PrismaError, context: Any) -> None:
        status = error.to_status()
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        await context.abort(code, status.message)

    async def ListDatasets(self, request: Any, context: Any) -> Any:
        await self._enter("embedder", "ListDatasets", request, context)
        return embedder_pb2.ListDatasetsResponse(datasets=[data.message() for data in self.data])

    async def GetDataset(self, request: Any, context: Any) -> Any:
        await self._enter("embedder", "GetDataset", request, context)
        return (await self._find(request.name, context)).message()

    async def GetDocument(self, request: Any, context: Any) -> Any:
        await self._enter("embedder", "GetDocument", request, context)
        data = await self._find(request.name.rpartition("/documents/")[0], context)
        if whole := data.wholes.get(request.name.rpartition("/")[2]):
            is_full = request.view == embedder_resources.DOCUMENT_VIEW_FULL
            return whole if is_full else embedder_resources.Document(name=whole.name, row=whole.row)
        for doc in data.docs.values():
            if request.name.endswith(f"/{doc.key}") and not doc.deleted:
                return embedder_resources.Document(name=request.name, row=doc.row)
        return await self._find("nothing", context)

    async def ReadDocuments(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("embedder", "ReadDocuments", request, context)
        data = await self._find(request.dataset, context)
        await self._check_history(request, data.history, context)
        self.reads.append(("documents", request.since_revision))
        changed = [doc for doc in data.docs.values() if doc.revision > request.since_revision]
        revision = data.revision
        for start in range(0, max(len(changed), 1), self.block_rows):
            response = embedder_pb2.ReadDocumentsResponse(revision=revision, dataset_uid=data.uid, history=data.history)
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
        await self._enter("embedder", "ReadVectors", request, context)
        data = await self._find(request.dataset, context)
        await self._check_history(request, data.history, context)
        self.reads.append(("vectors", request.since_revision))
        since = request.since_revision
        living = [d for d in data.docs.values() if d.embedded > since and not d.deleted]
        deleted = [d.row for d in data.docs.values() if d.deleted and d.revision > since]
        for start in range(0, max(len(living), 1), self.block_rows):
            part = living[start : start + self.block_rows]
            block = VectorBlock()
            if part:
                rows = np.array([doc.row for doc in part], dtype=np.uint64)
                block = wire.pack_vectors(np.array([embed(doc.text) for doc in part]), rows)
            await self._slow()
            yield embedder_pb2.ReadVectorsResponse(
                vectors=block,
                deleted_rows=deleted if not start else [],
                revision=data.revision,
                dataset_uid=data.uid,
                history=data.history,
            )

    async def EmbedTexts(self, request: Any, context: Any) -> Any:
        await self._enter("embedder", "EmbedTexts", request, context)
        assert request.purpose == embedder_pb2.EmbedTextsRequest.PURPOSE_QUERY
        vectors = np.array([embed(text) for text in request.texts])
        return embedder_pb2.EmbedTextsResponse(vectors=wire.pack_vectors(vectors))

    async def ListRuns(self, request: Any, context: Any) -> Any:
        await self._enter("trainer", "ListRuns", request, context)
        return trainer_pb2.ListRunsResponse(runs=[data.run_message() for data in self.data])

    async def GetRun(self, request: Any, context: Any) -> Any:
        await self._enter("trainer", "GetRun", request, context)
        return (await self._find(request.name, context, MissingRun)).run_message()

    async def ReadCodes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("trainer", "ReadCodes", request, context)
        data = await self._find(request.run, context, MissingRun)
        await self._check_history(request, data.history, context)
        self.reads.append(("codes", request.since_revision))
        codes = data.codes
        size = len(codes) if codes is not None and request.since_revision < data.run_revision else 0
        for start in range(0, max(size, 1), self.block_rows):
            block = CodeBlock()
            if codes is not None and size:
                block = wire.pack_codes(codes.slice(start, min(start + self.block_rows, size)))
            await self._slow()
            yield trainer_pb2.ReadCodesResponse(
                codes=block, revision=data.run_revision, run_uid=data.run_uid, history=data.history
            )

    async def Encode(self, request: Any, context: Any) -> Any:
        await self._enter("trainer", "Encode", request, context)
        rows, vectors = wire.unpack_vectors(request.vectors)
        return trainer_pb2.EncodeResponse(codes=wire.pack_codes(encode(vectors, rows)))

    async def ReadLabels(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._enter("interpreter", "ReadLabels", request, context)
        data = await self._find(request.run, context, MissingRun)
        await self._check_history(request, data.label_history, context)
        response = interpreter_pb2.ReadLabelsResponse(
            revision=data.label_revision, run_uid=data.run_uid, history=data.label_history
        )
        for index, (text, revision) in data.labels.items():
            if revision > request.since_revision:
                if not text:
                    response.unlabelled_indices.append(index)
                    continue
                label = interpreter_resources.Label(
                    text=text,
                    description=f"About {text}.",
                    keywords=text.split(),
                    score=0.9,
                    score_low=0.8,
                    score_high=0.95,
                )
                name = f"{data.run}/features/{index}"
                response.features.append(
                    interpreter_resources.Feature(
                        name=name,
                        index=index,
                        label=label,
                        density=0.5,
                        precise_density=0.25,
                        max_activation=3,
                        trust=data.trust.get(index, interpreter_resources.TRUST_TRUSTED),
                        threshold=data.thresholds.get(index),
                    )
                )
        yield response

    async def _slow(self) -> None:
        self.blocks_sent += 1
        if self.pause:
            await asyncio.sleep(self.pause)
