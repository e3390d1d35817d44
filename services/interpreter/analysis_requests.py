"""What requests for analyses may hold: each function returns checked values, or raises InvalidArgument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prisma.interpreter.v1 import analyses_pb2 as pb2
from services.chassis.errors import InvalidArgument
from services.chassis.filters import parse_filter
from services.interpreter.features import FILTERS
from services.interpreter.requests import analyzed_text, document_name, run_name
from services.interpreter.selection import TRUSTED_ONLY, Selection

MAX_ATTRIBUTED = 50
"""Features that the sentences of a text are compared by."""
MAX_CONTRIBUTIONS = 100
"""Features that contribute to a similarity."""


@dataclass(frozen=True, kw_only=True)
class AttributionRequest:
    """Which features of which text are attributed to sentences."""

    run: str
    text: str
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


def attribution(request: pb2.AttributeSentencesRequest) -> AttributionRequest:
    """Which features of which text are attributed to sentences. Raises InvalidFilter."""
    if len(request.indices) > MAX_ATTRIBUTED:
        raise InvalidArgument.field("indices", f"expected at most {MAX_ATTRIBUTED}, got {len(request.indices)}")
    return AttributionRequest(
        run=run_name(request.run),
        text=analyzed_text(request.text),
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


def text_source(message: pb2.TextSource, field: str) -> TextSource:
    """A text or a document."""
    if message.WhichOneof("source") == "document":
        return TextSource(document=document_name(message.document, f"{field}.document"))
    return TextSource(text=analyzed_text(message.text, f"{field}.text"))


def selection(message: pb2.FeatureSelection) -> Selection:
    """Which features count. Raises InvalidFilter."""
    return Selection(
        terms=parse_filter(message.filter.strip() or TRUSTED_ONLY, FILTERS), include_tail=message.include_tail
    )


def count_of(value: int, field: str, *, default: int, maximum: int) -> int:
    """A number of things, at most `maximum`; 0 stands for the default."""
    if value > maximum:
        raise InvalidArgument.field(field, f"expected at most {maximum:,}, got {value:,}")
    return value or default
