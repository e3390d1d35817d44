"""What the interpreter reads from the embedder and the trainer, as values of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import RowRange
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1 import resources_pb2 as embedder_resources_pb2
from prisma.embedder.v1.resources_pb2 import MetadataField
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.resources_pb2 import Run as RunMessage
from prisma_common import wire
from prisma_common.names import is_given
from prisma_common.structs import plain_struct, plain_value
from services.chassis.channels import ask, errors_of, open_channel, pages
from services.chassis.errors import PrismaError
from services.chassis.job_time import Stream
from services.chassis.metadata_terms import Type, values_of
from services.chassis.query_models import NoQueryModel, text_model
from services.interpreter.decoder import Decoder
from services.interpreter.document_sets import Dataset
from services.interpreter.documents import Document, Passage
from services.interpreter.errors import DatasetNotFound
from services.interpreter.metadata import Metadata
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Run
from services.interpreter.settings import InterpreterSettings

_BATCH = 500
"""Documents of one request."""
_FULL_BATCH = 32
"""Documents of one request that come with their texts, up to a MiB each, and their passages."""
_ROWS = 50_000
"""Rows of one stream of vectors or texts."""
_TEXTS = 256
"""Texts of one request for embeddings."""
_CODES = 4096
"""Vectors of one request for codes."""
_CANNOT_EMBED = ("EMBEDDING_MODEL_NOT_FOUND", "PROVIDER_REFUSED", "NO_QUERY_MODEL")
"""Reasons for which no text can be embedded by the model of a run."""
_LOOKUP_SECONDS = 3.0
_WORK_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A text or document as the run sees it."""

    indices: NDArray[np.uint32]
    """(k,) the active latents, rising."""
    values: NDArray[np.float32]
    """(k,) their activations."""
    vector: NDArray[np.float32]
    """(d,) the embedding."""
    unexplained: float
    """|x − x̂|² / |x − mean|²."""
    truncated: bool
    """Whether the embedding model read only the start of the text."""


@dataclass(frozen=True)
class Reconstruction:
    """How a run reconstructs vectors: baseline + Σ activation · direction."""

    baseline: NDArray[np.float64]
    """(d,) of a code without activations."""
    directions: NDArray[np.float64]
    """(m, d) what an activation of 1 adds."""


class Upstream:
    """The embedder and the trainer. All methods raise PrismaError; Unavailable where one of them is down."""

    def __init__(self, settings: InterpreterSettings) -> None:
        self._channels = [
            open_channel(address, settings) for address in (settings.embedder_address, settings.trainer_address)
        ]
        self._embedder: Any = embedder_service_pb2_grpc.EmbedderServiceStub(self._channels[0])
        self._trainer: Any = trainer_service_pb2_grpc.TrainerServiceStub(self._channels[1])

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels:
            await channel.close()

    async def run(self, name: str) -> Run:
        """A run, as the trainer has it now."""
        request = trainer_pb2.GetRunRequest(name=name)
        return _run(await ask("trainer", self._trainer.GetRun(request, timeout=_LOOKUP_SECONDS)))

    async def runs(self) -> list[Run]:
        """All runs, tombstones too."""
        request = trainer_pb2.ListRunsRequest(page_size=1000, show_deleted=True)
        async with errors_of("trainer"):
            return [_run(message) async for page in pages(self._trainer.ListRuns, request) for message in page.runs]

    async def history_continues(self, run: Run, *, history: str, revision: int) -> bool:
        """Whether codes read at (history, revision) are still those of the run: false after a restore."""
        request = trainer_pb2.ReadCodesRequest(run=run.name, since_revision=revision, history=history)
        try:
            async with errors_of("trainer"):
                async for _block in Stream(self._trainer.ReadCodes(request)):
                    break
        except PrismaError as error:
            if error.reason == "HISTORY_CHANGED":
                return False
            raise
        return True

    async def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        """The run's codes, block by block: all, or those of some ranges of rows."""
        row_ranges = [RowRange(start=start, end=end) for start, end in ranges]
        request = trainer_pb2.ReadCodesRequest(run=run.name, row_ranges=row_ranges)
        async with errors_of("trainer"):
            async for block in Stream(self._trainer.ReadCodes(request)):
                if block.HasField("codes") and block.run_uid == run.uid:
                    yield wire.unpack_codes(block.codes)

    async def held_out_rows(self, run: Run) -> NDArray[np.uint64]:
        """The rows of the run that its training has not seen, rising."""
        request = trainer_pb2.ReadCodesRequest(run=run.name, held_out=True)
        rows = [np.empty(0, np.uint64)]
        async with errors_of("trainer"):
            async for block in Stream(self._trainer.ReadCodes(request)):
                if block.HasField("codes") and block.run_uid == run.uid:
                    rows.append(wire.unpack_codes(block.codes).rows)
        return np.sort(np.concatenate(rows))

    async def decoder(self, run: Run, indices: Sequence[int] = ()) -> Decoder:
        """The directions of the run's latents; or of some of them, in the order of `indices`."""
        latent_ranges = [RowRange(start=index, end=index + 1) for index in indices]
        request = trainer_pb2.ReadDecoderRequest(run=run.name, latent_ranges=latent_ranges)
        parts: list[Decoder] = []
        async with errors_of("trainer"):
            async for block in Stream(self._trainer.ReadDecoder(request)):
                directions, scales = wire.unpack_vectors(block.directions)[1], np.array(block.scales, np.float32)
                stability = np.array(block.stabilities, np.float32) if block.stabilities else None
                parts.append(Decoder.of(directions, scales=scales, stability=stability))
        decoder = Decoder(
            directions=np.concatenate([part.directions for part in parts]),
            detectors=np.concatenate([part.detectors for part in parts]),
            stability=np.concatenate([part.stability for part in parts]),
        )
        return decoder.take(np.searchsorted(np.sort(indices), indices)) if indices else decoder

    async def weights_digest(self, run: Run) -> str | None:
        """What identifies the run's weights: runs with the same one have the same latents; None of an older trainer."""
        request = trainer_pb2.ReadDecoderRequest(run=run.name, latent_ranges=[RowRange(start=0, end=1)])
        async with errors_of("trainer"):
            async for block in Stream(self._trainer.ReadDecoder(request)):
                return block.weights_digest or None
        return None

    async def matches(self, first: Run, second: Run, min_cosine: float) -> list[tuple[int, int]]:
        """Latents of two runs that are the same by decoder cosine, one to one: (first's, second's)."""
        request = trainer_pb2.CompareRunsRequest(first=first.name, second=second.name, min_cosine=min_cosine)
        answer = await ask("trainer", self._trainer.CompareRuns(request, timeout=_WORK_SECONDS))
        return [(match.first, match.second) for match in answer.matches]

    async def documents(self, dataset: str, rows: Sequence[int]) -> dict[int, Document]:
        """Documents by row, without those that were deleted."""
        documents: dict[int, Document] = {}
        for start in range(0, len(rows), _BATCH):
            request = embedder_pb2.BatchGetDocumentsRequest(parent=dataset, rows=rows[start : start + _BATCH])
            answer = await ask("embedder", self._embedder.BatchGetDocuments(request, timeout=_WORK_SECONDS))
            documents.update((message.row, _document(message)) for message in answer.documents)
        return documents

    async def rows(self, dataset: str, names: Sequence[str]) -> list[NDArray[np.uint64]]:
        """The rows of each of these documents of a dataset that exists: of one with passages, theirs."""
        rows: list[NDArray[np.uint64]] = []
        for start in range(0, len(names), _FULL_BATCH):
            request = embedder_pb2.BatchGetDocumentsRequest(
                parent=dataset,
                names=names[start : start + _FULL_BATCH],
                view=embedder_resources_pb2.DOCUMENT_VIEW_FULL,  # which lists passages
            )
            answer = await ask("embedder", self._embedder.BatchGetDocuments(request, timeout=_WORK_SECONDS))
            for message in answer.documents:
                of_document = [passage.row for passage in message.passages] or [message.row]
                rows.append(np.array(of_document, np.uint64))
        return rows

    async def metadata(self, dataset: str, dataset_uid: str, keys: Sequence[str]) -> Metadata:
        """Some keys of the metadata of all documents of a dataset."""
        request = embedder_pb2.ReadDocumentsRequest(dataset=dataset, read_mask=FieldMask(paths=["metadata"]))
        rows: list[int] = []
        columns: dict[str, list[Any]] = {key: [] for key in keys}
        async with errors_of("embedder"):
            async for block in Stream(self._embedder.ReadDocuments(request)):
                if block.dataset_uid != dataset_uid:
                    continue
                wholes = {whole.name: whole.metadata for whole in block.whole_documents}
                for document in block.documents:
                    rows.append(document.row)
                    of_document = wholes.get(document.passage.document, document.metadata)
                    for key, column in columns.items():
                        column.append(metadata_value(of_document, key))
        return Metadata(np.array(rows, np.uint64), columns)

    async def document_blocks(
        self, run: Run, fields: Sequence[str], ranges: Sequence[tuple[int, int]] = ()
    ) -> AsyncIterator[Sequence[Document]]:
        """Documents of the run's dataset, block by block, in the order of their rows; those of some ranges of rows.

        fields: what to read of them: key, text, metadata; passages have all metadata of their documents. Raises
        DatasetNotFound.
        """
        request = embedder_pb2.ReadDocumentsRequest(
            dataset=run.dataset,
            row_ranges=[RowRange(start=start, end=end) for start, end in ranges],
            read_mask=FieldMask(paths=fields),
        )
        async with errors_of("embedder"):
            async for block in Stream(self._embedder.ReadDocuments(request)):
                if block.dataset_uid != run.dataset_uid:
                    raise DatasetNotFound(
                        f"{run.dataset}, whose documents {run.name} was trained on, was deleted",
                        metadata={"dataset": run.dataset},
                    )
                wholes = {whole.name: plain_struct(whole.metadata) for whole in block.whole_documents}
                yield [_with_metadata_of(wholes, _document(message)) for message in block.documents]

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        """Texts by row, without those of deleted documents."""
        texts: dict[int, str] = {}
        distinct = np.unique(np.array(rows, np.uint64))
        for start in range(0, len(distinct), _ROWS):
            ranges = wire.ranges_of(distinct[start : start + _ROWS])
            request = embedder_pb2.ReadDocumentsRequest(
                dataset=dataset, row_ranges=ranges, read_mask=FieldMask(paths=["text"])
            )
            async with errors_of("embedder"):
                async for block in Stream(self._embedder.ReadDocuments(request)):
                    texts.update((document.row, document.text) for document in block.documents)
        return texts

    async def vectors(self, run: Run, rows: NDArray[np.uint64]) -> Vectors:
        """The vectors of those of some rising rows that have one, scaled to length 1."""
        return Vectors.of_length_1(*await self.raw_vectors(run, rows))

    async def raw_vectors(self, run: Run, rows: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Those of some rising rows that have a vector (m,), and their vectors (m, d)."""
        blocks: list[tuple[NDArray[np.uint64], NDArray[np.float32]]] = []
        for start in range(0, len(rows), _ROWS):
            ranges = wire.ranges_of(rows[start : start + _ROWS])
            request = embedder_pb2.ReadVectorsRequest(dataset=run.dataset, row_ranges=ranges)
            async with errors_of("embedder"):
                async for block in Stream(self._embedder.ReadVectors(request)):
                    if block.HasField("vectors") and block.dataset_uid == run.dataset_uid:
                        blocks.append(wire.unpack_vectors(block.vectors))
        if not blocks:
            return np.empty(0, np.uint64), np.empty((0, 1), np.float32)
        row_parts, matrices = zip(*blocks, strict=True)
        return np.concatenate(row_parts), np.concatenate(matrices)

    async def document(self, name: str) -> Document:
        """A document with its vector, if it has one."""
        view = embedder_resources_pb2.DOCUMENT_VIEW_FULL
        request = embedder_pb2.GetDocumentRequest(name=name, view=view)
        return _document(await ask("embedder", self._embedder.GetDocument(request, timeout=_LOOKUP_SECONDS)))

    async def dataset_uid(self, name: str) -> str:
        """The uid of a dataset."""
        return (await self.dataset(name)).uid

    async def dataset(self, name: str) -> Dataset:
        """A dataset."""
        request = embedder_pb2.GetDatasetRequest(name=name)
        message = await ask("embedder", self._embedder.GetDataset(request, timeout=_LOOKUP_SECONDS))
        types = {
            field.key: Type(MetadataField.Type.Name(field.type).removeprefix("TYPE_"))
            for field in message.metadata_fields
            if field.document_count
        }
        return Dataset(
            name=message.name,
            uid=message.uid,
            embedding_model=message.embedding_model,
            types=types,
            has_passages=message.HasField("passages"),
        )

    async def codes_of_dataset(self, run: Run, dataset: Dataset) -> AsyncIterator[wire.Codes]:
        """The codes of a different dataset's vectors, block by block."""
        request = embedder_pb2.ReadVectorsRequest(dataset=dataset.name)
        async with errors_of("embedder"):
            async for block in Stream(self._embedder.ReadVectors(request)):
                if block.HasField("vectors") and block.dataset_uid == dataset.uid:
                    rows, vectors = wire.unpack_vectors(block.vectors)
                    if len(rows):
                        yield replace(await self.codes_of(run, vectors), rows=rows)

    async def embed(self, run: Run, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """As `embed_texts`; None if the run's model cannot embed texts."""
        try:
            return await self.embed_texts(run, texts)
        except PrismaError as error:
            if error.reason in _CANNOT_EMBED:
                return None
            raise

    async def embed_texts(self, run: Run, texts: Sequence[str]) -> NDArray[np.float32]:
        """(m, d) the embeddings of texts; 0 for a text that has none."""
        parts = [await self._embed(run, texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
        dimension = max((part.shape[1] for part in parts), default=1)
        whole = [part if part.shape[1] else np.zeros((len(part), dimension), np.float32) for part in parts]
        return np.concatenate([np.empty((0, dimension), np.float32), *whole])

    async def codes_of_texts(self, run: Run, texts: Sequence[str]) -> wire.Codes:
        """The codes of texts, under row numbers from 0; without activations for a text that has no embedding."""
        vectors = await self.embed_texts(run, texts)
        present = np.flatnonzero(vectors.any(axis=1))
        codes = await self.codes_of(run, vectors[present])
        counts = np.zeros(len(texts) + 1, np.uint32)
        counts[present + 1] = np.diff(codes.indptr)
        return replace(codes, rows=np.arange(len(texts), dtype=np.uint64), indptr=np.cumsum(counts, dtype=np.uint32))

    async def _embed(self, run: Run, texts: Sequence[str]) -> NDArray[np.float32]:
        """(m, d) embeddings; of a text that has none 0, without columns where none of them has one."""
        request = embedder_pb2.EmbedTextsRequest(
            embedding_model=await self._text_model(run),
            texts=texts,
            purpose=embedder_pb2.EmbedTextsRequest.PURPOSE_DOCUMENT,
        )
        try:
            answer = await ask("embedder", self._embedder.EmbedTexts(request, timeout=_WORK_SECONDS))
            return wire.unpack_vectors(answer.vectors)[1]
        except PrismaError as error:
            if error.reason != "INVALID_ARGUMENT":
                raise
        if len(texts) == 1:
            return np.zeros((1, 0), np.float32)
        middle = len(texts) // 2  # one of the texts has no vector: it is looked for
        halves = [await self._embed(run, part) for part in (texts[:middle], texts[middle:])]
        dimension = max(half.shape[1] for half in halves)
        return np.concatenate([np.pad(half, ((0, 0), (0, dimension - half.shape[1]))) for half in halves])

    async def _text_model(self, run: Run) -> str:
        """The model that embeds texts for a run; where vectors are given, what its dataset names now.

        Raises NoQueryModel.
        """
        if not is_given(run.embedding_model):
            return run.embedding_model
        request = embedder_pb2.GetDatasetRequest(name=run.dataset)
        dataset = await ask("embedder", self._embedder.GetDataset(request, timeout=_LOOKUP_SECONDS))
        model = text_model(dataset.embedding_model, dataset.query_model) if dataset.uid == run.dataset_uid else None
        if model is None:
            raise NoQueryModel(run.dataset)
        return model

    async def codes_of(self, run: Run, vectors: NDArray[np.float32]) -> wire.Codes:
        """The codes of (m, d) vectors."""
        parts: list[wire.Codes] = []
        for start in range(0, len(vectors), _CODES):
            block = wire.pack_vectors(vectors[start : start + _CODES])
            request = trainer_pb2.EncodeRequest(run=run.name, vectors=block)
            answer = await ask("trainer", self._trainer.Encode(request, timeout=_WORK_SECONDS))
            parts.append(wire.unpack_codes(answer.codes))
        return wire.concatenate(parts, run.latent_count)

    async def reconstruction(self, run: Run, indices: NDArray[np.int64]) -> Reconstruction:
        """What latents add to the vectors that the run reconstructs."""
        parts: list[NDArray[np.float32]] = []
        for block in np.array_split(indices, max(1, -(-len(indices) // _CODES))):
            codes = wire.Codes(
                rows=np.arange(len(block) + 1, dtype=np.uint64),
                indptr=np.concatenate([[0], np.arange(len(block) + 1)]).astype(np.uint32),
                indices=block.astype(np.uint32),
                values=np.ones(len(block), np.float32),
                latent_count=run.latent_count,
            )
            request = trainer_pb2.DecodeRequest(run=run.name, codes=wire.pack_codes(codes))
            answer = await ask("trainer", self._trainer.Decode(request, timeout=_WORK_SECONDS))
            parts.append(wire.unpack_vectors(answer.vectors)[1])
        baseline = parts[0][0].astype(np.float64)
        return Reconstruction(baseline, np.concatenate([part[1:] for part in parts]) - baseline)

    async def unexplained(self, run: Run, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """(m,) the shares of (m, d) vectors that their codes leave unexplained."""
        parts: list[Sequence[float]] = []
        for start in range(0, len(vectors), _CODES):
            block = wire.pack_vectors(vectors[start : start + _CODES])
            request = trainer_pb2.EncodeRequest(run=run.name, vectors=block)
            answer = await ask("trainer", self._trainer.Encode(request, timeout=_WORK_SECONDS))
            parts.append(answer.unexplained_fractions)
        return np.array([share for part in parts for share in part], np.float64)

    async def encode_text(self, run: Run, text: str) -> Encoded:
        """A text as the run sees it."""
        request = embedder_pb2.EmbedTextsRequest(
            embedding_model=await self._text_model(run),
            texts=[text],
            purpose=embedder_pb2.EmbedTextsRequest.PURPOSE_DOCUMENT,
        )
        answer = await ask("embedder", self._embedder.EmbedTexts(request, timeout=_WORK_SECONDS))
        return await self.encode(run, wire.unpack_vectors(answer.vectors)[1][0], truncated=answer.truncated[0])

    async def encode(self, run: Run, vector: NDArray[np.float32], *, truncated: bool) -> Encoded:
        """A (d,) vector as the run sees it: bit for bit what the trainer's one encode function gives."""
        request = trainer_pb2.EncodeRequest(run=run.name, vectors=wire.pack_vectors(vector[None, :]))
        answer = await ask("trainer", self._trainer.Encode(request, timeout=_WORK_SECONDS))
        indices, values = wire.unpack_codes(answer.codes).row(0)
        return Encoded(
            indices=indices,
            values=values,
            vector=vector,
            unexplained=answer.unexplained_fractions[0],
            truncated=truncated,
        )


def _run(message: RunMessage) -> Run:
    return Run(
        uid=message.uid,
        name=message.name,
        dataset=message.dataset,
        dataset_uid=message.dataset_uid,
        embedding_model=message.embedding_model,
        latent_count=message.latent_count,
        revision=message.revision,
        history=message.history or None,
        trained=message.state == RunMessage.STATE_TRAINED,
        ranges=[(rows.start, rows.end) for rows in message.row_ranges],
        deleted=message.HasField("delete_time"),
        job=message.job or None,
    )


def _document(message: embedder_resources_pb2.Document) -> Document:
    return Document(
        name=message.name,
        key=message.key,
        row=message.row,
        text=message.text,
        metadata=plain_struct(message.metadata),
        vector=wire.unpack_vectors(message.vector)[1][0] if message.HasField("vector") else None,
        embedding_truncated=message.embedding_truncated,
        passage=_passage(message.passage) if message.HasField("passage") else None,
        passage_rows=[passage.row for passage in message.passages],
    )


def _with_metadata_of(wholes: Mapping[str, Mapping[str, Any]], document: Document) -> Document:
    """A passage with all metadata of its document, if that is among `wholes`; else the document as it is."""
    if document.passage is None or document.passage.document not in wholes:
        return document
    return replace(document, metadata=wholes[document.passage.document])


def _passage(message: embedder_resources_pb2.Passage) -> Passage:
    return Passage(
        name=message.name,
        row=message.row,
        document=message.document,
        index=message.index,
        count=message.count,
        start=message.start,
        end=message.end,
    )


def metadata_value(metadata: Struct, key: str) -> Any:
    """The value of a key as plain JSON; None where there is none."""
    if key in metadata.fields:
        return plain_value(metadata.fields[key])
    return _nested_value(metadata, key)


def _nested_value(metadata: Struct, key: str) -> Any:
    """The value of a key within another, joined by `.`; several as a list, None for none."""
    values = [
        value
        for name in metadata.fields
        if key.startswith(f"{name}.")
        for nested_key, value in values_of({name: plain_value(metadata.fields[name])})
        if nested_key == key
    ]
    return values if len(values) > 1 else next(iter(values), None)
