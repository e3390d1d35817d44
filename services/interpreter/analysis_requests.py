"""What requests for analyses may hold: each function returns checked values, or raises InvalidArgument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from prisma.interpreter.v1 import analyses_pb2 as pb2
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.feature_filters import FIELDS
from services.chassis.filters import parse_filter
from services.interpreter import document_sets
from services.interpreter.document_sets import DocumentSet
from services.interpreter.metadata import Kind
from services.interpreter.requests import analyzed_text, document_name, run_name
from services.interpreter.selection import TRUSTED_ONLY, Selection

MAX_ATTRIBUTED = 50
"""Features that the sentences of a text are compared by."""
MAX_CONTRIBUTIONS = 100
"""Features that contribute to a similarity."""
MAX_ROWS = 1000
"""Associations, differences or pairs in an answer."""
MAX_TEXTS = 200
"""Positive texts, or negative ones."""
MAX_DOCUMENTS = 10_000
"""Documents by name."""
MAX_TERMS = 32
"""Features of a classifier."""
MAX_Q = 0.05
_KINDS = {
    pb2.MetadataAssociations.KIND_UNSPECIFIED: None,
    pb2.MetadataAssociations.KIND_CATEGORY: Kind.CATEGORY,
    pb2.MetadataAssociations.KIND_NUMBER: Kind.NUMBER,
    pb2.MetadataAssociations.KIND_DATE: Kind.DATE,
}


@dataclass(frozen=True, kw_only=True)
class AttributionRequest:
    """Which features of which text are attributed to sentences."""

    run: str
    source: TextSource
    selection: Selection
    indices: Sequence[int]
    """If there are any, these features instead of the selected ones."""
    limit: int


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """A text, or a document by its name."""

    text: str = ""
    document: str | None = None


@dataclass(frozen=True, kw_only=True)
class SimilarityRequest:
    """Which two texts are compared, and by which features."""

    run: str
    first: TextSource
    second: TextSource
    selection: Selection
    limit: int


@dataclass(frozen=True, kw_only=True)
class AssociationRequest:
    """Which key of metadata is related to which features."""

    run: str
    key: str
    kind: Kind | None
    """None if the values decide."""
    selection: Selection
    max_q: float
    limit: int


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """Which documents are compared, and by which features."""

    run: str
    first: DocumentSet
    second: DocumentSet | None
    """None for all other documents of the first's dataset."""
    selection: Selection
    max_q: float
    limit: int


@dataclass(frozen=True, kw_only=True)
class CorrelationRequest:
    """Which pairs of features are looked for."""

    run: str
    selection: Selection
    max_rank: float
    """The largest share of pairs of labels that are less similar."""
    max_q: float
    limit: int


@dataclass(frozen=True, kw_only=True)
class SeparationRequest:
    """Which texts are told apart."""

    run: str
    positives: Sequence[TextSource]
    negatives: Sequence[TextSource]
    """If there are none, documents of the run at random."""
    selection: Selection
    limit: int


@dataclass(frozen=True, kw_only=True)
class ClassifierRequest:
    """Which documents are told apart, and by how many features."""

    run: str
    positive: DocumentSet
    negative: DocumentSet | None
    """None for all other documents of the positive set's dataset."""
    selection: Selection
    feature_count: int


def attribution(request: pb2.AttributeSentencesRequest) -> AttributionRequest:
    """Which features of which text are attributed to sentences. Raises InvalidFilter."""
    if len(request.indices) > MAX_ATTRIBUTED:
        raise InvalidArgument.field("indices", f"expected at most {MAX_ATTRIBUTED}, got {len(request.indices)}")
    return AttributionRequest(
        run=run_name(request.run),
        source=_attributed_source(request),
        selection=selection(request.features),
        indices=list(dict.fromkeys(request.indices)),
        limit=count_of(request.limit, "limit", default=10, maximum=MAX_ATTRIBUTED),
    )


def similarity(request: pb2.ExplainSimilarityRequest) -> SimilarityRequest:
    """Which two texts are compared. Raises InvalidFilter."""
    return SimilarityRequest(
        run=run_name(request.run),
        first=text_source(request.first, "first"),
        second=text_source(request.second, "second"),
        selection=selection(request.features),
        limit=count_of(request.limit, "limit", default=20, maximum=MAX_CONTRIBUTIONS),
    )


def metadata_associations(request: pb2.AssociateMetadataRequest) -> AssociationRequest:
    """Which key is related to which features. Raises InvalidFilter."""
    if not request.key:
        raise InvalidArgument.field("key", "expected a key of the documents' metadata")
    if request.kind not in _KINDS:
        kinds = ", ".join(pb2.MetadataAssociations.Kind.keys()[1:])
        raise InvalidArgument.field("kind", f"expected one of {kinds}, got {request.kind}")
    return AssociationRequest(
        run=run_name(request.run),
        key=request.key,
        kind=_KINDS[request.kind],
        selection=selection(request.features),
        max_q=share_of(request, "max_q", default=MAX_Q),
        limit=count_of(request.limit, "limit", default=100, maximum=MAX_ROWS),
    )


def dataset_comparison(request: pb2.CompareDatasetsRequest) -> ComparisonRequest:
    """Which documents are compared. Raises InvalidFilter."""
    return ComparisonRequest(
        run=run_name(request.run),
        first=document_set(request.first, "first"),
        second=document_set(request.second, "second") if request.HasField("second") else None,
        selection=selection(request.features),
        max_q=share_of(request, "max_q", default=MAX_Q),
        limit=count_of(request.limit, "limit", default=100, maximum=MAX_ROWS),
    )


def feature_correlations(request: pb2.CorrelateFeaturesRequest) -> CorrelationRequest:
    """Which pairs of features are looked for. Raises InvalidFilter."""
    rank = request.max_label_similarity_rank if request.HasField("max_label_similarity_rank") else 0.5
    if not 0 < rank <= 1:
        raise InvalidArgument.field("max_label_similarity_rank", f"expected above 0 and at most 1, got {rank:g}")
    return CorrelationRequest(
        run=run_name(request.run),
        selection=selection(request.features),
        max_rank=rank,
        max_q=share_of(request, "max_q", default=MAX_Q),
        limit=count_of(request.limit, "limit", default=100, maximum=MAX_ROWS),
    )


def separation(request: pb2.FindFeaturesRequest) -> SeparationRequest:
    """Which texts are told apart. Raises InvalidFilter."""
    for field in ("positives", "negatives"):
        if (count := len(getattr(request, field))) > MAX_TEXTS:
            raise InvalidArgument.field(field, f"expected at most {MAX_TEXTS}, got {count:,}")
    if not request.positives:
        raise InvalidArgument.field("positives", "expected at least one text or document")
    return SeparationRequest(
        run=run_name(request.run),
        positives=[text_source(source, f"positives[{place}]") for place, source in enumerate(request.positives)],
        negatives=[text_source(source, f"negatives[{place}]") for place, source in enumerate(request.negatives)],
        selection=selection(request.features),
        limit=count_of(request.limit, "limit", default=20, maximum=MAX_CONTRIBUTIONS),
    )


def classifier(request: pb2.FitClassifierRequest) -> ClassifierRequest:
    """Which documents are told apart. Raises InvalidFilter."""
    return ClassifierRequest(
        run=run_name(request.run),
        positive=document_set(request.positive, "positive"),
        negative=document_set(request.negative, "negative") if request.HasField("negative") else None,
        selection=selection(request.features),
        feature_count=count_of(request.feature_count, "feature_count", default=5, maximum=MAX_TERMS),
    )


def document_set(message: pb2.DocumentSet, field: str) -> DocumentSet:
    """Some documents. Raises InvalidFilter."""
    if message.dataset:
        names.parse("datasets/{dataset}", message.dataset, f"{field}.dataset")
    if len(message.documents) > MAX_DOCUMENTS:
        raise InvalidArgument.field(
            f"{field}.documents", f"expected at most {MAX_DOCUMENTS:,}, got {len(message.documents):,}"
        )
    for place, name in enumerate(message.documents):
        document_name(name, f"{field}.documents[{place}]")
    return DocumentSet(
        field=field,
        dataset=message.dataset or None,
        condition=parse_filter(message.filter, document_sets.FILTERS),
        names=list(dict.fromkeys(message.documents)),
    )


def _attributed_source(request: pb2.AttributeSentencesRequest) -> TextSource:
    if request.WhichOneof("source") == "document":
        return TextSource(document=document_name(request.document))
    return TextSource(text=analyzed_text(request.text))


def text_source(message: pb2.TextSource, field: str) -> TextSource:
    """A text or a document."""
    if message.WhichOneof("source") == "document":
        return TextSource(document=document_name(message.document, f"{field}.document"))
    return TextSource(text=analyzed_text(message.text, f"{field}.text"))


def selection(message: pb2.FeatureSelection) -> Selection:
    """Which features count. Raises InvalidFilter."""
    return Selection(
        condition=parse_filter(message.filter.strip() or TRUSTED_ONLY, FIELDS), include_tail=message.include_tail
    )


def share_of(request: Message, field: str, *, default: float) -> float:
    """A number above 0 and below 1."""
    if not request.HasField(field):
        return default
    value: float = getattr(request, field)
    if not 0 < value < 1:
        raise InvalidArgument.field(field, f"expected above 0 and below 1, got {value:g}")
    return value


def count_of(value: int, field: str, *, default: int, maximum: int) -> int:
    """A number of things, at most `maximum`; 0 stands for the default."""
    if value > maximum:
        raise InvalidArgument.field(field, f"expected at most {maximum:,}, got {value:,}")
    return value or default
