"""Messages ↔ values of the domain. What a request may hold is checked here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import resources_pb2 as embedder_resources
from prisma.interpreter.v1 import interpreter_service_pb2 as interpreter_pb2
from prisma.interpreter.v1 import resources_pb2 as interpreter_resources
from prisma.search.v1 import search_service_pb2 as pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma_common import wire
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.filters import InvalidFilter, parse_filter
from services.chassis.paging import InvalidPageToken, Page
from services.search import analysis
from services.search.catalog import Dataset, Run
from services.search.fusion import Fusion
from services.search.index import LatentQuery, TextItem
from services.search.indexing import Streamed
from services.search.retrieval import REACHABLE, Condition, FeatureFound, Hit, LatentCondition, Mode
from services.search.searching import ALL, Asked, StreamStatus

MAXIMUM_QUERY = 100_000
MAXIMUM_LATENTS = 256
_MODES = {
    pb2.SearchDocumentsRequest.MODE_UNSPECIFIED: Mode.HYBRID,
    pb2.SearchDocumentsRequest.MODE_FULL_TEXT: Mode.FULL_TEXT,
    pb2.SearchDocumentsRequest.MODE_SEMANTIC: Mode.SEMANTIC,
    pb2.SearchDocumentsRequest.MODE_SPARSE: Mode.SPARSE,
    pb2.SearchDocumentsRequest.MODE_HYBRID: Mode.HYBRID,
}
_FUSIONS = {
    pb2.SearchDocumentsRequest.FUSION_UNSPECIFIED: Fusion.MIN_MAX,
    pb2.SearchDocumentsRequest.FUSION_MIN_MAX: Fusion.MIN_MAX,
    pb2.SearchDocumentsRequest.FUSION_RECIPROCAL_RANK: Fusion.RECIPROCAL_RANK,
}
Message: TypeAlias = (
    embedder_pb2.ReadDocumentsResponse
    | embedder_pb2.ReadVectorsResponse
    | trainer_pb2.ReadCodesResponse
    | interpreter_pb2.ReadLabelsResponse
)


def dataset(message: embedder_resources.Dataset) -> Dataset:
    """A dataset, as the embedder tells it."""
    deleted = message.HasField("delete_time")
    return Dataset(message.name, message.uid, message.embedding_model, message.revision, deleted)


def run(message: trainer_resources.Run) -> Run:
    """A run, as the trainer tells it."""
    trained = message.state == trainer_resources.Run.STATE_TRAINED
    deleted = message.HasField("delete_time")
    return Run(message.name, message.uid, message.dataset, message.dataset_uid, message.revision, trained, deleted)


def streamed(message: Message) -> Streamed:
    """A block of a stream, ready to be written: texts are analysed here."""
    if isinstance(message, embedder_pb2.ReadDocumentsResponse):
        items = [document_item(each) for each in message.documents]
        return Streamed(message.dataset_uid, message.revision, _rows(message.deleted_rows), texts=items)
    if isinstance(message, embedder_pb2.ReadVectorsResponse):
        vectors = wire.unpack_vectors(message.vectors) if message.vectors.data else None
        return Streamed(message.dataset_uid, message.revision, _rows(message.deleted_rows), vectors=vectors)
    if isinstance(message, trainer_pb2.ReadCodesResponse):
        codes = wire.unpack_codes(message.codes) if message.codes.indptr else None
        return Streamed(message.run_uid, message.revision, _rows(message.deleted_rows), codes=codes)
    labels = [feature_item(each) for each in message.features]
    return Streamed(message.run_uid, message.revision, _rows(message.unlabelled_indices), texts=labels)


def document_item(message: embedder_resources.Document) -> TextItem:
    """A document, to be indexed by its words and its metadata."""
    metadata: dict[str, Any] = json_format.MessageToDict(message.metadata)
    text = analysis.normalize(message.text)
    payload = {"name": message.name, "key": message.key, "text": text, "metadata": metadata}
    return TextItem(message.row, analysis.tokens(text), payload, analysis.facets(metadata))


def feature_item(message: interpreter_resources.Feature) -> TextItem:
    """A feature, to be found by label, keywords, description, and its index."""
    label = message.label
    words = analysis.normalize("\n".join([label.text, *label.keywords, label.description, str(message.index)]))
    payload = {
        "label": label.text,
        "description": label.description,
        "density": message.density,
        "max_activation": message.max_activation,
    }
    return TextItem(message.index, analysis.tokens(words), payload)


def document_search(request: pb2.SearchDocumentsRequest) -> tuple[Asked, Page]:
    """A search for documents, and its page. Raises InvalidArgument, InvalidFilter, InvalidPageToken."""
    if request.parent != ALL:
        names.parse("datasets/{dataset}", request.parent, "parent")
    name = run_name(request.run, "run") if request.run else None
    mode, fusion = _MODES.get(request.mode), _FUSIONS.get(request.fusion)
    if mode is None:
        raise InvalidArgument.field("mode", f"expected a mode that this server knows, got {request.mode}")
    if fusion is None:
        raise InvalidArgument.field("fusion", f"expected a fusion that this server knows, got {request.fusion}")
    text = _query(request.query, needed=not request.latents)
    condition = _condition(request.filter)
    if name is None and (mode is Mode.SPARSE or condition.latents or request.latents):
        raise InvalidArgument.field("run", "expected a run: latents mean nothing without one")
    if request.latents and mode is not Mode.SPARSE:
        raise InvalidArgument.field("latents", "expected none: only MODE_SPARSE searches by latents")
    if name is not None and request.parent == ALL:
        raise InvalidArgument.field("run", "expected none with `datasets/-`: a run belongs to one dataset")
    bound = (request.parent, request.query, int(mode.value), request.run, fusion.value, request.filter)
    weights = (_weight(request, "text_weight", 0.7), _weight(request, "dense_weight", 0.3))
    latents = [(each.index, each.weight) for each in request.latents]
    page = Page.of(request.page_size, request.page_token, bound_to=(*bound, *weights, latents), default=20, maximum=200)
    asked = Asked(
        request.parent,
        name,
        text,
        mode,
        fusion,
        *weights,
        latents=_latents(latents),
        condition=condition,
        offset=offset(page, REACHABLE),
        limit=page.size,
    )
    return asked, page


def feature_search(request: pb2.SearchFeaturesRequest) -> tuple[str, list[str], Page, int]:
    """Run, terms, page and offset of a search for features. Raises InvalidArgument, InvalidPageToken."""
    name = run_name(request.parent, "parent")
    terms = analysis.terms(_query(request.query, needed=True))
    page = Page.of(
        request.page_size, request.page_token, bound_to=(request.parent, request.query), default=50, maximum=1000
    )
    return name, terms, page, offset(page, 1 << 31)


def run_name(name: str, field: str) -> str:
    """`runs/{run}`, if it is that."""
    names.parse("runs/{run}", name, field)
    return name


def dataset_name(name: str, field: str) -> str:
    """`datasets/{dataset}`, if it is that."""
    names.parse("datasets/{dataset}", name, field)
    return name


def dataset_of(document: str) -> str:
    """The dataset's name in a document's."""
    return f"datasets/{names.parse('datasets/{dataset}/documents/{document}', document, 'document')[0]}"


def size(page_size: int, default: int, maximum: int) -> int:
    """How many are asked for, where there are no pages. Raises InvalidArgument."""
    return Page.of(page_size, "", bound_to=(), default=default, maximum=maximum).size


def offset(page: Page, reachable: int) -> int:
    """How many hits stand before the page. Raises InvalidPageToken."""
    if page.after is None:
        return 0
    if not isinstance(page.after, int) or not 0 < page.after < reachable:
        raise InvalidPageToken("page_token: it is damaged; start again without a token")
    return page.after


def query_features(code: LatentQuery, labels: dict[int, str]) -> list[pb2.QueryFeature]:
    """The latents of a query, the strongest first."""
    pairs = sorted(zip(code.indices.tolist(), code.weights.tolist(), strict=True), key=lambda p: (-abs(p[1]), p[0]))
    return [pb2.QueryFeature(index=i, label=labels.get(i, ""), activation=weight) for i, weight in pairs]


def hit(found: Hit) -> pb2.DocumentHit:
    """A document that was found."""
    metadata = Struct()
    metadata.update(found.payload["metadata"])
    return pb2.DocumentHit(
        document=found.payload["name"],
        key=found.payload["key"],
        row=found.row,
        rank=found.rank,
        score=found.score,
        parts=[
            pb2.DocumentHit.ScorePart(part=each.name, score=each.score, rank=each.rank, contribution=each.contribution)
            for each in found.parts
        ],
        snippet=found.snippet.text,
        highlights=[pb2.DocumentHit.Highlight(start=start, end=end) for start, end in found.snippet.highlights],
        shared_features=[
            pb2.DocumentHit.SharedFeature(
                index=each.index,
                label=each.label,
                query_activation=each.query_activation,
                document_activation=each.document_activation,
                contribution=each.contribution,
            )
            for each in found.shared
        ],
        metadata=metadata,
    )


def feature_hit(name: str, found: FeatureFound) -> pb2.FeatureHit:
    """A feature that was found."""
    return pb2.FeatureHit(
        feature=f"{name}/features/{found.index}", index=found.index, score=found.score, **found.payload
    )


def stream_status(status: StreamStatus) -> pb2.IndexStatus.Stream:
    """How far a stream is."""
    return pb2.IndexStatus.Stream(
        kind=status.kind.value,
        resource=status.resource,
        indexed_revision=status.indexed,
        owner_revision=status.owner,
        item_count=status.item_count,
        update_time=timestamp(status.update_time) if status.update_time else None,
        error=status.error,
    )


def timestamp(seconds: float) -> Timestamp:
    """A moment, from seconds since 1970."""
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp


def _query(text: str, *, needed: bool) -> str:
    if needed and not text.strip():
        raise InvalidArgument.field("query", "expected words to search for, got none")
    if len(text) > MAXIMUM_QUERY:
        raise InvalidArgument.field("query", f"expected at most {MAXIMUM_QUERY} characters, got {len(text)}")
    return text


def _weight(request: pb2.SearchDocumentsRequest, field: Any, default: float) -> float:
    weight = float(getattr(request, field)) if request.HasField(field) else default
    if not 0 <= weight <= 1:
        raise InvalidArgument.field(field, f"expected 0 to 1, got {weight}")
    return weight


def _latents(latents: Sequence[tuple[int, float]]) -> LatentQuery | None:
    if not latents:
        return None
    if len(latents) > MAXIMUM_LATENTS:
        raise InvalidArgument.field("latents", f"expected at most {MAXIMUM_LATENTS}, got {len(latents)}")
    if len({index for index, _ in latents}) < len(latents):
        raise InvalidArgument.field("latents", "expected each latent once")
    if not all(math.isfinite(weight) for _, weight in latents):
        raise InvalidArgument.field("latents", "expected finite weights")
    ordered = sorted(latents)
    return LatentQuery(
        np.array([index for index, _ in ordered], dtype=np.uint32), np.array([w for _, w in ordered], dtype=np.float64)
    )


def _condition(text: str) -> Condition:
    facets: list[str] = []
    latents: list[LatentCondition] = []
    for term in parse_filter(text, {"metadata.": "=", "latent.": "> >="}):
        kind, _, rest = term.field.partition(".")
        if kind == "metadata":
            facets.append(analysis.facet(rest, term.value))
        elif rest.isdecimal() and len(rest) < 10 and math.isfinite(term.number()):
            latents.append(LatentCondition(int(rest), term.number(), term.op == ">="))
        else:
            raise InvalidFilter(
                f"filter: expected latent.<index> and a number, got {term.field} {term.op} {term.value}"
            )
    return Condition(tuple(facets), tuple(latents))


def _rows(rows: Sequence[int]) -> Any:
    return np.array(rows, dtype=np.uint64)
