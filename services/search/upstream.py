"""What search reads from the other services: their messages as values of ours, their errors as ours."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

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
from services.chassis.channels import ask, errors_of, open_channel, pages
from services.chassis.metadata_terms import Type, index_terms_of
from services.search import tokens
from services.search.backend import Fingerprints, Kind, LatentQuery, Position, Rows, TextItem, Vectors
from services.search.owners import Dataset, Run
from services.search.settings import SearchSettings

LOOKUP_SECONDS = 3.0
ENCODE_SECONDS = 20.0
_PAGE_SIZE = 1000

_Message: TypeAlias = (
    embedder_pb2.ReadDocumentsResponse
    | embedder_pb2.ReadVectorsResponse
    | trainer_pb2.ReadCodesResponse
    | interpreter_pb2.ReadLabelsResponse
)


@dataclass(frozen=True)
class TextBlock:
    """Texts of a stream, converted one by one, since most of them may be indexed already."""

    rows: Rows
    fingerprints: Fingerprints
    item: Callable[[int], TextItem]
    """The text at a place."""


@dataclass(frozen=True)
class Block:
    """One block of a stream: what changed, and the rows (or features) that were deleted."""

    uid: str
    position: Position
    """Reached once the stream has ended."""
    deleted: Rows
    content: TextBlock | tuple[Rows, Vectors] | Codes | None

    @property
    def count(self) -> int:
        """Items that it changes or deletes."""
        content = self.content
        if content is None:
            return len(self.deleted)
        if isinstance(content, TextBlock):
            return len(self.deleted) + len(content.rows)
        return len(self.deleted) + len(content[0] if isinstance(content, tuple) else content)


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
        """All datasets, tombstones included."""
        request = embedder_pb2.ListDatasetsRequest(page_size=_PAGE_SIZE, show_deleted=True)
        async with errors_of("embedder"):
            responses = [response async for response in pages(self._embedder.ListDatasets, request)]
        return [_dataset(dataset) for response in responses for dataset in response.datasets]

    async def runs(self) -> list[Run]:
        """All runs, tombstones included."""
        request = trainer_pb2.ListRunsRequest(page_size=_PAGE_SIZE, show_deleted=True)
        async with errors_of("trainer"):
            responses = [response async for response in pages(self._trainer.ListRuns, request)]
        return [_run(run) for response in responses for run in response.runs]

    async def dataset(self, name: str) -> Dataset:
        """One dataset, as its owner has it now."""
        request = embedder_pb2.GetDatasetRequest(name=name)
        return _dataset(await ask("embedder", self._embedder.GetDataset(request, timeout=LOOKUP_SECONDS)))

    async def run(self, name: str) -> Run:
        """One run, as its owner has it now."""
        request = trainer_pb2.GetRunRequest(name=name)
        return _run(await ask("trainer", self._trainer.GetRun(request, timeout=LOOKUP_SECONDS)))

    async def document_row(self, name: str) -> int:
        """A document's row: of one with passages, the first passage's."""
        request = embedder_pb2.GetDocumentRequest(name=name, view=embedder_resources.DOCUMENT_VIEW_FULL)
        document = await ask("embedder", self._embedder.GetDocument(request, timeout=LOOKUP_SECONDS))
        return document.passages[0].row if document.passages else document.row

    async def embed(self, model: str, text: str) -> Vectors:
        """(d,) the vector of a query."""
        request = embedder_pb2.EmbedTextsRequest(
            embedding_model=model, texts=[text], purpose=embedder_pb2.EmbedTextsRequest.PURPOSE_QUERY
        )
        response = await ask("embedder", self._embedder.EmbedTexts(request, timeout=ENCODE_SECONDS))
        return wire.unpack_vectors(response.vectors)[1][0]

    async def encode(self, run: str, vector: Vectors) -> LatentQuery:
        """The code of a vector: the bits of the trainer's one encode."""
        request = trainer_pb2.EncodeRequest(run=run, vectors=wire.pack_vectors(vector[None, :]))
        response = await ask("trainer", self._trainer.Encode(request, timeout=ENCODE_SECONDS))
        indices, values = wire.unpack_codes(response.codes).row(0)
        return LatentQuery(indices, values.astype(np.float64))

    async def read(self, kind: Kind, resource: str, since: Position | None) -> AsyncIterator[Block]:
        """The blocks of a stream that changed since a position; all, from the beginning, for None.

        Raises an error with the reason HISTORY_CHANGED when the owner cannot tell changes since that position.
        """
        call, owner = self._open_stream(kind, resource, since or Position("", 0))
        async with errors_of(owner):
            async for message in call:
                yield _block(message)

    async def label_position(self, run: str, since: Position | None) -> Position | None:
        """The position of a run's labels, read from the first block of their stream."""
        call, owner = self._open_stream(Kind.LABELS, run, since or Position("", 0), seconds=LOOKUP_SECONDS)
        async with errors_of(owner):
            async for message in call:
                call.cancel()
                return Position(message.history, message.revision)
        return since

    def _open_stream(
        self, kind: Kind, resource: str, since: Position, *, seconds: float | None = None
    ) -> tuple[Any, str]:
        """The call that reads a stream, and the service that answers it."""
        revision, history = since.revision, since.history
        if kind is Kind.DOCUMENTS:
            mask = FieldMask(paths=["key", "text", "metadata"])
            request = embedder_pb2.ReadDocumentsRequest(
                dataset=resource, since_revision=revision, history=history, read_mask=mask
            )
            return self._embedder.ReadDocuments(request, timeout=seconds), "embedder"
        if kind is Kind.VECTORS:
            request = embedder_pb2.ReadVectorsRequest(dataset=resource, since_revision=revision, history=history)
            return self._embedder.ReadVectors(request, timeout=seconds), "embedder"
        if kind is Kind.CODES:
            request = trainer_pb2.ReadCodesRequest(run=resource, since_revision=revision, history=history)
            return self._trainer.ReadCodes(request, timeout=seconds), "trainer"
        request = interpreter_pb2.ReadLabelsRequest(run=resource, since_revision=revision, history=history)
        return self._interpreter.ReadLabels(request, timeout=seconds), "interpreter"


def _dataset(message: embedder_resources.Dataset) -> Dataset:
    return Dataset(
        name=message.name,
        uid=message.uid,
        embedding_model=message.embedding_model,
        position=Position(message.history, message.revision),
        document_count=message.document_count,
        query_model=message.query_model,
        dimension=message.dimension,
        is_deleted=message.HasField("delete_time"),
        has_passages=message.HasField("passages"),
        types={
            field.key: Type(embedder_resources.MetadataField.Type.Name(field.type).removeprefix("TYPE_"))
            for field in message.metadata_fields
            if field.document_count
        },
    )


def _run(message: trainer_resources.Run) -> Run:
    return Run(
        name=message.name,
        uid=message.uid,
        dataset=message.dataset,
        dataset_uid=message.dataset_uid,
        position=Position(message.history, message.revision),
        is_trained=message.state == trainer_resources.Run.STATE_TRAINED,
        is_deleted=message.HasField("delete_time"),
    )


def _block(message: _Message) -> Block:
    position = Position(message.history, message.revision)
    if isinstance(message, embedder_pb2.ReadDocumentsResponse):
        return Block(message.dataset_uid, position, _rows(message.deleted_rows), _documents(message))
    if isinstance(message, embedder_pb2.ReadVectorsResponse):
        vectors = wire.unpack_vectors(message.vectors) if message.vectors.data else None
        return Block(message.dataset_uid, position, _rows(message.deleted_rows), vectors)
    if isinstance(message, trainer_pb2.ReadCodesResponse):
        codes = wire.unpack_codes(message.codes) if message.codes.indptr else None
        return Block(message.run_uid, position, _rows(message.deleted_rows), codes)
    return Block(message.run_uid, position, _rows(message.unlabelled_indices), _features(message.features))


def _documents(block: embedder_pb2.ReadDocumentsResponse) -> TextBlock:
    messages, wholes = block.documents, {whole.name: _Whole(whole) for whole in block.whole_documents}
    fingerprints = [
        _fingerprint(*_document_parts(message, wholes.get(message.passage.document))) for message in messages
    ]
    return TextBlock(
        rows=_rows([message.row for message in messages]),
        fingerprints=np.array(fingerprints, dtype=np.uint64),
        item=lambda place: document_item(
            messages[place], fingerprints[place], wholes.get(messages[place].passage.document)
        ),
    )


class _Whole:
    """All metadata of a document whose passages have a part of it, converted once for all of them."""

    def __init__(self, message: embedder_resources.Document) -> None:
        self._metadata = message.metadata

    @cached_property
    def digest(self) -> bytes:
        """Identifies the metadata."""
        return hashlib.blake2b(self._metadata.SerializeToString(deterministic=True), digest_size=16).digest()

    @cached_property
    def terms(self) -> list[str]:
        """What filters compare."""
        return index_terms_of(json_format.MessageToDict(self._metadata))


def _document_parts(message: embedder_resources.Document, whole: _Whole | None) -> list[str | bytes]:
    """What makes a document another one."""
    parts = [message.name, message.key, message.text, message.metadata.SerializeToString(deterministic=True)]
    if message.HasField("passage"):
        parts.append(message.passage.SerializeToString(deterministic=True))
    return parts if whole is None else [*parts, whole.digest]


def document_item(message: embedder_resources.Document, fingerprint: int, whole: _Whole | None = None) -> TextItem:
    """A document, to be found by its words and filtered by its metadata.

    whole: of a passage that has a part of its document's metadata only, all of it.
    """
    metadata: dict[str, Any] = json_format.MessageToDict(message.metadata)
    text = tokens.normalize(message.text)
    payload = {"name": message.name, "key": message.key, "text": text, "metadata": metadata}
    if message.HasField("passage"):
        payload["passage"] = _passage(message.passage)
    return TextItem(
        row=message.row,
        text=text,
        payload=payload,
        fingerprint=fingerprint,
        name=message.name,
        terms=index_terms_of(metadata) if whole is None else whole.terms,
    )


def _passage(message: embedder_resources.Passage) -> dict[str, Any]:
    """Where a passage stands."""
    fields = ("document", "index", "count", "start", "end")
    return {field: getattr(message, field) for field in fields}


def _features(messages: Sequence[interpreter_resources.Feature]) -> TextBlock:
    fingerprints = [_fingerprint(message.SerializeToString(deterministic=True)) for message in messages]
    return TextBlock(
        rows=_rows([message.index for message in messages]),
        fingerprints=np.array(fingerprints, dtype=np.uint64),
        item=lambda place: feature_item(messages[place], fingerprints[place]),
    )


def feature_item(message: interpreter_resources.Feature, fingerprint: int) -> TextItem:
    """A feature, to be found by label, keywords, description, and its index; one without a label by its index."""
    label = message.label
    texts = [label.text, *label.keywords, label.description] if label.text else []
    return TextItem(
        row=message.index,
        text=tokens.normalize("\n".join([*texts, str(message.index)])),
        payload=_feature_payload(message),
        fingerprint=fingerprint,
        terms=index_terms_of(_feature_fields(message)),
    )


def _feature_fields(message: interpreter_resources.Feature) -> dict[str, Any]:
    """What a feature is filtered by, as `feature_filters.FIELDS` names it; what it lacks is left out."""
    label = message.label
    fields: dict[str, Any] = {
        "density": message.density,
        "precise_density": message.precise_density,
        "max_activation": message.max_activation,
        "mean_activation": message.mean_activation,
        "variance": message.variance,
        "index": message.index,
        "score": label.score if label.HasField("score") else math.nan,
        "stability": message.stability if message.HasField("stability") else math.nan,
    }
    return {
        **{name: number for name, number in fields.items() if math.isfinite(number)},
        "labelled": bool(label.text),
        "dead": message.dead,
        "trust": interpreter_resources.Trust.Name(message.trust).removeprefix("TRUST_"),
        "family": [membership.family.rpartition("/")[2] for membership in message.families],
        **({"source": _source(label)} if message.HasField("label") else {}),
    }


def _source(label: interpreter_resources.Label) -> str:
    return interpreter_resources.Label.Source.Name(label.source).removeprefix("SOURCE_")


def _feature_payload(message: interpreter_resources.Feature) -> dict[str, Any]:
    """What is shown of a feature, and what is known of its label."""
    label = message.label
    return {
        "label": label.text,
        "description": label.description,
        "density": message.precise_density,
        "max_activation": message.max_activation,
        "threshold": message.threshold if message.HasField("threshold") else None,
        "trust": interpreter_resources.Trust.Name(message.trust),
        "score": label.score if label.HasField("score") else None,
        "score_low": label.score_low if label.HasField("score_low") else None,
        "score_high": label.score_high if label.HasField("score_high") else None,
    }


def _fingerprint(*parts: str | bytes) -> int:
    """64 bits of a digest."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part if isinstance(part, bytes) else part.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return int.from_bytes(digest.digest(), "little")


def _rows(rows: Sequence[int]) -> Rows:
    return np.array(rows, dtype=np.uint64)
